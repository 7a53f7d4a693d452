"""Draws docs/pictures/routing.svg: what routing policies miss, from the curves that benchmarks/work_regret.py wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams.update(
    {"svg.hashsalt": "quiesce", "svg.fonttype": "none", "font.size": 8.5, "font.family": "DejaVu Sans"}
)

from matplotlib import pyplot as plt  # noqa: E402  the backend is chosen before

HERE = Path(__file__).parent
INK = "#7d7d7d"
"""Readable on white and on black."""
LOOKS = {
    "Thompson": ("#2f7fd1", "-", 2.0),
    "Thompson, window": ("#12936b", "-", 2.0),
    "Thompson, half-life": ("#8a63d2", "-", 2.0),
    "MABWiser Thompson": (INK, "--", 1.1),
    "MABWiser UCB1": (INK, "-", 1.1),
    "MABWiser ε-greedy": (INK, ":", 1.4),
}
TITLES = {
    "stationary": "nobody changes",
    "delayed": "outcomes come 50 steps late",
    "drifting": "the best one changes twice",
    "failing": "the best one is down twice",
}


def draw() -> None:
    """Writes the picture."""
    data = json.loads((HERE / "routing.json").read_text(encoding="utf-8"))
    figure, grid = plt.subplots(2, 2, figsize=(8.6, 6.4))
    for axes, (world, title) in zip(grid.flat, TITLES.items(), strict=True):
        curves = [curve for curve in data["curves"] if curve["world"] == world]
        draw_world(axes, title, data["steps"], curves)
    figure.tight_layout(h_pad=2.0, w_pad=3.0)
    figure.savefig(HERE / "routing.svg", transparent=True, metadata={"Date": None})


def draw_world(axes: Any, title: str, steps: list[int], curves: list[dict[str, Any]]) -> None:
    """Draws the curves of one world, each with its name and its end beside it."""
    for curve in curves:
        color, style, width = LOOKS[curve["policy"]]
        axes.plot(steps[::2], curve["mean"][::2], color=color, linestyle=style, linewidth=width)
    highest = max(curve["mean"][-1] for curve in curves)
    for height, curve in spread(curves, highest * 0.075):
        axes.annotate(
            f"{curve['policy']}  {curve['mean'][-1]:.0f}",
            (steps[-1], height),
            (4, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            color=LOOKS[curve["policy"]][0],
            fontsize=7.5,
        )
    axes.set_title(title, color=INK, loc="left", fontsize=9.5)
    axes.set_xlabel("requests", color=INK)
    axes.set_ylabel("missed beside an oracle", color=INK)
    axes.tick_params(colors=INK)
    axes.set_xlim(0, steps[-1])
    axes.set_ylim(0, highest * 1.2)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)


def spread(curves: list[dict[str, Any]], apart: float) -> list[tuple[float, dict[str, Any]]]:
    """Returns where the label of each curve stands: at its end, or just above the one below it."""
    placed: list[tuple[float, dict[str, Any]]] = []
    for curve in sorted(curves, key=lambda curve: curve["mean"][-1]):
        lowest = placed[-1][0] + apart if placed else 0.0
        placed.append((max(curve["mean"][-1], lowest), curve))
    return placed


if __name__ == "__main__":
    draw()
