"""Shows that a recorder with a log loses nothing: to crashes, to stores that fail, to being dropped."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import Engine, Gate, Proposal, propose, suggestor
from quiesce.facts import Context, Fact, FactLog, Leased, LogError, RunId, StoreError, replay, verify
from quiesce.suggestors.trajectories.errors import UnknownTrajectory
from quiesce.suggestors.trajectories.journal import run_of
from quiesce.suggestors.trajectories.ledger import read_trajectories, redact_trajectories
from quiesce.suggestors.trajectories.memory import PatternMemory
from quiesce.suggestors.trajectories.outcome import StepOutcome
from quiesce.suggestors.trajectories.payloads import StepFailure, StepMetadata, Trajectory
from quiesce.suggestors.trajectories.recorder import TrajectoryRecorder
from quiesce.suggestors.trajectories.recover import recover_trajectories
from quiesce.suggestors.trajectories.verdict import RootCause, Verdict

DONE = StepOutcome.success()
DIED = Verdict.failure(RootCause.unknown("its process died"))


@pytest.fixture(params=[":memory:", "log.db", "log.jsonl"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FactLog]:
    url = request.param if request.param == ":memory:" else str(tmp_path / request.param)
    with FactLog.open(url) as log:
        yield log


def leave(log: FactLog, steps: int = 2) -> Trajectory:
    """Returns a trajectory whose recorder was dropped."""
    recorder = TrajectoryRecorder([1, 0], log=log, user_id="ana")
    for number in range(steps):
        recorder.add_step(f"step {number}", "", DONE, 0.5, metadata=StepMetadata(model="m", input_tokens=number))
    recorder.add_tag("left")
    recorder.add_lesson("never leave")
    recorder.set_response_embedding([0, 1])
    known = recorder.trajectory
    with pytest.warns(ResourceWarning, match="Its steps are in the log"):
        del recorder
    return known


def test_each_step_is_in_the_log_before_add_step_returns(log: FactLog) -> None:
    with TrajectoryRecorder(log=log) as recorder:
        run = run_of(recorder.trajectory.uuid)
        for number in range(3):
            step = recorder.add_step(str(number), "", DONE, 1)
            last = list(log.events(run))[-1].event

            assert [step] == [fact.payload.step for fact in getattr(last, "facts", ())]


def test_what_is_in_the_log_is_the_trajectory(log: FactLog) -> None:
    with TrajectoryRecorder([1, 0], log=log) as recorder:
        recorder.add_step("search", "", StepOutcome.failure("timeout"), 1)
        recorder.add_step("search", "", DONE, 1)
        done = recorder.complete(Verdict.success())
    run = run_of(done.uuid)

    assert [done] == list(read_trajectories(log))
    assert done == replay(log, run).of(Trajectory)[str(done.uuid)].payload
    assert verify(log, run).ok
    assert log.stopped(run) is not None
    assert log.export(run)


def test_a_dropped_recorder_leaves_an_unfinished_trajectory_in_the_log(log: FactLog) -> None:
    """D.18."""
    known = leave(log)

    assert [known] == recover_trajectories(log)
    assert [known] == list(read_trajectories(log, unfinished=True))
    assert not known.is_finished


def test_a_trajectory_that_is_being_recorded_is_left_alone(log: FactLog) -> None:
    with TrajectoryRecorder(log=log) as recorder:
        recorder.add_step("search", "", DONE, 1)

        assert [] == recover_trajectories(log, DIED)
        with pytest.raises(Leased):
            TrajectoryRecorder.resume(log, recorder.trajectory)
    assert [Verdict.partial(1)] == [one.verdict for one in read_trajectories(log)]


def test_a_second_recorder_of_one_trajectory_is_refused_and_harms_the_first_in_nothing(log: FactLog) -> None:
    first = TrajectoryRecorder(log=log, user_id="ana")
    uuid = first.trajectory.uuid
    for _ in range(2):  # the first refusal must not make room for the next
        with pytest.raises(Leased, match="a recorder of this process"):
            TrajectoryRecorder(log=log, uuid=uuid)
        gc.collect()
    with pytest.raises(Leased):  # it is still known to be recording
        redact_trajectories(log, user_id="ana", reason="asked", by="dana")
    assert [] == recover_trajectories(log, DIED)
    first.add_step("search", "", DONE, 1)

    assert [first.complete(Verdict.success())] == list(read_trajectories(log))


@pytest.mark.parametrize("file", ["log.db", "log.jsonl"])
def test_what_another_log_is_recording_is_left_alone(file: str, tmp_path: Path) -> None:
    """As if it were another process: the lease says that somebody is at it."""
    with FactLog.open(tmp_path / file) as one, FactLog.open(tmp_path / file) as other:
        with TrajectoryRecorder(log=one) as recorder:
            recorder.add_step("search", "", DONE, 1)

            assert [] == recover_trajectories(other, DIED)
            with pytest.raises(Leased):
                TrajectoryRecorder.resume(other, recorder.trajectory)
        assert [Verdict.partial(1)] == [found.verdict for found in read_trajectories(other)]


def test_a_recovered_trajectory_is_completed_in_the_log_once(log: FactLog) -> None:
    known = leave(log)
    (done,) = recover_trajectories(log, DIED)

    assert (DIED, known.steps, 0.15) == (done.verdict, done.steps, done.quality)
    assert [done] == list(read_trajectories(log))
    assert [] == recover_trajectories(log, DIED)
    assert verify(log, run_of(done.uuid)).ok


def test_a_trajectory_that_was_left_can_be_gone_on_with(log: FactLog) -> None:
    known = leave(log)
    recorder = TrajectoryRecorder.resume(log, known.uuid)

    assert known == recorder.trajectory
    assert 2 == recorder.add_step("after", "", DONE, 1).index
    recorder.add_lesson("go on")
    done = recorder.complete(Verdict.success())
    assert [done] == list(read_trajectories(log))
    assert ("never leave", "go on") == done.lessons
    assert verify(log, run_of(done.uuid)).ok


def test_going_on_with_what_is_not_there_is_told(log: FactLog) -> None:
    with TrajectoryRecorder(log=log) as recorder:
        done = recorder.complete(Verdict.success())
    with pytest.raises(UnknownTrajectory, match="it is complete"):
        TrajectoryRecorder.resume(log, done)
    for unknown in ("01a1fee4-17a7-7347-94eb-dab69034f325", "no UUID", ""):
        with pytest.raises(UnknownTrajectory, match="no recorder has written it"):
            TrajectoryRecorder.resume(log, unknown)


def test_the_engine_leaves_the_runs_of_recorders_to_recorders(log: FactLog) -> None:
    """`engine.recover` must not end them as if they had converged."""
    known = leave(log)
    recovery = Engine([]).recover_sync(log)

    assert {run_of(known.uuid)} == set(recovery.skipped)
    assert [known] == recover_trajectories(log)


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.text(max_size=5), st.floats(0, 1)),
        st.tuples(st.just("lesson"), st.text(max_size=5)),
        st.tuples(st.just("tokens"), st.integers(0, 2**63 - 1)),
        st.tuples(st.just("tag"), st.sampled_from("abc")),
        st.tuples(st.just("user"), st.text(max_size=5)),
        st.tuples(st.just("response"), st.tuples(st.floats(0.5, 1), st.floats(-1, 1))),
    ),
    max_size=12,
)


def tell(recorder: TrajectoryRecorder, op: tuple[Any, ...]) -> None:
    """Does one thing."""
    match op:
        case ("step", action, confidence):
            metadata = StepMetadata(tool=action, input_tokens=len(action))
            recorder.add_step(action, "", DONE, confidence, metadata=metadata)
        case ("lesson", text):
            recorder.add_lesson(text)
        case ("tokens", count):
            recorder.add_tokens(count)
        case ("tag", tag):
            recorder.add_tag(tag)
        case ("user", user):
            recorder.set_user(user)
        case ("response", embedding):
            recorder.set_response_embedding(embedding)
        case _:
            raise AssertionError(op)


@pytest.mark.slow
@given(before=OPS, after=OPS)
@settings(max_examples=60)
def test_whatever_was_said_before_a_crash_is_there_after_it(
    before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]
) -> None:
    """D.16, J 49: what the log gives back is what the recorder had; going on ends as if nothing had happened."""
    log, memory = FactLog.open(), TrajectoryRecorder([1, 0])
    crashing = TrajectoryRecorder([1, 0], log=log)
    for op in before:
        tell(crashing, op)
        tell(memory, op)
    known = crashing.trajectory
    with pytest.warns(ResourceWarning):
        del crashing

    assert [known] == recover_trajectories(log)
    again = TrajectoryRecorder.resume(log, known)
    for op in after:
        tell(again, op)
        tell(memory, op)
    done, whole = again.complete(Verdict.success()), memory.complete(Verdict.success())
    assert (whole.quality, whole.metadata, whole.lessons, whole.response_embedding) == (
        done.quality, done.metadata, done.lessons, done.response_embedding,
    )  # fmt: skip
    assert [(one.index, one.action) for one in whole.steps] == [(one.index, one.action) for one in done.steps]


CHILD = """
import sys
from quiesce.facts import FactLog
from quiesce.suggestors.trajectories.memory import PatternMemory
from quiesce.suggestors.trajectories.outcome import StepOutcome
from quiesce.suggestors.trajectories.recorder import TrajectoryRecorder

