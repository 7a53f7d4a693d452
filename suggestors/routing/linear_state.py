"""Keeps what was learned of each provider by the features of requests; policies that choose by it share it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ...engine import InvalidOption
from .beta import Beta
from .draws import check_rng
from .linear_arm import LinearArm, Sums, check_dim, unit_features
from .shared_state import SharedState, Since, check_name, decay_factor, gained, merged_entries, names_of
from .stored_linear import LinearCodec, LinearKnown
from .thompson import ThompsonState

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray


class LinearSelection(NamedTuple):
    """Who was chosen for a request with features, and why."""

    provider: str
    score: float
    """By what it was the best."""
    mean: float
    """What it can be expected to earn."""
    spread: float
    """How little is known of that."""
    exploit: bool
    """Its mean is at least that of every candidate."""
    policy: str
    """"linucb" or "linear-thompson"; "thompson" during the warm-up, and for requests without features."""


class LinearStats(NamedTuple):
    """What is known of one provider."""

    provider: str
    pulls: int
    mean_reward: float


class LinearState(SharedState[LinearKnown]):
    """What both contextual policies share: an arm for each provider, and a Thompson state to fall back on.

    Every outcome teaches both, so the fallback is no stranger when it is needed. `dim` is how many components of an
    embedding count, from 1 to 256; `warmup` is how many updates with features there have to be before features decide;
    `decay` is by how much a session brings all of it nearer to the prior (see `decay()`), clamped to (0, 1].
    """

    policy: str

    def __init__(self, dim: int = 32, *, warmup: int = 100, decay: float = 1.0) -> None:
        super().__init__()
        if isinstance(warmup, bool) or not isinstance(warmup, int) or warmup < 0:
            raise InvalidOption("warmup", warmup, "a whole number from 0")
        self.dim, self.warmup, self.decay_factor = check_dim(dim), warmup, decay_factor(decay)
        self.codec = LinearCodec(dim)
        self.updates = 0
        """How many outcomes with features were counted, of whatever provider."""
        self.thompson = ThompsonState()
        """What it falls back on."""
        self._arms: dict[str, LinearArm] = {}

    def select(
        self, providers: Iterable[str], embedding: Sequence[float] | NDArray[Any] | None, rng: Generator
    ) -> LinearSelection | None:
        """Returns who is to answer a request with this embedding; None if there is no candidate.

        A provider without outcomes counts as a fresh arm. During the warm-up, and without usable features (see
        `unit_features`), it is chosen as `ThompsonState.select` does.
        """
        check_rng(rng)
        names = names_of(providers)
        x = unit_features(embedding, self.dim)
        with self._lock:
            if not names:
                return None
            if x is None or self.updates < self.warmup:
                return self._fall_back(names, rng)
            known = [arm.predict(x) if (arm := self._arms.get(name)) is not None else (0.0, 1.0) for name in names]
        scores = self._scores(known, rng)
        best = max(scores)
        name, place = min((names[place], place) for place, score in enumerate(scores) if score == best)
        mean, spread = known[place]
        return LinearSelection(name, best, mean, spread, mean >= max(known)[0], self.policy)

    @abstractmethod
    def _scores(self, known: Sequence[tuple[float, float]], rng: Generator) -> list[float]:
        """Returns what each candidate is compared by, from what it can be expected to earn and how little is known."""

    def update(
        self,
        provider: str,
        embedding: Sequence[float] | NDArray[Any] | None,
        success: bool | None = None,
        *,
        reward: float | None = None,
    ) -> bool:
        """Counts one outcome: a success, a failure (it teaches as much), or a reward from 0 to 1.

        Returns whether the features taught something; if not, the fallback has learned alone.
        """
        earned = gained(success, reward)
        x = unit_features(embedding, self.dim)
        with self._lock:
            self.thompson.update(check_name(provider), reward=earned)
            if x is None:
                return False
            arm = self._arms.get(provider)
            if arm is None:
                arm = self._arms[provider] = LinearArm(self.dim)
            arm.update(x, earned)
            self.updates += 1
            return True

    def decay(self) -> None:
        """Brings all that is known nearer to the prior, as is to be done once a session."""
        with self._lock:
            for arm in self._arms.values():
                arm.decay(self.decay_factor)
            self.thompson.decay(self.decay_factor)
            self._note_decay(self.decay_factor)

    def prune(self, known: Iterable[str]) -> dict[str, Beta]:
        """Forgets every provider that is not among `known`, also in files at the next save; returns what it forgot."""
        kept = set(names_of(known))
        with self._lock:
            gone = self.thompson.prune(kept)
            self._arms = {name: arm for name, arm in self._arms.items() if name in kept}
            self._note_gone(gone)
        return gone

    def provider_stats(self) -> list[LinearStats]:
        """Returns how often each provider has answered a request with features, and its mean reward; sorted by name."""
        with self._lock:
            return [LinearStats(name, arm.pulls, _mean(arm)) for name, arm in sorted(self._arms.items())]

    def predict(self, provider: str, embedding: Sequence[float] | NDArray[Any]) -> tuple[float, float] | None:
        """Returns what a provider can be expected to earn, and how little is known of it; None without features."""
        x = unit_features(embedding, self.dim)
        with self._lock:
            if x is None:
                return None
            arm = self._arms.get(provider)
            return (0.0, 1.0) if arm is None else arm.predict(x)

    @classmethod
    def load(cls, path: str | Path, *args: Any, **options: Any) -> Self:
        """Returns the state that a file holds, as `ThompsonState.load` does; the options are those of the class.

        A file for another `dim` is set aside. Reads zeph's `router_bandit_state.json`, too.
        """
        return cls(*args, **options)._load(path)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LinearState):
            return NotImplemented
        return self._settings() == other._settings() and self._value() == other._value()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        told = ", ".join(f"{known.provider}: {known.mean_reward:.2f}" for known in self.provider_stats())
        return f"<{type(self).__name__} {told or 'that knows nothing'}>"

    def _settings(self) -> tuple[Any, ...]:
        return (type(self), self.dim, self.warmup, self.decay_factor)

    def _fall_back(self, names: tuple[str, ...], rng: Generator) -> LinearSelection | None:
        chosen = self.thompson.select(names, rng)
        if chosen is None:
            return None
        known = Beta(chosen.alpha, chosen.beta)
        return LinearSelection(chosen.provider, chosen.sample, known.mean, known.deviation, chosen.exploit, "thompson")

    def _value(self) -> LinearKnown:
        arms = {name: arm.sums for name, arm in self._arms.items()}
        return LinearKnown(arms, self.updates, self.thompson._value())

    def _take(self, value: LinearKnown) -> None:
        self._arms = {name: LinearArm.of(sums) for name, sums in value.arms.items()}
        self.updates = value.updates
        self.thompson._take(value.distributions)

    def _merged(self, theirs: LinearKnown | None, mine: LinearKnown, since: Since[LinearKnown] | None) -> LinearKnown:
        nothing = LinearKnown({}, 0, {})
        base = since.base if since is not None else nothing
        their = theirs if theirs is not None else nothing
        return LinearKnown(
            merged_entries(theirs and theirs.arms, mine.arms, since, base.arms, self._combine),
            max(their.updates + mine.updates - base.updates, 0),
            merged_entries(
                theirs and theirs.distributions, mine.distributions, since, base.distributions, self.thompson._combine
            ),
        )

    def _combine(self, their: Sums | None, my: Sums | None, was: Sums | None, scale: float) -> Sums:
        """Returns `their` decayed, and the difference between `my` and `was` decayed; None is a fresh arm."""
        fresh = LinearArm(self.dim).sums
        theirs, mine, before = their or fresh, my or fresh, (was or fresh) if my is not None else fresh
        return Sums(
            scale * theirs.seen + (mine.seen - scale * before.seen),
            scale * theirs.earned + (mine.earned - scale * before.earned),
            theirs.pulls + mine.pulls - before.pulls,
            theirs.reward + mine.reward - before.reward,
        )


def _mean(arm: LinearArm) -> float:
    return arm.reward / arm.pulls if arm.pulls else 0.0
