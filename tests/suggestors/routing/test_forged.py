"""Puts knowledge into a context that nobody has learned: whatever it says, requests are decided, and reruns agree."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quiesce.engine import Engine
from quiesce.facts import Context, FactError, FactLog, Failure
from quiesce.suggestors.routing.forgetting import Forgetting
from quiesce.suggestors.routing.learning import OutcomeLearning
from quiesce.suggestors.routing.payloads import (
    EvidenceReset,
    LedgerMark,
    LinearEvidence,
    Outcome,
    Posterior,
    ProbeTally,
    RouteDecision,
    RouteRequest,
    Spending,
)
from quiesce.suggestors.routing.router import ThompsonRouter
from quiesce.suggestors.selection.payloads import Backend, Quarantine

NUMBERS = st.one_of(st.sampled_from([0.0, -1.0, 1e308, -1e308, 5e-324, 2.0**62, 1e17]), st.floats(-1e9, 1e9))
COSTS = NUMBERS.map(abs)
COUNTS = st.sampled_from([0, 1, 5, 10**18, 10**400])
FROM_ONE = COUNTS.map(lambda count: count + 1)
NAMES = st.sampled_from(["a", "b", "a/b", "%", "é", "x" * 200, "ledger"])
TAGS = st.lists(NAMES, max_size=3).map(tuple)
FEATURES = st.none() | st.lists(NUMBERS, max_size=3).map(tuple)
MAYBE = st.none() | NUMBERS
REASONS = st.sampled_from(["", "slow"])


@st.composite
def posteriors(draw: st.DrawFn) -> Posterior:
    recent = draw(st.lists(st.tuples(NUMBERS, MAYBE), max_size=3))
    return Posterior(
        provider=draw(NAMES), successes=draw(NUMBERS), failures=draw(NUMBERS), observations=draw(COUNTS),
        cost=draw(COSTS), last=draw(MAYBE), recent=tuple(one for one, _ in recent),
        recent_at=tuple(at for _, at in recent), quality_successes=draw(NUMBERS), quality_failures=draw(NUMBERS),
        quality_observations=draw(COUNTS), resets=draw(COUNTS),
        forgotten=draw(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)),
    )  # fmt: skip


@st.composite
def lines(draw: st.DrawFn) -> LinearEvidence:
    dim = draw(st.sampled_from([1, 2]))
    gram = draw(st.lists(NUMBERS, min_size=dim * (dim + 1) // 2, max_size=dim * (dim + 1) // 2))
    moment = draw(st.lists(NUMBERS, min_size=dim, max_size=dim))
    return LinearEvidence(
        provider=draw(NAMES), dim=dim, observations=draw(COUNTS), gram=tuple(gram), moment=tuple(moment),
        last=draw(MAYBE),
    )  # fmt: skip


FORGED = st.one_of(
    posteriors(),
    lines(),
    st.builds(
        Outcome, request_id=NAMES, provider=NAMES, success=st.none() | st.booleans(), tokens=COUNTS, cost=COSTS,
        quality=st.none() | st.floats(0, 1), at=MAYBE, tags=TAGS, features=FEATURES,
    ),
    st.builds(
        RouteRequest, providers=TAGS, features=FEATURES, tags=TAGS, max_cost=st.none() | COSTS,
        min_quality=st.floats(0, 1),
    ),
    st.builds(
        Quarantine, backend=NAMES, reason=REASONS, number=FROM_ONE, lifted=REASONS, one_in=COUNTS,
        until=st.none() | st.sampled_from([datetime(2026, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)]),
    ),
    st.builds(Spending, period=NAMES, cost=COSTS, tokens=COUNTS, answers=COUNTS),
    st.builds(
        ProbeTally, provider=NAMES, turns=COUNTS, held=COUNTS, probes=COUNTS, last_probe=COUNTS, number=COUNTS,
        trials=COUNTS,
    ),
    st.builds(
        EvidenceReset, provider=NAMES, posterior=NAMES, successes=COSTS, failures=COSTS, quality_successes=COSTS,
        number=FROM_ONE,
    ),
    st.builds(LedgerMark, watermark=COUNTS),
)  # fmt: skip

ROUTERS: list[dict[str, Any]] = [
    {"price": 1e9, "budget": 5, "explore": 0.1, "forgetting": "reset"},
    {"price": 1, "forgetting": Forgetting("discount", half_life=1e-300)},
    {"forgetting": Forgetting("window", size=2, span=1e-300)},
    {"policy": "linear-thompson", "dim": 2, "warmup": 0, "price": 2, "width": 1e6},
    {"policy": "linucb", "dim": 2, "warmup": 1, "tag_budgets": {"a": 1}, "every": "all"},
]


@pytest.mark.slow
@pytest.mark.parametrize("options", ROUTERS, ids=["budget", "discount", "window", "linear", "linucb"])
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(said=st.lists(st.tuples(FORGED, NAMES), max_size=9))
def test_what_was_never_learned_stops_nothing(options: dict[str, Any], said: list[tuple[Any, str]]) -> None:
    router = ThompsonRouter(**options)
    learning = OutcomeLearning(router.forgetting, dim=router.dim or None, every=router.every)
    engine = Engine([router, learning])
    log = FactLog.open(projections=(*router.projections, *learning.projections))
    context = Context()
    for name in ("a", "b"):
        context.add(Backend(name=name, kind="llm"), id=name)
    for payload, id in said:
        try:
            context.add(payload, id=id)
        except FactError:  # two that say something else under one id
            continue
    result = engine.run_sync(context, log=log, run_id="r", seed=1)

    assert [] == [str(fact.payload) for fact in result.context.of(Failure).values()]
    for fact in result.context.of(RouteDecision).values():
        assert 1.0 == pytest.approx(sum(fact.payload.propensities))
        assert fact.payload.provider in fact.payload.eligible
    assert engine.rerun_sync(log, "r").same
