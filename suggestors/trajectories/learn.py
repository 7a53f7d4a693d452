"""Learns from the trajectories of a ledger: which failures recur and what helped, how runs end, which lessons apply.

Three projections, each a pure fold, bounded in what a run begins with:

- `failure_patterns` counts `StepFailure` facts by their signature, the most frequent of them in a few books;
- `verdict_tallies` counts trajectories by the kind of their verdict;
- `lesson_books` keeps patterns in books: those in whose direction an embedding points go into one book, so a fold
  looks at a few patterns only. A book that is full merges the two that are most alike, so that lessons outlive it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from itertools import combinations
from math import fsum
from uuid import UUID

from ...facts import Fact, projection
from .distil import ALIKE, can_merge, merge, nearest, pattern_of
from .embedding import cosine, unit
from .failures import signature_of
from .payloads import FailureBook, FailurePattern, LessonBook, Pattern, Remedy, StepFailure, Trajectory, VerdictTally

SLOTS, FAILURES = 64, 16
"""Into how many books failures are dealt out, and how many a book lists."""
REMEDIES = 16
"""How many remedies a failure pattern lists."""
SIDES = 4
"""Planes through the origin that tell books apart: there are at most 2 ** 4 of them for each dimension."""
PAGES = 16
"""How many patterns a book holds."""
LETTERS = 1_000_000
"""How many characters the lessons of a book may have."""


def known_failures(books: Mapping[str, FailureBook]) -> dict[str, FailurePattern]:
    """Returns the failures in the values of `failure_patterns` by their signatures, sorted.

    ```python
    from quiesce.suggestors.trajectories import failure_patterns, known_failures

    ledger = FactLog.open(projections=[failure_patterns])
    known_failures(ledger.values(failure_patterns))                   # {}
    ```
    """
    return {one.signature: one for one in sorted(
        (one for book in books.values() for one in book.patterns), key=lambda one: one.signature
    )}  # fmt: skip


def _signature(failure: StepFailure) -> str:
    return signature_of(failure.action, failure.error)  # not the one that it says: who said it may be anybody


def _slot(fact: Fact[StepFailure]) -> str:
    return f"{sha256(_signature(fact.payload).encode()).digest()[0] % SLOTS:02}"


@projection(reads=[StepFailure], by=_slot)
def failure_patterns(before: FailureBook | None, fact: Fact[StepFailure]) -> FailureBook:
    """Counts a failure, what it came from, and what was done about it."""
    said = fact.payload
    signature = _signature(said)
    patterns = {one.signature: one for one in before.patterns} if before is not None else {}
    forgotten = before.forgotten if before is not None else 0
    known = patterns.get(signature)
    if known is None and len(patterns) >= FAILURES:
        gone = min(patterns.values(), key=lambda one: (one.seen, one.signature))
        del patterns[gone.signature]
        forgotten += gone.seen
    patterns[signature] = _count(known, said, signature)
    return FailureBook(patterns=tuple(patterns[name] for name in sorted(patterns)), forgotten=forgotten)


def _count(before: FailurePattern | None, said: StepFailure, signature: str) -> FailurePattern:
    causes = dict(before.causes) if before is not None else {}
    if said.cause:
        causes[said.cause] = causes.get(said.cause, 0) + 1
    remedies, forgotten = _count_remedy(before.remedies if before is not None else (), said)
    first = before if before is not None else said
    return FailurePattern(
        signature=signature, action=first.action, error=first.error, seen=before.seen + 1 if before is not None else 1,
        causes=causes, remedies=remedies, forgotten=(before.forgotten if before is not None else 0) + forgotten,
    )  # fmt: skip


def _count_remedy(known: Iterable[Remedy], said: StepFailure) -> tuple[tuple[Remedy, ...], int]:
    remedies = {one.action: one for one in known}
    if said.remedy is not None:
        before = remedies.get(said.remedy)
        tried, worked = (before.tried, before.worked) if before is not None else (0, 0)
        remedies[said.remedy] = Remedy(action=said.remedy, tried=tried + 1, worked=worked + said.worked)
    by_use = sorted(remedies.values(), key=lambda one: (-one.tried, one.action))
    kept = sorted(by_use[:REMEDIES], key=lambda one: one.action)
    return tuple(kept), sum(one.tried for one in by_use[REMEDIES:])


@projection(reads=[Trajectory], by=lambda fact: fact.payload.verdict.kind if fact.payload.is_finished else None)
def verdict_tallies(before: VerdictTally | None, fact: Fact[Trajectory]) -> VerdictTally:
    """Counts a trajectory under the kind of its verdict."""
    said = fact.payload
    count, quality, steps, tokens = (before.count, before.quality, before.steps, before.tokens) if before else (0,) * 4
    return VerdictTally(
        count=count + 1, quality=quality + said.quality, steps=steps + said.step_count,
        tokens=tokens + said.total_tokens,
    )  # fmt: skip


def book_of(trajectory: Trajectory) -> str | None:
    """Returns the name of the book that a trajectory goes into; None for one that nobody could find again."""
    if trajectory.query_embedding is None or not trajectory.is_finished or not trajectory.lessons:
        return None
    return name_of_book(trajectory.query_embedding)


def name_of_book(embedding: tuple[float, ...]) -> str:
    """Returns the name of the book for a direction: the dimension, and on which side of each plane it lies."""
    pointed = unit(embedding)
    sides = [fsum(map(float.__mul__, pointed, plane)) >= 0 for plane in _planes(len(pointed))]
    return f"{len(pointed)}-{''.join('+' if side else '-' for side in sides)}"


@lru_cache(maxsize=32)
def _planes(dimension: int) -> tuple[tuple[float, ...], ...]:
    """Returns directions of ones and minus ones: fixed by hashes, so that they are the same everywhere."""
    planes = []
    for plane in range(SIDES):
        bits = b"".join(sha256(b"%d/%d" % (plane, block)).digest() for block in range(dimension // 256 + 1))
        planes.append(tuple(1.0 if bits[at // 8] >> at % 8 & 1 else -1.0 for at in range(dimension)))
    return tuple(planes)


@projection(reads=[Trajectory], by=lambda fact: book_of(fact.payload))
def lesson_books(before: LessonBook | None, fact: Fact[Trajectory]) -> LessonBook:
    """Puts the pattern of a trajectory into a book: the good and the bad, since failures teach most."""
    patterns = list(before.patterns) if before is not None else []
    add_to(patterns, pattern_of(fact.payload), PAGES)
    patterns, gone = _make_room(patterns)
    forgotten = before.forgotten if before is not None else 0
    return LessonBook(patterns=tuple(sorted(patterns, key=lambda one: one.id)), forgotten=forgotten + gone)


def _make_room(patterns: list[Pattern]) -> tuple[list[Pattern], int]:
    """Returns patterns whose lessons are no longer than a book, without those that were learned least often."""
    letters = sum(len(lesson.text) for one in patterns for lesson in one.lessons)
    if letters <= LETTERS:
        return patterns, 0
    ranked = sorted(
        (lesson.seen, one.last, one.id, lesson.text) for one in patterns for lesson in one.lessons
    )  # fmt: skip
    gone: set[tuple[UUID, str]] = set()
    for _, _, id, text in ranked:
        if letters <= LETTERS:
            break
        letters -= len(text)
        gone.add((id, text))
    kept = [
        one.model_copy(update={"lessons": tuple(x for x in one.lessons if (one.id, x.text) not in gone)})
        for one in patterns
    ]  # fmt: skip
    return kept, len(gone)


def add_to(patterns: list[Pattern], pattern: Pattern, size: int) -> None:
    """Adds a pattern to a few, merged with its near-duplicate if there is one; beyond `size` the most alike merge.

    Those of one kind of verdict go first; only where no two are of one kind does a merger lose a verdict, never a
    lesson.
    """
    found = nearest(pattern, patterns, ALIKE)
    if found is not None:
        patterns[found] = merge(patterns[found], pattern)
        return
    patterns.append(pattern)
    while len(patterns) > size:
        pairs = list(combinations(range(len(patterns)), 2))
        one, other = max(pairs, key=lambda pair: _closeness(patterns, pair))
        patterns[one] = merge(patterns[one], patterns[other])
        del patterns[other]


def _closeness(patterns: list[Pattern], pair: tuple[int, int]) -> tuple[bool, float, int, int]:
    one, other = patterns[pair[0]], patterns[pair[1]]
    return can_merge(one, other), cosine(one.embedding, other.embedding), -pair[0], -pair[1]


PROJECTIONS = (failure_patterns, verdict_tallies, lesson_books)
"""What a log is opened with: `FactLog.open(…, projections=PROJECTIONS)`."""


def total_of(tallies: Mapping[str, VerdictTally]) -> int:
    """Returns how many trajectories were counted."""
    return sum(tally.count for tally in tallies.values())
