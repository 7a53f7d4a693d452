"""Holds the engine to it that nothing a suggestor does ends a run: what went wrong is a fact, with its exact text."""

import asyncio
import gc
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from typing import Any

import anyio
import pytest

from quiesce.engine import Budget, BudgetExhausted, Converged, Engine, Proposal, Result, Suggestor, propose, suggestor
from quiesce.engine.testing import FakeClock
from quiesce.facts import Context, Fact, FactLog, Failure, Payload, Rejected, View, replay, verify
from quiesce.facts.event import CycleCommitted
from support.runs import run_under


class Ticket(Payload, key="seeds", family="failures-ticket"):
    text: str = ""
    words: list[str]
    counts: dict[str, int]
    tags: set[str]


class Plan(Payload, key="strategies", family="failures-plan", max_bytes=1_000):
    queue: Any = ""


class Note(Payload, key="signals", family="failures-note"):
    text: str = ""


class Keyless(Payload):
    text: str = ""


class Level(Payload, key="signals", family="failures-level"):
    value: int = 0

    def join(self, other: "Level") -> "Level":
        raise ValueError(f"{self.value} and {other.value} do not meet")


def say(text: str) -> Ticket:
    return Ticket(text=text, words=["a"], counts={"a": 1}, tags={"a"})


def ticket(id: str = "t1") -> Context:
    context = Context()
    context.add(say(id), id=id)
    return context


def failures(result: Result) -> list[tuple[str, str, str]]:
    """Returns kind, exception and message of every failure."""
    found = [fact.payload for fact in result.context.of(Failure).values()]
    return [(failure.kind, failure.error, failure.message) for failure in found]


def rejected(result: Result) -> list[tuple[str, str]]:
    """Returns the ref and the reason of every rejection that is told of."""
    return [(fact.payload.ref, fact.payload.reason) for fact in result.context.of(Rejected).values()]


@suggestor
def bystander(ticket: Fact[Ticket]) -> Note:
    """Goes on whatever happens beside it."""
    return Note(text=ticket.id)


async def run_beside(one: Any) -> Result:
    """Runs a suggestor with the bystander, and sees that the run converges with what the bystander said."""
    result = await Engine([one, bystander]).run(ticket())

    assert isinstance(result.stop, Converged)
    assert ["t1"] == [fact.payload.text for fact in result.context.of(Note).values()]
    return result


# --- what is raised ---------------------------------------------------------------------------------------------------


class Unshowable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


RAISED: list[tuple[type[BaseException] | BaseException, str, str]] = [
    (ValueError("a bad word"), "ValueError", "a bad word"),
    (KeyError("t9"), "KeyError", "'t9'"),
    (RecursionError("too deep"), "RecursionError", "too deep"),
    (MemoryError(), "MemoryError", ""),
    (ExceptionGroup("two", [ValueError("a"), ValueError("b")]), "ExceptionGroup", "two (2 sub-exceptions)"),
    (Unshowable(), "Unshowable", "(its text cannot be shown)"),
    (ValueError("half a \ud800 pair"), "ValueError", "half a ? pair"),
    (ValueError("x" * 3_000), "ValueError", "x" * 2_000 + "…"),
    (ValueError(f"no {object()!r}"), "ValueError", "no <object object>"),
    (asyncio.CancelledError("by hand"), "CancelledError", "by hand"),
    (TimeoutError("its own"), "TimeoutError", "its own"),
]


@pytest.mark.parametrize(("error", "name", "message"), RAISED)
@pytest.mark.parametrize("form", ["fact", "view", "generator"])
async def test_what_a_plain_suggestor_raises_is_a_fact(
    error: BaseException, name: str, message: str, form: str
) -> None:
    """With the exception's type and message; addresses, which differ from run to run, are left out."""

    @suggestor
    def by_fact(ticket: Fact[Ticket]) -> Plan:
        raise error

    @suggestor(reads=[Ticket], writes=[Plan])
    def by_view(view: View) -> None:
        raise error

    @suggestor
    def by_generator(ticket: Fact[Ticket]) -> Iterator[Plan]:
        yield Plan(queue="half")
        raise error

    result = await run_beside({"fact": by_fact, "view": by_view, "generator": by_generator}[form])

    assert [("raised", name, message)] == failures(result)
    assert [] == list(result.context.of(Plan))


