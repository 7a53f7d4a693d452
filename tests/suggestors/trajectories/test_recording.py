"""Shows that every run that ends leaves a trajectory in its log, once, whatever becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from quiesce.engine import Approve, Engine, Gate, suggestor
from quiesce.facts import Context, Fact, FactLog, LogError, Payload, StoreError, verify
from quiesce.suggestors.trajectories.errors import UnknownTrajectory
from quiesce.suggestors.trajectories.from_run import trajectory_of
from quiesce.suggestors.trajectories.learn import PROJECTIONS, failure_patterns, known_failures, verdict_tallies
from quiesce.suggestors.trajectories.ledger import read_trajectories
from quiesce.suggestors.trajectories.payloads import StepFailure, Trajectory
from quiesce.suggestors.trajectories.recording import TrajectoryRecording, record_trajectory
from quiesce.suggestors.trajectories.verdict import Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Job(Payload, key="seeds", family="recording-job"):
    n: int


class Work(Payload, key="proposals", family="recording-work"):
    n: int


@suggestor
def work(job: Fact[Job]) -> Work:
    if job.payload.n < 0:
        raise ValueError(f"job {job.payload.n} is below 0")
    return Work(n=job.payload.n)


def context_of(*jobs: int) -> Context:
    context = Context()
    for n in jobs:
        context.add(Job(n=n), id=f"j{n}")
    return context


def test_every_run_that_ends_is_recorded_in_its_log() -> None:
    log = FactLog.open()
    engine = Engine([work], observers=[TrajectoryRecording(log)])
    for number in range(3):
        engine.run_sync(context_of(number), log=log, run_id=f"run-{number}")
    found = list(read_trajectories(log))

    assert ["run-0", "run-1", "run-2"] == [one.metadata.attributes["run"] for one in found]
    assert [trajectory_of(log, f"run-{number}").steps for number in range(3)] == [one.steps for one in found]
    assert all(verify(log, run).ok for run in log.runs())
    assert ["run-0", "run-0.trajectory", "run-1", "run-1.trajectory", "run-2", "run-2.trajectory"] == log.runs()


def test_a_run_is_not_changed_by_being_recorded() -> None:
    fixed: dict[str, Any] = {"run_id": "r", "seed": 1, "started": AT}
    plain, recorded = FactLog.open(), FactLog.open()
    Engine([work]).run_sync(context_of(1, -2), log=plain, **fixed)
    Engine([work], observers=[TrajectoryRecording(recorded)]).run_sync(context_of(1, -2), log=recorded, **fixed)

    assert plain.to_bytes("r") == recorded.to_bytes("r")


async def test_runs_side_by_side_are_recorded_each() -> None:
    log = FactLog.open()
    engine = Engine([work], observers=[TrajectoryRecording(log)])
    await engine.run_many([context_of(n) for n in range(10)], log=log, run_id="r")

    assert {f"r-{n}" for n in range(10)} == {one.metadata.attributes["run"] for one in read_trajectories(log)}


def test_a_run_that_waits_is_recorded_once_it_has_ended() -> None:
    log = FactLog.open()
    engine = Engine([work], gates=[Gate("work", families=[Work])], observers=[TrajectoryRecording(log)])
    result = engine.run_sync(context_of(1), log=log, run_id="r")

    assert [] == list(read_trajectories(log))
    engine.resume_sync(result, [Approve(gate, by="ana") for gate in result.gates])
    (found,) = read_trajectories(log)
    assert Verdict.success() == found.verdict


def test_what_a_run_does_after_it_was_resumed_is_counted_by_itself() -> None:
    """No step counts twice in what is learned."""
    log = FactLog.open(projections=PROJECTIONS)
    engine = Engine([work], observers=[TrajectoryRecording(log)])
    result = engine.run_sync(context_of(-1), log=log, run_id="r")
    result.context.add(Job(n=2), id="j2")
    again = engine.resume_sync(result)
    again.context.add(Job(n=-3), id="j3")
    engine.resume_sync(again)
    first, second, third = read_trajectories(log)

    assert [1, 1, 1] == [one.step_count for one in (first, second, third)]
    assert ["failure", "success", "failure"] == [one.steps[0].outcome.kind for one in (first, second, third)]
    assert 3 == len({first.uuid, second.uuid, third.uuid})
    assert 2 == known_failures(log.values(failure_patterns))["work: raised valueerror: job -# is below #"].seen
    assert 3 == log.values(verdict_tallies)["success"].count


def test_what_failed_is_written_beside_it() -> None:
    log = FactLog.open()
    Engine([work], observers=[TrajectoryRecording(log)]).run_sync(context_of(-1), log=log, run_id="r")
    facts = [fact for logged in log.events("r.trajectory") for fact in getattr(logged.event, "facts", ())]

    assert [Trajectory, StepFailure] == [type(fact.payload) for fact in facts]
    assert (facts[0].ref,) == facts[1].because
    assert "raised ValueError: job -1 is below 0" == facts[1].payload.error


def test_what_the_run_does_not_say_can_be_added() -> None:
    def finish(trajectory: Trajectory) -> Trajectory:
        return trajectory.model_copy(update={"query_embedding": (1.0, 0.0), "lessons": ("look twice",)})

    log = FactLog.open()
    Engine([work], observers=[TrajectoryRecording(log, finish=finish)]).run_sync(context_of(1), log=log)
    (found,) = read_trajectories(log)

    assert ((1.0, 0.0), ("look twice",)) == (found.query_embedding, found.lessons)


@pytest.mark.parametrize("problem", ["finish", "store", "lies"])
def test_what_cannot_be_recorded_spoils_no_run_and_can_be_made_up_for(
    problem: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = FactLog.open()

    def finish(trajectory: Trajectory) -> Trajectory:
        if problem == "finish":
            raise KeyError("no model")
        return trajectory.model_copy(update={"quality": 7.0} if problem == "lies" else {})

    recording = TrajectoryRecording(log, finish=finish)
    append = log.append

    def refuse(run: str, *args: Any, **options: Any) -> None:
        if problem == "store" and run.endswith(".trajectory"):
            raise StoreError("the disk is full")
        append(run, *args, **options)  # type: ignore[arg-type]  # a text will do

    monkeypatch.setattr(log, "append", refuse)
    result = Engine([work], observers=[recording]).run_sync(context_of(1), log=log, run_id="r")
    monkeypatch.undo()

    assert "run r converged after 1 cycle; 2 facts" == str(result)
    assert "the trajectory of run r was not recorded: " in caplog.text
    assert ["r.trajectory"] == TrajectoryRecording(log).catch_up()
    assert [] == TrajectoryRecording(log).catch_up()


def test_a_run_may_have_any_name() -> None:
    log = FactLog.open()
    engine = Engine([work], observers=[TrajectoryRecording(log)])
    for name in ("a.trajectory", "trajectory-1", "a"):
        engine.run_sync(context_of(1), log=log, run_id=name)

    assert ["a.trajectory", "trajectory-1", "a"] == [one.metadata.attributes["run"] for one in read_trajectories(log)]
    assert [] == TrajectoryRecording(log).catch_up()


def test_runs_of_other_logs_are_not_recorded() -> None:
    log = FactLog.open()
    Engine([work], observers=[TrajectoryRecording(log)]).run_sync(context_of(1))

    assert [] == log.runs()


def test_a_trajectory_that_was_made_elsewhere_is_recorded_once() -> None:
    log = FactLog.open()
    done = Trajectory.begin(started=AT).complete(Verdict.success(), at=AT, latency_ms=1)
    run = record_trajectory(log, done)

    assert [done] == list(read_trajectories(log))
    assert verify(log, run).ok
    with pytest.raises(LogError, match="is in this log already"):
        record_trajectory(log, done)
    with pytest.raises(UnknownTrajectory, match="it is unfinished"):
        record_trajectory(log, Trajectory.begin())
    assert TrajectoryRecording(log).record(run) is None


def test_a_trajectory_that_was_erased_is_not_recorded_anew() -> None:
    log = FactLog.open()
    recording = TrajectoryRecording(log)
    engine = Engine([work], observers=[recording])
    engine.run_sync(context_of(1), log=log, run_id="r")
    (found,) = read_trajectories(log)
    log.redact("r.trajectory", [f"trajectory:{found.uuid}"], reason="asked", by="dana")

    assert [] == recording.catch_up()
    with pytest.raises(LogError, match="was it redacted"):
        recording.record("r")
