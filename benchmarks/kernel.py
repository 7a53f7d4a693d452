"""Measures Quiesce beside its peers and its targets and makes one table of it: `python benchmarks/kernel.py --help`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib import import_module
from inspect import isawaitable, signature
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import anyio
import peers
import report
import shape
from measure import Section, measure

Prepare = Callable[[Path, AsyncExitStack], Awaitable[list[Section]]]


def _of(module: str, *names: str) -> Prepare:
    """Returns what prepares sections by functions that return one or several, at once or when awaited."""

    async def prepare(folder: Path, _until: AsyncExitStack) -> list[Section]:
        found: list[Section] = []
        for name in names:
            make = getattr(import_module(module), name)
            made = make(folder) if "folder" in signature(make).parameters else make()
            sections = await made if isawaitable(made) else made
            found += [sections] if isinstance(sections, Section) else sections
        return found

    return prepare


async def _trajectories(folder: Path, until: AsyncExitStack) -> list[Section]:
    slow = [] if shape.is_quick else ["similar"]  # among 200,000 vectors
    return await _of("work_trajectories", "recording", *slow)(folder, until)


async def _judge(_folder: Path, until: AsyncExitStack) -> list[Section]:
    work = import_module("work_judge")
    return [*await until.enter_async_context(work.calls()), work.rules()]


SECTIONS: dict[str, Prepare] = {
    "chain": _of("work", "chain"),
    "fan": _of("work", "fan"),
    "lanes": _of("work_lanes", "lanes"),
    "map": _of("work", "mapped"),
    "closure": _of("work", "closure"),
    "known": _of("work_growth", "growth"),
    "durable": _of("work_durable", "durable"),
    "bytes": _of("work_durable", "left"),
    "growth": _of("work_durable", "growth_on_disk"),
    "append": _of("work_durable", "appends"),
    "resume": _of("work_alone", "resume"),
    "recovery": _of("work_durable", "recovery"),
    "replay": _of("work_replay", "replays"),
    "memory": _of("work_alone", "memory"),
    "choices": _of("work_choices", "choices"),
    "import": _of("work_import", "imports"),
    "thompson": _of("work_thompson", "selections", "bulk", "chances", "contextual", "files"),
    "regret": _of("work_misses", "misses"),
    "routes": _of("work_routes", "routes"),
    "matching": _of("work_selection", "matching", "selections"),
    "drift": _of("work_drift", "speed"),
    "judge": _judge,
    "pack": _of("work_pack", "pack"),
    "trajectories": _trajectories,
}
"""What can be measured; each is imported and prepared when its turn comes, and may keep files in a folder."""


QUICK = [name for name in SECTIONS if name not in {"growth", "recovery", "choices", "import", "routes", "pack"}]
"""What `--quick` measures unless sections are named: those that have peers."""


async def main() -> int:
    """Measures what was asked for and returns the exit code."""
    options = _read_options()
    if options.quick:
        shape.shrink()
    repetitions = options.repetitions or (5 if options.quick else 7)
    about = report.about(repetitions, quick=options.quick)
    found: list[report.Measured] = []
    print(report.heading(about), flush=True)
    with TemporaryDirectory(prefix="quiesce-bench-") as folder:
        for name in options.only or (QUICK if options.quick else SECTIONS):
            start = perf_counter()
            try:
                await _measure(name, Path(folder), repetitions, found, with_peers=not options.no_peers)
            except Exception as problem:  # noqa: BLE001  whatever it is: it is told, and the other sections go on
                about["failed"][name] = f"{type(problem).__name__}: {problem}"
                print(f"\n{name} failed: {about['failed'][name]}", flush=True)
            about["took"][name] = round(perf_counter() - start, 1)
            about["load_after"] = os.getloadavg()[0]
            if options.out is not None:
                _write(options.out, report.to_data(about, found))
    data = report.to_data(about, found)
    print(f"\n{report.summary(data)}\n\n{sum(about['took'].values()):.0f} seconds")
    if options.out is not None:
        print(f"written to {options.out}: {', '.join(sorted(path.name for path in options.out.glob('bench.*')))}")
    return 1 if about["failed"] or (options.check and report.missed(data)) else 0


async def _measure(
    name: str, folder: Path, repetitions: int, found: list[report.Measured], *, with_peers: bool
) -> None:
    async with AsyncExitStack() as until:
        sections = await SECTIONS[name](folder, until)
        if with_peers:
            sections[0].cases += peers.cases(name, until)
        for section in sections:
            found.append(report.Measured(name, section, await measure(section, repetitions)))
            print(report.to_text(found[-1]), flush=True)


def _write(into: Path, data: report.Data) -> None:
    """Leaves the table as JSON, as Markdown, and as a picture, where matplotlib is there; after each section anew."""
    into.mkdir(parents=True, exist_ok=True)
    (into / "bench.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (into / "bench.md").write_text(report.to_markdown(data), encoding="utf-8")
    try:
        import_module("chart").draw(data, into / "bench")
    except ImportError as problem:
        print(f"no chart: {problem}. It needs matplotlib: pip install 'quiesce[plot]'", file=sys.stderr)


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kernel.py", description=__doc__.partition(":")[0] if __doc__ else "")
    parser.add_argument("only", nargs="*", metavar="SECTION", help=f"all by default: {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="five repetitions, less where there is most, peers only")
    parser.add_argument("--no-peers", action="store_true", help="the kernel alone")
    parser.add_argument("--repetitions", type=int, metavar="N", help="how often each work is done (7; quick: 5)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write bench.json, bench.md, bench.svg and bench.png"
    )
    options = parser.parse_args()
    unknown = [name for name in options.only if name not in SECTIONS]
    if unknown or (options.repetitions is not None and options.repetitions < 1):
        parser.error(f"{', '.join(unknown)} is no section" if unknown else "--repetitions is a number from 1")
    return options


if __name__ == "__main__":
    sys.exit(anyio.run(main))
