"""Runs the contract of stores on PostgreSQL, and what only it has: a schema, a server, a connection that drops."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, Literal

import psycopg
import pytest

from quiesce.facts import FactLog, LogError, RunId, Store, StoreError
from quiesce.facts.stores import Address, Batch, Broken, Fenced, MemoryStore, Put, Stale, postgres_schema
from quiesce.facts.stores import postgres as module
from quiesce.facts.stores import postgres_link as links
from quiesce.facts.stores import postgres_write as writing
from quiesce.facts.stores.base import NewerFormat
from quiesce.facts.stores.postgres import Lost, PostgresStore
from quiesce.facts.stores.postgres_link import ServerError, Target
from quiesce.facts.stores.postgres_row import from_text, make_row, to_text
from quiesce.facts.stores.postgres_write import work_of
from quiesce.facts.testing import StoreContract
from quiesce.facts.testing.samples import records_of
from support.postgres import PASSWORD, Server, free_port, schema_of, url_over
from support.proxy import Proxy
from support.store_work import STATES, WORK, state_of

A, B = RunId("a"), RunId("b")
MARK = Address("pgtest", "", "mark")
LEASE = Address("lease", "a", "")
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
numbers = count()


class TestPostgresStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, postgres: Server) -> None:
        """Sees to it that there is a server."""

    def open(self, place: Path) -> Store:
        return PostgresStore(url_over(schema=schema_of(place)))


@pytest.fixture
def schema() -> str:
    """A schema that no test has used."""
    return schema_of(("test_postgres", next(numbers)))


@pytest.fixture
def opened(postgres: Server, schema: str) -> Iterator[Callable[..., PostgresStore]]:
    """Opens stores over one schema, and closes them."""
    stores: list[PostgresStore] = []

    def open_one(**options: Any) -> PostgresStore:
        stores.append(PostgresStore(postgres.url(schema), **options))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def sql(postgres: Server) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A plain connection beside the stores."""
    with postgres.connect() as connection:
        yield connection


def put(stamp: int, *families: str, value: bytes = b"v") -> Put:
    return Put(value, stamp, families)


def append(run: str, seq: int, *texts: str, touches: str = "", touch: int = 0) -> Batch:
    batch = Batch.of(RunId(run), seq, records_of(run, seq, *texts))
    batch.touches, batch.touch = ({touches} if touches else set()), touch
    return batch


# --- two at once ------------------------------------------------------------------------------------------------------


