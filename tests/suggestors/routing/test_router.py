"""Holds the router to its promises: who is drawn, how often, what a decision says, and when nobody can answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import Engine, InvalidOption, Result, propose, suggestor
from quiesce.engine.testing import simulate
from quiesce.facts import Contested, Context, Fact, FactLog, Failure, View
from quiesce.suggestors.routing.candidates import Candidates, Pool
from quiesce.suggestors.routing.forgetting import Forgetting
from quiesce.suggestors.routing.learning import OutcomeLearning
from quiesce.suggestors.routing.names import posterior_id
from quiesce.suggestors.routing.payloads import (
    LinearEvidence,
    Outcome,
    Posterior,
    ProbeTally,
    RouteDecision,
    RouteRequest,
    Spending,
    Unroutable,
)
from quiesce.suggestors.routing.propensity import propensities
from quiesce.suggestors.routing.router import ThompsonRouter
from quiesce.suggestors.selection.payloads import Backend, KnownQuarantine, Quarantine

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FIXED: dict[str, Any] = {"run_id": "r", "seed": 11, "started": NOW}


def context_of(*providers: str, requests: int = 1, **fields: Any) -> Context:
    context = Context()
    for n in range(requests):
        context.add(RouteRequest(providers=providers, **fields), id=f"r{n}")
    return context


def know(
    context: Context, provider: str, successes: float = 0, failures: float = 0, tag: str | None = None, **more: Any
) -> None:
    observations = more.pop("observations", int(successes + failures))
    context.add(
        Posterior(provider=provider, successes=successes, failures=failures, observations=observations, **more),
        id=posterior_id(provider, tag),
    )  # fmt: skip


def decide(context: Context, router: ThompsonRouter | None = None, **options: Any) -> Result:
    result = Engine([router or ThompsonRouter()]).run_sync(context, **{**FIXED, **options})
    assert [] == list(result.context.of(Failure).values())
    assert [] == list(result.context.of(Contested).values())
    return result


def decisions(result: Result) -> dict[str, RouteDecision]:
    return {id: fact.payload for id, fact in result.context.of(RouteDecision).items()}


def frequencies(result: Result) -> dict[str, float]:
    found = Counter(decision.provider for decision in decisions(result).values())
    return {name: count / found.total() for name, count in found.items()}


def bound(share: float, draws: int) -> float:
    """Five standard deviations of a frequency: a right one is outside in one of 1.7 million tests."""
    return float(5 * (max(share * (1 - share), 1e-4) / draws) ** 0.5)


# --- how often --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("router", "fields"),
    [
        (ThompsonRouter(), {}),
        (ThompsonRouter(price=2.0), {}),
        (ThompsonRouter(explore=0.3), {}),
        (ThompsonRouter(quality_weight=1.0), {}),
        (ThompsonRouter(strength=5), {"tags": ("x",)}),
        (ThompsonRouter(forgetting=Forgetting("discount", half_life=5.0)), {}),
        (ThompsonRouter(floor=0.4), {"quarantine": "lifted"}),
        (ThompsonRouter("linear-thompson", dim=2, warmup=1, width=0.5), {"features": (1.0, 2.0)}),
        (ThompsonRouter("linucb", dim=2, warmup=1, explore=0.2), {"features": (1.0, 2.0)}),
    ],
    ids=["plain", "price", "explore", "quality", "tags", "discount", "floor", "linear", "linucb"],
)
def test_each_is_chosen_as_often_as_its_propensity_says(router: ThompsonRouter, fields: dict[str, Any]) -> None:
    """Whatever is mixed in: over 2,000 requests, within five standard deviations and 1e-3 for the integral."""
    fields = dict(fields)
    lifted = fields.pop("quarantine", None)
    context = context_of("a", "b", "c", requests=2_000, **fields)
    know(context, "a", 8, 2, cost=1.0, last=10.0)
    know(context, "b", 5, 3, cost=0.2, last=4.0, quality_successes=1, quality_failures=9, quality_observations=10)
    know(context, "a", 0, 6, tag="x")
    for name, moment in (("a", (1.0, 0.5)), ("b", (0.5, 1.0))):
        context.add(
            LinearEvidence(provider=name, dim=2, observations=9, gram=(4.0, 1.0, 5.0), moment=moment), id=name
        )  # fmt: skip
    if lifted:
        context.add(Quarantine(backend="c", reason="drift", lifted="recovered"), id="c")
    result = decide(context, router)
    first = decisions(result)["r0"]
    if lifted:  # after some tries it is as everybody else
        router = ThompsonRouter(floor=0.4, trials=10**6)
        result = decide(context, router)
        first = decisions(result)["r0"]
        assert first.propensities[2] >= 0.4
    found = frequencies(result)

    assert 1.0 == pytest.approx(sum(first.propensities))
    for name, share in zip(first.eligible, first.propensities, strict=True):
        assert found.get(name, 0.0) == pytest.approx(share, abs=bound(share, 2_000) + 1e-3)
    for decision in decisions(result).values():
        assert decision.propensities == first.propensities
        assert decision.propensity == dict(zip(first.eligible, first.propensities, strict=True))[decision.provider]


@pytest.mark.parametrize(
    ("router", "cost"),
    [
        (ThompsonRouter(price=1.0), 1e17),
        (ThompsonRouter("linear-thompson", dim=2, warmup=0, price=1.0), 1e17),
        (ThompsonRouter("linear-thompson", dim=2, warmup=0, width=0.0), 0.0),
    ],
    ids=["dear", "dear-linear", "certain"],
)
def test_who_scores_the_same_is_not_favoured_by_where_it_stands(router: ThompsonRouter, cost: float) -> None:
    """A float cannot tell two draws apart beside a price of 1e17, and without a spread nothing is drawn at all."""
    context = context_of("a", "b", requests=400, features=(1.0, 2.0))
    for name in ("a", "b"):
        know(context, name, 1, 1, cost=2 * cost)
    result = decide(context, router)

    assert (0.5, 0.5) == pytest.approx(decisions(result)["r0"].propensities)
    assert frequencies(result)["a"] == pytest.approx(0.5, abs=bound(0.5, 400))


def test_a_decision_by_hand_stands() -> None:
    """Whoever decides before a run begins has decided; the router says nothing more."""
    context = context_of("a", "b", requests=2)
    by_hand = RouteDecision(
        provider="c", alpha=1, beta=1, sample=1, exploit=True, propensity=1, eligible=("c",), policy="by hand"
    )
    context.add(by_hand, id="r0")
    result = Engine([ThompsonRouter()]).run_sync(context, **FIXED)

    assert by_hand == decisions(result)["r0"]
    assert {"r0", "r1"} == set(decisions(result))
    assert ([], []) == (list(result.context.of(Contested)), list(result.context.of(Failure)))


def test_a_decision_says_what_it_was_drawn_from() -> None:
    context = context_of("a", "b", "b")
    know(context, "a", 3, 1, cost=0.4)
    result = decide(context)
    decision = decisions(result)["r0"]
    params = {"a": (4.0, 2.0), "b": (1.0, 1.0)}

    assert ("a", "b") == decision.eligible, "a name that stands twice gets one draw"
    assert params[decision.provider] == (decision.alpha, decision.beta)
    assert propensities([params["a"], params["b"]]) == list(decision.propensities)
    assert ("thompson", False, 0) == (decision.policy, decision.probe, decision.watermark)
    assert (decision.provider == "a") == decision.exploit
    assert {"a": (4, 0.1), "b": (0, 0.0)}[decision.provider] == pytest.approx((decision.observations, decision.cost))
    assert ("route-request:r0", "posterior:a") == result.context.of(RouteDecision)["r0"].because


@settings(max_examples=25, deadline=None)
@given(
    providers=st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=6),
    tags=st.lists(st.text(min_size=1, max_size=200), max_size=3),
)
def test_any_names_can_be_routed(providers: list[str], tags: list[str]) -> None:
    context = context_of(*providers, tags=tuple(tags))
    for provider in dict.fromkeys(providers):
        know(context, provider, 1, 1)
    decision = decisions(decide(context))["r0"]

    assert tuple(dict.fromkeys(providers)) == decision.eligible
    assert 2 == decision.observations


def test_one_candidate_is_certain() -> None:
    assert 1.0 == decisions(decide(context_of("a")))["r0"].propensity


def test_no_candidates_named_means_every_backend() -> None:
    context = context_of()
    for name in "ab":
        context.add(Backend(name=name, kind="llm"), id=name)

    assert ("a", "b") == decisions(decide(context))["r0"].eligible


# --- what keeps somebody out ------------------------------------------------------------------------------------------


def test_a_minimum_of_quality_keeps_lower_tiers_out() -> None:
    context = context_of("a", "b", "stranger", min_quality=0.8)
    context.add(Backend(name="a", kind="llm", quality=0.9), id="a")
    context.add(Backend(name="b", kind="llm", quality=0.7), id="b")

    assert ("a",) == decisions(decide(context))["r0"].eligible


def test_who_has_cost_more_than_a_request_may_cost_is_out_and_the_unknown_is_not() -> None:
    context = context_of("a", "b", "c", max_cost=0.1)
    know(context, "a", 5, 5, cost=2.0)
    know(context, "b", 5, 5, cost=1.0)  # 0.1 each, just what it may cost

    assert ("b", "c") == decisions(decide(context))["r0"].eligible


@pytest.mark.parametrize(
    ("spent", "eligible"), [(0.0, ("a", "b")), (9.95, ("b",)), (10.0, None), (99.0, None)]
)  # fmt: skip
def test_a_budget_keeps_out_whom_it_cannot_pay(spent: float, eligible: tuple[str, ...] | None) -> None:
    context = context_of("a", "b")
    know(context, "a", 5, 5, cost=2.0)
    know(context, "b", 5, 5, cost=0.1)
    context.add(Spending(period="2026-03", cost=spent, answers=1), id="2026-03")
    result = decide(context, ThompsonRouter(budget=10))
    if eligible is None:
        assert "a, b: the budget is spent" == result.context.of(Unroutable)["r0"].payload.reason
    else:
        assert eligible == decisions(result)["r0"].eligible


def test_what_was_spent_last_month_is_no_matter_and_what_is_undated_counts() -> None:
    for period, decided in (("2026-02", 1), ("undated", 0)):
        context = context_of("a")
        context.add(Spending(period=period, cost=50.0, answers=1), id=period)

        assert decided == len(decisions(decide(context, ThompsonRouter(budget=10))))


def test_a_tag_has_a_budget_of_its_own() -> None:
    context = Context()
    context.add(RouteRequest(providers=("a",), tags=("acme",)), id="acme")
    context.add(RouteRequest(providers=("a",), tags=("other",)), id="other")
    context.add(Spending(period="2026-03", cost=5.0, answers=1), id="2026-03/acme")

    assert ["other"] == list(decisions(decide(context, ThompsonRouter(tag_budgets={"acme": 5}))))


def test_a_price_makes_the_cheaper_of_equals_win() -> None:
    context = context_of("cheap", "dear", requests=200)
    know(context, "cheap", 60, 40, cost=1.0)
    know(context, "dear", 62, 38, cost=100.0)

    assert 1.0 == frequencies(decide(context, ThompsonRouter(price=0.9)))["cheap"]


def test_whether_it_was_the_best_is_judged_with_the_price() -> None:
    context = context_of("dear", "cheap")
    know(context, "dear", 6000, 4000, cost=10_000.0)
    know(context, "cheap", 5500, 4500)
    decision = decisions(decide(context, ThompsonRouter(price=0.2)))["r0"]

    assert ("cheap", True) == (decision.provider, decision.exploit)


# --- nobody, and somebody later ---------------------------------------------------------------------------------------


def test_a_request_that_nobody_can_answer_is_decided_once_somebody_comes() -> None:
    context = context_of("a", min_quality=0.5)
    engine = Engine([ThompsonRouter()])
    result = engine.run_sync(context, **FIXED)

    assert {} == decisions(result)
    assert "a: of lower quality than 0.5" == result.context.of(Unroutable)["r0"].payload.reason
    result.context.add(Backend(name="a", kind="llm", quality=0.9), id="a")
    result = engine.run_sync(result.context, **{**FIXED, "run_id": "again"})
    assert "a" == decisions(result)["r0"].provider
    assert result.context.of(Unroutable)["r0"].payload.decided
    assert () == tuple(result.context.of(Contested))


def test_without_a_backend_and_without_a_name_it_says_so() -> None:
    result = decide(context_of())

    assert "it names no candidate, and no backend is known" == result.context.of(Unroutable)["r0"].payload.reason


def test_who_is_in_quarantine_is_out_until_it_ends() -> None:
    for until, count in ((NOW + timedelta(seconds=1), 1), (NOW, 2)):
        context = context_of("a", "b")
        context.add(KnownQuarantine(backend="b", reason="drift", until=until), id="b")

        assert count == len(decisions(decide(context))["r0"].eligible)


# --- probes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_in", [1, 2, 5])
@pytest.mark.parametrize("at_once", [1, 7])
def test_of_so_many_requests_in_a_row_at_most_one_is_a_probe_over_all_runs(one_in: int, at_once: int) -> None:
    router = ThompsonRouter()
    log = FactLog.open(projections=router.projections)
    probes: list[bool] = []
    for run in range(60 // at_once):
        context = log.context()
        for n in range(at_once):
            context.add(RouteRequest(providers=("a", "b")), id=f"{run}-{n}")
        context.add(KnownQuarantine(backend="b", reason="drift", one_in=one_in), id="b")
        result = decide(context, router, log=log, run_id=f"run-{run}", seed=100 + run)
        probes += [decision.probe for decision in decisions(result).values()]
        tally = result.context.of(ProbeTally)["b"].payload

        assert log.values(router.projection)["b"] == tally, "the run and the ledger count alike"
        assert (len(probes), sum(probes)) == (tally.held, tally.probes)
    assert all(sum(probes[at : at + one_in]) <= 1 for at in range(len(probes)))
    assert sum(probes) >= len(probes) / one_in / 4
    assert [] == [str(check) for check in log.check_projections() if not check.ok]


@pytest.mark.slow
def test_a_probe_is_as_probable_as_it_says() -> None:
    """Due with each request: the frequency over 2,000 of them, within five standard deviations."""
    context = context_of("a", "b", requests=2_000)
    context.add(Quarantine(backend="b", reason="drift", one_in=1), id="b")
    found = decisions(decide(context, ThompsonRouter(probe_chance=0.4)))

    assert 0.4 == pytest.approx(sum(decision.probe for decision in found.values()) / 2_000, abs=bound(0.4, 2_000))
    for decision in found.values():
        assert (("a", "b"), ("b",)) == (decision.eligible, decision.held)
        assert {"a": 0.6, "b": 0.4}[decision.provider] == pytest.approx(decision.propensity)
        assert (decision.provider == "b") == decision.probe


def test_where_all_are_in_quarantine_requests_wait_until_one_is_due() -> None:
    context = context_of("a", requests=5)
    context.add(Quarantine(backend="a", reason="drift", one_in=5), id="a")
    result = decide(context)

    assert ["r4"] == list(decisions(result))
    assert (1.0, True, "probe") == tuple(
        getattr(decisions(result)["r4"], name) for name in ("propensity", "probe", "policy")
    )
    assert ["r0", "r1", "r2", "r3"] == list(result.context.of(Unroutable))


def test_a_request_has_its_turns_once_however_long_it_waits() -> None:
    context = context_of("a", requests=2)
    context.add(Quarantine(backend="a", reason="drift", one_in=9), id="a")
    engine = Engine([ThompsonRouter()])
    result = engine.run_sync(context, **FIXED)
    for n in range(3):
        result.context.add(Backend(name=f"b{n}", kind="llm"), id=f"b{n}")
        result = engine.run_sync(result.context, **{**FIXED, "run_id": f"again-{n}"})

        assert 2 == result.context.of(ProbeTally)["a"].payload.held
    result.context.add(Quarantine(backend="a", reason="drift", one_in=9, lifted="well"), id="a")
    result = engine.run_sync(result.context, **{**FIXED, "run_id": "lifted"})
    assert ["r0", "r1"] == list(decisions(result))
    assert (2, 2) == (
        result.context.of(ProbeTally)["a"].payload.held,
        result.context.of(ProbeTally)["a"].payload.trials,
    )
    assert {} == dict(result.context.of(Contested))


def test_who_is_back_from_quarantine_is_tried_some_times_however_bad_it_was() -> None:
    """And not for ever: ten tries of its own, then its posterior speaks."""
    context = context_of("a", "b", requests=400)
    know(context, "a", 5000, 10)
    know(context, "b", 10, 5000)
    context.add(KnownQuarantine(backend="b", reason="drift", until=NOW), id="b")
    result = decide(context, ThompsonRouter(floor=0.1, trials=10))
    chosen = [decision for decision in decisions(result).values() if decision.provider == "b"]

    assert 10 == len(chosen) == result.context.of(ProbeTally)["b"].payload.trials
    assert {0.1} == {round(decision.propensity, 6) for decision in chosen}
    assert 0.0 == pytest.approx(decisions(result)["r399"].propensities[1], abs=1e-9)


def test_each_quarantine_has_trials_of_its_own_behind_it() -> None:
    """Also where no request came while it lasted."""
    router = ThompsonRouter(floor=0.2, trials=5)
    log = FactLog.open(projections=router.projections)
    for number in (1, 2, 3):
        context = log.context()
        for n in range(100):
            context.add(RouteRequest(providers=("a", "b")), id=f"{number}-{n}")
        know(context, "a", 5000, 10)
        know(context, "b", 10, 5000)
        context.add(KnownQuarantine(backend="b", reason="drift", number=number, lifted="well"), id="b")
        result = decide(context, router, log=log, run_id=f"run-{number}")

        assert 5 == sum(decision.provider == "b" for decision in decisions(result).values())
        assert (number, 5) == (log.values(router.projection)["b"].number, log.values(router.projection)["b"].trials)


# --- contextual -------------------------------------------------------------------------------------------------------


def linear(context: Context) -> None:
    context.add(LinearEvidence(provider="a", dim=2, observations=30, gram=(30.0, 0.0, 0.0), moment=(27.0, 0.0)), id="a")
    context.add(LinearEvidence(provider="b", dim=2, observations=30, gram=(0.0, 0.0, 30.0), moment=(0.0, 27.0)), id="b")


@pytest.mark.parametrize("policy", ["linucb", "linear-thompson"])
def test_contextual_policies_choose_by_what_a_request_is_like(policy: Any) -> None:
    for features, better in (((1.0, 0.0), "a"), ((0.0, 1.0), "b")):
        context = context_of("a", "b", requests=50, features=features)
        context.add(
            LinearEvidence(provider="a", dim=2, observations=60, gram=(30.0, 0.0, 30.0), moment=(27.0, 3.0)), id="a"
        )
        context.add(
            LinearEvidence(provider="b", dim=2, observations=60, gram=(30.0, 0.0, 30.0), moment=(3.0, 27.0)), id="b"
        )
        found = decisions(decide(context, ThompsonRouter(policy, dim=2, width=0.3)))

        assert {policy} == {decision.policy for decision in found.values()}
        assert Counter(decision.provider for decision in found.values())[better] >= 48
        assert features == found["r0"].features


def test_old_evidence_counts_less_for_contextual_policies_too() -> None:
    """Twenty half-lives ago is as good as unknown: its upper edge is higher than that of one known to be middling."""
    for last, winner in ((100.0, "b"), (0.0, "a")):
        context = context_of("a", "b", features=(1.0, 0.0))
        for name, moment, at in (("a", 5.0, last), ("b", 20.0, 100.0)):
            context.add(
                LinearEvidence(
                    provider=name, dim=2, observations=50, gram=(50.0, 0.0, 0.0), moment=(moment, 0.0), last=at
                ),
                id=name,
            )  # fmt: skip
            know(context, name, 20, 30, last=at)
        router = ThompsonRouter("linucb", dim=2, forgetting=Forgetting("discount", half_life=5.0))

        assert winner == decisions(decide(context, router))["r0"].provider


def test_who_is_fresh_counts_under_linucb_and_ties_go_by_name() -> None:
    context = context_of("z", "y", "a", features=(1.0, 0.0))
    linear(context)
    decision = decisions(decide(context, ThompsonRouter("linucb", dim=2, width=3.0)))["r0"]

    assert "y" == decision.provider
    assert (1.0, (0.0, 1.0, 0.0)) == (decision.propensity, decision.propensities)


@pytest.mark.parametrize(
    ("features", "warmup"), [((1.0, 0.0), 61), (None, 0), ((1.0,), 0), ((0.0, 0.0), 0)],
    ids=["warming up", "no features", "too few", "zero"],
)  # fmt: skip
def test_until_there_is_enough_to_go_by_it_samples_as_ever(features: Any, warmup: int) -> None:
    """And from what every outcome has taught: Zeph's fallback never learns."""
    context = context_of("a", "b", features=features)
    linear(context)
    know(context, "a", 30, 1)
    decision = decisions(decide(context, ThompsonRouter("linucb", dim=2, warmup=warmup)))["r0"]

    assert "thompson" == decision.policy
    assert decision.propensities[0] > 0.9


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_decision_replays_and_says_from_where_it_knew() -> None:

    router, learning = ThompsonRouter(), OutcomeLearning()
    engine = Engine([router, learning])
    log = FactLog.open(projections=[*learning.projections, *router.projections])
    first = Context()
    first.add(Outcome(request_id="x", provider="a", success=True), id="x")
    engine.run_sync(first, log=log, run_id="first")
    context = log.context()
    context.add(RouteRequest(providers=("a",)), id="r0")
    engine.run_sync(context, log=log, run_id="second")
    watermark = log.values(learning.projection).watermark
    decision = engine.rerun_sync(log, "second").unwrap().log
    del decision

    from quiesce.facts import replay

    found = replay(log, "second").of(RouteDecision)["r0"].payload
    assert 0 < found.watermark <= watermark
    assert 1 == found.observations


