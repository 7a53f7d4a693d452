"""Leads from selection to routing: whoever can do all that a request needs is a candidate to answer it."""

from __future__ import annotations

from collections.abc import Iterator

from ..engine import Proposal, Suggestor, propose, suggestor
from ..facts import Fact, View
from .readable import look_up, readable
from .routing.payloads import RouteRequest, Unroutable
from .selection.eligible import eligible
from .selection.payloads import Backend, ProviderAssignment, ProviderRequest

LONGEST_LIST = 20
"""Capabilities that a reason names; a request may ask for thousands."""


def ProviderCandidates() -> Suggestor:  # noqa: N802  it stands where a class would stand
    """Returns the suggestor that asks for a route for each request that somebody can answer.

    ```python
    from quiesce.suggestors import Backend, ProviderCandidates, ProviderRequest, ProviderSelection, RouteRequest

    context = Context()
    context.add(Backend(name="mini", kind="llm", capabilities={"code"}), id="mini")
    context.add(ProviderRequest(required_capabilities=("code",)), id="r1")
    result = Engine([ProviderSelection(), ProviderCandidates()]).run_sync(context)
    assert ("mini",) == result.context.of(RouteRequest)["r1"].payload.providers
    ```

    It does so once a request has its assignment, unless a `RouteRequest` of the same id is known: whoever has tags,
    features or a price to name asks himself. Where no backend can do all of it, an `Unroutable` says why, and a backend
    that comes later and can is asked. Quarantines play no part here: they are the router's, who may let probes through.
    """
    made: Suggestor = suggestor(
        reads=[ProviderAssignment, ProviderRequest, Backend, RouteRequest], writes=[RouteRequest, Unroutable],
        # Requests come before their assignments, and routes that are asked for are none of its business.
        wakes=[ProviderAssignment, Backend], name="ProviderCandidates", version="1",
    )(name_candidates)  # fmt: skip
    return made


def name_candidates(view: View) -> Iterator[Proposal[RouteRequest | Unroutable]]:
    """Yields what there is to say about requests that have their assignment and no route yet."""
    late = view.new(Backend)
    # Every request of the run is looked at, but only when a backend comes after one of them, which is rare.
    waiting = view.all(ProviderAssignment) if late else view.new(ProviderAssignment)
    fresh = {fact.id for fact in view.new(ProviderAssignment)} if late else frozenset()
    backends = [fact.payload for fact in readable(view.all(Backend), Backend)] if waiting else []
    for assignment in readable(waiting, ProviderAssignment):
        request = look_up(view, ProviderRequest, assignment.id)
        if request is None or view.get(RouteRequest, assignment.id) is not None:
            continue
        found = tuple(one.name for one in eligible(request.payload, backends))
        because = [assignment, request]
        if found:
            yield propose(RouteRequest(providers=found), id=request.id, because=because)
        elif not late or assignment.id in fresh:
            yield propose(Unroutable(reason=explain(assignment)), id=request.id, because=because)


def explain(assignment: Fact[ProviderAssignment]) -> str:
    """Returns why nobody can answer the whole of a request."""
    said = assignment.payload
    if said.reason:
        return said.reason
    shared = [f"{capability}: {backend}" for capability, backend in said.assignments[:LONGEST_LIST]]
    more = len(said.assignments) - len(shared)
    listed = ", ".join([*shared, f"and {more} more"] if more > 0 else shared)
    return f"no backend can do all of it by itself; it takes several ({listed}). Ask for each part by itself"
