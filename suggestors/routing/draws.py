"""Draws from beta distributions, also where floats cannot tell one draw from the other.

Of a beta distribution with parameters near 0, most draws are closer to 0 or 1 than any float: two of them would be the
same number, and which of them is larger would be decided by chance, not by their distributions. There the log-odds
are drawn instead, log(x / (1 - x)), which stay apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...engine import InvalidOption

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

LEAST, MOST = 0.5, 1e9
"""Where all parameters are in this range, two draws are the same about once in 10⁸ times: floats will do."""


def check_rng(rng: object) -> None:
    """Refuses what is no generator of numpy, as Python's own `random.Random`; loads nothing, since each choice asks."""
    if not hasattr(rng, "integers"):
        raise InvalidOption("rng", rng, "a numpy Generator. Write: numpy.random.default_rng(7)")


def is_plain(alpha: float, beta: float) -> bool:
    """Tells whether draws from a distribution can be told apart as floats."""
    return LEAST <= alpha <= MOST and LEAST <= beta <= MOST


def draw_log_odds(alpha: NDArray[Any], beta: NDArray[Any], rng: Generator, rows: int) -> NDArray[Any]:
    """Returns so many rows of draws, one for each distribution, as log-odds.

    The generator is asked for the gamma variates of all rows, first those of each alpha, then those of each beta, and
    then for as many exponential ones.
    """
    import numpy as np

    shapes = np.concatenate([alpha, beta])
    small = shapes < 1.0
    gammas = np.log(rng.standard_gamma(shapes + small, size=(rows, len(shapes))))
    gammas -= rng.standard_exponential((rows, len(shapes))) * (small / shapes)  # log U / a takes a + 1 down to a
    return gammas[:, : len(alpha)] - gammas[:, len(alpha) :]


def from_log_odds(odds: float) -> float:
    """Returns the probability that has these log-odds."""
    from math import exp

    return 1.0 / (1.0 + exp(-odds)) if odds > -700.0 else 0.0
