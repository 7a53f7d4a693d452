"""Asks "what if" at every point of a run: a fork goes its own way, and neither branch ever sees the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quiesce.engine import (
    Approve,
    AwaitingApproval,
    Budget,
    BudgetExhausted,
    Cancelled,
    CancelSwitch,
    Converged,
    DuplicateName,
    Engine,
    Gate,
    GateError,
    InLoop,
    InvalidOption,
    Reject,
    Result,
    Suggestor,
    UnknownSuggestor,
    goal,
    suggestor,
)
from quiesce.engine.testing import Turns
from quiesce.facts import Context, Fact, FactLog, LogError, Payload, RunStarted, UnknownRun, View, replay, verify
from quiesce.facts.snapshot import CutOff
from support.strategies import Plain, World, context_of, engine_of, worlds

START = datetime(2026, 1, 1, tzinfo=UTC)
FIXED: dict[str, Any] = {"run_id": "parent", "seed": 7, "started": START}


class Ticket(Payload, key="seeds", family="fork-ticket"):
    text: str


class Plan(Payload, key="strategies", family="fork-plan"):
    queue: str


class Review(Payload, key="evaluations", family="fork-review"):
    text: str


@suggestor(version="1")
def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue=ticket.payload.text)


@suggestor
def review(plan: Fact[Plan]) -> Review:
    return Review(text=f"{plan.payload.queue} is fine")


@suggestor(name="plan", version="2")
def loud(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue=ticket.payload.text.upper())


def engine(**options: Any) -> Engine:
    return Engine([plan, review], **options)


def tickets(*texts: str) -> Context:
    context = Context()
    for text in texts:
        context.add(Ticket(text=text), id=text)
    return context


def parent(made: Engine | None = None, **options: Any) -> Result:
    return (made or engine()).run_sync(tickets("a"), **{**FIXED, **options})


def known(result: Result) -> list[tuple[str, str, int]]:
    """Returns what a run knows: ref, who said it, when."""
    return [(fact.ref, fact.by, fact.cycle) for fact in result.context]


def started(result: Result) -> RunStarted:
    return result.log.started(result.run_id)


# --- properties -------------------------------------------------------------------------------------------------------


def snapshot(log: FactLog) -> dict[str, tuple[bytes, tuple[Any, ...]]]:
    """Returns the bytes of every run of a log and all that is read from it."""
    return {str(run): (log.to_bytes(run), read(log, str(run))) for run in log.runs()}


def read(log: FactLog, run: str) -> tuple[Any, ...]:
    context = replay(log, run)
    trail = context.trail
    return list(context), trail.seen, trail.gates, trail.losers, str(verify(log, run))


def points(log: FactLog, run: str) -> list[int | None]:
    return [None, *range(-1, replay(log, run).trail.cycle + 1)]


def check_branches(world: World, picks: list[int], values: list[int]) -> None:
    """Forks a run, then whatever is there, again and again: nothing that was there before changes."""
    log = FactLog.open()
    made = engine_of(world)
    anyio.run(partial(made.run, context_of(world), log=log, **FIXED))
    for turn, (pick, value) in enumerate(zip(picks, values, strict=True)):
        runs = [str(run) for run in log.runs()]
        run = runs[pick % len(runs)]
        choices = points(log, run)
        at = choices[pick % len(choices)]
        before = snapshot(log)
        forked = anyio.run(
            partial(made.fork, log, run, at=at, add=[(Plain(value=value, depth=0), f"n{turn}")], run_id=f"fork{turn}")
        )
        after = snapshot(log)

        assert before == {name: after[name] for name in before}
        assert forked.context == replay(log, forked.run_id)
        assert forked.context.trail.seen == replay(log, forked.run_id).trail.seen
        assert verify(log, forked.run_id).ok


PICKS = st.lists(st.integers(0, 99), min_size=4, max_size=4)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(world=worlds(), picks=PICKS, values=PICKS)
@pytest.mark.slow
def test_neither_branch_sees_the_other(world: World, picks: list[int], values: list[int]) -> None:
    """Forks, forks of forks, at any point: bytes and reads of all the others stay, and each replays to what it knew."""
    check_branches(world, picks, values)


@settings(suppress_health_check=list(HealthCheck))
@given(world=worlds(), picks=PICKS, values=PICKS)
@pytest.mark.soak
def test_neither_branch_sees_the_other_at_length(world: World, picks: list[int], values: list[int]) -> None:
    """The same, many times over."""
    check_branches(world, picks, values)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(world=worlds())
@pytest.mark.slow
def test_what_a_parent_does_later_does_not_reach_its_fork(world: World) -> None:
    """The other way round: the parent goes on behind the point, with decisions where it waits for some."""
    log = FactLog.open()
    made = engine_of(world)
    first = anyio.run(partial(made.run, context_of(world), log=log, **FIXED))
    forks = [
        anyio.run(partial(made.fork, log, "parent", at=at, run_id=f"fork{at}")) for at in points(log, "parent")[::2]
    ]
    before = {str(fork.run_id): (log.to_bytes(fork.run_id), read(log, fork.run_id)) for fork in forks}
    first.context.add(Plain(value=3, depth=0), id="later")
    decisions = [Approve(gate, by="ana") for gate in first.gates]
    anyio.run(partial(made.resume, first, decisions, budget=Budget(cycles=20, facts=90)))

    assert before == {run: (log.to_bytes(run), read(log, run)) for run in before}


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(world=worlds())
@pytest.mark.slow
def test_a_fork_that_changes_nothing_comes_to_the_same(world: World) -> None:
    """From every cycle of a run that no budget ended: the same facts, in the same cycles, because of the same."""
    log = FactLog.open()
    made = engine_of(world)
    first = anyio.run(partial(made.run, context_of(world), log=log, **FIXED))
    if not isinstance(first.stop, (Converged, AwaitingApproval)):
        return
    for at in [None, *range(replay(log, "parent").trail.cycle + 1)]:
        forked = anyio.run(partial(made.fork, log, "parent", at=at))

        assert first.context == forked.context
        assert first.gates == forked.gates


# --- points -----------------------------------------------------------------------------------------------------------


def test_a_fork_of_the_end_goes_on_from_there() -> None:
    first = parent()
    forked = engine().fork_sync(first.log, first, add=[(Ticket(text="b"), "b")], run_id="fork")

    assert Converged(2) == forked.stop
    assert [
        ("fork-ticket:a", "input", 0),
        ("fork-ticket:b", "input", 3),
        ("fork-plan:a", "plan", 1),
        ("fork-plan:b", "plan", 4),
        ("fork-review:a", "review", 2),
        ("fork-review:b", "review", 5),
    ] == known(forked)


def test_a_fork_of_a_cycle_forgets_what_came_after() -> None:
    first = parent()
    forked = engine().fork_sync(first.log, "parent", at=1, replace={"review": None})

    assert [("fork-ticket:a", "input", 0), ("fork-plan:a", "plan", 1)] == known(forked)


def test_a_fork_at_0_has_the_inputs_and_nothing_else() -> None:
    first = parent()
    forked = engine().fork_sync(first.log, "parent", at=0, replace={"plan": loud})

    assert ["a", "A"] == [forked.context["seeds"][0].payload.text, forked.context.of(Plan)["a"].payload.queue]
    assert first.cycles == forked.cycles


def test_a_fork_at_minus_1_begins_from_nothing() -> None:
    first = parent()
    second = engine().run_sync(first.context, log=first.log, run_id="second")
    for run in (first, second, second.run_id):
        forked = engine().fork_sync(first.log, run, at=-1, add=[(Ticket(text="z"), "a")])

        assert ["z", "z is fine"] == [
            fact.payload.text for key in ("seeds", "evaluations") for fact in forked.context[key]
        ]
        assert [0, 1, 2] == [fact.cycle for fact in forked.context]


@pytest.mark.parametrize("at", [3, 99, -2, 1.0, True, "1"])
def test_a_cycle_that_is_not_there_says_which_are(at: Any) -> None:
    first = parent()
    with pytest.raises((LogError, InvalidOption)) as caught:
        engine().fork_sync(first.log, "parent", at=at, run_id="fork")

    held = f"run parent cannot be forked at cycle {at}: this log holds its cycles 0 to 2"
    option = f"at={at!r} is not a cycle: 0 is after the inputs, -1 before them, None the end of the run"
    assert (held if at in (3, 99) else option) == str(caught.value)
    assert ["parent"] == first.log.runs()


def test_cycles_of_a_context_from_another_log_are_not_here() -> None:
    log = FactLog.open()
    engine().run_sync(parent().context, log=log, run_id="there")
    with pytest.raises(LogError) as caught:
        engine().fork_sync(log, "there", at=1)

    assert "run there cannot be forked at cycle 1: this log holds its cycles 2 to 2" == str(caught.value)
    assert 3 == len(engine().fork_sync(log, "there", at=2).context)


def test_a_cycle_that_was_compacted_away_says_so() -> None:
    """What the snapshot stands for can be forked at its end; a fork of a parent's cycle is not touched by it."""
    first = parent()
    more = first.context.copy()
    more.add(Ticket(text="b"), id="b")
    second = engine().run_sync(more, log=first.log, run_id="second")
    whole = known(engine().fork_sync(first.log, "second"))
    first.log.compact("second")

    for at in (3, 4):
        with pytest.raises(CutOff) as caught:
            engine().fork_sync(first.log, "second", at=at)
        assert f"so it cannot be forked at cycle {at}" in str(caught.value)
    assert [whole] * 2 == [known(engine().fork_sync(first.log, second, at=at)) for at in (5, None)]
    assert known(first) == known(engine().fork_sync(first.log, second, at=1))


