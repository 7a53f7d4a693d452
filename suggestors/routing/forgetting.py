"""Lets evidence of long ago count less: providers change, and what was true of them last month may not be today.

Four ways, chosen by name:

- `none`: every outcome counts the same, for good.
- `reset`: so, until severe drift is found; then a provider starts again from the prior.
- `discount`: an outcome counts half after a half-life, a quarter after two. Age is told by `Outcome.at`; an outcome
  that does not say when it ended makes those of its provider before it older by one step.
- `window`: the latest outcomes of a provider count, the others do not; with `span`, only those of so long ago. Who has
  not been chosen for that long is as good as unknown, and is tried again.

Without forgetting and with resets, what is known does not depend on the order in which outcomes came, to the last bit:
rewards are counted in steps of 2⁻²⁰ and costs in steps of 2⁻³⁰, whose sums floats hold exactly. The same is true of a
window if every outcome says when it ended. Discounted sums are the same up to rounding (1e-9 of their size); without
times, an order is what "latest" means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ...engine import InvalidOption
from .payloads import MOST_COST, MOST_OUTCOMES, Posterior

Way = Literal["none", "discount", "window", "reset"]
WAYS: tuple[Way, ...] = ("none", "discount", "window", "reset")

REWARD_STEP = 2.0**-20
COST_STEP = 2.0**-30


@dataclass(frozen=True, slots=True)
class Forgetting:
    """How evidence ages.

    ```python
    from quiesce.suggestors import Forgetting

    slowly = Forgetting("discount", half_life=7 * 24 * 3600)
    assert slowly.weight(14 * 24 * 3600) == 0.25
    ```
    """

    way: Way = "none"
    half_life: float = 86_400.0
    """After how long an outcome counts half, in the unit of `Outcome.at` (seconds)."""
    steps: float = 200.0
    """After how many later outcomes of its provider it counts half, where outcomes do not say when they ended."""
    size: int = 200
    """How many outcomes a window holds."""
    span: float | None = None
    """How long they count, in the unit of `Outcome.at`; None: until others take their place."""

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise InvalidOption("forgetting", self.way, f"one of {', '.join(WAYS)}")
        for name in ("half_life", "steps", "span"):
            value = getattr(self, name)
            if name == "span" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise InvalidOption(name, value, "a finite number over 0")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or not 1 <= self.size <= 10_000:
            raise InvalidOption("size", self.size, "a whole number from 1 to 10,000")

    def weight(self, age: float | None) -> float:
        """Returns what an outcome of this age still counts; None: an age of one step."""
        if self.way != "discount":
            return 1.0
        lives = 1 / self.steps if age is None else max(age, 0.0) / self.half_life
        return float(0.5**lives)


def forgetting_of(said: Forgetting | Way) -> Forgetting:
    """Returns a way of forgetting by its name.

    Raises:
        InvalidOption: there is none of that name.
    """
    return said if isinstance(said, Forgetting) else Forgetting(said)


class Evidence(NamedTuple):
    """What counts now: sums of rewards and of what they lack to 1, and the same for quality."""

    successes: float = 0.0
    failures: float = 0.0
    quality_successes: float = 0.0
    quality_failures: float = 0.0

    @property
    def weight(self) -> float:
        """How many outcomes it is worth."""
        return self.successes + self.failures


NOTHING = Evidence()


def evidence(posterior: Posterior | None, forgetting: Forgetting, now: float | None = None) -> Evidence:
    """Returns what a posterior says at a moment; `now` is in the unit of `Outcome.at`, and by default its last one."""
    if posterior is None:
        return NOTHING
    successes, failures, weight = posterior.successes, posterior.failures, 1.0
    if forgetting.way == "window" and forgetting.span is not None and now is not None:
        live = [
            reward
            for reward, at in zip(posterior.recent, posterior.recent_at, strict=True)
            if at is None or at > now - forgetting.span
        ]
        successes, failures = sum(live), len(live) - sum(live)
    if forgetting.way == "discount" and now is not None and posterior.last is not None:
        weight = forgetting.weight(now - posterior.last)
    return Evidence(
        _counting(successes) * weight,
        _counting(failures) * weight,
        _counting(posterior.quality_successes),
        _counting(posterior.quality_failures),
    )


def _counting(total: float) -> float:
    return min(max(total, 0.0), MOST_OUTCOMES)


def in_steps(value: float, step: float) -> float:
    """Returns the nearest multiple of a step, which sums of such multiples hold exactly."""
    return min(round(value / step) * step, MOST_COST) if value < MOST_COST else MOST_COST


def grown(total: float, more: float) -> float:
    """Returns a sum of costs that stops growing where a float would not hold it exactly any more."""
    return min(total + more, MOST_COST)
