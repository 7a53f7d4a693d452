"""One test for each fault of the routers that people use today which no other test shows ours not to have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from quiesce.engine import Engine, suggestor
from quiesce.facts import Contested, Context, Fact, FactLog, Failure
from quiesce.suggestors.feedback.payloads import FeedbackVerdict
from quiesce.suggestors.routing.context import Line, direction, fold_linear
from quiesce.suggestors.routing.forgetting import Forgetting
from quiesce.suggestors.routing.learning import OutcomeLearning
from quiesce.suggestors.routing.linucb import LinUCB
from quiesce.suggestors.routing.payloads import LinearEvidence, Outcome, Posterior, RouteDecision, RouteRequest
from quiesce.suggestors.routing.router import ThompsonRouter

FIXED: dict[str, Any] = {"seed": 5, "started": datetime(2026, 1, 1, tzinfo=UTC)}


def run(context: Context, *suggestors: Any, name: str = "r") -> Context:
    result = Engine(list(suggestors)).run_sync(context, run_id=name, **FIXED)
    assert {} == {**result.context.of(Failure), **result.context.of(Contested)}
    return result.context


def request(context: Context, *ids: str, **fields: Any) -> Context:
    for id in ids:
        context.add(RouteRequest(providers=("a", "b"), **fields), id=id)
    return context


def test_a_decision_counts_nothing_until_its_outcome_is_there() -> None:
    """J 7: a success recorded when a stream opens is there even if no token comes. Here only an outcome counts."""
    context = run(request(Context(), "r1"), ThompsonRouter(), OutcomeLearning())

    assert {} == dict(context.of(Posterior))
    context.add(Outcome(request_id="r1", provider="a", success=False, tokens=80), id="r1")
    context = run(context, ThompsonRouter(), OutcomeLearning(), name="ended")
    assert (0, 1) == (context.of(Posterior)["a"].payload.successes, context.of(Posterior)["a"].payload.failures)


def test_a_rate_limit_and_the_answer_after_it_count_once() -> None:
    """J 8: recorded twice there."""
    context = Context()
    context.add(Outcome(request_id="r1", provider="a"), id="r1-limited")
    context.add(Outcome(request_id="r1", provider="a", success=True), id="r1")
    context = run(context, OutcomeLearning())

    assert 1 == context.of(Posterior)["a"].payload.observations


def test_quality_is_credited_by_name_whoever_was_asked_last() -> None:
    """G.4 and J 11: the provider argument is ignored there, and the last active one is credited."""
    context = request(Context(), "r1")
    context.add(Outcome(request_id="r1", provider="b", success=True), id="r1")
    said = FeedbackVerdict(is_correction=True, kind="explicit_rejection", confidence=0.9, provider="a", request_id="r1")
    context.add(said, id="f1")
    context = run(context, ThompsonRouter(), OutcomeLearning())

    assert (1, 0) == tuple(context.of(Posterior)[name].payload.quality_failures for name in ("a", "b"))


@pytest.mark.parametrize("policy", ["thompson", "linear-thompson", "linucb"])
def test_quality_and_cost_bear_on_a_draw_together_under_every_forgetting(policy: Any) -> None:
    """J 12: one of two factors is dropped there. Here there is one pipeline."""
    for way in ("none", "discount", "window", "reset"):
        context = request(Context(), *(f"r{n}" for n in range(60)))
        for name, quality, cost in (("a", 0, 10.0), ("b", 40, 20.0)):
            context.add(
                Posterior(
                    provider=name, successes=20, failures=20, observations=40, cost=cost, recent=(1, 0) * 20,
                    recent_at=(0.0,) * 40, last=0.0, quality_successes=quality, quality_failures=40 - quality,
                    quality_observations=40,
                ),
                id=name,
            )  # fmt: skip
        both = ThompsonRouter(policy, dim=2, forgetting=Forgetting(way), price=0.0)
        dear = ThompsonRouter(policy, dim=2, forgetting=Forgetting(way), price=3.0)
        plain, priced = (
            run(context.copy(), router).of(RouteDecision)["r0"].payload.propensities for router in (both, dear)
        )

        assert plain[1] > 0.95, "quality counts"
        assert priced[1] < 0.05, "so does what it costs"


def test_the_fallback_of_a_contextual_policy_learns_and_so_does_the_policy_from_failures() -> None:
    """J 13: its Thompson fallback is never updated there, and failures give no reward."""
    learning, router = OutcomeLearning(dim=2), ThompsonRouter("linucb", dim=2, warmup=3)
    context = Context()
    for n in range(4):
        context.add(Outcome(request_id=f"r{n}", provider="a", success=False, features=(1.0, 0.0)), id=f"r{n}")
    context = run(context, learning)

    assert (4, 4) == (context.of(Posterior)["a"].payload.failures, context.of(LinearEvidence)["a"].payload.observations)
    context = run(request(context, "q", features=(1.0, 0.0)), learning, router, name="then")
    decision = context.of(RouteDecision)["q"].payload
    assert ("b", "linucb") == (decision.provider, decision.policy)


def test_the_score_of_linucb_is_that_of_the_state_that_is_used_alone() -> None:
    """Two ways to the same number: sums in facts, and rank-one updates in `LinUCB`."""
    rng = np.random.default_rng(2)
    state, value = LinUCB(3, alpha=0.7, warmup=0), None
    for _ in range(40):
        features, reward = tuple(float(one) for one in rng.normal(size=3)), float(rng.random())
        state.update("a", features, reward=reward)
        said = Outcome(request_id="r", provider="a", reward=reward, features=features)
        value = fold_linear(value, said, 3, Forgetting())
    probe = (0.2, -0.5, 0.9)
    vector = direction(probe, 3)
    assert vector is not None
    line = Line(value, vector)
    chosen = state.select(["a"], probe, rng)

    assert chosen is not None
    assert line.mean + 0.7 * line.spread == pytest.approx(chosen.score, abs=1e-3)


def test_prices_are_what_answers_cost_and_not_what_names_hold() -> None:
    """J 14: "mini" is found in "gemini" there."""
    context = request(Context(), "r1")
    context.add(Posterior(provider="a", observations=10, cost=1.0), id="a")
    context = run(context, ThompsonRouter(price=1.0))
    decision = context.of(RouteDecision)["r1"].payload

    assert {"a": 0.1, "b": 0.0}[decision.provider] == decision.cost


def test_what_is_restarted_and_replayed_decides_the_same() -> None:
    """A.5: there the generator cannot be seeded."""
    log = FactLog.open()

    @suggestor
    def call(decision: Fact[RouteDecision]) -> Outcome:
        return Outcome(request_id=decision.id, provider=decision.payload.provider, success=True)

    engine = Engine([ThompsonRouter(), call, OutcomeLearning()])
    context = request(Context(), *(f"r{n}" for n in range(20)))
    first = engine.run_sync(context, log=log, run_id="one", **FIXED)
    second = Engine([ThompsonRouter(), call, OutcomeLearning()]).run_sync(context, run_id="one", **FIXED)

    assert first.log.to_bytes("one") == second.log.to_bytes("one")
    assert engine.rerun_sync(log, "one").same