def test_a_run_that_was_compacted_from_its_beginning_cannot_begin_from_nothing() -> None:
    first = parent()
    first.log.compact("parent")
    with pytest.raises(CutOff, match="so it cannot be forked from nothing"):
        engine().fork_sync(first.log, "parent", at=-1)


def test_an_unknown_run_or_a_taken_name_is_refused() -> None:
    first = parent()
    with pytest.raises(UnknownRun):
        engine().fork_sync(first.log, "nobody")
    with pytest.raises(Exception, match="run 'parent' is in this log already"):
        engine().fork_sync(first.log, "parent", run_id="parent")
    with pytest.raises(InvalidOption):
        engine().fork_sync(None, "parent")  # type: ignore[arg-type]  # that is the mistake


def test_a_point_of_a_parent_is_the_parents() -> None:
    """Seed and time too: there the fork would have gone on as the parent did."""
    first = parent()
    more = first.context.copy()
    more.add(Ticket(text="b"), id="b")
    second = engine().run_sync(more, log=first.log, run_id="second", seed=8, started=datetime(2026, 2, 1, tzinfo=UTC))
    early = started(engine().fork_sync(first.log, second, at=1))
    late = started(engine().fork_sync(first.log, second, at=4))

    assert ("parent", 7, START.isoformat()) == (early.parent and early.parent.run, early.seed, early.started)
    assert ("second", 8, "2026-02-01T00:00:00+00:00") == (late.parent and late.parent.run, late.seed, late.started)


