"""Compresses trajectories to what is worth keeping: where they point, how they ended, how well, and every lesson.

Distilling takes values and returns values: what went in is still there, and no lesson is lost on the way. Two lessons
are the same if they differ in spaces and capitals only; likeness of meaning is not enough to throw one away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import fsum

from .embedding import cosine, rounded, unit
from .errors import UnknownTrajectory
from .payloads import MOST_COUNTED, Lesson, Pattern, Trajectory, check_trajectory

ALIKE = 0.95
"""The cosine from which two patterns of one kind of verdict are near-duplicates."""


def category_of(trajectory: Trajectory) -> str:
    """Returns the one category that a trajectory has everywhere: request type, else first tool, else "general"."""
    metadata = trajectory.metadata
    return (metadata.request_type or (metadata.tools_invoked[0] if metadata.tools_invoked else "general"))[:200]


def pattern_of(trajectory: Trajectory) -> Pattern:
    """Returns what is left of one trajectory.

    Raises:
        UnknownTrajectory: it is unfinished, or has no query embedding, so nobody could find it again.
    """
    check_trajectory(trajectory)
    if trajectory.completed is None or trajectory.query_embedding is None:
        problem = "it is unfinished" if trajectory.completed is None else "it has no query embedding"
        raise UnknownTrajectory(str(trajectory.uuid), f"{problem}, so there is no pattern of it")
    return Pattern(
        id=trajectory.uuid, embedding=rounded(unit(trajectory.query_embedding)), verdict=trajectory.verdict,
        quality=trajectory.quality, lessons=count_lessons([Lesson(text=text) for text in trajectory.lessons]),
        category=category_of(trajectory), last=trajectory.completed,
    )  # fmt: skip


def distil(trajectories: Iterable[Trajectory], *, alike: float | None = ALIKE) -> tuple[Pattern, ...]:
    """Returns the patterns of trajectories, near-duplicates merged; `alike=None` merges none.

    ```python
    from quiesce.suggestors.trajectories import distil

    distil([])                                                        # ()
    ```

    Raises:
        UnknownTrajectory: one is unfinished or has no query embedding. Nothing was changed.
    """
    patterns = [pattern_of(one) for one in trajectories]
    if alike is None:
        return tuple(patterns)
    kept: list[Pattern] = []
    for pattern in patterns:
        found = nearest(pattern, kept, alike)
        if found is None:
            kept.append(pattern)
        else:
            kept[found] = merge(kept[found], pattern)
    return tuple(kept)


def nearest(pattern: Pattern, others: Sequence[Pattern], least: float) -> int | None:
    """Returns the place of the most similar pattern of the same kind of verdict, if it is similar enough."""
    best: tuple[float, int] | None = None
    for place, other in enumerate(others):
        if not can_merge(pattern, other):
            continue
        found = cosine(pattern.embedding, other.embedding)
        if found >= least and (best is None or found > best[0]):
            best = found, place
    return None if best is None else best[1]


def can_merge(one: Pattern, other: Pattern) -> bool:
    """Tells whether two patterns may become one: of one kind of verdict, one category, one dimension."""
    return (
        one.verdict.kind == other.verdict.kind
        and one.category == other.category
        and len(one.embedding) == len(other.embedding)
    )


def merge(one: Pattern, other: Pattern) -> Pattern:
    """Returns two patterns as one, each counting as much as the trajectories in it; every lesson is kept.

    The verdict is that of the heavier one, the id that of the older.
    """
    weight = one.weight + other.weight
    mean = [
        (x * one.weight + y * other.weight) / weight for x, y in zip(one.embedding, other.embedding, strict=True)
    ]  # fmt: skip
    older, heavier = min(one, other, key=lambda p: p.id), max(one, other, key=lambda p: (p.weight, -p.id.int))
    return Pattern(
        id=older.id, embedding=rounded(unit(mean)) if any(mean) else heavier.embedding, verdict=heavier.verdict,
        quality=min(1.0, fsum([one.quality * one.weight, other.quality * other.weight]) / weight),
        lessons=count_lessons([*one.lessons, *other.lessons]), weight=min(weight, MOST_COUNTED),
        category=heavier.category, last=max(one.last, other.last),
    )  # fmt: skip


def count_lessons(lessons: Iterable[Lesson]) -> tuple[Lesson, ...]:
    """Returns each lesson once, in order of its first mention, with how often it was learned."""
    counted: dict[str, Lesson] = {}
    for lesson in lessons:
        key = plain(lesson.text)
        known = counted.get(key)
        if known is None:
            counted[key] = lesson
        else:
            counted[key] = Lesson(text=known.text, seen=min(known.seen + lesson.seen, MOST_COUNTED))
    return tuple(counted.values())


def plain(text: str) -> str:
    """Returns what two lessons have in common that are the same."""
    return " ".join(text.casefold().split())