def race(stores: list[PostgresStore], batches: list[Batch]) -> list[str]:
    """Commits batches at the same time, each through a store of its own, and returns how each ended."""
    barrier, ends = Barrier(len(stores)), [""] * len(stores)

    def commit(place: int) -> None:
        barrier.wait(10)
        try:
            stores[place].commit(batches[place])
            ends[place] = "kept"
        except StoreError as error:
            ends[place] = type(error).__name__

    threads = [Thread(target=commit, args=(place,)) for place in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return sorted(ends)


def test_of_two_who_write_to_one_run_one_is_fenced(opened: Callable[..., PostgresStore]) -> None:
    """A new run as well as one that goes on, in processes that know nothing of one another."""
    stores = [opened(), opened()]
    for seq in range(20):
        ends = race(stores, [append("a", seq, f"{place}") for place in range(2)])

        assert ["Fenced", "kept"] == ends
        assert seq + 1 == stores[0].length(A)


def test_of_two_who_put_one_note_one_finds_it_changed(opened: Callable[..., PostgresStore]) -> None:
    """Whether it is there already, or is expected not to be."""
    stores = [opened(), opened()]
    expected: int | None = None
    for turn in range(20):
        ends = race(
            stores, [Batch(expects={LEASE: expected}, puts={LEASE: put(10 * turn + n, "pg-race")}) for n in (1, 2)]
        )
        found = stores[0].note(LEASE)

        assert ["Stale", "kept"] == ends
        assert found is not None
        expected = found.stamp


def test_runs_that_touch_no_note_in_common_do_not_wait_for_one_another(
    opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """One commits while the transaction of the other is open."""
    first, second = opened(), opened()
    first.commit(Batch(puts={MARK: put(1, "pg-other")}))
    with sql.transaction():
        send(sql, first, append("a", 0, "x", touches="pg-f"))
        second.commit(append("b", 0, "y", touches="pg-f"))

        assert 1 == second.length(B)
    assert [A, B] == sorted(second.runs())


def test_many_writers_lose_nothing_and_add_nothing_twice(opened: Callable[..., PostgresStore]) -> None:
    """Each with its own run, all touching one note, which a reader folds meanwhile."""
    stores = [opened() for _ in range(4)]
    stores[0].commit(Batch(puts={MARK: put(1, "pg-many", value=b"0")}))

    def write(place: int) -> None:
        for seq in range(25):
            stores[place].commit(append(f"w{place}", seq, "x", touches="pg-many", touch=100 * place + seq + 10))

    threads = [Thread(target=write, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    total, stamp = 0, 1_000_000
    while any(thread.is_alive() for thread in threads) or total < 75:
        total, stamp = fold(stores[3], total, stamp), stamp + 1
    for thread in threads:
        thread.join(30)

    assert 75 == fold(stores[3], total, stamp + 1)


def fold(store: PostgresStore, before: int, stamp: int) -> int:
    """Adds what came behind a note to it, as a projection does; returns the sum, or the one before if it was late."""
    note = store.note(MARK)
    assert note is not None
    total = int(note.value) + sum(1 for _ in store.since(note.position))
    try:
        store.commit(Batch(expects={MARK: note.stamp}, puts={MARK: put(stamp, "pg-many", value=str(total).encode())}))
    except Stale:
        return before
    return total


# --- who reads the ledger misses nothing: the proof in postgres_schema.py, one schedule for each case -----------------


def send(connection: psycopg.Connection[tuple[Any, ...]], store: PostgresStore, batch: Batch) -> None:
    """Does a batch's statements in a transaction that the test ends when it wants."""
    for query, values in work_of(batch, store._schema).statements:
        connection.execute(query, values)


def start(work: Callable[[], Any]) -> tuple[Thread, list[Any]]:
    """Does something in a thread; the list gets what came of it."""
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.append(work())
        except StoreError as error:
            ended.append(error)

    thread = Thread(target=run)
    thread.start()
    return thread, ended


def wait_until_blocked(sql: psycopg.Connection[tuple[Any, ...]], ended: list[Any]) -> bool:
    """Waits until somebody waits for this connection's transaction; False if nobody has to."""
    while not ended:
        if blocked(sql):
            return True
    return False


def blocked(sql: psycopg.Connection[tuple[Any, ...]]) -> list[int]:
    """Returns the processes that wait for this connection's transaction."""
    sql.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees who was there when it first looked
    rows = sql.execute("SELECT pid FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
    return [pid for (pid,) in rows]


def test_who_registers_a_note_waits_for_appends_that_have_not_seen_it(
    opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """Else an append of its family could become visible behind its fold without touching it."""
    store, reader = opened(), opened()
    with sql.transaction():
        send(sql, store, append("a", 0, "x", touches="pg-f", touch=5))  # took its position, is not committed
        thread, ended = start(lambda: reader.commit(Batch(expects={MARK: None}, puts={MARK: put(1, "pg-f")})))

        assert wait_until_blocked(sql, ended)
    thread.join(30)
    note = reader.note(MARK)

    assert note is not None
    assert (1, 1) == (note.position, note.stamp)
    assert [1] == [position for position, *_ in reader.since(0)]


def test_who_puts_a_note_waits_for_appends_that_touch_it_and_is_told(
    opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """It read the ledger before the append was visible, so its fold lacks it."""
    store, reader = opened(), opened()
    store.commit(Batch(puts={MARK: put(1, "pg-f")}))
    with sql.transaction():
        send(sql, store, append("a", 0, "x", touches="pg-f", touch=5))
        note = reader.note(MARK)
        assert note is not None
        assert [] == list(reader.since(note.position))
        thread, ended = start(lambda: reader.commit(Batch(expects={MARK: 1}, puts={MARK: put(2, "pg-f")})))

        assert wait_until_blocked(sql, ended)
    thread.join(30)

    assert [Stale] == [type(error) for error in ended]
    assert [1] == [position for position, *_ in reader.since(note.position)]


def test_an_append_takes_its_position_behind_the_note_that_it_touches(
    opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """It waits for who puts the note; meanwhile others append, and the note is put behind them."""
    store, reader = opened(), opened()
    store.commit(Batch(puts={MARK: put(1, "pg-f")}))
    with sql.transaction():
        # Who puts the note has locked it, and looks where the ledger ends only later.
        query, values = work_of(Batch(expects={MARK: 1}, puts={MARK: put(2, "pg-f")}), store._schema).statements[0]
        sql.execute(query, values)
        thread, ended = start(lambda: reader.commit(append("a", 0, "x", touches="pg-f", touch=5)))
        assert wait_until_blocked(sql, ended)
        opened().commit(append("b", 0, "y", "z", touches="pg-other"))
        query, values = work_of(Batch(expects={MARK: 1}, puts={MARK: put(2, "pg-f")}), store._schema).statements[1]
        sql.execute(query, values)
    thread.join(30)
    note = reader.note(MARK)

    assert note is not None
    assert (2, 5) == (note.position, note.stamp)
    assert [(3, A)] == [(position, run) for position, run, *_ in reader.since(note.position)]


def test_a_note_that_goes_away_while_it_is_put_again_is_registered_anew(
    opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """Who wanted to put it once more holds the lock in the wrong way by then, and begins again."""
    store = opened()
    store.commit(Batch(puts={MARK: put(1, "pg-f")}))
    with sql.transaction():
        send(sql, store, Batch(expects={MARK: 1}, puts={MARK: None}))
        thread, ended = start(lambda: store.commit(Batch(puts={MARK: put(2, "pg-f")})))
        assert wait_until_blocked(sql, ended)
    thread.join(30)
    note = store.note(MARK)

    assert [None] == ended
    assert note is not None
    assert 2 == note.stamp


# --- what it keeps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", ["normal", "full"])
def test_a_commit_waits_for_the_disk_of_the_server_if_it_is_asked_to(
    opened: Callable[..., PostgresStore], sync: str
) -> None:
    store = opened(sync=sync)

    assert [({"normal": "off", "full": "on"}[sync],)] == store._ask("SHOW synchronous_commit")


def test_a_full_sync_on_a_server_that_does_not_sync_is_told(opened: Callable[..., PostgresStore]) -> None:
    faults = [
        'the server runs with fsync=off, so sync="full" does not survive a loss of power',
        'the server runs with full_page_writes=off, so sync="full" does not survive a loss of power',
    ]

    assert faults == sorted(opened(sync="full").check())
    assert [] == list(opened().check())


def test_large_runs_and_many_notes_are_read_and_written_in_parts(
    opened: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In rows as well as in bytes; one that is larger than a part goes by itself."""
    for each in (module, writing):
        monkeypatch.setattr(each, "CHUNK_ROWS", 7)
        monkeypatch.setattr(each, "CHUNK_BYTES", 1000)
    store = opened()
    records = records_of("a", 0, *["x" * (5000 if n == 40 else n) for n in range(60)])
    notes = {Address("pgtest", owner, f"{n:02}"): put(n, value=b"x" * n * 10) for owner in "ab" for n in range(1, 30)}
    store.commit(Batch(ends={A: 0}, records={A: records}, puts=notes))

    assert records == list(store.read(A))
    assert records[13:] == list(store.read(A, 13))
    assert records == [record for *_, record in store.since(0)]
    assert sorted(notes) == [address for address, _ in store.notes("pgtest")]
    assert {one: said.value for one, said in notes.items() if one.owner == "b"} == {
        one: note.value for one, note in store.notes("pgtest", "b")
    }


def test_reading_ends_where_the_run_ended_when_it_began(
    opened: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is added meanwhile; a run that is cut meanwhile is told."""
    monkeypatch.setattr(module, "CHUNK_ROWS", 2)
    store = opened()
    records = records_of("a", 0, *"abcdef")
    store.commit(Batch.of(A, 0, records))
    reading, cut = store.read(A), store.read(A)
    found = [next(reading), next(cut)]
    store.commit(append("a", 6, "g"))
    found += reading
    store.commit(Batch(ends={A: 7}, cut={A: 5}))

    assert [records[0], *records] == found
    with pytest.raises(StoreError, match="run a was compacted or dropped while it was being read"):
        list(cut)


@pytest.mark.parametrize("name", ["", "plain", "a\0b", "\ud800", "é\uffff0000", "\udfff\0\uffff", "😀"])
def test_a_name_that_postgresql_cannot_hold_is_kept_all_the_same(
    opened: Callable[..., PostgresStore], name: str
) -> None:
    """U+0000 and lone surrogates are no text there."""
    store, run, address = opened(), RunId(f"run {name}"), Address("pgtest", name, name)
    store.commit(Batch(ends={run: 0}, records={run: records_of("r", 0, "x")}, puts={address: put(1, f"pg-{name}")}))

    assert name == from_text(to_text(name))
    assert ([run], 1) == (store.runs(), store.length(run))
    assert [(address, (f"pg-{name}",))] == [(one, note.families) for one, note in store.notes("pgtest", name)]


TAMPER = {
    "raw": "raw = raw || ' '",
    "digest": "digest = sha256('other')",
    "payloads": "payloads = overlay(payloads placing 'X' from 8)",
    "payloads gone": "payloads = NULL",
    "lengths": "payloads = '9,9'",
    "beside": "beside = '{\"took\":9}'",
    "gone": "gone = '1,1\nab'",
    "seal": "seal = ''",
    "moved": "seq = 9",
}


@pytest.mark.parametrize("column", TAMPER)
def test_changed_bytes_are_found_by_whoever_reads_them(
    opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]], schema: str, column: str
) -> None:
    """The events before them are given first."""
    store = opened()
    store.commit(append("a", 0, "one", "two", "three"))
    sql.execute(f"UPDATE {schema}.events SET {TAMPER[column]} WHERE seq = 1".encode())
    found: list[Any] = []
    with pytest.raises(Broken) as caught:
        found.extend(store.read(A))

    assert records_of("a", 0, "one") == found
    assert (A, 1, store.where) == (caught.value.run, caught.value.seq, caught.value.where)


def test_the_store_names_what_is_wrong_with_it(
    opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]], schema: str
) -> None:
    store = opened()
    store.commit(append("a", 0, "one", "two", "three"))
    store.commit(append("b", 0, "one"))
    sql.execute(f"DELETE FROM {schema}.events WHERE seq = 1".encode())
    sql.execute(f"DELETE FROM {schema}.runs WHERE run = 'b'".encode())
    sql.execute(f"UPDATE {schema}.events SET position = 99 WHERE seq = 2".encode())

    assert [
        "run a: of its events 0 to 2, 1 are missing",
        "run number 2: 1 events stand outside of it",
        "the ledger has an event at 99, which is behind the last position that was given",
    ] == list(store.check())


def test_an_event_that_is_not_there_cannot_be_replaced(opened: Callable[..., PostgresStore]) -> None:
    store = opened()
    store.commit(append("a", 0, "one"))
    with pytest.raises(StoreError) as caught:
        store.commit(Batch(replaced={(A, 3): records_of("a", 3, "x")[0]}))

    assert "run a has no event 3, so it cannot be replaced. Nothing was changed" == str(caught.value)


def test_the_ledger_does_not_go_back_when_its_end_is_dropped(opened: Callable[..., PostgresStore]) -> None:
    store = opened()
    for run in (A, B):
        store.commit(append(run, 0, "x", "y"))
    store.commit(Batch(ends={B: 2}, dropped={B}))
    store.commit(append("b", 0, "z"))

    assert (5, [1, 2, 5]) == (store.position(), [position for position, *_ in store.since(0)])


def test_events_that_the_server_lost_are_told_as_such(
    opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]], schema: str
) -> None:
    """As a crash leaves it that takes the last transactions back."""
    store = opened()
    store.commit(append("a", 0, "x", "y", "z"))
    sql.execute(f"DELETE FROM {schema}.events WHERE seq > 0".encode())
    sql.execute(f"UPDATE {schema}.runs SET next = 1".encode())
    with pytest.raises(Lost) as caught:
        store.commit(append("a", 3, "w"))
    store.commit(append("a", 1, "y"))

    assert (A, 3, 1) == (caught.value.run, caught.value.expected, caught.value.found)
    assert isinstance(caught.value, Fenced)
    assert "acknowledged events up to 2, and now the run ends before event 1" in str(caught.value)


# --- the schema -------------------------------------------------------------------------------------------------------


def test_an_older_schema_is_brought_forward_with_what_it_holds(
    opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]], schema: str
) -> None:
    """Version 1 has events and runs; version 2 adds notes."""
    sql.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.layout (version integer NOT NULL)".encode())
    sql.execute(f"INSERT INTO {schema}.layout VALUES (1)".encode())
    sql.execute(postgres_schema.STEPS[0].format(schema=schema).encode())
    sql.execute(f"INSERT INTO {schema}.runs (run, first, next, born, token) VALUES ('a', 0, 1, 1, 0)".encode())
    (record,) = records_of("a", 0, "x")
    row = make_row("a", 0, record)
    sql.execute(
        f"INSERT INTO {schema}.events (position, run, seq, raw, digest, seal, beside, payloads, gone, size) "
        f"VALUES (nextval('{schema}.ledger'), 1, 0, %s, %s, %s, %s, %s, %s, %s)".encode(),
        row,
    )
    store = opened()
    store.commit(Batch(ends={A: 1}, records={A: records_of("a", 1, "y")}, puts={MARK: put(1)}))

    assert [record, *records_of("a", 1, "y")] == list(store.read(A))
    assert [] == list(store.check())


def test_a_schema_of_a_newer_build_is_refused(
    opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]], schema: str
) -> None:
    """Who opens it, and who had it open when it was brought forward."""
    store = opened()
    sql.execute(f"UPDATE {schema}.layout SET version = 3".encode())
    sql.execute(f"DROP FUNCTION {schema}.add_v2".encode())
    with pytest.raises(NewerFormat, match=f"schema {schema}, is laid out in version 3, and this build .* up to 2"):
        opened()
    with pytest.raises(ServerError, match=rf"Nothing was changed. If a newer build .* the schema {schema} forward"):
        store.commit(append("a", 0, "x"))

    assert 0 == store.length(A)


