"""Chooses among providers by Thompson sampling: each draws a probability from what is known of it, the largest wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from ...engine import InvalidOption
from .beta import Beta, parameters
from .panel import Panel, Selection, Selections
from .shared_state import SharedState, Since, check_name, decay_factor, gained, merged_entries, names_of
from .stored_beta import BetaCodec

if TYPE_CHECKING:
    from numpy.random import Generator

Pair = tuple[float, float]
Known = Mapping[str, Pair]


class ProviderStats(NamedTuple):
    """What is known of one provider."""

    provider: str
    alpha: float
    beta: float

    @property
    def distribution(self) -> Beta:
        """The same as a distribution, with its mean and intervals."""
        return Beta(self.alpha, self.beta)


class ThompsonState(SharedState[Known]):
    """What is known of each provider: a beta distribution that starts at the prior and grows with every outcome.

    Nothing in it draws by itself: the generator is yours, and with the same generator, the same candidates in the same
    order and the same outcomes before, the choice is the same. It may be used from several threads.

    ```python
    from numpy.random import default_rng
    from quiesce.suggestors import ThompsonState

    state, rng = ThompsonState(), default_rng(7)
    for _ in range(30):
        choice = state.select(["steady", "flaky"], rng)
        state.update(choice.provider, success=choice.provider == "steady")
    assert state.get_distribution("steady").mean > 0.9
    ```
    """

    codec = BetaCodec()

    def __init__(self, prior: Beta = Beta()) -> None:  # noqa: B008  it cannot be changed
        super().__init__()
        if not isinstance(prior, Beta):
            raise InvalidOption("prior", prior, "a Beta, as Beta(1, 1)")
        self.prior = prior
        self._known: dict[str, list[float]] = {}

    def _begin(self) -> None:
        super()._begin()
        self._panel: Panel | None = None

    # --- choosing

    def select(self, providers: Iterable[str], rng: Generator) -> Selection | None:
        """Returns who is to answer one request; None if there is no candidate.

        The generator is asked once for a beta variate of each candidate, in the given order; a name that stands there
        twice counts where it stands first. Where two samples are equal, one more draw decides between them. Where a
        parameter lies outside 0.5 to 1e9, the log-odds of all candidates are drawn instead (see `draws`).
        """
        if type(providers) is str:
            names_of(providers)
        given = tuple(providers)
        with self._lock:
            panel = self._panel
            if panel is None or panel.given != given:
                panel = self._lay(given)
            return panel.select(rng)

    def select_with_priors(
        self, providers: Iterable[str], overrides: Mapping[str, Beta | Pair], rng: Generator
    ) -> Selection | None:
        """Returns who is to answer, with other parameters for some candidates; what is stored does not change.

        What the selection reports, and whether it exploits, is by what was used: the override, raised to 1e-6.
        """
        names = names_of(providers)
        with self._lock:
            used = [
                parameters(overrides[name], f"overrides[{name!r}]") if name in overrides else self._parameters(name)
                for name in names
            ]
        return Panel(names, names, used).select(rng)

    def select_many(self, n: int, providers: Iterable[str], rng: Generator) -> Selections | None:
        """Returns who is to answer each of `n` requests, as if `select` was called so often; None with no candidate.

        With all parameters in 0.5 to 1e9 and no two samples equal, the generator is asked for the same numbers, too.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise InvalidOption("n", n, "a whole number from 0")
        names = names_of(providers)
        with self._lock:
            panel = Panel(names, names, [self._parameters(name) for name in names])
        return panel.select_many(n, rng)

    # --- learning

    def update(self, provider: str, success: bool | None = None, *, reward: float | None = None) -> None:
        """Counts one outcome of a provider: a success, a failure, or a reward from 0 to 1.

        Leave out what says nothing about a provider, as a rate limit. A streamed answer is an outcome when it ends.
        """
        if success is True and reward is None:
            earned = 1.0
        elif success is False and reward is None:
            earned = 0.0
        else:
            earned = gained(success, reward)
        with self._lock:
            known = self._known.get(provider)
            if known is None:
                known = self._known[check_name(provider)] = [self.prior.alpha, self.prior.beta]
            known[0] += earned
            known[1] += 1.0 - earned
            panel = self._panel
            if panel is not None and (place := panel.places.get(provider)) is not None:
                panel.put(place, known[0], known[1])

    def decay(self, factor: float) -> None:
        """Brings what is known nearer to the prior: what was learned before counts `factor` times as much.

        A factor above 1 counts as 1, one of 0 or less as the least number above 0.
        """
        factor = decay_factor(factor, "factor")
        with self._lock:
            for name, pair in self._value().items():
                self._known[name] = list(self._combine(pair, None, None, factor))
            self._note_decay(factor)
            self._panel = None

    def prune(self, known: Iterable[str]) -> dict[str, Beta]:
        """Forgets every provider that is not among `known`, also in files at the next save; returns what it forgot."""
        kept = set(names_of(known))
        with self._lock:
            gone = {name: Beta(*self._known.pop(name)) for name in sorted(self._known.keys() - kept)}
            self._note_gone(gone)
            self._panel = None
        return gone

    # --- looking

    def provider_stats(self) -> list[ProviderStats]:
        """Returns name, alpha and beta of every provider that has had an outcome, sorted by name."""
        with self._lock:
            return [ProviderStats(name, *self._known[name]) for name in sorted(self._known)]

    def get_distribution(self, name: str) -> Beta:
        """Returns what is known of a provider: the prior if that is nothing."""
        with self._lock:
            known = self._known.get(name)
            return self.prior if known is None else Beta(*known)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ThompsonState):
            return NotImplemented
        return self.prior == other.prior and self._known == other._known

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        told = ", ".join(f"{name}: {alpha:g}/{beta:g}" for name, alpha, beta in self.provider_stats())
        return f"<ThompsonState {told or 'that knows nothing'}>"

    # --- keeping

    @classmethod
    def load(cls, path: str | Path, prior: Beta = Beta()) -> Self:  # noqa: B008  it cannot be changed
        """Returns the state that a file holds, one that knows nothing if there is no file.

        A file that cannot be read is set aside under another name, with a warning; parameters are brought into 0.5 to
        1e9, and one that is not finite counts as 1. Reads zeph's `router_thompson_state.json`, too.

        Raises:
            NewerStateFile: a newer Quiesce has written it.
            StateFileError: it holds another kind of state.
        """
        return cls(prior)._load(path)

    def _value(self) -> Known:
        return {name: (pair[0], pair[1]) for name, pair in self._known.items()}

    def _take(self, value: Known) -> None:
        self._known = {name: list(pair) for name, pair in value.items()}
        self._panel = None

    def _merged(self, theirs: Known | None, mine: Known, since: Since[Known] | None) -> Known:
        return merged_entries(theirs, mine, since, since.base if since is not None else {}, self._combine)

    def _combine(self, their: Pair | None, my: Pair | None, was: Pair | None, scale: float) -> Pair:
        """Returns `their` decayed, and the difference between `my` and `was` decayed; None is the prior."""
        prior = (self.prior.alpha, self.prior.beta)
        mine, before = (my, was or prior) if my is not None else (prior, prior)
        alpha, beta = map(_grown, prior, their or prior, mine, before, (scale, scale))
        return alpha, beta

    # --- inside

    def _parameters(self, name: str) -> Pair:
        known = self._known.get(name)
        return (self.prior.alpha, self.prior.beta) if known is None else (known[0], known[1])

    def _lay(self, given: tuple[str, ...]) -> Panel:
        names = names_of(given)
        self._panel = Panel(given, names, [self._parameters(name) for name in names])
        return self._panel


def _grown(prior: float, their: float, my: float, was: float, scale: float) -> float:
    if scale == 1.0:
        return their + (my - was)  # exact, where all are whole numbers
    return prior + scale * (their - prior) + ((my - prior) - scale * (was - prior))
