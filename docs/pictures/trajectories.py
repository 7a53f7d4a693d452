"""Draws docs/pictures/trajectories.svg: what verdicts make of steps, and how many patterns a search looks at.

`python docs/pictures/trajectories.py` writes it anew, to the same bytes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from quiesce.suggestors.trajectories.nearest import Vectors
from quiesce.suggestors.trajectories.outcome import StepOutcome
from quiesce.suggestors.trajectories.payloads import TrajectoryStep
from quiesce.suggestors.trajectories.quality import quality_of
from quiesce.suggestors.trajectories.verdict import RootCause, Verdict

GREY = "#7f7f7f"  # readable on white and on black
STEPS, DIMENSION = 20, 64
VERDICTS: list[tuple[str, Verdict, str]] = [
    ("success", Verdict.success(), "#2a9d5c"),
    ("partial(0.5)", Verdict.partial(0.5), "#c58b00"),
    ("recovered, 0.6", Verdict.recovered_via_reflection(RootCause.unknown(""), 1, 0.6), "#3f7fd6"),
    ("failure", Verdict.failure(RootCause.unknown("")), "#d1495b"),
]
SIZES = [12_500, 25_000, 50_000, 100_000, 141_000, 200_000, 282_000, 400_000]


def steps_with(successes: int) -> list[TrajectoryStep]:
    """Returns steps of which so many succeeded and the others failed."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    outcomes = [StepOutcome.success() if place < successes else StepOutcome.failure("x") for place in range(STEPS)]
    return [
        TrajectoryStep(index=place, action="a", rationale="", outcome=outcome, confidence=1, timestamp=at)
        for place, outcome in enumerate(outcomes)
    ]


def draw_quality(axes: Any) -> None:
    """Draws the quality against the share of steps that succeeded."""
    shares = [count / STEPS for count in range(STEPS + 1)]
    for name, verdict, colour in VERDICTS:
        values = [quality_of(steps_with(count), verdict) for count in range(STEPS + 1)]
        axes.plot(shares, values, color=colour, linewidth=2)
        axes.annotate(name, (1, values[-1]), (4, -3), textcoords="offset points", color=colour, fontsize=9)
    axes.set(xlabel="share of steps that succeeded, confidence 1", ylabel="quality", xlim=(0, 1), ylim=(0, 1.02))


def rows_of(kind: str, size: int) -> Any:
    """Returns vectors in a hundred clusters, or without any order."""
    rng = np.random.default_rng(size)
    noise = rng.standard_normal((size, DIMENSION), dtype=np.float32)
    if kind == "noise":
        return noise
    centres = rng.standard_normal((100, DIMENSION), dtype=np.float32)
    return centres[rng.integers(0, 100, size)] + 0.3 * noise


def draw_looked_at(axes: Any) -> None:
    """Draws how many patterns a search looks at in full."""
    for kind, name, colour in (("noise", "noise", "#d1495b"), ("clusters", "100 clusters", "#3f7fd6")):
        looked = []
        for size in SIZES:
            rows = rows_of(kind, size)
            known = Vectors(DIMENSION)
            known.extend(rows)
            counts = []
            for query in rows[:: size // 10][:10]:
                known.nearest(query, 5)
                counts.append(known.looked_at)
            looked.append(float(np.median(counts)))
        axes.plot(SIZES, looked, color=colour, linewidth=2, marker="o", markersize=3)
        axes.annotate(name, (SIZES[-1], looked[-1]), (5, -3), textcoords="offset points", color=colour, fontsize=9)
    axes.axvline(100_000, color=GREY, linewidth=1, linestyle=":")
    axes.annotate("the index begins", (100_000, 700), (4, 0), textcoords="offset points", color=GREY, fontsize=9)
    axes.set(xscale="log", yscale="log", xlabel="patterns in memory", ylabel="looked at in full, per search")
    axes.set_ylim(500, None)
    axes.set_xticks([12_500, 25_000, 50_000, 100_000, 200_000, 400_000])
    axes.set_xticklabels(["12,500", "25,000", "50,000", "100,000", "200,000", "400,000"], fontsize=8)
    axes.minorticks_off()


def main() -> None:
    """Writes the picture."""
    plt.rcParams.update({
        "svg.hashsalt": "quiesce", "svg.fonttype": "none", "font.size": 9, "text.color": GREY, "axes.labelcolor": GREY,
        "xtick.color": GREY, "ytick.color": GREY, "axes.edgecolor": GREY, "axes.spines.top": False,
        "axes.spines.right": False, "savefig.transparent": True,
    })  # fmt: skip
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.4))
    draw_quality(left)
    draw_looked_at(right)
    figure.subplots_adjust(left=0.06, right=0.9, bottom=0.15, top=0.97, wspace=0.6)
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
