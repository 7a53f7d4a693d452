"""Draws what was measured: what peers take, as a multiple of ours. `python benchmarks/chart.py build/bench.json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SLOWER, FASTER, QUIET = "#1b6e8c", "#b4531f", "#666666"
_STYLE: Any = {
    "svg.hashsalt": "quiesce-bench",
    "svg.fonttype": "none",  # small, and text stays text
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
    "font.size": 8.5,
}


HEADLINES = ("chain", "fan", "lanes", "map", "closure", "durable", "bytes", "resume")
"""What is shown where there is little room: the kernel's own works, whoever does them best."""
_NO_RATIOS = ("regret",)
"""What is no cost: which policy misses least depends on the world, and has a picture of its own."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One peer on one work, at the largest size that it was measured at."""

    work: str
    peer: str
    ratio: float
    least: float
    most: float
    is_quoted: bool


def draw(data: dict[str, Any], into: Path, only: Collection[str] = ()) -> list[str]:
    """Writes the picture as SVG and as PNG and returns the names of the files; the same data give the same SVG.

    `only` names the sections that are drawn; by default all that have peers.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    found = list(marks(data, only))
    if not found:
        return []
    with mpl.rc_context(_STYLE):
        works = list(dict.fromkeys(mark.work for mark in found))
        lines = len(found) + 1.4 * len(works)
        figure, axes = pyplot.subplots(figsize=(8.6, 0.185 * lines + 1.1))
        _fill(axes, found, works)
        about = data["about"]
        figure.suptitle(
            "Others beside Quiesce on the same work: how many times as long, or as much", x=0.02, ha="left", fontsize=11
        )
        figure.text(
            0.02, 0.004,
            f"medians of {about['repetitions']} interleaved repetitions with their spread; hollow: quoted, not "
            "measured "
            f"here. {about['day']}, {about['python']}, {about['cores']} cores; load of the machine "
            f"when it began: {about['load_before']:.1f}",
            fontsize=7, color=QUIET,
        )  # fmt: skip
        figure.tight_layout(rect=(0, 0.015, 1, 0.995))
        figure.savefig(into.with_suffix(".svg"), facecolor="white", metadata={"Date": None, "Creator": None})
        figure.savefig(into.with_suffix(".png"), facecolor="white", dpi=150, metadata={"Software": None})
        pyplot.close(figure)
    return [into.with_suffix(".svg").name, into.with_suffix(".png").name]


def marks(data: dict[str, Any], only: Collection[str] = ()) -> Iterator[Mark]:
    """Yields what is drawn: of each series of a peer the largest size."""
    for section in data["sections"]:
        if (only and section["name"] not in only) or section["name"] in _NO_RATIOS:
            continue
        largest: dict[str, tuple[dict[str, Any], list[float]]] = {}
        for row in section["rows"]:
            ratios = to_ours(row, section["rows"]) if row["kind"] == "peer" else []
            if ratios and (row["name"] not in largest or _size(row) >= _size(largest[row["name"]][0])):
                largest[row["name"]] = row, ratios
        top = max((_size(row) for row, _ in largest.values()), default=0)
        title = f"{section['title']}: {top:,} {section['of']}" if top else section["title"]
        for name, (row, ratios) in largest.items():
            shown = name if _size(row) == top else f"{name} ({_size(row):,})"
            yield Mark(title, shown, median(ratios), min(ratios), max(ratios), row["quoted"])


def to_ours(row: dict[str, Any], rows: list[dict[str, Any]]) -> list[float]:
    """Returns what a peer takes as a multiple of ours: the case that it names, or the first of its size and unit."""
    ours = [one for one in rows if one["kind"] == "ours" and one["samples"] and one["unit"] == row["unit"]]
    named = [one for one in ours if one["name"] == row["against"]] or ours
    base = next((one for one in named if one["size"] == row["size"]), None)
    if base is None or row["median"] is None:
        return []
    values = row["samples"] or [row["median"]]
    length = max(len(values), len(base["samples"]))
    ones, others = (found * length if len(found) == 1 else found for found in (values, base["samples"]))
    return [one / other for one, other in zip(ones, others, strict=False) if other]


def _size(row: dict[str, Any]) -> int:
    return row["size"] or 0


def _fill(axes: Axes, found: list[Mark], works: list[str]) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    height = 0.0
    axes.set_xscale("log")
    low, high = min(0.1, *(mark.least for mark in found)) / 1.6, max(10.0, *(mark.most for mark in found)) * 1.4
    axes.set_xlim(low, high * 6)
    for work in works:
        white = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # the line at 1 stops there
        axes.text(low * 1.04, height, work, fontweight="bold", va="center", fontsize=8.5, bbox=white)
        height -= 1.0
        for mark in (one for one in found if one.work == work):
            colour = SLOWER if mark.ratio >= 1 else FASTER
            axes.plot([mark.least, mark.most], [height, height], color=colour, linewidth=1.6, alpha=0.45, zorder=2)
            axes.plot(
                [mark.ratio], [height], "o", markersize=5, color=colour, zorder=3,
                markerfacecolor="white" if mark.is_quoted else colour,
            )  # fmt: skip
            label = f"{mark.peer}  {_shown(mark.ratio)}"
            axes.annotate(
                label, (max(mark.most, mark.ratio), height), xytext=(6, 0), textcoords="offset points", va="center",
                fontsize=8, color="#222222",
            )  # fmt: skip
            height -= 1.0
        height -= 0.4
    axes.axvline(1, color="#222222", linewidth=0.9, zorder=1)
    axes.set_ylim(height, 2.2)
    axes.text(1.06, 1.3, "takes more than Quiesce →", color=SLOWER, fontsize=8, va="center")
    axes.text(0.94, 1.3, "← takes less", color=FASTER, fontsize=8, va="center", ha="right")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}×"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_visible(False)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)


def _shown(ratio: float) -> str:
    return f"{ratio:,.0f}×" if ratio >= 20 else f"{ratio:.2g}×"


if __name__ == "__main__":
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "build/bench.json")
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else source.with_suffix("")
    print(*draw(json.loads(source.read_text(encoding="utf-8")), target))