def test_the_watermark_outlives_the_revision_of_every_posterior() -> None:
    """What was learned in this run is beside it, not in it."""

    @suggestor
    def ask(outcome: Fact[Outcome]) -> RouteRequest | None:
        return RouteRequest(providers=("a",)) if outcome.id == "late" else None

    @suggestor
    def later(posterior: Fact[Posterior]) -> RouteRequest | None:
        return RouteRequest(providers=("a",), tags=("second",)) if posterior.payload.observations == 2 else None

    learning = OutcomeLearning()
    log = FactLog.open(projections=learning.projections)
    context = Context()
    context.add(Outcome(request_id="x", provider="a", success=True), id="x")
    Engine([learning]).run_sync(context, log=log, run_id="first")
    context = log.context()
    began = log.values(learning.projection).watermark
    context.add(Outcome(request_id="y", provider="a", success=True), id="late")
    context.add(RouteRequest(providers=("a",)), id="r0")
    result = Engine([learning, ask, later, ThompsonRouter()]).run_sync(context, log=log, run_id="second")

    assert {began} == {decision.watermark for decision in decisions(result).values()}
    assert {1, 2} == {decision.observations for decision in decisions(result).values()}


async def test_the_log_does_not_depend_on_who_finishes_first() -> None:
    @suggestor
    async def call(decision: Fact[RouteDecision]) -> Outcome:
        ok = decision.payload.provider == "a"
        return Outcome(request_id=decision.id, provider=decision.payload.provider, success=ok)

    @suggestor
    async def more(outcome: Fact[Outcome]) -> RouteRequest | None:
        deeper = outcome.id.count("+")
        return RouteRequest(providers=("a", "b"), tags=("x",) * (deeper + 1)) if deeper < 2 else None

    engine = Engine([call, OutcomeLearning("reset"), more, ThompsonRouter()])
    context = context_of("a", "b", requests=3)

    assert (await simulate(engine, context, seeds=range(12))).unwrap().ok


