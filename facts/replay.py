"""Gives back the context of a run from its log alone: no suggestor runs."""

from __future__ import annotations

from collections.abc import Iterator

from .bulk import building
from .context import Context
from .errors import LogError
from .event import Compacted, ContextCarried, CycleCommitted, RunStarted
from .fact import RunId
from .fold import apply
from .log import FactLog, Logged
from .read_event import BrokenEvent, UnknownFormat
from .snapshot import CutOff
from .stores import Broken


def replay(log: FactLog, run: RunId | str, at: int | None = None) -> Context:
    """Returns the context at the end of a run, or at the end of cycle `at`.

    ```python
    replay(log, result.run_id, at=3)
    ```

    Raises:
        LogError: the log holds no such run or cycle, or an event cannot be read.
    """
    if not isinstance(log, FactLog):
        raise LogError(f"replay takes a FactLog, not a {type(log).__name__}. Write: replay(FactLog.open(…), run)")
    with building():
        return _replay(log, RunId(str(run)), at)


def _replay(log: FactLog, run: RunId, at: int | None) -> Context:
    context = Context()
    last = None
    try:
        for logged in lineage(log, run):
            cycle, event = _cycle_of(logged), logged.event
            if isinstance(event, Compacted) and at is not None and 0 <= at < event.cycle:
                if at > event.began:
                    raise CutOff(logged.run, event.cycle, f"cycle {at} cannot be replayed")
                apply(context, event.started, logged.run)
                context._trail.digest = event.first
                break
            if at is not None and cycle is not None and cycle > at >= 0:
                break
            apply(context, event, logged.run)
            context._trail.digest = logged.digest
            last = cycle if cycle is not None else last
    except (Broken, BrokenEvent, UnknownFormat):
        if at is None or at != last:  # damage behind the cycle that was asked for is no matter
            raise
    if at is not None and (last is None or at > last or at < 0):
        raise LogError(f"run {run} has no cycle {at}; its last is {-1 if last is None else last}")
    return context


def lineage(log: FactLog, run: RunId) -> Iterator[Logged]:
    """Yields every event that a run rests on: those of its parents up to where it left them, then its own."""
    chain: list[tuple[RunId, int | None, str | None]] = [(run, None, None)]
    visited = {run}
    while True:
        first = _first(log, chain[-1][0])
        if first is None or first.parent is None:
            break
        parent = first.parent
        if parent.run in visited:
            raise LogError(f"run {run} is its own ancestor through {parent.run}: the log is not one that quiesce wrote")
        if parent.run not in log:
            raise LogError(
                f"run {chain[-1][0]} goes on from run {parent.run}, which is not in this log. Load that run first"
            )
        visited.add(parent.run)
        chain.append((parent.run, parent.seq, parent.digest))
    for name, until, digest in reversed(chain):
        yield from _part(log, name, until, digest)


def _part(log: FactLog, run: RunId, until: int | None, digest: str | None) -> Iterator[Logged]:
    read = 0
    for logged in log.events(run) if until != 0 else ():
        read = logged.seq + 1
        if until is not None and read > until:
            event = logged.event
            cycle = event.cycle if isinstance(event, Compacted) else 0
            raise CutOff(run, cycle, f"what another run took over from its first {until} events is not there")
        yield logged
        if read == until:
            if logged.digest != digest:
                raise LogError(f"run {run}: event {logged.seq} is not the one from which another run went on")
            return  # what the parent did later is no matter, nor is damage there
    if until is not None and read < until:
        raise LogError(f"run {run} ends at event {read}, but another run went on from event {until}")


def _first(log: FactLog, run: RunId) -> RunStarted | None:
    if log.store.first(run):
        return log.started(run)  # without all the rest of the snapshot
    for logged in log.events(run):
        return logged.event if isinstance(logged.event, RunStarted) else None
    return None


def _cycle_of(logged: Logged) -> int | None:
    event = logged.event
    return event.cycle if isinstance(event, (CycleCommitted, ContextCarried, Compacted)) else None
