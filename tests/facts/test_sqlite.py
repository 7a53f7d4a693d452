"""Tests the SQLite store: its files, its versions, what it shares with others, and what it forgets."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.facts import Broken, Fenced, RunId, SqliteStore, StoreError
from quiesce.facts.stores import Address, Batch, Put, Stale, sqlite_schema
from quiesce.facts.stores import sqlite as module
from quiesce.facts.stores.base import NewerFormat
from quiesce.facts.stores.sqlite_errors import Damaged, Locked
from quiesce.facts.stores.sqlite_schema import APPLICATION_ID, prepare
from support.faults import start_child
from support.store_work import (
    LEASE,
    MEMO,
    SECRET,
    STATES,
    WORK,
    A,
    B,
    append_each,
    body,
    record,
    state_of,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "store-1.sqlite"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log may be."""
    return tmp_path / "log.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    """An empty store."""
    with closing(SqliteStore(path)) as store:
        yield store


def do(path: Path, *statements: str) -> None:
    """Changes a database behind the back of the store."""
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def bytes_of(folder: Path) -> bytes:
    """Returns all bytes of all files of a folder."""
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_its_files_are_for_their_owner_alone(path: Path, umask: int) -> None:
    """Whatever the umask says."""
    before = os.umask(umask)
    try:
        store = SqliteStore(path)
        store.commit(WORK[0])
    finally:
        os.umask(before)
    rights = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert {"log.db": 0o600, "log.db-wal": 0o600, "log.db-shm": 0o600} == rights

    store.close()

    assert ["log.db"] == [file.name for file in path.parent.iterdir()]


def test_an_empty_file_becomes_a_log(path: Path) -> None:
    path.touch()
    with closing(SqliteStore(path)) as store:
        store.commit(WORK[0])

        assert STATES[1] == state_of(store)


def test_a_name_is_a_name_whatever_is_in_it(tmp_path: Path) -> None:
    """Nothing in it is taken for a part of a url."""
    path = tmp_path / "a?mode=memory&b#c%20d.db"
    with closing(SqliteStore(path)) as store:
        store.commit(WORK[0])

    assert [path] == list(tmp_path.iterdir())


def test_a_database_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        SqliteStore(tmp_path / "no" / "log.db")

    assert f"{tmp_path}/no/log.db cannot be created: No such file or directory" == str(caught.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.db").mkdir()
    with pytest.raises(StoreError) as caught:
        SqliteStore(tmp_path / "log.db")

    assert f"{tmp_path}/log.db cannot be opened: it is not a regular file" == str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"x" * 5000, "cannot be opened: file is not a database (SQLITE_NOTADB). Is it a fact log at all?"),
        (b"a few words", "is no SQLite database: it has 11 bytes"),
    ],
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes, problem: str) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        SqliteStore(path)

    assert problem in str(caught.value)
    assert content == path.read_bytes()
    assert [path] == list(path.parent.iterdir())


def test_a_database_of_somebody_else_is_refused_and_left_alone(path: Path) -> None:
    do(path, "CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        SqliteStore(path)

    expected = (
        f"{path} is a SQLite database, but no fact log (its application_id is 0x0). Nothing was changed. "
        f"Give the log a file of its own"
    )
    assert expected == str(caught.value)
    assert before == path.read_bytes()


def test_a_database_of_another_application_is_refused_though_it_is_empty(path: Path) -> None:
    do(path, "PRAGMA application_id=17")
    with pytest.raises(StoreError, match=r"its application_id is 0x11"):
        SqliteStore(path)


def test_tables_that_others_added_are_theirs(path: Path) -> None:
    SqliteStore(path).close()
    do(path, "CREATE TABLE theirs (x)", "CREATE INDEX theirs_too ON events (digest)")
    with closing(SqliteStore(path)) as store:
        store.commit(WORK[0])

        assert [] == list(store.check())


# --- versions -------------------------------------------------------------------------------------------------------


def test_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    SqliteStore(path).close()
    do(path, "PRAGMA user_version=7")
    before = path.read_bytes()
    with pytest.raises(NewerFormat) as caught:
        SqliteStore(path)

    expected = (
        f"{path} is laid out in version 7, and this build of quiesce knows versions up to 2. Nothing was changed. "
        f"Open it with a newer quiesce: pip install --upgrade quiesce"
    )
    assert expected == str(caught.value)
    assert before == path.read_bytes()


def build_first_version(path: Path) -> None:
    """Writes a database as version 1 did: what `tests/golden/store-1.sqlite` was made by."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_schema, "VERSION", 1)
        patch.setattr(sqlite_schema, "STEPS", sqlite_schema.STEPS[:1])
        with closing(SqliteStore(path)) as store:
            for batch in WORK[:3]:
                store.commit(Batch(ends=batch.ends, records=batch.records))


