"""Holds the forms of suggestors to what they may return, and to the ids and reasons that it gets by default."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import ANY, Engine, Proposal, Result, propose, suggestor
from quiesce.facts import All, Context, Fact, Payload, View


class Ticket(Payload, key="seeds", family="forms-ticket"):
    text: str = ""


class Rule(Payload, key="constraints", family="forms-rule"):
    word: str = ""


class Plan(Payload, key="strategies", family="forms-plan"):
    queue: str = ""


class Level(Payload, key="signals", family="forms-level"):
    value: int = 0

    def join(self, other: "Level") -> "Level":
        return self if self.value >= other.value else other


CONTENT_ID = {name: Context().add(Plan(queue=name)).id for name in ("a", "b", "c")}


def context_of(*ids: str) -> Context:
    context = Context()
    for id in ids:
        context.add(Ticket(text=id), id=id)
    return context


def plans(result: Result) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Returns queue and reasons of every plan, by id."""
    return {id: (fact.payload.queue, fact.because) for id, fact in result.context.of(Plan).items()}


# What a per-fact suggestor may return: each of these comes to the plans of queue "a" and "b", named by content.


def as_list() -> Any:
    return [Plan(queue="a"), Plan(queue="b")]


def as_tuple() -> Any:
    return (Plan(queue="a"), propose(Plan(queue="b")))


def as_set() -> Any:
    return {Plan(queue="b"), Plan(queue="a")}


def as_generator() -> Any:
    yield Plan(queue="a")
    yield None
    yield propose(Plan(queue="b"))


def as_iterator() -> Any:
    return iter([Plan(queue="a"), None, Plan(queue="b")])


@pytest.mark.parametrize("several", [as_list, as_tuple, as_set, as_generator, as_iterator])
@pytest.mark.parametrize("awaits", [False, True])
async def test_several_payloads_are_named_by_content(several: Callable[[], Any], awaits: bool) -> None:
    """Whatever holds them, and whether the function is async or not; their reason is the trigger."""

    @suggestor
    def plan(ticket: Fact[Ticket]) -> list[Plan]:
        found: list[Plan] = several()
        return found

    @suggestor
    async def plan_async(ticket: Fact[Ticket]) -> list[Plan]:
        found: list[Plan] = several()
        return found

    result = await Engine([plan_async if awaits else plan]).run(context_of("t1"))

    because = ("forms-ticket:t1",)
    assert {CONTENT_ID["a"]: ("a", because), CONTENT_ID["b"]: ("b", because)} == plans(result)


async def test_an_async_generator_proposes_what_it_yields() -> None:
    @suggestor
    async def plan(ticket: Fact[Ticket]) -> AsyncIterator[Plan]:
        yield Plan(queue="a")
        yield Plan(queue="b")

    result = await Engine([plan]).run(context_of("t1"))

    assert [CONTENT_ID["a"], CONTENT_ID["b"]] == list(plans(result))


@pytest.mark.parametrize("returned", [None, [], (), iter(())])
def test_nothing_is_an_answer_too(returned: Any) -> None:
    """It is no failure, and the run is quiet after it."""

    @suggestor
    def plan(ticket: Fact[Ticket]) -> Plan | None:
        nothing: None = returned
        return nothing

    result = Engine([plan]).run_sync(context_of("t1"))

    assert ("converged after 1 cycle", 1) == (str(result).split(" ", 2)[2].split(";")[0], len(result.context))


def test_a_single_payload_takes_the_id_of_its_trigger() -> None:
    @suggestor
    def plan(ticket: Fact[Ticket]) -> Plan:
        return Plan(queue=ticket.id.upper())

    result = Engine([plan]).run_sync(context_of("t1", "t2"))

    assert {"t1": ("T1", ("forms-ticket:t1",)), "t2": ("T2", ("forms-ticket:t2",))} == plans(result)


def test_a_single_proposal_without_an_id_takes_that_of_its_trigger_too() -> None:
    @suggestor
    def plan(ticket: Fact[Ticket]) -> Proposal[Plan]:
        return propose(Plan(queue="a"), confidence=0.5)

    fact = Engine([plan]).run_sync(context_of("t1")).context.of(Plan)["t1"]

    assert (0.5, "plan", 1) == (fact.confidence, fact.by, fact.cycle)


