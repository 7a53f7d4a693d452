"""The commands that tell what a log says: `quiesce runs`, `replay`, `why`, `why-not` and `diff`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

import typer

from .. import facts
from ..facts.fact import printable
from ..facts.missing import NeverRan, RanOtherwise, Unfinished, Waiting
from . import cli_json, cli_show
from . import cli_options as given
from .cli_codes import Code
from .cli_hints import Hints
from .cli_load import explain_fact, load_modules
from .cli_log import open_log
from .cli_settle import quiet
from .cli_show import Screen

if TYPE_CHECKING:
    from ..facts.why_not import WhyNot


def runs(log: given.Log, json: given.Json = False) -> int:
    """List the runs of a log."""
    with open_log(log) as kept:
        found = [cli_json.about_run(kept, run) for run in kept.runs()]
    if json:
        cli_json.write(*found)
    else:
        cli_show.show_runs(Screen(), found)
    return Code.OK


def replay(
    run: given.RunName, log: given.Log, at: given.At = None, imports: given.Imports = None, rows: given.Rows = 100,
    json: given.Json = False,
) -> int:  # fmt: skip
    """Show the facts of a run from its log alone; no suggestor runs."""
    with quiet(json):
        load_modules(imports)
    with open_log(log) as kept:
        context = facts.replay(kept, run, at)
        stop = cli_json.stop_data(kept, run)
    if json:
        cli_json.write(cli_json.replay_data(run, context, stop))
    else:
        cli_show.show_replay(Screen(), run, context, stop, rows)
    return Code.OK


def why(
    run: given.RunName, ref: given.RefName, log: given.Log, at: given.At = None, mermaid: given.Mermaid = False,
    imports: given.Imports = None, json: given.Json = False,
) -> int:  # fmt: skip
    """Explain a fact: the tree of what it rests on; with --at what was known then, and no later."""
    with quiet(json):
        load_modules(imports)
    with open_log(log) as kept:
        explained = explain_fact(facts.replay(kept, run, at), run, ref)
    if json:
        cli_json.write(cli_json.why_data(run, explained))
    elif mermaid:
        typer.echo(explained.mermaid())
    else:
        cli_show.show_why(Screen(), explained)
    return Code.OK


def why_not(
    run: given.RunName, ref: given.FamilyOrRef, log: given.Log, at: given.At = None, imports: given.Imports = None,
    json: given.Json = False,
) -> int:  # fmt: skip
    """Explain why a fact is not there: what was proposed and lost, who never ran, and why."""
    from ..facts.why_not import why_not as find_why_not

    with quiet(json):
        load_modules(imports)
    with open_log(log) as kept:
        found = find_why_not(kept, run, ref, at)
        commands = list(_next(found, Hints(log, imports=imports or ()))) if at is None else []
    if json:
        cli_json.write(found.to_json())
    else:
        for line in found.lines():
            Screen().whole(printable(line))
        for what, command in commands:
            Screen().whole((f"{what}: ", "dim"), command)
    return Code.OK


def _next(found: WhyNot, hints: Hints) -> Iterator[tuple[str, str]]:
    """Yields the commands that would bring a run on, where that may bring what is missing; each once."""
    told: dict[str, tuple[str, str]] = {}
    pending = [found]
    while pending:
        for finding in pending.pop().findings:
            if isinstance(finding, Waiting):
                told.setdefault("gate", ("approve it", hints.decide("approve", found.run, finding.gate)))
            elif isinstance(finding, Unfinished) and finding.holder is None:
                told.setdefault("end", ("finish it", hints.recover(found.run)))
            elif isinstance(finding, (NeverRan, RanOtherwise)):
                pending += finding.because
    yield from told.values()


def diff(
    run_a: given.RunA, run_b: given.RunB, log: given.Log, other_log: given.OtherLog = None, at: given.At = None,
    other_at: given.OtherAt = None, imports: given.Imports = None, json: given.Json = False,
) -> int:  # fmt: skip
    """Tell two runs apart; exits with 1 if they differ, as diff does."""
    with quiet(json):
        load_modules(imports)
    with open_log(log) as left, open_log(other_log) if other_log is not None else nullcontext(left) as right:
        found = facts.diff(left, run_a, run_b, left_at=at, right_at=other_at, right_log=right)
    if json:
        cli_json.write(cli_json.diff_data(found))
    else:
        cli_show.show_diff(Screen(), found)
    return Code.FOUND if found else Code.OK