# --- what it writes ---------------------------------------------------------------------------------------------------


def test_a_fork_names_its_parent_and_repeats_none_of_its_facts() -> None:
    """However much is known, its first event has the same size."""
    sizes = set()
    for count in (1, 200):
        log = FactLog.open()
        engine().run_sync(tickets(*(f"{n:04}" for n in range(count))), log=log, **FIXED)
        forked = engine().fork_sync(log, "parent", run_id="fork")
        first = started(forked)
        sizes.add(len(log.to_bytes("fork")))

        assert first.parent == log.point(first.parent.run if first.parent else forked.run_id, 5)
        assert ["run_started", "run_stopped"] == [logged.event.kind for logged in log.events("fork")]
    assert 1 == len(sizes)


def test_a_fork_has_the_seed_time_budget_and_packs_of_its_parent_unless_others_are_given() -> None:
    made = Engine()
    made.register(plan, pack="plans")
    made.register(review, pack="reviews")
    first = made.run_sync(tickets("a"), budget=Budget(cycles=9), packs={"plans"}, **FIXED)
    same = started(made.fork_sync(first.log, first))
    other = started(
        made.fork_sync(
            first.log, first, seed=1, started=datetime(2026, 3, 1, tzinfo=UTC), budget=Budget(cycles=3),
            packs={"plans", "reviews"},
        )
    )  # fmt: skip

    assert (7, START.isoformat(), started(first).settings) == (same.seed, same.started, same.settings)
    assert (1, "2026-03-01T00:00:00+00:00") == (other.seed, other.started)
    assert (3, ["plans", "reviews"]) == (other.settings["budget"]["cycles"], other.settings["packs"])


