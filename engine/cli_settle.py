"""Lets an engine go on in front of people: what is shown meanwhile, what Ctrl-C leaves, and how its end is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from typing import Any

from ..facts import FactLog
from . import cli_json, cli_show
from .cli_codes import Code, Interrupted, code_of, without_password
from .cli_hints import Hints
from .cli_input import Input
from .cli_load import tell_interrupted
from .cli_show import Screen
from .observe import Observer
from .result import Result


def quiet(json: bool) -> AbstractContextManager[Any]:
    """Sends what a user's code prints to stderr where stdout belongs to JSON."""
    return redirect_stdout(sys.stderr) if json else nullcontext()


@contextmanager
def watching(live: bool, json: bool) -> Iterator[Sequence[Observer]]:
    """Gives the observers of a run: one that shows it while it settles, or none."""
    if not live:
        yield ()
        return
    from .cli_live import LiveView

    with LiveView(Screen("stderr" if json else "stdout")) as view:
        yield (view,)


@contextmanager
def interruptible(log: FactLog, run: str, hints: Hints) -> Iterator[None]:
    """Says what became of a run if somebody presses Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(tell_interrupted(log, run, hints.replay(run))) from error


def tell(result: Result, hints: Hints, rows: int, json: bool, said: Input | None = None) -> Code:
    """Writes the end of a run, and returns its code."""
    said = said if said is not None else Input()
    if json:
        log = without_password(hints.log) if hints.log else None
        cli_json.write(cli_json.run_data(result, said.lines, list(said.malformed), log))
    else:
        cli_show.show_result(Screen(), result, rows, hints)
        cli_show.show_malformed(Screen(), said.lines, said.malformed)
    return code_of(result.stop)
