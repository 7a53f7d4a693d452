"""Holds gates to it: a person is asked for every proposal that should wait, once, and nothing gets around it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import (
    Approve,
    AwaitingApproval,
    Converged,
    Engine,
    EngineError,
    Gate,
    GateError,
    InvalidOption,
    InvocationStarted,
    Notice,
    Proposal,
    Reject,
    Result,
    describe,
    propose,
    suggestor,
)
from quiesce.facts import All, Contested, Context, Decided, Fact, FactLog, Payload, View, replay, verify
from quiesce.facts.event import CycleCommitted, GateDecided, GateOpened, RunResumed


class Ticket(Payload, key="seeds", family="gates-ticket"):
    text: str = ""


class Refund(Payload, key="proposals", family="gates-refund"):
    cents: int = 0


class Letter(Payload, key="strategies", family="gates-letter"):
    text: str = ""


class Level(Payload, key="signals", family="gates-level"):
    value: int = 0

    def join(self, other: "Level") -> "Level":
        return self if self.value >= other.value else other


@suggestor
def refund(ticket: Fact[Ticket]) -> Refund:
    return Refund(cents=len(ticket.payload.text))


@suggestor
def write(refund: Fact[Refund]) -> Letter:
    return Letter(text=f"{refund.payload.cents} cents")


@suggestor
def greet(ticket: Fact[Ticket]) -> Letter:
    return Letter(text="Dear customer")


REFUNDS = Gate("refunds", families=[Refund])
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def tickets(*ids: str, context: Context | None = None) -> Context:
    context = context if context is not None else Context()
    for number, id in enumerate(ids, 1):
        context.add(Ticket(text="x" * number), id=id)
    return context


def engine(*more: Any, gates: Any = (REFUNDS,)) -> Engine:
    return Engine([refund, write, *more], gates=gates)


async def parked(*ids: str) -> tuple[Engine, Result]:
    """Returns an engine with a run that waits at one gate for each ticket."""
    made = engine()
    return made, await made.run(tickets(*ids), started=NOON)


def unchanged(result: Result) -> tuple[Any, ...]:
    """Returns what an error must not change."""
    return result.context.copy(), tuple(result.gates), result.log.to_bytes(result.run_id)


def kinds(result: Result) -> list[str]:
    return [logged.event.kind for logged in result.log.events(result.run_id)]


# --- parking ----------------------------------------------------------------------------------------------------------


async def test_a_gated_proposal_waits_and_is_no_fact() -> None:
    _, result = await parked("t1")

    (gate,) = result.gates
    assert AwaitingApproval((gate,), None) == result.stop
    assert f"waits for approval of {gate}" == describe(result.stop)
    assert ([], []) == (list(result.context.of(Refund)), list(result.context.of(Letter)))


async def test_an_open_gate_says_what_is_proposed_by_whom_and_because_of_what() -> None:
    _, result = await parked("t1")

    (one,) = result.gates.values()
    assert ("refunds", "gates-refund:t1", Refund(cents=1), "refund", ("gates-ticket:t1",), 1.0, 1) == (
        one.policy, one.ref, one.payload, one.by, one.because, one.confidence, one.cycle
    )  # fmt: skip
    assert (NOON.isoformat(), None) == (one.opened, one.expires)


async def test_every_proposal_that_should_wait_waits_however_many_are_open() -> None:
    _, result = await parked("t1", "t2", "t3")

    assert ["gates-refund:t1", "gates-refund:t2", "gates-refund:t3"] == [one.ref for one in result.gates.values()]
    assert 3 == kinds(result).count("gate_opened")


async def test_the_run_goes_on_with_everything_else() -> None:
    made = engine(greet)
    result = await made.run(tickets("t1"))

    assert ["Dear customer"] == [fact.payload.text for fact in result.context.of(Letter).values()]
    assert isinstance(result.stop, AwaitingApproval)


async def test_a_gate_has_the_same_id_in_every_replay() -> None:
    """It is a hash of the policy, the ref and the content."""
    first, second = [(await parked("t1", "t2"))[1] for _ in range(2)]

    assert list(first.gates) == list(second.gates) == list(replay(first.log, first.run_id).trail.gates)
    assert all(gate.startswith("g-") and len(gate) == 14 for gate in first.gates)


@pytest.mark.parametrize(
    ("gate", "waiting"),
    [
        (Gate("all", families=[Refund]), ["sure", "unsure"]),
        (Gate("unsure", below_confidence=0.8), ["unsure"]),
        (Gate("both", families=[Refund], below_confidence=0.8), ["unsure"]),
        (Gate("other", families=[Letter], below_confidence=0.8), []),
        (Gate("edge", below_confidence=0.5), []),
    ],
)
def test_a_gate_holds_by_family_and_by_confidence(gate: Gate, waiting: list[str]) -> None:
    """Below means below: who is exactly so sure passes."""

    @suggestor(reads=[Ticket], writes=[Refund])
    def several(view: View) -> Iterator[Any]:
        yield propose(Refund(cents=1), id="sure", confidence=0.8)
        yield propose(Refund(cents=2), id="unsure", confidence=0.5)

    result = Engine([several], gates=[gate]).run_sync(tickets("t1"))

    assert waiting == [one.id for one in result.gates.values()]
    assert sorted({"sure", "unsure"} - set(waiting)) == sorted(result.context.of(Refund))


def test_the_same_proposal_of_two_suggestors_asks_once() -> None:
    @suggestor
    def again(ticket: Fact[Ticket]) -> Refund:
        return Refund(cents=1)

    result = engine(again).run_sync(tickets("t1"))

    assert [("gates-refund:t1", "refund")] == [(one.ref, one.by) for one in result.gates.values()]


def test_inputs_are_not_gated() -> None:
    """Who adds a fact by hand has decided."""
    context = Context()
    context.add(Refund(cents=5), id="by-hand")

    assert isinstance(engine().run_sync(context).stop, Converged)


def test_what_is_known_already_asks_nobody() -> None:
    context = tickets("t1")
    context.add(Refund(cents=1), id="t1")

    assert ({}, True) == ((result := engine().run_sync(context)).gates, isinstance(result.stop, Converged))


# --- deciding ---------------------------------------------------------------------------------------------------------


async def test_an_approved_proposal_becomes_a_fact_and_wakes_who_reads_it() -> None:
    made, result = await parked("t1")
    (gate,) = result.gates

    approved = await made.resume(result, [Approve(gate, by="ana", reason="a good customer")])

    assert isinstance(approved.stop, Converged)
    assert ([1], ["1 cents"]) == (
        [fact.payload.cents for fact in approved.context.of(Refund).values()],
        [fact.payload.text for fact in approved.context.of(Letter).values()],
    )
    expected = Decided(gate=gate, ref="gates-refund:t1", approved=True, by="ana", reason="a good customer")
    assert expected == approved.context.of(Decided)[gate].payload


async def test_an_approved_fact_rests_on_its_reasons_and_on_the_decision() -> None:
    made, result = await parked("t1")
    (gate,) = result.gates
    approved = await made.resume(result, [Approve(gate, by="ana")])

    why = approved.why("gates-letter:t1")
    fact = approved.context.of(Refund)["t1"]
    assert ("refund", ("gates-ticket:t1", f"decided:{gate}")) == (fact.by, fact.because)
    assert ("gates-letter:t1", "gates-refund:t1", "gates-ticket:t1", f"decided:{gate}") == why.refs()


async def test_a_rejected_proposal_becomes_a_diagnostic() -> None:
    made, result = await parked("t1")
    (gate,) = result.gates
    rejected = await made.resume(result, [Reject(gate, by="ana", reason="not this time")])

    decided = rejected.context.of(Decided)[gate]
    assert (False, "ana", "not this time", ("gates-ticket:t1",)) == (
        decided.payload.approved, decided.payload.by, decided.payload.reason, decided.because
    )  # fmt: skip
    assert ([], {}, True) == (list(rejected.context.of(Refund)), rejected.gates, isinstance(rejected.stop, Converged))


async def test_a_suggestor_may_react_to_a_rejection() -> None:
    @suggestor
    def smaller(decided: Fact[Decided], refunds: All[Refund]) -> list[Refund]:
        return [] if decided.payload.approved else [Refund(cents=0)]

    made = engine(smaller)
    result = await made.run(tickets("t1"))
    (gate,) = result.gates
    second = await made.resume(result, [Reject(gate, by="ana")])

    assert [Refund(cents=0)] == [one.payload for one in second.gates.values()]


async def test_gates_can_be_decided_one_after_the_other() -> None:
    """Those that are left stay open."""
    made, result = await parked("t1", "t2", "t3")
    one, two, three = result.gates

    second = await made.resume(result, [Approve(two, by="ana")])
    third = await made.resume(second, [Reject(one, by="ben"), Approve(three, by="ben")])

    assert AwaitingApproval((one, three), None) == second.stop
    assert (["t2", "t3"], True) == (list(third.context.of(Refund)), isinstance(third.stop, Converged))
    assert ["t2", "t3"] == list(third.context.of(Letter))
    assert (True, third.context) == (verify(third.log, third.run_id).ok, replay(third.log, third.run_id))


async def test_resuming_without_a_decision_leaves_the_gates_open() -> None:
    made, result = await parked("t1")

    second = await made.resume(result)

    assert (result.stop, list(result.gates), result.context) == (second.stop, list(second.gates), second.context)


@given(approved=st.lists(st.booleans(), min_size=1, max_size=6))
def test_exactly_what_was_approved_becomes_a_fact(approved: list[bool]) -> None:
    """In one go, whatever the mixture; every decision is in the log, and nothing is asked again."""
    ids = [f"t{number}" for number in range(len(approved))]
    result = engine().run_sync(tickets(*ids))
    decisions = [
        Approve(gate, by="ana") if yes else Reject(gate, by="ana")
        for gate, yes in zip(result.gates, approved, strict=True)
    ]
    decided = resume_sync(engine(), result, decisions)

    expected = [id for id, yes in zip(ids, approved, strict=True) if yes]
    assert (expected, expected, {}) == (
        list(decided.context.of(Refund)),
        list(decided.context.of(Letter)),
        decided.gates,
    )
    assert len(approved) == kinds(decided).count("gate_decided")


def resume_sync(made: Engine, *args: Any, **options: Any) -> Result:
    async def resume() -> Result:
        return await made.resume(*args, **options)

    return anyio.run(resume)


# --- what is wrong, in full, and changes nothing ----------------------------------------------------------------------


async def test_an_unknown_gate_is_an_error_that_changes_nothing() -> None:
    made, result = await parked("t1")
    (gate,) = result.gates
    before = unchanged(result)

    with pytest.raises(GateError) as caught:
        await made.resume(result, [Approve(gate, by="ana"), Approve("g-17", by="ana")])

    assert f"gate g-17 is not open (open: {gate}). Nothing was changed" == str(caught.value)
    assert before == unchanged(result)
    assert ["t1"] == list((await made.resume(result, [Approve(gate, by="ana")])).context.of(Refund))


@pytest.mark.parametrize(("first", "told"), [(Approve, "approved"), (Reject, "rejected")])
async def test_deciding_twice_is_an_error_that_changes_nothing(first: Any, told: str) -> None:
    made, result = await parked("t1")
    (gate,) = result.gates
    decided = await made.resume(result, [first(gate, by="ana")])
    before = unchanged(decided)

    with pytest.raises(GateError) as caught:
        await made.resume(decided, [Reject(gate, by="ben")])

    assert f"gate {gate} was already {told} by ana. Nothing was changed" == str(caught.value)
    assert before == unchanged(decided)


async def test_deciding_twice_in_one_breath_is_an_error_that_changes_nothing() -> None:
    made, result = await parked("t1")
    (gate,) = result.gates
    before = unchanged(result)

    with pytest.raises(GateError) as caught:
        await made.resume(result, [Approve(gate, by="ana"), Reject(gate, by="ben")])

    assert f"gate {gate} was already approved by ana. Nothing was changed" == str(caught.value)
    assert before == unchanged(result)


@pytest.mark.parametrize("by", ["", "  ", None, 7])
async def test_nobody_cannot_decide(by: Any) -> None:
    made, result = await parked("t1")
    (gate,) = result.gates
    before = unchanged(result)

    with pytest.raises(GateError) as caught:
        await made.resume(result, [Approve(gate, by=by)])

    told = "cannot be decided by nobody: give by=…, the name of who decides. Nothing was changed"
    assert f"gate {gate} {told}" == str(caught.value)
    assert before == unchanged(result)


@pytest.mark.parametrize("decision", ["yes", True, None, {"gate": "g-1"}])
async def test_what_is_no_decision_is_an_error_that_changes_nothing(decision: Any) -> None:
    made, result = await parked("t1")
    before = unchanged(result)

    with pytest.raises(GateError) as caught:
        await made.resume(result, [decision])

    told = "is no decision: give Approve(gate, by=…) or Reject(gate, by=…). Nothing was changed"
    assert f"gate {decision!r} {told}" == str(caught.value)
    assert before == unchanged(result)


async def test_a_decision_without_a_list_is_told_to_be_in_one() -> None:
    made, result = await parked("t1")
    (gate,) = result.gates

    with pytest.raises(InvalidOption) as caught:
        await made.resume(result, Approve(gate, by="ana"))  # type: ignore[arg-type]  # that is the mistake

    assert f"decisions={Approve(gate, by='ana')!r} is not a list of Approve(…) and Reject(…)" == str(caught.value)


async def test_a_result_is_resumed_once() -> None:
    """The second time it is no longer where the run is; the log keeps one story."""
    made, result = await parked("t1")
    (gate,) = result.gates
    decided = await made.resume(result, [Approve(gate, by="ana")])
    before = unchanged(decided)

    with pytest.raises(EngineError) as caught:
        await made.resume(result, [Reject(gate, by="ben")])

    told = f"resume its latest result, or resume it by its id: engine.resume({result.run_id!r}, log=log)"
    assert (
        f"run {result.run_id} has gone on since this result: it was at event {result.context.trail.seq}, "
        f"the log is at {decided.context.trail.seq}. Nothing was changed; {told}"
    ) == str(caught.value)
    assert before == unchanged(decided)


async def test_resuming_by_id_needs_the_log() -> None:
    made, result = await parked("t1")

    with pytest.raises(EngineError) as caught:
        await made.resume(result.run_id)

    told = f"to resume run {result.run_id!r} by its id its log is needed. Write: engine.resume(run, log=log)"
    assert told == str(caught.value)


# --- rejected for good, in this run -----------------------------------------------------------------------------------


async def test_what_was_rejected_is_not_asked_again_whoever_proposes_it_and_under_whatever_id() -> None:
    """The content was refused; that it comes back by another way does not make it new."""

    @suggestor(version="2")
    def insist(decided: Fact[Decided]) -> Proposal[Refund]:
        return propose(Refund(cents=1), id="under-another-id")

    @suggestor
    def insist_more(decided: Fact[Decided]) -> Proposal[Refund]:
        return propose(Refund(cents=1), id="t1")

    made = engine(insist, insist_more)
    result = await made.run(tickets("t1"))
    (gate,) = result.gates
    decided = await made.resume(result, [Reject(gate, by="ana")])

    assert ({}, [], True) == (decided.gates, list(decided.context.of(Refund)), isinstance(decided.stop, Converged))
    events = [logged.event for logged in decided.log.events(decided.run_id)]
    lost = [(one.ref, one.by, one.reason) for e in events if isinstance(e, CycleCommitted) for one in e.rejections]
    assert [
        ("gates-refund:under-another-id", "insist", "declined"), ("gates-refund:t1", "insist_more", "declined")
    ] == lost  # fmt: skip


async def test_other_content_is_asked_for_after_a_rejection() -> None:
    @suggestor
    def insist(decided: Fact[Decided]) -> Proposal[Refund]:
        return propose(Refund(cents=2), id="t1")

    made = engine(insist)
    result = await made.run(tickets("t1"))
    decided = await made.resume(result, [Reject(next(iter(result.gates)), by="ana")])

    assert [Refund(cents=2)] == [one.payload for one in decided.gates.values()]


async def test_a_rejection_holds_after_a_later_resume_and_after_a_replay() -> None:
    made, result = await parked("t1")
    decided = await made.resume(result, [Reject(next(iter(result.gates)), by="ana")])

    tickets("t2", context=decided.context)  # one letter, as the first: a refund of the same content
    by_result = await made.resume(decided)
    assert ({}, []) == (by_result.gates, list(by_result.context.of(Refund)))
    assert decided.context.trail.declined == replay(result.log, result.run_id).trail.declined


async def test_a_rejection_does_not_leak_into_another_run() -> None:
    """An engine holds no state of any run."""
    made, result = await parked("t1")
    await made.resume(result, [Reject(next(iter(result.gates)), by="ana")])

    other = await made.run(tickets("t1"), log=result.log)

    assert list(result.gates) == list(other.gates)


# --- expiry -----------------------------------------------------------------------------------------------------------


def expiring(default: Any) -> Engine:
    return engine(gates=[Gate("soon", families=[Refund], expires=timedelta(hours=4), default=default)])


def test_an_open_gate_says_when_it_expires() -> None:
    result = expiring("reject").run_sync(tickets("t1", "t2"), started=NOON)

    until = "2026-01-01T16:00:00+00:00"
    assert (AwaitingApproval(tuple(result.gates), until), [until] * 2) == (
        result.stop, [one.expires for one in result.gates.values()]
    )  # fmt: skip
    assert f"waits for approval until {until} of {', '.join(result.gates)}" == describe(result.stop)


@pytest.mark.parametrize(("default", "facts"), [("approve", ["t1"]), ("reject", [])])
async def test_an_expired_gate_takes_its_default(default: str, facts: list[str]) -> None:
    made = expiring(default)
    result = await made.run(tickets("t1"), started=NOON)
    later = await made.resume(result, now=NOON + timedelta(hours=4))

    (decided,) = later.context.of(Decided).values()
    assert (facts, {}) == (list(later.context.of(Refund)), later.gates)
    assert ("expiry", default == "approve", "nobody had decided by 2026-01-01T16:00:00+00:00") == (
        decided.payload.by, decided.payload.approved, decided.payload.reason
    )  # fmt: skip


async def test_before_its_time_nothing_expires() -> None:
    made = expiring("approve")
    result = await made.run(tickets("t1"), started=NOON)
    later = await made.resume(result, now=NOON + timedelta(hours=3, minutes=59))

    assert (result.stop, []) == (later.stop, list(later.context.of(Refund)))


async def test_who_decides_in_time_counts_and_not_the_default() -> None:
    made = expiring("approve")
    result = await made.run(tickets("t1", "t2"), started=NOON)
    first, _ = result.gates
    later = await made.resume(result, [Reject(first, by="ana")], now=NOON + timedelta(hours=5))

    assert ["t2"] == list(later.context.of(Refund))


# --- what happens meanwhile -------------------------------------------------------------------------------------------


async def test_inputs_that_came_meanwhile_are_kept() -> None:
    """They are taken in with the decisions, and go the way of every other fact."""
    made, result = await parked("t1")
    (gate,) = result.gates
    result.context.add(Ticket(text="xxxxx"), id="meanwhile")

    decided = await made.resume(result, [Approve(gate, by="ana")])

    assert ["t1", "meanwhile"] == list(decided.context.of(Ticket))
    assert [Refund(cents=5)] == [one.payload for one in decided.gates.values()]
    assert decided.context == replay(decided.log, decided.run_id)


async def test_a_gate_stays_open_while_other_work_goes_on() -> None:
    """More input, run as a new run: what waits is still waiting in it, and can be decided there."""
    made, result = await parked("t1")
    (gate,) = result.gates
    more = await made.run(tickets("t2", context=result.context), log=result.log)

    assert [gate, *(set(more.gates) - {gate})] == list(more.gates)
    decided = await made.resume(more, [Approve(gate, by="ana")])
    assert (["t1"], 1) == (list(decided.context.of(Refund)), len(decided.gates))
    assert decided.context == replay(decided.log, decided.run_id)


async def test_what_was_said_meanwhile_contests_what_is_approved() -> None:
    """The first stands; the approved one is kept as the loser."""
    made, result = await parked("t1")
    (gate,) = result.gates
    result.context.add(Refund(cents=99), id="t1")

    decided = await made.resume(result, [Approve(gate, by="ana")])

    (contested,) = decided.context.of(Contested).values()
    assert (99, "gates-refund:t1", "refund") == (
        decided.context.of(Refund)["t1"].payload.cents, contested.payload.ref, contested.payload.lost_by
    )  # fmt: skip


async def test_a_gated_revision_leaves_the_fact_as_it_was_until_it_is_approved() -> None:
    @suggestor
    def climb(level: Fact[Level]) -> Level:
        return Level(value=min(2, level.payload.value + 1))

    made = Engine([climb], gates=[Gate("levels", families=[Level])])
    context = Context()
    context.add(Level(value=1), id="water")
    result = await made.run(context)
    (gate,) = result.gates
    decided = await made.resume(result, [Approve(gate, by="ana")])

    values = [one.context.of(Level)["water"].payload.value for one in (result, decided)]
    assert ([1, 2], True) == (values, isinstance(decided.stop, Converged))


async def test_nobody_is_called_again_for_what_waits() -> None:
    calls = []

    def note(notice: Notice) -> None:
        if isinstance(notice, InvocationStarted):
            calls.append(notice.suggestor)

    made = engine()
    result = await made.run(tickets("t1", "t2"), observers=[note])
    first, _ = result.gates
    await made.resume(result, [Approve(first, by="ana")], observers=[note])

    assert ["refund", "refund", "write"] == calls


# --- from the log alone -----------------------------------------------------------------------------------------------


async def test_a_run_can_be_resumed_by_its_id_from_a_file(tmp_path: Path) -> None:
    """Another process opens the log and decides; the context is what it would be without the break."""
    made, path = engine(), tmp_path / "run.jsonl"
    with FactLog.open(path) as log:
        result = await made.run(tickets("t1", "t2"), log=log, run_id="desk", started=NOON)
    first, second = result.gates

    with FactLog.open(path) as log:
        decided = await engine().resume("desk", [Approve(first, by="ana"), Reject(second, by="ana")], log=log)

    with FactLog.open(path) as log:
        assert (["t1"], ["t1"], True) == (
            list(decided.context.of(Refund)),
            list(decided.context.of(Letter)),
            verify(log, "desk").ok,
        )
        assert decided.context == replay(log, "desk")


async def test_the_log_tells_who_was_asked_and_who_decided() -> None:
    made, result = await parked("t1")
    (gate,) = result.gates
    decided = await made.resume(result, [Approve(gate, by="ana", reason="fine")], now=NOON + timedelta(hours=1))

    events = [logged.event for logged in decided.log.events(decided.run_id)]
    (opened,) = [event.parked for event in events if isinstance(event, GateOpened)]
    (told,) = [event.decision for event in events if isinstance(event, GateDecided)]
    (resumed,) = [event for event in events if isinstance(event, RunResumed)]
    assert (gate, "refunds", True, "ana", "fine") == (opened.gate, opened.policy, told.approved, told.by, told.reason)
    assert {"2026-01-01T13:00:00+00:00"} == {told.at, resumed.at}


# --- what is no gate --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": "", "families": [Refund]}, "Gate.name='' is not a text"),
        ({"name": "all"}, "Gate.families=() is not a list of payload classes, without below_confidence either"),
        ({"name": "one", "families": Refund}, f"Gate.families={Refund!r} is not a list of payload classes"),
        ({"name": "odd", "families": [int]}, "Gate.families=[<class 'int'>] is not a list of payload classes"),
        ({"name": "low", "below_confidence": -0.1}, "Gate.below_confidence=-0.1 is not a number from 0 to 1"),
        ({"name": "text", "below_confidence": "0.8"}, "Gate.below_confidence='0.8' is not a number from 0 to 1"),
        ({"name": "bad", "families": [Refund], "default": "ask"}, 'Gate.default=\'ask\' is not "approve" or "reject"'),
        (
            {"name": "past", "families": [Refund], "expires": timedelta(0)},
            "Gate.expires=datetime.timedelta(0) is not a positive timedelta",
        ),
        ({"name": "raw", "families": [Refund], "expires": 60}, "Gate.expires=60 is not a positive timedelta"),
    ],
)
def test_a_gate_out_of_range_is_refused(options: Any, text: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        Gate(**options)

    assert text == str(caught.value)
