"""Draws docs/pictures/routing-state.svg: what the first example of docs/routing-state.md has learned, and how.

.venv/bin/python docs/pictures/routing-state.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from scipy.stats import beta as beta_distribution

from quiesce.suggestors.routing.thompson import ThompsonState

mpl.use("Agg")
mpl.rcParams.update(
    {"svg.hashsalt": "routing-state", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}
)

WORKS = {"claude": 0.95, "gpt": 0.9, "llama": 0.6}
COLOURS = {"claude": "#3b82f6", "gpt": "#d97706", "llama": "#12936b"}
GREY = "#80868f"  # each is readable on white and on black


def main() -> None:
    """Plays the example and draws distributions on the left, shares of requests on the right."""
    state, rng = ThompsonState(), np.random.default_rng(7)
    chosen = []
    for _ in range(300):
        choice = state.select(list(WORKS), rng)
        assert choice is not None
        state.update(choice.provider, success=bool(rng.random() < WORKS[choice.provider]))
        chosen.append(choice.provider)

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.0))
    at = np.linspace(0.2, 1, 321)
    for name, alpha, beta in state.provider_stats():
        density = beta_distribution.pdf(at, alpha, beta)
        left.plot(at, density, color=COLOURS[name], linewidth=1.8)
        left.axvline(WORKS[name], color=COLOURS[name], linewidth=0.9, linestyle=":")
        top = int(density.argmax())
        text, above = f"{name}, {alpha + beta - 2:.0f} answers", -14 if name == "claude" else 2
        left.annotate(
            text, (at[top], density[top]), (-7, above), textcoords="offset points", ha="right", color=COLOURS[name]
        )
        counted = np.cumsum([one == name for one in chosen])
        share = [100 * counted[: step + 1][-1] / (step + 1) for step in range(len(chosen))]
        right.plot(range(1, 301), share, color=COLOURS[name], linewidth=1.8)
        right.annotate(f"{name}  {share[-1]:.0f} %", (300, share[-1]), (4, 0), textcoords="offset points",
                       va="center", color=COLOURS[name])  # fmt: skip
    left.set_title("how often it works: what is known (dotted: what is so)", color=GREY, fontsize=9.5, loc="left")
    right.set_title("share of the requests so far, %", color=GREY, fontsize=9.5, loc="left")
    left.set_yticks([])
    right.set_ylim(0, 100)
    right.set_xlabel("requests", color=GREY)
    left.set_xlabel("probability", color=GREY)
    for axes in (left, right):
        axes.tick_params(colors=GREY)
        axes.spines[["top", "right"]].set_visible(False)
        for spine in axes.spines.values():
            spine.set_color(GREY)
    figure.tight_layout(w_pad=3.0)
    figure.savefig(Path(__file__).with_suffix(".svg"), transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    main()
