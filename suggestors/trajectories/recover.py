"""Gives back the trajectories that a crash, or a recorder that was dropped, left unfinished in a log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime

from ...engine.clock import Clock, RealClock
from ...engine.options import check_log
from ...facts import FactLog, InvalidPayload, Leased, LogError, RunId
from .failures import failures_of
from .journal import is_recorded, read_back
from .payloads import Trajectory
from .recorder import is_live, sweep
from .verdict import Verdict


def recover_trajectories(
    log: FactLog, verdict: Verdict | None = None, *, clock: Clock | None = None
) -> list[Trajectory]:  # fmt: skip
    """Returns the unfinished trajectories of a log that nobody is recording any more, with all their steps.

    ```python
    from quiesce.suggestors import RootCause, Verdict, recover_trajectories

    recover_trajectories(log)                                         # []: looks, and writes nothing
    recover_trajectories(log, Verdict.failure(RootCause.unknown("its process died")))     # completes each with it
    ```

    With a verdict each is completed with it, in the log as well. `TrajectoryRecorder.resume` goes on with one instead.
    One that cannot be read, or is too large, is left as it is, with a warning in the logger "quiesce"; the others are
    found all the same.
    """
    sweep(check_log(log))
    moment = (clock if clock is not None else RealClock()).now()
    return [found for run in _abandoned(log) if (found := _recover(log, run, verdict, moment)) is not None]


def _abandoned(log: FactLog) -> Iterator[RunId]:
    for run in log.unfinished():
        try:
            if is_recorded(log, run) and not is_live(log, run):
                yield run
        except LogError as error:
            _tell(run, error)


def _recover(log: FactLog, run: RunId, verdict: Verdict | None, at: datetime) -> Trajectory | None:
    try:
        log.claim(run)
    except Leased:
        return None  # somebody is recording it
    try:
        trajectory, journal = read_back(log, run)
        if verdict is None or trajectory.is_finished:
            return None if trajectory.is_finished else trajectory
        took = sum(step.latency_ms for step in trajectory.steps)
        done = trajectory.complete(verdict, at=at, latency_ms=took)
        journal.conclude(done, failures_of(done))
    except (LogError, InvalidPayload) as error:  # it cannot be read, or is too large to be written as a whole
        _tell(run, error)
        return None
    else:
        return done
    finally:
        log.release(run)


def _tell(run: RunId, error: Exception) -> None:
    logging.getLogger("quiesce").warning("run %s is left as it is: %s", run, error)
