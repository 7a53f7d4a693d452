"""Says which of several backends that can do the same is preferred: a weighted sum of what they cost and are like."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from ...engine import InvalidOption
from ...engine.options import is_number
from .payloads import COST_CLASSES, Backend

DEAREST = len(COST_CLASSES) - 1
RANKS = {name: place / DEAREST for place, name in enumerate(COST_CLASSES)}


@dataclass(frozen=True, slots=True)
class Policy:
    """Weighs backends: the lowest sum is preferred. It never costs a match: as many slots as can be are filled first.

    ```python
    from quiesce.suggestors import Backend, Policy

    policy = Policy(cost=1, latency=0.1, means={"openai": 0.9})
    policy.score(Backend(name="openai", kind="llm", cost_class="low", latency_ms=800))   # 0.4 + 0.08 + 0.1
    ```

    Raises:
        InvalidOption: a weight or load is no finite number from 0, or a mean is not in [0, 1].
    """

    cost: float = 1.0
    """Times the cost class, from 0 for free to 1 for very_high in equal steps."""
    latency: float = 0.0
    """Times the latency in seconds."""
    quality: float = 0.0
    """Times what quality lacks to 1."""
    mean: float = 1.0
    """Times what the mean in `means` lacks to 1."""
    load: float = 1.0
    """Times the load in `loads`."""
    means: Mapping[str, float] = field(default_factory=dict)
    """By backend: how often it does well, as a posterior's mean."""
    unknown_mean: float = 0.5
    """What is taken for the mean of a backend that is not in `means`."""
    loads: Mapping[str, float] = field(default_factory=dict)
    """By backend: how busy it is; 0 where nothing is said."""

    def __post_init__(self) -> None:
        for name in ("cost", "latency", "quality", "mean", "load"):
            _check(f"Policy({name}=…)", getattr(self, name), math.inf)
        _check("Policy(unknown_mean=…)", self.unknown_mean, 1)
        for name, most in (("means", 1), ("loads", math.inf)):
            given = getattr(self, name)
            if not isinstance(given, Mapping):
                raise InvalidOption(f"Policy({name}=…)", given, "a mapping from the names of backends to numbers")
            for backend, value in given.items():
                _check(f"Policy({name}=…)[{backend!r:.60}]", value, most)
            object.__setattr__(self, name, dict(given))  # its own: what the caller changes later changes no choice

    def score(self, backend: Backend) -> float:
        """Returns the weighted sum of a backend; lower is better."""
        return sum(value for _, value in self.terms(backend))

    def terms(self, backend: Backend) -> Iterator[tuple[str, float]]:
        """Yields what the sum is made of, by name."""
        yield "cost", self.cost * RANKS[backend.cost_class]
        yield "latency", self.latency * (backend.latency_ms / 1_000)
        yield "quality", self.quality * (1 - backend.quality)
        yield "mean", self.mean * (1 - self.means.get(backend.name, self.unknown_mean))
        yield "load", self.load * self.loads.get(backend.name, 0.0)

    def fingerprint(self) -> str:
        """Returns a short digest: the same for policies that prefer the same."""
        weights = (self.cost, self.latency, self.quality, self.mean, self.load, self.unknown_mean)
        said = [*map(float, weights), _sorted(self.means), _sorted(self.loads)]
        return sha256(repr(said).encode()).hexdigest()[:12]


def _sorted(numbers: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted((name, float(number)) for name, number in numbers.items())


def _check(what: str, value: object, most: float) -> None:
    if not (is_number(value) and 0 <= value <= most and value < math.inf):
        raise InvalidOption(
            what, value, f"a number from 0 to {most:g}" if most < math.inf else "a finite number from 0"
        )
