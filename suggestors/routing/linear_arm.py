"""Predicts what a provider earns on a request from the request's features: a ridge regression that learns one by one.

With A = I + the sum of x xᵀ and b = the sum of r x over what was seen, θ = A⁻¹ b predicts the reward θᵀx, and
√(xᵀA⁻¹x) says how little is known about requests like this one: 1 for a unit vector in a direction never seen.
A⁻¹ and θ are moved on by a rank-one update (Sherman and Morrison's formula), so an update costs d², not d³ steps. What
rounding makes of that is watched in the direction of every update, and A is inverted anew where it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

from ...engine import InvalidOption

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_DIM = 256
DRIFT = 1e-9
"""A is inverted anew where A A⁻¹x differs from x by more than this."""


def check_dim(dim: object) -> int:
    """Returns how many features count; refuses what is out of range."""
    if isinstance(dim, bool) or not isinstance(dim, int) or not 1 <= dim <= MOST_DIM:
        raise InvalidOption("dim", dim, f"a whole number from 1 to {MOST_DIM}")
    return dim


def unit_features(embedding: Sequence[float] | NDArray[Any] | None, dim: int) -> NDArray[Any] | None:
    """Returns the first `dim` components of an embedding, scaled to length 1.

    None for an embedding that is too short, zero there, or holds something that is not finite there.

    ```python
    from quiesce.suggestors.routing import unit_features

    assert unit_features([3.0, 4.0, 9.0], 2).tolist() == [0.6, 0.8]
    assert unit_features([0.0, 0.0, 9.0], 2) is None
    ```
    """
    import numpy as np

    if embedding is None:
        return None
    try:
        whole = np.asarray(embedding, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InvalidOption("embedding", embedding, "a sequence of numbers") from None
    if whole.ndim != 1:
        raise InvalidOption("embedding", embedding, "a sequence of numbers")
    if len(whole) < dim:
        return None
    part = whole[:dim]
    largest = np.abs(part).max()
    if not 0.0 < largest < np.inf:
        return None
    part = part / largest  # the square of 1e200 is no float
    unit: NDArray[Any] = part / sqrt(part @ part)
    return unit


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What an arm knows, as a value: the same order of sums as in a file."""

    seen: NDArray[Any]
    """A - I."""
    earned: NDArray[Any]
    """b."""
    pulls: int = 0
    reward: float = 0.0

    def __eq__(self, other: object) -> bool:
        import numpy as np

        if not isinstance(other, Sums):
            return NotImplemented
        same = np.array_equal(self.seen, other.seen) and np.array_equal(self.earned, other.earned)
        return same and (self.pulls, self.reward) == (other.pulls, other.reward)

    __hash__ = None  # type: ignore[assignment]  # arrays have none


class LinearArm:
    """What one provider earns, by the features of the request."""

    __slots__ = ("a", "b", "inverse", "pulls", "reward", "theta")

    def __init__(self, dim: int) -> None:
        import numpy as np

        self.a = np.eye(dim)
        self.inverse = np.eye(dim)
        self.b, self.theta = np.zeros(dim), np.zeros(dim)
        self.pulls, self.reward = 0, 0.0

    @classmethod
    def of(cls, sums: Sums) -> LinearArm:
        """Returns an arm that knows so much."""
        arm = cls(len(sums.earned))
        arm.a += sums.seen
        arm.b += sums.earned
        arm.pulls, arm.reward = sums.pulls, sums.reward
        arm.invert()
        return arm

    @property
    def sums(self) -> Sums:
        """What it knows, as a value."""
        import numpy as np

        return Sums(self.a - np.eye(len(self.b)), self.b.copy(), self.pulls, self.reward)

    def predict(self, x: NDArray[Any]) -> tuple[float, float]:
        """Returns the reward to expect, θᵀx, and how little is known of it, √(xᵀA⁻¹x)."""
        return float(self.theta @ x), sqrt(max(float(x @ self.inverse @ x), 0.0))

    def update(self, x: NDArray[Any], reward: float) -> None:
        """Learns what a request with these features has earned."""
        moved = self.inverse @ x
        if abs(self.a @ moved - x).max() > DRIFT:
            self.invert()
            moved = self.inverse @ x
        self.a += x[:, None] * x
        self.b += reward * x
        scaled = moved / (1.0 + float(moved @ x))
        self.theta += (reward - float(self.theta @ x)) * scaled
        self.inverse -= moved[:, None] * scaled
        self.pulls += 1
        self.reward += reward

    def decay(self, factor: float) -> None:
        """Brings it nearer to a fresh arm: A becomes I + d (A - I), b becomes d b."""
        import numpy as np

        fresh = np.eye(len(self.b))
        self.a = fresh + factor * (self.a - fresh)
        self.b *= factor
        self.invert()

    def invert(self) -> None:
        """Makes A⁻¹ and θ anew."""
        import numpy as np

        inverse = np.linalg.inv(self.a)
        self.inverse = (inverse + inverse.T) / 2
        self.theta = self.inverse @ self.b
