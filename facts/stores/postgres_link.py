"""Holds the one connection of a PostgreSQL store: opens it, opens it again when it drops, and says what went wrong."""

from __future__ import annotations

import logging
import math
import os
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import RLock
from typing import Any, Self, TypeVar
from urllib.parse import unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8BinaryDumper

from ..errors import LogError, StoreError
from .postgres_schema import AGAIN, Connection, prepare

T = TypeVar("T")
PATIENCE = 30.0
"""For how many seconds a store tries to reach a server that it has lost."""
OPENING = 3.0
"""For how many seconds at most it tries to reach one that it has never reached, and that does not answer at all."""
RACES = 20
"""How often a commit is tried again that lost a race inside the server."""
LOCK_SECONDS = 60.0
"""How long a commit waits for another that holds what it needs."""
LOCK_LOOK = 10.0
"""After so many seconds of that it looks whether the other has been left in the midst of its commit."""
_SCHEMA = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,47}")
_OWN = ("schema", "patience")
_DEFAULTS = {  # what the url does not say; a server that has gone without a word is noticed within half a minute
    "application_name": "quiesce",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
_SESSION = """
SELECT set_config('synchronous_commit', CASE
           WHEN %(sync)s = 'normal' THEN 'off'
           WHEN current_setting('synchronous_commit') = 'remote_apply' THEN 'remote_apply'
           ELSE 'on' END, false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('client_min_messages', 'warning', false),
       set_config('lock_timeout', %(lock)s, false),
       set_config('tcp_keepalives_idle', '10', false),
       set_config('tcp_keepalives_interval', '5', false),
       set_config('tcp_keepalives_count', '4', false),
       current_setting('server_encoding'), pg_backend_pid(),
       (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid())
"""
LOCKED = "55P03"
_END_STUCK = """
SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND usename = current_user
   AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()
   AND wait_event = 'ClientRead' AND xact_start < clock_timestamp() - make_interval(secs => %(long)s)
   AND EXISTS (SELECT FROM pg_locks JOIN pg_class ON pg_class.oid = relation
                JOIN pg_namespace ON pg_namespace.oid = relnamespace
                WHERE pg_locks.pid = pg_stat_activity.pid AND granted AND nspname = %(schema)s
                  AND mode <> 'AccessShareLock')
"""
_STARTING = re.compile("starting up|shutting down|not yet accepting|recovery|too many|slots are reserved|terminating")
_ADVICE = {
    "25006": "It is a standby, or read-only. Connect to the primary: …?target_session_attrs=read-write, "
    "with all its hosts in the url",
    "28000": "Check the user and the server's pg_hba.conf",
    "28P01": "Check the user and the password",
    "3D000": "Create it: createdb --encoding=UTF8",
    "42501": "Ask its administrator: CREATE SCHEMA {schema} AUTHORIZATION {user}",
    "53100": "The disk of the server is full. Make room there, then go on with recover",
    "53200": "The server has no memory left. Commit less at a time, or give it more",
    "53300": "Close connections (one for each open log), or raise max_connections",
    "54000": "One event or name is larger than PostgreSQL can hold. Write less into it",
    LOCKED: "Another transaction has held for long what this needs: SELECT * FROM pg_stat_activity "
    "WHERE application_name = 'quiesce'",
    "57014": "Somebody, or a statement_timeout, stopped it. Set a longer one for this user",
    "58030": "The server could not read or write its disk: see its log",
    "XX": "The server's own files are damaged: see its log, and take a backup before anything else",
    "42": "If a newer build of quiesce has brought the schema {schema} forward, start this process with that build; "
    "else somebody has changed its tables",
}


class ServerError(StoreError):
    """A PostgreSQL server refused what was asked of it, or could not be reached."""

    def __init__(self, where: str, problem: str, advice: str, sqlstate: str | None = None) -> None:
        self.where, self.problem, self.advice, self.sqlstate = where, problem, advice, sqlstate
        code = f" [{sqlstate}]" if sqlstate else ""
        super().__init__(f"{where}: {problem}{code}. {advice}")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a store is, without the password in its repr."""

    where: str
    """The url without secrets, for people."""
    parts: dict[str, Any]
    schema: str
    patience: float

    def __repr__(self) -> str:
        return f"Target({self.where!r}, schema={self.schema!r})"

    @classmethod
    def of(cls, url: str, patience: float | None) -> Self:
        """Reads a url; our own options are `schema` and `patience`, the others are libpq's.

        Raises:
            LogError: it cannot be read. It is not shown, since what cannot be read may hold a password.
        """
        base, _, query = url.partition("?")
        own: dict[str, str] = {}
        rest = []
        for pair in filter(None, query.split("&")):
            name, _, value = pair.partition("=")
            if name in _OWN:
                own[name] = unquote(value)
            else:
                rest.append(pair)
        try:
            parts = conninfo_to_dict("?".join([base, "&".join(rest)]) if rest else base)
        except psycopg.Error:
            raise LogError(
                "the url of the PostgreSQL server cannot be read. Write postgresql://user@host:5432/database with "
                "libpq's options, and special characters as %-escapes (a password is better kept in ~/.pgpass)"
            ) from None
        schema = own.get("schema", "quiesce")
        if not _SCHEMA.fullmatch(schema):
            raise LogError(
                f"schema={schema!r} cannot be the schema of a fact log. Take a name of at most 48 small letters, "
                f"digits and _, that begins with no digit and not with pg_"
            )
        return cls(_shown(parts), {**_DEFAULTS, **parts}, schema, _seconds(own.get("patience"), patience))


def _seconds(said: str | None, given: float | None) -> float:
    try:
        seconds = float(said) if said is not None else PATIENCE if given is None else given
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise LogError(f"patience={said if said is not None else given!r} is not a number of seconds from 0")
    return seconds


def _shown(parts: dict[str, Any]) -> str:
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"


class Clock:
    """Tells the server's time from this machine's, for a minute after it was last compared."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._until = -1.0

    def compare(self, server: float, before: float) -> None:
        """Takes in what the server said to a question that was asked at `before`."""
        after = ticks()
        self._ahead, self._until = server - (before + after) / 2, after + 60

    def read(self) -> float | None:
        """Returns the server's time; None if it has to be asked again."""
        now = ticks()
        return now + self._ahead if now < self._until else None


def ticks() -> float:
    """Returns seconds that go on while the machine sleeps, where there is such a clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Link:
    """A connection that is opened when it is needed, and opened again when it drops."""

    def __init__(self, target: Target, sync: str) -> None:
        self.target = target
        self.lock = RLock()
        self.pause: Callable[[float], None] = time.sleep
        self._sync = sync
        self._connection: Connection | None = None
        self._inherited: list[Connection] = []  # of the process that this one was forked from: not ours to close
        self._pid = os.getpid()
        self._backend: tuple[int, str] | None = None
        """The server's process behind the connection, and when it began."""
        self._other: tuple[int, str] | None = None
        """The one that may still work on a commit whose answer was lost."""
        self._known = False  # it was reached at least once
        self._closed = False

    def run(self, work: Callable[[Connection], T], *, look: Callable[[Connection], T | None] | None = None) -> T:
        """Returns what `work` does on the connection; where that drops, it is done again on another.

        What must not be done twice brings `look`: it returns what `work` would have if it was done, else None. It is
        asked before `work` is done again, when the server no longer works on the first attempt.

        Raises:
            StoreError: the server cannot do it, or was not to be reached for as long as patience lasts.
        """
        with self.lock:
            deadline: float | None = None
            doubt = False
            pause, races, waited = 0.05, 0, 0.0
            while True:
                reached = False
                try:
                    connection = self._ready()
                    self._end_other(connection, deadline)
                    if doubt and look is not None and (done := look(connection)) is not None:
                        return done
                    reached = True
                    return work(connection)
                except psycopg.Error as caught:
                    error = caught
                except StoreError:
                    raise
                except BaseException:  # a signal in the middle of an exchange: nobody knows what the server sends next
                    if reached and look is not None:
                        self._other = self._backend
                    self._drop()
                    raise
                # Out of the handler, so that no error below is chained to one that knows the password.
                code = error.sqlstate or ""
                if code in {AGAIN, "40001", "40P01"} and races < RACES:  # nothing was kept
                    races += 1
                elif code == LOCKED and (waited := waited + LOCK_LOOK) < LOCK_SECONDS:  # nothing was kept
                    self._end_stuck()
                elif not self._is_lost(error):
                    # The first attempt may be the one that stands in the way of this one.
                    if doubt and reached and look is not None and (done := self._asked_again(look)) is not None:
                        return done
                    if code.startswith("QS"):
                        raise error  # who wrote the work knows what it means
                    raise self.explain(error) from error
                else:
                    if reached and look is not None:
                        doubt, self._other = True, self._backend
                    self._drop()
                    now = time.monotonic()
                    if deadline is None:
                        there = self._known or _STARTING.search(str(error))
                        deadline = now + min(self.target.patience, math.inf if there else OPENING)
                    if now + pause > deadline:
                        raise self._given_up(error, doubt)
                    logging.getLogger("quiesce").info("%s does not answer; trying again", self.target.where)
                    self.pause(pause * random.uniform(0.5, 1.0))  # so that many do not come at once
                    pause = min(1.0, pause * 2)

    def close(self) -> None:
        """Closes it for good."""
        with self.lock:
            self._closed = True
            self._drop()

    def explain(self, error: psycopg.Error) -> StoreError:
        """Returns the error that says what the server said, and what to do."""
        code = error.sqlstate or ""
        said = error.diag.message_primary or str(error)
        advice = next((_ADVICE[key] for key in (code, code[:2]) if key in _ADVICE), "See the server's log")
        user = self.target.parts.get("user") or "…"
        return ServerError(
            self.target.where,
            " ".join(said.split()).rstrip("."),
            f"Nothing was changed. {advice.format(schema=self.target.schema, user=user)}",
            error.sqlstate,
        )

    def _asked_again(self, look: Callable[[Connection], T | None]) -> T | None:
        try:
            return look(self._ready())
        except psycopg.Error:  # it is the first error that is told
            self._drop()
            return None

    def _ready(self) -> Connection:
        """Returns an open connection with a schema that is ready."""
        if self._closed:
            raise StoreError(f"{self.target.where} was closed here. Open the log again")
        if self._pid != os.getpid():
            if self._connection is not None:
                self._inherited.append(self._connection)
            self._connection, self._backend, self._pid = None, None, os.getpid()
        if self._connection is None:
            connection = self._connect()
            try:
                self._begin(connection)
            except BaseException:  # whatever it was goes on; a session that is half set up is not kept
                connection.close()
                raise
            self._connection, self._known = connection, True
        return self._connection

    def _connect(self) -> Connection:
        try:
            # Not prepared by psycopg: in a pipeline whose first statement fails it loses count of what was. The
            # functions of the schema keep their plans themselves, for as long as the connection lives.
            return psycopg.connect(**self.target.parts, autocommit=True, prepare_threshold=None)
        except psycopg.Error as error:
            problem = " ".join(str(error).split())
        # Out of the handler: what psycopg keeps of a connection that failed has the password in it.
        if "FATAL" not in problem or _STARTING.search(problem):
            raise psycopg.OperationalError(problem)
        raise self._refused(problem)

    def _refused(self, problem: str) -> StoreError:
        user = self.target.parts.get("user") or "…"
        for words, code in (
            ("password", "28P01"),
            ("authentication", "28P01"),
            ("pg_hba", "28000"),
            ("role", "28000"),
            ("permission", "42501"),
            ("does not exist", "3D000"),
        ):
            if words in problem:
                advice = _ADVICE[code].format(schema=self.target.schema, user=user)
                return ServerError(self.target.where, problem, advice)
        return ServerError(self.target.where, problem, "See the server's log")

    def _begin(self, connection: Connection) -> None:
        connection.adapters.register_dumper(int, Int8BinaryDumper)
        row = connection.execute(_SESSION, {"sync": self._sync, "lock": f"{round(LOCK_LOOK * 1000)}ms"}).fetchone()
        assert row is not None
        encoding, pid, begun = row[-3:]
        if encoding != "UTF8":
            raise ServerError(
                self.target.where,
                f"its encoding is {encoding}, which cannot hold every text",
                "Make a database for the log: createdb --encoding=UTF8 --template=template0",
            )
        prepare(connection, self.target.schema, self.target.where)
        self._backend = (pid, begun)

    def _end_other(self, connection: Connection, deadline: float | None) -> None:
        """Waits until the server no longer works on a commit whose connection dropped.

        Its process may not have noticed yet, and could commit after we have looked.
        """
        while self._other is not None:
            row = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid = %s AND backend_start::text = %s AND pid <> pg_backend_pid()",
                self._other,
            ).fetchone()
            if row is None:
                self._other = None
            elif deadline is not None and time.monotonic() > deadline:
                raise psycopg.OperationalError("the process of the connection that dropped does not end")
            else:
                self.pause(0.01)

    def _end_stuck(self) -> None:
        """Ends commits whose process was stopped in the midst: they hold what others need until it goes on.

        Each of ours is sent in one go, so a server that has waited for seconds to hear the rest will not. What ends is
        told to the process once it goes on, and done again, unless its run was taken over.
        """
        if self._connection is None:
            return
        with suppress(psycopg.Error):  # the wait that goes on tells what is wrong
            long = {"long": LOCK_LOOK / 2, "schema": self.target.schema}
            for pid, _ in self._connection.execute(_END_STUCK, long).fetchall():
                logging.getLogger("quiesce").warning(
                    "%s: server process %s was left in the midst of a commit and held up others; it was ended",
                    self.target.where, pid,
                )  # fmt: skip

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _is_lost(self, error: psycopg.Error) -> bool:
        """Tells whether the connection is gone, as opposed to a server that refuses something over it."""
        code = error.sqlstate
        if code is not None and (code.startswith(("08", "57P")) or code == "53300"):
            return True
        if self._connection is not None:
            return self._connection.closed or self._connection.broken
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)) and code is None

    def _given_up(self, error: psycopg.Error, doubt: bool) -> StoreError:
        said = " ".join(str(error).split())
        problem = f"the server was not to be reached for {self.target.patience:g} s ({said})"
        if not self._known:
            problem = f"the server is not to be reached ({said})"
        kept = "Whether the commit was kept is not known: read the run again" if doubt else "Nothing was changed"
        advice = "Start the server, or check host and port; then go on with the same log, or with recover"
        if "too many" in said or "slots are reserved" in said:
            advice = _ADVICE["53300"]
        return ServerError(self.target.where, problem, f"{kept}. {advice}", error.sqlstate)
