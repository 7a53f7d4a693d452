"""The command that checks a log: `quiesce verify`."""

from __future__ import annotations

from .. import facts
from ..facts import FactLog
from ..facts.fact import printable
from . import cli_json, cli_show
from . import cli_options as given
from .cli_codes import Code
from .cli_load import load_projections
from .cli_log import open_log
from .cli_progress import progress
from .cli_settle import quiet as silent
from .cli_show import Screen


def verify(
    log: given.Log, run: given.AnyRun = None, projections: given.Projections = False, imports: given.Imports = None,
    quiet: given.Quiet = False, json: given.Json = False,
) -> int:  # fmt: skip
    """Check a run, or all of a log, and name the first event that is wrong."""
    with silent(json):
        known = load_projections(imports)
    if projections:
        with open_log(log, projections=known) as kept:
            return _check_projections(kept, quiet, json)
    code = Code.OK
    with open_log(log) as kept:
        chosen = [run] if run is not None else kept.runs()
        if not (chosen or json):
            Screen().row("the log is empty")
        for one in chosen:
            with progress(f"verifying {one}", kept.length(one), quiet=quiet) as advance:
                found = facts.verify(kept, one, advance)
            code = code if found.ok else Code.FOUND
            if json:
                cli_json.write(cli_json.verification_data(found))
            else:
                cli_show.show_verification(Screen(), found, log)
        if run is None:
            code = max(code, _check_store(kept, json))
        torn = getattr(kept.store, "torn", 0)
    if torn:
        cli_show.note(f"{log} ends in {torn} bytes of an append that a crash tore; they do not count")
    return code


def _check_store(log: FactLog, json: bool) -> Code:
    """Tells what is wrong with the store itself: its file, its indexes, its notes."""
    code = Code.OK
    for problem in log.store.check():
        code = Code.FOUND
        if json:
            cli_json.write({"run": None, "ok": False, "problem": problem})
        else:
            Screen().whole(("wrong  ", "red"), ("the log", "bold"), f"  {printable(problem)}")
    return code


def _check_projections(log: FactLog, quiet: bool, json: bool) -> Code:
    """Folds every projection of a log from scratch, and tells where what is stored is something else."""
    with progress("folding", log.store.position(), quiet=quiet) as advance:
        found = log.check_projections(advance)
    for one in found:
        if json:
            cli_json.write({
                "projection": one.name, "ok": one.ok, "version": one.version, "watermark": one.watermark,
                "values": one.values, "differ": list(one.differ), "problem": one.problem,
            })  # fmt: skip
        else:
            unknown = one.problem is not None
            mark = ("sound  ", "green") if one.ok else ("?      ", "yellow") if unknown else ("wrong  ", "red")
            Screen().whole(mark, printable(str(one)))
    if any(one.problem is not None for one in found) and not json:
        cli_show.note("for those marked with ? name the module with their code, or with the pack: --import app")
    if not (found or json):
        Screen().row("the log has no projections")
    return Code.OK if all(one.ok for one in found) else Code.FOUND
