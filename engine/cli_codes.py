"""Says how a command ends: the exit codes, and the one line that an error becomes."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Sequence
from enum import IntEnum
from io import TextIOWrapper
from typing import Any

import typer
from typer.core import TyperGroup

from ..facts import Broken, BrokenEvent, InternalError, QuiesceError, StoreError
from ..facts.fact import printable
from ..facts.lease import Leased
from ..facts.stores import Fenced, Stale
from .commit import NotKept
from .errors import ChangedSuggestors
from .recorder import NotJournaled
from .stop import AwaitingApproval, Cancelled, Converged, GoalsMet, Stop


class Code(IntEnum):
    """What the exit code of `quiesce` tells a script."""

    OK = 0
    FOUND = 1
    MISUSE = 2
    AWAITING = 3
    FAILED = 4
    BUSY = 5
    INTERRUPTED = 130
    CLOSED = 141


MEANING = {
    Code.OK: "done: the run converged or met its goals; nothing was found",
    Code.FOUND: "the run stopped otherwise (a budget, an invariant, a conflict); a command that checks or compares "
    "found something; recover left a run to another process",
    Code.MISUSE: "usage or bad input: an unknown module, run, ref or cycle, a file that cannot be read",
    Code.AWAITING: "the run waits for approval",
    Code.FAILED: "the log could not be kept or reached, or an exception nobody expected",
    Code.BUSY: "another process is writing to the run or the file, and nothing was changed; try again",
    Code.INTERRUPTED: "interrupted by Ctrl-C; the log can be read, a run in it is cancelled",
    Code.CLOSED: "whoever read the output stopped reading",
}

DEBUG = "--debug"
"""Asks for the traceback of an error; may stand anywhere on the line."""
LONGEST_LINE = 1_000
"""Characters of an error that are shown."""

_PASSWORD = re.compile(
    r"(?P<start>\bpostgres(?:ql)?://[^\s:/@?#]*:)[^\s/?#]*(?=@)|(?P<word>\bpassword\s*=\s*)('[^']*'|[^\s&'\"]+)"
)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS}
"""What a disk says that takes no more."""
_SQLITE_FULL = {10, 13}
"""The same in SQLite's numbers: SQLITE_IOERR, SQLITE_FULL."""

# typer 0.20 and later bring their own click, earlier ones use the installed one; this is ClickException of either.
_UsageProblem: type[Exception] = typer.BadParameter.__mro__[2]


class Misuse(QuiesceError):
    """What was typed, or a file that was named, is not what it should be."""


class Interrupted(QuiesceError):
    """Somebody pressed Ctrl-C."""


class Closed(QuiesceError):
    """Whoever read the output stopped reading."""


class Commands(TyperGroup):
    """The commands, ended alike: one line on stderr for an error, and a code out of the table."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Runs a command and leaves the process with its code; without a command, shows the help."""
        given = list(sys.argv[1:] if args is None else args)
        words = [word for word in given if word != DEBUG] or ["--help"]
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # an arrow that a terminal cannot show is no error
        try:
            code = super().main(words, *rest, **{**options, "standalone_mode": False})
        except Exception as error:  # noqa: BLE001  # the end of the program: it becomes a line and a code
            if DEBUG in given:
                typer.echo(without_password(traceback.format_exc()), err=True, nl=False)
            code, line = explain(error)
            if line:
                typer.echo(f"quiesce: {line}", err=True)
            for more in differences(error):
                typer.echo(f"  {more}", err=True)
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            code = Code.CLOSED
        if code is Code.CLOSED:
            _give_up_stdout()
        sys.exit(int(code or Code.OK))

    def invoke(self, ctx: Any) -> Any:
        """Calls a command; catches what typer would end the process for in its own way."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted") from error
        except BrokenPipeError as error:
            raise Closed from error

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  # typer calls it so
        """Writes the table of exit codes below the help."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code.value), meaning) for code, meaning in MEANING.items()])


