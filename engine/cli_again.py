"""The commands that go back to a run with its engine: `quiesce recover`, `fork` and `rerun`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ..facts import FactLog, Leased, LogError, RunId, replay
from . import cli_json, cli_report
from . import cli_options as given
from .cli_codes import Code, Interrupted, Misuse, code_of, one_line, problem_of
from .cli_hints import Hints
from .cli_input import Input, read_input
from .cli_load import load_engine, load_goals, load_modules
from .cli_log import Sync, open_log
from .cli_settle import interruptible, quiet, tell, watching
from .cli_show import Screen
from .options import run_id_or_random
from .recover import Recovery

WORST = (Code.OK, Code.AWAITING, Code.FOUND, Code.INTERRUPTED)
"""Ends of runs, from the best to the worst: that of several is the worst of theirs."""


def recover(
    log: given.Log, runs: given.Unfinished = None, engine: given.AnyEngine = None,
    accept_changes: given.Changes = False, listing: given.Listing = False, sync: given.HowSafe = Sync.NORMAL,
    live: given.Live = False, imports: given.Imports = None, json: given.Json = False,
) -> int:  # fmt: skip
    """Finish the runs that a crash left unfinished; those that a live process is writing are left alone."""
    if listing:
        return _list_unfinished(log, runs, json)
    if engine is None:
        raise Misuse("recover calls suggestors: it needs --engine MODULE:ENGINE. --list only shows what is unfinished")
    hints = Hints(log, engine, imports or ())
    with quiet(json):
        load_modules(imports)
        loaded, goals = load_engine(engine), load_goals(engine)
        with open_log(log, sync=sync) as kept, watching(live, json) as observers:
            chosen = [RunId(run) for run in dict.fromkeys(runs)] if runs else kept.unfinished()
            for run in runs or ():
                if run not in kept:
                    next(kept.records(run))  # says which there are, before any is gone on with
            try:
                found = loaded.recover_sync(
                    kept, chosen, goals=goals, accept_changes=accept_changes, observers=observers
                )
            except KeyboardInterrupt as error:
                raise Interrupted("interrupted; quiesce recover --list shows what is still unfinished") from error
    if json:
        cli_json.write(*_recovery_data(chosen, found))
    else:
        cli_report.show_recovery(Screen(), chosen, found, hints)
    ended = [code_of(result.stop) for result in found.results.values()]
    left = [Code.FOUND for error in found.skipped.values() if runs or not isinstance(error, Leased)]
    return max([*ended, *left], key=WORST.index, default=Code.OK)


def fork(
    run: given.RunName, engine: given.Engine, log: given.Log, at: given.ForkAt = None, input: given.InputFile = None,
    strict: given.Strict = False, without: given.Without = None, run_id: given.RunId = None,
    seed: given.ForkSeed = None, sync: given.HowSafe = Sync.NORMAL, live: given.Live = False,
    imports: given.Imports = None, rows: given.Rows = 100, json: given.Json = False,
) -> int:  # fmt: skip
    """Ask what if: go on from a point of a run as a run of its own, with other inputs or without some suggestors."""
    hints = Hints(log, engine, imports or ())
    with quiet(json):
        load_modules(imports)
        loaded = load_engine(engine)
        said = read_input(input, strict=strict) if input is not None else Input()
        name = run_id_or_random(run_id)
        with open_log(log, sync=sync) as kept, watching(live, json) as observers, interruptible(kept, name, hints):
            result = loaded.fork_sync(
                kept, run, at=at, add=list(said.context), replace=dict.fromkeys(without or ()), run_id=name,
                seed=seed, observers=observers,
            )  # fmt: skip
    return tell(result, hints, rows, json, said)


def rerun(
    run: given.RunName, engine: given.Engine, log: given.Log, imports: given.Imports = None, json: given.Json = False
) -> int:
    """Run a recorded run again and compare; what impure suggestors said is taken from the log, nothing is written."""
    with quiet(json):
        load_modules(imports)
        loaded = load_engine(engine)
        with open_log(log) as kept:
            found = loaded.rerun_sync(kept, run, goals=load_goals(engine))
            known = () if found.same else replay(kept, run)
            gone = [fact.ref for fact in known if cli_json.redacted_data(fact.payload)]
    if json:
        parting = found.parting
        cli_json.write({
            "run": found.run, "same": found.same, "compared": found.compared, "changes": list(found.changes),
            "redacted": gone,
            "parting": None if parting is None else {
                "cycle": parting.cycle, "what": parting.what, "recorded": parting.recorded, "now": parting.now,
            },
        })  # fmt: skip
    else:
        cli_report.show_rerun(Screen(), found, gone)
    return Code.OK if found.same else Code.FOUND


def _list_unfinished(log: str, runs: Sequence[str] | None, json: bool) -> int:
    with open_log(log) as kept:
        wanted = [run for run in dict.fromkeys(runs) if kept.stopped(run) is None] if runs else kept.unfinished()
        found = [_about_unfinished(kept, RunId(run)) for run in wanted]
    if json:
        cli_json.write(*found)
    else:
        cli_report.show_unfinished(Screen(), found)
    return Code.OK


def _about_unfinished(log: FactLog, run: RunId) -> dict[str, Any]:
    """Returns how far an unfinished run has come, and who holds it until when."""
    about: dict[str, Any] = {"run": run, "events": log.length(run), "last": None, "cycle": None, "fault": None}
    try:
        about["last"], about["cycle"] = _last(log, run)
        holder = log.holder(run)
    except LogError as error:
        return {**about, "holder": None, "until": None, "held": False, "fault": one_line(str(error))}
    if holder is None or not holder.until:
        return {**about, "holder": None, "until": None, "held": False}
    until = datetime.fromtimestamp(holder.until, UTC).isoformat(timespec="seconds")
    return {**about, "holder": holder.where, "until": until, "held": not holder.is_over(log.store.now(), run)}


def _last(log: FactLog, run: RunId) -> tuple[str, int | None]:
    """Returns the kind of the last event and the last cycle; looks no further back than it has to."""
    length, step = log.length(run), 1
    while True:
        start = max(0, length - step)
        events = [logged.event for logged in log.events(run, start)]
        cycle = next((event.cycle for event in reversed(events) if hasattr(event, "cycle")), None)
        if cycle is not None or not start:
            return events[-1].kind, cycle
        step *= 8


def _recovery_data(chosen: Sequence[str], found: Recovery) -> Iterator[Mapping[str, Any]]:
    """Yields an object for each run: how it ended, or why it was left alone."""
    for run in map(RunId, chosen):
        if (result := found.results.get(run)) is not None:
            yield {"run": run, "recovered": True, **cli_json.end_data(result), "problem": None}
        else:
            empty = {"stop": None, "why": None, "cycles": None, "facts": None}
            yield {"run": run, "recovered": False, **empty, "problem": problem_of(found.skipped[run])}
