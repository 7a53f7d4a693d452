"""Shows that events survive being written, and that what is wrong with their text is told by run, event and field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.facts import BrokenEvent, Fact, LogError, Opaque, UnknownFormat
from quiesce.facts.canonical import digest_of, payload_bytes
from quiesce.facts.event import (
    FORMAT,
    ContextCarried,
    CycleCommitted,
    Event,
    GateDecided,
    GateOpened,
    Parent,
    RunResumed,
    RunStarted,
    RunStopped,
    payloads_of,
    write_event,
)
from quiesce.facts.fact import Ref, RunId, make_fact
from quiesce.facts.read_event import read_event, read_head
from quiesce.facts.trail import Decision, Parked, Rejection, Seen, SuggestorPrint
from support.payloads import STARTED, Answer, Note, Tags

RUN = RunId("r")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NAME = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=6)
NUMBER = st.integers(0, 2**70)
CONFIDENCE = st.floats(0, 1)
DIGEST = st.binary(min_size=32, max_size=32)
PAYLOAD = (
    st.builds(Note, text=TEXT)
    | st.builds(Answer, text=TEXT)
    | st.builds(Tags, names=st.frozensets(TEXT, max_size=3))
    | st.builds(
        Opaque,
        family=st.just("facts-nobody"),
        key=NAME,
        version=st.integers(1, 9),
        raw=st.builds(json.dumps, TEXT).map(str.encode),
    )
)
REFS = st.lists(NAME.map(lambda id: Ref(f"facts-note:{id}")), max_size=6).map(tuple)


def fact_of(payload: Any, id: str, by: str, cycle: int, confidence: float, because: tuple[Ref, ...]) -> Fact[Any]:
    return make_fact(payload, id, by, cycle, confidence, because, digest_of(payload_bytes(payload)))


FACT = st.builds(fact_of, PAYLOAD, NAME, NAME, NUMBER, CONFIDENCE, REFS)
FACTS = st.lists(FACT, max_size=4).map(tuple) | st.tuples(st.lists(FACT, max_size=4), REFS).map(
    lambda drawn: tuple(
        make_fact(one.payload, one.id, one.by, one.cycle, one.confidence, drawn[1], one.sha256) for one in drawn[0]
    )
)


def rejection_of(fact: Fact[Any], said: bool, reason: str) -> Rejection:
    payload, sha256 = (fact.payload, fact.sha256) if said else (None, None)
    return Rejection(
        fact.ref, fact.key, fact.version, fact.by, fact.cycle, fact.confidence, fact.because, reason, payload, sha256
    )


def parked_of(fact: Fact[Any], gate: str, policy: str, expires: str | None, default: str | None) -> Parked:
    return Parked(
        gate,
        policy,
        fact.family,
        fact.id,
        fact.by,
        fact.cycle,
        fact.confidence,
        fact.because,
        fact.payload,
        fact.sha256,
        STARTED,
        expires,
        default,
    )


REJECTION = st.builds(rejection_of, FACT, st.booleans(), TEXT)
PARKED = st.builds(parked_of, FACT, NAME, NAME, st.none() | TEXT, st.none() | TEXT)
DECISION = st.builds(Decision, NAME, NAME.map(Ref), st.booleans(), NAME, TEXT, TEXT)
PRINTS = st.lists(
    st.builds(
        SuggestorPrint,
        NAME,
        TEXT,
        st.lists(NAME, max_size=2).map(tuple),
        st.lists(NAME, max_size=2).map(tuple),
        st.booleans(),
    ),
    max_size=2,
).map(tuple)
SETTINGS = st.dictionaries(TEXT, st.none() | st.booleans() | NUMBER | TEXT | st.lists(TEXT, max_size=2), max_size=3)
REJECTIONS = st.lists(REJECTION, max_size=2).map(tuple)
EVENT: st.SearchStrategy[Event] = st.one_of(
    st.builds(RunStarted, TEXT, NUMBER, PRINTS, SETTINGS, st.none() | st.builds(Parent, NAME.map(RunId), NUMBER, TEXT)),
    st.builds(
        ContextCarried,
        st.integers(-1, 9),
        FACTS,
        PRINTS,
        st.dictionaries(NAME, st.builds(Seen, TEXT, st.dictionaries(NAME, NUMBER, max_size=2)), max_size=2),
        st.lists(PARKED, max_size=2).map(tuple),
        REJECTIONS,
    ),
    st.builds(
        CycleCommitted, NUMBER, st.lists(NAME, max_size=2).map(tuple), FACTS, REJECTIONS, NUMBER, st.floats(0, 1e9)
    ),
    st.builds(GateOpened, PARKED),
    st.builds(GateDecided, DECISION),
    st.builds(RunResumed, TEXT, PRINTS, SETTINGS),
    st.builds(RunStopped, SETTINGS, NUMBER, TEXT),
)


def stored(event: Event) -> dict[str, bytes]:
    """Returns the payloads that stand beside an event, by digest."""
    parts = [part for part in payloads_of(event) if part.sha256 is not None]
    return {
        part.sha256.hex(): payload_bytes(part.payload) for part in parts if part.payload is not None and part.sha256
    }


def read(
    raw: bytes,
    payloads: Mapping[str, bytes],
    run: str = "r",
    seq: int = 3,
    gone: Mapping[str, bytes] | None = None,
) -> Event:
    return read_event(read_head(raw, run, seq), run, seq, payloads.get, gone or {})


TOLD = b'{"reason":"erased","by":"ana","at":"2026-01-01T00:00:00+00:00"}'


def redacted(event: Event) -> dict[str, bytes]:
    """Returns tombstones for all payloads of an event."""
    return {part.sha256.hex(): TOLD for part in payloads_of(event) if part.sha256 is not None}


# --- round trip -------------------------------------------------------------------------------------------------------


@given(event=EVENT, run=NAME.map(RunId), seq=NUMBER, previous=st.none() | DIGEST.map(bytes.hex))
def test_an_event_reads_back_as_it_was_written(event: Event, run: RunId, seq: int, previous: str | None) -> None:
    raw = write_event(event, run, seq, previous)
    found = read(raw, stored(event), run, seq)

    assert event == found
    assert raw == write_event(found, run, seq, previous)
    assert b"\n" not in raw
    assert previous == json.loads(raw)["prev"]


@given(event=EVENT)
def test_the_text_of_an_event_holds_no_payload(event: Event) -> None:
    """Only digests: a payload can be erased, and the text, which the chain covers, still stands."""
    raw = write_event(event, RUN, 3, None)
    found = read(raw, {}, gone=redacted(event))

    assert raw == write_event(found, RUN, 3, None)
    assert {b""} >= {part.payload.raw for part in payloads_of(found) if isinstance(part.payload, Opaque)}


def test_a_long_lineage_that_facts_share_is_written_once() -> None:
    because = tuple(Ref(f"facts-note:{n}") for n in range(100))
    facts = [make_fact(Note(text=""), str(n), "x", 1, 1.0, because, b"\0" * 32) for n in range(50)]
    event = CycleCommitted(1, (), facts)
    raw = write_event(event, RUN, 3, None)

    assert 1 == raw.count(b'"facts-note:99"')
    assert [because] * 50 == [fact.because for fact in payloads_of(read(raw, {}, gone=redacted(event)))]


# --- what is wrong is named -------------------------------------------------------------------------------------------

NOTE, LOST = (
    fact_of(Note(text="a"), "n", "ana", 1, 0.5, (Ref("facts-note:m"),)),
    fact_of(Note(text="b"), "n", "bob", 1, 1.0, ()),
)
PARK = parked_of(NOTE, "g1", "all", STARTED, "reject")
DECIDED = Decision("g1", Ref("facts-note:n"), True, "ana", "fine", STARTED)
PRINT = SuggestorPrint("plan", "1", ("facts-note",), ("facts-answer",))
REJECTED = rejection_of(LOST, True, "contested")
EXAMPLES: list[Event] = [
    RunStarted(STARTED, 7, (PRINT,), {"a": 1}, Parent(RunId("p"), 2, "00")),
    RunStarted(STARTED, 7, (PRINT,), {"a": 1}, Parent(RunId("p"), 2, "00"), {PRINT.name: "before"}),
    ContextCarried(
        1,
        (NOTE,),
        (PRINT,),
        {"plan": Seen("1", {"facts-note": 1})},
        (PARK,),
        (REJECTED,),
    ),
    CycleCommitted(1, ("plan",), (NOTE,), (REJECTED,), 3, 0.5),
    GateOpened(PARK),
    GateDecided(DECIDED),
    RunResumed(STARTED, (PRINT,), {"a": 1}),
    RunStopped({"kind": "converged"}, 3, "00"),
]
WRONG: list[Any] = [None, 7, -1.5, "text", True, [], {}, [7], {"a": 7}]
MAY_BE_ANYTHING = ("prev", "settings.", "stop.")
"""What `verify` checks, and what belongs to whoever wrote it."""


def places(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yields the way to every field of a JSON object."""
    if path:
        yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, value in items:
        yield from places(value, (*path, name))


