"""Assigns backends to what a request needs: to each slot one of its own, or to all of it a single one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .envelope import Envelope
from .errors import NotForSelection
from .explain import explain_nobody, explain_short
from .matching import match
from .payloads import Backend, ProviderAssignment, ProviderRequest
from .policy import Policy
from .pool import Pool


def assign(
    request_id: str,
    request: ProviderRequest,
    backends: Iterable[Backend],
    policy: Policy | None = None,
    *,
    out: Mapping[str, str] | None = None,
) -> ProviderAssignment:
    """Returns who fills which slot of a request, and why what is open stays open.

    ```python
    from quiesce.suggestors import Backend, ProviderRequest, assign

    pool = [
        Backend(name="anthropic", kind="llm", capabilities={"code", "reasoning"}),
        Backend(name="mini", kind="llm", capabilities={"code"}),
    ]
    found = assign("r1", ProviderRequest(required_capabilities=("code", "reasoning")), pool)
    found.assignments                                      # (('code', 'mini'), ('reasoning', 'anthropic'))
    ```

    Without `backend_requirements` as many slots are filled as can be, no backend fills more than its `slots`, and among
    the ways to do so the one is taken that costs least under the policy; without one, that uses the backends that come
    first. With them, one backend has to satisfy all: the first by the policy, then by its place. `out` says of
    backends that are not available why not. The same input gives the same answer.

    Raises:
        NotForSelection: the request or a backend is none; `request_id` names it in the message.
    """
    return answer(request, pool_of(request_id, request, backends, policy, out))


def pool_of(
    request_id: str,
    request: ProviderRequest,
    backends: Iterable[Backend],
    policy: Policy | None,
    out: Mapping[str, str] | None,
) -> Pool:
    """Returns the pool of backends that somebody gives for a request, once it is clear that they are what they say."""
    known = checked(request_id, request, backends)
    if policy is not None and not isinstance(policy, Policy):
        raise NotForSelection(request_id, "the policy", policy, "a Policy or None")
    return Pool(known, policy, out)


def checked(request_id: str, request: ProviderRequest, backends: Iterable[Backend]) -> list[Backend]:
    """Returns the backends that somebody gives for a request, once it is clear that they and it are what they say."""
    if not isinstance(request, ProviderRequest):
        raise NotForSelection(request_id, "what is asked for", request, "a ProviderRequest")
    known = list(backends)
    for one in known:
        if not isinstance(one, Backend):
            raise NotForSelection(request_id, "one of the backends", one, "a Backend (of a fact, its payload)")
    return known


def answer(request: ProviderRequest, pool: Pool) -> ProviderAssignment:
    """Returns the assignment of a request among the backends of a pool."""
    if request.backend_requirements is not None:
        return _assign_to_one(request, pool)
    return _assign_to_many(request.required_capabilities, pool)


def find_one(envelope: Envelope, pool: Pool) -> Backend | None:
    """Returns the preferred backend that satisfies the whole of a request."""
    places: Sequence[int] = range(len(pool.backends))
    for capability in envelope.wanted:
        holders = pool.holders.get(capability, ())
        if len(holders) < len(places):
            places = holders  # the rarest capability leaves the fewest to look at
            if not places:
                return None
    backends = pool.backends
    return next((backends[place] for place in places if envelope.admits(backends[place])), None)


def _assign_to_one(request: ProviderRequest, pool: Pool) -> ProviderAssignment:
    envelope = Envelope(request)
    found = find_one(envelope, pool)
    if found is not None:
        pairs = tuple([(capability, found.name) for capability in envelope.capabilities])
        return ProviderAssignment(assignments=pairs, unmatched=(), coverage_ratio=1.0)
    if envelope.is_empty:
        return _NOTHING_ASKED
    return ProviderAssignment(
        assignments=(), unmatched=envelope.capabilities, coverage_ratio=0.0, reason=explain_nobody(envelope, pool)
    )  # fmt: skip


def _assign_to_many(capabilities: tuple[str, ...], pool: Pool) -> ProviderAssignment:
    if not capabilities:
        return _NOTHING_ASKED
    numbers: dict[str, int] = {}
    slots = [numbers.setdefault(one, len(numbers)) for one in capabilities]
    holders = pool.holders
    found = match(slots, [holders.get(one, ()) for one in numbers], pool.room)
    backends = pool.backends
    pairs = tuple(
        [(one, backends[place].name) for one, place in zip(capabilities, found.filled, strict=True) if place >= 0]
    )
    if not found.open:
        return ProviderAssignment(assignments=pairs, unmatched=(), coverage_ratio=1.0)
    unmatched = tuple([one for one, place in zip(capabilities, found.filled, strict=True) if place < 0])
    return ProviderAssignment(
        assignments=pairs, unmatched=unmatched, coverage_ratio=len(pairs) / len(capabilities),
        reason=explain_short(capabilities, list(numbers), found.short, pool),
    )  # fmt: skip


_NOTHING_ASKED = ProviderAssignment(assignments=(), unmatched=(), coverage_ratio=1.0)
