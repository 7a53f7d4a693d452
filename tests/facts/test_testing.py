"""Shows that `check_join` finds each law that a join can break, and says which."""

from __future__ import annotations

from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from quiesce.facts import Context, FactError, InvalidPayload, Payload
from quiesce.facts.testing import NotAJoin, check_join
from support.payloads import Note, Tags


class FactsBroken(Payload, key="signals"):
    """Joins as a global function says, so that each test can break it."""

    n: int
    names: list[str] = Field(default_factory=list)

    def join(self, other: Self) -> Self:
        return BREAK[0](self, other)  # type: ignore[no-any-return]  # a test decides what it returns


BREAK: list[Any] = []


def to(n: int) -> FactsBroken:
    return FactsBroken(n=n)


def appending(a: FactsBroken, b: FactsBroken) -> FactsBroken:
    a.names.append("x")
    return to(max(a.n, b.n))


@given(samples=st.lists(st.builds(Tags, names=st.frozensets(st.sampled_from("abc"))), max_size=4))
def test_a_union_is_a_join(samples: list[Tags]) -> None:
    check_join(samples)

    assert all(one.join(two) == two.join(one) for one in samples for two in samples)


@pytest.mark.parametrize(
    ("join", "law"),
    [
        (lambda a, b: to(a.n + b.n), "idempotent (a ∨ a = a)"),
        (lambda a, b: a, "commutative (a ∨ b = b ∨ a)"),
        (lambda a, b: to(a.n if a.n == b.n else 6 - a.n - b.n), "an upper bound (a ∨ (a ∨ b) = a ∨ b)"),
        (
            lambda a, b: to({(1, 2): 2, (2, 3): 3, (1, 3): 1}.get((min(a.n, b.n), max(a.n, b.n)), a.n)),
            "associative ((a ∨ b) ∨ c = a ∨ (b ∨ c))",
        ),
    ],
)
def test_each_broken_law_is_found(join: Any, law: str) -> None:
    BREAK[:] = [join]
    with pytest.raises(NotAJoin) as caught:
        check_join([to(1), to(2), to(3)])

    assert law == caught.value.law


def test_the_message_shows_the_operands_and_both_sides() -> None:
    BREAK[:] = [lambda a, b: a]
    with pytest.raises(AssertionError) as caught:
        check_join([to(1), to(2)])

    assert str(caught.value) == (
        "FactsBroken.join is not commutative (a ∨ b = b ∨ a):\n"
        "  a = FactsBroken(n=1, names=[])\n"
        "  b = FactsBroken(n=2, names=[])\n"
        "  left:  FactsBroken(n=1, names=[])\n"
        "  right: FactsBroken(n=2, names=[])\n"
        "Facts that are revised by it would depend on who spoke first"
    )


def test_a_join_that_changes_its_operands_is_found() -> None:
    BREAK[:] = [appending]
    with pytest.raises(FactError, match="a list inside a fact cannot be changed"):
        check_join([to(1)])


def test_a_join_that_returns_something_else_is_found() -> None:
    BREAK[:] = [lambda a, b: Note(text="a")]
    with pytest.raises(FactError) as caught:
        check_join([to(1)])

    assert "FactsBroken.join returned a Note; it must return its own class" == str(caught.value)


def test_at_most_so_many_samples_are_looked_at() -> None:
    BREAK[:] = [lambda a, b: to(max(a.n, b.n)) if max(a.n, b.n) < 5 else a]
    check_join((to(n) for n in range(100)), limit=5)
    with pytest.raises(NotAJoin):
        check_join((to(n) for n in range(100)), limit=7)


@pytest.mark.parametrize(
    ("join", "problem"),
    [
        (lambda a, b: 1 / 0, "join raised ZeroDivisionError: division by zero"),
        (lambda a, b: None, "join returned a NoneType, not a FactsBroken"),
        (lambda a, b: Note(text="a"), "join returned a Note, not a FactsBroken"),
        (
            lambda a, b: FactsBroken.model_construct(n=10**5000, names=[]),
            "holds an integer of more than 4,300 digits, too many to be read back",
        ),
    ],
)
def test_a_join_that_fails_refuses_the_input_and_changes_nothing(join: Any, problem: str) -> None:
    BREAK[:] = [join]
    context = Context()
    first = context.add(to(1), id="t")
    with pytest.raises(InvalidPayload) as caught:
        context.add(to(2), id="t")

    assert f"payload of family 'facts-broken': {problem}" == str(caught.value)
    assert [first] == list(context)