def explain(error: Exception) -> tuple[Code, str]:
    """Returns the code and the line that an error becomes."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, _UsageProblem):
        return Code.MISUSE, one_line(f"{error.format_message()}{_usage_hint(error)}")  # type: ignore[attr-defined]  # see _UsageProblem
    if isinstance(error, typer.Abort):
        return Code.INTERRUPTED, "interrupted"
    if isinstance(error, Closed):
        return Code.CLOSED, ""
    if isinstance(error, Interrupted):
        return Code.INTERRUPTED, one_line(str(error))
    if isinstance(error, ChangedSuggestors):
        return Code.MISUSE, one_line(
            f"run {error.run} was made with other suggestors or gates than these. Nothing was changed; "
            f"--accept-changes goes on all the same. The differences:"
        )
    if _is_busy(error):
        return Code.BUSY, one_line(str(error))
    if isinstance(error, InternalError) or _is_not_kept(error):
        return Code.FAILED, one_line(str(error))
    if isinstance(error, (Broken, BrokenEvent)):
        return Code.MISUSE, one_line(f"{error}. `quiesce verify` tells up to which cycle (replay --at)")
    if isinstance(error, QuiesceError):
        return Code.MISUSE, one_line(str(error))
    if isinstance(error, OSError) and error.filename is not None:
        return Code.MISUSE, one_line(f"{error.filename}: {error.strerror}")
    return Code.FAILED, one_line(f"{raised(error)}. A bug in the engine's own code or in quiesce; --debug tells more")


def differences(error: Exception) -> list[str]:
    """Returns what an error lists besides its line: how an engine differs from that of a run."""
    return [one_line(change) for change in error.changes] if isinstance(error, ChangedSuggestors) else []


def problem_of(error: Exception) -> str:
    """Returns an error as one line with all that it lists."""
    return " ".join([explain(error)[1], "; ".join(differences(error))]).rstrip()


def code_of(stop: Stop) -> Code:
    """Returns the exit code of a run that ended like this."""
    if isinstance(stop, (Converged, GoalsMet)):
        return Code.OK
    if isinstance(stop, AwaitingApproval):
        return Code.AWAITING
    return Code.INTERRUPTED if isinstance(stop, Cancelled) else Code.FOUND


def raised(error: BaseException) -> str:
    """Returns what was raised and where, without a traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f" ({error.filename}, line {error.lineno})"
        return f"{type(error).__name__}: {error.msg}{where}"
    return f"{type(error).__name__}: {error}{where}" if str(error) else f"{type(error).__name__}{where}"


def one_line(text: str) -> str:
    """Returns a text as one line in which nothing can steer a terminal."""
    line = printable(" ".join(without_password(text).split()))
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"


def without_password(text: str) -> str:
    """Returns a text in which no url and no setting of a database shows its password."""
    return _PASSWORD.sub(lambda found: f"{found['start'] or found['word']}***", text)


def _is_not_kept(error: Exception) -> bool:
    """Tells what failed in the disk or the server behind a log from what was asked wrongly."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in _FULL:
        return True
    if not isinstance(error, StoreError):
        return False
    is_disk = getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE_FULL
    is_server = hasattr(error, "sqlstate")  # ServerError, whose module needs psycopg
    return is_disk or is_server or isinstance(error, (NotKept, NotJournaled))


def _is_busy(error: Exception) -> bool:
    """Tells whether another process has what is needed and will give it back, and nothing was written yet."""
    from ..facts.stores.sqlite_errors import Locked

    if getattr(error, "seq", None) == 0 and isinstance(error.__cause__, StoreError):  # not one event of a run was kept
        error = error.__cause__
    return isinstance(error, (Fenced, Leased, Locked, Stale)) or isinstance(error.__cause__, BlockingIOError)


def _usage_hint(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f" (quiesce {context.info_name} --help)" if context is not None and context.parent else " (quiesce --help)"


def _give_up_stdout() -> None:
    """Lets what is still buffered go nowhere, so that Python does not complain when it ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # no file behind it, as in a test: nothing can be left in a buffer
        return