recorder = TrajectoryRecorder([1.0, 0.0], log=FactLog.open(sys.argv[1]), user_id="ana")
for number in range(1_000_000):
    recorder.add_step(f"step {number}", "", StepOutcome.success(), 1)
    recorder.add_lesson(f"lesson {number}")
    print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("file", ["log.db", "log.jsonl"])
@pytest.mark.parametrize("after", [0, 7, 40])
def test_a_process_that_is_killed_loses_no_step(file: str, after: int, tmp_path: Path) -> None:
    """SIGKILL, at whatever call it is in then: every step that it was told to be recorded is there."""
    place = tmp_path / file
    with subprocess.Popen([sys.executable, "-c", CHILD, str(place)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        while int(child.stdout.readline()) < after:
            pass
        child.send_signal(signal.SIGKILL)
        told = max([after, *map(int, child.stdout.read().split("\n")[:-1])])
    with FactLog.open(place) as log:
        (left,) = recover_trajectories(log, DIED)

        assert [f"step {number}" for number in range(told + 1)] == [one.action for one in left.steps][: told + 1]
        assert len(left.steps) <= told + 2
        assert {f"lesson {number}" for number in range(told + 1)} <= set(left.lessons)
        assert (DIED, "ana") == (left.verdict, left.metadata.user_id)
        assert verify(log, run_of(left.uuid)).ok


# --- stores that fail -------------------------------------------------------------------------------------------------


def test_a_step_that_the_store_cannot_take_is_not_added_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FactLog.open(tmp_path / "log.db")
    recorder = TrajectoryRecorder(log=log)
    recorder.add_step("one", "", DONE, 1)
    with monkeypatch.context() as patch:

        def refuse(*_: Any) -> None:
            raise StoreError("the disk is full")

        patch.setattr(log.store, "commit", refuse)
        for said in (
            lambda: recorder.add_step("two", "", DONE, 1), lambda: recorder.add_lesson("x"),
            lambda: recorder.add_tag("x"), lambda: recorder.complete(Verdict.success()),
        ):  # fmt: skip
            with pytest.raises(StoreError, match="the disk is full"):
                said()
        with pytest.raises(KeyError) as caught, recorder:
            raise KeyError("what matters")

    assert any("could not be completed either: the disk is full" in note for note in caught.value.__notes__)
    assert (1, (), False) == (recorder.step_count, recorder.trajectory.lessons, recorder.is_complete)
    recorder.add_step("two", "", DONE, 1)
    done = recorder.complete(Verdict.success())
    assert [done] == list(read_trajectories(log))
    assert verify(log, run_of(done.uuid)).ok
    log.close()


def test_a_run_that_only_looks_like_a_recorders_hides_no_other(log: FactLog) -> None:
    known = leave(log)
    begun = next(iter(log.events(run_of(known.uuid)))).event
    for name in ("trajectory-x", f"trajectory-{known.uuid.hex}"):  # whoever loads a run may give it any name
        log.append(RunId(name), [begun], seq=0)

    assert [known] == recover_trajectories(log)
    assert [known] == list(read_trajectories(log, unfinished=True))


def test_a_run_that_cannot_be_read_hides_no_other(
    log: FactLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = leave(log), leave(log)
    events = log.events

    def read(run: str, start: int = 0) -> Any:
        if run == run_of(broken.uuid):
            raise LogError("event 1 is damaged")
        return events(run, start)

    monkeypatch.setattr(log, "events", read)
    found = recover_trajectories(log)

    assert [sound] == found
    assert f"run {run_of(broken.uuid)} is left as it is: event 1 is damaged" in caplog.text


# --- keeping and forgetting -------------------------------------------------------------------------------------------


def test_a_compacted_trajectory_can_still_be_read_and_an_unfinished_one_gone_on_with(log: FactLog) -> None:
    known = leave(log)
    log.compact(run_of(known.uuid))
    assert [known] == recover_trajectories(log)
    recorder = TrajectoryRecorder.resume(log, known)
    recorder.add_step("after", "", DONE, 1)
    done = recorder.complete(Verdict.success())

    assert 3 == done.step_count
    assert verify(log, run_of(done.uuid)).ok


def test_complete_trajectories_are_found_in_compacted_runs_too(log: FactLog) -> None:
    done = []
    for _ in range(2):
        with TrajectoryRecorder([1, 0], log=log) as recorder:
            recorder.add_step("search", "", DONE, 1)
            done.append(recorder.complete(Verdict.success()))
    log.compact(run_of(done[0].uuid))

    assert done == list(read_trajectories(log))
    assert [one.uuid for one in done] == [one.id for one in PatternMemory.of_log(log).patterns]
    (gone,) = redact_trajectories(log, uuids=[done[0].uuid], reason="asked", by="dana")
    assert run_of(done[0].uuid) == gone.run
    assert [done[1]] == list(read_trajectories(log))


def test_trajectories_are_dropped_and_moved_as_runs_are(log: FactLog, tmp_path: Path) -> None:
    with TrajectoryRecorder(log=log) as recorder:
        done = recorder.complete(Verdict.success())
    with FactLog.open(tmp_path / "other.db") as other:
        other.load(log.export(run_of(done.uuid)))

        assert [done] == list(read_trajectories(other))
    log.retain(age=timedelta(0))
    assert [] == list(read_trajectories(log))


def test_the_trajectories_of_a_user_can_be_erased_with_their_journals(log: FactLog) -> None:
    """D.7, K.17: ids of people and texts go, the chain stands, those of others stay."""
    with TrajectoryRecorder(log=log, user_id="ana") as recorder:
        recorder.add_step("secret search", "Ana's address", StepOutcome.failure("Ana was not found"), 1)
        hers = recorder.complete(Verdict.success())
    with TrajectoryRecorder(log=log, user_id="ben") as recorder:
        his = recorder.complete(Verdict.success())
    left = leave(log)
    planned = redact_trajectories(log, user_id="ana", reason="erasure request 17", by="dana", dry_run=True)
    done = redact_trajectories(log, user_id="ana", reason="erasure request 17", by="dana")

    assert {run_of(hers.uuid), run_of(left.uuid)} == {one.run for one in done} == {one.run for one in planned}
    assert [his] == list(read_trajectories(log))
    for run in (run_of(hers.uuid), run_of(left.uuid)):
        raw = log.to_bytes(run, beside=True)
        assert not any(word in raw for word in (b"secret", b"Ana", b'"ana"', b"never leave"))
        assert verify(log, run).ok
    assert [] == redact_trajectories(log, user_id="ana", reason="again", by="dana")


def test_what_others_said_of_a_user_is_erased_under_whatever_id_it_stands(tmp_path: Path) -> None:
    """Whoever adds or proposes a trajectory chooses its id; it may wait for a person, too, or have been refused."""
    recorder = TrajectoryRecorder([1, 0], user_id="ana-of-ghent")
    recorder.add_step("search", "Her address in Ghent", StepOutcome.failure("not found"), 1)
    hers = recorder.complete(Verdict.success())

    @suggestor(writes=[Trajectory])
    def tell(begun: Fact[StepFailure]) -> Proposal[Trajectory]:
        return propose(hers, id="waits", confidence=0.4)

    @suggestor(writes=[Trajectory])
    def repeat(begun: Fact[StepFailure]) -> list[Proposal[Trajectory]]:
        other = hers.model_copy(update={"lessons": ("Ghent has no such street",)})
        return [propose(hers, id="stands"), propose(other, id="stands")]

    begun = StepFailure(trajectory=hers.uuid, action="ask", error="Ghent is silent", cause="", signature="ask")
    context = Context()
    context.add(hers, id="given")
    context.add(begun, id="f1")
    waits = Gate("people", below_confidence=0.5)
    with FactLog.open(tmp_path / "log.db") as log:
        Engine([tell, repeat], gates=[waits]).run_sync(context, log=log, run_id="told")
        assert b"Ghent" in log.to_bytes("told", beside=True)
        (done,) = redact_trajectories(log, user_id="ana-of-ghent", reason="asked", by="dana")

        assert {"trajectory:given", "trajectory:waits", "trajectory:stands", "step-failure:f1"} == set(done.refs)
        assert verify(log, "told").ok
        assert [] == redact_trajectories(log, user_id="ana-of-ghent", reason="again", by="dana")
    for file in tmp_path.iterdir():
        raw = file.read_bytes()
        assert not any(word in raw for word in (b"ana-of-ghent", b"Ghent"))


def test_what_is_being_recorded_is_not_erased_halfway(log: FactLog) -> None:
    """What its recorder writes at the end would have it all again."""
    left = leave(log)
    with TrajectoryRecorder(log=log, user_id="ana") as recorder:
        with pytest.raises(Leased, match="is being written by a recorder of this process"):
            redact_trajectories(log, user_id="ana", reason="asked", by="dana")
        recorder.complete(Verdict.success())

    assert [left] == recover_trajectories(log)  # nothing was changed
    assert 2 == len(redact_trajectories(log, user_id="ana", reason="asked", by="dana"))


def test_one_trajectory_can_be_erased_by_its_uuid(log: FactLog) -> None:
    both = []
    for _ in range(2):
        with TrajectoryRecorder(log=log) as recorder:
            both.append(recorder.complete(Verdict.success()))
    redact_trajectories(log, uuids=[both[0].uuid], reason="asked", by="dana")

    assert [both[1]] == list(read_trajectories(log))
    with pytest.raises(LogError, match="nothing says which trajectories are to go"):
        redact_trajectories(log, reason="asked", by="dana")


def test_steps_that_were_erased_from_an_unfinished_trajectory_are_counted(log: FactLog) -> None:
    known = leave(log, steps=3)
    log.redact(run_of(known.uuid), [f"recorded-step:{known.uuid}/1"], reason="asked", by="dana")
    (found,) = recover_trajectories(log)

    assert ["step 0", "step 2"] == [one.action for one in found.steps]
    assert "1" == found.metadata.attributes["redacted"]


def test_its_time_is_when_it_was_started(log: FactLog) -> None:
    before = datetime.now(UTC)
    with TrajectoryRecorder(log=log) as recorder:
        done = recorder.complete(Verdict.success())

    assert before <= done.started <= (done.completed or before) <= datetime.now(UTC)
    assert done.started.isoformat() == log.started(run_of(done.uuid)).started