def test_a_pack_of_which_nobody_is_left_is_no_obstacle() -> None:
    made = Engine([review])
    made.register(plan, pack="plans")
    first = made.run_sync(tickets("a"), packs={"plans"}, **FIXED)
    forked = made.fork_sync(first.log, first, at=0, replace={"plan": None})

    assert ["review"] == [known.name for known in started(forked).suggestors]


def test_the_time_of_a_fork_is_that_of_the_last_resumption_before_it() -> None:
    gated = engine(gates=[Gate("plans", [Plan])])
    first = parent(gated)
    noon = datetime(2026, 1, 2, tzinfo=UTC)
    gated.resume_sync(first, [Approve(gate, by="ana") for gate in first.gates], now=noon)
    early, late = gated.fork_sync(first.log, "parent", at=1), gated.fork_sync(first.log, "parent", at=2)

    assert (START.isoformat(), noon.isoformat()) == (started(early).started, started(late).started)


# --- add --------------------------------------------------------------------------------------------------------------


def test_facts_are_added_under_their_ids() -> None:
    first = parent()
    fact = Context().add(Ticket(text="from elsewhere"), id="e", confidence=0.5)
    forked = engine().fork_sync(first.log, first, add=[fact, Ticket(text="unnamed"), (Ticket(text="too"), None)])
    added = [fact for fact in forked.context["seeds"] if fact.cycle == 3]

    assert ["from elsewhere", "unnamed", "too"] == [fact.payload.text for fact in added]
    assert ("fork-ticket:e", 0.5, "input") == (added[0].ref, added[0].confidence, added[0].by)


@pytest.mark.parametrize("add", [Ticket(text="x"), "x", 3, [3], [("x", Ticket(text="x"))], [(Ticket(text="x"), 3)]])
def test_what_cannot_be_added_says_what_can(add: Any) -> None:
    first = parent()
    with pytest.raises(InvalidOption, match=r"^add=.* is not a "):
        engine().fork_sync(first.log, first, add=add)

    assert ["parent"] == first.log.runs()


# --- replace ----------------------------------------------------------------------------------------------------------


def calls_of(name: str, version: str, called: list[str]) -> Suggestor:
    @suggestor(name=name, version=version)
    def other(ticket: Fact[Ticket]) -> Plan:
        called.append(ticket.id)
        return Plan(queue=f"{name} {version}")

    return other


@pytest.mark.parametrize("name", ["plan", "planner"])
@pytest.mark.parametrize("version", ["1", "2"])
def test_a_replacement_has_seen_what_the_one_before_had(name: str, version: str) -> None:
    """Under its own name and version, in the fork, in its replay, and when the fork is resumed by its id."""
    called: list[str] = []
    first = parent()
    instead = {"plan": calls_of(name, version, called)}
    forked = engine().fork_sync(first.log, first, at=1, add=[(Ticket(text="b"), "b")], replace=instead, run_id="fork")
    recast = Engine([calls_of(name, version, called), review])
    again = recast.resume_sync("fork", log=first.log)

    assert ["b"] == called
    assert {"a": "a", "b": f"{name} {version}"} == {
        id: fact.payload.queue for id, fact in forked.context.of(Plan).items()
    }
    assert {name: "plan"} == started(forked).replaced
    assert forked.context == again.context