def test_a_schema_of_somebody_else_is_left_alone(
    opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]], schema: str
) -> None:
    sql.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.orders (id integer)".encode())
    with pytest.raises(StoreError, match=f"the schema {schema} holds tables that are not quiesce's"):
        opened()


def test_many_who_open_a_new_schema_at_once_find_it_ready(postgres: Server, schema: str) -> None:
    started = [start(lambda: PostgresStore(postgres.url(schema))) for _ in range(4)]
    for thread, _ in started:
        thread.join(30)
    stores = [ended[0] for _, ended in started]
    for store in stores:
        store.close()

    assert [PostgresStore] * 4 == [type(store) for store in stores]


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", ["Facts", "1a", "pg_a", 'a"b', "a.b", "a" * 49, ""])
def test_a_schema_that_is_no_plain_name_is_refused(schema: str) -> None:
    with pytest.raises(LogError, match="cannot be the schema of a fact log"):
        Target.of(f"postgresql:///db?schema={schema}", None)


def test_what_a_url_says_reaches_libpq_except_for_our_own_options() -> None:
    target = Target.of("postgres://u:p%40ss@h1:1,h2:2/db?schema=s&patience=2.5&sslmode=require&connect_timeout=3", None)
    asked = {"user": "u", "password": "p@ss", "host": "h1,h2", "port": "1,2", "sslmode": "require"}

    assert ("s", 2.5, "postgresql://u@h1,h2:1,2/db") == (target.schema, target.patience, target.where)
    assert asked == {name: target.parts[name] for name in asked}
    assert "3" == target.parts["connect_timeout"]