@pytest.mark.parametrize(("error", "name", "message"), RAISED)
@pytest.mark.parametrize("beside", [False, True])
async def test_what_an_async_suggestor_raises_is_a_fact(
    error: BaseException, name: str, message: str, beside: bool, anyio_backend: str
) -> None:
    """Whether it runs alone or beside others; a CancelledError of its own making is no cancellation of the run."""

    @suggestor
    async def plan(ticket: Fact[Ticket]) -> Plan:
        await anyio.lowlevel.checkpoint()
        raise error

    @suggestor
    async def other(ticket: Fact[Ticket]) -> None:
        await anyio.lowlevel.checkpoint()

    if isinstance(error, asyncio.CancelledError) and anyio_backend == "trio":
        error = ValueError(message)  # trio knows no such thing
        name = "ValueError"
    result = await run_beside(plan) if not beside else await Engine([plan, other, bystander]).run(ticket())

    assert [("raised", name, message)] == failures(result)


def test_a_failure_says_where_and_rests_on_the_trigger() -> None:
    @suggestor
    def plan(ticket: Fact[Ticket]) -> Plan:
        raise ValueError("no")

    (fact,) = Engine([plan]).run_sync(ticket()).context.of(Failure).values()

    expected = Failure(
        suggestor="plan", cycle=1, trigger="failures-ticket:t1", kind="raised", error="ValueError", message="no"
    )
    assert (expected, "engine", 1, ("failures-ticket:t1",)) == (fact.payload, fact.by, fact.cycle, fact.because)


def test_a_failure_of_a_view_rests_on_what_was_handed_out() -> None:
    @suggestor(reads=[Ticket], writes=[Plan])
    def plan(view: View) -> None:
        view.new(Ticket)[0]
        raise ValueError("no")

    (fact,) = Engine([plan]).run_sync(ticket()).context.of(Failure).values()

    assert (None, ("failures-ticket:t1",)) == (fact.payload.trigger, fact.because)


def test_one_failing_call_takes_nothing_from_the_others() -> None:
    """The other facts of the same suggestor are answered, and a failure may be reacted to."""

    @suggestor
    def plan(ticket: Fact[Ticket]) -> Plan:
        if ticket.id == "t2":
            raise ValueError("no")
        return Plan(queue=ticket.id)

    @suggestor
    def react(failure: Fact[Failure]) -> Note:
        return Note(text=f"{failure.payload.suggestor} failed on {failure.payload.trigger}")

    context = ticket("t1")
    for id in ("t2", "t3"):
        context.add(say(id), id=id)
    result = Engine([plan, react]).run_sync(context)

    assert ["t1", "t3"] == list(result.context.of(Plan))
    assert ["plan failed on failures-ticket:t2"] == [fact.payload.text for fact in result.context.of(Note).values()]


def test_a_generator_that_raises_half_way_proposes_nothing() -> None:
    """Half an answer is no answer."""

    @suggestor(reads=[Ticket], writes=[Plan])
    def plan(view: View) -> Iterator[Plan]:
        yield Plan(queue="a")
        yield Plan(queue="b")
        raise ValueError("at the third")

    result = Engine([plan]).run_sync(ticket())

    assert ([], [("raised", "ValueError", "at the third")]) == (list(result.context.of(Plan)), failures(result))


async def test_an_async_generator_that_raises_half_way_proposes_nothing() -> None:
    closed = []

    @suggestor
    async def plan(ticket: Fact[Ticket]) -> AsyncIterator[Plan]:
        try:
            yield Plan(queue="a")
            raise ValueError("at the second")
        finally:
            closed.append(ticket.id)

    result = await run_beside(plan)

    assert ([], [("raised", "ValueError", "at the second")]) == (list(result.context.of(Plan)), failures(result))
    assert ["t1"] == closed


async def test_stop_iteration_is_a_failure_like_any_other() -> None:
    """It must not be taken for the end of somebody's loop."""

    @suggestor
    def plain(ticket: Fact[Ticket]) -> Plan:
        return next(iter(()))

    @suggestor
    def generator(ticket: Fact[Ticket]) -> Iterator[Plan]:
        yield next(iter(()))

    @suggestor
    async def waits(ticket: Fact[Ticket]) -> Plan:
        return next(iter(()))

    @suggestor(thread=True)
    def threaded(ticket: Fact[Ticket]) -> Plan:
        return next(iter(()))

    result = await Engine([plain, generator, waits, threaded]).run(ticket())

    assert [
        ("raised", "StopIteration", ""),
        ("raised", "RuntimeError", "generator raised StopIteration"),
        ("raised", "RuntimeError", "coroutine raised StopIteration"),
        ("raised", "StopIteration", ""),
    ] == failures(result)


