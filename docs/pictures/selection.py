"""Draws docs/pictures/selection.svg: the second request of docs/selection.md, and why two of its slots stay open.

.venv/bin/python docs/pictures/selection.py
"""

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from quiesce.suggestors.selection.matching import match

mpl.use("Agg")
mpl.rcParams.update({"svg.hashsalt": "selection", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 11})

SLOTS = ["reasoning", "code", "reasoning", "embedding"]
BACKENDS = {
    "anthropic": {"code", "reasoning", "vision"},
    "openai": {"code", "vision"},
    "mini": {"code"},
}
GREY, BLUE, AMBER = "#80868f", "#3b82f6", "#d97706"  # each is readable on white and on black


def main() -> None:
    """Draws slots on the left, backends on the right, and between them who could and who does."""
    classes = list(dict.fromkeys(SLOTS))
    slots = [classes.index(one) for one in SLOTS]
    serves = [[at for at, has in enumerate(BACKENDS.values()) if one in has] for one in classes]
    found = match(slots, serves, [1] * len(BACKENDS))
    parts = [([at for at, one in enumerate(slots) if one in part], beside) for part, beside in found.short]

    figure, axes = plt.subplots(figsize=(7.2, 3.4))
    tops = [float(3 - at) for at in range(len(SLOTS))]
    sides = [2.7 - 1.2 * at for at in range(len(BACKENDS))]
    for at, asked in enumerate(slots):
        for backend in serves[asked]:
            is_filled = found.filled[at] == backend
            color, width = (BLUE, 3.0) if is_filled else (GREY, 1.0)
            axes.plot(
                [0, 3], [tops[at], sides[backend]], color=color, lw=width, alpha=1 if is_filled else 0.6, zorder=1
            )
    for at, one in enumerate(SLOTS):
        is_open = found.filled[at] < 0
        axes.plot(
            0, tops[at], "o", ms=11, mfc="none" if is_open else BLUE, mec=AMBER if is_open else BLUE, mew=2, zorder=3
        )
        label = f"{one}  (open)" if is_open else one
        axes.text(-0.22, tops[at], label, ha="right", va="center", color=AMBER if is_open else GREY)
    for at, name in enumerate(BACKENDS):
        used = at in found.filled
        axes.plot(3, sides[at], "s", ms=11, mfc=BLUE if used else "none", mec=BLUE if used else GREY, mew=2, zorder=3)
        has = ", ".join(sorted(BACKENDS[name]))
        axes.text(3.22, sides[at], name, ha="left", va="center", color=GREY, weight="bold")
        axes.text(3.22, sides[at] - 0.28, has, ha="left", va="center", color=GREY, size=9)
    for members, beside in parts:
        for at in members:
            _mark(axes, -2.6, tops[at] - 0.33, 2.83, 0.66)
        for at in beside:
            _mark(axes, 2.78, sides[at] - 0.45, 3.0, 0.75)
    axes.text(-2.6, 3.62, "slots of the request", color=GREY, size=9)
    axes.text(2.78, 3.62, "backends, one slot each", color=GREY, size=9)
    axes.text(
        -2.35, -0.75, "reasoning ×2 needs 2 backends, only anthropic has it; no backend has embedding", color=AMBER
    )
    axes.set_xlim(-2.7, 5.9)
    axes.set_ylim(-1.0, 3.9)
    axes.axis("off")
    path = Path(__file__).with_suffix(".svg")
    figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})


def _mark(axes: Axes, left: float, bottom: float, width: float, height: float) -> None:
    box = FancyBboxPatch(
        (left, bottom),
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.15",
        ec=AMBER,
        fc=AMBER,
        alpha=0.13,
        zorder=0,
    )
    axes.add_patch(box)


if __name__ == "__main__":
    main()