def test_requests_cost_what_is_new_and_not_what_is_known() -> None:
    """The router looks at no family that grows with requests, but for those that wait."""
    from quiesce.facts import view as views

    looked: list[str] = []

    class Counting(views.View):
        def all(self, cls: type[Any]) -> Any:
            looked.append(cls.__name__)
            return super().all(cls)

    context = context_of("a", requests=3)
    made = ThompsonRouter()
    result = decide(context, made)
    shelves = result.context._shelves
    reads = {cls.__family__.name: cls.__name__ for cls in made.reads if cls.__family__}
    list(made.suggest(Counting(shelves, 1, made.name, reads, {}, views.Moment("r", 1, NOW))))  # type: ignore[arg-type]

    assert {"Backend", "Quarantine", "KnownQuarantine"} == set(looked)


def test_who_waits_costs_nothing_until_something_may_help_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 30 requests in turn, and each outcome, made all 50 that nobody can answer be looked at again."""
    looked: Counter[tuple[str, ...]] = Counter()
    kept = Pool.candidates

    def candidates(self: Pool, request: RouteRequest, left: float | None) -> Candidates:
        looked[request.providers] += 1
        return kept(self, request, left)

    monkeypatch.setattr(Pool, "candidates", candidates)

    @suggestor(reads=[RouteDecision], writes=[RouteRequest, Posterior])
    def follow(view: View) -> Iterator[Any]:
        for fact in view.new(RouteDecision):
            number = int(fact.id[1:]) + 1
            yield propose(Posterior(provider="a", successes=number, observations=number), id="a", because=[fact])
            if number < 30:
                yield propose(RouteRequest(providers=("a",)), id=f"r{number}", because=[fact])

    context = context_of("a")
    context.add(Quarantine(backend="out", reason="slow"), id="out")
    for n in range(50):
        context.add(RouteRequest(providers=("out",)), id=f"w{n}")
    result = Engine([ThompsonRouter(), follow]).run_sync(context, **FIXED)

    assert 30 == len(decisions(result))
    assert {("a",): 30} == {names: times for names, times in looked.items() if names == ("a",)}
    assert looked["out",] <= 100


def test_who_waits_is_decided_when_the_quarantine_ends_by_itself() -> None:
    """No new fact says so; the next request that comes finds out."""
    context = Context()
    context.add(RouteRequest(providers=("a",)), id="r0")
    context.add(Quarantine(backend="a", reason="slow", until=NOW + timedelta(hours=1)), id="a")
    waiting = decide(context).context
    assert ["r0"] == list(waiting.of(Unroutable))
    waiting.add(RouteRequest(providers=("b",)), id="r1")

    later = decide(waiting, run_id="later", started=NOW + timedelta(hours=2))

    assert {"r0": "a", "r1": "b"} == {id: one.provider for id, one in decisions(later).items()}


def test_who_waits_for_a_lower_price_is_decided_when_it_is_known() -> None:
    context = Context()
    context.add(RouteRequest(providers=("a",), max_cost=1.0), id="r0")
    know(context, "a", 1, 1, cost=10.0)
    waiting = decide(context).context
    assert ["r0"] == list(waiting.of(Unroutable))
    waiting.add(Outcome(request_id="x", provider="a", success=True), id="x")
    for n in range(20):
        waiting.add(Outcome(request_id=f"y{n}", provider="a", success=True), id=f"y{n}")

    later = Engine([ThompsonRouter(), OutcomeLearning()]).run_sync(waiting, **{**FIXED, "run_id": "later"})

    assert "a" == decisions(later)["r0"].provider


def test_the_graph_has_no_loop_that_could_run_on() -> None:
    @suggestor
    def call(decision: Fact[RouteDecision]) -> Outcome:
        return Outcome(request_id=decision.id, provider=decision.payload.provider, success=True)

    found = Engine([ThompsonRouter(), call, OutcomeLearning()]).check()

    assert [] == [str(one) for one in found if one.level != "info"]


# --- misuse -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "error", "wanted"),
    [
        ({"policy": "best"}, InvalidOption, "one of thompson, linear-thompson, linucb"),
        ({"policy": "linucb"}, InvalidOption, "dim=None is not given"),
        ({"policy": "linucb", "dim": 0}, InvalidOption, "from 1 to 256"),
        ({"explore": 1.1}, InvalidOption, "from 0 to 1"),
        ({"floor": -0.1}, InvalidOption, "from 0 to 1"),
        ({"probe_chance": float("nan")}, InvalidOption, "from 0 to 1"),
        ({"price": -1}, InvalidOption, "from 0"),
        ({"budget": "much"}, InvalidOption, "a number from 0"),
        ({"tag_budgets": {"x": -1}}, InvalidOption, "from 0"),
        ({"every": "week"}, InvalidOption, '"day", "month" or "all"'),
        ({"trials": -1}, InvalidOption, "whole number from 0"),
        ({"warmup": 1.5}, InvalidOption, "whole number from 0"),
        ({"width": -2}, InvalidOption, "from 0"),
        ({"forgetting": "slowly"}, InvalidOption, "one of none, discount"),
        ({"prior": (0, 1)}, InvalidOption, "from 0.5"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_setting_out_of_range_is_refused_with_the_range(fields: Any, error: Any, wanted: str) -> None:
    with pytest.raises(error, match=wanted):
        ThompsonRouter(**fields)


@pytest.mark.parametrize(
    "forged",
    [
        Posterior(provider="a", successes=1e308, failures=1e308, observations=1, cost=1e308),
        Posterior(provider="a", successes=-1e308, failures=-5, observations=10**30),
        Posterior(provider="a", quality_successes=1e300, quality_failures=1e300, quality_observations=1),
        Posterior(provider="a", last=1e308, observations=3),
        Posterior(provider="a", cost=1.0, observations=10**400, quality_observations=10**400, resets=10**400),
    ],
)
def test_a_forged_posterior_does_not_stop_a_decision(forged: Posterior) -> None:
    context = context_of("a", "b", max_cost=1e300)
    context.add(forged, id="a")
    router = ThompsonRouter(price=1e9, forgetting="discount", explore=0.1)

    assert np.isfinite(decisions(decide(context, router))["r0"].sample)