@pytest.mark.parametrize("awaits", [False, True])
async def test_accepts_that_raises_is_a_failure_of_its_suggestor(awaits: bool) -> None:
    def accepts(view: View) -> bool:
        raise ValueError("cannot say")

    @suggestor(accepts=accepts)
    def plain(ticket: Fact[Ticket]) -> Plan:
        return Plan(queue="a")

    @suggestor(accepts=accepts)
    async def waits(ticket: Fact[Ticket]) -> Plan:
        return Plan(queue="a")

    result = await run_beside(waits if awaits else plain)

    assert [("raised", "ValueError", "cannot say")] == failures(result)
    assert [] == list(result.context.of(Plan))


# --- nonsense ---------------------------------------------------------------------------------------------------------


async def forgotten() -> None: ...


NONSENSE = [
    (lambda: "billing", "'billing' (a str)"),
    (lambda: b"billing", "b'billing' (a bytes)"),
    (lambda: {"queue": "billing"}, "{'queue': 'billing'} (a dict)"),
    (lambda: 7, "7 (a int)"),
    (lambda: True, "True (a bool)"),
    (lambda: [Plan(queue="a"), "b"], "'b' (a str)"),
    (lambda: [[Plan(queue="a")]], "[Plan(queue='a')] (a list)"),
    (lambda: Plan, "<class 'tests.engine.test_failures.Plan'> (a ModelMetaclass)"),
    (lambda: "x" * 100, "'" + "x" * 78 + "… (a str)"),
    (lambda: propose("a"), "<Proposal 'a' id=None confidence=1.0> (a Proposal)"),  # type: ignore[type-var]  # that is the mistake
    (forgotten, "<coroutine object forgotten> (a coroutine)"),
]


@pytest.mark.parametrize(("returned", "shown"), NONSENSE)
async def test_nonsense_is_a_failure_that_says_what_came_back(returned: Callable[[], Any], shown: str) -> None:
    @suggestor
    def plan(ticket: Fact[Ticket]) -> Plan:
        nonsense: Plan = returned()
        return nonsense

    result = await run_beside(plan)
    gc.collect()  # a coroutine that nobody closed would warn here

    told = "Return payloads, propose(…), an iterable of them, or None"
    shown = shown.replace("tests.engine.test_failures", __name__)
    expected = f"suggestor 'plan' returned {shown}. {told}"
    assert [("nonsense", "Nonsense", expected)] == failures(result)


async def test_nonsense_of_an_async_suggestor_is_not_tried_again() -> None:
    """Another attempt would say the same."""
    attempts = []

    @suggestor(retries=3, backoff=0)
    async def plan(ticket: Fact[Ticket]) -> Plan:
        attempts.append(1)
        nonsense: Plan = "billing"  # type: ignore[assignment]  # that is the mistake
        return nonsense

    result = await run_beside(plan)

    assert ([1], ["nonsense"]) == (attempts, [kind for kind, _, _ in failures(result)])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tokens": -1}, "tokens=-1 is not a whole number from 0"),
        ({"tokens": 1.5}, "tokens=1.5 is not a whole number from 0"),
        ({"cost": math.nan}, "cost=nan is not a finite number from 0"),
        ({"cost": -0.1}, "cost=-0.1 is not a finite number from 0"),
        ({"because": "failures-ticket:t1"}, "because='failures-ticket:t1' is not a list of facts or refs"),
    ],
)
async def test_a_proposal_with_impossible_numbers_is_a_failure(options: Any, text: str) -> None:
    @suggestor
    def plan(ticket: Fact[Ticket]) -> Proposal[Plan]:
        return propose(Plan(queue="a"), **options)

    assert [("raised", "InvalidOption", text)] == failures(await run_beside(plan))


# --- changing what was given ------------------------------------------------------------------------------------------


def change_list(fact: Fact[Ticket]) -> None:
    fact.payload.words.append("b")


def change_dict(fact: Fact[Ticket]) -> None:
    fact.payload.counts["b"] = 2


def change_set(fact: Fact[Ticket]) -> None:
    fact.payload.tags.add("b")


def change_field(fact: Fact[Ticket]) -> None:
    fact.payload.text = "b"


