"""Tells two runs apart: what only one knows, what both say differently, and where they first part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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

    def __bool__(self) -> bool:
        return bool(self.only_left or self.only_right or self.changed or self.stops[0] != self.stops[1])

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if not self:
            yield f"{self.left} and {self.right} know the same and stopped alike"
            return
        where = "" if self.cycle is None else f"; first difference in cycle {self.cycle}"
        yield f"--- {self.left}\n+++ {self.right}{where}"
        for fact in self.only_left:
            yield f"- {fact.ref} {show(fact.payload)} by {fact.by} in cycle {fact.cycle}"
        for fact in self.only_right:
            yield f"+ {fact.ref} {show(fact.payload)} by {fact.by} in cycle {fact.cycle}"
        for change in self.changed:
            for name in change.fields:
                yield f"~ {change.ref} {name}: {_field(change.left, name)} → {_field(change.right, name)}"
        if self.stops[0] != self.stops[1]:
            yield f"~ stop: {self.stops[0]} → {self.stops[1]}"


def diff(log: FactLog, left: RunId | str, right: RunId | str, *, right_log: FactLog | None = None) -> Diff:
    """Returns what differs between two runs, of one log or of two.

    Raises:
        LogError: a log does not hold its run, or it cannot be read.
    """
    other = right_log if right_log is not None else log
    stops = (_stop(log, left), _stop(other, right))
    return _compare(RunId(str(left)), RunId(str(right)), replay(log, left), replay(other, right), stops)


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
