"""The commands by which people decide what waits for them, and go on with what has stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..facts import FactLog, LogError, replay
from ..facts.trail import Parked
from . import cli_json, cli_report, cli_show
from . import cli_options as given
from .cli_codes import Code, Misuse
from .cli_hints import Hints
from .cli_load import load_engine, load_goals, load_modules
from .cli_log import Sync, open_log
from .cli_settle import interruptible, quiet, tell, watching
from .cli_show import Screen
from .gate import Approve, Reject
from .goal import Goal


def gates(log: given.Log, run: given.AnyRun = None, imports: given.Imports = None, json: given.Json = False) -> int:
    """List what waits for a person, in all runs that are paused or in one."""
    with quiet(json):
        load_modules(imports)
    with open_log(log) as kept:
        found = list(_find_open(kept, run))
    if json:
        cli_json.write(*({"run": name, **cli_json.gate_data(parked)} for name, parked in found))
    elif found:
        cli_report.show_open_gates(Screen(), found)
    else:
        Screen().row("nothing waits for anybody")
    return Code.OK


def approve(
    run: given.RunName, gates: given.GateNames, by: given.By, engine: given.Engine, log: given.Log,
    reason: given.Reason = "", accept_changes: given.Changes = False, sync: given.HowSafe = Sync.NORMAL,
    live: given.Live = False, imports: given.Imports = None, rows: given.Rows = 100, json: given.Json = False,
) -> int:  # fmt: skip
    """Let what waits at gates become facts; the run goes on, and ends as with `quiesce run`."""
    decided = [Approve(gate, by, reason) for gate in dict.fromkeys(gates)]
    return _go_on(run, decided, by, Hints(log, engine, imports or ()), accept_changes, sync, live, rows, json)


def reject(
    run: given.RunName, gates: given.GateNames, by: given.By, engine: given.Engine, log: given.Log,
    reason: given.Reason = "", accept_changes: given.Changes = False, sync: given.HowSafe = Sync.NORMAL,
    live: given.Live = False, imports: given.Imports = None, rows: given.Rows = 100, json: given.Json = False,
) -> int:  # fmt: skip
    """Refuse what waits at gates, in this run for good; the run goes on, and ends as with `quiesce run`."""
    decided = [Reject(gate, by, reason) for gate in dict.fromkeys(gates)]
    return _go_on(run, decided, by, Hints(log, engine, imports or ()), accept_changes, sync, live, rows, json)


def resume(
    run: given.RunName, engine: given.Engine, log: given.Log, accept_changes: given.Changes = False,
    sync: given.HowSafe = Sync.NORMAL, live: given.Live = False, imports: given.Imports = None,
    rows: given.Rows = 100, json: given.Json = False,
) -> int:  # fmt: skip
    """Go on with a run that stopped: it was cancelled, its budget was spent, or its gates have expired by now."""
    return _go_on(run, [], None, Hints(log, engine, imports or ()), accept_changes, sync, live, rows, json)


def _go_on(
    run: str, decisions: Sequence[Approve | Reject], by: str | None, hints: Hints, accept_changes: bool, sync: Sync,
    live: bool, rows: int, json: bool,
) -> int:  # fmt: skip
    if by is not None and not by.strip():
        raise Misuse("--by is empty. Give the name of the person who decides; it is kept in the log")
    with quiet(json):
        load_modules(hints.imports)
        engine = load_engine(hints.target or "")
        with (
            open_log(hints.log or "", sync=sync) as kept,
            watching(live, json) as observers,
            interruptible(kept, run, hints),
        ):
            result = engine.resume_sync(
                run, decisions, log=kept, goals=_goals(kept, run, hints), accept_changes=accept_changes,
                observers=observers,
            )  # fmt: skip
    return tell(result, hints, rows, json)


def _find_open(log: FactLog, run: str | None) -> Iterator[tuple[str, Parked]]:
    """Yields the open gates of runs that are paused; of all others only the last event is read."""
    for name in log.runs() if run is None else [run]:
        try:
            stopped = log.stopped(name)
            if stopped is not None and stopped.stop.get("kind") == "awaiting_approval":
                yield from ((name, parked) for parked in replay(log, name).trail.gates.values())
        except LogError as error:  # what waits in other runs is to be seen all the same
            if run is not None:
                raise
            cli_show.note(f"run {name} is left out: {error}")


def _goals(log: FactLog, run: str, hints: Hints) -> Sequence[Goal] | None:
    """Returns the goals that a run had, if they stand beside its engine; None leaves it to `resume` to ask for them."""
    known = {goal.name: goal for goal in load_goals(hints.target or "")}
    had = replay(log, run).trail.settings.get("goals", ()) if known else ()
    return [known[name] for name in had] if had and known.keys() >= set(had) else None
