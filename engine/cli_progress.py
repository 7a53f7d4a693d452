"""Keeps company on a terminal: shows how far long work is, and asks before anything goes away."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from ..facts.fact import printable
from .cli_codes import Misuse
from .cli_show import Screen, note

LONG_RUN = 5_000
"""Things to be done that are worth a bar."""

Advance = Callable[[int], None] | None


@contextmanager
def progress(label: str, total: int | None, *, quiet: bool = False, least: int | None = None) -> Iterator[Advance]:
    """Gives a function that moves a bar on stderr; None where nobody would see it, or it would be over at once.

    Where nobody knows the total, the bar tells how many are done and that something moves.
    """
    screen = Screen("stderr")
    if quiet or not screen.is_terminal or (total is not None and total < (LONG_RUN if least is None else least)):
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as bars:
        task = bars.add_task(printable(label), total=total)
        yield lambda done: bars.update(task, completed=done)


def need_terminal(what: str) -> None:
    """Raises Misuse if there is nobody who could be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Misuse(
            f"{what}, and there is no terminal to ask on: nothing was changed. Say --yes; --dry-run only looks"
        )


def may_go_on(what: str) -> bool:
    """Asks whether something may go away."""
    if typer.confirm(f"{what}. Go on?", err=True):
        return True
    note("nothing was changed")
    return False