def change_fact(fact: Fact[Ticket]) -> None:
    fact.confidence = 0.0


def delete_field(fact: Fact[Ticket]) -> None:
    del fact.because


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (change_list, "ImmutableFact"), (change_dict, "ImmutableFact"), (change_set, "ImmutableFact"),
        (change_field, "ValidationError"), (change_fact, "ImmutableFact"), (delete_field, "ImmutableFact"),
    ],
)  # fmt: skip
async def test_changing_what_was_given_is_a_failure_and_changes_nothing(change: Any, error: str) -> None:
    @suggestor
    def plan(ticket: Fact[Ticket]) -> Plan:
        change(ticket)
        return Plan(queue="a")

    result = await run_beside(plan)

    assert [("raised", error)] == [(kind, name) for kind, name, _ in failures(result)]
    assert ticket().of(Ticket)["t1"].payload == result.context.of(Ticket)["t1"].payload


def test_changing_what_was_proposed_afterwards_changes_no_fact() -> None:
    """A suggestor that keeps its list has a list of its own."""
    kept = ["a"]

    @suggestor
    def split(plan: Fact[Plan]) -> Ticket:
        return say("from").model_copy(update={"words": kept})

    @suggestor
    def later(ticket: Fact[Ticket]) -> None:
        kept.append("b")

    context = Context()
    context.add(Plan(queue="a"), id="p")
    log = FactLog.open()
    result = Engine([split, later]).run_sync(context, log=log)

    assert (["a", "b"], ["a"]) == (kept, result.context.of(Ticket)["p"].payload.words)
    assert result.context == replay(log, result.run_id)


# --- proposals that are refused ---------------------------------------------------------------------------------------


async def refusal(proposal: Any, writes: Any = (Plan,), reads: Any = (Ticket,)) -> tuple[str, str]:
    """Returns the ref and the reason with which one proposal is refused, in the facts and in the log."""
    log = FactLog.open()

    @suggestor(reads=reads, writes=writes)
    def plan(view: View) -> Iterator[Any]:
        yield proposal

    result = await Engine([plan]).run(ticket(), log=log)

    (found,) = rejected(result)
    events = [logged.event for logged in log.events(result.run_id)]
    logged = [one for event in events if isinstance(event, CycleCommitted) for one in event.rejections]
    assert [found] == [(one.ref, one.reason) for one in logged]
    assert [] == [*result.context.of(Plan), *failures(result)]
    return found


async def test_an_undeclared_write_is_refused() -> None:
    found = await refusal(propose(Note(text="a"), id="n"))

    reason = "proposed a Note, but declares writes=[Plan]. Add it: writes=[Plan, Note]"
    assert ("failures-note:n", reason) == found


async def test_a_payload_without_a_key_is_refused() -> None:
    found = await refusal(Keyless(text="a"))

    assert ("Keyless:", 'proposed a Keyless, which has no key. Write: class Keyless(Payload, key="…")') == found


HOLDS = "holds a control character, a line break or a lone surrogate"


@pytest.mark.parametrize(
    ("id", "ref", "reason"),
    [
        ("", "", "id '' of family 'failures-plan' is empty"),
        ("  ", "  ", "id '  ' of family 'failures-plan' is blank"),
        ("a\nb", "a\\nb", f"id 'a\\nb' of family 'failures-plan' {HOLDS}"),
        ("a\0b", "a\\x00b", f"id 'a\\x00b' of family 'failures-plan' {HOLDS}"),
        ("\ud800", "\\ud800", f"id '\\ud800' of family 'failures-plan' {HOLDS}"),
        (7, "7", "id 7 of family 'failures-plan' is a int, not a text"),
        ("é" * 257, "é" * 257, f"id '{'é' * 78}… of family 'failures-plan' takes 514 bytes, over the limit of 512"),
    ],
)
async def test_an_id_that_names_nothing_is_refused(id: Any, ref: str, reason: str) -> None:
    found = await refusal(propose(Plan(queue="a"), id=id))

    assert (f"failures-plan:{ref}", f"{reason}. Give a printable text of 1 to 512 bytes") == found


@pytest.mark.parametrize("confidence", [-0.1, 1.1, math.nan, math.inf, "high", True, None])
async def test_a_confidence_out_of_range_is_refused(confidence: Any) -> None:
    found = await refusal(propose(Plan(queue="a"), id="p", confidence=confidence))

    assert ("failures-plan:p", f"confidence {confidence!r} is not a number from 0 to 1") == found


