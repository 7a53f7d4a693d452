"""Shows what a recorder notes, when, and that it is complete exactly once."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import anyio
import pytest
from pydantic import ValidationError

from quiesce.engine.testing import FakeClock
from quiesce.facts import FactError, FactLog, InvalidConfidence
from quiesce.suggestors.trajectories.embedding import InvalidEmbedding
from quiesce.suggestors.trajectories.errors import TrajectoryClosed
from quiesce.suggestors.trajectories.identity import uuid_of
from quiesce.suggestors.trajectories.outcome import StepOutcome
from quiesce.suggestors.trajectories.payloads import StepMetadata, Trajectory, TrajectoryStep
from quiesce.suggestors.trajectories.recorder import TrajectoryRecorder
from quiesce.suggestors.trajectories.verdict import RootCause, Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)
DONE = StepOutcome.success()


class Clock(FakeClock):
    """Moved by hand, without a loop; its two times can be moved apart."""

    def __init__(self) -> None:
        super().__init__(AT)
        self.monotonic = 0.0

    def seconds(self) -> float:
        return self.monotonic


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "log"])
def recorder(request: pytest.FixtureRequest, clock: Clock) -> Iterator[TrajectoryRecorder]:
    log = FactLog.open() if request.param == "log" else None
    recorder = TrajectoryRecorder([1.0, 0.0], log=log, clock=clock)
    yield recorder
    if not recorder.is_complete:
        recorder.complete()


def test_a_step_takes_the_time_since_start_step_and_none_without_it(recorder: TrajectoryRecorder, clock: Clock) -> None:
    recorder.start_step()
    clock.monotonic += 1.5
    timed = recorder.add_step("search", "why", DONE, 0.9)
    clock.monotonic += 1
    untimed = recorder.add_step("read", "why", DONE, 0.9)

    assert (1500.0, 0.0) == (timed.latency_ms, untimed.latency_ms)
    assert (0, 1, 2) == (timed.index, untimed.index, recorder.step_count)
    assert 2500.0 == recorder.complete(Verdict.success()).latency_ms


def test_a_full_step_is_counted_on_and_clears_the_timer(recorder: TrajectoryRecorder, clock: Clock) -> None:
    """D.16: the mark stayed, so the step after it took the time of both."""
    made = TrajectoryStep(index=7, action="old", rationale="", outcome=DONE, confidence=1, latency_ms=5, timestamp=AT)
    recorder.start_step()
    clock.monotonic += 9
    added = recorder.add_full_step(made)
    after = recorder.add_step("next", "", DONE, 1)

    assert (0, 5.0, 0.0) == (added.index, added.latency_ms, after.latency_ms)


def test_latency_is_monotonic_though_the_wall_clock_jumps(recorder: TrajectoryRecorder, clock: Clock) -> None:
    """D.10, J 45: a clock that is put back made it negative, and then huge."""
    recorder.start_step()
    clock._start = datetime(1999, 1, 1, tzinfo=UTC)
    clock.monotonic += 0.25
    step = recorder.add_step("search", "", DONE, 1)
    done = recorder.complete(Verdict.success())

    assert (250.0, 250.0) == (step.latency_ms, done.latency_ms)


def test_a_clock_that_runs_backwards_gives_no_negative_time(recorder: TrajectoryRecorder, clock: Clock) -> None:
    recorder.start_step()
    clock.monotonic -= 10

    assert 0.0 == recorder.add_step("search", "", DONE, 1).latency_ms
    assert 0.0 == recorder.complete(Verdict.success()).latency_ms


@pytest.mark.parametrize("confidence", [-0.01, 1.01, float("nan"), float("inf"), "0.5", None, True])
def test_a_confidence_that_is_no_share_is_refused_and_nothing_is_added(
    recorder: TrajectoryRecorder, confidence: Any
) -> None:
    """D.4, J 46. A timer that was started still runs."""
    recorder.start_step()
    with pytest.raises(InvalidConfidence, match="is not a number from 0 to 1"):
        recorder.add_step("search", "", DONE, confidence)

    assert 0 == recorder.step_count


def test_everything_that_is_said_beside_steps_is_in_the_trajectory(recorder: TrajectoryRecorder) -> None:
    recorder.set_session("s1")
    recorder.set_user("ana")
    recorder.set_request_type("lookup")
    recorder.set_attribute("region", "eu")
    for tag in ("a", "b", "a"):
        recorder.add_tag(tag)
    recorder.add_tokens(2**33, 7)
    recorder.add_tokens(output_tokens=3)
    for model in ("m1", "m2", "m1"):
        recorder.add_model(model)
    recorder.add_tool("search")
    recorder.add_step("read", "", DONE, 1, metadata=StepMetadata(tool="read", model="m3", input_tokens=1))
    recorder.add_lesson("look twice")
    recorder.add_lesson("look twice")
    recorder.set_response_embedding([0.0, 1.0])
    done = recorder.complete(Verdict.success())

    assert {
        "session_id": "s1", "user_id": "ana", "request_type": "lookup", "input_tokens": 2**33 + 1, "output_tokens": 10,
        "models_used": ("m1", "m2", "m3"), "tools_invoked": ("search", "read"), "tags": ("a", "b"),
        "attributes": {"region": "eu"},
    } == done.metadata.model_dump()  # fmt: skip
    assert (("look twice",), (0.0, 1.0)) == (done.lessons, done.response_embedding)


@pytest.mark.parametrize("tokens", [-1, 1.5, "many", None, 2**63])
def test_tokens_are_counted_up_only(recorder: TrajectoryRecorder, tokens: Any) -> None:
    recorder.add_tokens(10, 10)
    with pytest.raises(ValidationError):
        recorder.add_tokens(tokens)

    assert 20 == recorder.trajectory.total_tokens


@pytest.mark.parametrize(
    ("embedding", "problem"),
    [
        ([1.0], "has 1 dimensions, not 2"),
        ([1.0, 2.0, 3.0], "has 3 dimensions, not 2"),
        ([float("nan"), 1.0], "holds nan at place 0"),
        ([1.0, float("inf")], "holds inf at place 1"),
        ([0.0, 0.0], "is all zeros"),
        ([], "is empty"),
        ("ab", "is 'ab'"),
        ([1.0, "x"], "holds 'x' at place 1, which is no number"),
        ([True, False], "holds True at place 0"),
        ([10**400, 1], "at place 0, which is no number"),
    ],
)
def test_an_embedding_that_is_none_is_refused_with_the_place(
    recorder: TrajectoryRecorder, embedding: Any, problem: str
) -> None:
    """D.8. The text says what an embedding is."""
    with pytest.raises(InvalidEmbedding) as caught:
        recorder.set_response_embedding(embedding)
    with pytest.raises(InvalidEmbedding):
        recorder.add_step("search", "", DONE, 1, embedding=embedding)

    assert str(caught.value).startswith("the response embedding ")
    assert problem in str(caught.value)
    assert "finite numbers that are not all 0" in str(caught.value)
    assert 0 == recorder.step_count


def test_the_first_embedding_sets_the_dimension_of_all() -> None:
    with TrajectoryRecorder() as recorder:
        recorder.add_step("search", "", DONE, 1, embedding=[1.0, 2.0, 3.0])
        with pytest.raises(InvalidEmbedding, match="has 2 dimensions, not 3"):
            recorder.set_response_embedding([1.0, 2.0])


def test_a_trajectory_is_complete_once_and_takes_nothing_more(recorder: TrajectoryRecorder) -> None:
    """D.9, D.10."""
    recorder.add_step("search", "", DONE, 1)
    done = recorder.complete(Verdict.success())
    for late in (
        lambda: recorder.complete(Verdict.partial(0)), lambda: recorder.add_step("x", "", DONE, 1),
        lambda: recorder.add_full_step(done.steps[0]), lambda: recorder.add_lesson("x"), recorder.start_step,
        lambda: recorder.set_user("x"), lambda: recorder.add_tokens(1), lambda: recorder.set_response_embedding([1, 1]),
        lambda: recorder.give_verdict(Verdict.success()),
    ):  # fmt: skip
        with pytest.raises(TrajectoryClosed, match=f"trajectory {done.id} is complete; .* came too late"):
            late()

    assert done == recorder.trajectory


def test_an_unfinished_trajectory_says_so(recorder: TrajectoryRecorder) -> None:
    recorder.add_step("search", "", DONE, 1)
    now = recorder.trajectory

    assert (False, None, 0.0, 1) == (now.is_finished, now.completed, now.quality, now.step_count)


def test_what_is_no_verdict_leaves_it_open(recorder: TrajectoryRecorder) -> None:
    with pytest.raises(FactError, match="is no verdict"):
        recorder.complete("done")  # type: ignore[arg-type]  # that is the point

    assert not recorder.is_complete


# --- as a block -------------------------------------------------------------------------------------------------------


def test_an_exception_inside_is_a_failure_of_unknown_cause_and_goes_on_to_the_caller() -> None:
    recorder = TrajectoryRecorder()
    with pytest.raises(KeyError), recorder:
        raise KeyError(recorder.add_step("search", "", DONE, 1).action)

    assert Verdict.failure(RootCause.unknown("KeyError: 'search'")) == recorder.trajectory.verdict
    assert 0.3 == recorder.trajectory.quality


def test_a_verdict_that_was_given_stands_whatever_is_raised() -> None:
    recorder = TrajectoryRecorder()
    recorder.give_verdict(Verdict.partial(0.5))
    with pytest.raises(KeyError), recorder:
        raise KeyError
    other = TrajectoryRecorder()
    with pytest.raises(KeyError), other:
        raise KeyError(other.complete(Verdict.success()).id)

    assert (Verdict.partial(0.5), Verdict.success()) == (recorder.trajectory.verdict, other.trajectory.verdict)


def test_a_block_without_a_verdict_is_as_complete_as_its_steps() -> None:
    with TrajectoryRecorder() as recorder:
        recorder.add_step("a", "", DONE, 1)
        recorder.add_step("b", "", StepOutcome.failure("x"), 1)

    assert Verdict.partial(0.5) == recorder.trajectory.verdict


async def test_an_async_block_that_is_cancelled_is_a_failure() -> None:
    recorder = TrajectoryRecorder()
    with anyio.CancelScope() as scope:
        async with recorder:
            scope.cancel()
            await anyio.lowlevel.checkpoint()

    assert recorder.trajectory.failed


async def test_tasks_that_take_steps_at_once_time_each_its_own(clock: Clock) -> None:
    async with TrajectoryRecorder(clock=clock) as recorder:
        first = recorder.start_step()
        clock.monotonic += 1
        second = recorder.start_step()
        clock.monotonic += 1
        steps = [
            recorder.add_step("a", "", DONE, 1, started=first),
            recorder.add_step("b", "", DONE, 1, started=second),
        ]

    assert [2000.0, 1000.0] == [step.latency_ms for step in steps]


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_log", [False, True])
def test_threads_that_record_at_once_lose_nothing(with_log: bool) -> None:
    """D.16: it was not thread-safe."""
    log = FactLog.open() if with_log else None
    barrier = threading.Barrier(8)
    with TrajectoryRecorder(log=log) as recorder:

        def work(worker: int) -> None:
            barrier.wait()
            for number in range(25):
                recorder.start_step()
                recorder.add_step(f"{worker}/{number}", "", DONE, 1, metadata=StepMetadata(input_tokens=1))
                recorder.add_tokens(output_tokens=1)
                recorder.add_lesson(f"{worker}/{number}")

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))
        done = recorder.complete(Verdict.success())

    assert list(range(200)) == [step.index for step in done.steps]
    assert {f"{worker}/{number}" for worker in range(8) for number in range(25)} == {one.action for one in done.steps}
    assert (200, 200, 200) == (done.metadata.input_tokens, done.metadata.output_tokens, len(done.lessons))


def test_each_thread_has_a_timer_of_its_own(clock: Clock) -> None:
    with TrajectoryRecorder(clock=clock) as recorder:
        recorder.start_step()
        clock.monotonic += 5
        with ThreadPoolExecutor(1) as threads:
            other = threads.submit(recorder.add_step, "other", "", DONE, 1).result()
        own = recorder.add_step("own", "", DONE, 1)

    assert (0.0, 5000.0) == (other.latency_ms, own.latency_ms)


# --- dropped ----------------------------------------------------------------------------------------------------------


def test_a_recorder_that_is_dropped_leaves_a_trace() -> None:
    """D.18."""
    recorder = TrajectoryRecorder()
    id = recorder.trajectory.id
    with pytest.warns(
        ResourceWarning, match=f"trajectory {id} was dropped before it was complete. It was in memory only"
    ):
        del recorder


def test_one_that_is_complete_goes_quietly() -> None:
    TrajectoryRecorder().complete(Verdict.success())  # warnings are errors here
    gc.collect()


# --- inside a run -----------------------------------------------------------------------------------------------------


def test_with_its_uuid_and_clock_given_a_recording_is_the_same_every_time() -> None:
    """What a suggestor records has to replay."""

    def record() -> Trajectory:
        clock = Clock()
        with TrajectoryRecorder([1, 0], uuid=uuid_of(AT, "run/step"), clock=clock) as recorder:
            recorder.start_step()
            clock.monotonic += 1
            recorder.add_step("a", "b", DONE, 0.5)
            return recorder.complete(Verdict.success())

    assert record() == record()
    assert isinstance(record().uuid, UUID)
