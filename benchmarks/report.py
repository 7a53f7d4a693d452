"""Shows what was measured: as one table of plain text or markdown, and as data with every sample."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from measure import Row, Section, Target

Data = dict[str, Any]
"""What stands in bench.json."""
HEADINGS = ("work", "size", "median", "min–max", "ratio", "min–max", "slope", "held to", "")
_WIDTHS = (52, 9, 13, 14, 9, 13, 6, 10, 6)
PACKAGES = (
    "pydantic", "anyio", "numpy", "scipy", "networkx", "langgraph", "langgraph-checkpoint-sqlite", "dbos",
    "pydantic-graph", "burr", "clipspy", "experta", "durable_rules", "egglog", "mabwiser", "vowpalwabbit", "river",
    "pydantic-ai-slim",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """A section with what was found."""

    name: str
    section: Section
    rows: list[Row]


def about(repetitions: int, *, quick: bool) -> Data:
    """Returns what a table was made on: day, machine, versions."""
    found = {name: _version(name) for name in PACKAGES}
    return {
        "day": datetime.now(UTC).date().isoformat(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{sys.platform} {platform.machine()}",
        "cores": os.cpu_count(),
        "memory": _memory(),
        "versions": {name: known for name, known in found.items() if known},
        "missing": [name for name, known in found.items() if not known],
        "repetitions": repetitions,
        "quick": quick,
        "load_before": os.getloadavg()[0],
        "took": {},
        "failed": {},
    }


def to_data(about: Data, found: Iterable[Measured]) -> Data:
    """Returns everything that was measured, every sample of it."""
    return {
        "about": about,
        "sections": [
            {
                "name": one.name,
                "title": one.section.title,
                "note": one.section.note,
                "of": one.section.of,
                "rows": [_row(row) for row in one.rows],
            }
            for one in found
        ],
    }


def _row(row: Row) -> Data:
    case = row.case
    return {
        "name": case.name,
        "kind": case.kind,
        "size": case.size,
        "unit": case.unit,
        "against": case.against,
        "median": row.median,
        "samples": row.samples,
        "ratio": row.ratio,
        "ratios": row.ratios,
        "slope": row.slope,
        "target": None if case.target is None else _target(case.target, case.unit),
        "held_on": None if case.target is None else case.target.on,
        "met": row.is_met,
        "quoted": case.quoted is not None,
        "missing": (row.failed or case.missing) if row.median is None else None,
    }


def heading(about: Data) -> str:
    """Returns the first lines of the table."""
    return f"{describe(about)}\n\n{_line(HEADINGS)}"


def describe(about: Data) -> str:
    """Returns in a few words what a table was made on."""
    versions = ", ".join(f"{name} {known}" for name, known in about["versions"].items())
    return (
        f"Medians of {about['repetitions']} interleaved repetitions{' (quick)' if about['quick'] else ''}, "
        f"{about['day']}, "
        f"{about['python']} on {about['platform']}, {about['cores']} cores, {about['memory']}; load of the machine "
        "when "
        f"it began: {about['load_before']:.1f}. {versions}."
    )


def to_text(one: Measured) -> str:
    """Returns the lines of a section."""
    title = f"{one.section.title}{f' (size: {one.section.of})' if one.section.of else ''}"
    return "\n".join(["", title, *(_line(_cells(_row(row))) for row in one.rows)])


def _line(cells: tuple[str, ...]) -> str:
    return "  ".join(
        text.ljust(width) if place in (0, 8) else text.rjust(width)
        for place, (text, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    ).rstrip()


def to_markdown(data: Data) -> str:
    """Returns the table as markdown; what its sections mean stands below it."""
    lines = [describe(data["about"]), "", f"| {' | '.join(HEADINGS)} |", "|---|" + "---:|" * 7 + "---|"]
    for section in data["sections"]:
        of = f" ({section['of']})" if section["of"] else ""
        lines.append(f"| **{section['title']}**{of} |{' |' * 8}")
        lines += [f"| {' | '.join(_cells(row))} |" for row in section["rows"]]
    failed = [f"{name} could not be measured: {why}" for name, why in data["about"].get("failed", {}).items()]
    lines += ["", summary(data), "", *failed, *([""] if failed else []), "What is measured:", ""]
    lines += [f"- **{section['title']}**: {section['note']}." for section in data["sections"]]
    return "\n".join(lines) + "\n"


def missed(data: Data) -> list[str]:
    """Returns which targets were missed."""
    rows = [(section, row) for section in data["sections"] for row in section["rows"] if row["met"] is False]
    return [f"{section['title']}: {_named(row)} ({_found(row)}, held to {row['target']})" for section, row in rows]


def summary(data: Data) -> str:
    """Returns how many targets were met, and which were not."""
    held = sum(row["met"] is not None for section in data["sections"] for row in section["rows"])
    if not held:
        return "Nothing here is held to a target."
    wrong = missed(data)
    return (
        f"{held - len(wrong)} of {held} targets met."
        + ("" if not wrong else " Missed:\n\n")
        + "\n".join(f"- {name}" for name in wrong)
    )


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['name']}, {row['size']:,}" if row["size"] else str(row["name"])


def _found(row: Mapping[str, Any]) -> str:
    match row["held_on"]:
        case "ratio":
            return f"{shown(row['ratio'])} ×"
        case "slope":
            return f"slope {row['slope']:.2f}"
        case _:
            return f"{shown(row['median'])} {row['unit']}"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    size = f"{row['size']:,}" if row["size"] is not None else ""
    if row["median"] is None:
        return (row["name"], size, row["missing"], *[""] * 6)
    samples, ratios = row["samples"], row["ratios"]
    return (
        row["name"],
        size,
        f"{shown(row['median'])} {row['unit']}",
        "quoted" if row["quoted"] else _spread(samples),
        "" if row["ratio"] is None else f"{shown(row['ratio'])} ×",
        _spread(ratios),
        "" if row["slope"] is None else f"{row['slope']:.2f}",
        row["target"] or "",
        {True: "ok", False: "missed", None: ""}[row["met"]],
    )


def _spread(values: list[float]) -> str:
    return f"{shown(min(values))}–{shown(max(values))}" if len(values) > 1 else ""


def _target(target: Target, unit: str) -> str:
    sign = {"below": "<", "at most": "≤", "at least": "≥"}[target.kind]
    return f"{sign} {shown(target.limit)} { {'ratio': '×', 'slope': 'slope', 'value': unit}[target.on] }"


def shown(value: float) -> str:
    """Returns a number with three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _memory() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{pages / 2**30:.0f} GiB" if Path("/proc").exists() or pages > 0 else "unknown memory"
