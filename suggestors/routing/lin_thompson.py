"""Chooses by the features of a request, and by chance where little is known of it: linear Thompson sampling."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from ...engine import InvalidOption
from .beta import as_float
from .linear_state import LinearState

if TYPE_CHECKING:
    from numpy.random import Generator


class LinearThompson(LinearState):
    """Draws what each provider may earn from a normal distribution, mean θᵀx, deviation v √(xᵀA⁻¹x); the largest wins.

    That is a draw of θ itself from N(θ, v² A⁻¹), looked at in the direction of the request. The generator is asked once
    for a standard normal variate of each candidate, in the given order. Options, state and files are those of
    `LinUCB`, with `v` in the place of `alpha`: each can load what the other has saved.
    """

    policy = "linear-thompson"

    def __init__(self, dim: int = 32, *, v: float = 0.5, warmup: int = 100, decay: float = 1.0) -> None:
        super().__init__(dim, warmup=warmup, decay=decay)
        if not 0.0 <= as_float(v) < inf:
            raise InvalidOption("v", v, "a finite number from 0")
        self.v = float(v)
        """How much doubt counts."""

    def _scores(self, known: Sequence[tuple[float, float]], rng: Generator) -> list[float]:
        normal = rng.standard_normal(len(known)).tolist()
        return [mean + self.v * spread * drawn for (mean, spread), drawn in zip(known, normal, strict=True)]

    def _settings(self) -> tuple[Any, ...]:
        return (*super()._settings(), self.v)
