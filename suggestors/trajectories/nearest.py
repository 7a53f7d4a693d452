"""Finds the vectors nearest to a query, exactly, among few by looking at all and among many by looking at few.

The story: every vector is of length 1, so a cosine is a product. Up to `BRUTE` of them one matrix product answers.
Beyond that, each vector belongs to the nearest of some *centres*. Of the product of a vector with a query, the part
that is the product of its centre with either is known; the rest is the product of what parts the query from the centre
with what parts the vector from it, and at most the product of their lengths (Cauchy and Schwarz). So the longest
distance from a centre to any of its vectors gives a *bound* for all of them. Centres are visited from the highest bound
down, their vectors looked at in full, until the next bound is below the k-th best cosine found: nobody who was not
looked at can be among the best. So the answer is always the exact one. How many are looked at depends on the vectors:
few where they stand in clusters; in noise nearly all, and then one product over all is faster and is what happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BRUTE = 100_000
"""Up to so many vectors all are looked at."""
CENTRES = 256
SAMPLE = 8_192
"""How many vectors the centres are made from."""
SLACK = 2e-5
"""What float32 may be off by; candidates this close are looked at in float64."""
_BLOCK = 8_192
_VAIN = 4
"""After so many searches in a row that the index was no help to, it is not asked again until it is built anew."""
_FRESH = 8_192
"""Vectors behind the index that are looked at in full; with more, it is built anew."""


class Vectors:
    """Unit vectors in rows, in the order in which they were added; finds the nearest to a query."""

    def __init__(self, dimension: int, *, brute: int = BRUTE) -> None:
        import numpy as np

        self.dimension, self.brute = dimension, brute
        self.looked_at = 0
        """How many vectors the last search looked at in full."""
        self._rows: NDArray[np.float32] = np.empty((0, dimension), dtype=np.float32)
        self._size = 0
        self._index: _Index | None = None

    def __len__(self) -> int:
        return self._size

    def extend(self, vectors: Sequence[Sequence[float]] | NDArray[Any]) -> None:
        """Adds vectors, each brought to length 1."""
        import numpy as np

        if not len(vectors):
            return
        more = _normalised(np.asarray(vectors, dtype=np.float64)).astype(np.float32)
        needed = self._size + len(more)
        if needed > len(self._rows):
            grown = np.empty((max(needed, 2 * len(self._rows), 64), self.dimension), dtype=np.float32)
            grown[: self._size] = self._rows[: self._size]
            self._rows = grown
        self._rows[self._size : needed] = more
        self._size = needed

    def nearest(
        self, query: Sequence[float], k: int, among: NDArray[np.bool_] | None = None
    ) -> tuple[list[int], list[float]]:
        """Returns the places and cosines of the k nearest, the nearest first; of equally near ones the first added.

        `among` says which may be found. That comes before `k`, not after it.
        """
        import numpy as np

        target = _normalised(np.asarray([query], dtype=np.float64))[0]
        allowed = self._size if among is None else int(np.count_nonzero(among))
        k = min(k, allowed)
        if k <= 0:
            return [], []
        if self._size <= self.brute:
            candidates = self._look_at_all(target.astype(np.float32), k, among)
        else:
            candidates = self._look_at_few(target, k, among)
        exact = self._exact(candidates, target)
        order = np.lexsort((candidates, -exact))[:k]
        return candidates[order].tolist(), exact[order].tolist()

    def _exact(self, places: NDArray[np.intp], target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns cosines in float64, row by row: the same whichever other rows are asked for."""
        import numpy as np

        products: NDArray[np.float64] = self._rows[places].astype(np.float64) * target
        cosines: NDArray[np.float64] = np.clip(np.round(products.sum(axis=1), 12), -1.0, 1.0)
        return cosines

    def _look_at_all(
        self, target: NDArray[np.float32], k: int, among: NDArray[np.bool_] | None
    ) -> NDArray[np.intp]:  # fmt: skip
        import numpy as np

        scores = self._rows[: self._size] @ target
        if among is not None:
            scores[~among] = -np.inf
        self.looked_at = self._size
        least = np.partition(scores, self._size - k)[self._size - k] - SLACK
        return np.flatnonzero(scores >= max(least, -2.0))

    def _look_at_few(
        self, target: NDArray[np.float64], k: int, among: NDArray[np.bool_] | None
    ) -> NDArray[np.intp]:  # fmt: skip
        import numpy as np

        single = target.astype(np.float32)
        if self._index is None or self._size - self._index.size > _FRESH:
            self._index = _Index(self._rows[: self._size])
        index = self._index
        bounds, centres = index.bounds(single)
        chosen = [np.arange(index.size, self._size)]  # those behind the index are looked at in any case
        looked = [self._rows[index.size : self._size] @ single]
        best = np.empty(0, dtype=np.float32)
        self.looked_at = 0
        for centre in [-1, *centres] if index.vain < _VAIN else ():
            if centre >= 0:
                if len(best) == k and bounds[centre] < best[0] - SLACK:
                    index.vain = 0
                    break
                chosen.append(index.members(centre))
                looked.append(self._rows[chosen[-1]] @ single)
            if among is not None:
                looked[-1][~among[chosen[-1]]] = -np.inf
            self.looked_at += len(chosen[-1])
            if self.looked_at > self._size // 4:  # the centres tell nothing apart: one product over all is faster
                index.vain += 1
                return self._look_at_all(single, k, among)
            best = np.sort(np.concatenate([best, looked[-1]]))[-k:]
        else:
            return self._look_at_all(single, k, among)
        places, near = np.concatenate(chosen), np.concatenate(looked)
        found: NDArray[np.intp] = np.sort(places[near >= max(best[0] - SLACK, -2.0)])
        return found


