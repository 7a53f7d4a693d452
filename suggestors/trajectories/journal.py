"""Keeps a trajectory in a fact log while it is recorded: as a run of its own, so a crash loses none of its steps.

The run begins with a `TrajectoryBegun`; each step and each other thing that the recorder is told is a fact in a cycle
of its own, committed before the recorder goes on; the last cycle holds the `Trajectory` itself and what failed in it.
Being a run, it is verified, exported, compacted, redacted and dropped as runs are, projections fold its facts, and its
lease tells whether its recorder is still alive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from ...engine.stop import Converged, stop_to_json
from ...facts import (
    Compacted,
    CycleCommitted,
    Fact,
    FactLog,
    InvalidPayload,
    Opaque,
    Payload,
    Ref,
    RunId,
    RunStarted,
    RunStopped,
)
from ...facts.canonical import digest_of, encode
from ...facts.fact import make_fact
from ...facts.family import family_of
from ...facts.trail import SuggestorPrint
from .errors import UnknownTrajectory
from .payloads import RecordedDetail, RecordedStep, StepFailure, Trajectory, TrajectoryBegun, TrajectoryStep

RECORDER = "trajectory-recorder"
"""Who says what a recorder writes."""
_PREFIX = "trajectory-"
_SMALLER = (
    "Nothing was written. Leave out why and with what its steps were taken: recorder.complete(…, brief=True), "
    "record_trajectory(log, trajectory.brief()), TrajectoryRecording(log, finish=Trajectory.brief). If that is not "
    "enough, tell less in each step, or record the work as several trajectories"
)
_WRITES = (TrajectoryBegun, RecordedStep, RecordedDetail, Trajectory, StepFailure)


def run_of(uuid: UUID | str) -> RunId:
    """Returns the run in which a recorder keeps a trajectory."""
    return RunId(f"{_PREFIX}{uuid}")


def fact_of(payload: Payload, id: str, cycle: int, because: Iterable[Ref] = ()) -> Fact[Any]:
    """Returns the fact that a recorder commits.

    Raises:
        InvalidPayload: the payload cannot be written, or is too large.
    """
    family = family_of(type(payload))
    digest = digest_of(encode(payload, family))
    return make_fact(payload, id, RECORDER, cycle, 1.0, tuple(because), digest)


class Journal:
    """Writes one trajectory, which it holds the lease of."""

    def __init__(self, log: FactLog, uuid: UUID, cycle: int = 0, seq: int = 0, facts: int = 0) -> None:
        self.log, self.run = log, run_of(uuid)
        self.cycle, self._seq, self._facts = cycle, seq, facts

    @classmethod
    def begin(cls, log: FactLog, begun: TrajectoryBegun) -> Journal:
        """Starts the run of a trajectory."""
        journal = cls(log, begun.uuid)
        log.claim(journal.run)
        try:
            fact = fact_of(begun, str(begun.uuid), 0)
            log.append(journal.run, [_opening(begun.started), CycleCommitted(0, (), (fact,))], seq=0)
        except BaseException:  # whatever it was goes on to the caller; the run must not stay claimed
            log.release(journal.run)
            raise
        journal.cycle, journal._seq, journal._facts = 1, 2, 1
        return journal

    def keep(self, payload: Payload, id: str) -> None:
        """Keeps one thing, or raises and keeps nothing."""
        self._append([fact_of(payload, id, self.cycle)], ())

    def conclude(self, trajectory: Trajectory, failures: Sequence[StepFailure]) -> None:
        """Keeps the whole trajectory with what failed in it, and ends the run."""
        facts = closing_facts(trajectory, failures, self.cycle)
        stop = RunStopped(stop_to_json(Converged(self.cycle)), self._facts + len(facts))
        self._append(facts, (stop,))

    def _append(self, facts: Sequence[Fact[Any]], after: tuple[RunStopped, ...]) -> None:
        self.log.append(self.run, [CycleCommitted(self.cycle, (RECORDER,), facts), *after], seq=self._seq)
        self.cycle, self._seq, self._facts = self.cycle + 1, self._seq + 1 + len(after), self._facts + len(facts)


def closing_facts(trajectory: Trajectory, failures: Sequence[StepFailure], cycle: int) -> list[Fact[Any]]:
    """Returns the facts of a trajectory that is complete, and of what failed in it.

    Raises:
        InvalidPayload: it is too large; the text says how it becomes smaller.
    """
    try:
        whole = fact_of(trajectory, str(trajectory.uuid), cycle)
    except InvalidPayload as error:
        problem, is_large, _ = error.reason.partition(". Keep large content")  # its class is ours: that is no advice
        if not is_large:
            raise
        raise InvalidPayload(error.family, f"{problem}. {_SMALLER}") from error
    return [
        whole,
        *(fact_of(one, f"{trajectory.uuid}/{place}", cycle, [whole.ref]) for place, one in enumerate(failures)),
    ]


def write_at_once(log: FactLog, run: RunId, trajectory: Trajectory, failures: Sequence[StepFailure]) -> None:
    """Writes a trajectory that is complete as a run, in one transaction.

    Raises:
        LogError: the log has a run of this name already, or takes no more. Nothing was written.
    """
    facts = closing_facts(trajectory, failures, 0)
    stop = RunStopped(stop_to_json(Converged(1)), len(facts))
    log.append(run, [_opening(trajectory.started), CycleCommitted(0, (RECORDER,), facts), stop], seq=0)


def is_recorded(log: FactLog, run: RunId) -> bool:
    """Tells whether a run is one that a recorder writes."""
    if not run.startswith(_PREFIX) or not any(one.name == RECORDER for one in log.started(run).suggestors):
        return False
    try:
        return run_of(UUID(run.removeprefix(_PREFIX))) == run
    except ValueError:  # somebody else's: a run that was loaded may have any name
        return False


def read_back(log: FactLog, run: RunId) -> tuple[Trajectory, Journal]:
    """Returns what a recorder has written of a trajectory, and the journal behind it, which does not hold its lease.

    Steps that were redacted are left out; the attribute "redacted" says how many facts were.

    Raises:
        UnknownTrajectory: there is no beginning to be found: it was redacted, or never was.
        LogError: the run cannot be read.
    """
    folded: _Folded | None = None
    whole: Trajectory | None = None
    cycle = seq = facts = redacted = 0
    for logged in log.events(run):
        event = logged.event
        seq = logged.seq + 1
        if not isinstance(event, (CycleCommitted, Compacted)):
            continue
        cycle = event.cycle + 1
        facts = facts + len(event.facts) if isinstance(event, CycleCommitted) else event.promoted
        for fact in event.facts:
            said = fact.payload
            if isinstance(said, TrajectoryBegun):
                folded = _Folded(said)
            elif isinstance(said, Trajectory):
                whole = said
            elif folded is not None and isinstance(said, (RecordedStep, RecordedDetail)):
                folded.take(said)
            else:
                redacted += isinstance(said, Opaque)
    journal = Journal(log, UUID(run.removeprefix(_PREFIX)), cycle, seq, facts)
    if whole is not None:
        return whole, journal
    if folded is None:
        raise UnknownTrajectory(run.removeprefix(_PREFIX), "its beginning was redacted, or is of a newer version")
    return folded.trajectory(redacted), journal


class _Folded:
    """What a recorder was told, put together again."""

    def __init__(self, begun: TrajectoryBegun) -> None:
        self.begun, self.metadata = begun, begun.metadata
        self.steps: list[TrajectoryStep] = []
        self.lessons: list[str] = []
        self.response: tuple[float, ...] | None = None

    def take(self, said: RecordedStep | RecordedDetail) -> None:
        """Takes in what was said next."""
        if isinstance(said, RecordedStep):
            self.steps.append(said.step.model_copy(update={"index": len(self.steps)}))
            self.metadata = self.metadata.with_step(said.step.metadata)
            return
        self.metadata = said.metadata if said.metadata is not None else self.metadata
        self.response = said.response_embedding if said.response_embedding is not None else self.response
        if said.lesson is not None:
            self.lessons.append(said.lesson)

    def trajectory(self, redacted: int) -> Trajectory:
        """Returns it as it is, unfinished."""
        metadata = self.metadata
        if redacted:
            attributes = {**metadata.attributes, "redacted": str(redacted)}
            metadata = metadata.model_copy(update={"attributes": attributes})
        begun = self.begun
        begin = Trajectory.begin(begun.query_embedding, uuid=begun.uuid, started=begun.started, metadata=metadata)
        said = {"steps": tuple(self.steps), "response_embedding": self.response, "lessons": tuple(self.lessons)}
        return Trajectory.model_validate({**dict(begin), **said})


def _opening(started: datetime) -> RunStarted:
    writes = tuple(family_of(cls).name for cls in _WRITES)
    return RunStarted(started.isoformat(), 0, (SuggestorPrint(RECORDER, "1", (), writes, pure=False),), {})
