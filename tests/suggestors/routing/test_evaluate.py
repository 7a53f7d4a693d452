"""Holds off-policy evaluation to its promises: intervals that cover, weights that are right, and refusals."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from quiesce.engine import Engine, InvalidOption, suggestor
from quiesce.facts import Context, Fact, FactError, FactLog
from quiesce.suggestors.routing.chances import beta_chances
from quiesce.suggestors.routing.decided import LoggedDecision, logged_decisions
from quiesce.suggestors.routing.estimate import crossed_means, estimate
from quiesce.suggestors.routing.evaluate import always, as_logged, evaluate, support_of, uniform
from quiesce.suggestors.routing.learning import OutcomeLearning
from quiesce.suggestors.routing.payloads import Outcome, RouteDecision, RouteRequest
from quiesce.suggestors.routing.router import ThompsonRouter
from quiesce.suggestors.routing.support import InvalidPolicy, NoSupport

REPETITIONS = 1_000
MEANS = np.array([0.8, 0.6, 0.3])


def decision(provider: str, propensities: Mapping[str, float], **fields: Any) -> RouteDecision:
    return RouteDecision(
        provider=provider, alpha=1, beta=1, sample=0.5, exploit=True, propensity=propensities[provider],
        eligible=tuple(propensities), propensities=tuple(propensities.values()), policy="thompson", **fields,
    )  # fmt: skip


def some(count: int = 100, *, share: float = 0.5, seed: int = 1) -> list[LoggedDecision]:
    """Returns decisions between a good and a bad provider."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(count):
        name = "good" if rng.random() < share else "bad"
        reward = float(rng.random() < (0.9 if name == "good" else 0.2))
        found.append(LoggedDecision(f"r{n}", decision(name, {"good": share, "bad": 1 - share}), reward))
    return found


