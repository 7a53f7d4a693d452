"""Finds the backends that can do all of a request by themselves."""

from __future__ import annotations

from collections.abc import Container, Iterable

from .assign import checked
from .envelope import Envelope
from .payloads import Backend, ProviderRequest
from .pool import each_once


def eligible(request: ProviderRequest, backends: Iterable[Backend], out: Container[str] = ()) -> list[Backend]:
    """Returns the backends that satisfy the whole of a request, in the order of the pool.

    ```python
    from quiesce.suggestors import Backend, ProviderRequest, eligible

    pool = [Backend(name="a", kind="llm", capabilities={"code"}), Backend(name="b", kind="llm")]
    [one.name for one in eligible(ProviderRequest(required_capabilities=("code",)), pool)]     # ['a']
    ```

    Without `backend_requirements` these are the ones that have every capability; one that is asked for several times
    (independently) takes a backend with as many slots. `out` names backends that are left aside.

    Raises:
        NotForSelection: the request or a backend is none.
    """
    known = each_once(checked("", request, backends))
    envelope = Envelope(request)
    return [one for one in known if one.name not in out and envelope.admits(one)]