@pytest.mark.parametrize("golden", [True, False])
def test_the_first_version_is_read_and_brought_forward(path: Path, golden: bool) -> None:
    """The golden file, as it was once written, and one of today are the same; nothing is lost on the way."""
    if golden:
        shutil.copyfile(GOLDEN, path)
    else:
        build_first_version(path)
    with closing(sqlite3.connect(path)) as db:
        assert (1,) == db.execute("PRAGMA user_version").fetchone()
        assert [("events",), ("runs",)] == db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()
    with closing(SqliteStore(path)) as store:
        expected = STATES[3] | {"notes": {}}

        assert expected == state_of(store)

        for address in (LEASE, MEMO):
            put = next(batch.puts[address] for batch in WORK if address in batch.puts)
            store.commit(Batch(puts={address: put}))
        for batch in WORK[3:]:
            store.commit(batch)

        assert STATES[-1] == state_of(store)
        assert [] == list(store.check())


def test_the_golden_file_has_the_digests_that_it_always_had() -> None:
    """It is changed by nobody."""
    assert GOLDEN_DIGEST == sha256(GOLDEN.read_bytes()).hexdigest()


GOLDEN_DIGEST = "b1899eb54b5e4ce0192c8a2daa678fb0b8b2c12e3b5615a1475c33e05caadd2f"


