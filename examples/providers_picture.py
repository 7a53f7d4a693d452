"""Draws who was asked and what was known, from a log alone: the picture of the story.

examples/providers.py ends with the `draw` of examples/providers_picture.py. It needs matplotlib, which the extra "plot"
brings. The picture is written as PNG and as SVG; the same log gives the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#4c8dd6", "#d9822b", "#8f6fd1", "#4a9c6d")
GREY = "#808080"
WINDOW = 25
STEP = 4
"""Every so many requests a point is drawn."""


@dataclass(frozen=True)
class Moment:
    """What a run knew when it decided, and what it decided."""

    provider: str | None
    known: Mapping[str, tuple[float, float]]
    """The parameters of each provider's posterior."""
    out: frozenset[str]
    probe: bool = False
    """Who was asked was out, and this was to find out whether it is well again."""


def draw(moments: Sequence[Moment], names: Sequence[str], place: Path) -> list[Path]:
    """Writes the picture beside `place`, as .png and .svg, and returns the two paths.

    Raises:
        ImportError: matplotlib is not there.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with mpl.rc_context({
        "svg.hashsalt": "quiesce", "svg.fonttype": "none", "font.size": 9, "text.color": GREY, "axes.edgecolor": GREY,
        "axes.labelcolor": GREY, "xtick.color": GREY, "ytick.color": GREY, "axes.spines.top": False,
        "axes.spines.right": False,
    }):  # fmt: skip
        figure, axes = plt.subplots(
            3, 1, figsize=(8, 6), sharex=True, height_ratios=[4, 4, 0.35 * len(names)], layout="constrained"
        )
        _draw_shares(axes[0], moments, names)
        _draw_posteriors(axes[1], moments, names)
        _draw_quarantines(axes[2], moments, names)
        axes[2].set_xlabel("request")
        paths = [place.with_suffix(".png"), place.with_suffix(".svg")]
        figure.savefig(paths[0], dpi=130, facecolor="white")
        figure.savefig(paths[1], transparent=True, metadata={"Date": None})
        plt.close(figure)
    return paths


def _draw_shares(axes: "Axes", moments: Sequence[Moment], names: Sequence[str]) -> None:
    """Draws who was asked, as a share of the requests around each."""
    places = list(range(0, len(moments), STEP))
    bottom = [0.0] * len(places)
    for name, colour in zip(names, COLOURS, strict=False):
        top = [below + _share(moments, name, place) for below, place in zip(bottom, places, strict=True)]
        axes.fill_between(places, bottom, top, color=colour, alpha=0.75, linewidth=0)
        widest = max(range(len(places)), key=lambda at: top[at] - bottom[at])
        if top[widest] - bottom[widest] > 0.1:
            inside = min(max(places[widest], len(moments) * 0.05), len(moments) * 0.95)
            axes.text(
                inside, (top[widest] + bottom[widest]) / 2, name, color="white", ha="center", va="center",
                weight="bold",
            )  # fmt: skip
        bottom = top
    axes.set(ylim=(0, 1), xlim=(0, max(len(moments) - 1, 1)), ylabel="share of the traffic")


def _share(moments: Sequence[Moment], name: str, place: int) -> float:
    around = moments[max(0, place - WINDOW // 2) : place + WINDOW // 2 + 1]
    asked = [moment.provider for moment in around if moment.provider is not None]
    return asked.count(name) / max(len(asked), 1)


def _draw_posteriors(axes: "Axes", moments: Sequence[Moment], names: Sequence[str]) -> None:
    """Draws the mean of each posterior, with the band in which nine tenths of it lie."""
    from scipy.stats import beta

    places = list(range(0, len(moments), STEP))
    ends: list[tuple[float, str, str]] = []
    for name, colour in zip(names, COLOURS, strict=False):
        known = [moments[place].known.get(name, (1.0, 1.0)) for place in places]
        means = [a / (a + b) for a, b in known]
        low, high = beta.ppf(0.05, *zip(*known, strict=True)), beta.ppf(0.95, *zip(*known, strict=True))
        axes.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(places, means, color=colour, linewidth=1.6)
        ends.append((means[-1], name, colour))
    above = 1.05
    for mean, name, colour in sorted(ends, reverse=True):  # beside the end of its line, and not on top of another
        above = min(mean, above - 0.08)
        axes.annotate(name, (places[-1], above), xytext=(6, 0), textcoords="offset points", color=colour, va="center")
    axes.set(ylim=(0, 1), ylabel="chance to answer\n(posterior, 90 %)")


def _draw_quarantines(axes: "Axes", moments: Sequence[Moment], names: Sequence[str]) -> None:
    """Draws when each provider was out."""
    for row, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        spans: list[tuple[int, int]] = []
        for place, moment in enumerate(moments):
            if name not in moment.out:
                continue
            if spans and sum(spans[-1]) == place:
                spans[-1] = (spans[-1][0], spans[-1][1] + 1)
            else:
                spans.append((place, 1))
        axes.broken_barh(spans, (row - 0.35, 0.7), color=colour)
    axes.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), ylabel="out")
    axes.set_yticklabels(names)
