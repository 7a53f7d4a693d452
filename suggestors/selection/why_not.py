"""Tells why a backend was not chosen for a request: what it misses, or who was preferred."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .assign import answer, find_one, pool_of
from .envelope import Envelope, listed
from .errors import UnknownBackend
from .explain import is_out
from .payloads import Backend, ProviderRequest
from .policy import Policy
from .pool import Pool


def why_not(
    request: ProviderRequest,
    backend: Backend | str,
    backends: Iterable[Backend],
    policy: Policy | None = None,
    *,
    out: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Returns what spoke against a backend, one sentence each; nothing if it was chosen.

    ```python
    from quiesce.suggestors import Backend, Policy, ProviderRequest
    from quiesce.suggestors.selection import why_not

    pool = [
        Backend(name="dear", kind="llm", capabilities={"code"}, cost_class="high"),
        Backend(name="cheap", kind="llm", capabilities={"code"}, cost_class="low"),
    ]
    why_not(ProviderRequest(required_capabilities=("code", "vision")), "dear", pool, Policy())
    # ('lacks vision', 'code went to cheap: it costs less under the policy (0.9 against 1.3: cost 0.4 against 0.8)')
    ```

    Raises:
        UnknownBackend: it is not among the backends.
        NotForSelection: the request or a backend is none.
    """
    pool = pool_of("", request, backends, policy, out)
    name = backend if isinstance(backend, str) else backend.name
    asked = next((one for one in pool.backends if one.name == name), None)
    if asked is None:
        if name not in pool.out:
            raise UnknownBackend(name, sorted([*pool.out, *(one.name for one in pool.backends)]))
        aside, why = pool.out[name]
        return is_out(why), *Envelope(request).misses(aside)
    if request.backend_requirements is not None:
        return _why_not_alone(request, asked, pool)
    return _why_not_beside(request, asked, pool)


def _why_not_alone(request: ProviderRequest, asked: Backend, pool: Pool) -> tuple[str, ...]:
    envelope = Envelope(request)
    missed = tuple(envelope.misses(asked))
    winner = find_one(envelope, pool)
    if missed or winner is None or winner.name == asked.name:
        return missed
    return (f"all of it went to {winner.name}: {_preferred(winner, asked, pool)}",)


def _why_not_beside(request: ProviderRequest, asked: Backend, pool: Pool) -> tuple[str, ...]:
    pairs = answer(request, pool).assignments
    if any(name == asked.name for _, name in pairs):
        return ()
    lacks = [one for one in dict.fromkeys(request.required_capabilities) if one not in asked.capabilities]
    told = [f"lacks {listed(lacks)}"] if lacks else []
    known = {one.name: one for one in pool.backends}
    for capability, name in dict.fromkeys(pairs):
        if capability in asked.capabilities:
            told.append(f"{capability} went to {name}: {_preferred(known[name], asked, pool)}")
    return tuple(told)


def _preferred(winner: Backend, asked: Backend, pool: Pool) -> str:
    policy = pool.policy
    if policy is None or policy.score(winner) == policy.score(asked):
        return "it comes first in the pool" + ("" if policy is None else ", and costs the same under the policy")
    apart = [
        f"{what} {one:.6g} against {other:.6g}"
        for (what, one), (_, other) in zip(policy.terms(winner), policy.terms(asked), strict=True)
        if one != other
    ]
    scores = f"{policy.score(winner):.6g} against {policy.score(asked):.6g}"
    return f"it costs less under the policy ({scores}: {', '.join(apart)})"
