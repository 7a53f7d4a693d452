"""Lets routing policies earn on simulated providers, many times at once, and tells what they missed.

The arithmetic is that of the posteriors (`fold`, `evidence`), over arrays: one row for each repetition. A test plays
some repetitions through the folds themselves and finds the same choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...engine import InvalidOption
from .forgetting import Forgetting, Way, forgetting_of

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """How good each provider is at each step, and after how many steps one hears of it."""

    name: str
    means: NDArray[Any]
    """Steps × providers: the probability of a good answer."""
    delay: int = 0
    """Outcomes come so many steps later."""

    def __post_init__(self) -> None:
        import numpy as np

        means = np.asarray(self.means, dtype=float)
        if means.ndim != 2 or not means.size or not bool(((means >= 0) & (means <= 1)).all()):
            raise InvalidOption("means", self.means, "a table, steps × providers, of probabilities")
        if isinstance(self.delay, bool) or not isinstance(self.delay, int) or self.delay < 0:
            raise InvalidOption("delay", self.delay, "a whole number from 0")
        object.__setattr__(self, "means", means)

    @property
    def steps(self) -> int:
        return int(self.means.shape[0])

    @property
    def providers(self) -> int:
        return int(self.means.shape[1])

    def stream(self, repetitions: int, rng: Generator) -> NDArray[Any]:
        """Returns what each provider would have given at each step of each repetition: every policy sees the same."""
        return rng.random((repetitions, self.steps, self.providers)) < self.means

    def regret(self, choices: NDArray[Any]) -> NDArray[Any]:
        """Returns what was missed up to each step, beside an oracle that knows who is best."""
        import numpy as np

        taken = np.take_along_axis(self.means[None], choices[..., None], axis=2)[..., 0]
        return np.asarray(np.cumsum(self.means.max(axis=1) - taken, axis=1))


def stationary(means: Sequence[float], steps: int = 1_000) -> World:
    """Returns a world in which nobody changes."""
    import numpy as np

    return World("stationary", np.tile(np.asarray(means, dtype=float), (steps, 1)))


def delayed(means: Sequence[float], steps: int = 1_000, delay: int = 50) -> World:
    """Returns a world in which nobody changes and outcomes are long in coming."""
    return World("delayed", stationary(means, steps).means, delay)


def drifting(phases: Sequence[Sequence[float]], steps: int = 1_000) -> World:
    """Returns a world that changes abruptly: each phase takes an equal part of the steps."""
    import numpy as np

    parts = np.array_split(np.arange(steps), len(phases))
    means = [np.tile(np.asarray(phase, dtype=float), (len(part), 1)) for phase, part in zip(phases, parts, strict=True)]
    return World("drifting", np.concatenate(means))


def failing(means: Sequence[float], steps: int = 1_000, *, provider: int = 0, outages: int = 2) -> World:
    """Returns a world in which one provider gives nothing for some parts of the time."""
    table = stationary(means, steps).means.copy()
    length = steps // (2 * outages + 1)
    for outage in range(outages):
        start = (2 * outage + 1) * length
        table[start : start + length, provider] = 0.0
    return World("failing", table)


def play(world: World, stream: NDArray[Any], rng: Generator, forgetting: Forgetting | Way = "none") -> NDArray[Any]:
    """Returns whom Thompson sampling chooses at each step of each repetition.

    ```python
    import numpy as np

    from quiesce.suggestors.routing import play, stationary

    world = stationary([0.9, 0.5], steps=200)
    stream = world.stream(50, np.random.default_rng(1))
    choices = play(world, stream, np.random.default_rng(2))
    assert world.regret(choices)[:, -1].mean() < 12          # at random it were 40
    ```
    """
    import numpy as np

    repetitions, rows = stream.shape[0], np.arange(stream.shape[0])
    learned = _Learned(repetitions, world.providers, forgetting_of(forgetting))
    choices = np.zeros((repetitions, world.steps), dtype=np.int64)
    for step in range(world.steps):
        heard = step - 1 - world.delay
        if heard >= 0:
            arm = choices[:, heard]
            learned.fold(rows, arm, stream[rows, heard, arm].astype(float), float(step - 1))
        successes, failures = learned.evidence()
        choices[:, step] = rng.beta(1 + successes, 1 + failures).argmax(axis=1)
    return choices


class _Learned:
    """The posteriors of many repetitions."""

    def __init__(self, repetitions: int, providers: int, forgetting: Forgetting) -> None:
        import numpy as np

        self.forgetting = forgetting
        shape = (repetitions, providers)
        self.successes, self.failures = np.zeros(shape), np.zeros(shape)
        self.last = np.zeros(shape)  # steps begin at 0; before its first outcome a provider has nothing to age
        size = forgetting.size if forgetting.way == "window" else 0
        self.recent = np.zeros((*shape, size))
        self.recent_at = np.full((*shape, size), -np.inf)
        self.count = np.zeros(shape, dtype=np.int64)

    def fold(self, rows: NDArray[Any], arm: NDArray[Any], reward: NDArray[Any], at: float) -> None:
        """Takes one outcome for each repetition."""
        at_arm, old = (rows, arm), 1.0
        if self.forgetting.way == "discount":
            old = self._weight(at - self.last[at_arm])
        self.successes[at_arm] = self.successes[at_arm] * old + reward
        self.failures[at_arm] = self.failures[at_arm] * old + 1 - reward
        self.last[at_arm] = at
        if self.forgetting.way == "window":
            place = self.count[at_arm] % self.forgetting.size
            full = self.count[at_arm] >= self.forgetting.size
            gone = self.recent[rows, arm, place]
            self.successes[at_arm] -= full * gone
            self.failures[at_arm] -= full * (1 - gone)
            self.recent[rows, arm, place] = reward
            self.recent_at[rows, arm, place] = at
        self.count[at_arm] += 1

    def evidence(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns what counts now."""
        now = self.last.max(axis=1, keepdims=True)
        if self.forgetting.way == "window" and self.forgetting.span is not None:
            live = self.recent_at > (now - self.forgetting.span)[..., None]
            successes = (self.recent * live).sum(axis=2)
            return successes, live.sum(axis=2) - successes
        if self.forgetting.way != "discount":
            return self.successes, self.failures
        weight = self._weight(now - self.last)
        return self.successes * weight, self.failures * weight

    def _weight(self, age: Any) -> Any:
        return 0.5 ** (age / self.forgetting.half_life)
