"""Writes the trajectory of every run to its log once the run has ended.

A suggestor cannot see the end of its run: as long as it is called, the run goes on. So this is an observer of the
engine, which is told when a run is over. What it writes is a run of its own in the same log, so that the chain of the
run it tells of stays closed, and projections fold it in the same transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ...engine.observe import Notice, RunEnded
from ...engine.options import check_log
from ...engine.stop import AwaitingApproval, stop_from_json
from ...facts import FactLog, LogError, RunId
from .errors import UnknownTrajectory
from .failures import failures_of
from .from_run import trajectory_of
from .journal import RECORDER, run_of, write_at_once
from .payloads import Trajectory, check_trajectory

_SUFFIX = ".trajectory"

Finish = Callable[[Trajectory], Trajectory]
"""Adds to a trajectory what its run does not say: an embedding, a request type, lessons."""


class TrajectoryRecording:
    """Records the trajectory of every run that ends: an observer, `Engine(…, observers=[TrajectoryRecording(log)])`.

    ```python
    from quiesce.suggestors import TrajectoryRecording

    recording = TrajectoryRecording(log)
    told = Engine([plan], observers=[recording]).run_sync(context, log=log, run_id="told")
    "told.trajectory" in log                                          # True
    ```

    The run "told.trajectory" holds the trajectory, and a `StepFailure` for each failure in it. A run that waits for
    people has not ended, and is recorded once it has; what a run does after it was resumed is recorded as a trajectory
    of its own ("told.trajectory-2"), so nothing counts twice. Runs that are in no log, or in another, are not
    recorded. `finish` may add what the run does not say, or leave out what is too much (`finish=Trajectory.brief`).
    What cannot be recorded never spoils the run: a warning goes to the logger "quiesce", and `catch_up()` makes up
    for it.
    """

    def __init__(self, log: FactLog, *, finish: Finish | None = None) -> None:
        self.log, self._finish = check_log(log), finish

    def __call__(self, notice: Notice) -> None:
        """Takes a notice of the engine."""
        if isinstance(notice, RunEnded):
            self._try(notice.run)

    def record(self, run: RunId | str) -> RunId | None:
        """Records a run that has ended, and returns where; None if it has not ended, or is recorded already.

        Raises:
            LogError: the run cannot be read, or the log takes no more.
        """
        name, log = RunId(str(run)), self.log
        if name not in log or not _has_ended(log, name):
            return None
        after = 0
        place = RunId(f"{name}{_SUFFIX}")
        number = 1
        while place in log:
            after = max(after, _end_of(log, place, name))
            number += 1
            place = RunId(f"{name}{_SUFFIX}-{number}")
        length = log.length(name)
        if after >= length:
            return None
        trajectory = trajectory_of(log, name, after=after)
        attributes = {**trajectory.metadata.attributes, "events": str(length)}
        trajectory = trajectory.model_copy(
            update={"metadata": trajectory.metadata.model_copy(update={"attributes": attributes})}
        )
        if self._finish is not None:
            trajectory = Trajectory.model_validate(dict(self._finish(trajectory)))
        write_at_once(log, place, trajectory, failures_of(trajectory))
        return place

    def catch_up(self) -> list[RunId]:
        """Records every run of the log that has ended and is not recorded yet, and returns where."""
        return [place for run in self.log.runs() if (place := self._try(run)) is not None]

    def _try(self, run: RunId) -> RunId | None:
        try:
            return self.record(run)
        except Exception as error:  # noqa: BLE001  `finish` is a user's function; the run is over, and stands
            why = f"{type(error).__name__}: {error}"
            logging.getLogger("quiesce").warning("the trajectory of run %s was not recorded: %s", run, why)
            return None


def record_trajectory(log: FactLog, trajectory: Trajectory) -> RunId:
    """Writes a trajectory that was made elsewhere to a log, with what failed in it, and returns the run that holds it.

    Raises:
        UnknownTrajectory: it is unfinished.
        LogError: the log has it already, or takes no more.
        InvalidPayload: it is too large; `trajectory.brief()` is smaller.
    """
    check_log(log)
    if not check_trajectory(trajectory).is_finished:
        raise UnknownTrajectory(str(trajectory.uuid), "it is unfinished, and only complete ones are recorded")
    run = run_of(trajectory.uuid)
    if run in log:
        raise LogError(f"trajectory {trajectory.id} is in this log already, as run {run}. Nothing was written")
    write_at_once(log, run, trajectory, failures_of(trajectory))
    return run


def _has_ended(log: FactLog, run: RunId) -> bool:
    stopped = log.stopped(run)
    if stopped is None or _is_ours(log, run):
        return False  # it goes on, or is itself what a recorder wrote
    try:
        return not isinstance(stop_from_json(stopped.stop), AwaitingApproval)
    except ValueError as error:
        raise LogError(f"run {run}: {error}") from error


def _end_of(log: FactLog, place: RunId, name: RunId) -> int:
    """Returns how many events of a run are told of in another; 0 if that is no trajectory of it."""
    if not _is_ours(log, place):
        return 0  # somebody has given a run of theirs such a name
    for logged in log.events(place):
        for fact in getattr(logged.event, "facts", ()):
            if isinstance(fact.payload, Trajectory):
                said = fact.payload.metadata.attributes
                return int(said.get("events", "0")) if said.get("run") == name else 0
    raise LogError(
        f"run {place} holds no trajectory that can be read: was it redacted? What came later is not recorded"
    )


def _is_ours(log: FactLog, run: RunId) -> bool:
    return any(one.name == RECORDER for one in log.started(run).suggestors)
