"""Measures the kernel beside its peers and its targets, and prints a table: `python benchmarks/kernel.py --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import peers
import report
import work
from measure import Row, Section, measure
from work_durable import appends, durable, growth_on_disk, recovery
from work_growth import growth
from work_import import imports
from work_lanes import lanes
from work_replay import replays, sizes

Prepare = Callable[[Path], Awaitable[Section]]


def _plain(make: Callable[[], Section]) -> Prepare:
    async def prepare(_folder: Path) -> Section:
        return make()

    return prepare


SECTIONS: dict[str, Prepare] = {
    "chain": _plain(work.chain),
    "fan": _plain(work.fan),
    "map": _plain(work.mapped),
    "closure": _plain(work.closure),
    "growth": lambda _folder: growth(),
    "lanes": _plain(lanes),
    "replay": replays,
    "durable": durable,
    "append": appends,
    "bytes": growth_on_disk,
    "recovery": recovery,
    "import": _plain(imports),
    "size": sizes,
}
"""What can be measured; each is prepared when its turn comes, and may keep files in a folder."""


async def main() -> int:
    """Measures what was asked for and returns the exit code."""
    options = _read_options()
    repetitions = options.repetitions or (3 if options.quick else 7)
    found: list[tuple[Section, list[Row]]] = []
    print(f"Medians of {repetitions} interleaved repetitions. {report.machine()}\n", flush=True)
    with TemporaryDirectory(prefix="quiesce-bench-") as folder:
        for name in options.only or SECTIONS:
            section = await SECTIONS[name](Path(folder))
            with ExitStack() as until:
                if not options.quick:
                    section.cases += peers.cases(name, until)
                rows = await measure(section, repetitions)
            found.append((section, rows))
            print(report.to_text(section, rows), end="\n\n", flush=True)
    missed = [f"{section.title}: {row.case.name}" for section, rows in found for row in rows if row.is_met is False]
    held = sum(row.is_met is not None for _, rows in found for row in rows)
    print(f"{held - len(missed)} of {held} targets met" + "".join(f"\n  missed: {name}" for name in missed))
    if options.json:
        options.json.write_text(report.to_json(found, repetitions), encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(report.to_markdown(found, repetitions), encoding="utf-8")
    return 1 if options.check and missed else 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kernel.py", description=__doc__.partition(":")[0] if __doc__ else "")
    parser.add_argument("only", nargs="*", metavar="SECTION", help=f"all by default: {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="three repetitions, no peers")
    parser.add_argument("--repetitions", type=int, metavar="N", help="how often each work is done (7; quick: 3)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to a file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to a file")
    options = parser.parse_args()
    unknown = [name for name in options.only if name not in SECTIONS]
    if unknown or (options.repetitions is not None and options.repetitions < 1):
        parser.error(f"{', '.join(unknown)} is no section" if unknown else "--repetitions is a number from 1")
    return options


if __name__ == "__main__":
    sys.exit(anyio.run(main))
