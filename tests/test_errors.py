"""Walks over every error of the library: each can be caught as one, says what happened, and survives pickling."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

import quiesce.engine
import quiesce.facts
import quiesce.suggestors
from quiesce.engine import cli_codes
from quiesce.engine import errors as engine_errors
from quiesce.engine.commit import NotKept
from quiesce.engine.journal import BrokenEntry
from quiesce.engine.recorder import NotJournaled, Unrecorded
from quiesce.facts import QuiesceError
from quiesce.facts import errors as facts_errors
from quiesce.facts.event import RunStopped
from quiesce.facts.folding import ProjectionOutdated
from quiesce.facts.forget import Forgotten
from quiesce.facts.lease import Leased, TakenOver
from quiesce.facts.ledger import ProjectionBehind
from quiesce.facts.log import UnknownRun
from quiesce.facts.merkle import ProofError
from quiesce.facts.projection import FoldFailed, ProjectionError
from quiesce.facts.read_event import BrokenEvent, UnknownFormat
from quiesce.facts.redact import NotHere
from quiesce.facts.seal import BrokenNote
from quiesce.facts.snapshot import BrokenSnapshot, CutOff
from quiesce.facts.standing import BrokenProjection
from quiesce.facts.stores import Address, Broken, Fenced, Stale
from quiesce.facts.stores.base import NewerFormat
from quiesce.facts.stores.postgres import Lost
from quiesce.facts.stores.postgres_link import ServerError
from quiesce.facts.stores.sqlite_errors import Damaged, Locked
from quiesce.facts.testing import NotAJoin
from quiesce.suggestors.drift.errors import InvalidDriftSetting, MissingDetector
from quiesce.suggestors.feedback.model import MissingExtra, UnusableModel
from quiesce.suggestors.routing.state_file import NewerStateFile, StateFileError
from quiesce.suggestors.routing.support import InvalidPolicy, NoSupport
from quiesce.suggestors.selection.errors import NotForSelection, SelectionError, UnknownBackend
from quiesce.suggestors.trajectories.embedding import InvalidEmbedding
from quiesce.suggestors.trajectories.errors import BrokenPatterns, TrajectoryClosed, UnknownTrajectory


def walk(cls: type[QuiesceError]) -> set[type[QuiesceError]]:
    """Returns an error class and all below it, once every module is loaded."""
    return {cls}.union(*(walk(below) for below in cls.__subclasses__() if below.__module__.startswith("quiesce.")))


for floor in (quiesce.facts, quiesce.engine, quiesce.suggestors):
    for module in pkgutil.walk_packages(floor.__path__, f"{floor.__name__}."):
        try:
            importlib.import_module(module.name)
        except ImportError as missing:  # an extra that is not installed here
            assert not (missing.name or "").startswith("quiesce"), missing  # noqa: PT017  # this is no test

EXAMPLES: dict[type[QuiesceError], tuple[Any, ...]] = {
    BrokenPatterns: (3, "it is not JSON"),
    InvalidDriftSetting: ("DriftThresholds", "error_rate", 2, "a number from 0 to 1"),
    InvalidEmbedding: ("the query embedding", "is all zeros"),
    InvalidPolicy: ("r1", {"a": 2.0}, "which are no probabilities"),
    MissingDetector: ("adwin",),
    MissingExtra: ("FeedbackJudge('openai:gpt-5-mini')", "llm"),
    NewerStateFile: ("state.json", 3, 1),
    NoSupport: ("it would have taken somebody who could not be taken", 12, 0.5, ("a",)),
    NotForSelection: ("r1", "what is asked for", {}, "a ProviderRequest"),
    SelectionError: ("anything",),
    StateFileError: ("state.json", "it was not written: No space left on device"),
    TrajectoryClosed: ("traj-06GZ", "another verdict"),
    UnknownBackend: ("x", ("a", "b")),
    UnknownTrajectory: ("01a1fee4-17a7-7347-94eb-dab69034f325", "it is complete"),
    UnusableModel: ("'x'", "it is unknown"),
    QuiesceError: ("anything",),
    facts_errors.FactError: ("anything",),
    facts_errors.LogError: ("anything",),
    facts_errors.StoreError: ("anything",),
    facts_errors.InternalError: ("a cycle was lost",),
    facts_errors.InvalidPayload: ("plan", "is no good"),
    facts_errors.InvalidId: ("plan", 7, "is a int, not a text"),
    facts_errors.InvalidConfidence: (1.5,),
    facts_errors.PayloadDefinitionError: ("Plan", "it has no key"),
    facts_errors.UnknownFamily: ("plan", 2, ("plan@1",)),
    facts_errors.ConflictingInput: ("plan:t1", "ana"),
    facts_errors.ImmutableFact: ("a list inside a fact cannot be changed",),
    facts_errors.UndeclaredRead: ("plan", 3, "Rule", ("Ticket",)),
    UnknownRun: ("r", ("a", "b")),
    BrokenEvent: ("r", 3, "is not JSON"),
    UnknownFormat: ("r", 3, 2),
    Broken: ("r", 3, "log.jsonl", "line 4"),
    Damaged: ("log.db", "cannot be read", "malformed"),
    Locked: ("log.db", 10.0),
    Lost: ("r", 3, 1),
    ServerError: ("postgresql://ana@db/facts", "the disk is full", "Make room", "53100"),
    NewerFormat: ("log.db", 3, 2),
    Fenced: ("r", 3, 4),
    Stale: (Address("lease", "r", ""),),
    TakenOver: ("r", 1, "it was taken over by process 7"),
    Leased: ("r", "process 7", 12.0),
    BrokenNote: (Address("journal", "r", "ask/1"),),
    BrokenSnapshot: ("r", "is cut short"),
    CutOff: ("r", 7, "cycle 3 cannot be replayed"),
    NotHere: ("r", "ticket:t1", "p"),
    Forgotten: ("r", "p"),
    BrokenEntry: ("ask", "it cannot be read"),
    Unrecorded: ("ask", "1", "ask/1/ticket:t1"),
    NotJournaled: ("r", {"ask/1": b"{}"}, "the disk is full"),
    ProjectionError: ("load", "it reads nothing"),
    FoldFailed: ("load", "r", 3, "plan:t1", "KeyError: 'x'"),
    ProjectionOutdated: ("load", "1", "2"),
    ProjectionBehind: ("load", "register it"),
    BrokenProjection: ("load", "value of 'a'"),
    NotAJoin: ("Tags", "commutative", (1, 2), 3, 4),
    ProofError: ("inclusion proof", "it is cut short", "Ask again"),
    engine_errors.EngineError: ("anything",),
    engine_errors.RegistrationError: ("plan", "it reads nothing"),
    engine_errors.DuplicateName: ("plan", "a.plan", "b.plan"),
    engine_errors.Nonsense: ("plan", "a text"),
    engine_errors.ChangedSuggestors: ("r", ("suggestor 'plan' is missing",)),
    engine_errors.UnknownPack: ("money", ("support",)),
    engine_errors.UnknownSuggestor: ("plan", ("refund",)),
    engine_errors.GateError: ("g-1", "was already approved by ana"),
    engine_errors.InvalidOption: ("retries", -1, "a whole number from 0"),
    engine_errors.Unsettled: ("r", "was cancelled"),
    engine_errors.InLoop: (),
    cli_codes.Misuse: ("no such file",),
    cli_codes.Interrupted: ("interrupted",),
    cli_codes.Closed: ("closed",),
    NotKept: ("r", 3, (RunStopped({"kind": "converged"}, 3),), "the disk is full"),
}
AGAIN: list[Callable[[QuiesceError], QuiesceError]] = [
    copy.copy,
    copy.deepcopy,
    *(lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol)) for protocol in range(2, 6)),
]


def test_every_error_of_the_library_is_in_the_table() -> None:
    """A new one is added with arguments as the code gives them."""
    assert {cls.__name__ for cls in walk(QuiesceError)} == {cls.__name__ for cls in EXAMPLES}


@pytest.mark.parametrize("cls", EXAMPLES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("again", AGAIN)
def test_an_error_survives_pickling_with_its_text_and_its_attributes(
    cls: type[QuiesceError], again: Callable[[QuiesceError], QuiesceError]
) -> None:
    """Errors cross processes: a worker raises them, its parent shows them."""
    error = cls(*EXAMPLES[cls])
    found = again(error)

    assert (type(error), str(error), vars(error)) == (type(found), str(found), vars(found))
    assert repr(error) == repr(found)


@pytest.mark.parametrize("cls", EXAMPLES, ids=lambda cls: cls.__name__)
def test_an_error_that_was_raised_keeps_its_notes_and_says_something(cls: type[QuiesceError]) -> None:
    with pytest.raises(QuiesceError) as caught:
        raise cls(*EXAMPLES[cls])
    caught.value.add_note("in the third order")
    found = pickle.loads(pickle.dumps(caught.value))

    assert ["in the third order"] == found.__notes__
    assert str(found).strip()
    assert cls.__doc__


@pytest.mark.parametrize("cls", [cls for cls in EXAMPLES if "__init__" in vars(cls)], ids=lambda cls: cls.__name__)
def test_the_parts_of_an_error_are_attributes(cls: type[QuiesceError]) -> None:
    """Programs need not parse texts; whoever catches it finds what it was made of."""
    error = cls(*EXAMPLES[cls])
    arguments = cls.__init__.__code__.co_varnames[1 : cls.__init__.__code__.co_argcount]

    assert set(vars(error)) >= {name for name in arguments if name != "what" or cls is facts_errors.ImmutableFact}


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize("value", [Unprintable(), pytest.param(10**5000, id="huge")])
def test_a_value_that_cannot_be_shown_does_not_hide_the_error(value: Any) -> None:
    shown = f"<{type(value).__name__}>"

    assert f"confidence {shown} is not a number from 0 to 1" == str(facts_errors.InvalidConfidence(value))
    assert f"retries={shown} is not a number" == str(engine_errors.InvalidOption("retries", value, "a number"))
    assert str(engine_errors.Nonsense("plan", value)).startswith(f"suggestor 'plan' returned {shown} (a ")