def test_a_proposal_s_own_id_and_reasons_stand() -> None:
    @suggestor
    def plan(ticket: Fact[Ticket], rules: All[Rule]) -> Proposal[Plan]:
        return propose(Plan(queue="a"), id="mine", because=[*rules, ticket.ref])

    context = context_of("t1")
    context.add(Rule(word="refund"), id="r1")

    assert {"mine": ("a", ("forms-rule:r1", "forms-ticket:t1"))} == plans(Engine([plan]).run_sync(context))


def test_one_proposal_object_may_be_returned_for_many_triggers() -> None:
    """The engine writes nothing into what a suggestor keeps."""
    kept = propose(Plan(queue="same"))

    @suggestor
    def plan(ticket: Fact[Ticket]) -> Proposal[Plan]:
        return kept

    result = Engine([plan]).run_sync(context_of("t1", "t2"))

    assert {"t1": ("same", ("forms-ticket:t1",)), "t2": ("same", ("forms-ticket:t2",))} == plans(result)
    assert (None, None) == (kept.id, kept.because)


def test_a_single_fact_of_the_trigger_s_own_family_is_named_by_content() -> None:
    """Under the trigger's id it would contest the trigger."""

    @suggestor
    def shout(ticket: Fact[Ticket]) -> Ticket:
        return Ticket(text=ticket.payload.text.upper())

    result = Engine([shout]).run_sync(context_of("t1"))

    loud = Context().add(Ticket(text="T1"))
    assert {"t1": "t1", loud.id: "T1"} == {id: fact.payload.text for id, fact in result.context.of(Ticket).items()}
    assert ("forms-ticket:t1",) == result.context.of(Ticket)[loud.id].because


def test_a_single_fact_of_the_trigger_s_own_family_revises_it_where_it_joins() -> None:
    @suggestor
    def climb(level: Fact[Level]) -> Level:
        return Level(value=min(3, level.payload.value + 1))

    context = Context()
    context.add(Level(value=0), id="water")
    result = Engine([climb]).run_sync(context)

    fact = result.context.of(Level)["water"]
    assert (3, "climb", 3, ("forms-level:water",)) == (fact.payload.value, fact.by, fact.cycle, fact.because)
    assert 4 == result.cycles


def test_all_is_background_as_of_the_previous_cycle() -> None:
    """It neither wakes nor is it a reason."""
    shown = []

    @suggestor
    def learn(ticket: Fact[Ticket]) -> Rule:
        return Rule(word=ticket.id)

    @suggestor
    def plan(ticket: Fact[Ticket], rules: All[Rule]) -> Plan:
        shown.append([rule.id for rule in rules])
        return Plan(queue="a")

    context = context_of("t1")
    context.add(Rule(word="refund"), id="r1")
    result = Engine([learn, plan]).run_sync(context)

    assert [["r1"]] == shown
    assert {"t1": ("a", ("forms-ticket:t1",))} == plans(result)


# --- the second form --------------------------------------------------------------------------------------------------


def test_a_view_s_suggestor_is_called_once_for_all_that_is_new() -> None:
    calls = []

    @suggestor(reads=[Ticket], writes=[Plan])
    def batch(view: View) -> Iterator[Any]:
        calls.append([ticket.id for ticket in view.new(Ticket)])
        for ticket in view.new(Ticket):
            yield propose(Plan(queue=ticket.id), id=ticket.id, because=[ticket])

    result = Engine([batch]).run_sync(context_of("t1", "t2"))

    assert [["t1", "t2"]] == calls
    assert {"t1": ("t1", ("forms-ticket:t1",)), "t2": ("t2", ("forms-ticket:t2",))} == plans(result)


