"""Holds what a run learns to what the ledger learns: the same, to the last bit, whatever comes and in whatever run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import Engine, Proposal, Result, propose, suggestor
from quiesce.facts import Contested, Context, Fact, FactLog, Failure, Payload
from quiesce.suggestors.drift.payloads import DriftVerdict
from quiesce.suggestors.feedback.payloads import FeedbackVerdict
from quiesce.suggestors.routing.forgetting import Forgetting, Way
from quiesce.suggestors.routing.learning import OutcomeLearning
from quiesce.suggestors.routing.payloads import (
    EvidenceReset,
    LinearEvidence,
    Outcome,
    Posterior,
    RouteDecision,
    RouteRequest,
    Spending,
    UnknownRequest,
)
from quiesce.suggestors.routing.posterior import posteriors
from quiesce.suggestors.routing.spending import period_of

SHARES = st.none() | st.floats(0, 1)
WAYS: Sequence[Forgetting] = (
    Forgetting("none"), Forgetting("reset"), Forgetting("discount", half_life=3.0), Forgetting("window", size=3),
)  # fmt: skip


class LearningRelay(Payload, key="signals", family="learning-relay"):
    """Makes a payload known in a later cycle than its own."""

    cycles: int
    outcome: Outcome | None = None
    verdict: FeedbackVerdict | None = None
    drift: DriftVerdict | None = None


@suggestor(writes=[LearningRelay, Outcome, FeedbackVerdict, DriftVerdict], name="relay")
def relay(one: Fact[LearningRelay]) -> Proposal[Any]:
    said = one.payload
    if said.cycles:
        return propose(said.model_copy(update={"cycles": said.cycles - 1}), id=f"{one.id}+")
    payload = said.outcome or said.verdict or said.drift
    assert payload is not None
    return propose(payload, id=one.id.rstrip("+"))


PROVIDERS = st.sampled_from(["a", "b/c", "語"])
OUTCOMES = st.builds(
    Outcome, request_id=st.just("r"), provider=PROVIDERS, success=st.none() | st.booleans(), reward=SHARES,
    cost=st.floats(0, 5), tokens=st.integers(0, 99), quality=SHARES, at=st.none() | st.floats(0, 50),
    tags=st.lists(st.sampled_from(["x", "y/"]), max_size=2).map(tuple),
    features=st.none() | st.lists(st.floats(-3, 3), min_size=2, max_size=2).map(tuple),
)  # fmt: skip
VERDICTS = st.builds(
    FeedbackVerdict, is_correction=st.booleans(), kind=st.sampled_from(["repetition", "neutral", "self_correction"]),
    confidence=st.just(0.9), provider=st.none() | PROVIDERS, advisory=st.booleans(),
)  # fmt: skip
DRIFTS = st.builds(
    DriftVerdict, provider=PROVIDERS, drifted=st.booleans(), severity=st.sampled_from(["mild", "severe"]),
    signals=st.just({}), reason=st.just(""), observations=st.just(20),
)  # fmt: skip
RELAYS = st.builds(LearningRelay, cycles=st.integers(0, 3), outcome=OUTCOMES) | st.builds(
    LearningRelay, cycles=st.integers(0, 3), verdict=VERDICTS
) | st.builds(LearningRelay, cycles=st.integers(0, 3), drift=DRIFTS)  # fmt: skip


def learn(learning: OutcomeLearning, log: FactLog, said: Sequence[Payload], run: str) -> Result:
    """Lets a run that begins with what the ledger knows learn from some payloads."""
    context = log.context()
    for n, payload in enumerate(said):
        context.add(payload, id=f"{run}-{n}")
    result = Engine([relay, learning]).run_sync(context, log=log, run_id=run)
    assert {} == dict(result.context.of(Failure)), list(result.context.of(Failure).values())
    assert {} == dict(result.context.of(Contested))
    return result


def known(result: Result, cls: type[Payload]) -> dict[str, Payload]:
    return {id: fact.payload for id, fact in result.context.of(cls).items()}


@settings(max_examples=40, deadline=None)
@given(runs=st.lists(st.lists(RELAYS, max_size=5), min_size=1, max_size=3))
@pytest.mark.parametrize("forgetting", WAYS, ids=lambda how: how.way)
@pytest.mark.slow
def test_a_run_knows_at_its_end_what_the_ledger_knows(forgetting: Forgetting, runs: list[list[LearningRelay]]) -> None:
    """Outcomes, feedback and drift in any cycles, together or one after the other; and a fold anew gives the same."""
    learning = OutcomeLearning(forgetting, dim=2)
    assert learning.linear is not None
    log = FactLog.open(projections=learning.projections)
    for n, said in enumerate(runs):
        result = learn(learning, log, said, f"run-{n}")

        assert dict(log.values(learning.projection)) == known(result, Posterior)
        assert dict(log.values(learning.spending)) == known(result, Spending)
        assert dict(log.values(learning.linear)) == known(result, LinearEvidence)
    assert [] == [str(check) for check in log.check_projections() if not check.ok]


@settings(max_examples=25, deadline=None)
@given(outcomes=st.lists(OUTCOMES, max_size=6), cut=st.integers(0, 6), data=st.data())
@pytest.mark.parametrize("way", ["none", "reset"])
def test_one_run_or_many_in_any_order_learn_the_same(
    way: Way, outcomes: list[Outcome], cut: int, data: st.DataObject
) -> None:
    """Restarting and merging change nothing."""
    learning = OutcomeLearning(way)
    values = []
    for parts in ([outcomes], [outcomes[:cut], outcomes[cut:]], [data.draw(st.permutations(outcomes))]):
        log = FactLog.open(projections=learning.projections)
        for n, part in enumerate(parts):
            learn(learning, log, part, f"run-{n}")
        values.append(dict(log.values(learning.projection)))

    assert values[0] == values[1] == values[2]


def outcome(id: str, provider: str = "a", **fields: Any) -> Outcome:
    return Outcome(request_id=id, provider=provider, **{"success": True, **fields})


def run(
    learning: OutcomeLearning, *payloads: tuple[str, Payload], context: Context | None = None, name: str = "r"
) -> Result:
    context = context if context is not None else Context()
    for id, payload in payloads:
        context.add(payload, id=id)
    return Engine([learning]).run_sync(context, run_id=name)


def test_what_is_said_twice_counts_once() -> None:
    learning = OutcomeLearning()
    result = run(learning, ("r1", outcome("r1")), ("r1", outcome("r1")))
    result.context.add(outcome("r1"), id="r1")
    result = run(learning, context=result.context, name="again")

    assert 1 == result.context.of(Posterior)["a"].payload.observations


def test_a_run_that_goes_on_counts_only_what_is_new() -> None:
    learning = OutcomeLearning()
    result = run(learning, ("r1", outcome("r1")))
    result = run(learning, ("r2", outcome("r2")), context=result.context, name="again")

    assert 2 == result.context.of(Posterior)["a"].payload.observations


def test_an_outcome_for_an_unknown_request_is_told_of_and_counts() -> None:
    """One for a request or a decision that the run knows is not."""
    result = run(
        OutcomeLearning(), ("o1", outcome("nobody")), ("r2", RouteRequest(providers=("a",))), ("o2", outcome("r2"))
    )  # fmt: skip

    assert {"o1": UnknownRequest(request_id="nobody", provider="a")} == known(result, UnknownRequest)
    assert 2 == result.context.of(Posterior)["a"].payload.observations


def test_a_late_outcome_counts_for_whom_it_names_whatever_was_decided() -> None:
    """After another provider had answered in the end, or in a later run."""
    learning = OutcomeLearning()
    log = FactLog.open(projections=learning.projections)
    decision = RouteDecision(
        provider="b", alpha=1, beta=1, sample=0.5, exploit=True, propensity=1, eligible=("b",), policy="thompson"
    )
    learn(learning, log, [decision], "decided")
    learn(learning, log, [outcome("decided-0", "a", success=False)], "later")

    assert {"a": (0, 1)} == {id: (one.successes, one.failures) for id, one in log.values(learning.projection).items()}


def test_a_posterior_rests_on_what_was_known_and_on_what_is_new_in_it() -> None:
    learning = OutcomeLearning()
    result = run(learning, ("r1", outcome("r1")))
    result = run(learning, ("r2", outcome("r2")), context=result.context, name="again")

    assert ("posterior:a", "outcome:r2") == result.context.of(Posterior)["a"].because


@pytest.mark.parametrize(
    ("severity", "drifted", "left"), [("severe", True, 0), ("mild", True, 2), ("severe", False, 2)]
)
def test_severe_drift_takes_a_provider_back_to_the_prior_under_every_tag(
    severity: Any, drifted: bool, left: int
) -> None:
    learning = OutcomeLearning("reset")
    result = run(
        learning, ("r1", outcome("r1", tags=("x",))), ("r2", outcome("r2", tags=("y",))), ("r3", outcome("r3", "b"))
    )
    verdict = DriftVerdict(
        provider="a", drifted=drifted, severity=severity, signals={}, reason="worse", observations=20
    )
    result = run(learning, ("a#1", verdict), context=result.context, name="again")
    found = {id: one.payload for id, one in result.context.of(Posterior).items()}

    assert {"a": left, "a/x": left / 2, "a/y": left / 2, "b": 1} == {id: one.successes for id, one in found.items()}
    assert {"a": 2, "a/x": 1, "a/y": 1, "b": 1} == {id: one.observations for id, one in found.items()}
    resets = result.context.of(EvidenceReset)
    assert ([] if left else ["a", "a/x", "a/y"]) == sorted(resets)
    assert {"drift-verdict:a#1"} >= {fact.payload.why for fact in resets.values()}


@pytest.mark.parametrize("way", ["none", "discount", "window"])
def test_other_ways_of_forgetting_do_not_mind_drift(way: Way) -> None:
    learning = OutcomeLearning(way)
    verdict = DriftVerdict(provider="a", drifted=True, severity="severe", signals={}, reason="", observations=20)
    result = run(learning, ("r1", outcome("r1")))
    result = run(learning, ("a#1", verdict), context=result.context, name="again")

    assert 1 == result.context.of(Posterior)["a"].payload.successes
    assert {} == known(result, EvidenceReset)


@pytest.mark.parametrize(
    ("at", "every", "period"),
    [
        (1_795_219_200.0, "month", "2026-11"),
        (1_795_219_200.0, "day", "2026-11-21"),
        (1_795_219_199.0, "day", "2026-11-20"),
        (None, "day", "undated"),
        (1e300, "month", "undated"),
        (None, "all", "all"),
    ],
)
def test_spending_is_of_a_period_in_utc(at: float | None, every: Any, period: str) -> None:
    result = run(OutcomeLearning(every=every), ("r1", outcome("r1", cost=0.5, tokens=7, at=at, tags=("acme",))))

    assert period == period_of(at, every)
    assert {period: (0.5, 7, 1), f"{period}/acme": (0.5, 7, 1)} == {
        id: (one.payload.cost, one.payload.tokens, one.payload.answers)
        for id, one in result.context.of(Spending).items()
    }


def test_a_rate_limit_that_cost_something_is_spent_and_is_no_evidence() -> None:
    result = run(OutcomeLearning(every="all"), ("r1", outcome("r1", success=None, cost=0.5)))

    assert 0.5 == result.context.of(Spending)["all"].payload.cost
    assert {} == known(result, Posterior)


def test_two_ways_of_forgetting_cannot_share_the_values_of_a_log(tmp_path: Any) -> None:
    """Another half-life is another version: its values are folded anew, not gone on with."""
    path = tmp_path / "log.db"
    with FactLog.open(path, projections=[posteriors("none")]) as log:
        learn(OutcomeLearning(), log, [outcome("r1", at=0.0), outcome("r2", at=10.0)], "one")
    other = posteriors(Forgetting("discount", half_life=10.0))
    with FactLog.open(path, projections=[other]) as log:
        assert 1.5 == log.values(other)["a"].successes
