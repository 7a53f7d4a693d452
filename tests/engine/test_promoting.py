"""Holds promotion to a model of it in a few lines: what stands, what lost and in which order, whoever was faster."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import Engine, Proposal, Result, Suggestor, propose, suggestor
from quiesce.engine.testing import assert_deterministic
from quiesce.facts import Contested, Context, Fact, Payload, replay
from quiesce.facts.event import CycleCommitted


class Seed(Payload, key="seeds", family="promoting-seed"):
    number: int = 0


class First(Payload, key="signals", family="promoting-first"):
    value: int = 0


class Surest(Payload, key="signals", family="promoting-surest", on_conflict="confidence"):
    value: int = 0


class Most(Payload, key="signals", family="promoting-most"):
    value: int = 0

    def join(self, other: "Most") -> "Most":
        return self if self.value >= other.value else other


Said = tuple[str, int, float]
"""An id, a value and a confidence."""

SAID = st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.sampled_from([0.1, 0.5, 0.9]))
ANSWERS = st.lists(st.lists(SAID, max_size=4), min_size=1, max_size=4)


def says(name: str, cls: Any, answer: list[Said]) -> Suggestor:
    """Returns a suggestor that proposes what it is told to."""

    async def answer_async(seed: Fact[Seed]) -> Iterator[Proposal[Any]]:
        return iter([propose(cls(value=value), id=id, confidence=sure) for id, value, sure in answer])

    made: Suggestor = suggestor(name=name, writes=[cls])(answer_async)
    return made


def engine_of(cls: Any, answers: list[list[Said]]) -> Engine:
    return Engine([says(f"s{place}", cls, answer) for place, answer in enumerate(answers)])


def one_seed() -> Context:
    context = Context()
    context.add(Seed(), id="x")
    return context


def standing(result: Result, cls: Any) -> dict[str, tuple[int, str]]:
    """Returns value and author of what stands, by id, in the order of promotion."""
    return {id: (fact.payload.value, fact.by) for id, fact in result.context.of(cls).items()}


def in_order(answers: list[list[Said]]) -> list[tuple[str, int, float, str]]:
    return [(id, value, sure, f"s{place}") for place, answer in enumerate(answers) for id, value, sure in answer]


@pytest.mark.slow
@given(answers=ANSWERS)
async def test_the_first_in_the_order_of_registration_stands(answers: list[list[Said]]) -> None:
    """Then in the order proposed; whoever says the same is no loser, whoever says otherwise is told of once."""
    stands: dict[str, tuple[int, str]] = {}
    lost: list[tuple[str, int, str]] = []
    for id, value, _, by in in_order(answers):
        if stands.setdefault(id, (value, by))[0] != value:
            lost.append((f"promoting-first:{id}", value, by))

    result = await engine_of(First, answers).run(one_seed())

    told = [fact.payload for fact in result.context.of(Contested).values()]
    assert stands == standing(result, First)
    assert {(ref, by) for ref, _, by in lost} == {(one.ref, one.lost_by) for one in told}
    assert {*lost} == {(one.ref, one.payload.value, one.by) for one in rejections(result)}


def rejections(result: Result) -> list[Any]:
    events = [logged.event for logged in result.log.events(result.run_id)]
    return [one for event in events if isinstance(event, CycleCommitted) for one in event.rejections]


@pytest.mark.slow
@given(answers=ANSWERS)
async def test_the_surest_of_one_cycle_stands_where_the_family_says_so(answers: list[list[Said]]) -> None:
    """Among equally sure ones the first."""
    stands: dict[str, tuple[int, str]] = {}
    for id, value, _, by in sorted(in_order(answers), key=lambda said: -said[2]):
        stands.setdefault(id, (value, by))

    assert stands == standing(await engine_of(Surest, answers).run(one_seed()), Surest)


@pytest.mark.slow
@given(answers=ANSWERS)
async def test_a_join_comes_to_the_same_in_every_order(answers: list[list[Said]]) -> None:
    most: dict[str, int] = {}
    for id, value, _, _ in in_order(answers):
        most[id] = max(value, most.get(id, 0))

    found = [standing(await engine_of(Most, given).run(one_seed()), Most) for given in (answers, answers[::-1])]

    assert [most, most] == [{id: value for id, (value, _) in one.items()} for one in found]


@pytest.mark.slow
@given(answers=ANSWERS, cls=st.sampled_from([First, Surest, Most]))
async def test_what_is_promoted_does_not_depend_on_who_is_faster(answers: list[list[Said]], cls: Any) -> None:
    await assert_deterministic(engine_of(cls, answers), one_seed(), seeds=range(3))


@pytest.mark.slow
@given(answers=ANSWERS, cls=st.sampled_from([First, Surest, Most]))
async def test_a_replay_promotes_the_same(answers: list[list[Said]], cls: Any) -> None:
    result = await engine_of(cls, answers).run(one_seed())

    assert result.context == replay(result.log, result.run_id)


@given(count=st.integers(1, 5), suggestors=st.integers(1, 4))
def test_facts_stand_in_the_order_of_suggestor_trigger_and_proposal(count: int, suggestors: int) -> None:
    """Not of the cycle in which somebody had time for them."""

    def each(place: int) -> Suggestor:
        def answer(seed: Fact[Seed]) -> list[Proposal[First]]:
            return [propose(First(), id=f"{place}/{seed.payload.number}/{turn}") for turn in range(2)]

        return suggestor(name=f"s{place}")(answer)

    context = Context()
    for number in range(count):
        context.add(Seed(number=number))
    result = Engine([each(place) for place in range(suggestors)]).run_sync(context)

    expected = [
        f"{place}/{number}/{turn}" for place in range(suggestors) for number in range(count) for turn in range(2)
    ]
    assert expected == list(result.context.of(First))
