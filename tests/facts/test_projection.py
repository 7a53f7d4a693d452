"""Holds projections to their definition: what is wrong is told at once, with what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from quiesce.facts import Context, Fact, Payload, Projection, ProjectionError, projection


class Seen(Payload, key="signals", family="projection-seen"):
    who: str


class Heard(Payload, key="signals", family="projection-heard"):
    who: str


class Tally(Payload, key="signals", family="projection-tally"):
    n: int


class Base(Payload):
    n: int


def who(fact: Fact[Any]) -> str:
    name: str = fact.payload.who
    return name


def count(before: Tally | None, fact: Fact[Any]) -> Tally | None:
    return Tally(n=(before.n if before else 0) + 1)


COUNT = projection(reads=[Seen, Heard], by=who)(count)


def said(name: str = "ana") -> Fact[Seen]:
    return Context().add(Seen(who=name), id="s")


def test_a_projection_is_the_function_that_it_was_made_of() -> None:
    """It can be tested by calling it."""
    assert Tally(n=1) == COUNT(None, said())
    assert Tally(n=3) == COUNT(Tally(n=2), said())


def test_a_projection_says_what_it_reads_and_keeps() -> None:
    """The name is the function's, the class of the values that of the return annotation."""
    assert isinstance(COUNT, Projection)
    assert ("count", "1", Tally, (Seen, Heard)) == (COUNT.name, COUNT.version, COUNT.value, COUNT.reads)
    assert ("projection-heard", "projection-seen") == COUNT.families
    assert "tally" == projection(reads=[Seen], by=who, name="tally")(count).name


@pytest.mark.parametrize(
    ("said_by", "ids"), [("ana", ("ana",)), (["ana", "ben", "ana"], ("ana", "ben")), (None, ()), ([], ())]
)
def test_a_fact_counts_for_one_value_for_several_or_for_none(said_by: Any, ids: tuple[str, ...]) -> None:
    assert ids == projection(reads=[Seen], by=lambda fact: said_by)(count).ids_of(said())


def test_classes_that_are_local_to_a_function_are_found() -> None:
    """Annotations are texts here."""

    class Local(Payload, key="signals", family="projection-local"):
        n: int

    @projection(reads=[Seen], by=who)
    def local(before: Local | None, fact: Fact[Seen]) -> Local:
        return Local(n=1)

    assert Local is local.value


def no_annotation(before, fact):  # type: ignore[no-untyped-def]  # that is the point
    return None


def no_value(before: Tally | None, fact: Fact[Seen]) -> None:
    return None


def two_values(before: Tally | None, fact: Fact[Any]) -> Tally | Heard:
    return Tally(n=1)


def a_number(before: int | None, fact: Fact[Seen]) -> int:
    return 1


def a_base(before: Base | None, fact: Fact[Seen]) -> Base:
    return Base(n=1)


def one_thing(fact: Fact[Seen]) -> Tally:
    return Tally(n=1)


def by_name(before: Tally | None, *, fact: Fact[Seen]) -> Tally:
    return Tally(n=1)


def its_own(before: Seen | None, fact: Fact[Heard]) -> Seen:
    return Seen(who="a")


def of_another(before: Tally | None, fact: Fact[Heard]) -> Tally:
    return Tally(n=1)


async def later(before: Tally | None, fact: Fact[Seen]) -> Tally:
    return Tally(n=1)


def nowhere(before: Tally | None, fact: Fact[Seen]) -> Nowhere:  # type: ignore[name-defined]  # noqa: F821  # that is the point
    return Tally(n=1)


@pytest.mark.parametrize(
    ("fold", "options", "problem"),
    [
        (no_annotation, {}, "its return annotation is missing; it says what is kept. Write: -> Posterior, with your"),
        (no_value, {}, "it returns <class 'NoneType'>. Return one payload class: -> Posterior, or -> Posterior | None"),
        (two_values, {}, "Return one payload class: -> Posterior, or -> Posterior | None"),
        (a_number, {}, "its return annotation <class 'int'> is no payload class. Derive it from Payload"),
        (a_base, {}, 'has no key. Write: class Base(Payload, key="signals")'),
        (one_thing, {}, "A fold takes two things, the value before and a fact: def one_thing(before: … | None, fact:"),
        (by_name, {}, "A fold takes two things, the value before and a fact: def by_name("),
        (its_own, {"reads": [Seen, Heard]}, "it reads Seen, which it also returns: log.context() says its values as"),
        (of_another, {}, "its fact is a Fact[Heard], which it does not read. Write: reads=[Seen, Heard]"),
        (later, {}, "a fold is a plain function that returns a value. Write it without async or yield"),
        (nowhere, {}, "its annotation 'Nowhere' cannot be resolved. Import it where the projection is defined"),
        (lambda before, fact: None, {}, 'that is no name (letters, digits, "_", ".", "-"; up to 100). Write: @projec'),
        (7, {"name": "seven"}, "7 is not a function"),
        (count, {"name": "a/b"}, 'that is no name (letters, digits, "_", ".", "-"; up to 100)'),
        (count, {"reads": Seen}, "reads=Seen is one class, not a list. Write: reads=[Seen]"),
        (count, {"reads": []}, "reads=[] names no payload class. Write: reads=[…]"),
        (count, {"reads": ["seen"]}, "reads='seen' is no payload class. Derive it from Payload"),
        (count, {"reads": [Base]}, 'has no key. Write: class Base(Payload, key="signals")'),
        (count, {"by": "who"}, "by='who' is no function. Write: by=lambda fact: fact.id"),
        (count, {"version": 2}, 'version=2 is no text. Write: version="1"'),
        (count, {"version": ""}, "version='' is no text. Write: version=\"1\""),
    ],
)
def test_what_cannot_be_a_projection_says_what_to_write(
    fold: Any, options: dict[str, Any], problem: str
) -> None:  # fmt: skip
    make: Callable[..., Any] = projection(**{"reads": [Seen], "by": who, **options})
    with pytest.raises(ProjectionError) as caught:
        make(fold)

    assert problem in str(caught.value)
    assert str(caught.value).startswith("projection ")


def test_a_decorator_without_arguments_says_what_is_missing() -> None:
    with pytest.raises(TypeError):
        projection(count)  # type: ignore[call-arg, arg-type]  # that is the point