def test_what_is_yielded_rests_on_what_was_handed_out_since_the_last_yield() -> None:
    """Each proposal rests on what `new` and `get` handed out for it; one that looked at nothing more, on the same."""

    @suggestor(reads=(Ticket, Rule), writes=[Plan])
    def batch(view: View) -> Iterator[Plan]:
        for ticket in view.new(Ticket):
            yield Plan(queue=ticket.id)
        view.get(Rule, "r1")
        view.all(Ticket)[0]  # background
        yield Plan(queue="a")
        yield Plan(queue="b")

    context = context_of("t1", "t2")
    context.add(Rule(word="refund"), id="r1")
    found = plans(Engine([batch]).run_sync(context))

    expected = {
        "t1": ("forms-ticket:t1",), "t2": ("forms-ticket:t2",), "a": ("forms-rule:r1",), "b": ("forms-rule:r1",)
    }  # fmt: skip
    assert expected == dict(found.values())


def test_a_returned_payload_rests_on_all_that_was_handed_out() -> None:
    @suggestor(reads=(Ticket, Rule), writes=[Plan])
    def batch(view: View) -> Plan:
        first = view.new(Ticket)[0]
        rule = view.find("forms-rule:r1")
        assert rule is not None
        return Plan(queue=first.id + rule.id)

    context = context_of("t1", "t2")
    context.add(Rule(word="refund"), id="r1")

    assert [("t1r1", ("forms-ticket:t1", "forms-rule:r1"))] == list(plans(Engine([batch]).run_sync(context)).values())


def test_two_calls_of_one_view_suggestor_each_rest_on_their_own() -> None:
    @suggestor(reads=[Ticket, Level], writes=[Level, Plan])
    def batch(view: View) -> Iterator[Any]:
        for level in view.new(Level):
            yield Plan(queue=str(level.payload.value))
        for ticket in view.new(Ticket):
            yield propose(Level(value=7), id=ticket.id)

    found = plans(Engine([batch]).run_sync(context_of("t1")))

    assert [("7", ("forms-level:t1",))] == list(found.values())


# --- the third form ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["returns", "yields", "awaits", "streams"])
async def test_an_object_may_suggest_in_any_way(kind: str) -> None:
    class Returns:
        name, reads, writes = "returns", (Ticket,), (Plan,)

        def suggest(self, view: View) -> Any:
            return [Plan(queue=ticket.id) for ticket in view.new(Ticket)]

    class Yields(Returns):
        def suggest(self, view: View) -> Any:
            yield from (Plan(queue=ticket.id) for ticket in view.new(Ticket))

    class Awaits(Returns):
        async def suggest(self, view: View) -> Any:
            return [Plan(queue=ticket.id) for ticket in view.new(Ticket)]

    class Streams(Returns):
        async def suggest(self, view: View) -> Any:
            for ticket in view.new(Ticket):
                yield Plan(queue=ticket.id)

    target = {"returns": Returns, "yields": Yields, "awaits": Awaits, "streams": Streams}[kind]()
    result = await Engine([target]).run(context_of("t1", "t2"))

    assert ["t1", "t2"] == [fact.payload.queue for fact in result.context.of(Plan).values()]


def test_a_suggestor_of_anything_sees_every_family() -> None:
    seen = []

    @suggestor(reads=ANY, writes=[Plan])
    def watch(view: View) -> None:
        seen.append(([fact.ref for fact in view.new_facts()], view.families()))

    context = context_of("t1")
    context.add(Rule(word="refund"), id="r1")
    Engine([watch]).run_sync(context)

    assert [(["forms-rule:r1", "forms-ticket:t1"], ("forms-rule", "forms-ticket"))] == seen


# --- properties -------------------------------------------------------------------------------------------------------


@given(queues=st.lists(st.sampled_from("abc")), holder=st.sampled_from([list, tuple, set, frozenset, iter]))
def test_however_payloads_are_held_the_same_facts_come_out(queues: list[str], holder: Callable[[Any], Any]) -> None:
    """Saying the same thing twice is saying it once; a set comes out in an order of its content."""

    @suggestor
    def plan(ticket: Fact[Ticket]) -> list[Plan]:
        held: list[Plan] = holder([Plan(queue=queue) for queue in queues])
        return held

    found = [queue for queue, _ in plans(Engine([plan]).run_sync(context_of("t1"))).values()]

    expected = list(dict.fromkeys(queues))
    assert (sorted(expected) if holder in (set, frozenset) else expected) == found
