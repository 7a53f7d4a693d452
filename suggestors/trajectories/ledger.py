"""Reads the trajectories that a log holds, wherever they stand in it, and has them erased where somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ...engine.options import check_log
from ...facts import FactLog, GateOpened, Leased, LogError, Redaction, Ref, RunId
from ...facts.family import family_of
from ...facts.folding import facts_of
from ...facts.trail import Decision
from .journal import is_recorded, read_back
from .payloads import RecordedDetail, RecordedStep, StepFailure, Trajectory, TrajectoryBegun
from .recorder import is_live

_OURS = frozenset(
    family_of(cls).name for cls in (Trajectory, StepFailure, TrajectoryBegun, RecordedStep, RecordedDetail)
)
_WHOLE = family_of(Trajectory).name


def read_trajectories(log: FactLog, *, unfinished: bool = False) -> Iterator[Trajectory]:
    """Returns every trajectory that stands in a log, by run in the order in which they began, compacted ones too.

    Those that were redacted are left out. With `unfinished` those come last that are being recorded, or were left.

    Raises:
        LogError: a run cannot be read; the text says which.
    """
    return _read(check_log(log), unfinished)


def _read(log: FactLog, unfinished: bool) -> Iterator[Trajectory]:
    mark = f'"{_WHOLE}:'.encode()
    for run in log.runs():
        reading = log.read(run)
        facts = list(reading.snapshot.event().facts) if reading.snapshot is not None else []
        for seq, record in enumerate(reading.records, reading.start):
            if mark in record.raw:
                facts.extend(facts_of(record, run, seq, [_WHOLE]))
        yield from (fact.payload for fact in facts if isinstance(fact.payload, Trajectory))
    for run in log.unfinished() if unfinished else ():
        if is_recorded(log, run):
            yield read_back(log, run)[0]


@dataclass(slots=True)
class _Held:
    """What one run holds of the trajectories that are to go."""

    refs: dict[Ref, None] = field(default_factory=dict)


def redact_trajectories(
    log: FactLog, *, user_id: str | None = None, uuids: Iterable[UUID | str] = (), reason: str, by: str,
    dry_run: bool = False,
) -> list[Redaction]:  # fmt: skip
    """Erases trajectories for good, those of a user or some by their UUIDs, with their journals and failures.

    ```python
    from quiesce.suggestors.trajectories import redact_trajectories

    redact_trajectories(log, user_id="ana", reason="erasure request 17", by="dana")   # []: there was nothing of hers
    ```

    It returns a redaction for each run that held something. The chains still stand. What projections have learned
    keeps the counts, and the lessons in their words: `log.rebuild(name, anew=True)` folds them from what is left.

    Raises:
        Leased: one of the trajectories is being recorded.
        LogError: neither a user nor a UUID is given; or the reason or the name is blank.
    """
    check_log(log)
    wanted = {str(UUID(str(one))) for one in uuids}
    if user_id is None and not wanted:
        raise LogError("nothing says which trajectories are to go. Write: user_id=…, or uuids=[…]")
    if user_id is not None:
        wanted |= {str(uuid) for uuid in _of_user(log, user_id)}
    held: dict[RunId, _Held] = {}
    for run, ref, uuid in _refs(log):
        if uuid in wanted:
            held.setdefault(run, _Held()).refs.setdefault(ref)
    for run in held:
        if is_live(log, run):
            raise Leased(run, "a recorder of this process", 0.0)
    return [log.redact(run, list(one.refs), reason=reason, by=by, dry_run=dry_run) for run, one in held.items()]


def _of_user(log: FactLog, user_id: str) -> Iterator[UUID]:
    log.flush()
    for run in log.runs():
        for _, said in _said(log, run):
            if isinstance(said, (Trajectory, TrajectoryBegun)) and said.metadata.user_id == user_id:
                yield said.uuid
            elif isinstance(said, RecordedDetail) and said.metadata and said.metadata.user_id == user_id:
                yield said.trajectory


def _refs(log: FactLog) -> Iterator[tuple[RunId, Ref, str]]:
    """Yields where something of a trajectory stands, and its UUID: a recorder names facts by it, others need not."""
    for run in log.runs():
        for ref, said in _said(log, run):
            if isinstance(said, (Trajectory, TrajectoryBegun)):
                yield run, ref, str(said.uuid)
            elif isinstance(said, (RecordedStep, RecordedDetail, StepFailure)):
                yield run, ref, str(said.trajectory)
            elif ref.partition(":")[0] in _OURS:  # erased already, or of another version
                yield run, ref, ref.partition(":")[2][:36]


def _said(log: FactLog, run: RunId) -> Iterator[tuple[Ref, object]]:
    """Yields what a run holds: its facts, what was refused, and what waits or waited for a person."""
    for logged in log.events(run):
        event = logged.event
        parts: list[Any] = [event.parked] if isinstance(event, GateOpened) else []
        for name in ("facts", "rejections", "losers", "gates"):
            parts.extend(getattr(event, name, ()))
        yield from ((part.ref, part.payload) for part in parts if not isinstance(part, Decision))