@pytest.mark.parametrize("confidence", [0, 1, 0.0, 1.0])
async def test_the_ends_of_the_range_are_confidences(confidence: float) -> None:
    @suggestor
    def plan(ticket: Fact[Ticket]) -> Proposal[Plan]:
        return propose(Plan(queue="a"), confidence=confidence)

    assert float(confidence) == (await run_beside(plan)).context.of(Plan)["t1"].confidence


async def test_a_payload_over_its_limit_is_refused() -> None:
    found = await refusal(propose(Plan(queue="x" * 1_000), id="p"))

    reason = (
        "payload of family 'failures-plan': takes 1,012 bytes, over its limit of 1,000. "
        "Keep large content elsewhere and its address here, or raise max_bytes=… on the class"
    )
    assert ("failures-plan:p", reason) == found


@pytest.mark.parametrize(
    ("queue", "reason"),
    [
        (math.nan, "cannot be written as JSON: nan is not a finite number"),
        (math.inf, "cannot be written as JSON: inf is not a finite number"),
        (object, "cannot be written as JSON: "),
        ("\ud800", "cannot be written as JSON: "),
    ],
)
async def test_a_payload_that_is_no_json_is_refused(queue: Any, reason: str) -> None:
    ref, told = await refusal(propose(Plan(queue=queue), id="p"))

    assert ("failures-plan:p", True) == (ref, told.startswith(f"payload of family 'failures-plan': {reason}"))


async def test_a_payload_nested_too_deeply_is_refused() -> None:
    deep: Any = "a"
    for _ in range(5_000):
        deep = [deep]

    _, reason = await refusal(propose(Plan(queue=deep), id="p"))

    assert "payload of family 'failures-plan': cannot be written as JSON: nested deeper than 64 levels" == reason


async def test_a_reason_that_is_not_known_is_refused() -> None:
    found = await refusal(propose(Plan(queue="a"), id="p", because=["failures-ticket:t9"]))

    assert ("failures-plan:p", "rests on 'failures-ticket:t9', which is not known") == found


async def test_a_reason_that_was_not_declared_is_refused() -> None:
    found = await refusal(propose(Plan(queue="a"), id="p", because=["failures-note:n1"]))

    reason = "rests on 'failures-note:n1', whose family 'plan' does not declare in its reads"
    assert ("failures-plan:p", reason) == found


async def test_a_join_that_raises_refuses_the_revision() -> None:
    @suggestor
    def climb(level: Fact[Level]) -> Level:
        return Level(value=level.payload.value + 1)

    context = Context()
    context.add(Level(value=1), id="l")
    result = await Engine([climb]).run(context)

    reason = "payload of family 'failures-level': join raised ValueError: 1 and 2 do not meet"
    assert [("failures-level:l", reason)] == rejected(result)
    assert 1 == result.context.of(Level)["l"].payload.value


async def test_an_undeclared_read_is_a_failure_that_names_the_line_to_add() -> None:
    @suggestor(reads=[Ticket], writes=[Plan])
    def plan(view: View) -> Iterator[Plan]:
        yield from (Plan(queue=note.id) for note in view.all(Note))

    text = "suggestor 'plan' read Note in cycle 1, but declares reads=[Ticket]. Add it: reads=[Ticket, Note]"
    assert [("raised", "UndeclaredRead", text)] == failures(await run_beside(plan))


async def test_a_refused_proposal_takes_nothing_from_the_others() -> None:
    @suggestor(writes=[Plan])
    def plan(ticket: Fact[Ticket]) -> list[Any]:
        return [propose(Plan(queue="a"), id="a"), propose(Plan(queue="b"), id=""), propose(Plan(queue="c"), id="c")]

    result = await run_beside(plan)

    assert (["a", "c"], ["failures-plan:"]) == (list(result.context.of(Plan)), [ref for ref, _ in rejected(result)])


# --- what ends the process --------------------------------------------------------------------------------------------


def ending(error: BaseException, awaits: bool) -> Suggestor:
    def plan(plan: Fact[Note]) -> Plan:
        raise error

    async def plan_async(plan: Fact[Note]) -> Plan:
        raise error

    return suggestor(plan_async if awaits else plan)


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in leaves(one)]
    return [error]


