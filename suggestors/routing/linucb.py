"""Chooses by the features of a request, and in doubt for the provider of which less is known: LinUCB."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from ...engine import InvalidOption
from .beta import as_float
from .linear_state import LinearState

if TYPE_CHECKING:
    from numpy.random import Generator


class LinUCB(LinearState):
    """Chooses the provider with the greatest θᵀx + alpha √(xᵀA⁻¹x): what it can be expected to earn, and a bonus.

    The bonus shrinks as requests like this one have been seen. Where two are equal, the lesser name is chosen: after
    the warm-up nothing is drawn. Both the options and what is kept are those of `LinearState`.

    ```python
    from numpy.random import default_rng
    from quiesce.suggestors import LinUCB

    bandit, rng = LinUCB(2, warmup=10), default_rng(3)
    code, prose = [1.0, 0.0], [0.0, 1.0]
    for _ in range(40):
        for request, expert in ((code, "coder"), (prose, "writer")):
            choice = bandit.select(["coder", "writer"], request, rng)
            bandit.update(choice.provider, request, success=choice.provider == expert)
    assert bandit.select(["coder", "writer"], code, rng).provider == "coder"
    assert bandit.select(["coder", "writer"], prose, rng).provider == "writer"
    ```
    """

    policy = "linucb"

    def __init__(self, dim: int = 32, *, alpha: float = 1.0, warmup: int = 100, decay: float = 1.0) -> None:
        super().__init__(dim, warmup=warmup, decay=decay)
        if not 0.0 <= as_float(alpha) < inf:
            raise InvalidOption("alpha", alpha, "a finite number from 0")
        self.alpha = float(alpha)
        """How much doubt counts."""

    def _scores(self, known: Sequence[tuple[float, float]], rng: Generator) -> list[float]:  # noqa: ARG002
        return [mean + self.alpha * spread for mean, spread in known]

    def _settings(self) -> tuple[Any, ...]:
        return (*super()._settings(), self.alpha)
