"""Draws docs/pictures/feedback.svg: what the rules answer, and what several judgements of one feedback are worth."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams.update(
    {"svg.hashsalt": "quiesce", "svg.fonttype": "none", "font.size": 8.5, "font.family": "DejaVu Sans"}
)

from matplotlib import pyplot as plt  # noqa: E402  the backend is chosen before
from scipy.stats import binom  # noqa: E402

from quiesce.suggestors.feedback.payloads import Feedback  # noqa: E402
from quiesce.suggestors.feedback.rules import find_signal  # noqa: E402

HERE = Path(__file__).parent
HELD_OUT = HERE.parents[1] / "tests" / "suggestors" / "feedback" / "held_out.txt"
INK, RIGHT, WRONG = "#7d7d7d", "#2f7fd1", "#d1495b"
"""Readable on white and on black."""
KINDS = {"R": "rejection", "A": "alternative", "P": "repetition", "S": "self-correction", "N": "neutral"}
SAMPLES = (1, 3, 5, 7, 9)


def draw() -> None:
    """Writes the picture."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.2))
    draw_rules(left)
    draw_samples(right)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
        axes.tick_params(colors=INK)
        axes.title.set_color(INK)
        axes.xaxis.label.set_color(INK)
    figure.tight_layout(w_pad=2.5)
    figure.savefig(HERE / "feedback.svg", transparent=True, metadata={"Date": None})


def draw_rules(axes: Any) -> None:
    """Draws what became of the held-out messages, by kind."""
    counted: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for line in HELD_OUT.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            _, kind, message, *earlier = line.split("|")
            found = find_signal(Feedback(user_message=message, assistant_response="", earlier=tuple(earlier)))
            right = found is not None and found.is_correction == (kind != "N")
            counted[kind]["left" if found is None else "right" if right else "wrong"] += 1
    for place, (kind, name) in enumerate(reversed(KINDS.items())):
        before = 0
        for what, color in (("right", RIGHT), ("wrong", WRONG), ("left", "#7d7d7d55")):
            n = counted[kind][what]
            axes.barh(place, n, left=before, color=color, height=0.62)
            if n:
                tint = INK if what == "left" else "white"
                axes.annotate(str(n), (before + n / 2, place), ha="center", va="center", color=tint, weight="bold")
            before += n
        axes.annotate(name, (-1.5, place), ha="right", va="center", color=INK, annotation_clip=False)
    axes.set_yticks([])
    axes.set_title("by rules: right (blue), wrong (red); left to the model", fontsize=8.5)
    axes.set_xlabel("of 134 messages that no rule was made by")


def draw_samples(axes: Any) -> None:
    """Draws how often a majority is wrong, where each judgement errs by itself."""
    for error, style in ((0.3, "-"), (0.2, "-"), (0.1, "-")):
        wrong = [100 * float(binom.sf(n // 2, n, error)) for n in SAMPLES]
        axes.plot(SAMPLES, wrong, style, color=RIGHT, marker="o", markersize=3)
        axes.annotate(f"each {error:.0%}", (SAMPLES[0], wrong[0]), (6, 3), textcoords="offset points", color=INK)
        axes.annotate(
            f"{wrong[-1]:.1f}%", (SAMPLES[-1], wrong[-1]), (5, 3), textcoords="offset points", va="center", color=INK
        )  # fmt: skip
    axes.set_xticks(SAMPLES)
    axes.set_ylim(0, 34)
    axes.set_xlim(0.7, 10)
    axes.set_xlabel("judgements of one feedback")
    axes.set_title("wrong majorities in %, if judgements err independently", fontsize=8.5)


if __name__ == "__main__":
    draw()
