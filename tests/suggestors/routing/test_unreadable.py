"""Redacts facts that routing rests on, one after the other: who goes on with the run is decided and learned from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from quiesce.engine import Engine, suggestor
from quiesce.facts import Context, Fact, FactLog, Failure, replay
from quiesce.suggestors.candidates import ProviderCandidates
from quiesce.suggestors.routing.forgetting import Forgetting
from quiesce.suggestors.routing.learning import OutcomeLearning
from quiesce.suggestors.routing.payloads import (
    LedgerMark,
    LinearEvidence,
    Outcome,
    Posterior,
    ProbeTally,
    RouteDecision,
    RouteRequest,
    Spending,
    Unroutable,
)
from quiesce.suggestors.routing.router import ThompsonRouter
from quiesce.suggestors.selection.payloads import Backend, KnownQuarantine, ProviderRequest, Quarantine
from quiesce.suggestors.selection.select import ProviderSelection

NOW = datetime(2026, 3, 1, tzinfo=UTC)
AT = NOW.timestamp()
FEATURES = (1.0, 0.5)


@suggestor
def call(decision: Fact[RouteDecision]) -> Outcome:
    """Answers in time, whoever is asked."""
    said = decision.payload
    return Outcome(
        request_id=decision.id, provider=said.provider, success=True, at=AT, cost=1.0, tags=said.tags, features=FEATURES
    )


def engine() -> Engine:
    router = ThompsonRouter("linear-thompson", dim=2, warmup=1, budget=1e6, forgetting=Forgetting("reset"))
    learning = OutcomeLearning("reset", dim=2)
    return Engine([ProviderSelection(), ProviderCandidates(), router, call, learning])


def begin() -> Context:
    context = Context()
    for name in ("a", "b", "c"):
        context.add(Backend(name=name, kind="llm", capabilities=frozenset({"code"})), id=name)
        context.add(Posterior(provider=name, successes=3, observations=3, cost=1.0), id=name)
        context.add(ProbeTally(provider=name, turns=4, held=4), id=name)
    context.add(Quarantine(backend="c", reason="slow", one_in=3), id="c")
    context.add(KnownQuarantine(backend="b", reason="slow", lifted="well again"), id="b")
    context.add(LedgerMark(watermark=3), id="ledger")
    context.add(Spending(period="2026-03", cost=2.0, answers=2), id="2026-03")
    context.add(LinearEvidence(provider="a", dim=2), id="a")
    context.add(Unroutable(reason="nobody yet"), id="waiting")
    context.add(RouteRequest(providers=("a", "b"), tags=("x",), features=FEATURES), id="waiting")
    context.add(RouteRequest(providers=("a", "b", "c"), tags=("x",), features=FEATURES), id="r1")
    context.add(ProviderRequest(required_capabilities=("code",)), id="p1")
    return context


def refs() -> list[str]:
    result = engine().run_sync(begin(), run_id="r", seed=1, started=NOW)
    return sorted(fact.ref for fact in result.context)


@pytest.mark.parametrize("ref", refs())
def test_what_was_redacted_stops_nothing(ref: str) -> None:
    """A suggestor that took what is left of it for what it was would fail for all that is asked from then on."""
    log = FactLog.open()
    engine().run_sync(begin(), log=log, run_id="r", seed=1, started=NOW)
    log.redact("r", [ref], reason="erasure request 17", by="ana")
    context = replay(log, "r").copy()
    context.add(Backend(name="d", kind="llm", capabilities=frozenset({"code"})), id="d")
    context.add(RouteRequest(providers=("a", "b", "c", "d"), tags=("x",), features=FEATURES), id="r2")
    context.add(ProviderRequest(required_capabilities=("code",)), id="p2")
    fixed: dict[str, Any] = {"run_id": "later", "seed": 2, "started": NOW}

    result = engine().run_sync(context, log=log, **fixed)

    assert [] == [str(fact.payload) for fact in result.context.of(Failure).values()]
    assert {"r2", "p2"} <= set(result.context.of(RouteDecision))
    assert {"r2", "p2"} <= set(result.context.of(Outcome))
    assert engine().rerun_sync(log, "later").same