@pytest.mark.parametrize("patience", ["-1", "nan", "inf", "soon"])
def test_a_patience_that_is_no_number_is_refused(patience: str) -> None:
    with pytest.raises(LogError, match="is not a number of seconds from 0"):
        Target.of(f"postgresql:///db?patience={patience}", None)


def secrets_in(error: BaseException | None) -> list[str]:
    """Returns where an error, or one that it is chained to, shows the password."""
    found: list[Any] = []
    while error is not None:
        parts = {"text": str(error), "repr": repr(error), "state": repr(vars(error)), "pgconn": repr(
            getattr(error, "pgconn", None))}  # fmt: skip
        found += [f"{type(error).__name__} {name}" for name, part in parts.items() if PASSWORD in part]
        error = error.__cause__ or error.__context__
    return found


def test_no_error_and_no_repr_shows_the_password(postgres: Server, schema: str) -> None:
    """Whatever is wrong with the url or the server."""
    good = postgres.tcp(schema)
    wrong = {
        "a wrong password": good.replace(PASSWORD, f"{PASSWORD}!"),
        "an unknown user": good.replace("postgres:", "nobody:"),
        "no such database": good.replace("/postgres?", "/nowhere?"),
        "nobody listens": good.replace(f":{postgres.port}/", f":{free_port()}/") + "&patience=0",
        "no such host": good.replace("127.0.0.1", "nowhere.invalid") + "&patience=0",
        "no url": good.replace("@127", "@/@127"),
        "an unknown option": f"{good}&what=ever",
        "a wrong schema": f"{good}&schema=A",
        "another scheme": good.replace("postgresql", "postgre"),
    }
    texts = {}
    for what, url in wrong.items():
        with pytest.raises(LogError) as caught:
            FactLog.open(url)
        texts[what] = str(caught.value)
        assert [] == secrets_in(caught.value), what
    with FactLog.open(good) as log:
        assert [] == [name for name in (repr(log.store), repr(log.store._link.target)) if PASSWORD in name]  # type: ignore[attr-defined]
        assert f"PostgresStore('postgresql://postgres@127.0.0.1:{postgres.port}/postgres'" in repr(log.store)

    assert "Check the user and the password" in texts["a wrong password"]
    assert "Check the user and the password" in texts["an unknown user"]
    assert "Create it: createdb --encoding=UTF8" in texts["no such database"]
    assert "Nothing was changed. Start the server, or check host and port" in texts["nobody listens"]
    assert "check host and port" in texts["no such host"]
    assert "cannot be read. Write postgresql://user@host:5432/database" in texts["an unknown option"]


