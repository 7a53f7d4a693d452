"""Tells two runs, or two points, apart: what only one knows, what both say differently, and where they first part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .context import Context
from .fact import Fact, Ref, RunId
from .log import FactLog
from .replay import replay
from .show import show


@dataclass(frozen=True, slots=True)
class Change:
    """One ref that both runs know and say differently."""

    ref: Ref
    left: Fact[Any]
    right: Fact[Any]
    fields: tuple[str, ...]
    """What differs: "payload", "by", "cycle", "confidence", "because"."""


@dataclass(frozen=True, slots=True)
class Diff:
    """The difference between what two runs know; empty and false where they know the same."""

    left: RunId
    right: RunId
    only_left: tuple[Fact[Any], ...]
    only_right: tuple[Fact[Any], ...]
    changed: tuple[Change, ...]
    cycle: int | None
    """The first cycle in which they differ; None if they know the same."""
    stops: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]
    """Why each ended; both None where one side is a point within a run."""
    left_at: int | None = None
    """The cycle at whose end the left one is looked at; None for its end."""
    right_at: int | None = None

    def __bool__(self) -> bool:
        return bool(self.only_left or self.only_right or self.changed or self.stops[0] != self.stops[1])

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if not self:
            alike = "" if self.left_at is not None or self.right_at is not None else " and stopped alike"
            yield f"{_point(self.left, self.left_at)} and {_point(self.right, self.right_at)} know the same{alike}"
            return
        where = "" if self.cycle is None else f"; first difference in cycle {self.cycle}"
        yield f"--- {_point(self.left, self.left_at)}\n+++ {_point(self.right, self.right_at)}{where}"
        for fact in self.only_left:
            yield f"- {fact.ref} {show(fact.payload)} by {fact.by} in cycle {fact.cycle}"
        for fact in self.only_right:
            yield f"+ {fact.ref} {show(fact.payload)} by {fact.by} in cycle {fact.cycle}"
        for change in self.changed:
            for name in change.fields:
                yield f"~ {change.ref} {name}: {_field(change.left, name)} → {_field(change.right, name)}"
        if self.stops[0] != self.stops[1]:
            yield f"~ stop: {self.stops[0]} → {self.stops[1]}"


def diff(
    log: FactLog,
    left: RunId | str,
    right: RunId | str,
    *,
    left_at: int | None = None,
    right_at: int | None = None,
    right_log: FactLog | None = None,
) -> Diff:
    """Returns what differs between two runs, of one log or of two, or between two points.

    ```python
    diff(log, result.run_id, result.run_id, left_at=0, right_at=2)     # what cycles 1 and 2 brought
    ```

    With `left_at` or `right_at` that side is what was known at the end of the cycle, and stops are not compared.

    Raises:
        LogError: a log does not hold its run or cycle, or it cannot be read.
    """
    other = right_log if right_log is not None else log
    ours, theirs = replay(log, left, left_at), replay(other, right, right_at)
    is_whole = left_at is None and right_at is None
    stops = (_stop(log, left), _stop(other, right)) if is_whole else (None, None)
    found = _compare(RunId(str(left)), RunId(str(right)), ours, theirs, stops)
    return replace(found, left_at=left_at, right_at=right_at)


def _point(run: RunId, at: int | None) -> str:
    return str(run) if at is None else f"{run} at the end of cycle {at}"


def _stop(log: FactLog, run: RunId | str) -> Mapping[str, Any] | None:
    stopped = log.stopped(run)
    return None if stopped is None else stopped.stop


def _compare(
    left: RunId, right: RunId, one: Context, two: Context,
    stops: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None],
) -> Diff:  # fmt: skip
    ours = {fact.ref: fact for fact in one}
    theirs = {fact.ref: fact for fact in two}
    only_left = tuple(fact for ref, fact in ours.items() if ref not in theirs)
    only_right = tuple(fact for ref, fact in theirs.items() if ref not in ours)
    changed = tuple(
        Change(ref, fact, theirs[ref], fields)
        for ref, fact in ours.items()
        if ref in theirs and (fields := _differences(fact, theirs[ref]))
    )
    cycles = [fact.cycle for fact in (*only_left, *only_right)]
    cycles += [min(change.left.cycle, change.right.cycle) for change in changed]
    return Diff(left, right, only_left, only_right, changed, min(cycles, default=None), stops)


def _differences(left: Fact[Any], right: Fact[Any]) -> tuple[str, ...]:
    fields = ("payload", "by", "cycle", "confidence", "because")
    return tuple(name for name in fields if _comparable(left, name) != _comparable(right, name))


def _comparable(fact: Fact[Any], name: str) -> object:
    return fact.sha256 if name == "payload" else getattr(fact, name)


def _field(fact: Fact[Any], name: str) -> str:
    value = getattr(fact, name)
    return ", ".join(value) or "nothing" if name == "because" else repr(value)
