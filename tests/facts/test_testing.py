"""Shows that the test kit finds what is wrong: each law that a join can break, each clause that a store can."""

from __future__ import annotations

import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from pydantic import Field

from quiesce.facts import Context, FactError, InvalidPayload, MemoryStore, Payload, Store, testing
from quiesce.facts.stores import Batch, Put
from quiesce.facts.testing import NotAJoin, StoreContract, check_join
from quiesce.facts.testing.model import StoreModel
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


# --- the contract of stores -------------------------------------------------------------------------------------------

WITHOUT = """
import sys
sys.modules[{missing!r}] = None
from quiesce.facts.testing import check_join
print(check_join.__name__)
from quiesce.facts.testing import StoreContract
"""


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_joins_can_be_checked_without_pytest_and_hypothesis(missing: str) -> None:
    """Only the contract of stores needs them, and says what to install."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(missing=missing)], capture_output=True, text=True, check=False
    )

    assert "check_join\n" == done.stdout
    expected = "quiesce.facts.testing.StoreContract needs pytest and Hypothesis: pip install pytest hypothesis"
    assert f"ImportError: {expected}" == done.stderr.splitlines()[-1]


def test_a_name_that_the_test_kit_does_not_have_is_told() -> None:
    with pytest.raises(AttributeError, match=r"module 'quiesce\.facts\.testing' has no attribute 'StoreContracts'"):
        _ = testing.StoreContracts


def test_the_clauses_of_the_contract_are_named_each_with_what_it_shows() -> None:
    """Those about writers beside each other and about crashes are marked."""
    clauses = StoreContract.clauses()
    marked = [clause.about for clause in clauses if clause.about]

    assert [] == [clause.test for clause in clauses if not clause.shows.endswith(".")]
    assert len(clauses) == len({clause.test for clause in clauses}) >= 30
    assert {"concurrent writers": 6, "crashes": 1} == {about: marked.count(about) for about in marked}


class Forgetful(StoreContract):
    """A store that a careless author wrote: each test of the contract below has to see what is wrong with it."""

    lasting = False

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def open(self, place: Path) -> Store:
        return Faulty(self.fault)


class Faulty(MemoryStore):
    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def commit(self, batch: Batch) -> None:
        match self.fault:
            case "ends":
                batch = replace(batch, ends={run: self.length(run) for run in batch.ends})
            case "expects":
                batch = replace(batch, expects={})
            case "half":
                super().commit(Batch(puts=batch.puts))
            case "touches":
                batch = replace(batch, touches=frozenset())
            case "dropped":
                notes = {address: Put(note.value, note.stamp) for address, note in self._notes.items()}
                super().commit(batch)
                return super().commit(Batch(puts=notes))
            case _:
                pass
        super().commit(batch)
        if self.fault == "position" and batch.dropped:
            self._position = max((at for at, *_ in self.since(0)), default=0)
        return None


@pytest.mark.parametrize("fault", ["ends", "expects", "half", "touches", "dropped", "position"])
def test_the_contract_sees_a_store_that_breaks_it(fault: str) -> None:
    """A test of its own, and the comparison with the store in memory."""
    tests = {
        "ends": "test_a_new_run_begins_at_nothing",
        "expects": "test_a_note_that_is_missing_refuses_the_batch",
        "half": "test_a_batch_of_several_runs_and_notes_is_one_step",
        "touches": "test_an_append_touches_notes_of_its_families",
        "dropped": "test_a_dropped_run_goes_with_its_notes_and_may_begin_again",
        "position": "test_a_position_is_never_used_twice",
    }
    contract = Forgetful(fault)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(contract, tests[fault])()
    found = settings(max_examples=60, stateful_step_count=12, phases=[Phase.generate], deadline=None, database=None)
    with pytest.raises((AssertionError, pytest.fail.Exception)), redirect_stdout(StringIO()):
        run_state_machine_as_test(lambda: StoreModel(contract.open, lasting=False), settings=found)  # type: ignore[arg-type]  # it calls it, whatever it is
