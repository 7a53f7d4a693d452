"""Shows that a run that a crash left unfinished is finished as if it had never been interrupted."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quiesce.engine import (
    Approve,
    BudgetExhausted,
    Converged,
    Engine,
    EngineError,
    InvariantViolated,
    InvocationEnded,
    InvocationStarted,
    Met,
    Notice,
    NotJournaled,
    NotKept,
    Recovery,
    Reject,
    Result,
    Violation,
    goal,
    invariant,
    suggestor,
)
from quiesce.facts import Context, Fact, FactLog, Leased, MemoryStore, Payload, RunId, StoreError, View, verify
from quiesce.facts.stores import Batch
from support.strategies import World, context_of, engine_of, impure, worlds

FIXED: dict[str, Any] = {"run_id": "r", "seed": 7, "started": datetime(2026, 1, 1, tzinfo=UTC)}
RUN = RunId("r")
CASES = int(os.environ.get("SOAK_CASES") or 20_000)


class Ask(Payload, key="seeds", family="recover-ask"):
    n: int = 0


class Said(Payload, key="strategies", family="recover-said"):
    n: int = 0


class Done(Payload, key="proposals", family="recover-done"):
    n: int = 0


class Dying(MemoryStore):
    """A store that is kept like one on a disk, and whose process dies at its nth commit."""

    lazy = False

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        self.dies_at: int | None = None
        self.keeps_it = False
        """What it dies at is kept, but nobody hears of it."""

    def commit(self, batch: Batch) -> None:
        self.commits += 1
        if self.commits == self.dies_at:
            if self.keeps_it:
                super().commit(batch)
            self.dies_at = None
            raise StoreError("the process died")
        super().commit(batch)


def calls(notices: list[Notice], kind: type[InvocationStarted] | type[InvocationEnded]) -> list[str]:
    return [
        f"{one.suggestor}/{one.cycle}" + (f"/{one.trigger}" if one.trigger else "")
        for one in notices
        if isinstance(one, kind)
    ]


def check_crash(world: World, dies_at: int, keeps_it: bool) -> None:
    """Lets a run die at a commit, finishes it, and compares it with one that never died."""
    engine = impure(engine_of(world))
    whole = anyio.run(lambda: engine.run(context_of(world), **FIXED))
    store, notices = Dying(), list[Notice]()
    store.dies_at, store.keeps_it = dies_at, keeps_it

    async def live() -> None:
        await engine.run(context_of(world), log=FactLog(store), observers=[notices.append], **FIXED)

    try:
        anyio.run(live)
    except (NotKept, NotJournaled):
        journaled = {address.key for address, _ in FactLog(store).notes("journal", RUN)}
        ended = calls(notices, InvocationEnded)
        notices.clear()
        log = FactLog(store)
        begun = store.length(RUN) > 0
        assert [RUN] * (begun and log.stopped(RUN) is None) == log.unfinished()
        recovery = anyio.run(lambda: engine.recover(log, observers=[notices.append]))
        if not begun:  # nothing of it was kept, and its caller has an error that says so
            assert Recovery() == recovery
            return
        assert {} == recovery.skipped
        assert not journaled & set(calls(notices, InvocationStarted))
        assert len(ended) == len(set(ended))
    log = FactLog(store)
    assert whole.log.to_bytes(RUN) == log.to_bytes(RUN)
    assert verify(log, RUN).ok
    assert [] == log.unfinished()


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(world=worlds(), dies_at=st.integers(1, 12), keeps_it=st.booleans())
@pytest.mark.slow
def test_a_run_that_died_ends_as_one_that_never_did(world: World, dies_at: int, keeps_it: bool) -> None:
    """Byte for byte, whatever its last commit was, and nobody who was journaled is called again."""
    check_crash(world, dies_at, keeps_it)


@settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
@given(world=worlds(), dies_at=st.integers(1, 40), keeps_it=st.booleans())
@pytest.mark.soak
def test_a_run_that_died_ends_as_one_that_never_did_at_length(world: World, dies_at: int, keeps_it: bool) -> None:
    check_crash(world, dies_at, keeps_it)


class Story:
    """Two suggestors in a row, of which the first is impure and counts its calls."""

    def __init__(self, version: str = "1") -> None:
        self.calls: list[str] = []

        @suggestor(pure=False, version=version)
        async def ask(asked: Fact[Ask]) -> Said:
            self.calls.append(asked.id)
            return Said(n=asked.payload.n)

        @suggestor
        def finish(said: Fact[Said]) -> Done:
            return Done(n=said.payload.n)

        self.suggestors = [ask, finish]
        self.engine = Engine(self.suggestors)


def asks(count: int = 2) -> Context:
    context = Context()
    for n in range(count):
        context.add(Ask(n=n), id=str(n))
    return context


def crashed(engine: Engine, dies_at: int, keeps_it: bool = False, **options: Any) -> Dying:
    """Returns the store of a run that died at a commit."""
    store = Dying()
    store.dies_at, store.keeps_it = dies_at, keeps_it
    with pytest.raises(StoreError, match="the process died"):
        engine.run_sync(asks(), log=FactLog(store), **{**FIXED, **options})
    return store


# commits of a Story: 1 start and inputs, 2 the journal, 3 cycle 1, 4 cycle 2, 5 the stop


def test_an_answer_that_was_journaled_is_not_asked_for_again() -> None:
    story = Story()
    store = crashed(story.engine, 3)
    assert ["0", "1"] == story.calls
    recovery = story.engine.recover_sync(FactLog(store)).unwrap()

    assert ["0", "1"] == story.calls
    assert ["run r converged after 2 cycles; 6 facts"] == [str(result) for result in recovery.results.values()]
    assert "run r converged after 2 cycles; 6 facts" == str(recovery)


def test_an_answer_that_could_not_be_journaled_is_in_the_error() -> None:
    """It was paid for: the caller can keep it."""
    store = Dying()
    store.dies_at = 2
    with pytest.raises(NotJournaled) as caught:
        Story().engine.run_sync(asks(), log=FactLog(store), **FIXED)

    assert "could not be journaled: the process died. Everything that was committed is in the log" in str(caught.value)
    assert all(name.startswith("ask/1/recover-ask:") for name in caught.value.entries)
    assert all(b'"body":"{\\"n\\":' in entry for entry in caught.value.entries.values())


def test_a_run_of_which_nothing_was_kept_is_not_there() -> None:
    """The start is kept with the inputs: there is no run without what it is to be made of."""
    story = Story()
    log = FactLog(crashed(story.engine, 1))

    assert ([], []) == (log.runs(), log.unfinished())
    assert "no run was unfinished" == str(story.engine.recover_sync(log))


def test_a_run_that_was_taken_for_unkept_is_finished() -> None:
    """Its first commit was kept, though its process never heard of it."""
    story = Story()
    log = FactLog(crashed(story.engine, 1, keeps_it=True))
    found = story.engine.recover_sync(log).unwrap()

    assert [RUN] == list(found.results)
    assert story.engine.run_sync(asks(), **FIXED).log.to_bytes(RUN) == log.to_bytes(RUN)


def test_an_answer_of_another_version_is_asked_for_again() -> None:
    old, new = Story("1"), Story("2")
    store = crashed(old.engine, 3)
    changed = new.engine.recover_sync(FactLog(store))
    assert ["ChangedSuggestors"] == [type(error).__name__ for error in changed.skipped.values()]
    assert "suggestor 'ask' has changed: version '1' → '2'" in str(changed)
    new.engine.recover_sync(FactLog(store), accept_changes=True).unwrap()

    assert ["0", "1"] == new.calls


def test_a_stop_is_kept_with_the_cycle_that_caused_it() -> None:
    """A run that broke an invariant does not go on because its process died there."""

    @invariant(reads=[Said], on="cycle")
    def few(view: Any) -> Violation | None:
        return Violation("too many") if len(view.all(Said)) > 1 else None

    engine = Engine(Story().suggestors, invariants=[few])
    store = crashed(engine, 3, keeps_it=True)
    log = FactLog(store)
    stopped = log.stopped(RUN)

    assert stopped is not None
    assert "invariant_violated" == stopped.stop["kind"]
    assert [] == log.unfinished()
    assert isinstance(engine.run_sync(asks(), **FIXED).stop, InvariantViolated)


def test_a_budget_and_its_restless_are_told_as_without_a_crash() -> None:
    """What the last cycles were like is read back too."""

    @suggestor(pure=False, version="1")
    def more(asked: Fact[Ask]) -> Ask:
        return Ask(n=asked.payload.n + 1)

    from quiesce.engine import Budget

    engine = Engine([more], budget=Budget(cycles=8))
    whole = engine.run_sync(asks(1), **FIXED)
    for dies_at in range(2, 18):
        store = Dying()
        store.dies_at = dies_at
        with pytest.raises(StoreError):
            engine.run_sync(asks(1), log=FactLog(store), **FIXED)
        result = engine.recover_sync(FactLog(store)).unwrap().results[RUN]

        assert isinstance(result.stop, BudgetExhausted)
        assert ("more",) == result.stop.loop
        assert whole.log.to_bytes(RUN) == result.log.to_bytes(RUN)


def test_goals_are_given_to_a_recovery_as_they_were_to_the_run() -> None:
    @goal(reads=[Done])
    def done(view: View) -> bool:
        return len(view.all(Done)) > 0

    story = Story()
    store = crashed(story.engine, 3, goals=[done])
    left = story.engine.recover_sync(FactLog(store))
    assert ["EngineError"] == [type(error).__name__ for error in left.skipped.values()]
    assert "the run has goals that are not at hand: done" in str(left)
    with pytest.raises(EngineError, match="not at hand"):
        left.unwrap()
    found = story.engine.recover_sync(FactLog(store), goals=[done]).unwrap()

    assert [True] == [isinstance(result.goals["done"], Met) for result in found.results.values()]


def test_a_run_that_stopped_is_not_recovered() -> None:
    story = Story()
    log = FactLog(Dying())
    story.engine.run_sync(asks(), log=log, **FIXED)
    found = story.engine.recover_sync(log, ["r"])

    assert "run r was left as it is: run r is not unfinished: it has stopped" in str(found)


def test_runs_that_one_process_is_writing_are_told_of_together() -> None:
    left = {RunId(f"r{n}"): Leased(f"r{n}", "process 1 on db-3", 30.0) for n in range(7)}
    other = {RunId("s"): Leased("s", "process 2 on db-3", 30.0)}
    found = Recovery(skipped={**left, **other})

    assert [(list(left), left[RunId("r0")]), (["s"], other[RunId("s")])] == found.left()
    assert [
        "7 runs were left as they are: they are being written by process 1 on db-3: r0, r1, r2, r3, r4, …",
        f"run s was left as it is: {other[RunId('s')]}",
    ] == str(found).splitlines()


def test_a_run_that_is_not_there_is_told_of() -> None:
    found = Story().engine.recover_sync(FactLog(Dying()), ["s"])

    assert "run s was left as it is: run 's' is not in this log. It is empty" == str(found)


def test_a_single_name_is_not_taken_for_a_list() -> None:
    with pytest.raises(EngineError, match="Write: runs="):
        Story().engine.recover_sync(FactLog(Dying()), "r")


async def test_a_run_under_way_is_leased() -> None:
    found: list[Recovery] = []
    store = Dying()
    engine = Engine()

    @suggestor(pure=False, version="1")
    async def slow(asked: Fact[Ask]) -> Said:
        if not found:
            found.append(await engine.recover(FactLog(store)))
        return Said(n=asked.payload.n)

    engine.register(slow)
    await engine.run(asks(), log=FactLog(store), **FIXED)

    assert [Leased] == [type(error) for error in found[0].skipped.values()]
    assert f"is being written by process {os.getpid()}" in str(found[0])


def test_many_are_recovered_side_by_side_in_the_order_in_which_they_began() -> None:
    story = Story()
    store = Dying()
    for n in range(5):
        store.commits, store.dies_at = 0, 3
        with pytest.raises(StoreError):
            story.engine.run_sync(asks(), log=FactLog(store), run_id=f"r{n}")
    log = FactLog(store)
    assert [f"r{n}" for n in range(5)] == log.unfinished()
    found = story.engine.recover_sync(log, concurrency=2).unwrap()

    assert [f"r{n}" for n in range(5)] == list(found.results)
    assert 10 == len(story.calls)
    assert [] == log.unfinished()


def test_a_log_that_takes_no_more_ends_the_recovery() -> None:
    """Else the others would pay for answers that nobody can keep."""
    story = Story()
    store = crashed(story.engine, 3)
    store.dies_at = store.commits + 2
    with pytest.raises(NotKept):
        story.engine.recover_sync(FactLog(store))


def test_what_was_paid_for_before_a_cancellation_is_used_when_the_run_is_resumed() -> None:
    """Under another number of a cycle, too: answers are found by who was asked what."""
    story = Story()
    store = Dying()
    late: list[bool] = [True]

    @suggestor
    async def interrupted(asked: Fact[Ask]) -> Done:
        while late and not [*store.notes("journal")]:
            await anyio.lowlevel.checkpoint()
        if late and late.pop():
            raise KeyboardInterrupt
        return Done(n=asked.payload.n)

    engine = Engine([story.suggestors[0], interrupted])
    with pytest.raises(KeyboardInterrupt):
        engine.run_sync(asks(1), log=FactLog(store), **FIXED)
    log = FactLog(store)
    assert ["0"] == story.calls
    assert log.stopped(RUN) is not None
    context = engine.resume_sync("r", log=log).context

    assert ["0"] == story.calls
    assert 1 == len(context.of(Said))


def test_a_paused_run_is_decided_in_another_log_object_and_goes_on() -> None:
    from quiesce.engine import Gate

    story = Story()
    engine = Engine(story.suggestors, gates=[Gate("all", families=[Done])])
    store = Dying()
    first = engine.run_sync(asks(), log=FactLog(store), **FIXED)
    one, two = first.gates
    store.commits, store.dies_at = 0, 3  # the claim, the decision, then the next
    with pytest.raises(StoreError):
        engine.resume_sync("r", [Approve(one, by="ana"), Reject(two, by="ben")], log=FactLog(store))
    found: Result = engine.recover_sync(FactLog(store)).unwrap().results[RUN]

    assert isinstance(found.stop, Converged)
    assert 1 == len(found.context.of(Done))
    assert 2 == len(story.calls)


def test_who_did_not_want_what_it_was_shown_is_not_asked_again() -> None:
    """A run whose process died just before its stop was written is quiet, whoever has left something unseen."""
    asked: list[int] = []

    def accepts(view: View) -> bool:
        asked.append(view.cycle)
        return False

    @suggestor(reads=[Said], writes=[Done], accepts=accepts)
    def picky(view: View) -> None:
        raise AssertionError

    @suggestor(name="say")
    def say(ask: Fact[Ask]) -> Said:
        return Said(n=ask.payload.n)

    engine = Engine([say, picky])
    whole = engine.run_sync(asks(), **FIXED)
    store = Dying()
    store.dies_at = 4
    with pytest.raises(NotKept, match="run_stopped"):
        engine.run_sync(asks(), log=FactLog(store), **FIXED)
    asked.clear()
    log = FactLog(store)
    engine.recover_sync(log).unwrap()

    assert [] == asked
    assert whole.log.to_bytes(RUN) == log.to_bytes(RUN)