def test_many_may_open_what_is_not_there_yet(path: Path) -> None:
    """Each finds it laid out, and none gets an error."""
    start = threading.Barrier(8)
    errors: list[Exception] = []

    def open_and_write(number: int) -> None:
        start.wait()
        try:
            with closing(SqliteStore(path)) as store:
                store.commit(Batch.of(RunId(str(number)), 0, [record(str(number), 0)]))
        except Exception as error:  # noqa: BLE001  told below
            errors.append(error)

    threads = [threading.Thread(target=open_and_write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(SqliteStore(path)) as store:
        assert [] == errors
        assert {str(number) for number in range(8)} == set(store.runs())


@pytest.mark.parametrize("step", range(5))
def test_a_step_forward_that_fails_changes_nothing(path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one transaction; the next who opens it makes it whole."""
    shutil.copyfile(GOLDEN, path)
    steps = [list(statements) for statements in sqlite_schema.STEPS]
    steps[1].insert(min(step, len(steps[1])), "CREATE TABLE nonsense (")
    monkeypatch.setattr(sqlite_schema, "STEPS", tuple(map(tuple, steps)))
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(path)
    with closing(sqlite3.connect(path)) as db:
        assert (1,) == db.execute("PRAGMA user_version").fetchone()
        assert (0,) == db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'notes'").fetchone()
    monkeypatch.undo()
    with closing(SqliteStore(path)) as store:
        assert STATES[3]["runs"] == state_of(store)["runs"]


def test_a_layout_that_was_changed_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    do(path, "DROP INDEX events_of_run")
    with pytest.raises(StoreError) as caught:
        SqliteStore(path)

    assert f"{path} is damaged: its layout is not that of version 2. Put a backup in its place" == str(caught.value)


# --- several at a time ----------------------------------------------------------------------------------------------


def test_two_stores_over_one_file_see_what_the_other_wrote(path: Path) -> None:
    """Each batch by the other one; what fences is checked where it is written."""
    with closing(SqliteStore(path)) as one, closing(SqliteStore(path)) as other:
        for number, batch in enumerate(WORK):
            (one, other)[number % 2].commit(batch)

            assert STATES[number + 1] == state_of(one) == state_of(other)
        with pytest.raises(Fenced):
            other.commit(WORK[0])
        with pytest.raises(Stale):
            one.commit(Batch(expects={LEASE: 11}))


@pytest.mark.slow
def test_processes_write_their_own_runs_at_the_same_time(path: Path) -> None:
    """Each gets every event in, while this one reads and sees beginnings of runs only."""
    runs = [RunId(f"of {number}") for number in range(3)]
    children = [start_child(append_each, SqliteStore, path, run, 100) for run in runs]
    with closing(SqliteStore(path)) as store:
        for child, run in zip(children, runs, strict=True):
            for told in (child.hear(), child.hear()):
                records = list(store.read(run))

                assert [record(run, seq, [body(str(seq))]) for seq in range(len(records))] == records
                assert told <= len(records)
        for child in children:
            ended = child.wait()

            assert ("", [*range(1, 101)]) == (ended.error, ended.said)
        positions = [position for position, *_ in store.since(0)]

        assert [*range(1, 301)] == positions
        assert [100, 100, 100] == [store.length(run) for run in runs]
        assert [] == list(store.check())


def test_a_reader_holds_nobody_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops in the midst of a run, and the write-ahead log can be emptied all the same."""
    monkeypatch.setattr(module, "CHUNK_EVENTS", 3)
    with closing(SqliteStore(path)) as one, closing(SqliteStore(path, patience=0.1)) as other:
        one.commit(Batch.of(A, 0, [record("a", seq, [body(SECRET)]) for seq in range(10)]))
        one.commit(Batch(puts={Address("memo", str(seq), ""): Put(b"m", seq) for seq in range(10)}))
        readers = (one.read(A), one.since(0), one.notes("memo"))
        for reader in readers:
            next(reader)
        other.commit(Batch.of(A, 10, [record("a", 10)]))
        other.commit(Batch(replaced={(A, 0): record("a", 0, gone=[body(SECRET)])}))

        assert 0 == path.with_name("log.db-wal").stat().st_size
        assert [10, 10, 9] == [len(list(reader)) for reader in readers]


def test_a_reader_whose_run_is_cut_meanwhile_is_told(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_EVENTS", 2)
    store.commit(Batch.of(A, 0, [record("a", seq) for seq in range(10)]))
    reader = store.read(A)
    first = [next(reader), next(reader)]
    store.commit(Batch(cut={A: 6}))
    with pytest.raises(StoreError) as caught:
        next(reader)

    assert [record("a", 0), record("a", 1)] == first
    assert "run a: its events before 6 were taken away while it was read. Read it again" == str(caught.value)


def test_a_database_that_stays_locked_says_how_to_find_who_locks_it(path: Path) -> None:
    """Nothing is lost: the same commit succeeds when the other one is done."""
    with closing(SqliteStore(path, patience=0.05)) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Locked) as caught:
            store.commit(WORK[0])

        expected = (
            f"{path} is locked: somebody else has been writing to it for more than 0.05 s. Nothing was written. "
            f"Find the process with: lsof {path} — then wait for it or end it, and try again"
        )
        assert expected == str(caught.value)

        other.execute("ROLLBACK")
        store.commit(WORK[0])

        assert STATES[1] == state_of(store)


def test_a_store_is_of_use_in_several_threads(store: SqliteStore) -> None:
    """As leases need it, which are renewed in a thread of their own."""
    threads = [
        threading.Thread(target=append_some, args=(store, RunId(str(number)))) for number in range(4)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {str(number): 25 for number in range(4)} == {run: store.length(run) for run in store.runs()}


def append_some(store: SqliteStore, run: RunId) -> None:
    """Appends 25 events, one by one."""
    for seq in range(25):
        store.commit(Batch.of(run, seq, [record(run, seq)]))
        list(store.read(run))


def test_a_process_that_was_forked_opens_the_log_again(path: Path) -> None:
    """A connection that two processes share would corrupt the file."""
    program = """
import os, sys
from quiesce.facts import SqliteStore, StoreError
from quiesce.facts.stores import Batch
store = SqliteStore(sys.argv[1])
if os.fork() == 0:
    for use in (lambda: store.commit(Batch()), store.runs):
        try:
            use()
        except StoreError as error:
            print(error, flush=True)
    store.close()
    os._exit(0)
os.wait()
store.commit(Batch())
store.close()
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    expected = f"{path} was opened by the process that this one comes from. Open the log again here\n"

    assert expected * 2 == done.stdout


def test_a_closed_store_is_of_no_use(store: SqliteStore) -> None:
    store.commit(WORK[0])
    store.close()
    store.close()
    with pytest.raises(StoreError) as writing:
        store.commit(WORK[1])
    with pytest.raises(StoreError) as reading:
        list(store.read(A))

    assert f"{store.path} takes no more events: it was closed. Open the log again" == str(writing.value)
    assert f"{store.path} cannot be read: it was closed. Open the log again" == str(reading.value)


# --- what it keeps --------------------------------------------------------------------------------------------------


def test_it_holds_what_a_store_in_memory_holds(path: Path) -> None:
    """After every batch, also when it was opened again in between."""
    for number, batch in enumerate(WORK):
        with closing(SqliteStore(path)) as store:
            store.commit(batch)

            assert STATES[number + 1] == state_of(store)


def test_no_position_is_taken_twice(path: Path) -> None:
    """Not even when all that was there went away, however often."""
    with closing(SqliteStore(path)) as store:
        seen = []
        for turn in range(1, 4):
            store.commit(Batch.of(A, 0, [record("a", 0), record("a", 1)]))
            seen.append([position for position, *_ in store.since(0)])
            store.commit(Batch(dropped={A}))

            assert ([], 2 * turn) == (list(store.since(0)), store.position())
    assert [[1, 2], [3, 4], [5, 6]] == seen


def test_a_run_whose_events_were_all_cut_goes_on_where_it_was(store: SqliteStore) -> None:
    store.commit(Batch.of(A, 0, [record("a", 0), record("a", 1)]))
    store.commit(Batch(cut={A: 2}))

    assert (2, 2, []) == (store.first(A), store.length(A), list(store.read(A)))

    store.commit(Batch.of(A, 2, [record("a", 2)]))

    assert (2, 3, [record("a", 2)]) == (store.first(A), store.length(A), list(store.read(A)))
    assert [] == list(store.check())


def test_an_event_that_is_not_there_cannot_be_replaced(store: SqliteStore) -> None:
    store.commit(Batch.of(A, 0, [record("a", 0)]))
    with pytest.raises(StoreError, match=r"run a: there is no event 1 with digest .+\. Nothing was changed"):
        store.commit(Batch(replaced={(A, 0): record("a", 0, gone=[body("x")]), (A, 1): record("a", 1)}))

    assert [record("a", 0)] == list(store.read(A))


def test_a_payload_of_several_lines_is_refused(store: SqliteStore) -> None:
    """Stored it would come back as two."""
    with pytest.raises(StoreError) as caught:
        store.commit(Batch.of(A, 0, [record("a", 0, [b'{\n"text":1}'])]))

    assert "run a: a payload of event 0 is not JSON on one line. Nothing was kept" == str(caught.value)
    assert [] == store.runs()


def test_a_note_of_many_bytes_and_a_run_of_any_name_come_back(store: SqliteStore) -> None:
    address = Address("memo", "", "k\x00k")
    store.commit(Batch.of(RunId("a\x00b"), 0, [record("x", 0)]))
    store.commit(Batch(puts={address: Put(b"\x00\xff" * 50_000, 1 << 61, ("p", "q"))}))
    note = store.note(address)

    assert ["a\x00b"] == store.runs()
    assert note is not None
    assert (b"\x00\xff" * 50_000, 1 << 61, 1, ("p", "q")) == note


def test_what_cannot_be_written_as_text_is_refused(store: SqliteStore) -> None:
    """A lone surrogate is no text to SQLite."""
    with pytest.raises(StoreError, match=r"nothing of this batch was kept: .*surrogates not allowed"):
        store.commit(Batch.of(RunId("\ud800"), 0, [record("a", 0)]))

    assert [] == store.runs()


def test_size_is_the_bytes_of_the_content(store: SqliteStore) -> None:
    """As other stores count them."""
    one = record("a", 0, [body("x"), body("y")])
    store.commit(Batch.of(A, 0, [one, record("a", 1)]))
    size = len(one.raw) + sum(map(len, one.payloads.values())) + len(one.beside)

    assert size + len(record("a", 1).raw) + len(record("a", 1).beside) == store.size(A)
    assert 0 == store.size(B)


def test_the_write_ahead_log_is_brought_in_now_and_then(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_PAGES", 30)
    with closing(SqliteStore(path)) as store:
        for seq in range(200):
            store.commit(Batch.of(A, seq, [record("a", seq)]))

        assert path.with_name("log.db-wal").stat().st_size < 60 * 4200
        assert path.stat().st_size > 4 * 4096


# --- what it forgets ------------------------------------------------------------------------------------------------


def test_what_is_erased_is_gone_from_every_file(path: Path) -> None:
    """Replaced, cut and dropped; what is left can be read."""
    with closing(SqliteStore(path)) as store:
        for number, batch in enumerate(WORK, 1):
            store.commit(batch)
            if 5 <= number < 8:
                assert SECRET in bytes_of(path.parent)
        assert SECRET not in bytes_of(path.parent)
        assert b"zzzz" not in bytes_of(path.parent)
        assert STATES[-1] == state_of(store)


def test_what_a_reader_still_sees_is_erased_by_a_later_commit(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The store says that it remains, and tries again."""
    with closing(SqliteStore(path, patience=0.05)) as store, closing(sqlite3.connect(path)) as other:
        store.commit(Batch.of(A, 0, [record("a", 0, [body(SECRET)])]))
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM events").fetchone()
        with caplog.at_level(logging.WARNING, "quiesce"):
            store.commit(Batch(replaced={(A, 0): record("a", 0, gone=[body(SECRET)])}))

        expected = (
            f"{path}: its write-ahead log was not emptied: somebody else is reading or writing. "
            f"What was erased still stands in it; the next commit tries to empty it again"
        )
        assert [expected] == [entry.getMessage() for entry in caplog.records]
        assert SECRET in bytes_of(path.parent)

        other.execute("ROLLBACK")
        store.commit(Batch.of(A, 1, [record("a", 1)]))

        assert SECRET not in bytes_of(path.parent)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "redact", "cut", "drop"]), st.sampled_from("abc"), st.integers(1, 2000)),
        max_size=40,
    )
)
def test_nothing_of_what_was_erased_is_left_after_shrinking(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    """Whatever SQLite has moved from page to page in between."""
    folder = tmp_path_factory.mktemp("erased")
    numbers = itertools.count(1)
    with closing(SqliteStore(folder / "log.db")) as store:
        there: dict[RunId, dict[int, bytes]] = {}
        gone: list[bytes] = []
        for kind, name, size in steps:
            run = RunId(name)
            bodies = there.get(run, {})
            if kind == "add":
                seq = store.length(run)
                there.setdefault(run, {})[seq] = text = body(f"<{next(numbers)}>" * (size // 4 + 1))
                store.commit(Batch.of(run, seq, [record(name, seq, [text])]))
            elif kind == "redact" and bodies:
                seq = min(bodies)
                store.commit(Batch(replaced={(run, seq): record(name, seq, gone=[bodies[seq]])}))
                gone.append(bodies.pop(seq))
            elif kind == "cut" and store.length(run):
                store.commit(Batch(cut={run: store.length(run)}))
                gone.extend(bodies.values())
                bodies.clear()
            elif kind == "drop":
                store.commit(Batch(dropped={run}))
                gone.extend(there.pop(run, {}).values())
        store.shrink()
        held = bytes_of(folder)

        assert [] == [text for text in gone if text[9 : text.index(b">") + 1] in held]
        assert [] == list(store.check())


def test_shrinking_gives_room_back(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.commit(Batch.of(A, 0, [record("a", seq, [body("x" * 3000)]) for seq in range(200)]))
        store.commit(Batch.of(B, 0, [record("b", 0)]))
        store.commit(Batch(dropped={A}))
        before = path.stat().st_size
        store.shrink()

        assert path.stat().st_size < before / 10
        assert [record("b", 0)] == list(store.read(B))
        assert 201 == store.position()


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE events SET raw = x'7b7d' WHERE position = 2", "its text does not match its digest"),
        ("UPDATE events SET payloads = x'7b7d' WHERE position = 2", "its payloads and what stands beside it do not"),
        ("UPDATE events SET beside = x'7b7d' WHERE position = 2", "its payloads and what stands beside it do not"),
        ("UPDATE events SET gone = x'7b7d' WHERE position = 2", "its payloads and what stands beside it do not"),
        ("UPDATE events SET size = 1 WHERE position = 2", "its size is not that of what was written"),
        ("UPDATE events SET raw = 'text' WHERE position = 2", "a column has another type than was written"),
        ("DELETE FROM events WHERE position = 2", "event 2 stands where it should be"),
        ("UPDATE events SET run = 2, seq = 9 WHERE position = 2", "event 2 stands where it should be"),
    ],
)
def test_an_event_that_was_changed_is_named(path: Path, change: str, problem: str) -> None:
    """Those before it are read."""
    with closing(SqliteStore(path)) as store:
        for batch in WORK[:3]:
            store.commit(batch)
    do(path, change)
    with closing(SqliteStore(path)) as store:
        reader = store.read(A)

        assert STATES[3]["runs"]["a"][2][0] == next(reader)

        with pytest.raises(Broken) as caught:
            next(reader)

        assert ("a", 1, str(path)) == (caught.value.run, caught.value.seq, caught.value.where)
        assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE notes SET value = x'00' WHERE space = 'memo'", "the memo note 'one' of ''"),
        ("UPDATE notes SET position = 99 WHERE space = 'memo'", "the memo note 'one' of ''"),
        ("UPDATE notes SET families = 'seen' WHERE space = 'memo'", "the memo note 'one' of ''"),
        ("UPDATE notes SET key = 'two' WHERE space = 'memo'", "the memo note 'two' of ''"),
    ],
)
def test_a_note_that_was_changed_is_named(path: Path, change: str, problem: str) -> None:
    with closing(SqliteStore(path)) as store:
        for batch in WORK[:3]:
            store.commit(batch)
    do(path, change)
    with closing(SqliteStore(path)) as store:
        with pytest.raises(StoreError) as caught:
            list(store.notes("memo"))

        expected = (
            f"{path} is damaged: {problem} is not what was written. The events of the log are not touched by it; "
            f"quiesce verify checks them"
        )
        assert expected == str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("SELECT 1", []),
        ("UPDATE runs SET first = 1 WHERE run = 'a'", ["run a should begin with event 1, but begins with event 0"]),
        (
            "DELETE FROM events WHERE run = 1 AND seq = 1",
            ["run a has 2 events from number 0 to 2: some are missing"],
        ),
        (
            "UPDATE events SET run = 7 WHERE run = 2 AND seq = 2",
            ["position 6 of the ledger belongs to run number 7, which is none"],
        ),
        (
            "DELETE FROM families WHERE family = 'told'",
            ["the memo note 'one' of '' and the table of families disagree about told"],
        ),
    ],
)
def test_a_check_says_what_does_not_fit_together(path: Path, change: str, expected: list[str]) -> None:
    with closing(SqliteStore(path)) as store:
        for batch in WORK[:3]:
            store.commit(batch)
    do(path, change)
    with closing(SqliteStore(path)) as store:
        assert [f"{path}: {problem}" for problem in expected] == list(store.check())