def test_a_replacement_that_was_never_called_has_seen_it_all_the_same() -> None:
    """Nothing new came for it; whoever resumes the fork does not call it for what is old."""
    called: list[str] = []
    first = parent()
    forked = engine().fork_sync(first.log, first, replace={"plan": calls_of("planner", "9", called)})
    Engine([calls_of("planner", "9", called), review]).resume_sync(forked.run_id, log=first.log)

    assert [] == called
    assert forked.context.trail.seen == replay(first.log, forked.run_id).trail.seen


def test_a_replacement_stands_in_the_place_of_the_one_before() -> None:
    """Registration order decides who wins a contest."""

    @suggestor
    def late(ticket: Fact[Ticket]) -> Plan:
        return Plan(queue="late")

    made = Engine([plan, late])
    first = made.run_sync(tickets("a"), **FIXED)
    forked = made.fork_sync(first.log, first, at=0, replace={"plan": loud})

    assert ["a", "A"] == [result.context.of(Plan)["a"].payload.queue for result in (first, forked)]
    assert ["plan", "late"] == [known.name for known in started(forked).suggestors]


def test_families_that_only_the_replacement_reads_are_new_to_it() -> None:
    seen: list[str] = []

    @suggestor(name="review", reads=[Plan, Ticket], writes=[Review])
    def thorough(view: View) -> Iterator[Review]:
        seen.extend(fact.ref for fact in (*view.new(Plan), *view.new(Ticket)))
        yield from ()

    first = parent()
    engine().fork_sync(first.log, first, replace={"review": thorough})

    assert ["fork-ticket:a"] == seen


def test_who_takes_the_place_of_one_that_has_seen_nothing_has_seen_nothing() -> None:
    """Not even if it has a name that has seen something; and one that reads nothing runs once, in whatever place."""
    called: list[str] = []

    @suggestor(name="once", reads=[], writes=[Review])
    def once(view: View) -> Iterator[Review]:
        called.append("once")
        yield from ()

    first = parent(Engine([plan, once]))
    swapped = {"plan": once, "once": calls_of("plan", "1", called)}
    for at, expected in ((-1, ["once"]), (0, ["once", "a"])):
        called.clear()
        forked = Engine([plan, once]).fork_sync(first.log, first, at=at, replace=swapped)
        Engine([once, calls_of("plan", "1", called)]).resume_sync(forked.run_id, log=first.log)

        assert expected == called
    called.clear()
    forked = Engine([plan, review]).fork_sync(
        first.log, first, at=1, replace={"plan": review, "review": calls_of("plan", "1", called)}
    )

    assert (["a"], forked.context.trail.seen) == (called, replay(first.log, forked.run_id).trail.seen)


def test_two_may_change_places() -> None:
    first = parent()
    swapped = {"plan": review, "review": plan}
    forked = engine().fork_sync(first.log, first, at=0, replace=swapped)

    assert ["review", "plan"] == [known.name for known in started(forked).suggestors]
    assert {"review": "plan", "plan": "review"} == started(forked).replaced


def test_a_name_that_the_engine_has_not_lists_those_that_it_has() -> None:
    first = parent()
    with pytest.raises(UnknownSuggestor) as caught:
        engine().fork_sync(first.log, first, replace={"plam": loud})

    assert "no suggestor 'plam' to replace. The engine has: plan, review" == str(caught.value)
    assert ["parent"] == first.log.runs()


def test_a_replacement_whose_name_is_taken_is_refused() -> None:
    first = parent()
    with pytest.raises(DuplicateName):
        engine().fork_sync(first.log, first, replace={"review": loud})
    with pytest.raises(InvalidOption):
        engine().fork_sync(first.log, first, replace=[loud])  # type: ignore[arg-type]  # no dict


def test_the_engine_that_forks_keeps_its_suggestors() -> None:
    made, first = engine(), parent()
    made.fork_sync(first.log, first, replace={"plan": loud, "review": None})

    assert (plan.options.version, ["plan", "review"]) == (
        made.suggestors[0].options.version,
        [one.name for one in made.suggestors],
    )
    assert parent(made).context == first.context


# --- gates ------------------------------------------------------------------------------------------------------------


