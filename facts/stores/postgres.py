"""Keeps events in PostgreSQL, for many processes on many machines; needs the extra `postgres`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

try:
    import psycopg
except ImportError as error:  # pragma: no cover  # tests run with it
    raise ImportError(
        'a log at postgresql://… needs psycopg, which is not installed. Write: pip install "psycopg[binary]>=3.2"',
        name="psycopg",
    ) from error

from ..errors import StoreError
from ..fact import RunId
from ..record import Record
from .base import Broken, Fenced, Stale
from .batch import Address, Batch, Note
from .postgres_link import Clock, Link, Target, ticks
from .postgres_row import COLUMNS, from_text, read_row, to_text
from .postgres_schema import FENCED, GONE, STALE, VERSION, Connection
from .postgres_write import CHUNK_BYTES, CHUNK_ROWS, Statement, Work, work_of

_REMEMBERED = 4096
"""Of how many runs a store remembers where the server said that they end."""


class Lost(Fenced):
    """The server has lost events that it had acknowledged: it crashed, or a standby that was behind took its place."""

    def __init__(self, run: str, expected: int, found: int) -> None:
        self.run, self.expected, self.found = run, expected, found
        StoreError.__init__(
            self,
            f"run {run}: the server acknowledged events up to {expected - 1}, and now the run ends before event "
            f'{found}: it lost the rest when it crashed, as sync="normal" allows, or a standby took its place. Nothing '
            f'was written. What is there is sound: go on with recover. sync="full" waits for the disk of the server',
        )


class PostgresStore:
    """A store in a schema of a PostgreSQL database, which it makes and brings forward itself.

    The url is libpq's (`postgresql://user@host:5432/database?sslmode=require`, several hosts for a failover), with
    two options of our own: `schema=name` (default: quiesce) and `patience=seconds` (default: 30), for how long a
    call tries to reach a server that was lost. A password is better kept in ~/.pgpass; it is never shown.

    `sync="normal"` sets `synchronous_commit=off` on its connection: a commit returns when the server has it in memory
    and survives the death of this process, the kill of its connection and an orderly restart of the server. A *crash*
    of the server (power, kill -9, `pg_ctl stop -m immediate`) may lose what it acknowledged in its last three
    `wal_writer_delay`s (0.6 s in all, unless configured otherwise), the latest commits first and each as a whole: what
    is left is an earlier state of the log, never a damaged one, and the writer is told by `Lost`. That is what
    "normal" means on the other stores, and it is several times faster, since no commit waits for a disk.
    `sync="full"` sets it to `on` (or leaves `remote_apply`): a commit returns when the write-ahead log is on the disk
    of the server, and on that of its synchronous standbys if it has any. Both rest on the server's `fsync`, which
    `check` looks at.

    One connection for each store, used by one thread at a time. A batch is one transaction, sent in one go and
    answered in one go. A connection that drops is opened again; a commit whose answer was lost is looked for before
    it is sent again, and only when the server certainly no longer works on it. What `redact` and `compact` take away
    leaves the files of the server with its next VACUUM, and its write-ahead log and backups as they expire.
    """

    lazy = False

    def __init__(
        self, url: str, sync: Literal["normal", "full"] = "normal", *, patience: float | None = None
    ) -> None:  # fmt: skip
        target = Target.of(url, patience)
        self.sync = sync
        self.where = target.where
        self._schema = target.schema
        self._link = Link(target, sync)
        self._clock = Clock()
        self._ends: dict[RunId, int] = {}  # where the server said that runs end, so that a loss can be told as such
        self._ask("SELECT 1")

    def __repr__(self) -> str:
        return f"PostgresStore({self.where!r}, schema={self._schema!r}, sync={self.sync!r})"

    # --- writing ----------------------------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> None:
        """Keeps a batch: one transaction, and one round trip unless the connection drops."""
        work = work_of(batch, self._schema)
        if not work.statements:
            return
        try:
            self._link.run(lambda connection: self._send(connection, work), look=lambda link: self._look(link, work))
        except psycopg.Error as error:
            raise self._told(error, work) from error
        for run, records in batch.records.items():
            self._ends.pop(run, None)
            self._ends[run] = batch.ends[run] + len(records)
        while len(self._ends) > _REMEMBERED:
            del self._ends[next(iter(self._ends))]

    def _send(self, connection: Connection, work: Work) -> bool:
        """Sends all statements and one Sync, which makes one transaction of them: no BEGIN that could stay open."""
        asked = ticks()
        row = _pipelined(connection, work.statements).fetchone()
        if row is not None and isinstance(row[0], float):
            self._clock.compare(row[0], asked)
        return True

    def _look(self, connection: Connection, work: Work) -> bool | None:
        """Tells whether a batch whose answer was lost was kept; None: it was not, or may be kept once more.

        Added records: the run's token is that of the batch, or somebody has gone on behind its last record. A note:
        it has the stamp that it was put with. A drop: the run is gone. One part tells of all, since they are one
        transaction; what has none of these leaves the same behind however often it is done.
        """
        batch, schema = work.batch, self._schema
        for run, records in batch.records.items():
            if records:
                end = batch.ends[run] + len(records)
                row = connection.execute(
                    f"SELECT r.next, r.token, (SELECT digest FROM {schema}.events WHERE run = r.id AND seq = %s) "
                    f"FROM {schema}.runs r WHERE r.run = %s".encode(),
                    [end - 1, to_text(run)],
                ).fetchone()
                if row is None:
                    return None
                mine = row[0] == end and row[1] == work.token
                return True if mine or (row[0] > end and row[2] == bytes.fromhex(records[-1].digest)) else None
        for address, put in work.puts:
            expected = batch.expects.get(address)
            if expected is not None if put is None else put.stamp != expected:
                query = f"SELECT stamp FROM {schema}.notes WHERE space = %s AND owner = %s AND key = %s"
                note = connection.execute(query.encode(), [to_text(part) for part in address]).fetchone()
                return True if (None if note is None else note[0]) == (None if put is None else put.stamp) else None
        for run in batch.dropped:
            if not batch.ends.get(run):
                return None
            found = connection.execute(f"SELECT 1 FROM {schema}.runs WHERE run = %s".encode(), [to_text(run)])
            return None if found.fetchone() else True
        return None

    def _told(self, error: psycopg.Error, work: Work) -> StoreError:
        """Returns what an error means that the schema's own functions raised."""
        detail = (error.diag.message_detail or "0").split()
        place = int(detail[0])
        if error.sqlstate == FENCED:
            names = {to_text(run): run for run in work.batch.ends}
            keep = work.statements[0][1][0]
            run, found = names[keep[place - 1]], int(detail[1])
            expected = work.batch.ends[run]
            lost = found < expected and self._ends.get(run) == expected
            return Lost(run, expected, found) if lost else Fenced(run, expected, found)
        if error.sqlstate == STALE:
            return Stale(work.expects[place - 1][0] if place > 0 else work.puts[-place - 1][0])
        if error.sqlstate == GONE:
            run = next(run for run, seq in work.batch.replaced if seq == place)
            return StoreError(f"run {run} has no event {place}, so it cannot be replaced. Nothing was changed")
        return self._link.explain(error)

    # --- reading ----------------------------------------------------------------------------------------------------

    def read(self, run: RunId, start: int = 0) -> Iterator[Record]:
        """Yields the records of a run from number `start` on, as many as there are now, each checked."""
        query = f"""
            SELECT r.first, r.next, {COLUMNS} FROM {self._schema}.runs r LEFT JOIN LATERAL (
                SELECT * FROM (
                    SELECT i.*, sum(size) OVER (ORDER BY seq) - size AS taken FROM (
                        SELECT * FROM {self._schema}.events
                        WHERE run = r.id AND seq >= %s AND seq < r.next ORDER BY seq LIMIT {CHUNK_ROWS}
                    ) i
                ) c WHERE taken < {CHUNK_BYTES}
            ) e ON true WHERE r.run = %s ORDER BY e.seq"""
        at, end = max(0, start), -1
        while end < 0 or at < end:
            rows = self._ask(query, at, to_text(run))
            if end < 0:
                if not rows:
                    return
                at, end = max(at, rows[0][0]), rows[0][1]
            elif not rows or rows[0][0] > at:
                raise StoreError(f"run {run} was compacted or dropped while it was being read. Read it again")
            for row in rows:
                if row[2] is None or at >= end:
                    break
                if row[2] != at:
                    raise Broken(run, at, self.where, "it is missing")
                yield read_row(run, row[2:], self.where)
                at += 1
            if rows[0][2] is None and at < end:
                raise Broken(run, at, self.where, "it is missing")

    def first(self, run: RunId) -> int:
        """Returns the number of the first record that was not cut off."""
        rows = self._ask(f"SELECT first FROM {self._schema}.runs WHERE run = %s", to_text(run))
        return rows[0][0] if rows else 0

    def length(self, run: RunId) -> int:
        """Returns how many records a run ever had."""
        rows = self._ask(f"SELECT next FROM {self._schema}.runs WHERE run = %s", to_text(run))
        return rows[0][0] if rows else 0

    def runs(self) -> list[RunId]:
        """Returns the runs in the order of their first records."""
        rows = self._ask(f"SELECT run FROM {self._schema}.runs ORDER BY born, id")
        return [RunId(from_text(run)) for (run,) in rows]

    def since(self, position: int) -> Iterator[tuple[int, RunId, int, Record]]:
        """Yields the events of all runs behind a position of the ledger, up to where it ends now.

        An event that no note's families are touched by may appear behind one that this has yielded already.
        """
        query = f"""
            SELECT e.position, r.run, {COLUMNS} FROM (
                SELECT i.*, sum(size) OVER (ORDER BY position) - size AS taken FROM (
                    SELECT * FROM {self._schema}.events
                    WHERE position > %s AND position <= %s ORDER BY position LIMIT {CHUNK_ROWS}
                ) i
            ) e JOIN {self._schema}.runs r ON r.id = e.run WHERE taken < {CHUNK_BYTES} ORDER BY e.position"""
        end = self.position()
        while rows := self._ask(query, position, end):
            for row in rows:
                run = RunId(from_text(row[1]))
                yield row[0], run, row[2], read_row(run, row[2:], self.where)
            position = rows[-1][0]

    def position(self) -> int:
        """Returns where the ledger ends."""
        end: int = self._ask(f"SELECT {self._schema}.ledger_end_v{VERSION}()")[0][0]
        return end

    def note(self, address: Address) -> Note | None:
        """Returns a note, or None."""
        rows = self._ask(
            f"SELECT value, stamp, position, families FROM {self._schema}.notes "
            f"WHERE space = %s AND owner = %s AND key = %s",
            *map(to_text, address),
        )
        return _note(rows[0]) if rows else None

    def notes(self, space: str, owner: str | None = None) -> Iterator[tuple[Address, Note]]:
        """Yields the notes of a space, of one owner or of all, in the order of owner and key."""
        query = f"""
            SELECT owner, key, value, stamp, position, families FROM (
                SELECT i.*, sum(octet_length(value)) OVER (ORDER BY owner, key) - octet_length(value) AS taken FROM (
                    SELECT * FROM {self._schema}.notes
                    WHERE space = %s AND (%s::text IS NULL OR owner = %s) AND (owner, key) > (%s, %s)
                    ORDER BY owner, key LIMIT {CHUNK_ROWS}
                ) i
            ) n WHERE taken < {CHUNK_BYTES} ORDER BY owner, key"""
        only = None if owner is None else to_text(owner)
        query_first = query.replace("AND (owner, key) > (%s, %s)", "")
        rows = self._ask(query_first, to_text(space), only, only)
        while rows:
            for row in rows:
                yield Address(space, from_text(row[0]), from_text(row[1])), _note(row[2:])
            rows = self._ask(query, to_text(space), only, only, rows[-1][0], rows[-1][1])

    def size(self, run: RunId) -> int:
        """Returns how many bytes the events of a run take."""
        rows = self._ask(
            f"SELECT coalesce(sum(e.size), 0)::bigint FROM {self._schema}.events e "
            f"JOIN {self._schema}.runs r ON r.id = e.run WHERE r.run = %s",
            to_text(run),
        )
        size: int = rows[0][0]
        return size

    def check(self) -> Iterator[str]:
        """Yields what is wrong: gaps in runs, events of no run, positions never given, a server that does not sync."""
        schema = self._schema
        for (version,) in self._ask(f"SELECT version FROM {schema}.layout"):
            if version != VERSION:
                yield f"the schema {schema} is laid out in version {version}, not {VERSION}"
        gaps = self._ask(
            f"SELECT r.run, r.first, r.next, count(e.seq) FROM {schema}.runs r LEFT JOIN {schema}.events e "
            f"ON e.run = r.id AND e.seq >= r.first AND e.seq < r.next "
            f"GROUP BY r.id HAVING count(e.seq) <> r.next - r.first ORDER BY r.born, r.id"
        )
        for run, first, end, count in gaps:
            yield f"run {from_text(run)}: of its events {first} to {end - 1}, {end - first - count} are missing"
        for run, count in self._ask(
            f"SELECT coalesce(r.run, 'number ' || e.run), count(*) FROM {schema}.events e LEFT JOIN {schema}.runs r "
            f"ON r.id = e.run WHERE r.id IS NULL OR e.seq < r.first OR e.seq >= r.next GROUP BY 1 ORDER BY 1"
        ):
            yield f"run {from_text(run)}: {count} events stand outside of it"
        for (position,) in self._ask(
            f"SELECT e.position FROM (SELECT max(position) AS position FROM {schema}.events) e, {schema}.ledger "
            f"WHERE e.position > last_value"
        ):
            yield f"the ledger has an event at {position}, which is behind the last position that was given"
        if self.sync == "full":
            for (name,) in self._ask(
                "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'"
            ):
                yield f'the server runs with {name}=off, so sync="full" does not survive a loss of power'

    def now(self) -> float:
        """Returns the server's time; it is asked for it now and then, and tells it with every commit."""
        now = self._clock.read()
        if now is None:
            asked = ticks()
            server: float = self._ask("SELECT extract(epoch FROM clock_timestamp())::double precision")[0][0]
            self._clock.compare(server, asked)
            return server
        return now

    def close(self) -> None:
        """Closes the connection."""
        self._link.close()

    def _ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Returns the rows of a question; it may be asked again, since it changes nothing."""

        def ask(connection: Connection) -> list[tuple[Any, ...]]:
            return connection.execute(query.encode(), values or None, binary=True).fetchall()

        return self._link.run(ask)


def _pipelined(connection: Connection, statements: Sequence[Statement]) -> psycopg.Cursor[tuple[Any, ...]]:
    """Sends statements in one go and returns the cursor of the first."""
    if len(statements) == 1:
        return connection.execute(*statements[0])
    failed: psycopg.Error | None = None
    cursors = []
    try:
        with connection.pipeline():
            try:
                for query, values in statements:
                    cursors.append(connection.execute(query, values))
            except psycopg.Error as error:  # kept, since leaving the pipeline finds the ones behind it aborted
                failed = error
    except psycopg.Error as error:
        failed = failed or error
    if failed is not None:
        raise failed
    return cursors[0]


def _note(row: tuple[Any, ...]) -> Note:
    value, stamp, position, families = row
    return Note(value, stamp, position, tuple(map(from_text, families)))