def test_pages_that_make_no_sense_are_told_with_the_name_of_the_file(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.commit(Batch.of(A, 0, [record("a", seq, [body("x" * 900)]) for seq in range(100)]))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xff" * (len(data) - len(data) // 2))
    with closing(SqliteStore(path)) as store:
        with pytest.raises(Broken) as reading:
            list(store.read(A))
        with pytest.raises(Damaged) as writing:
            store.commit(Batch.of(B, 0, [record("b", seq, [body("x" * 900)]) for seq in range(100)]))

        assert str(path) == reading.value.where
        assert f"{path}: nothing of this batch was kept: database disk image is malformed" in str(writing.value)
        assert [] != list(store.check())


def test_who_opens_what_another_is_laying_out_finds_it_empty_or_ready(path: Path) -> None:
    """All that it asks about the layout is answered as of one moment."""
    path.touch()
    other = sqlite3.connect(path, timeout=0, isolation_level=None)

    class Interrupted(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == "PRAGMA user_version" and not self.in_midst:
                self.in_midst = True
                with suppress(sqlite3.OperationalError):  # it has to wait until the questions are over
                    prepare(other, str(path), 0)
            return super().execute(sql, *values)

        in_midst = False

    with closing(other), closing(sqlite3.connect(path, isolation_level=None, factory=Interrupted)) as db:
        prepare(db, str(path), 1)

        assert db.in_midst
        assert (APPLICATION_ID,) == db.execute("PRAGMA application_id").fetchone()
