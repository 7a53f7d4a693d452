"""Holds the pattern memory to exact answers, and to losing nothing when it is tidied, moved or fed with nonsense."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import InvalidOption
from quiesce.facts import FactLog
from quiesce.suggestors.trajectories.analysis import analyse
from quiesce.suggestors.trajectories.distil import category_of, distil, merge, pattern_of, plain
from quiesce.suggestors.trajectories.embedding import InvalidEmbedding, cosine, unit
from quiesce.suggestors.trajectories.errors import BrokenPatterns, UnknownTrajectory
from quiesce.suggestors.trajectories.memory import PatternMemory
from quiesce.suggestors.trajectories.nearest import Vectors
from quiesce.suggestors.trajectories.payloads import Lesson, Pattern, Trajectory, TrajectoryMetadata
from quiesce.suggestors.trajectories.recording import record_trajectory
from quiesce.suggestors.trajectories.verdict import RootCause, Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)
FAILED = Verdict.failure(RootCause.unknown("boom"))


def past(embedding: Any, verdict: Verdict | None = None, *lessons: str, category: str | None = None) -> Trajectory:
    metadata = TrajectoryMetadata(request_type=category)
    begun = Trajectory.model_validate({
        **dict(Trajectory.begin(embedding, started=AT, metadata=metadata)), "lessons": lessons,
    })  # fmt: skip
    return begun.complete(verdict if verdict is not None else Verdict.success(), at=AT, latency_ms=1)


def pattern(number: int, embedding: Any = (1.0, 0.0), **more: Any) -> Pattern:
    said = {"id": UUID(int=number), "embedding": embedding, "verdict": Verdict.success(), "quality": 1, "last": AT}
    return Pattern.model_validate({**said, **more})


VALUES = st.floats(-1, 1, allow_subnormal=False).map(lambda value: round(value, 3))
VECTORS = st.lists(VALUES, min_size=3, max_size=3).filter(any)
TRAJECTORIES = st.lists(
    st.builds(
        lambda embedding, good, lessons, category: past(
            embedding, None if good else FAILED, *lessons, category=category
        ),
        VECTORS,
        st.booleans(),
        st.lists(st.sampled_from([f"lesson {n}" for n in range(12)]), max_size=3),
        st.sampled_from(["lookup", "chat"]),
    ),
    max_size=25,
)


# --- finding ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(rows=st.lists(VECTORS, min_size=1, max_size=30), query=VECTORS, k=st.integers(0, 40))
def test_similar_is_what_comparing_with_each_gives(rows: list[list[float]], query: list[float], k: int) -> None:
    memory = PatternMemory([pattern(place, unit(row)) for place, row in enumerate(rows)])
    found = memory.similar(query, k)
    exact = sorted((cosine(query, one.embedding) for one in memory.patterns), reverse=True)[:k]

    assert exact == pytest.approx([match.similarity for match in found], abs=1e-6)
    assert [cosine(query, match.pattern.embedding) for match in found] == pytest.approx(
        [match.similarity for match in found], abs=1e-6
    )
    assert len({match.pattern.id for match in found}) == min(k, len(rows))


def test_equally_similar_patterns_come_in_the_order_in_which_they_came() -> None:
    """J 48: the order was that of a hash map."""
    memory = PatternMemory([pattern(number) for number in (5, 3, 9, 1)])

    assert [5, 3, 9] == [match.pattern.id.int for match in memory.similar([2.0, 0.0], 3)]


def test_a_category_chooses_before_k_cuts_off() -> None:
    """I.4, J 48: limit before sort."""
    rows = [
        pattern(number, unit((1.0, number / 10)), category="even" if number % 2 == 0 else "odd") for number in range(10)
    ]
    memory = PatternMemory(rows)

    assert [8, 6] == [match.pattern.id.int for match in memory.similar([0.0, 1.0], 2, category="even")]
    assert [] == memory.similar([1.0, 0.0], 2, category="none")
    assert [9] == [match.pattern.id.int for match in memory.similar([1.0, 0.9], 5, at_least=0.9999)]


def shaped(kind: str, count: int, dimension: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((count, dimension))
    if kind == "noise":
        return noise
    if kind == "decay":
        return noise * np.arange(1, dimension + 1) ** -0.8
    if kind == "clusters":
        return rng.standard_normal((20, dimension))[rng.integers(0, 20, count)] + 0.2 * noise
    if kind == "twins":
        return np.repeat(noise[: count // 5], 5, axis=0)
    return np.sign(noise) * np.where(rng.random(noise.shape) < 0.9, 0, 1) + np.eye(count, dimension)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise", "decay", "clusters", "twins", "sparse"])
def test_the_index_gives_exactly_what_looking_at_all_gives(kind: str) -> None:
    """Past 100,000 patterns (here past 100) the answers are the same, to the last bit and in the same order."""
    rows = shaped(kind, 3_000, 96, seed=1)
    queries = np.concatenate([rows[::300] + 0.01 * shaped("noise", 10, 96, seed=2), shaped("noise", 10, 96, seed=3)])
    brute, indexed = Vectors(96), Vectors(96, brute=100)
    brute.extend(rows)
    indexed.extend(rows[:2_900])
    indexed.nearest(rows[0], 1)
    indexed.extend(rows[2_900:])  # behind the index
    rng = np.random.default_rng(4)
    for query in queries:
        among = rng.random(3_000) < 0.3
        for k in (1, 7, 200):
            assert brute.nearest(query, k) == indexed.nearest(query, k)
            assert brute.nearest(query, k, among) == indexed.nearest(query, k, among)


def test_the_index_looks_at_few_where_vectors_stand_in_clusters() -> None:
    rows = shaped("clusters", 5_000, 96, seed=1)
    indexed = Vectors(96, brute=100)
    indexed.extend(rows)
    looked = []
    for query in rows[::500]:
        indexed.nearest(query, 5)
        looked.append(indexed.looked_at)

    assert max(looked) < 1_000


def test_the_index_is_built_anew_once_much_was_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """I.4, J 48: an index that was never brought up to date. What is behind it is looked at in full until then."""
    monkeypatch.setattr("quiesce.suggestors.trajectories.nearest._FRESH", 500)
    rows = shaped("clusters", 6_000, 96, seed=1)
    indexed = Vectors(96, brute=100)
    indexed.extend(rows[:5_000])
    indexed.nearest(rows[0], 5)
    indexed.extend(rows[5_000:5_400])
    indexed.nearest(rows[0], 5)
    behind = indexed.looked_at
    indexed.extend(rows[5_400:])
    indexed.nearest(rows[0], 5)

    assert 400 <= behind < 1_500
    assert indexed.looked_at < 1_000


def test_where_the_index_is_no_help_it_is_left_alone() -> None:
    rows = shaped("noise", 3_000, 96, seed=1)
    indexed, brute = Vectors(96, brute=100), Vectors(96)
    indexed.extend(rows)
    brute.extend(rows)

    assert [brute.nearest(row, 3) for row in rows[:10]] == [indexed.nearest(row, 3) for row in rows[:10]]
    assert 3_000 == indexed.looked_at


@pytest.mark.soak
def test_a_memory_of_more_than_a_hundred_thousand_is_exact() -> None:
    rows = shaped("clusters", 120_000, 64, seed=1)
    brute, indexed = Vectors(64, brute=10**9), Vectors(64)
    brute.extend(rows)
    indexed.extend(rows)

    assert [brute.nearest(row, 5) for row in rows[::5_000]] == [indexed.nearest(row, 5) for row in rows[::5_000]]


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e150, 1e300])
def test_the_length_of_a_vector_is_no_matter(scale: float) -> None:
    memory = PatternMemory([pattern_of(past([3 * scale, 4 * scale])), pattern_of(past([scale, -scale]))])
    (best, _) = memory.similar([30 * scale, 40 * scale], 2)

    assert pytest.approx(1.0) == best.similarity


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ([1.0], "the query embedding has 1 dimensions, not 2"),
        ([0.0, 0.0], "the query embedding is all zeros"),
        ([float("nan"), 1.0], "the query embedding holds nan at place 0"),
        ([], "the query embedding is empty"),
        ("ab", "the query embedding is 'ab'"),
        (None, "the query embedding is None"),
    ],
)
def test_a_query_that_is_no_embedding_is_told_what_is_wrong(query: Any, problem: str) -> None:
    memory = PatternMemory([pattern(1)])
    with pytest.raises(InvalidEmbedding, match=problem):
        memory.similar(query)


def test_an_empty_memory_finds_nothing() -> None:
    assert [] == PatternMemory().similar([1.0, 2.0, 3.0])
    assert (0, None, 0.0, frozenset()) == (
        len(PatternMemory()),
        PatternMemory().dimension,
        PatternMemory().mean_quality,
        PatternMemory().lessons,
    )


# --- taking in --------------------------------------------------------------------------------------------------------


def test_only_what_is_good_enough_becomes_a_pattern_and_the_others_are_counted() -> None:
    """I.6, I.14: what was below was dropped without a word."""
    memory = PatternMemory(threshold=0.5)
    good, bad = memory.add(past([1, 0])), memory.add(past([1, 0], FAILED))

    assert good is not None
    assert bad is None
    assert (1, 1) == (len(memory), memory.below)


def test_a_trajectory_that_nobody_could_find_again_is_refused() -> None:
    with pytest.raises(UnknownTrajectory, match="it has no query embedding"):
        PatternMemory().add(past(None))
    with pytest.raises(UnknownTrajectory, match="it is unfinished"):
        PatternMemory().add(Trajectory.begin([1, 0]))


def test_taking_in_is_all_or_nothing() -> None:
    """I.13: lists and counts changed before the store failed."""
    memory = PatternMemory([pattern(1)])
    before = memory.export()
    for bad in (past([1, 0, 0]), Trajectory.begin([1, 0])):
        with pytest.raises((InvalidEmbedding, UnknownTrajectory)):
            memory.add_all([past([1, 0]), past([0, 1], FAILED), bad])

    assert (before, 0) == (memory.export(), memory.below)


def test_a_pattern_that_comes_again_counts_once_and_the_one_that_has_seen_more_stands() -> None:
    """I.14: an import overwrote what was there, and listed it twice."""
    memory = PatternMemory([pattern(1), pattern(2)])
    done = memory.put([pattern(1), pattern(2, weight=3, lessons=[Lesson(text="x")]), pattern(3), pattern(3)])

    assert (1, 2, 1) == (done.added, done.same, done.revised)
    assert [1, 2, 3] == [one.id.int for one in memory.patterns]
    assert 3 == memory.patterns[1].weight
    assert memory.put([pattern(2)]).revised == 1
    assert 3 == memory.patterns[1].weight
    assert 3 == len(memory.similar([1.0, 0.0], 10))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("threshold", -0.1), ("threshold", 1.1), ("threshold", float("nan")), ("threshold", "high"), ("alike", 2),
        ("capacity", 0), ("capacity", 1.5), ("brute", -1), ("threshold", True),
    ],
)  # fmt: skip
def test_an_option_outside_its_range_is_refused_with_the_range(option: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"{option}=.* is not a (number from 0 to 1|whole number from 1)"):
        PatternMemory(**{option: value})


@pytest.mark.parametrize("k", [-1, 1.5, "many", True])
def test_k_is_a_whole_number(k: Any) -> None:
    with pytest.raises(InvalidOption, match=r"k=.* is not a whole number from 0"):
        PatternMemory().similar([1.0], k)


def test_a_memory_is_made_of_a_log() -> None:
    log = FactLog.open()
    done = [past([1, 0]), past([0, 1]), past([0, 1], FAILED), past(None)]
    for one in done:
        record_trajectory(log, one)
    memory = PatternMemory.of_log(log)

    assert ([done[0].uuid, done[1].uuid], 1) == ([one.id for one in memory.patterns], memory.below)


def test_a_trajectory_has_one_category_everywhere() -> None:
    """I.12: three ways to infer it, which disagreed."""
    done = [past([1, 0], category="lookup"), past([1, 0]), past([1, 0], category="x" * 1_000)]
    tooled = done[1].model_copy(update={"metadata": TrajectoryMetadata(tools_invoked=("search", "read"))})
    for one in (*done, tooled):
        assert category_of(one) == pattern_of(one).category == analyse(one, {}).category

    assert ["lookup", "general", "x" * 200, "search"] == [category_of(one) for one in (*done, tooled)]


# --- tidying ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(done=TRAJECTORIES, alike=st.floats(0, 1), least=st.floats(0, 1))
@settings(max_examples=60)
def test_consolidation_loses_no_lesson_and_no_weight(done: list[Trajectory], alike: float, least: float) -> None:
    """I.9, J 47: merged patterns were deleted without being merged. What is pruned is handed back."""
    memory = PatternMemory(threshold=0, capacity=10**6)
    memory.add_all(done)
    planned = memory.consolidate(alike=alike, min_quality=least, dry_run=True)
    assert len(done) == len(memory)
    report = memory.consolidate(alike=alike, min_quality=least)
    everything = [*memory.patterns, *report.pruned]

    assert (planned.after, planned.merged, planned.pruned) == (report.after, report.merged, report.pruned)
    assert len(done) == sum(one.weight for one in everything) == report.before
    assert sum(len(one.lessons) for one in done) == sum(lesson.seen for one in everything for lesson in one.lessons)
    assert all(one.quality >= least for one in memory.patterns)
    assert all(one.quality < least for one in report.pruned)
    assert report.after == len(memory)
    for match in memory.similar([1.0, 0.0, 0.0], 100) if done and len(memory) else ():  # no stale entries: I.4
        assert match.pattern in memory.patterns
        assert cosine([1.0, 0.0, 0.0], match.pattern.embedding) == pytest.approx(match.similarity, abs=1e-6)


def test_only_patterns_of_one_kind_are_merged() -> None:
    memory = PatternMemory(threshold=0)
    memory.add_all(
        [past([1, 0], None, "a"), past([1, 0.01], None, "b"), past([1, 0], FAILED, "c"), past([0, 1], None, "d")]
    )
    memory.add_all([past([1, 0], None, "e", category="chat")])
    report = memory.consolidate()

    assert (5, 4, 1, ()) == (report.before, report.after, report.merged, report.pruned)
    assert [("a", "b"), ("c",), ("d",), ("e",)] == [
        tuple(lesson.text for lesson in one.lessons) for one in memory.patterns
    ]


def test_a_consolidation_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """J 47: transactional."""
    memory = PatternMemory([pattern(number, unit((1.0, number / 1000))) for number in range(10)])
    before = memory.export()

    def fail(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("quiesce.suggestors.trajectories.memory.merge", fail)
    with pytest.raises(MemoryError):
        memory.consolidate()

    assert (before, 0) == (memory.export(), memory.consolidations)
    assert 10 == len(memory.similar([1.0, 0.0], 20))


def test_a_memory_over_its_capacity_consolidates_by_itself() -> None:
    """I.10: auto_consolidate never ran, and counters stayed 0."""
    memory = PatternMemory(threshold=0, capacity=10)
    for number in range(11):
        memory.add(past([1, number / 1_000], None, f"lesson {number}"))

    assert (1, 1) == (len(memory), memory.consolidations)
    assert {f"lesson {number}" for number in range(11)} == memory.lessons
    assert 11 == memory.patterns[0].weight


def test_what_is_not_alike_stays_whatever_the_capacity() -> None:
    memory = PatternMemory(threshold=0, capacity=2)
    for row in np.eye(8):
        memory.add(past(row))

    assert 8 == len(memory)
    assert 1 <= memory.consolidations <= 4  # as often as it has grown by a half, not with every addition


def test_the_mean_quality_is_that_of_the_trajectories() -> None:
    """I.10: one NaN poisoned it. Here none gets in."""
    memory = PatternMemory(threshold=0)
    memory.add_all(
        [past([1, 0], Verdict.partial(0.2)), past([1, 0.001], Verdict.partial(0.4)), past([0, 1], Verdict.partial(0.9))]
    )
    memory.consolidate()

    assert pytest.approx(0.5) == memory.mean_quality


# --- distilling -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(done=TRAJECTORIES, alike=st.one_of(st.none(), st.floats(-1, 1)))
@settings(max_examples=60)
def test_distilling_loses_no_lesson_and_changes_nothing_that_went_in(
    done: list[Trajectory], alike: float | None
) -> None:
    before = [one.model_dump_json() for one in done]
    patterns = distil(done, alike=alike)

    assert {plain(text) for one in done for text in one.lessons} == {
        plain(lesson.text) for one in patterns for lesson in one.lessons
    }
    assert len(done) == sum(one.weight for one in patterns)
    assert before == [one.model_dump_json() for one in done]


def test_lessons_that_only_sound_alike_are_both_kept() -> None:
    (found,) = distil(
        [past([1, 0], None, "Retry  once", "never retry"), past([1, 0], None, "retry once", "retry twice")]
    )

    assert [("Retry  once", 2), ("never retry", 1), ("retry twice", 1)] == [
        (one.text, one.seen) for one in found.lessons
    ]


def test_distilling_what_cannot_be_found_again_is_refused_as_a_whole() -> None:
    """I.6: trajectories were taken out, and lost with the error."""
    with pytest.raises(UnknownTrajectory):
        distil([past([1, 0]), past(None)])


def test_a_merger_of_opposite_directions_has_a_direction() -> None:
    found = merge(pattern(1, (1.0, 0.0)), pattern(2, (-1.0, 0.0), weight=1))

    assert pytest.approx(1.0) == sum(value * value for value in found.embedding)


# --- moving -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(done=TRAJECTORIES)
@settings(max_examples=40)
def test_what_is_exported_is_imported_as_it_was(done: list[Trajectory]) -> None:
    memory = PatternMemory(distil(done), threshold=0)
    text = memory.export()
    other = PatternMemory(threshold=0)
    other.load(text)

    assert (memory.patterns, text) == (other.patterns, other.export())
    again = other.load(text)
    assert (0, len(memory), 0) == (again.added, again.same, again.revised)


GOOD = PatternMemory([pattern(1, lessons=[Lesson(text="x")]), pattern(2)]).export()
HEAD, FIRST, SECOND = GOOD.splitlines()


def test_counts_of_any_size_can_be_merged_and_meant() -> None:
    """An import may claim what it likes, up to the bound: what is made of it stays within that."""
    text = f"{HEAD.replace('2}', '1}')}\n{changed(weight=2**53, lessons=[{'text': 'x', 'seen': 2**53}])}"
    memory = PatternMemory()
    memory.load(text)
    (heavy,) = memory.patterns
    memory.put([heavy.model_copy(update={"id": UUID(int=heavy.id.int + 1)})])
    memory.consolidate()

    assert [(2**53, 2**53)] == [(one.weight, one.lessons[0].seen) for one in memory.patterns]
    assert pytest.approx(heavy.quality) == memory.mean_quality


def changed(**fields: Any) -> str:
    return json.dumps({**json.loads(FIRST), **fields})


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "it is not JSON"),
        ("[]", 1, "it is not the head of an export"),
        (HEAD.replace(": 1", ": 2", 1), 1, "it is of version 2, and this build reads 1"),
        (HEAD.replace("2}", "-2}"), 1, "its number of patterns is -2"),
        (HEAD.replace("2}", "true}"), 1, "its number of patterns is True"),
        ("[" * 100_000, 1, "it is not JSON"),
        (HEAD + "\n" + FIRST, 2, "the text ends after 1 of 2 patterns"),
        (GOOD + FIRST, 4, "it is one more than the 2"),
        (HEAD + "\n" + FIRST[:-5] + "\n" + SECOND, 2, "Invalid JSON"),
        (f"{HEAD}\n{FIRST}\n{'[' * 100_000}", 3, "Invalid JSON"),
        (f"{HEAD}\n{FIRST}\n{{}}", 3, "id: Field required"),
        (
            f"{HEAD}\n{FIRST}\n{changed(embedding=[1.0, 0.0, 0.0])}",
            3,
            "its embedding has 3 dimensions, and the first has 2",
        ),
        (f"{HEAD}\n{FIRST}\n{changed(embedding=[0.0, 0.0])}", 3, "this embedding is all zeros"),
        (
            f"{HEAD}\n{FIRST}\n{changed(embedding=[float('nan'), 0.0])}",
            3,
            "embedding.0: Input should be a finite number",
        ),
        (f"{HEAD}\n{FIRST}\n{changed(embedding='x')}", 3, "embedding: Input should be a valid (tuple|array)"),
        (f"{HEAD}\n{FIRST}\n{changed(quality=7)}", 3, "quality: Input should be less than or equal to 1"),
        (f"{HEAD}\n{FIRST}\n{changed(quality=-0.1)}", 3, "quality: Input should be greater"),
        (f"{HEAD}\n{FIRST}\n{changed(weight=0)}", 3, "weight: Input should be greater"),
        (f"{HEAD}\n{FIRST}\n{changed(weight=1e400)}", 3, "weight"),
        (f"{HEAD}\n{FIRST}\n{changed(weight=10**400)}", 3, "weight: Input should be less"),
        (f"{HEAD}\n{FIRST}\n{changed(lessons=[{'text': 'x', 'seen': 10**400}])}", 3, "lessons.0.seen: Input should be"),
        (f"{HEAD}\n{FIRST}\n{changed(verdict={'kind': 'fine'})}", 3, "verdict: Input tag 'fine'"),
        (f"{HEAD}\n{FIRST}\n{changed(id='x')}", 3, "id: Input should be a valid UUID"),
        (f"{HEAD}\n{FIRST}\n{changed(last='yesterday')}", 3, "last"),
        (f"{HEAD}\n{FIRST}\n{changed(mood='good')}", 3, "mood: Extra inputs"),
        (f"{HEAD}\n{FIRST}\n{changed(lessons=[{'text': 3}])}", 3, "lessons.0.text"),
    ],
)
def test_a_text_that_is_no_export_is_refused_with_the_line_and_changes_nothing(
    text: str, line: int, problem: str
) -> None:
    memory = PatternMemory([pattern(7, (0.0, 1.0))])
    before = memory.export()
    with pytest.raises(
        BrokenPatterns, match=rf"line {line} of the patterns: .*{problem}.*Nothing was taken in"
    ) as caught:
        memory.load(text)

    assert line == caught.value.line
    assert before == memory.export()


@given(place=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255))
def test_a_byte_that_was_changed_is_noticed_or_changes_a_value_that_may_be_so(place: int, byte: int) -> None:
    raw = bytearray(GOOD.encode())
    raw[place] = byte
    memory = PatternMemory(threshold=0)
    try:
        memory.load(bytes(raw))
    except (BrokenPatterns, InvalidEmbedding):
        assert 0 == len(memory)
    else:
        assert 2 >= len(memory) >= 1


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_refused_and_nothing_else(raw: bytes) -> None:
    with pytest.raises(BrokenPatterns):
        PatternMemory().load(raw)