def named(path: tuple[str | int, ...]) -> str:
    """Returns a way as messages write it: facts[0].by."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def changed(data: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """Returns the data with one field changed, or without it where the value is `...`."""
    data = deepcopy(data)
    inner = data
    for part in path[:-1]:
        inner = inner[part]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return data


FIELDS = [
    pytest.param(event, path, id=f"{event.kind}-{named(path)}")
    for event in EXAMPLES
    for path in places(json.loads(write_event(event, RUN, 3, None)))
    if not named(path).startswith(MAY_BE_ANYTHING)
]


@pytest.mark.parametrize(("event", "path"), FIELDS)
def test_a_field_that_is_missing_or_of_another_type_is_named(event: Event, path: tuple[str | int, ...]) -> None:
    data = json.loads(write_event(event, RUN, 3, None))
    for value in [..., *WRONG]:
        wrong = changed(data, path, value)
        found, message = _try(json.dumps(wrong).encode(), stored(event))

        if found is None:
            assert message.startswith("run r: event 3 ")
            assert _tells(message, path), message
        else:  # the change was of the same kind: it must have been read as it stands
            assert path[-1] == "key" or wrong == json.loads(write_event(found, RUN, 3, None))


def _try(raw: bytes, payloads: Mapping[str, bytes]) -> tuple[Event | None, str]:
    """Returns the event, or the message of the error that it is."""
    try:
        return read(raw, payloads), ""
    except LogError as error:
        return None, str(error)


def _tells(message: str, path: tuple[str | int, ...]) -> bool:
    """Tells whether a message names the field, or what was looked for in it or beside it."""
    field = re.search(r"its ([^ :]+)", message)
    around = named(path[:-1]) or str(path[0])
    return path == ("v",) or (field is not None and field[1].startswith(around))


@pytest.mark.parametrize("kind", ["", "run_exploded", "Run_Started"])
def test_an_unknown_kind_is_named(kind: str) -> None:
    data = json.loads(write_event(EXAMPLES[0], RUN, 3, None))
    with pytest.raises(BrokenEvent) as caught:
        read(json.dumps(data | {"kind": kind}).encode(), {})

    expected = (
        f"run r: event 3 cannot be read: its kind is {kind!r}, which this build does not know. "
        f"Events before it are intact"
    )
    assert expected == str(caught.value)


@pytest.mark.parametrize("version", [FORMAT + 1, 99, 0, -1])
def test_an_unknown_event_version_says_what_to_do(version: int) -> None:
    data = json.loads(write_event(EXAMPLES[0], RUN, 3, None))
    with pytest.raises(UnknownFormat) as caught:
        read(json.dumps(data | {"v": version}).encode(), {})

    expected = f"run r: event 3 has format version {version}; this build reads up to {FORMAT}. Upgrade quiesce"
    assert expected == str(caught.value)
    assert ("r", 3, version) == (caught.value.run, caught.value.seq, caught.value.found)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"run": "s"}, "its run is 's'"),
        ({"seq": 4}, "its seq is 4: a line is missing, doubled or out of order"),
        ({"seq": True}, "its seq is True, not int"),
        ({"cycle": 1.5}, "its cycle is 1.5, not int"),
        ({"cost": float("nan")}, "its cost is nan, not a finite number"),
        ({"cost": float("inf")}, "its cost is inf, not a finite number"),
        ({"cost": 10**400}, f"its cost is 1{'0' * 59}, not a finite number"),
        ({"ran": ["plan", 7]}, "its ran holds something that is no text"),
    ],
)
def test_a_wrong_value_is_shown(changes: dict[str, Any], problem: str) -> None:
    data = json.loads(write_event(CycleCommitted(1, ["plan"], []), RUN, 3, None))
    with pytest.raises(BrokenEvent) as caught:
        read(json.dumps(data | changes).encode(), {})

    expected = f"run r: event 3 cannot be read: {problem}. Events before it are intact"
    assert expected == str(caught.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"confidence": 1.5}, "confidence is 1.5, not a number from 0 to 1"),
        ({"confidence": float("nan")}, "confidence is nan, not a number from 0 to 1"),
        ({"confidence": 10**400}, f"confidence is 1{'0' * 59}, not a number from 0 to 1"),
        ({"digest": "zz"}, "digest is 'zz', not a SHA-256 in hex"),
        ({"digest": "AB" * 32}, f"digest is '{'AB' * 29}A, not a SHA-256 in hex"),
        ({"ref": "nonsense"}, "ref is 'nonsense', not family:id"),
        ({"ref": "facts-note:"}, "ref is 'facts-note:', not family:id"),
        ({"ref": ":n"}, "ref is ':n', not family:id"),
        ({"because": "other"}, "because is 'other', not list"),
    ],
)
def test_a_wrong_value_of_a_fact_is_shown(changes: dict[str, Any], problem: str) -> None:
    data = json.loads(write_event(CycleCommitted(1, [], [NOTE]), RUN, 3, None))
    data["facts"][0] |= changes
    with pytest.raises(BrokenEvent) as caught:
        read(json.dumps(data).encode(), {})

    expected = f"cannot be read: its facts[0].{problem}"
    assert expected == caught.value.problem


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"[]",
        b"7",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"v":' + b"1" * 5000 + b"}",
        b"{}",
    ],
)
def test_what_is_no_event_at_all_is_told(raw: bytes) -> None:
    with pytest.raises(BrokenEvent) as caught:
        read(raw, {}, seq=0)

    assert str(caught.value).startswith("run r: event 0 ")
    assert str(caught.value).endswith(". Nothing before it is intact")


def test_a_payload_that_does_not_fit_its_family_is_named() -> None:
    raw = write_event(CycleCommitted(1, [], [NOTE]), RUN, 3, None)
    with pytest.raises(BrokenEvent) as caught:
        read(raw, {NOTE.digest: b'{"text":3}'})

    assert "cannot be read: its facts[0].digest: payload of family 'facts-note': version 1 cannot be read" in str(
        caught.value
    )


def test_a_payload_of_an_unknown_family_is_kept_losslessly() -> None:
    opaque = Opaque(family="facts-nobody", key="seeds", version=3, raw=b'{"any": [1,  2]}')
    event = CycleCommitted(1, (), (fact_of(opaque, "a", "x", 1, 1.0, ()),))
    found = read(write_event(event, RUN, 3, None), stored(event))

    assert event == found
    assert [opaque] == [part.payload for part in payloads_of(found)]
