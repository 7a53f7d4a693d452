"""Lays the candidates of a request out for drawing, and draws: for one request, or for many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .beta import bounded, mean_of
from .draws import check_rng, draw_log_odds, from_log_odds, is_plain

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray


class Selection(NamedTuple):
    """Who was chosen, and why."""

    provider: str
    alpha: float
    beta: float
    """The parameters that its draw was made with."""
    sample: float
    """What it drew: the largest."""
    exploit: bool
    """Its mean is at least that of every candidate; else it was chosen to learn more of it."""


@dataclass(frozen=True, slots=True)
class Selections(Sequence[Selection]):
    """Who was chosen for each of many requests; a sequence of `Selection`, made as they are asked for."""

    providers: tuple[str, ...]
    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    exploits: tuple[bool, ...]
    """Of each candidate, whether a choice of it exploits."""
    winners: NDArray[Any]
    """For each request, the place of the winner among `providers`."""
    samples: NDArray[Any]
    """What the winners drew."""

    def __len__(self) -> int:
        return len(self.winners)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        at = int(self.winners[place])
        return Selection(
            self.providers[at], self.alphas[at], self.betas[at], float(self.samples[place]), self.exploits[at]
        )

    def counts(self) -> dict[str, int]:
        """Returns how often each candidate was chosen."""
        import numpy as np

        found = np.bincount(self.winners, minlength=len(self.providers))
        return {name: int(times) for name, times in zip(self.providers, found, strict=True)}


class Panel:
    """The candidates of a request with their parameters, laid out for drawing; kept from one request to the next."""

    __slots__ = ("alpha", "alphas", "beta", "betas", "given", "is_plain", "means", "names", "places")

    def __init__(self, given: tuple[str, ...], names: tuple[str, ...], used: Sequence[tuple[float, float]]) -> None:
        import numpy as np

        self.given, self.names = given, names
        self.places = {name: place for place, name in enumerate(names)}
        self.alphas = [bounded(alpha) for alpha, _ in used]
        self.betas = [bounded(beta) for _, beta in used]
        self.means = [mean_of(alpha, beta) for alpha, beta in zip(self.alphas, self.betas, strict=True)]
        self.is_plain = all(map(is_plain, self.alphas, self.betas))
        self.alpha, self.beta = np.array(self.alphas), np.array(self.betas)

    def put(self, place: int, alpha: float, beta: float) -> None:
        """Changes the parameters of one candidate."""
        if not is_plain(alpha, beta):
            alpha, beta = bounded(alpha), bounded(beta)
            self.is_plain = False
        self.alphas[place] = self.alpha[place] = alpha
        self.betas[place] = self.beta[place] = beta
        self.means[place] = alpha / (alpha + beta)
        if not self.is_plain:
            self.is_plain = all(map(is_plain, self.alphas, self.betas))

    def select(self, rng: Generator) -> Selection | None:
        check_rng(rng)
        if not self.names:
            return None
        if self.is_plain:
            samples = rng.beta(self.alpha, self.beta).tolist()
        else:
            samples = draw_log_odds(self.alpha, self.beta, rng, 1)[0].tolist()
        sample = max(samples)
        place = samples.index(sample)
        if samples.count(sample) > 1:  # none of them is favoured by where it stands
            equal = [at for at, other in enumerate(samples) if other == sample]
            place = equal[int(rng.integers(len(equal)))]
        if not self.is_plain:
            sample = from_log_odds(sample)
        exploit = self.means[place] >= max(self.means)
        return Selection(self.names[place], self.alphas[place], self.betas[place], sample, exploit)

    def select_many(self, n: int, rng: Generator) -> Selections | None:
        import numpy as np

        check_rng(rng)
        if not self.names:
            return None
        winners, samples = np.empty(n, dtype=np.intp), np.empty(n)
        step = max(1, 2**19 // len(self.names))  # rows that are drawn at a time: 4 MB, however many are asked for
        for start in range(0, n, step):
            rows = slice(start, min(n, start + step))
            winners[rows], samples[rows] = self._draw(rows.stop - start, rng)
        best = max(self.means)
        return Selections(
            self.names, tuple(self.alphas), tuple(self.betas), tuple(mean >= best for mean in self.means),
            winners, samples,
        )  # fmt: skip

    def _draw(self, rows: int, rng: Generator) -> tuple[NDArray[Any], NDArray[Any]]:
        import numpy as np

        if self.is_plain:
            drawn = rng.beta(self.alpha, self.beta, size=(rows, len(self.names)))
        else:
            drawn = draw_log_odds(self.alpha, self.beta, rng, rows)
        places = drawn.argmax(axis=1)
        largest = drawn[np.arange(rows), places]
        is_largest = drawn == largest[:, None]
        if np.count_nonzero(is_largest) > rows:  # two are equal somewhere
            for row in np.flatnonzero(is_largest.sum(axis=1) > 1):
                equal = np.flatnonzero(is_largest[row])
                places[row] = equal[int(rng.integers(len(equal)))]
        if not self.is_plain:
            largest = np.array([from_log_odds(odds) for odds in largest.tolist()])
        return places, largest