REFUSALS = {
    "53100": "The disk of the server is full",
    "25006": "It is a standby, or read-only",
    "42501": "CREATE SCHEMA",
    "53200": "no memory left",
    "57014": "statement_timeout",
    "54000": "larger than PostgreSQL can hold",
    "XX001": "take a backup before anything else",
    "P0001": "See the server's log",
}


@pytest.mark.parametrize("code", REFUSALS)
def test_what_the_server_refuses_is_an_error_that_says_what_to_do(
    opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]], schema: str, code: str
) -> None:
    """Nothing of the batch is kept, no transaction stays open, and the store can be used afterwards."""
    store = opened()
    store.commit(append("a", 0, "x"))
    fail = f"CREATE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING "
    sql.execute(f"{fail} ERRCODE = '{code}'; END $$".encode())
    sql.execute(f"CREATE TRIGGER fail BEFORE INSERT ON {schema}.events EXECUTE FUNCTION {schema}.fail()".encode())
    with pytest.raises(ServerError) as caught:
        store.commit(append("a", 1, "y", touches="pg-f"))
    sql.execute(f"DROP TRIGGER fail ON {schema}.events".encode())

    assert code == caught.value.sqlstate
    assert REFUSALS[code] in str(caught.value)
    assert [] == left_behind(sql)
    store.commit(append("a", 1, "z"))
    assert records_of("a", 0, "x", "z") == list(store.read(A))


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_what_lost_a_race_is_tried_again(
    opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]], schema: str, code: str
) -> None:
    """The server has kept nothing of it and says so."""
    store = opened()
    sql.execute(f"CREATE SEQUENCE {schema}.tries".encode())
    sql.execute(
        f"CREATE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF nextval('{schema}.tries') < 4 THEN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END IF; RETURN new; "
        f"END $$; CREATE TRIGGER fail BEFORE INSERT ON {schema}.events FOR EACH ROW "
        f"EXECUTE FUNCTION {schema}.fail()".encode()
    )
    store.commit(append("a", 0, "x"))

    assert [("4",)] == [(str(value),) for (value,) in store._ask(f"SELECT last_value FROM {schema}.tries")]
    assert records_of("a", 0, "x") == list(store.read(A))


