"""Keeps how good what providers say has been, apart from whether they answer: a second beta distribution for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import floor
from pathlib import Path
from typing import Any, NamedTuple, Self

from ...engine import InvalidOption
from .beta import FLOOR, Beta, as_float, parameters
from .shared_state import SharedState, Since, check_name, decay_factor, gained, merged_entries, names_of
from .state_file import Unreadable
from .stored_beta import clamped, entries, read_beta
from .thompson import ThompsonState


class Quality(NamedTuple):
    """What is known of the quality of what a provider says."""

    alpha: float = 1.0
    beta: float = 1.0
    observations: int = 0
    counts: bool = False
    """Enough was known of it to shift draws."""


Known = Mapping[str, Quality]


class ReputationStats(NamedTuple):
    """What is known of the quality of one provider."""

    provider: str
    alpha: float
    beta: float
    mean: float
    observations: int


class Reputation(SharedState[Known]):
    """How good what each provider said was, by *semantic* judgements alone: never by network errors or rate limits.

    It shifts the parameters that a draw is made with, once there are `min_observations`; availability and quality are
    kept apart until then. `decay` is by how much a session brings it nearer to the prior (see `decay()`), clamped to
    (0, 1]; `weight` is how much of it a shift takes, from 0 to 1. Both are what you say here, never what a file says.

    With `closes_below`, a reputation that has counted goes on counting until it has fewer observations than that. By
    default it stops below `min_observations`: one that has just as many then counts and does not count in turns, as
    sessions decay it and new observations come.

    ```python
    from numpy.random import default_rng
    from quiesce.suggestors import Reputation, ThompsonState

    state, reputation = ThompsonState(), Reputation(weight=0.5)
    for _ in range(8):
        reputation.update("glib", success=False)                    # it answers, but what it says is wrong
    assert reputation.overrides(["glib", "new"], state) == {"glib": (1.0, 5.0)}
    choice = state.select_with_priors(["glib", "new"], reputation.overrides(["glib", "new"], state), default_rng(1))
    assert choice.provider == "new"
    ```
    """

    def __init__(
        self,
        *,
        min_observations: int = 5,
        decay: float = 0.95,
        weight: float = 0.3,
        closes_below: int | None = None,
    ) -> None:
        super().__init__()
        if isinstance(min_observations, bool) or not isinstance(min_observations, int) or min_observations < 0:
            raise InvalidOption("min_observations", min_observations, "a whole number from 0")
        lower = min_observations if closes_below is None else closes_below
        if isinstance(lower, bool) or not isinstance(lower, int) or not 0 <= lower <= min_observations:
            raise InvalidOption("closes_below", closes_below, f"a whole number from 0 to {min_observations}")
        if not 0.0 <= as_float(weight) <= 1.0:
            raise InvalidOption("weight", weight, "a number from 0 to 1")
        self.min_observations, self.closes_below = min_observations, lower
        self.decay_factor, self.weight = decay_factor(decay), float(weight)
        self.codec = ReputationCodec()
        self._known: dict[str, Quality] = {}

    def update(self, provider: str, success: bool | None = None, *, reward: float | None = None) -> None:
        """Counts one judgement of what a provider said: good, bad, or how good from 0 to 1."""
        earned = gained(success, reward)
        with self._lock:
            alpha, beta, observations, counts = self._known.get(check_name(provider), Quality())
            self._put(provider, Quality(alpha + earned, beta + (1.0 - earned), observations + 1, counts))

    def decay(self) -> None:
        """Brings all that is known nearer to the prior, as is to be done once a session.

        Each parameter x becomes 1 + (x - 1) times the factor, and the observations so many times fewer, rounded down.
        """
        with self._lock:
            for name, known in self._known.items():
                self._put(name, _decayed(known, self.decay_factor))
            self._note_decay(self.decay_factor)

    def shift(self, provider: str, distribution: Beta | tuple[float, float]) -> tuple[float, float]:
        """Returns what a draw is to be made with in the place of a distribution: itself, if too little is known.

        Else `weight` of what is known beyond the prior is added to both parameters; each is at least 1e-6.
        """
        alpha, beta = parameters(distribution, "distribution")
        with self._lock:
            good, bad, _, counts = self._known.get(provider, Quality())
        if not counts:
            return alpha, beta
        return max(alpha + self.weight * (good - 1.0), FLOOR), max(beta + self.weight * (bad - 1.0), FLOOR)

    def overrides(self, providers: Iterable[str], state: ThompsonState) -> dict[str, tuple[float, float]]:
        """Returns for `ThompsonState.select_with_priors` what to draw with, for those of whom enough is known."""
        with self._lock:
            named = [name for name in names_of(providers) if self._known.get(name, Quality()).counts]
        return {name: self.shift(name, state.get_distribution(name)) for name in named}

    def reputation_mean(self, provider: str) -> float | None:
        """Returns the mean quality of a provider; None as long as too little is known."""
        with self._lock:
            alpha, beta, _, counts = self._known.get(provider, Quality())
        return alpha / (alpha + beta) if counts else None

    def provider_stats(self) -> list[ReputationStats]:
        """Returns what is known of every provider, sorted by name."""
        with self._lock:
            known = sorted(self._known.items())
        return [ReputationStats(name, good, bad, good / (good + bad), count) for name, (good, bad, count, _) in known]

    def get_distribution(self, name: str) -> Beta:
        """Returns what is known of the quality of a provider: Beta(1, 1) if that is nothing."""
        with self._lock:
            return Beta(*self._known.get(name, Quality())[:2])

    def prune(self, known: Iterable[str]) -> dict[str, Beta]:
        """Forgets every provider that is not among `known`, also in files at the next save; returns what it forgot."""
        kept = set(names_of(known))
        with self._lock:
            gone = {name: Beta(*self._known.pop(name)[:2]) for name in sorted(self._known.keys() - kept)}
            self._note_gone(gone)
        return gone

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        min_observations: int = 5,
        decay: float = 0.95,
        weight: float = 0.3,
        closes_below: int | None = None,
    ) -> Self:
        """Returns the reputations that a file holds, as `ThompsonState.load` does; none are decayed by loading.

        Reads zeph's `router_reputation_state.json`, too; of its settings, nothing.
        """
        made = cls(min_observations=min_observations, decay=decay, weight=weight, closes_below=closes_below)
        return made._load(path)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reputation):
            return NotImplemented
        return self._known == other._known and self._settings() == other._settings()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        told = ", ".join(f"{known.provider}: {known.mean:.2f}" for known in self.provider_stats())
        return f"<Reputation {told or 'that knows nothing'}>"

    def _settings(self) -> tuple[float, ...]:
        return (self.min_observations, self.closes_below, self.decay_factor, self.weight)

    def _put(self, name: str, known: Quality) -> None:
        least = self.closes_below if known.counts else self.min_observations
        self._known[name] = known._replace(counts=known.observations >= least)

    def _value(self) -> Known:
        return dict(self._known)

    def _take(self, value: Known) -> None:
        self._known = {}
        for name, known in value.items():
            self._put(name, known)

    def _merged(self, theirs: Known | None, mine: Known, since: Since[Known] | None) -> Known:
        return merged_entries(theirs, mine, since, since.base if since is not None else {}, _combine)


def _decayed(known: Quality, factor: float) -> Quality:
    alpha, beta, observations, counts = known
    return Quality(1.0 + (alpha - 1.0) * factor, 1.0 + (beta - 1.0) * factor, floor(observations * factor), counts)


def _combine(their: Quality | None, my: Quality | None, was: Quality | None, scale: float) -> Quality:
    """Returns `their` decayed, and the difference between `my` and `was` decayed; None is the prior."""
    theirs = _decayed(their or Quality(), scale)
    if my is None:
        return theirs
    before = _decayed(was or Quality(), scale)
    return Quality(
        theirs.alpha + (my.alpha - before.alpha),
        theirs.beta + (my.beta - before.beta),
        max(theirs.observations + my.observations - before.observations, 0),
        theirs.counts or my.counts,
    )


class ReputationCodec:
    """How reputations stand in a file: as zeph writes them, which can read ours in turn."""

    kind, version, limit = "reputation", 1, 64 * 2**20

    def read(self, document: dict[str, Any], problems: list[str]) -> Known:
        if not isinstance(document.get("models"), dict):
            raise Unreadable("it has no object of models")
        return dict(entries(document, "models", problems, _read_quality))

    def write(self, value: Known) -> dict[str, Any]:
        return {
            "models": {
                name: {"alpha": clamped(alpha), "beta": clamped(beta), "observations": observations, "counts": counts}
                for name, (alpha, beta, observations, counts) in sorted(value.items())
            }
        }


def _read_quality(entry: dict[str, Any], where: str, problems: list[str]) -> Quality | None:
    count = entry.get("observations")
    if isinstance(count, bool) or not isinstance(count, (int, float)) or not 0 <= count <= 2**53 or count != int(count):
        problems.append(f"{where} has {count!r:.80} observations, not a whole number from 0; it was left out")
        return None
    found = read_beta(entry, where, problems)
    return None if found is None else Quality(*found, int(count), entry.get("counts") is True)
