"""Shows that a fact cannot be altered through what it holds."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from quiesce.facts import Context, ImmutableFact, InvalidPayload
from quiesce.facts.canonical import decode, encode
from quiesce.facts.family import family_of
from support.payloads import Anything, Box, Point

LIST = (
    "append",
    "extend",
    "insert",
    "remove",
    "pop",
    "clear",
    "sort",
    "reverse",
    "__setitem__",
    "__delitem__",
    "__iadd__",
    "__imul__",
)
DICT = ("update", "setdefault", "pop", "popitem", "clear", "__setitem__", "__delitem__", "__ior__")
SET = (
    "add",
    "remove",
    "discard",
    "pop",
    "clear",
    "update",
    "difference_update",
    "intersection_update",
    "symmetric_difference_update",
    "__ior__",
    "__iand__",
    "__ixor__",
    "__isub__",
)
MUTATORS = [*(("items", name) for name in LIST), *(("names", name) for name in DICT), *(("seen", name) for name in SET)]


def box() -> Box:
    """Returns what a fact holds: a Box that has become one."""
    return Context().add(Box(items=[1, 2], names={"a": [1]}, seen={1})).payload


def read_box() -> Box:
    """Returns the same, read from a log."""
    found = decode("facts-box", "signals", 1, encode(box(), family_of(Box)))
    assert isinstance(found, Box)
    return found


@pytest.mark.parametrize("made", [box, read_box])
@pytest.mark.parametrize(("field", "mutator"), MUTATORS)
def test_no_mutator_changes_what_a_fact_holds(field: str, mutator: str, made: Any) -> None:
    """Neither in a fact that was just added nor in one that came from a log."""
    payload = made()
    held = getattr(payload, field)
    arguments = {"__setitem__": (0, 1), "insert": (0, 1), "setdefault": ("b", 1)}.get(mutator, ())
    with pytest.raises(ImmutableFact) as caught:
        getattr(held, mutator)(*arguments)

    expected = (
        f"a {type(held).__mro__[1].__name__} inside a fact cannot be changed: facts are immutable. "
        f"Copy it (list(…), dict(…), payload.model_copy(update=…)) and propose the copy"
    )
    assert expected == str(caught.value)
    assert Box(items=[1, 2], names={"a": [1]}, seen={1}) == payload


def test_every_mutator_of_python_is_refused() -> None:
    """What a list has and a tuple has not, and so on: a new Python may bring more of them."""
    harmless = {"copy", "__reversed__", "__class_getitem__", "__init__", "__or__", "__ror__", "__reduce__"}
    left = {*dir(list)} - {*dir(tuple)} - harmless, {*dir(set)} - {*dir(frozenset)} - harmless

    of_dict = {*dir(dict)} - {*dir(MappingProxyType)} - harmless - {"fromkeys"} | {"__ior__"}

    assert (({*LIST}, {*SET}), {*DICT}) == (left, of_dict)


def test_statements_are_refused_like_methods() -> None:
    payload = box()
    with pytest.raises(ImmutableFact):
        payload.items += [3]
    with pytest.raises(ImmutableFact):
        payload.names["a"].append(3)
    with pytest.raises(ImmutableFact):
        del payload.names["a"]
    with pytest.raises(ValidationError, match="Instance is frozen"):
        payload.items = []

    assert Box(items=[1, 2], names={"a": [1]}, seen={1}) == payload


def test_what_was_given_is_not_what_the_fact_holds() -> None:
    """Whoever made the payload still has the list; changing it changes no fact."""
    inner: list[Any] = [1]
    given = {"a": inner, "t": (inner,)}
    fact = Context().add(Anything(value=given))
    inner.append(2)
    given["b"] = 3  # type: ignore[assignment]  # any value

    assert {"a": [1], "t": ([1],)} == fact.payload.value


def test_copies_of_what_a_fact_holds_can_be_changed() -> None:
    payload = box()
    items, names, seen = payload.items.copy(), payload.names | {"b": []}, payload.seen | {2}
    items.append(3)
    seen.add(3)
    names["c"] = []

    assert ([1, 2, 3], {"a": [1], "b": [], "c": []}, {1, 2, 3}) == (items, names, seen)
    assert Box(items=[1, 2], names={"a": [1]}, seen={1}) == payload


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_of_a_fact_are_equal_and_as_frozen(again: Any) -> None:
    fact = Context().add(Box(items=[1], names={"a": [1]}, seen={1}))
    copied = again(fact)
    for mutate in (copied.payload.items.append, copied.payload.names.pop, copied.payload.seen.add):
        with pytest.raises(ImmutableFact):
            mutate(1)

    assert fact == copied
    assert fact.payload == copied.payload


@dataclass(frozen=True)
class Firm:
    items: Any


@dataclass
class Loose:
    x: int


class LooseModel(BaseModel):
    x: int


class Held(BaseModel, frozen=True):
    items: list[int]


def test_frozen_models_and_dataclasses_inside_are_frozen_to_the_bottom() -> None:
    payload = Context().add(Anything(value=[Firm(items=[1]), Held(items=[1]), Point(x=1, y=2)])).payload
    for held in payload.value[:2]:
        with pytest.raises(ImmutableFact):
            held.items.append(2)
    with pytest.raises(FrozenInstanceError):
        payload.value[0].items = []

    assert [Firm(items=[1]), Held(items=[1]), Point(x=1, y=2)] == payload.value


def generated() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("held", "problem"),
    [
        (Loose(x=1), "holds a Loose, whose fields can be changed. Write: @dataclass(frozen=True)"),
        (
            LooseModel(x=1),
            "holds a LooseModel, whose fields can be changed. Write: class LooseModel(BaseModel, frozen=True)",
        ),
        (deque([1]), "holds a deque, which can be changed. Give a list, tuple, dict or set"),
        (bytearray(b"a"), "holds a bytearray, which can be changed. Give a list, tuple, dict or set"),
        (generated(), "holds a generator, which can be changed. Give a list, tuple, dict or set"),
        (frozenset({Firm(items=float("nan"))}), "nan is not a finite number"),
    ],
)
def test_what_can_be_changed_and_cannot_be_frozen_is_refused(held: Any, problem: str) -> None:
    for value in (held, [held], {"a": (held,)}):
        with pytest.raises(InvalidPayload) as caught:
            Context().add(Anything(value=value))

        assert f"cannot be written as JSON: {problem}" == caught.value.reason


def test_dicts_of_every_kind_are_frozen() -> None:
    payload = Context().add(Anything(value=OrderedDict(a=1))).payload
    with pytest.raises(ImmutableFact):
        payload.value["b"] = 2

    assert {"a": 1} == payload.value


def deep_in_sets(depth: int) -> Any:
    found: Any = frozenset()
    for _ in range(depth):
        found = frozenset({(found,)})
    return found


@given(depth=st.integers(33, 400))
def test_sets_are_no_way_around_the_limit_of_depth(depth: int) -> None:
    with pytest.raises(InvalidPayload, match="nested deeper than 64 levels"):
        Context().add(Anything(value=deep_in_sets(depth)))
