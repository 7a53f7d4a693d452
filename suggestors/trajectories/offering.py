"""Offers the lessons of similar past trajectories as hypotheses, at the start of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

from ...engine import Proposal, propose
from ...engine.errors import InvalidOption
from ...facts import Fact, View
from .distil import plain
from .memory import Match, PatternMemory
from .payloads import LessonBook, LessonQuery, OfferedLesson


class LessonOffering:
    """Answers each `LessonQuery` with the lessons of the most similar trajectories that the ledger knows.

    ```python
    from quiesce.suggestors import LessonOffering
    from quiesce.suggestors.trajectories import LessonQuery
    from quiesce.suggestors.trajectories.learn import PROJECTIONS

    ledger = FactLog.open(projections=PROJECTIONS)
    asked = ledger.context()                                          # what it has learned, as facts
    asked.add(LessonQuery(embedding=(0.1, 0.9)), id="q1")
    offered = Engine([LessonOffering(k=3)]).run_sync(asked, log=ledger)
    ```

    What it knows are the `LessonBook` facts with which `log.context()` lets a run begin, so a run that is replayed is
    offered the same. A lesson is offered once for each query, because of the query and the books that have it, with
    the similarity as its confidence; patterns of other dimensions than the query's are not looked at.
    """

    name = "LessonOffering"
    reads = (LessonQuery, LessonBook)
    writes = (OfferedLesson,)

    def __init__(self, *, k: int = 5, at_least: float = 0.7, most: int = 10) -> None:
        for name, value in (("k", k), ("most", most)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidOption(name, value, "a whole number from 1")
        if isinstance(at_least, bool) or not isinstance(at_least, (int, float)) or not 0 <= at_least <= 1:
            raise InvalidOption("at_least", at_least, "a number from 0 to 1")
        self.k, self.at_least, self.most = k, at_least, most
        self._cache: tuple[tuple[bytes, ...], int, PatternMemory] | None = None

    def accepts(self, view: View) -> bool:
        """Wants the view when there is a new query; a book by itself answers nobody."""
        return len(view.new(LessonQuery)) > 0

    def suggest(self, view: View) -> Iterator[Proposal[OfferedLesson]]:
        """Yields the lessons for each new query."""
        books = view.all(LessonBook)
        homes = {one.id: book for book in books for one in book.payload.patterns}
        for query in view.new(LessonQuery):
            memory = self._memory(books, len(query.payload.embedding))
            if not len(memory):
                continue
            said = query.payload
            found = memory.similar(said.embedding, self.k, at_least=self.at_least, category=said.category)
            yield from self._offers(query, found, homes)

    def _offers(
        self, query: Fact[LessonQuery], found: Iterable[Match], homes: dict[UUID, Fact[LessonBook]]
    ) -> Iterator[Proposal[OfferedLesson]]:
        offers: dict[str, OfferedLesson] = {}
        reasons: dict[str, dict[Fact[LessonBook], None]] = {}
        for match in found:  # from the most similar down
            pattern, similarity = match.pattern, round(match.similarity, 6)
            for lesson in pattern.lessons:
                key = plain(lesson.text)
                known = offers.get(key)
                reasons.setdefault(key, {})[homes[pattern.id]] = None
                offers[key] = known.model_copy(update={"seen": known.seen + lesson.seen}) if known else OfferedLesson(
                    text=lesson.text, similarity=similarity, pattern=pattern.id, verdict=pattern.verdict.kind,
                    quality=pattern.quality, seen=lesson.seen,
                )  # fmt: skip
        ranked = sorted(offers.items(), key=lambda item: (-item[1].similarity, -item[1].seen))
        for place, (key, offer) in enumerate(ranked[: self.most]):
            confidence = min(1.0, max(0.0, offer.similarity))
            because = [query, *reasons[key]]
            yield propose(offer, id=f"{query.id[:300]}/{place}", because=because, confidence=confidence)

    def _memory(self, books: Iterable[Fact[LessonBook]], dimension: int) -> PatternMemory:
        """Returns the memory of these very books: kept as long as they are to the letter the same."""
        digests = tuple(book.sha256 for book in books)
        cached = self._cache  # looked at once: another thread may put its own there at any moment
        if cached is not None and cached[:2] == (digests, dimension):
            return cached[2]
        memory = PatternMemory.of_books([book.payload for book in books], dimension)
        self._cache = digests, dimension, memory
        return memory