def test_open_gates_stay_open_and_are_decided_in_each_branch_by_itself() -> None:
    gated = engine(gates=[Gate("plans", [Plan])])
    first = parent(gated)
    (gate,) = first.gates
    forked = gated.fork_sync(first.log, first, run_id="fork")
    approved = gated.resume_sync(forked, [Approve(gate, by="ana")])
    rejected = gated.resume_sync(first, [Reject(gate, by="ben")])

    assert (AwaitingApproval((gate,)), first.gates) == (forked.stop, forked.gates)
    assert (["a"], []) == (list(approved.context.of(Plan)), list(rejected.context.of(Plan)))
    assert "ana" == replay(first.log, "fork").trail.decided[gate].by


def test_a_fork_from_before_a_decision_asks_again() -> None:
    gated = engine(gates=[Gate("plans", [Plan])])
    first = parent(gated)
    (gate,) = first.gates
    gated.resume_sync(first, [Approve(gate, by="ana")])
    before, after = gated.fork_sync(first.log, "parent", at=1), gated.fork_sync(first.log, "parent", at=2)

    assert ([gate], []) == (list(before.gates), list(after.gates))
    with pytest.raises(GateError):
        gated.resume_sync(after, [Reject(gate, by="ben")])


# --- parents of all sorts ---------------------------------------------------------------------------------------------


def test_a_run_that_a_budget_stopped_can_be_forked_with_more() -> None:
    short = parent(budget=Budget(cycles=1))
    forked = engine().fork_sync(short.log, short, budget=Budget())

    assert (BudgetExhausted, Converged) == (type(short.stop), type(forked.stop))
    assert known(parent()) == known(forked)


def test_a_cancelled_run_can_be_forked() -> None:
    switch = CancelSwitch()
    switch.cancel("enough")
    stopped = parent(cancel=switch)

    assert isinstance(stopped.stop, Cancelled)
    assert known(parent()) == known(engine().fork_sync(stopped.log, stopped))


def test_an_unfinished_run_can_be_forked() -> None:
    """Its process died: the log has no end of it."""
    whole, log = parent(), FactLog.open()
    log.append(whole.run_id, [logged.event for logged in whole.log.events("parent")][:3])
    forked = engine().fork_sync(log, "parent")

    assert None is log.stopped("parent")
    assert known(whole) == known(forked)


async def test_a_run_that_is_under_way_can_be_forked() -> None:
    """Reading it is enough; it goes on as if nothing had been."""
    turns, log = Turns(), FactLog.open()
    whole = known(await engine().run(tickets("a")))

    @suggestor(name="review")
    async def slow(plan: Fact[Plan]) -> Review:
        await turns.take("review")
        return Review(text="slow")

    made = Engine([plan, slow], observers=[turns])
    forks: list[Result] = []
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(made.run, tickets("a"), log=log, **FIXED))
            await turns.started("review")
            forks.append(await engine().fork(log, "parent", run_id="fork"))
            forks.append(await engine().fork(log, "parent", run_id="again", at=0))
            await turns.release("review")

    assert [whole] * 2 == [known(fork) for fork in forks]
    assert "slow" == replay(log, "parent")["evaluations"][0].payload.text
    assert all(verify(log, run).ok for run in log.runs())


def test_a_fork_can_be_asked_for_goals() -> None:
    @goal(reads=[Plan])
    def planned(view: View) -> bool:
        return len(view.all(Plan)) > 0

    first = parent(goals=[planned], stop_when_met=True)
    plain = engine().fork_sync(first.log, first, at=0)
    asked = engine().fork_sync(first.log, first, at=0, goals=[planned])

    assert (Converged(2), "GoalsMet") == (plain.stop, type(asked.stop).__name__)


async def test_fork_sync_says_so_inside_a_loop() -> None:
    with pytest.raises(InLoop, match=r"Write: await engine\.fork"):
        engine().fork_sync(FactLog.open(), "parent")


def test_an_option_that_there_is_not_is_refused_at_once() -> None:
    first = parent()
    with pytest.raises(TypeError):
        engine().fork_sync(first.log, first, adds=[])  # type: ignore[call-arg]

    assert ["parent"] == first.log.runs()
