"""Turns outcomes, feedback and drift into posteriors within a run: by the folds with which the ledger learns.

So what a run says at its end is what the ledger says once the run is committed, if no other process wrote meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from ...engine import Options, Proposal, propose
from ...facts import Fact, Projection, View
from ..drift.payloads import DriftVerdict
from ..feedback.payloads import FeedbackVerdict
from ..readable import look_up, readable
from .context import linear_evidence
from .forgetting import Forgetting, Way, forgetting_of
from .payloads import (
    EvidenceReset,
    LedgerMark,
    LinearEvidence,
    Outcome,
    Posterior,
    RouteDecision,
    RouteRequest,
    Spending,
    UnknownRequest,
)
from .posterior import posteriors, reset_of
from .spending import Every, check_every, spending
from .watermark import LEDGER, watermark_of


class OutcomeLearning:
    """Revises posteriors, spending and contextual evidence with what comes of decisions.

    Register its `projections` with the log, and every later run begins with what the earlier ones have learned.

    ```python
    from quiesce.suggestors import Outcome, OutcomeLearning, Posterior

    learning = OutcomeLearning()
    log = FactLog.open(projections=learning.projections)
    context = Context()
    context.add(Outcome(request_id="r1", provider="swift", success=True), id="r1")
    result = Engine([learning]).run_sync(context, log=log)
    assert result.context.of(Posterior)["swift"].payload == log.values(learning.projection)["swift"]
    ```

    An outcome counts whenever it comes and for the provider that it names. One for a request of which the run knows
    nothing counts too, and is told of as an `UnknownRequest`. With `forgetting="reset"`, severe drift takes a provider
    back to the prior, under every tag.
    """

    reads = (
        Outcome, FeedbackVerdict, DriftVerdict, EvidenceReset, Posterior, LinearEvidence, Spending, RouteRequest,
        RouteDecision, LedgerMark,
    )  # fmt: skip
    writes = (Posterior, LinearEvidence, Spending, EvidenceReset, UnknownRequest, LedgerMark)
    options = Options(version="1")  # not its settings: a changed version would be shown all outcomes once more

    def __init__(
        self,
        forgetting: Forgetting | Way = "none",
        *,
        dim: int | None = None,
        every: Every = "month",
        name: str = "OutcomeLearning",
    ) -> None:
        """Takes how evidence ages, how many features count (None: no contextual evidence), and the budget's period."""
        self.name = name
        self.forgetting = forgetting_of(forgetting)
        self.dim, self.every = dim, check_every(every)
        self.projection: Projection[Posterior] = posteriors(self.forgetting)
        self.spending: Projection[Spending] = spending(every)
        self.linear: Projection[LinearEvidence] | None = (
            None if dim is None else linear_evidence(dim, self.forgetting)
        )  # fmt: skip

    @property
    def projections(self) -> tuple[Projection[Any], ...]:
        """What the log is to keep of it."""
        known = (self.projection, self.spending)
        return known if self.linear is None else (*known, self.linear)

    def accepts(self, view: View) -> bool:
        """Tells whether there is anything to learn from."""
        return any(len(view.new(cls)) for cls in (Outcome, FeedbackVerdict, DriftVerdict, EvidenceReset))

    def suggest(self, view: View) -> Iterator[Proposal[Any]]:
        """Yields what has changed."""
        outcomes, drifts = readable(view.new(Outcome), Outcome), readable(view.new(DriftVerdict), DriftVerdict)
        judged = readable(view.new(FeedbackVerdict), FeedbackVerdict)
        evidence = list(chain(outcomes, judged, readable(view.new(EvidenceReset), EvidenceReset)))
        revised = _Revisions(self.projection, lambda id: look_up(view, Posterior, id))
        yield from revised.fold(evidence)
        yield from _mark(view, revised.began)
        if self.forgetting.way == "reset":
            yield from _resets(view, drifts, revised)
        yield from _Revisions(self.spending, lambda id: look_up(view, Spending, id)).fold(outcomes)
        if self.linear is not None:
            yield from _Revisions(self.linear, lambda id: look_up(view, LinearEvidence, id)).fold(outcomes)
        for outcome in outcomes:
            id = outcome.payload.request_id
            if not _knows(view, id):
                unknown = UnknownRequest(request_id=id, provider=outcome.payload.provider)
                yield propose(unknown, id=outcome.id, because=[outcome])


class _Revisions:
    """The values of a projection that some facts change, as the ledger will have them."""

    def __init__(self, projection: Projection[Any], get: Callable[[str], Fact[Any] | None]) -> None:
        self.projection, self.get = projection, get
        self.values: dict[str, Any] = {}
        self.began: dict[str, Fact[Any]] = {}
        """What was known before."""

    def fold(self, facts: Iterable[Fact[Any]]) -> Iterator[Proposal[Any]]:
        """Yields the revised values: each once, because of what was known before and all that is new in it."""
        because: dict[str, list[Fact[Any]]] = {}
        for fact in facts:
            for id in self.projection.ids_of(fact):
                if id not in because:
                    because[id] = []
                    known = self.get(id)
                    if known is not None:
                        because[id].append(known)
                        self.began[id] = known
                        self.values[id] = known.payload
                self.values[id] = self.projection.fold(self.values.get(id), fact)
                because[id].append(fact)
        for id, reasons in because.items():
            yield propose(self.values[id], id=id, because=reasons)


def _mark(view: View, began: dict[str, Fact[Posterior]]) -> Iterator[Proposal[LedgerMark]]:
    """Yields up to where the ledger was in what is revised now: revisions do not say so any more."""
    found = [(watermark_of(fact), fact) for fact in began.values()]
    watermark, fact = max(found, key=lambda one: one[0], default=(0, None))
    known = look_up(view, LedgerMark, LEDGER)
    if fact is not None and watermark > (known.payload.watermark if known else 0):
        yield propose(LedgerMark(watermark=watermark), id=LEDGER, because=[fact])


def _resets(
    view: View, drifts: Iterable[Fact[DriftVerdict]], revised: _Revisions
) -> Iterator[Proposal[EvidenceReset]]:  # fmt: skip
    """Yields what is to be forgotten of providers that have drifted, under every tag that is known."""
    severe = {
        fact.payload.provider: fact for fact in drifts if fact.payload.drifted and fact.payload.severity == "severe"
    }
    if not severe:
        return
    known: dict[str, Posterior] = {fact.id: fact.payload for fact in readable(view.all(Posterior), Posterior)}
    known.update((id, value) for id, value in revised.values.items() if isinstance(value, Posterior))
    for id, posterior in known.items():
        verdict = severe.get(posterior.provider)
        reset = None if verdict is None else reset_of(id, posterior, verdict.ref)
        if verdict is not None and reset is not None:
            yield propose(reset, id=id, because=[verdict])


def _knows(view: View, request: str) -> bool:
    return view.get(RouteDecision, request) is not None or view.get(RouteRequest, request) is not None
