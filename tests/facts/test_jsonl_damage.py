"""Shows that damage to any kind of line of a JSON lines file is told or does no harm: notes, gaps, what is gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from quiesce.facts import Broken, JsonLinesStore, Record, RunId, StoreError
from quiesce.facts.stores import Address, Batch, Put

A, B, C = RunId("a"), RunId("b"), RunId("c")
LEASE, MEMO, SEEN = Address("lease", A, ""), Address("memo", "", "m"), Address("memo", B, "s")


def record(run: str, seq: int, text: str = "") -> Record:
    raw = b'{"v":1,"run":"%s","seq":%d,"x":"%s"}' % (run.encode(), seq, text.encode())
    body = b'{"t":"%s"}' % text.encode()
    return Record(raw, sha256(raw).hexdigest(), {sha256(body).hexdigest(): body} if text else {}, b'{"t":%d}' % seq)


def gone(whole: Record) -> Record:
    return replace(whole, payloads={}, gone=dict.fromkeys(whole.payloads, b'{"by":"ana"}'))


APPENDED = (
    Batch({A: 0}, records={A: [record("a", 0, "x"), record("a", 1, "y")]}, puts={LEASE: Put(b"1", 1)}),
    Batch({A: 2, B: 0}, {LEASE: 1}, {A: [record("a", 2)], B: [record("b", 0, "z")]}, {MEMO: Put(b"2", 2, ("f",))}),
    Batch({B: 1}, records={B: [gone(record("b", 1, "q"))]}, touches={"f"}, touch=3),
    Batch(puts={SEEN: Put(b"4", 4), LEASE: Put(b"5", 5)}),
    Batch({C: 0}, records={C: [record("c", 0)]}, puts={MEMO: None}),
)
REWRITTEN = (
    *APPENDED,
    Batch(replaced={(A, 1): gone(record("a", 1, "y"))}, cut={B: 1}, dropped={C}),
    Batch({B: 2, A: 3}, records={B: [record("b", 2)], A: [record("a", 3, "y")]}, puts={LEASE: Put(b"6", 6)}),
)


def file_of(batches: tuple[Batch, ...], place: Path) -> Path:
    path = place / "log.jsonl"
    store = JsonLinesStore(path)
    for batch in batches:
        store.commit(batch)
    store.close()
    return path


def is_left_of(found: Record, whole: Record) -> bool:
    """Tells whether a record is what damage left of another: nothing in it is other than it was."""
    payloads = found.payloads.items() <= whole.payloads.items() and found.gone.items() <= whole.gone.items()
    return (found.raw, found.digest) == (whole.raw, whole.digest) and payloads and found.beside in (whole.beside, b"{}")


class Found:
    """What can be read of a file, and what is told of its faults."""

    def __init__(self, path: Path) -> None:
        self.told: list[str] = []
        try:
            store = JsonLinesStore(path)
        except StoreError as error:
            self.told.append(str(error))
            return
        self.torn = store.torn
        self.runs = {run: self.all_of(store.read(run)) for run in (A, B, C)}
        self.edges = {run: (store.first(run), store.length(run)) for run in (A, B, C)}
        self.ledger = self.all_of(store.since(0))
        self.notes = [self.all_of(store.notes(space)) for space in ("lease", "memo")]
        self.told += store.check()
        self.position = self.all_of(store.position() for _ in "1")
        for run in store.runs():
            if run not in self.runs:
                self.all_of(store.read(run))

    def all_of(self, found: Iterator[Any]) -> list[Any]:
        """Returns what comes before a fault."""
        several: list[Any] = []
        try:
            several.extend(found)
        except (Broken, StoreError) as error:
            self.told.append(str(error))
        return several

    def names(self) -> list[Any]:
        """Returns all but payloads: that one is missing is seen by who reads the event that names it."""
        runs = [[record.raw for record in records] for records in self.runs.values()]
        return [runs, self.edges, [each[:3] for each in self.ledger], self.notes]

    def check(self, sound: Found) -> None:
        """Checks that every event and every note is right, and that what is missing is told."""
        if not hasattr(self, "runs"):
            return
        for run, whole in sound.runs.items():
            found = [record.raw for record in self.runs[run]]
            assert found == [record.raw for record in whole[: len(found)]]
        for notes, kept in zip(self.notes, sound.notes, strict=True):
            assert notes in ([], kept)
        assert self.told or self.names() == sound.names()
        assert self.told or self.position == sound.position

    def check_to_the_byte(self, sound: Found) -> None:
        """Checks that what is read of events is right too, and where they stand in the ledger."""
        self.check(sound)
        for run, whole in sound.runs.items():
            assert all(map(is_left_of, self.runs[run], whole))
        events = {at: record for at, *_, record in sound.ledger}
        for at, *_, record in self.ledger:
            assert is_left_of(record, events[at])


@pytest.mark.slow
@pytest.mark.parametrize("batches", [APPENDED, REWRITTEN], ids=["appended", "rewritten"])
@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_a_flipped_byte_in_any_kind_of_line_is_told(mask: int, batches: tuple[Batch, ...], tmp_path: Path) -> None:
    """Never a wrong event, note or position; each flip is told, since a digest covers every byte but the form."""
    path = file_of(batches, tmp_path)
    whole, sound = path.read_bytes(), Found(path)
    assert [] == sound.told
    for kind in (b"payload", b"gone", b"event", b"note", b"commit"):
        assert b'{"%b":' % kind in whole
    for place in range(0, len(whole), 1 if mask == 0x01 else 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
        found = Found(path)
        found.check_to_the_byte(sound)

        assert found.told, f"byte {place}"


def changes(lines: list[bytes]) -> Iterator[list[bytes]]:
    for number in range(len(lines)):
        yield lines[:number] + lines[number + 1 :]
        yield lines[: number + 1] + lines[number:]
        for other in range(number + 1, len(lines)):
            swapped = list(lines)
            swapped[number], swapped[other] = lines[other], lines[number]
            yield swapped


@pytest.mark.slow
@pytest.mark.parametrize("batches", [APPENDED, REWRITTEN], ids=["appended", "rewritten"])
def test_lines_that_are_removed_doubled_or_moved_are_told_or_do_no_harm(
    batches: tuple[Batch, ...], tmp_path: Path
) -> None:
    """Whoever loses whole lines can make an end look torn, and no more."""
    path = file_of(batches, tmp_path)
    lines, sound = path.read_bytes().splitlines(keepends=True), Found(path)
    for changed in changes(lines):
        path.write_bytes(b"".join(changed))
        found = Found(path)
        if not found.torn:
            found.check(sound)


@pytest.mark.slow
@pytest.mark.parametrize("batches", [APPENDED, REWRITTEN], ids=["appended", "rewritten"])
def test_a_file_that_was_torn_anywhere_holds_whole_batches(batches: tuple[Batch, ...], tmp_path: Path) -> None:
    """Those of several runs and notes too: what a crash left is read up to the last whole batch, and can go on."""
    path = file_of(batches, tmp_path)
    whole = path.read_bytes()
    states = []
    for count in range(len(batches) + 1):
        other = tmp_path / f"{count}"
        other.mkdir()
        states.append(_told(file_of(batches[:count], other)))
    rewritten = max([count for count, batch in enumerate(batches, 1) if batch.cut], default=0)
    edges = [place for place, byte in enumerate(whole) if byte == ord("\n")]
    for size in sorted({*range(0, len(whole), 9), *edges, *(edge + 1 for edge in edges[:-1])}):
        path.write_bytes(whole[:size])
        store = JsonLinesStore(path)
        assert [] == list(store.check())
        found = _told(path)
        if not rewritten:
            assert found in states
        before = list(store.since(0))
        store.commit(Batch({RunId("new"): 0}, records={RunId("new"): [record("new", 0)]}))

        assert before == list(store.since(0))[:-1]
        assert [record("new", 0)] == list(store.read(RunId("new")))
        assert store.torn == 0
        store.close()


def _told(path: Path) -> list[Any]:
    found = Found(path)
    return [found.told, found.runs, found.edges, found.ledger, found.notes]


def test_damaged_notes_are_told_with_file_and_line_and_what_to_do(tmp_path: Path) -> None:
    """Nothing is written any more, since nothing can be expected of them; the runs can be read."""
    path = file_of(APPENDED, tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"key":"s"', b'"key":"t"'))
    line = 1 + next(at for at, each in enumerate(path.read_bytes().splitlines()) if b'"key":"t"' in each)
    store = JsonLinesStore(path)
    with pytest.raises(StoreError) as caught:
        store.commit(Batch.of(A, 3, [record("a", 3)]))

    expected = (
        f"{path}, line {line}: its note does not match its digest. The notes of this file can no longer be relied on, "
        f"and it takes no more events. Its runs can still be read: export them and load them into a file of their own"
    )
    assert expected == str(caught.value)
    assert [expected.partition(". The")[0]] == list(store.check())
    assert 3 == len(list(store.read(A)))


def test_a_damaged_run_that_is_dropped_lets_all_others_go_on(tmp_path: Path) -> None:
    """Until then nothing else can be taken out: what is damaged is not carried on as if it were sound."""
    path = file_of(APPENDED, tmp_path)
    path.write_bytes(path.read_bytes().replace(b'{"t":"z"}', b'{"t":"Z"}'))
    store = JsonLinesStore(path)
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        store.commit(Batch(dropped={C}))

    assert f"{path} was not written anew, since run b: event 0 is damaged" in str(caught.value)
    assert before == path.read_bytes()
    store.commit(Batch(dropped={B}))
    assert [A, C] == JsonLinesStore(path).runs()
    assert 3 == len(list(store.read(A)))
    store.close()
