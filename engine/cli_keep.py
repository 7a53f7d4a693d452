"""The commands that decide what a log keeps: `quiesce compact`, `retain`, `redact` and `rebuild`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from ..facts import FactLog
from ..facts.fact import printable
from . import cli_json
from . import cli_options as given
from .cli_codes import Code, Misuse
from .cli_load import load_projections, read_age, read_time
from .cli_log import Sync, open_log
from .cli_progress import Advance, may_go_on, need_terminal, progress
from .cli_settle import quiet as silent
from .cli_show import Screen
from .options import with_zone

Report = TypeVar("Report")


def compact(
    log: given.Log, run: given.AnyRun = None, before: given.Before = None, keep: given.Keep = 0,
    dry_run: given.DryRun = False, yes: given.Yes = False, sync: given.HowSafe = Sync.NORMAL,
    imports: given.Imports = None, quiet: given.Quiet = False, json: given.Json = False,
) -> int:  # fmt: skip
    """Shrink finished runs: a snapshot takes the place of their events, and they replay to the same facts."""
    time = read_time(before, "--before")
    since = None if time is None else with_zone(time)
    way = _Way("compacting", dry_run, yes, quiet, json)
    with _open(log, imports, sync, json) as kept:
        return way.carry_out(
            kept, lambda dry, advance: kept.compact(run, before=since, keep=keep, dry_run=dry, progress=advance),
            lambda found: bool(found.runs), _by_run,
        )  # fmt: skip


def retain(
    log: given.Log, age: given.Age = None, count: given.Count = None, damaged: given.Damaged = False,
    dry_run: given.DryRun = False, yes: given.Yes = False, sync: given.HowSafe = Sync.NORMAL,
    imports: given.Imports = None, quiet: given.Quiet = False, json: given.Json = False,
) -> int:  # fmt: skip
    """Drop finished runs that are too old or too many; what others go on from stays."""
    if age is None and count is None and not damaged:
        raise Misuse("say what is to go: --age 90d drops what is older, --count 1000 keeps so many")
    oldest = read_age(age)
    way = _Way("dropping runs", dry_run, yes, quiet, json)
    with _open(log, imports, sync, json) as kept:
        return way.carry_out(
            kept,
            lambda dry, advance: kept.retain(
                age=oldest, count=count, damaged=damaged, dry_run=dry, progress=advance
            ),
            lambda found: bool(found.runs), _by_run,
        )  # fmt: skip


def redact(
    run: given.RunName, refs: given.RefNames, log: given.Log, reason: given.Reason, by: given.By,
    everywhere: given.Everywhere = False, dry_run: given.DryRun = False, yes: given.Yes = False,
    sync: given.HowSafe = Sync.NORMAL, imports: given.Imports = None, json: given.Json = False,
) -> int:  # fmt: skip
    """Erase what facts say, for good; that they were said, by whom and why they are gone stays."""
    way = _Way("erasing", dry_run, yes, True, json)
    with _open(log, imports, sync, json) as kept:
        return way.carry_out(
            kept,
            lambda dry, _: kept.redact(run, refs, reason=reason, by=by, everywhere=everywhere, dry_run=dry),
            lambda found: found.payloads + found.notes > 0, lambda found: [_data(found)],
        )  # fmt: skip


def rebuild(
    log: given.Log, imports: given.DueImports, projection: given.OneProjection = None,
    sync: given.HowSafe = Sync.NORMAL, quiet: given.Quiet = False, json: given.Json = False,
) -> int:  # fmt: skip
    """Fold the values of projections from scratch and put them in place of those that are stored."""
    with silent(json):
        known = {one.name: one for one in load_projections(imports)}
    if projection is not None and projection not in known:
        raise Misuse(f"no projection {projection!r} in {', '.join(imports)}. It has: {', '.join(known) or 'none'}")
    if not known:
        raise Misuse(
            f"there is no projection in {', '.join(imports)}. Name the module that defines them with @projection"
        )
    names = [projection] if projection is not None else list(known)
    with open_log(log, sync=sync, projections=[known[name] for name in names]) as kept:
        for name in names:
            with progress(f"folding {name}", kept.store.position(), quiet=quiet) as advance:
                kept.rebuild(name, progress=advance)
            values = kept.values(known[name])
            if json:
                cli_json.write({
                    "projection": name, "version": known[name].version, "values": len(values),
                    "watermark": values.watermark,
                })  # fmt: skip
            else:
                count = f"{len(values):,} value{'' if len(values) == 1 else 's'}"
                Screen().whole(("folded  ", "green"), (printable(name), "bold"), f"  {count}")
    return Code.OK


@dataclass(frozen=True, slots=True)
class _Way:
    """How a change of a log that cannot be undone is made: looked at first, agreed to, then done."""

    doing: str
    dry_run: bool
    yes: bool
    quiet: bool
    json: bool

    def carry_out(
        self, log: FactLog, work: Callable[[bool, Advance], Report], is_any: Callable[[Report], bool],
        data: Callable[[Report], Iterable[Mapping[str, Any]]],
    ) -> Code:  # fmt: skip
        """Does the work, or only looks; `work` is told which of the two."""
        what = f"{self.doing} cannot be undone"
        if not (self.dry_run or self.yes):
            need_terminal(what)
            found = work(True, None)
            Screen("stderr").whole(_lines(found))
            if is_any(found) and not may_go_on(what):
                return Code.OK
        with progress(self.doing, len(log.runs()), quiet=self.quiet) as advance:
            found = work(self.dry_run, advance)
        if self.json:
            cli_json.write(*data(found))
        else:
            Screen().whole(_lines(found))
        return Code.OK


def _open(
    url: str, imports: Sequence[str] | None, sync: Sync, json: bool
) -> AbstractContextManager[FactLog]:  # fmt: skip
    """Opens a log with the projections that were imported: what leaves it must still count in their values."""
    with silent(json):
        projections = load_projections(imports)
    return open_log(url, sync=sync, projections=projections)


def _lines(report: object) -> str:
    """Returns what a report says, line by line, with nothing in it that could steer a terminal."""
    lines = [printable(line) for line in str(report).splitlines()]
    if getattr(report, "elsewhere", ()):
        lines.append("--everywhere erases it there too; --json names all of these runs")
    return "\n".join(lines)


def _by_run(found: Any) -> Iterator[Mapping[str, Any]]:
    """Yields an object for each run that changes, and for each that should and does not."""
    for one in found.runs:
        yield {"dry_run": found.dry_run, "left": False, **_data(one)}
    for run, why in found.left.items():
        yield {"dry_run": found.dry_run, "left": True, "run": run, "why": why}


def _data(report: Any) -> dict[str, Any]:
    """Returns a report as JSON data: its fields under their names."""
    return {one.name: _value(getattr(report, one.name)) for one in fields(report)}


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): item for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
