"""Remembers patterns of past trajectories and finds those that are like what is asked; a value in memory, for programs.

The ledger is where trajectories live; a memory is made from it, or from a text, and can be made again at any time.
Every change is made aside and put in place at the end, so whatever goes wrong, the memory is as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...engine.errors import InvalidOption
from ...facts import FactLog
from .distil import can_merge, merge, pattern_of
from .embedding import InvalidEmbedding, check_embedding
from .exchange import Import, read_patterns, write_patterns
from .nearest import BRUTE, Vectors
from .payloads import LessonBook, Pattern, Trajectory

THRESHOLD = 0.3
"""The quality from which a trajectory becomes a pattern."""
CAPACITY = 100_000
_ROWS = 1_024


@dataclass(frozen=True, slots=True)
class Match:
    """A pattern, and how like the query it is: the cosine, from -1 to 1."""

    pattern: Pattern
    similarity: float


@dataclass(frozen=True, slots=True)
class Consolidation:
    """What a consolidation did, or would do."""

    before: int
    after: int
    merged: int
    """How many patterns went into others; their lessons and their weight are there."""
    pruned: tuple[Pattern, ...]
    """Those whose quality was too low: they left the memory, and are in nobody's hands but yours."""
    dry_run: bool = False


class PatternMemory:
    """Patterns of one dimension, of trajectories above a threshold of quality.

    ```python
    from quiesce.suggestors import PatternMemory

    memory = PatternMemory(threshold=0.5)
    memory.add_all([])                                                # 0: so many became patterns, or went into one
    memory.similar([0.1, 0.9], k=3)                                   # []
    ```

    `similar` is exact at any size: up to `brute` patterns all are looked at, beyond that as few as an index allows.
    Once there are more than `capacity`, `add` consolidates by itself; where nothing is alike, the memory still grows,
    since it never drops what you did not ask it to drop.
    """

    def __init__(
        self, patterns: Iterable[Pattern] = (), *, threshold: float = THRESHOLD, capacity: int = CAPACITY,
        alike: float = 0.95, brute: int = BRUTE,
    ) -> None:  # fmt: skip
        _check_share("threshold", threshold)
        _check_share("alike", alike)
        for name, value in (("capacity", capacity), ("brute", brute)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidOption(name, value, "a whole number from 1")
        self.threshold, self.capacity, self.alike, self.brute = threshold, capacity, alike, brute
        self.below = 0
        """How many trajectories were below the threshold."""
        self.consolidations = 0
        """How often it was consolidated, by itself or when asked."""
        self._patterns: list[Pattern] = []
        self._places: dict[str, int] = {}
        self._vectors: Vectors | None = None
        self._next = capacity
        self.put(patterns)

    @classmethod
    def of_books(cls, books: Iterable[LessonBook], dimension: int, **options: float) -> PatternMemory:
        """Returns a memory of the patterns in lesson books that have this dimension, whatever their quality."""
        patterns = [one for book in books for one in book.patterns if len(one.embedding) == dimension]
        return cls(patterns, threshold=0.0, **options)  # type: ignore[arg-type]  # the options of __init__

    @classmethod
    def of_log(cls, log: FactLog, *, threshold: float = THRESHOLD, capacity: int = CAPACITY) -> PatternMemory:
        """Returns a memory of every complete trajectory of a log that has a query embedding."""
        from .ledger import read_trajectories

        memory = cls(threshold=threshold, capacity=capacity)
        found = (one for one in read_trajectories(log) if one.is_finished and one.query_embedding is not None)
        memory.add_all(found)
        return memory

    # --- adding -----------------------------------------------------------------------------------------------------

    def add(self, trajectory: Trajectory) -> Pattern | None:
        """Adds the pattern of a trajectory and returns it; None if its quality is below the threshold.

        Raises:
            UnknownTrajectory: it is unfinished or has no query embedding.
            InvalidEmbedding: it is of another dimension than the patterns here.
        """
        pattern = pattern_of(trajectory)
        if trajectory.quality < self.threshold:
            self.below += 1
            return None
        self.put([pattern])
        return pattern

    def add_all(self, trajectories: Iterable[Trajectory]) -> int:
        """Adds the patterns of trajectories, all or none, and returns how many were good enough.

        Raises:
            UnknownTrajectory, InvalidEmbedding: as `add`; nothing was added.
        """
        patterns, below = [], 0
        for one in trajectories:
            pattern = pattern_of(one)
            if one.quality < self.threshold:
                below += 1
            else:
                patterns.append(pattern)
        self.put(patterns)
        self.below += below
        return len(patterns)

    def put(self, patterns: Iterable[Pattern]) -> Import:
        """Puts patterns in as they are, all or none; of two with one id the one that has seen more stands.

        Raises:
            InvalidEmbedding: they are not all of one dimension, and that of the patterns here.
        """
        chosen: dict[str, Pattern] = {}
        same = revised = added = 0
        dimension = self.dimension
        for pattern in patterns:
            if dimension is not None and len(pattern.embedding) != dimension:
                what = f"the embedding of pattern {pattern.id}"
                raise InvalidEmbedding(what, f"has {len(pattern.embedding)} dimensions, not {dimension}")
            dimension = len(pattern.embedding)
            name = str(pattern.id)
            known = chosen.get(name) or (self._patterns[self._places[name]] if name in self._places else None)
            if known is None:
                added += 1
                chosen[name] = pattern
            elif known == pattern:
                same += 1
            else:
                revised += 1
                chosen[name] = max(known, pattern, key=_rank)
        self._take(chosen)
        if len(self) > self._next:  # more than capacity: as often as it doubles, not at every single addition
            self.consolidate()
            self._next = max(self.capacity, len(self) + len(self) // 2)
        return Import(added, same, revised)

    def _take(self, chosen: dict[str, Pattern]) -> None:
        fresh = [one for name, one in chosen.items() if name not in self._places]
        changed = {name: one for name, one in chosen.items() if name in self._places}
        if changed:
            self._replace([changed.get(str(one.id), one) for one in self._patterns] + fresh)
        elif fresh:
            if self._vectors is None:
                self._vectors = Vectors(len(fresh[0].embedding), brute=self.brute)
            self._vectors.extend([one.embedding for one in fresh])
            for one in fresh:
                self._places[str(one.id)] = len(self._patterns)
                self._patterns.append(one)

    def _replace(self, patterns: list[Pattern]) -> None:
        vectors = None
        if patterns:
            vectors = Vectors(len(patterns[0].embedding), brute=self.brute)
            vectors.extend([one.embedding for one in patterns])
        places = {str(one.id): place for place, one in enumerate(patterns)}
        self._patterns, self._places, self._vectors = patterns, places, vectors

    # --- asking -----------------------------------------------------------------------------------------------------

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """Every pattern, in the order in which they came."""
        return tuple(self._patterns)

    @property
    def dimension(self) -> int | None:
        """How many numbers its embeddings have; None while it is empty."""
        return self._vectors.dimension if self._vectors is not None else None

    @property
    def lessons(self) -> frozenset[str]:
        """The text of every lesson in it."""
        return frozenset(lesson.text for one in self._patterns for lesson in one.lessons)

    @property
    def mean_quality(self) -> float:
        """Over the trajectories in it; 0 for none."""
        weight = sum(one.weight for one in self._patterns)
        return sum(one.quality * one.weight for one in self._patterns) / weight if weight else 0.0

    def __len__(self) -> int:
        return len(self._patterns)

    def similar(
        self, query_embedding: Iterable[float], k: int = 5, *, at_least: float = -1.0, category: str | None = None
    ) -> list[Match]:
        """Returns the k patterns most like a query, the most alike first; of equally like ones the first that came.

        `at_least` and `category` choose first, `k` cuts off afterwards.

        Raises:
            InvalidEmbedding: the query is no embedding, or of another dimension.
        """
        if isinstance(k, bool) or not isinstance(k, int) or k < 0:
            raise InvalidOption("k", k, "a whole number from 0")
        query = check_embedding(query_embedding, "the query embedding", self.dimension)
        if self._vectors is None:
            return []
        among = None
        if category is not None:
            import numpy as np

            among = np.fromiter((one.category == category for one in self._patterns), bool, len(self))
        places, cosines = self._vectors.nearest(query, k, among)
        found = zip(places, cosines, strict=True)
        return [Match(self._patterns[place], near) for place, near in found if near >= at_least]

    # --- tidying ----------------------------------------------------------------------------------------------------

    def consolidate(
        self, *, alike: float | None = None, min_quality: float = 0.0, dry_run: bool = False
    ) -> Consolidation:  # fmt: skip
        """Merges near-duplicates (of one kind of verdict and one category) and prunes what is too bad, all or none.

        Beginning with the best, each pattern takes in those whose cosine to it is at least `alike`. What is pruned is
        handed back. The cost grows with the square of the number of patterns.
        """
        alike = self.alike if alike is None else alike
        _check_share("alike", alike)
        _check_share("min_quality", min_quality)
        merged = _merge_alike(self._patterns, alike)
        kept = [one for one in merged if one.quality >= min_quality]
        pruned = tuple(one for one in merged if one.quality < min_quality)
        done = Consolidation(len(self), len(kept), len(self) - len(merged), pruned, dry_run)
        if not dry_run:
            if len(kept) != len(self):
                self._replace(kept)
            self.consolidations += 1
        return done

    # --- moving -----------------------------------------------------------------------------------------------------

    def export(self) -> str:
        """Returns the patterns as JSON lines: a line that says what follows, then one for each."""
        return write_patterns(self._patterns)

    def load(self, text: str | bytes) -> Import:
        """Takes in what `export` wrote, all or none; of two patterns with one id the one that has seen more stands.

        Raises:
            BrokenPatterns: a line is damaged, missing or too many; the text says which.
            InvalidEmbedding: they are of another dimension than the patterns here.
        """
        return self.put(read_patterns(text))


def _merge_alike(patterns: Sequence[Pattern], alike: float) -> list[Pattern]:
    """Returns the patterns, each near-duplicate in the best of its kind; in the order in which those that stay came."""
    import numpy as np

    count = len(patterns)
    if count < 2:
        return list(patterns)
    rows = np.asarray([one.embedding for one in patterns], dtype=np.float64)
    order = sorted(range(count), key=lambda place: (-patterns[place].quality, patterns[place].id))
    into = [-1] * count
    ordered = rows[order]
    for start in range(0, count, _ROWS):
        near = ordered[start : start + _ROWS] @ ordered.T >= alike
        for row, place in enumerate(order[start : start + _ROWS]):
            if into[place] >= 0:
                continue
            into[place] = place
            for other in np.flatnonzero(near[row]).tolist():
                candidate = order[other]
                if into[candidate] < 0 and can_merge(patterns[place], patterns[candidate]):
                    into[candidate] = place
    heads = {place: patterns[place] for place in range(count) if into[place] == place}
    for place in order:
        if into[place] != place:
            heads[into[place]] = merge(heads[into[place]], patterns[place])
    return list(heads.values())


def _rank(pattern: Pattern) -> tuple[int, str]:
    return pattern.weight, pattern.model_dump_json()


def _check_share(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InvalidOption(name, value, "a number from 0 to 1")
