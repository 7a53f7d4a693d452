"""Says how the arms of contextual policies stand in a state file, and reads them, whatever has become of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

from ...facts.errors import shown
from .linear_arm import Sums
from .state_file import Unreadable
from .stored_beta import BetaCodec, entries

LARGEST = 1e9
"""Numbers in matrices and vectors are brought into this range, on either side of 0."""


class LinearKnown(NamedTuple):
    """All that a contextual policy knows, as a value."""

    arms: Mapping[str, Sums]
    updates: int
    distributions: Mapping[str, tuple[float, float]]


class LinearCodec:
    """How arms stand in a file: as zeph writes them, and the distributions to fall back on beside them."""

    kind, version, limit = "linear", 1, 512 * 2**20

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def read(self, document: dict[str, Any], problems: list[str]) -> LinearKnown:
        dim, updates = document.get("dim"), document.get("total_updates")
        if not isinstance(document.get("arms"), dict):
            raise Unreadable("it has no object of arms")
        if dim != self.dim:
            raise Unreadable(f"it is for {shown(dim)} features, not {self.dim}")
        arms = dict(entries(document, "arms", problems, self._read_arm))
        if isinstance(updates, bool) or not isinstance(updates, int) or not 0 <= updates <= 2**53:
            problems.append(f"total_updates is {shown(updates)}, not a whole number from 0; that of the arms counts")
            updates = sum(arm.pulls for arm in arms.values())
        distributions: Mapping[str, tuple[float, float]] = {}
        if "distributions" in document:  # not in a file of zeph's
            try:
                distributions = BetaCodec().read(document, problems)
            except Unreadable as why:
                problems.append(f"{why}; those are begun with the prior")
        return LinearKnown(arms, updates, distributions)

    def write(self, value: LinearKnown) -> dict[str, Any]:
        return {
            "dim": self.dim,
            "total_updates": value.updates,
            "arms": {name: self._write_arm(sums) for name, sums in sorted(value.arms.items())},
            **BetaCodec().write(value.distributions),
        }

    def _write_arm(self, sums: Sums) -> dict[str, Any]:
        import numpy as np

        a = np.clip(sums.seen + np.eye(self.dim), -LARGEST, LARGEST)
        earned = np.clip(sums.earned, -LARGEST, LARGEST)
        return {
            "a_matrix": a.ravel().tolist(),
            "b_vector": earned.tolist(),
            "n": sums.pulls,
            "total_reward": sums.reward,
        }

    def _read_arm(self, entry: dict[str, Any], where: str, problems: list[str]) -> Sums | None:
        import numpy as np

        a, b = _numbers(entry.get("a_matrix"), self.dim**2), _numbers(entry.get("b_vector"), self.dim)
        pulls, reward = entry.get("n"), entry.get("total_reward")
        if a is None or b is None:
            problems.append(
                f"{where} has no matrix or vector of finite numbers for {self.dim} features; it was left out"
            )
            return None
        if isinstance(pulls, bool) or not isinstance(pulls, int) or not 0 <= pulls <= 2**53:
            problems.append(f"{where} has {shown(pulls)} for n, not a whole number from 0; it was left out")
            return None
        if isinstance(reward, bool) or not isinstance(reward, (int, float)) or not isfinite(reward):
            problems.append(f"{where} has {shown(reward)} for total_reward, not a finite number; it counts as 0")
            reward = 0.0
        square = a.reshape(self.dim, self.dim)
        square = (square + square.T) / 2
        if np.linalg.eigvalsh(square)[0] < 0.999:
            problems.append(f"{where} has a matrix that is no sum of I and squares; it was left out")
            return None
        return Sums(square - np.eye(self.dim), b, pulls, float(reward))


def _numbers(given: object, count: int) -> Any:
    """Returns so many finite numbers as an array; None if that is not what is given."""
    import numpy as np

    if not isinstance(given, list) or len(given) != count:
        return None
    if not {type(one) for one in given} <= {int, float}:
        return None
    found = np.array(given, dtype=np.float64)
    return np.clip(found, -LARGEST, LARGEST) if np.isfinite(found).all() else None