@pytest.mark.parametrize("error", [KeyboardInterrupt("enough"), SystemExit(3), GeneratorExit("odd")])
@pytest.mark.parametrize("awaits", [False, True])
def test_what_ends_a_process_ends_the_run_and_leaves_a_readable_log(error: BaseException, awaits: bool) -> None:
    """It is never swallowed; everything that was committed before it can be replayed."""
    log = FactLog.open()

    with pytest.raises(BaseException) as caught:  # noqa: PT011  # bare or in a group
        Engine([bystander, ending(error, awaits)]).run_sync(ticket(), log=log, run_id="ended")

    assert [type(error)] == [type(leaf) for leaf in leaves(caught.value)]
    assert verify(log, "ended").ok
    assert ["t1"] == list(replay(log, "ended").of(Note))


# --- what never ends --------------------------------------------------------------------------------------------------


async def test_a_suggestor_that_never_ends_is_left_at_the_budget_s_seconds() -> None:
    """What was committed stands, and the rest of the cycle is dropped."""

    @suggestor
    async def plan(note: Fact[Note]) -> Plan:
        await anyio.sleep_forever()
        raise AssertionError

    result = await Engine([bystander, plan], budget=Budget(seconds=0.02)).run(ticket())

    stop = result.stop
    assert isinstance(stop, BudgetExhausted)
    assert ("seconds", 0.02, True) == (stop.resource, stop.limit, stop.observed >= 0.02)
    assert (["t1"], []) == (list(result.context.of(Note)), list(result.context.of(Plan)))


async def sleep_for_ever() -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("form", ["returns", "yields"])
async def test_a_suggestor_that_never_ends_is_left_at_its_timeout(form: str) -> None:
    @suggestor(timeout=3)
    async def returns(ticket: Fact[Ticket]) -> Plan:
        await sleep_for_ever()
        raise AssertionError

    @suggestor(timeout=3)
    async def yields(ticket: Fact[Ticket]) -> AsyncIterator[Plan]:
        yield Plan(queue="half")
        await sleep_for_ever()

    clock = FakeClock()
    engine = Engine([returns if form == "returns" else yields, bystander], clock=clock)
    result = await run_under(clock, 3, engine, ticket())

    assert [("timeout", "TimeoutError", "one attempt took longer than 3 s (timeout=3)")] == failures(result)
    assert (["t1"], []) == (list(result.context.of(Note)), list(result.context.of(Plan)))


async def test_nothing_is_late_before_its_time() -> None:
    clock = FakeClock()

    @suggestor(timeout=3, deadline=3)
    async def plan(ticket: Fact[Ticket]) -> Plan:
        await clock.sleep(2.9)
        return Plan(queue="a")

    result = await run_under(clock, 2.95, Engine([plan], clock=clock), ticket())

    assert (["t1"], []) == (list(result.context.of(Plan)), failures(result))


async def test_each_attempt_has_its_own_timeout() -> None:
    """The third is quick enough; what the first two would have said is forgotten."""
    clock, attempts = FakeClock(), []

    @suggestor(timeout=3, retries=2, backoff=0)
    async def plan(ticket: Fact[Ticket]) -> Plan:
        attempts.append(clock.seconds())
        if len(attempts) < 3:
            await sleep_for_ever()
        return Plan(queue=str(len(attempts)))

    result = await run_under(clock, 10, Engine([plan], clock=clock), ticket())

    assert ([0.0, 3.0, 6.0], "3", []) == (attempts, result.context.of(Plan)["t1"].payload.queue, failures(result))


async def test_the_deadline_ends_all_attempts() -> None:
    clock, attempts = FakeClock(), []

    @suggestor(timeout=3, deadline=7, retries=100, backoff=0)
    async def plan(ticket: Fact[Ticket]) -> Plan:
        attempts.append(clock.seconds())
        await sleep_for_ever()
        raise AssertionError

    result = await run_under(clock, 100, Engine([plan], clock=clock), ticket())

    assert [0.0, 3.0, 6.0] == attempts
    assert [("deadline", "TimeoutError", "all attempts together took longer than 7 s (deadline=7)")] == failures(result)


