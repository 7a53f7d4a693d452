"""Draws docs/pictures/drift.svg: answers that shrink slowly, as a window and as the baseline see them.

.venv/bin/python docs/pictures/drift.py
"""

import re
from math import exp, inf, log, log10
from pathlib import Path
from random import Random

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from quiesce.suggestors.drift.evidence import RateTest
from quiesce.suggestors.drift.payloads import ResponseObservation
from quiesce.suggestors.drift.watch import CUTS, BaselineOptions, cut_of
from quiesce.suggestors.drift.window import DriftWindow

mpl.use("Agg")
mpl.rcParams.update({"svg.hashsalt": "drift", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10})

GREY, BLUE, AMBER = "#80868f", "#3b82f6", "#d97706"  # each is readable on white and on black
CHANGE, END = 350, 800
BASELINE = BaselineOptions()
WANTED = log(3 * len(BASELINE.watch) / BASELINE.alpha)


def main() -> None:
    """Draws the lengths, the ratio that a window sees, and the evidence against the baseline, below each other."""
    random = Random(3)
    lengths = [
        int(random.lognormvariate(5.7, 0.35) * (1 - 0.6 * min(1, max(0, place - CHANGE) / 400))) for place in range(END)
    ]
    ratios, evidence, cut, found = _judge(lengths)
    figure, (top, middle, bottom) = plt.subplots(3, 1, figsize=(7.4, 5.4), sharex=True, height_ratios=[3, 2, 2])

    top.plot(range(0, END, 4), lengths[::4], "o", ms=2, color=GREY, mew=0)
    top.axhline(cut, color=AMBER, lw=1.2, ls="--")
    top.text(5, cut - 22, "a quarter were shorter at first", color=AMBER, va="top", size=9)
    top.set_ylim(0, 800)
    _name(top, "tokens of each answer")
    middle.plot(range(19, END), ratios, color=BLUE, lw=1.2)
    middle.axhline(0.5, color=AMBER, lw=1.2, ls="--")
    middle.text(5, 0.46, "drift below 0.5", color=AMBER, va="top", size=9)
    middle.set_ylim(0, 2)
    _name(middle, "window of 20: median of its later half over that of its earlier")
    bottom.plot(range(BASELINE.warm_up, END), evidence, color=BLUE, lw=1.2)
    bottom.axhline(WANTED / log(10), color=AMBER, lw=1.2, ls="--")
    bottom.plot(found, WANTED / log(10), "o", color=AMBER, ms=7)
    bottom.text(found - 8, WANTED / log(10) + 0.9, f"found at answer {found}", color=AMBER, ha="right", size=9)
    bottom.text(8, -2.2, "warm-up", color=GREY, size=9)
    bottom.set_ylim(-3, 9)
    _name(bottom, "evidence that more are short than at first, as a power of ten")
    for axes in (top, middle, bottom):
        axes.axvline(CHANGE, color=GREY, lw=0.8, ls=":")
    top.text(CHANGE + 6, 735, "from here on they shrink", color=GREY, size=9)
    bottom.set_xlabel("answers", color=GREY)
    figure.tight_layout(h_pad=0.6)
    path = Path(__file__).with_suffix(".svg")
    figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": "docs/pictures/drift.py"})
    text = re.sub(r"(\d+\.\d)\d+", r"\1", path.read_text())  # a tenth of a point is finer than anybody sees
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def _judge(lengths: list[int]) -> tuple[list[float], list[float], float, int]:
    """Returns the ratio in each window, the evidence after each answer, the quartile, and where a change is found."""
    windows, ratios = DriftWindow(20), []
    for length in lengths:
        windows.record(
            ResponseObservation(provider="acme", output_tokens=length, has_tool_use=False, request_had_tools=False)
        )
        ratios.append(windows.judge("acme").signals.get("length_collapse_ratio", 1.0))
    first, warm = BASELINE.first, BASELINE.warm_up
    cut = cut_of(CUTS["short"], [float(length) for length in lengths[:first]], BASELINE.min_length) or 0.0
    test = RateTest(sum(length < cut for length in lengths[first:warm]), warm - first)
    evidence, found = [], 0
    for place, length in enumerate(lengths[warm:], warm):
        test.see(length < cut, inf)
        now = sum(test._share(start) for start in test.starts)
        evidence.append(max(-3.0, log10(now)))
        if not found and now >= exp(WANTED):
            found = place
    return ratios[19:], evidence, cut, found


def _name(axes: Axes, title: str) -> None:
    axes.set_title(title, color=GREY, size=10, loc="left", pad=3)
    axes.tick_params(colors=GREY, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GREY)


if __name__ == "__main__":
    main()