def left_behind(sql: psycopg.Connection[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Returns the transactions that stores have open, and the advisory locks that anybody holds."""
    return sql.execute(
        "SELECT pid, state FROM pg_stat_activity WHERE application_name = 'quiesce' AND state <> 'idle' "
        "UNION ALL SELECT pid, mode FROM pg_locks WHERE locktype = 'advisory'"
    ).fetchall()


def test_no_lock_is_left_behind(opened: Callable[..., PostgresStore], sql: psycopg.Connection[tuple[Any, ...]]) -> None:
    """After a commit, after one that was fenced, and after one that a signal broke off."""
    store = opened()
    batch = append("a", 0, "x", touches="pg-f")
    batch.puts = {MARK: put(1, "pg-f")}
    store.commit(batch)
    with pytest.raises(Fenced):
        store.commit(batch)
    with pytest.raises(KeyboardInterrupt):
        store._link.run(lambda connection: interrupt(connection, store))

    assert 1 == store.length(A)
    assert [] == left_behind(sql)


def interrupt(connection: psycopg.Connection[tuple[Any, ...]], store: PostgresStore) -> None:
    connection.execute("BEGIN")
    send(connection, store, append("a", 1, "y", touches="pg-f"))
    raise KeyboardInterrupt


def test_a_store_that_was_closed_says_so(opened: Callable[..., PostgresStore]) -> None:
    store = opened()
    store.close()
    for use in (lambda: store.commit(append("a", 0, "x")), lambda: store.length(A)):
        with pytest.raises(StoreError, match="was closed here"):
            use()


def test_a_process_that_was_forked_opens_a_connection_of_its_own(opened: Callable[..., PostgresStore]) -> None:
    """That of its parent stays the parent's."""
    store = opened()
    before = store._ask("SELECT pg_backend_pid()")
    store._link._pid = -1
    after = store._ask("SELECT pg_backend_pid()")
    store._link._inherited.pop().close()

    assert before != after


def test_the_extra_is_named_where_it_is_missing() -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None; from quiesce.facts import FactLog, LogError\n"
        "try: FactLog.open('postgresql:///x')\n"
        "except LogError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert (
        'a log at postgresql://… needs psycopg, which is not installed. Write: pip install "psycopg[binary]>=3.2"\n'
        == said
    )


def test_a_store_does_what_memory_does(opened: Callable[..., PostgresStore]) -> None:
    """With cuts, replacements, drops, touches and notes, in one batch and in several."""
    stores: list[Store] = [opened(), MemoryStore()]
    one, two = records_of("a", 0, "p", "q", "r"), records_of("b", 0, "s")
    key = Address("pgtest", "b", "k")
    batches = [
        Batch(ends={B: 0, A: 0}, records={B: two, A: one}, puts={key: put(1, "pg-f"), MARK: put(2, "pg-g")}),
        Batch(ends={A: 3}, records={A: records_of("a", 3, "t")}, touches={"pg-f"}, touch=9, expects={key: 1}),
        Batch(ends={A: 4}, cut={A: 2}, replaced={(A, 2): type(one[2])(one[2].raw, one[2].digest, {}, b'{"x":1}',
            dict.fromkeys(one[2].payloads, b'{"by":"me"}'))}),
        Batch(ends={B: 1}, dropped={B}, puts={MARK: None}),
    ]  # fmt: skip
    for batch in batches:
        for store in stores:
            store.commit(batch)

        assert seen(stores[1]) == seen(stores[0])


def seen(store: Store) -> list[Any]:
    """Returns all that a store says of what it holds."""
    runs = store.runs()
    return [
        runs,
        store.position(),
        list(store.since(0)),
        list(store.notes("pgtest")),
        [(store.first(run), store.length(run), store.size(run), list(store.read(run))) for run in runs],
    ]


# --- a connection that drops ------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(postgres: Server) -> Iterator[Proxy]:
    """Something between the stores and the server that can cut them off."""
    proxy = Proxy(postgres.port)
    yield proxy
    proxy.close()


def through(proxy: Proxy, server: Server, schema: str, **options: Any) -> PostgresStore:
    """Opens a store through a proxy."""
    store = PostgresStore(server.tcp(schema, port=proxy.port, **options))
    store._link.pause = lambda seconds: None  # what is tried again is tried at once
    return store


def test_a_batch_is_one_round_trip(postgres: Server, proxy: Proxy, schema: str) -> None:
    """Whatever is in it; reading a small run, a note or the ledger is one too, and telling the time none."""
    store = through(proxy, postgres, schema)
    trips = []
    for batch in WORK:
        proxy.clear()
        store.commit(batch)
        trips.append(proxy.trips)
    for use in (lambda: list(store.read(A)), lambda: store.note(LEASE), store.position, store.runs, store.now):
        proxy.clear()
        use()
        trips.append(proxy.trips)
    store.close()

    assert [1] * len(WORK) + [1, 1, 1, 1, 0] == trips


def cuts(server: Server, proxy: Proxy) -> Iterator[tuple[int, Literal["before", "after"]]]:
    """Yields every message of the work, before and after it is passed on; a few of them unless asked for more."""
    proxy.clear()
    store = through(proxy, server, schema_of(("cuts", next(numbers))))
    for batch in WORK:
        store.commit(batch)
    store.close()
    total = len(proxy.messages)
    cases = [(number, when) for number in range(total - 1) for when in ("before", "after")]
    bound = int(os.environ.get("SOAK_CASES") or len(cases)) if os.environ.get("QUIESCE_PROFILE") == "soak" else 20
    step = max(1, len(cases) // bound) | 1
    for number, when in cases[::step]:
        yield number, "before" if when == "before" else "after"


def ranked(state: dict[str, Any]) -> dict[str, Any]:
    """Returns a state with places in the ledger for its positions: an attempt that failed leaves a gap."""
    positions = [position for position, *_ in state["ledger"]]
    assert positions == sorted({*positions})
    assert [] == [position for position in positions if position > state["position"]]
    return {
        "runs": state["runs"],
        "notes": {
            address: note._replace(position=sum(position <= note.position for position in positions))
            for address, note in state["notes"].items()
        },
        "ledger": [(run, seq, record) for _, run, seq, record in state["ledger"]],
    }


def check_cuts(server: Server, proxy: Proxy) -> None:
    """Cuts the connection at one message after the other: nothing is lost, doubled or wrong."""
    for number, when in cuts(server, proxy):
        schema = schema_of(("cut", next(numbers)))
        proxy.cut_at(number, when)
        store = through(proxy, server, schema)
        for batch in WORK:
            store.commit(batch)
        made = proxy.cuts

        assert (ranked(STATES[-1]), []) == (ranked(state_of(store)), list(store.check())), (number, when)
        store.close()
        assert 1 == made, (number, when)


def check_cuts_without_patience(server: Server, proxy: Proxy) -> None:
    """The same for a store that gives up at once: an error, and then all of the batch is there or nothing of it."""
    for number, when in cuts(server, proxy):
        schema = schema_of(("cut", next(numbers)))
        proxy.cut_at(number, when)
        store = until_it_opens(proxy, server, schema)
        beside = PostgresStore(server.url(schema))
        for place, batch in enumerate(WORK):
            try:
                store.commit(batch)
            except ServerError as error:
                shown = secrets_in(error)
                store.position()  # waits until the server no longer works on what was given up
                state = ranked(state_of(beside))
                if state == ranked(STATES[place]):
                    store.commit(batch)

                assert [] == shown
                assert state in [ranked(STATES[place]), ranked(STATES[place + 1])], (number, when)
            assert ranked(STATES[place + 1]) == ranked(state_of(beside)), (number, when)
        store.close()
        beside.close()


def until_it_opens(proxy: Proxy, server: Server, schema: str) -> PostgresStore:
    """Opens a store that gives up at once as often as it takes."""
    while True:
        try:
            return through(proxy, server, schema, patience=0)
        except ServerError as error:
            if "Nothing was changed" not in str(error):
                raise


@pytest.mark.slow
def test_a_connection_that_drops_anywhere_changes_nothing(postgres: Server, proxy: Proxy) -> None:
    """While a store is opened, laid out, written and closed."""
    check_cuts(postgres, proxy)


@pytest.mark.slow
def test_a_store_that_gives_up_tells_and_can_be_used_again(postgres: Server, proxy: Proxy) -> None:
    check_cuts_without_patience(postgres, proxy)


@pytest.mark.soak
def test_a_connection_that_drops_at_every_message_changes_nothing(postgres: Server, proxy: Proxy) -> None:
    """Both of the above, exhaustively."""
    check_cuts(postgres, proxy)
    check_cuts_without_patience(postgres, proxy)


def test_reading_goes_on_where_the_connection_dropped(
    postgres: Server, proxy: Proxy, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two parts, at every one."""
    monkeypatch.setattr(module, "CHUNK_ROWS", 2)
    store = through(proxy, postgres, schema)
    records = records_of("a", 0, *"abcdefg")
    notes = {Address("pgtest", "", key): put(1) for key in "abcdefg"}
    store.commit(Batch(ends={A: 0}, records={A: records}, puts=notes))
    found: list[list[Any]] = [[], [], []]
    for place, reading in enumerate((store.read(A), store.since(0), store.notes("pgtest"))):
        for one in reading:
            found[place].append(one)
            proxy.cut_all()
    store.close()

    assert records == found[0]
    assert records == [record for *_, record in found[1]]
    assert sorted(notes) == [address for address, _ in found[2]]


def test_a_commit_that_the_server_still_works_on_is_ended_before_it_is_sent_again(
    postgres: Server, proxy: Proxy, schema: str, sql: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """Its process waits for a lock and does not notice that nobody listens any more."""
    store = through(proxy, postgres, schema)
    store.commit(append("a", 0, "x"))
    with sql.transaction():
        sql.execute(f"SELECT FROM {schema}.runs FOR UPDATE".encode())
        thread, ended = start(lambda: store.commit(append("a", 1, "y")))
        assert wait_until_blocked(sql, ended)
        (first,) = blocked(sql)
        proxy.cut_all()
        while blocked(sql) in ([], [first]):
            pass
        second = blocked(sql)
    thread.join(30)

    assert [None] == ended
    assert first not in second
    assert records_of("a", 0, "x", "y") == list(store.read(A))
    store.close()


def test_a_server_that_stays_away_is_an_error_and_the_store_can_be_used_once_it_is_back(
    postgres: Server, proxy: Proxy, schema: str
) -> None:
    store = through(proxy, postgres, schema, patience=0.2)
    store.commit(append("a", 0, "x"))
    proxy.down = True
    proxy.cut_all()
    for use in (lambda: store.commit(append("a", 1, "y")), lambda: store.length(A)):
        with pytest.raises(ServerError) as caught:
            use()
        assert "the server was not to be reached for 0.2 s" in str(caught.value)
        assert "go on with the same log, or with recover" in str(caught.value)
        assert [] == secrets_in(caught.value)
    proxy.down = False
    store.commit(append("a", 1, "y"))

    assert records_of("a", 0, "x", "y") == list(store.read(A))
    store.close()


def test_who_was_left_in_the_midst_of_a_commit_does_not_hold_up_the_others(
    opened: Callable[..., PostgresStore],
    schema: str,
    postgres: Server,
    sql: psycopg.Connection[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A process may be stopped anywhere; the server waits for it with what it holds. Who only reads is left alone."""
    monkeypatch.setattr(links, "LOCK_LOOK", 0.4)
    store = opened()
    store.commit(Batch(ends={A: 0}, records={A: records_of("a", 0, "a")}))
    tables = [f'"{schema}"."{name}"' for (name,) in sql.execute(TABLES, [schema])]
    with psycopg.connect(postgres.url(application_name="quiesce")) as stopped:
        with psycopg.connect(postgres.url(application_name="quiesce")) as reading:
            stopped.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")
            for table in tables:
                reading.execute(f"SELECT count(*) FROM {table}")
            store.commit(Batch(ends={A: 1}, records={A: records_of("a", 1, "b")}))

            assert 2 == store.length(A)
            assert (1,) == reading.execute("SELECT 1").fetchone()
        with pytest.raises(psycopg.OperationalError):
            stopped.execute("SELECT 1")
    assert "was left in the midst of a commit" in caplog.text
