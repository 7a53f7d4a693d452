"""The commands that carry runs from one log into another: `quiesce export` and `quiesce import`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import typer

from ..facts import Broken, BrokenEvent, BrokenNote, FactLog
from . import cli_options as given
from .cli_codes import Code, Misuse, one_line, without_password
from .cli_input import read_bytes
from .cli_log import Sync, is_database, open_log, path_of
from .cli_progress import progress

LONG_TEXT = 1_000_000
"""Bytes that take long enough to be imported for somebody to wonder."""


def export(
    log: given.Log, runs: given.Runs = None, everything: given.Everything = False, out: given.Out = None,
    quiet: given.Quiet = False,
) -> int:  # fmt: skip
    """Write runs as JSON lines, to be imported elsewhere."""
    if bool(runs) == everything:
        raise Misuse("name the runs to export, or say --all" if not runs else "name runs or say --all, not both")
    with open_log(log) as kept:
        chosen = list(dict.fromkeys(runs)) if runs else [str(run) for run in kept.runs()]
        for run in chosen:
            next(kept.records(run), None)  # an unknown one ends it before anything is written
        _refuse_own_file(out, log)
        with open_output(out) as file, progress("exporting", len(chosen), quiet=quiet, least=2) as advance:
            for done, run in enumerate(chosen, 1):
                try:
                    _write(kept, run, file)
                except (Broken, BrokenEvent, BrokenNote) as error:
                    did = "What was written is not all" if out is None else "Nothing was written"
                    instead = " in place of --all" if everything else ""
                    raise Misuse(
                        f"{error}. {did}. `quiesce verify` tells which runs are sound: name those{instead}"
                    ) from error
                if advance is not None:
                    advance(done)
    return Code.OK


def import_runs(
    files: given.Exported, log: given.Log, sync: given.HowSafe = Sync.NORMAL, quiet: given.Quiet = False
) -> int:
    """Take exported runs into a log: all of them, or none."""
    parts = []
    with progress("reading", len(files), quiet=quiet, least=2) as advance:
        for done, file in enumerate(files, 1):
            parts.append(read_bytes(file))
            if is_database(parts[-1]):
                raise Misuse(
                    f"{file} is a SQLite log, not an export. Write: quiesce export --all --log {shlex.quote(file)} | "
                    f"quiesce import - --log {shlex.quote(without_password(log))}"
                )
            if advance is not None:
                advance(done)
    text = b"\n".join(parts)
    is_short = len(text) < LONG_TEXT
    with open_log(log, to_write=True, sync=sync) as kept, progress("importing", None, quiet=quiet or is_short):
        taken = kept.load(text)
    for run in taken:
        typer.echo(one_line(run))
    return Code.OK


@contextmanager
def open_output(path: str | None) -> Iterator[IO[bytes]]:
    """Gives a new file that is there under its name only once it is complete; stdout without a name.

    Raises:
        Misuse: it cannot be written.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    is_special = target.exists() and not target.is_file()  # /dev/null, a pipe; a directory says so itself
    draft = target if is_special else target.with_name(f"{target.name}.part")
    try:
        with draft.open("wb") as file:
            yield file
        if not is_special:
            draft.replace(target)
    except OSError as error:
        raise Misuse(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if not is_special:
            draft.unlink(missing_ok=True)


def _write(log: FactLog, run: str, file: IO[bytes]) -> None:
    file.write(log.to_bytes(run, beside=True))


def _refuse_own_file(out: str | None, log: str) -> None:
    path = path_of(log)
    if out and path is not None and Path(out).exists() and path.samefile(out):
        raise Misuse(f"{out} is the log itself. Give the export a file of its own")
