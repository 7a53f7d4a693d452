"""Shows that what is no log, no trajectory, or too large is told of at once, with what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from quiesce.engine import Engine, InvalidOption
from quiesce.facts import Context, FactError, FactLog, InvalidPayload, verify
from quiesce.facts.family import family_of
from quiesce.suggestors.pack import providers
from quiesce.suggestors.selection.payloads import Backend
from quiesce.suggestors.trajectories.analysis import analyse, analyse_in
from quiesce.suggestors.trajectories.credit import credit
from quiesce.suggestors.trajectories.distil import distil
from quiesce.suggestors.trajectories.failures import failures_of
from quiesce.suggestors.trajectories.from_run import trajectory_of
from quiesce.suggestors.trajectories.journal import run_of
from quiesce.suggestors.trajectories.ledger import read_trajectories, redact_trajectories
from quiesce.suggestors.trajectories.memory import PatternMemory
from quiesce.suggestors.trajectories.outcome import StepOutcome
from quiesce.suggestors.trajectories.payloads import StepMetadata, Trajectory
from quiesce.suggestors.trajectories.recorder import TrajectoryRecorder
from quiesce.suggestors.trajectories.recording import TrajectoryRecording, record_trajectory
from quiesce.suggestors.trajectories.recover import recover_trajectories
from quiesce.suggestors.trajectories.verdict import RootCause, Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)
DONE = Trajectory.begin([1.0, 0.0], started=AT).complete(Verdict.success(), at=AT, latency_ms=1)
TAKES_A_LOG: dict[str, Callable[[Any], object]] = {
    "recording": TrajectoryRecording,
    "recorder": lambda log: TrajectoryRecorder(log=log),
    "resume": lambda log: TrajectoryRecorder.resume(log, DONE.uuid),
    "record": lambda log: record_trajectory(log, DONE),
    "recover": recover_trajectories,
    "read": read_trajectories,  # at once, not when it is first looked into
    "redact": lambda log: redact_trajectories(log, user_id="ana", reason="asked", by="dana"),
    "analyse": lambda log: analyse_in(log, DONE),
    "of a run": lambda log: trajectory_of(log, "r1"),
    "memory": PatternMemory.of_log,
    "pack": lambda log: providers([Backend(name="a", kind="llm")]).engine(record=log),
}


@pytest.mark.parametrize("wrong", ["app.db", 3, Context()], ids=["text", "number", "context"])
@pytest.mark.parametrize("take", TAKES_A_LOG.values(), ids=TAKES_A_LOG)
def test_what_is_no_log_is_refused_with_what_to_write(take: Callable[[Any], object], wrong: Any) -> None:
    place = wrong if isinstance(wrong, str) else "runs.db"
    with pytest.raises(InvalidOption) as caught:
        take(wrong)

    assert f'is not a FactLog. Write: log=FactLog.open("{place}")' in str(caught.value)


@pytest.mark.parametrize("wrong", ["app.db", 3, None], ids=["text", "number", "nothing"])
def test_what_is_no_trajectory_is_refused_with_what_to_write(wrong: Any) -> None:
    log, memory = FactLog.open(), PatternMemory()
    calls: list[Callable[[], object]] = [
        lambda: memory.add(wrong), lambda: memory.add_all([DONE, wrong]), lambda: distil([wrong]),
        lambda: record_trajectory(log, wrong), lambda: credit(wrong), lambda: analyse(wrong, {}),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(FactError, match=r"is no Trajectory\. Write: trajectory_of\(log, run\)"):
            call()

    assert (0, []) == (len(memory), log.runs())


# --- too large --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a trajectory take no more than 5,000 bytes, its steps what they like."""
    monkeypatch.setattr(family_of(Trajectory), "max_bytes", 5_000)


def fill(recorder: TrajectoryRecorder) -> None:
    for number in range(6):
        recorder.add_step(
            "search", "why " * 300, StepOutcome.failure("timeout") if number == 3 else StepOutcome.success(), 0.5,
            embedding=[1.0 / 3] * 8, metadata=StepMetadata(model="m", input_tokens=3, attributes={"said": "x" * 500}),
        )  # fmt: skip
    recorder.add_lesson("ask for less")


@pytest.mark.usefixtures("small")
def test_a_trajectory_that_is_too_large_stays_open_and_can_be_completed_in_brief() -> None:
    log = FactLog.open()
    recorder = TrajectoryRecorder([1.0] * 8, log=log)
    fill(recorder)
    with pytest.raises(InvalidPayload, match=r"complete\(…, brief=True\)") as caught:
        recorder.complete(Verdict.success())
    assert "over its limit of 5,000" in str(caught.value)
    assert "max_bytes" not in str(caught.value)  # it is not the user's class
    assert not recorder.is_complete
    whole = recorder.trajectory

    done = recorder.complete(Verdict.success(), brief=True)
    assert [done] == list(read_trajectories(log))
    assert verify(log, run_of(done.uuid)).ok
    (step, *_) = done.steps
    assert ("", None, StepMetadata(model="m", input_tokens=3)) == (step.rationale, step.embedding, step.metadata)
    kept = whole.complete(Verdict.success(), at=AT, latency_ms=1)
    assert (kept.quality, kept.metadata, kept.lessons) == (done.quality, done.metadata, done.lessons)
    assert (failures_of(kept), credit(kept)) == (failures_of(done), credit(done))


@pytest.mark.usefixtures("small")
def test_what_is_too_large_to_be_recovered_hides_no_other_and_can_be_gone_on_with(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    log = FactLog.open()
    recorder = TrajectoryRecorder(log=log)
    fill(recorder)
    large = recorder.trajectory.uuid
    recorder = TrajectoryRecorder(log=log)  # the first is dropped
    del recorder
    recwarn.clear()

    assert 1 == len(recover_trajectories(log, Verdict.failure(RootCause.unknown("its process died"))))
    assert f"run {run_of(large)} is left as it is" in caplog.text
    assert "brief=True" in caplog.text
    assert 6 == TrajectoryRecorder.resume(log, large).complete(Verdict.success(), brief=True).step_count


@pytest.mark.usefixtures("small")
def test_what_was_made_elsewhere_or_of_a_run_can_be_recorded_in_brief(caplog: pytest.LogCaptureFixture) -> None:
    log = FactLog.open()
    with TrajectoryRecorder() as recorder:
        fill(recorder)
        done = recorder.complete(Verdict.success())
    with pytest.raises(InvalidPayload, match=r"record_trajectory\(log, trajectory\.brief\(\)\)"):
        record_trajectory(log, done)
    record_trajectory(log, done.brief())

    assert [done.brief()] == list(read_trajectories(log))
    recording = TrajectoryRecording(log, finish=lambda made: made.model_copy(update={"steps": done.steps}))
    Engine([], observers=[recording]).run_sync(Context(), log=log, run_id="r1")
    assert "finish=Trajectory.brief" in caplog.text
    recording = TrajectoryRecording(log, finish=Trajectory.brief)
    assert ["r1.trajectory"] == recording.catch_up()


@pytest.mark.usefixtures("small")
def test_what_is_too_large_even_in_brief_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = TrajectoryRecorder(log=FactLog.open())
    recorder.add_step("a" * 6_000, "", StepOutcome.success(), 1)
    with pytest.raises(InvalidPayload, match=r"over its limit of 5,000.* tell less in each step"):
        recorder.complete(Verdict.success(), brief=True)
    monkeypatch.setattr(family_of(Trajectory), "max_bytes", 10_000)
    recorder.complete(Verdict.success(), brief=True)
