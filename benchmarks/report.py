"""Shows what was measured: as a plain table, as markdown, as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from measure import Row, Section, Target

Report = Sequence[tuple[Section, list[Row]]]
HEADINGS = ("work", "median", "min–max", "ratio", "min–max", "target", "")


def to_text(section: Section, rows: list[Row]) -> str:
    """Returns a section as a table of plain text."""
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(HEADINGS))]
    lines = [
        "  ".join(
            text.ljust(width) if place in (0, 6) else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    return "\n".join([section.title, f"  {section.note}", *(f"  {line}" for line in lines)])


def to_markdown(report: Report, repetitions: int) -> str:
    """Returns all sections as markdown."""
    parts = [f"Medians of {repetitions} interleaved repetitions. {machine()}.", ""]
    for section, rows in report:
        parts += [
            f"**{section.title}**: {section.note}",
            "",
            f"| {' | '.join(HEADINGS)} |",
            "|---|" + "---:|" * 5 + "---|",
        ]
        parts += [f"| {' | '.join(_cells(row))} |" for row in rows]
        parts.append("")
    return "\n".join(parts)


def to_json(report: Report, repetitions: int) -> str:
    """Returns everything that was measured, every sample of it."""
    data = {
        "machine": machine(),
        "repetitions": repetitions,
        "sections": [
            {
                "title": section.title,
                "note": section.note,
                "rows": [
                    {
                        "name": row.case.name,
                        "unit": row.case.unit,
                        "median": row.median,
                        "samples": row.samples,
                        "ratio": row.ratio,
                        "ratios": row.ratios,
                        "target": None if row.case.target is None else _shown_target(row.case.target, row.case.unit),
                        "met": row.is_met,
                        "quoted": row.case.quoted is not None,
                    }
                    for row in rows
                ],
            }
            for section, rows in report
        ],
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def machine() -> str:
    """Returns in one line what it was measured on."""
    names = {name: _version(name) for name in ("pydantic", "anyio", "langgraph", "dbos", "pydantic-graph", "clipspy")}
    versions = ", ".join(f"{name} {found}" for name, found in names.items() if found)
    day = datetime.now(UTC).date().isoformat()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{day}, {python} on {sys.platform} ({platform.machine()}, {os.cpu_count()} cores), {versions}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cells(row: Row) -> tuple[str, ...]:
    case, found = row.case, row.median
    met = {True: "ok", False: "missed", None: ""}[row.is_met]
    if found is None:
        return (case.name, case.missing, "", "", "", "", "")
    spread = f"{_shown(min(row.samples))}–{_shown(max(row.samples))}" if row.samples else "quoted"
    ratio, ratios = "", ""
    if row.ratio is not None:
        ratio, ratios = (
            f"{row.ratio:.3f} ×" if row.ratio < 2 else f"{_shown(row.ratio)} ×",
            f"{_shown(min(row.ratios))}–{_shown(max(row.ratios))}",
        )
    target = "" if case.target is None else _shown_target(case.target, case.unit)
    return (case.name, f"{_shown(found)} {case.unit}", spread, ratio, ratios, target, met)


def _shown_target(target: Target, unit: str) -> str:
    sign = {"below": "<", "at most": "≤", "at least": "≥"}[target.kind]
    return f"{sign} {_shown(target.limit)} {'×' if target.on == 'ratio' else unit}"


def _shown(value: float) -> str:
    """Returns a number with three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 20 else f"{value:.2f}"