class _Index:
    """Centres, whose vectors are whose, and how far they are from them."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        import numpy as np

        self.size = len(rows)
        self.vain = 0
        """How many searches in a row it was no help to."""
        self._centres = _find_centres(rows[:: max(1, self.size // SAMPLE)])
        count = len(self._centres)
        of = np.empty(self.size, dtype=np.intp)
        radii, along = np.zeros(count, dtype=np.float32), np.full(count, -np.inf, dtype=np.float32)
        for start in range(0, self.size, _BLOCK):
            block = rows[start : start + _BLOCK]
            nearest = _nearest_centres(block, self._centres)
            apart = block - self._centres[nearest]
            of[start : start + _BLOCK] = nearest
            np.maximum.at(radii, nearest, np.sqrt(np.einsum("ij,ij->i", apart, apart)))
            np.maximum.at(along, nearest, np.einsum("ij,ij->i", apart, self._centres[nearest]))
        self._radii, self._along = radii + np.float32(1e-6), along
        self._order = np.argsort(of, kind="stable")
        self._starts = np.searchsorted(of[self._order], np.arange(count + 1))

    def members(self, centre: int) -> NDArray[np.intp]:
        """Returns the places of the vectors of a centre."""
        return self._order[self._starts[centre] : self._starts[centre + 1]]

    def bounds(self, query: NDArray[np.float32]) -> tuple[NDArray[np.float32], list[int]]:
        """Returns for each centre what the product of the query with any of its vectors is at most, and their order."""
        import numpy as np

        apart = query - self._centres
        lengths = np.sqrt(np.einsum("ij,ij->i", apart, apart))
        bounds: NDArray[np.float32] = self._centres @ query + self._along + lengths * self._radii + np.float32(SLACK)
        return bounds, np.argsort(-bounds, kind="stable").tolist()


def _nearest_centres(rows: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.intp]:
    import numpy as np

    nearest: NDArray[np.intp] = (rows @ centres.T - 0.5 * np.einsum("ij,ij->i", centres, centres)).argmax(axis=1)
    return nearest


def _find_centres(sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns points in whose neighbourhood the vectors of a sample lie: a few rounds of k-means, without chance."""
    import numpy as np

    count = min(CENTRES, len(sample))
    centres = sample[:: max(1, len(sample) // count)][:count].copy()
    for _ in range(4):
        nearest = _nearest_centres(sample, centres)
        sizes = np.bincount(nearest, minlength=count)
        sums = np.zeros(centres.shape, dtype=np.float64)
        np.add.at(sums, nearest, sample)
        full = sizes > 0
        centres[full] = (sums[full] / sizes[full, None]).astype(np.float32)
    return centres


def _normalised(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    scaled = rows / np.max(np.abs(rows), axis=1, keepdims=True)  # first: squares of huge and tiny numbers are none
    result: NDArray[np.float64] = scaled / np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    return result