async def test_the_pauses_between_attempts_double_up_to_half_a_minute() -> None:
    """A quarter at most is taken off, by a hash of the invocation: many that failed do not come back at once."""
    clock, attempts = FakeClock(), []

    @suggestor(retries=9, backoff=0.5)
    async def plan(ticket: Fact[Ticket]) -> Plan:
        attempts.append(clock.seconds())
        raise OSError("unreachable")

    result = await run_under(clock, 1_000, Engine([plan], clock=clock), ticket(), run_id="again")

    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    full = [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert 10 == len(attempts)
    assert [True] * 9 == [0.75 * most <= pause <= most for most, pause in zip(full, pauses, strict=True)]
    assert [("raised", "OSError", "unreachable")] == failures(result)


async def test_a_retry_sees_nothing_of_the_attempt_before() -> None:
    """Half an answer, and what was handed out for it, are gone."""
    attempts = []

    @suggestor(reads=[Ticket], writes=[Plan], retries=1, backoff=0)
    async def plan(view: View) -> AsyncIterator[Plan]:
        attempts.append([view.invocation, view.rng.random()])
        if len(attempts) == 1:
            view.get(Ticket, "t2")
            yield Plan(queue="half")
            raise ValueError("half-way")
        view.get(Ticket, "t1")
        yield Plan(queue="whole")

    context = ticket("t1")
    context.add(say("t2"), id="t2")
    result = await Engine([plan]).run(context)

    found = [(fact.payload.queue, fact.because) for fact in result.context.of(Plan).values()]
    assert [("whole", ("failures-ticket:t1",))] == found
    assert attempts[0] == attempts[1]


async def test_attempts_are_kept_beside_the_chain() -> None:
    """How often one had to try differs from run to run, so it is no part of what the chain covers."""
    log, attempts = FactLog.open(), []

    @suggestor(retries=2, backoff=0)
    async def plan(ticket: Fact[Ticket]) -> Plan:
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return Plan(queue="a")

    result = await Engine([plan]).run(ticket(), log=log)

    (beside,) = [event.beside for event in log.events(result.run_id) if event.beside]
    assert 3 == beside["took"]["plan"][1]


async def test_blocking_code_in_threads_runs_side_by_side() -> None:
    """Each waits for the other; on the event loop's own thread neither would come back."""
    both = threading.Barrier(2, timeout=30)

    @suggestor(thread=True)
    def plan(ticket: Fact[Ticket]) -> Plan:
        both.wait()
        return Plan(queue=ticket.id)

    context = ticket("t1")
    context.add(say("t2"), id="t2")
    result = await Engine([plan]).run(context)

    assert (["t1", "t2"], []) == (list(result.context.of(Plan)), failures(result))


async def test_a_thread_that_never_ends_is_left_at_its_timeout() -> None:
    """It cannot be stopped; nobody waits for it."""
    clock, release = FakeClock(), threading.Event()

    @suggestor(thread=True, timeout=3)
    def plan(ticket: Fact[Ticket]) -> Plan:
        release.wait(30)
        return Plan(queue="too late")

    result = await run_under(clock, 3, Engine([plan, bystander], clock=clock), ticket())
    release.set()

    assert [("timeout", "TimeoutError", "one attempt took longer than 3 s (timeout=3)")] == failures(result)
    assert (["t1"], []) == (list(result.context.of(Note)), list(result.context.of(Plan)))


async def test_seconds_are_the_fake_clock_s_too() -> None:
    @suggestor
    async def plan(ticket: Fact[Ticket]) -> Plan:
        await sleep_for_ever()
        raise AssertionError

    clock = FakeClock()
    result = await run_under(clock, 60, Engine([plan], clock=clock, budget=Budget(seconds=60)), ticket())

    assert BudgetExhausted("seconds", 60, 60.0, (), ()) == result.stop


@pytest.mark.slow
def test_a_timeout_does_not_count_the_wait_for_a_thread() -> None:
    """More of them than anyio has threads: each begins at once, and none is late."""
    together = threading.Barrier(60)

    @suggestor(thread=True, timeout=20)
    def blocks(ticket: Fact[Ticket]) -> Note:
        together.wait(20)  # passes only once all sixty are running
        return Note(text=ticket.id)

    context = Context()
    for n in range(60):
        context.add(say(""), id=str(n))
    result = Engine([blocks]).run_sync(context)

    assert 60 == len(result.context.of(Note))


def test_a_set_of_proposals_that_differ_in_confidence_only_has_an_order() -> None:
    """Else which of them stands would differ from process to process."""

    @suggestor(writes=[Note])
    def both(ticket: Fact[Ticket]) -> Any:
        return {propose(Note(text="a"), id="n", confidence=sure / 10) for sure in range(10)}

    result = Engine([both]).run_sync(ticket())

    assert [0.0] == [fact.confidence for fact in result.context.of(Note).values()]