@cache
def logs(adaptive: bool) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Returns, for all repetitions, whom a router chose, with which probabilities, and what came of it.

    The adaptive one is Thompson sampling with a tenth of exploration that learns after each fifty outcomes.
    """
    rng, batches, size, arms = np.random.default_rng(8), 10, 50, len(MEANS)
    chosen = np.zeros((REPETITIONS, batches, size), dtype=np.int64)
    chances = np.zeros((REPETITIONS, batches, arms))
    rewards = np.zeros(chosen.shape)
    evidence = np.ones((REPETITIONS, arms, 2))
    for batch in range(batches):
        if not adaptive:
            chances[:, batch] = [0.6, 0.3, 0.1]
        else:
            for row in range(REPETITIONS):
                chances[row, batch] = beta_chances([tuple(pair) for pair in evidence[row]])
            chances[:, batch] = 0.9 * chances[:, batch] + 0.1 / arms
        edges = chances[:, batch].cumsum(axis=1)[:, None, :-1]
        chosen[:, batch] = (rng.random((REPETITIONS, size, 1)) > edges).sum(axis=2)
        rewards[:, batch] = rng.random((REPETITIONS, size)) < MEANS[chosen[:, batch]]
        for arm in range(arms):
            taken = chosen[:, batch] == arm
            evidence[:, arm, 0] += (taken * rewards[:, batch]).sum(axis=1)
            evidence[:, arm, 1] += (taken * (1 - rewards[:, batch])).sum(axis=1)
    spread = np.repeat(chances, size, axis=1)
    return chosen.reshape(REPETITIONS, -1), spread, rewards.reshape(REPETITIONS, -1)


@pytest.mark.slow
@pytest.mark.parametrize("adaptive", [False, True], ids=["fixed", "thompson"])
@pytest.mark.parametrize("target", [[1 / 3, 1 / 3, 1 / 3], [0.2, 0.7, 0.1]], ids=["uniform", "second"])
def test_the_95_percent_interval_covers_the_truth_in_93_to_97_percent(adaptive: bool, target: list[float]) -> None:
    """Of 1,000 repetitions, 500 decisions each. A right interval is outside of 93 to 97 % in one of 250 such tests."""
    policy = np.array(target)
    truth = float(policy @ MEANS)
    chosen, chances, rewards = logs(adaptive)
    propensity = np.take_along_axis(chances, chosen[..., None], axis=2)[..., 0]
    weights = policy[chosen] / propensity
    model = crossed_means(chosen, rewards, len(MEANS))
    predicted = np.take_along_axis(model, chosen[..., None], axis=2)[..., 0]
    found = estimate(weights, rewards, (model * policy).sum(axis=2), predicted)

    for value, low, high in (found.ips, found.snips, found.doubly_robust):
        covered = float(((low <= truth) & (truth <= high)).mean())
        assert 0.93 <= covered <= 0.97
        assert truth == pytest.approx(float(value.mean()), abs=0.01)
    widths = [float((high - low).mean()) for _, low, high in (found.ips, found.snips, found.doubly_robust)]
    assert widths[2] <= widths[0], "a model makes it narrower"
    assert 1.0 == pytest.approx(float(found.mean_weight.mean()), abs=0.02)


def test_no_reward_is_predicted_from_itself() -> None:
    """Even decisions are judged by the odd ones, and the other way round; who is unknown there, by all of them."""
    chosen, rewards = np.array([0, 0, 0, 0, 1, 0]), np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    model = crossed_means(chosen, rewards, 2)

    assert [[0.0, 0.0]] * 3 == model[0::2].tolist()
    assert [[1.0, 1.0]] * 3 == model[1::2].tolist()


def test_what_was_done_is_worth_what_it_was() -> None:
    known = some()
    found = evaluate(known, "logged")
    mean = sum(one.reward or 0.0 for one in known) / len(known)

    assert (mean, mean, 100.0, 1.0) == (found.ips.value, found.snips.value, found.effective, found.mean_weight)
    assert mean == pytest.approx(found.doubly_robust.value, abs=0.05)
    assert found.logged.value == mean


def test_another_policy_is_told_from_what_was_done() -> None:
    found = evaluate(some(2_000), always("good"))

    for one in (found.ips, found.snips, found.doubly_robust):
        assert one.low < 0.9 < one.high
        assert one.high - one.low < 0.12
    assert (2_000, 0) == (found.decisions, found.unanswered)
    assert str(found).splitlines()[0].startswith("2000 decisions; effective sample 1000, mean weight 1.0")


def test_a_right_model_makes_it_narrower_and_a_wrong_one_stays_unbiased() -> None:
    known = some(2_000, share=0.2)
    right = evaluate(known, always("good"), model=lambda _, name: 0.9 if name == "good" else 0.2)
    wrong = evaluate(known, always("good"), model=lambda _, name: 0.0)

    assert right.doubly_robust.high - right.doubly_robust.low < wrong.doubly_robust.high - wrong.doubly_robust.low
    assert 0.9 == pytest.approx(wrong.doubly_robust.value, abs=0.1)
    assert wrong.doubly_robust.value == pytest.approx(wrong.ips.value)


@given(share=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_estimates_lie_in_their_intervals_and_rewards_bound_the_ends(share: float, seed: int) -> None:
    found = evaluate(some(200, share=share, seed=seed), uniform, least=1)
    for one in (found.ips, found.snips, found.doubly_robust):
        assert 0 <= one.low <= one.value <= one.high <= 1


def test_what_could_not_be_done_cannot_be_judged() -> None:
    with pytest.raises(NoSupport, match=r"100% of the time it would have taken somebody \('stranger'\)") as caught:
        evaluate(some(), always("stranger"))
    assert ("stranger",) == caught.value.providers


def test_a_policy_that_always_does_the_same_supports_nothing_else() -> None:
    """LinUCB without exploration: what others had given is not in the log."""
    certain = [LoggedDecision(f"r{n}", decision("a", {"a": 1.0, "b": 0.0}), 1.0) for n in range(50)]

    assert {"a"} == support_of(certain[0].decision)
    with pytest.raises(NoSupport, match="'b'"):
        evaluate(certain, uniform)
    assert 1.0 == evaluate(certain, always("a")).ips.value


def test_a_decision_without_all_its_propensities_supports_what_it_can() -> None:
    old = decision("a", {"a": 1.0}).model_copy(update={"eligible": ("a", "b"), "propensities": ()})

    assert {"a"} == support_of(old)
    assert {"a", "b"} == support_of(old.model_copy(update={"propensity": 0.4}))


def test_too_little_of_its_own_is_refused() -> None:
    """It could have been done, and hardly ever was."""
    known = [LoggedDecision(f"r{n}", decision("a", {"a": 0.999, "b": 0.001}), 1.0) for n in range(200)]
    with pytest.raises(NoSupport, match=r"worth 0\.0 of its own, and 10 are needed"):
        evaluate(known, always("b"))


def test_without_outcomes_there_is_nothing_to_tell() -> None:
    with pytest.raises(NoSupport, match="0 of them have an outcome"):
        evaluate([], uniform)


@pytest.mark.parametrize(
    "said", [{"good": 0.4}, {"good": 1.5, "bad": -0.5}, {"good": float("nan")}, {}, "good", {"good": "1"}], ids=str
)
def test_what_is_no_policy_is_refused(said: Any) -> None:
    with pytest.raises(InvalidPolicy, match="probabilities that sum to 1"):
        evaluate(some(), lambda _: said)


def test_an_unknown_policy_and_a_level_out_of_range_are_refused() -> None:
    with pytest.raises(FactError, match="'uniform', 'logged'"):
        evaluate(some(), "best")
    with pytest.raises(InvalidOption, match=r"from 0\.5 to 0\.9999"):
        evaluate(some(), uniform, level=95)


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), 1e308, "much"], ids=str)
def test_what_is_no_reward_is_refused_and_named(reward: Any) -> None:
    """NaN went through all three estimates, and came out as an interval."""
    with pytest.raises(FactError, match=r"the reward for request 'r0' is .*, no number from -1e\+12"):
        evaluate([LoggedDecision("r0", some(1)[0].decision, reward), *some()], uniform)
    with pytest.raises(FactError, match=r"what the model expects for request 'r0' is .*, no number"):
        evaluate(some(), uniform, model=lambda _decision, _name: reward)


@pytest.mark.parametrize("log", [5, [5], ["r0"]], ids=str)
def test_what_is_no_log_is_refused(log: Any) -> None:
    with pytest.raises(FactError, match="a FactLog or a list of LoggedDecision objects"):
        evaluate(log, uniform)


@pytest.mark.parametrize("least", [float("nan"), -1, "few"], ids=str)
def test_a_least_sample_that_is_none_is_refused(least: Any) -> None:
    """Every comparison with NaN is false: nothing would ever have been refused."""
    with pytest.raises(InvalidOption, match="from 0 on"):
        evaluate(some(), uniform, least=least)


def test_a_policy_may_give_the_numbers_of_numpy() -> None:
    half = np.float32(0.5)

    assert evaluate(some(), uniform) == evaluate(some(), lambda _: {"good": half, "bad": half})  # type: ignore[dict-item]  # meant


@given(share=st.floats(0.05, 0.95), seed=st.integers(0, 50))
def test_the_lower_end_of_an_interval_is_never_above_the_upper(share: float, seed: int) -> None:
    """Not even where few decisions that were improbable have earned all there is."""
    all_won = [LoggedDecision(one.request, one.decision, 1.0) for one in some(60, share=share, seed=seed)]
    found = evaluate(all_won, uniform, least=0)

    for one in (found.ips, found.snips, found.doubly_robust, found.logged):
        assert 0 <= one.low <= one.high <= 1


def test_a_decision_by_hand_is_one_of_the_log() -> None:
    """It names nobody who else could have won."""
    by_hand = decision("good", {"good": 1.0}).model_copy(update={"eligible": (), "propensities": ()})
    log = [*some(), LoggedDecision("h", by_hand, 1.0)]

    assert 101 == evaluate(log, "logged").decisions == evaluate(log, "uniform").decisions
    assert 1.0 == pytest.approx(evaluate(log, "logged").mean_weight)
    assert {"good": 1.0} == as_logged(by_hand) == uniform(by_hand)
    alone = by_hand.model_copy(update={"eligible": ("good", "bad", "ugly"), "propensity": 0.5})
    assert {"good": 0.5, "bad": 0.25, "ugly": 0.25} == as_logged(alone)


def test_weights_tell_whether_propensities_are_right() -> None:
    wrong = [
        LoggedDecision(
            one.request, one.decision.model_copy(update={"propensity": one.decision.propensity / 2}), one.reward
        )
        for one in some()
    ]

    assert 2.0 == evaluate(wrong, uniform).mean_weight


# --- from a log -------------------------------------------------------------------------------------------------------


def routed(seed: int = 3) -> FactLog:
    """Returns a log in which a router has learned for 150 requests whom to take."""
    rng = np.random.default_rng(seed)
    luck = {f"{run}-{n}": rng.random() for run in range(15) for n in range(10)}

    @suggestor
    def call(made: Fact[RouteDecision]) -> Outcome:
        good = {"good": 0.9, "bad": 0.4}[made.payload.provider]
        return Outcome(request_id=made.id, provider=made.payload.provider, success=luck[made.id] < good)

    learning = OutcomeLearning()
    log = FactLog.open(projections=learning.projections)
    engine = Engine([ThompsonRouter(explore=0.2), call, learning])
    for run in range(15):
        context = log.context()
        for n in range(10):
            context.add(RouteRequest(providers=("good", "bad")), id=f"{run}-{n}")
        engine.run_sync(context, log=log, run_id=f"run-{run}", seed=run)
    return log


def test_a_log_tells_what_another_policy_would_have_earned() -> None:
    log = routed()
    good, bad = evaluate(log, always("good")), evaluate(log, always("bad"), least=5)

    assert 150 == good.decisions == bad.decisions
    assert good.doubly_robust.low < 0.9 < good.doubly_robust.high
    assert bad.doubly_robust.low < 0.4 < bad.doubly_robust.high
    assert good.doubly_robust.low > bad.doubly_robust.high
    assert evaluate(log, "logged").ips.value == pytest.approx(good.logged.value)


def test_what_an_outcome_is_worth_can_be_said_otherwise() -> None:
    """Cost taken off, say: rewards below 0 then, and intervals that reach there."""
    found = evaluate(routed(), always("good"), reward=lambda outcome: (outcome.gained or 0.0) - 1.0)

    assert -0.1 == pytest.approx(found.snips.value, abs=0.08)
    assert found.snips.low < found.snips.value < 0


def test_a_late_outcome_finds_its_decision_and_that_of_another_provider_does_not() -> None:
    log = FactLog.open()
    engine = Engine([ThompsonRouter()])

    def run(name: str, *facts: tuple[str, Any]) -> None:
        context = Context()
        for id, payload in facts:
            context.add(payload, id=id)
        engine.run_sync(context, log=log, run_id=name)

    run("one", *((f"r{n}", RouteRequest(providers=("a",))) for n in range(4)))
    run(
        "two",
        ("r0", Outcome(request_id="r0", provider="a", reward=0.7)),
        ("r1", Outcome(request_id="r1", provider="b", reward=1.0)),
        ("r2", Outcome(request_id="r2", provider="a")),
        ("x", Outcome(request_id="x", provider="a", reward=1.0)),
    )
    run("three", ("r0", RouteRequest(providers=("a",))), ("o", Outcome(request_id="r0", provider="a", reward=0.1)))

    assert [("r0", 0.7), ("r1", None), ("r2", None), ("r3", None), ("r0", 0.1)] == [
        (one.request, one.reward) for one in logged_decisions(log)
    ]
