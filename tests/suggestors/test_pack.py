"""Shows the loop closed: from a request to what it leaves for the next one, in one run and over many."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from quiesce.engine import Converged, Engine
from quiesce.facts import Contested, Context, FactLog, Failure, ProjectionError, QuiesceError
from quiesce.suggestors import (
    Backend,
    BackendRequirements,
    DriftMonitor,
    DriftVerdict,
    Feedback,
    FeedbackJudge,
    KnownQuarantine,
    LessonOffering,
    Outcome,
    OutcomeLearning,
    Posterior,
    ProviderAssignment,
    ProviderRequest,
    ProvidersPack,
    Quarantine,
    ResponseObservation,
    RouteDecision,
    RouteRequest,
    StepOutcome,
    ThompsonRouter,
    TrajectoryRecorder,
    UnknownRequest,
    Unroutable,
    Verdict,
    providers,
)
from quiesce.suggestors.drift import KnownWindow
from quiesce.suggestors.trajectories import LessonQuery, OfferedLesson, lesson_books, verdict_tallies
from support.pack_worker import BACKENDS, NAMES, STARTED, caller, pack_of, run_one
from support.pages import ROOT

TEXT = ProviderRequest(required_capabilities=("text_generation",))
FIXED: dict[str, Any] = {"run_id": "r", "seed": 3, "started": STARTED}


def settle(pack: ProvidersPack, *said: tuple[Any, str], log: FactLog | None = None, **options: Any) -> Context:
    """Returns what becomes of some inputs, with the backends of the pack."""
    with log or pack.open(":memory:") as kept:
        context = pack.context(kept)
        for payload, id in said:
            context.add(payload, id=id)
        result = pack.engine(caller(pure=True)).run_sync(context, log=kept, **{**FIXED, **options})
    assert isinstance(result.stop, Converged)
    assert {} == dict(result.context.of(Failure))
    return result.context


# --- one run ----------------------------------------------------------------------------------------------------------


def test_a_request_is_selected_routed_called_and_learned_from() -> None:
    """Each step is a fact that rests on the one before it."""
    context = settle(pack_of(), (TEXT, "r1"))
    decision = context.of(RouteDecision)["r1"]

    assert 1.0 == context.of(ProviderAssignment)["r1"].payload.coverage_ratio
    assert "route-request:r1" in decision.because
    assert decision.payload.provider in NAMES
    assert set(NAMES) == set(decision.payload.eligible)
    assert decision.payload.provider == context.of(Outcome)["r1"].payload.provider
    assert 1 == context.of(Posterior)[decision.payload.provider].payload.observations
    assert "provider-request:r1" in str(context.why("route-decision:r1"))


def test_only_who_can_do_all_of_it_is_a_candidate() -> None:
    """The envelope of the request decides, not the capability alone."""
    pool = [
        Backend(name="near", kind="llm", capabilities=frozenset({"text_generation"}), region="eu"),
        Backend(name="far", kind="llm", capabilities=frozenset({"text_generation"}), region="us"),
        Backend(name="index", kind="search", capabilities=frozenset({"vector_search"}), region="eu"),
    ]
    wanted = ProviderRequest(
        required_capabilities=("text_generation",), backend_requirements=BackendRequirements(kind="llm", region="eu")
    )
    context = settle(providers(pool), (wanted, "r1"))

    assert ("near",) == context.of(RouteRequest)["r1"].payload.providers
    assert "near" == context.of(RouteDecision)["r1"].payload.provider


def test_what_nobody_can_do_is_not_routed_and_says_why() -> None:
    """It keeps its assignment with the explanation, and asks nobody."""
    context = settle(pack_of(), (ProviderRequest(required_capabilities=("vision",)), "r1"))

    assert 0.0 == context.of(ProviderAssignment)["r1"].payload.coverage_ratio
    assert context.of(ProviderAssignment)["r1"].payload.reason == context.of(Unroutable)["r1"].payload.reason != ""
    assert {} == dict(context.of(RouteRequest)) == dict(context.of(Outcome))


def test_what_takes_two_backends_is_not_routed_to_one() -> None:
    """Selection has an answer, routing has none: one call goes to one provider."""
    pool = [
        Backend(name="writer", kind="llm", capabilities=frozenset({"text_generation"})),
        Backend(name="index", kind="search", capabilities=frozenset({"vector_search"})),
    ]
    both = ProviderRequest(required_capabilities=("text_generation", "vector_search"))
    context = settle(providers(pool), (both, "r1"))

    assert 1.0 == context.of(ProviderAssignment)["r1"].payload.coverage_ratio
    assert (
        "no backend can do all of it by itself; it takes several (text_generation: writer, vector_search: index). "
        "Ask for each part by itself"
    ) == context.of(Unroutable)["r1"].payload.reason
    assert {} == dict(context.of(RouteDecision))


def test_a_route_request_of_the_users_own_stands() -> None:
    """Whoever has tags, features or a price to name asks for the route himself; nothing is contested."""
    asked = RouteRequest(providers=("bob",), tags=("tenant-1",))
    context = settle(pack_of(), (TEXT, "r1"), (asked, "r1"))

    assert asked == context.of(RouteRequest)["r1"].payload
    assert "bob" == context.of(RouteDecision)["r1"].payload.provider
    assert {} == dict(context.of(Contested))


def test_a_backend_that_comes_later_answers_what_nobody_could() -> None:
    """Two of them at once are both candidates; what was answered is not asked again."""
    pack = pack_of()
    with pack.open(":memory:") as log:
        context = pack.context(log)
        context.add(ProviderRequest(required_capabilities=("vision",)), id="r1")
        context.add(TEXT, id="r2")
        engine = pack.engine(caller(pure=True))
        first = engine.run_sync(context, log=log, **FIXED)
        for name in ("eye", "lens"):
            late = Backend(name=name, kind="llm", capabilities=frozenset({"vision", "text_generation"}))
            first.context.add(late, id=name)
        second = engine.run_sync(first.context, log=log, **{**FIXED, "run_id": "r-2"})

    assert ("eye", "lens") == second.context.of(RouteRequest)["r1"].payload.providers
    assert NAMES == second.context.of(RouteRequest)["r2"].payload.providers
    assert second.context.of(RouteDecision)["r1"].payload.provider in ("eye", "lens")
    assert {} == dict(second.context.of(Contested))


def test_a_context_that_is_settled_calls_nobody_when_it_is_run_again() -> None:
    """M.10: quiescent means quiescent, for the pack as well."""
    pack = pack_of()
    called: list[object] = []
    with pack.open(":memory:") as log:
        context = pack.context(log)
        context.add(TEXT, id="r1")
        engine = pack.engine(caller())
        settled = engine.run_sync(context, log=log, **FIXED)
        again = engine.run_sync(settled.context, log=log, run_id="again", observers=[called.append])

    assert 0 == again.cycles - settled.cycles or 0 == again.cycles
    assert settled.context == again.context
    assert [] == [one for one in called if type(one).__name__ == "InvocationStarted"]


# --- many runs --------------------------------------------------------------------------------------------------------


def observe(
    pack: ProvidersPack, log: FactLog, run: str, provider: str, tokens: int, *, count: int, minute: int
) -> Context:
    """Returns what a run makes of so many answers of a provider."""
    context = pack.context(log)
    for number in range(count):
        answer = ResponseObservation(
            provider=provider, output_tokens=tokens, has_tool_use=False, request_had_tools=False, stop_reason="stop"
        )
        context.add(answer, id=f"{run}-{number}")
    started = STARTED + timedelta(minutes=minute)
    return pack.engine().run_sync(context, log=log, run_id=run, seed=1, started=started).context


def decided(pack: ProvidersPack, log: FactLog, run: str, *, count: int, minute: int) -> list[RouteDecision]:
    """Returns what is decided on so many requests."""
    context = pack.context(log)
    for number in range(count):
        context.add(TEXT, id=f"{run}-{number}")
    started = STARTED + timedelta(minutes=minute)
    result = pack.engine().run_sync(context, log=log, run_id=run, seed=1, started=started)
    return [fact.payload for fact in result.context.of(RouteDecision).values()]


def test_who_drifts_is_put_out_probed_and_let_in_again() -> None:
    """Over runs, by nothing but facts: a verdict, a quarantine with a date, one request in so many, and the end."""
    pack = providers(BACKENDS, monitor=DriftMonitor("normal", one_in=5, cooldown=600))
    with pack.open(":memory:") as log:
        found = observe(pack, log, "bad", "cyd", 0, count=20, minute=0)
        out = found.of(Quarantine)["drift/cyd"]

        assert "severe" == found.of(DriftVerdict)["cyd#1"].payload.severity
        assert "cyd" == out.payload.backend
        assert STARTED + timedelta(minutes=10) == out.payload.until
        decisions = decided(pack, log, "meanwhile", count=30, minute=5)
        probes = [place for place, one in enumerate(decisions) if one.probe]
        assert {"cyd"} == {decisions[place].provider for place in probes}
        assert "cyd" not in {one.provider for one in decisions if not one.probe}
        assert len(probes) >= 2
        assert all(later - earlier >= 5 for earlier, later in pairwise(probes))
        observe(pack, log, "well", "cyd", 90, count=40, minute=6)
        assert log.values(pack.quarantines)["drift/cyd"].lifted.startswith("cyd: no drift in ")
        assert "cyd" in {one.provider for one in decided(pack, log, "after", count=60, minute=7)}


def test_a_quarantine_ends_at_its_date_and_not_before() -> None:
    """Half-open: at the moment itself the provider is in."""
    pack = providers(BACKENDS, monitor=DriftMonitor("normal", one_in=0, cooldown=600))
    with pack.open(":memory:") as log:
        observe(pack, log, "bad", "cyd", 0, count=20, minute=0)

        assert "cyd" not in {one.provider for one in decided(pack, log, "before", count=60, minute=9)}
        assert all("cyd" in one.eligible for one in decided(pack, log, "then", count=3, minute=10))


def test_a_person_lifts_a_quarantine_by_a_fact() -> None:
    """Who lifted it and why is in the log, and later runs know."""
    pack = providers(BACKENDS, monitor=DriftMonitor("normal", one_in=0, cooldown=timedelta(days=30)))
    with pack.open(":memory:") as log:
        observe(pack, log, "bad", "cyd", 0, count=20, minute=0)
        [(id, standing)] = log.values(pack.quarantines).items()
        context = pack.context(log)
        lifted = Quarantine(**{**standing.model_dump(), "lifted": "ana: it was our proxy"})
        context.add(lifted, id=id, by="ana")
        context.add(TEXT, id="r1")
        same_run = pack.engine().run_sync(context, log=log, run_id="lift", started=STARTED + timedelta(minutes=1))

        assert "cyd" in same_run.context.of(RouteDecision)["r1"].payload.eligible
        assert all("cyd" in one.eligible for one in decided(pack, log, "later", count=3, minute=2))


def test_a_person_puts_a_provider_out_by_a_fact() -> None:
    """Without a date it holds until it is lifted."""
    pack = pack_of()
    with pack.open(":memory:") as log:
        context = pack.context(log)
        context.add(Quarantine(backend="ada", reason="contract ended"), id="by-hand/ada", by="ana")
        pack.engine().run_sync(context, log=log, run_id="put-out", started=STARTED)

        assert "ada" not in {one.provider for one in decided(pack, log, "later", count=60, minute=60 * 24 * 365)}


def test_when_all_are_out_nobody_is_called_and_it_says_so() -> None:
    """B.9, H.4: no silent fallback to whoever is left."""
    pack = pack_of()
    outs = [(Quarantine(backend=name, reason="maintenance"), name) for name in NAMES]
    context = settle(pack, *outs, (TEXT, "r1"))

    assert {} == dict(context.of(RouteDecision)) == dict(context.of(Outcome))
    assert "ada, bob, cyd: in quarantine" == context.of(Unroutable)["r1"].payload.reason


def test_a_rate_limit_is_neither_a_success_nor_a_failure() -> None:
    """J.8: it says nothing about the provider, however often it is said."""
    limited = Outcome(request_id="r1", provider="ada")
    context = settle(pack_of(), (limited, "r1"), (limited, "r1-again"))

    assert {} == dict(context.of(Posterior))


def test_credit_goes_to_whom_the_outcome_names() -> None:
    """J.11: not to whoever was decided for last; the verdict of a user goes to whom the feedback names."""
    feedback = Feedback(user_message="No, that is wrong.", assistant_response="It is 42.", provider="bob")
    context = settle(pack_of(), (Outcome(request_id="x", provider="ada", success=False), "x"), (feedback, "x"))

    assert (0.0, 1.0) == (context.of(Posterior)["ada"].payload.successes, context.of(Posterior)["ada"].payload.failures)
    assert 1.0 == context.of(Posterior)["bob"].payload.quality_failures
    assert 0 == context.of(Posterior)["bob"].payload.observations


def test_an_outcome_may_come_in_a_later_run_than_its_decision() -> None:
    """Delayed outcomes count; the diagnostic says that this run does not know the request."""
    pack = pack_of()
    with pack.open(":memory:") as log:
        [decision] = decided(pack, log, "asked", count=1, minute=0)
        context = pack.context(log)
        context.add(Outcome(request_id="asked-0", provider=decision.provider, success=True), id="asked-0")
        late = pack.engine().run_sync(context, log=log, run_id="late").context

        assert 1 == log.values(pack.posteriors)[decision.provider].observations
        assert ["asked-0"] == list(late.of(UnknownRequest))


def test_every_run_is_a_trajectory_where_that_is_asked_for() -> None:
    """J.49: nobody has to remember to record, and the tallies count it."""
    pack = pack_of()
    with pack.open(":memory:") as log:
        engine = pack.engine(caller(pure=True), record=log)
        run_one(pack, engine, log, "r1", 1)

        assert ["r1", "r1.trajectory"] == list(log.runs())
        assert {"success": 1} == {kind: tally.count for kind, tally in log.values(verdict_tallies).items()}


# --- the pack itself --------------------------------------------------------------------------------------------------


def test_lessons_are_offered_where_they_are_asked_for() -> None:
    """The pack leaves them out: they need embeddings and words, which only the caller has. They fit beside it."""
    pack = providers(BACKENDS)
    with pack.open(":memory:", projections=[lesson_books]) as log:
        with TrajectoryRecorder([0.1, 0.9], log=log) as recorder:
            recorder.add_step("parse", "", StepOutcome.success(), 1)
            recorder.add_lesson("try ISO 8601 first")
            recorder.complete(Verdict.success())
        context = pack.context(log)
        context.add(LessonQuery(embedding=(0.1, 0.9)), id="q1")
        context.add(TEXT, id="r1")
        result = pack.engine(LessonOffering()).run_sync(context, log=log, **FIXED)

    assert ["try ISO 8601 first"] == [fact.payload.text for fact in result.context.of(OfferedLesson).values()]
    assert ["r1"] == list(result.context.of(RouteDecision))
    assert {} == dict(result.context.of(Failure))


def test_a_pack_is_the_list_of_its_suggestors() -> None:
    """`Engine([*pack, call])` and `pack.engine(call)` know the same suggestors, in the same order."""
    pack = pack_of()
    plain, made = Engine([*pack, caller()]), pack.engine(caller())

    assert [one.name for one in plain.suggestors] == [one.name for one in made.suggestors]
    assert len(pack) + 1 == len(made.suggestors)
    assert ("providers",) == made.packs
    with pytest.raises(FrozenInstanceError):
        pack.backends = ()  # type: ignore[misc]  # that is the test


def test_one_pack_serves_several_engines_and_logs() -> None:
    """Whatever a suggestor keeps at hand for one run does no harm to another."""
    pack = pack_of()
    alone = []
    for _ in range(2):
        with pack.open(":memory:") as log:
            alone.append(run_one(pack, pack.engine(caller(pure=True)), log, "r1", 1))
    with pack.open(":memory:") as one, pack.open(":memory:") as other:
        engine = pack.engine(caller(pure=True))
        between = [run_one(pack, engine, log, "r1", 1) for log in (one, other)]

    assert 1 == len({*alone, *between})


def test_without_drift_and_with_a_judge_of_ones_own() -> None:
    """Parts can be left out, replaced, and brought along."""
    judge = FeedbackJudge(threshold=0.99)
    pack = providers(BACKENDS, sensitivity=None, forgetting="discount", judge=judge)

    assert pack.windows is None
    assert judge in pack.suggestors
    assert [] == [one for one in pack if isinstance(one, DriftMonitor)]
    assert ["discount"] == [one.forgetting.way for one in pack if isinstance(one, ThompsonRouter)]
    assert pack.posteriors in pack.projections


def test_each_part_that_is_made_fits_the_one_that_is_given() -> None:
    """A budget by the day needs sums by the day, and who chooses by eight features needs as many to be learned."""
    router = ThompsonRouter("linucb", dim=8, budget=9, every="day", forgetting="reset")
    [learning] = [one for one in providers(BACKENDS, router=router) if isinstance(one, OutcomeLearning)]
    daily = OutcomeLearning("discount", every="day")
    [made] = [one for one in providers(BACKENDS, learning=daily) if isinstance(one, ThompsonRouter)]

    assert (8, "day", "reset") == (learning.dim, learning.every, learning.forgetting.way)
    assert ("day", "discount") == (made.every, made.forgetting.way)


@pytest.mark.parametrize(
    ("options", "way"),
    [({}, "reset"), ({"router": ThompsonRouter(price=2)}, "none"), ({"forgetting": "window"}, "window")],
)
def test_evidence_ages_as_the_router_is_told_to_and_with_resets_where_nobody_says(
    options: dict[str, Any], way: str
) -> None:
    [learning] = [one for one in providers(BACKENDS, **options) if isinstance(one, OutcomeLearning)]

    assert way == learning.forgetting.way


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backends": BACKENDS[0]}, "a list of Backend objects. Write: providers([Backend(…)])"),
        ({"backends": ["ada"]}, "a Backend. Write: Backend(name=…, kind=…, capabilities={…})"),
        ({"backends": [BACKENDS[0], BACKENDS[0]]}, "named once: two backends go by this name, and ids are names"),
        ({"sensitivity": "extreme"}, "one of low, normal, high"),
        ({"forgetting": "soon"}, "one of none, discount, window, reset"),
        (
            {"router": ThompsonRouter(), "forgetting": "reset"},
            "the forgetting of the learning. Write: ThompsonRouter(forgetting=",
        ),
        ({"policy": 3}, "a Policy or None"),
        (
            {"router": ThompsonRouter(budget=9, every="day"), "learning": OutcomeLearning("none")},
            "the period that the learning sums costs by. Write: ThompsonRouter(every='month')",
        ),
        (
            {"router": ThompsonRouter(tag_budgets={"x": 9}), "learning": OutcomeLearning("none", every="all")},
            "Write: ThompsonRouter(every='all')",
        ),
        (
            {"router": ThompsonRouter("linucb", dim=8), "learning": OutcomeLearning("none", dim=4)},
            "the features that the learning keeps. Write: OutcomeLearning(dim=8)",
        ),
        (
            {"router": ThompsonRouter("linucb", dim=8), "learning": OutcomeLearning("none")},
            "Write: OutcomeLearning(dim=8)",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_construction(options: dict[str, Any], said: str) -> None:
    """With what to write instead."""
    with pytest.raises(QuiesceError) as refused:
        providers(**options)

    assert said in str(refused.value)


def test_a_log_without_the_projections_of_the_pack_is_refused() -> None:
    """A run on it would begin as if nothing were known, and nobody would see it."""
    with FactLog.open() as log, pytest.raises(ProjectionError, match="it is not registered with this log"):
        pack_of().context(log)


def test_what_check_finds_is_told_in_the_guide() -> None:
    """No error and no warning; each line that is left stands in docs/providers.md with its reason."""
    inputs = [ProviderRequest, Backend, KnownQuarantine, KnownWindow]
    found = pack_of().engine(caller()).check(inputs=inputs)
    guide = (ROOT / "docs" / "providers.md").read_text()

    assert {"info"} == {one.level for one in found}
    assert [] == [f"{one.code} {one.where}" for one in found if f"| `{one.code}` | `{one.where}` |" not in guide]


def test_importing_the_pack_loads_nothing_heavy() -> None:
    """Who waits for numpy and its like is who makes the first decision."""
    heavy = "{'matplotlib', 'networkx', 'numpy', 'pydantic_ai', 'river', 'scipy'}"
    program = f"import sys, quiesce.suggestors.pack; print(*sorted({heavy} & sys.modules.keys()))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert [] == loaded.stdout.split()
