"""Bounds a run: cycles, facts, seconds, tokens, cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .errors import InvalidOption


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may use; None is no limit. Each is checked before an overshoot is committed.

    A run counts what it has used over all its resumptions, except seconds, which count from the last start or resume.
    """

    cycles: int | None = 1_000
    facts: int | None = 1_000_000
    """Promoted in the run, inputs counted."""
    seconds: float | None = None
    """The only limit by which two runs of the same input can differ."""
    tokens: int | None = None
    """As reported by `propose(…, tokens=…)`."""
    cost: float | None = None
    """As reported by `propose(…, cost=…)`."""

    def __post_init__(self) -> None:
        for name in ("cycles", "facts", "seconds", "tokens", "cost"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise InvalidOption(f"Budget.{name}", value, "a number from 0, or None for no limit")

    def to_json(self) -> dict[str, Any]:
        """Returns the limits as the JSON data that a log keeps."""
        return {name: getattr(self, name) for name in ("cycles", "facts", "seconds", "tokens", "cost")}
