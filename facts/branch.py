"""Finds the point of a run from which another can go its own way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .bulk import building
from .context import Context
from .errors import LogError
from .event import Compacted, GateDecided, GateOpened, RunResumed, RunStarted
from .fact import RunId
from .fold import apply
from .log import FactLog
from .replay import lineage
from .snapshot import CutOff


@dataclass(frozen=True, slots=True)
class Branch:
    """The end of a cycle of a run: what was known then, and what the run depended on besides."""

    context: Context
    seed: int
    now: datetime
    """The logical time that held then: that of the start, or of the last time it was resumed."""
    settings: Mapping[str, Any]


def find_branch(log: FactLog, run: RunId | str, at: int | None = None) -> Branch:
    """Returns the end of a run, or the end of its cycle `at`: 0 is after its inputs, -1 before them.

    What people decided on and what was parked in a cycle belong to it, what came later does not. A cycle that a run
    has from a parent is the parent's, and so are seed and time there.

    Raises:
        CutOff: the run was compacted, and the cycle with it.
        LogError: the log holds no such run or cycle, or an event up to there, or the next, cannot be read.
    """
    context, seed, now = Context(), 0, ""
    first: int | None = None
    with building():
        for logged in lineage(log, RunId(str(run))):
            event, trail = logged.event, context._trail
            if trail.seq and trail.cycle == at and not isinstance(event, (GateOpened, GateDecided)):
                break
            if isinstance(event, Compacted) and at is not None and at < event.cycle:
                point = f"at cycle {at}" if at >= 0 else "from nothing"
                raise CutOff(logged.run, event.cycle, f"it cannot be forked {point}")
            apply(context, event, logged.run)
            trail.digest = logged.digest
            if isinstance(event, RunStarted):
                seed, now = event.seed, event.started
            elif isinstance(event, RunResumed):
                now = event.at
            elif isinstance(event, Compacted):
                seed, now = event.started.seed, event.at
            if first is None and trail.cycle >= 0:
                first = trail.cycle
    last = context._trail.cycle
    if at is not None and at != last:
        held = "it has none yet" if first is None else f"this log holds its cycles {first} to {last}"
        raise LogError(f"run {run} cannot be forked at cycle {at}: {held}")
    try:
        time = datetime.fromisoformat(now)
    except ValueError:
        raise LogError(f"run {run} was started at {now!r:.60}, which is no time in ISO 8601") from None
    return Branch(context, seed, time, context._trail.settings)
