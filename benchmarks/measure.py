"""Measures works that are compared with each other: in turns, so that a slow minute of the machine is shared by all."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from statistics import median
from time import perf_counter
from typing import Literal

Sample = Callable[[], Awaitable[float]]
"""Does a work once and returns what it measured, in the unit of its case."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a work is held to."""

    limit: float
    on: Literal["value", "ratio"] = "value"
    kind: Literal["below", "at most", "at least"] = "below"

    def is_met(self, found: float) -> bool:
        """Tells whether a median is good enough."""
        match self.kind:
            case "below":
                return found < self.limit
            case "at most":
                return found <= self.limit
            case "at least":
                return found >= self.limit


@dataclass(frozen=True, slots=True)
class Case:
    """One work to be measured, or a figure to compare with."""

    name: str
    sample: Sample | None = None
    """None: there is nothing to call, so `quoted` or `missing` says what stands in its row."""
    unit: str = "ms"
    target: Target | None = None
    against: str | None = None
    """The case that its ratio is taken to; by default the first of the section."""
    quoted: float | None = None
    """A figure that was not measured here."""
    missing: str = "not installed"


@dataclass(slots=True)
class Section:
    """Works that are compared with each other."""

    title: str
    note: str
    cases: list[Case]


@dataclass(slots=True)
class Row:
    """What was found for a case."""

    case: Case
    samples: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    """To the case that it is compared with, repetition by repetition; empty for that case itself."""

    @property
    def median(self) -> float | None:
        """The value in the middle, the quoted one, or None if there is nothing to show."""
        return median(self.samples) if self.samples else self.case.quoted

    @property
    def ratio(self) -> float | None:
        """The ratio in the middle."""
        return median(self.ratios) if self.ratios else None

    @property
    def is_met(self) -> bool | None:
        """Tells whether the target is met; None where there is none, or nothing was measured."""
        found = self.median if self.case.target is None or self.case.target.on == "value" else self.ratio
        if self.case.target is None or found is None:
            return None
        return self.case.target.is_met(found)


async def measure(section: Section, repetitions: int) -> list[Row]:
    """Returns a row for each case: one call to warm up, then every case once in each repetition."""
    rows = [Row(case) for case in section.cases]
    for case in section.cases:
        if case.sample is not None:
            await case.sample()
    gc.collect()  # what was prepared is old now; from here on the collector runs as it does in production
    for _ in range(repetitions):
        for row in rows:
            if row.case.sample is not None:
                row.samples.append(await row.case.sample())
    known = {row.case.name: row for row in rows}
    for row in rows:
        base = known[row.case.against] if row.case.against is not None else rows[0]
        if base is not row:
            row.ratios = _compare(row, base)
    for row in rows:
        row.case = replace(row.case, sample=None)
    section.cases = []  # what was prepared may be big; it goes before the next section comes
    return rows


def _compare(row: Row, base: Row) -> list[float]:
    """Returns the ratios of samples of the same repetition; a quoted figure is compared with each sample."""
    if row.samples and base.samples:
        return [one / other for one, other in zip(row.samples, base.samples, strict=True)]
    if base.median is not None and row.samples:
        return [one / base.median for one in row.samples]
    if row.median is not None and base.samples:
        return [row.median / one for one in base.samples]
    return []


def timed(work: Callable[[], Awaitable[object]], times: int = 1) -> Sample:
    """Returns a sample in milliseconds: the mean of so many calls, what they leave behind taken away with them."""

    async def sample() -> float:
        start = perf_counter()
        for _ in range(times):
            await work()
        return (perf_counter() - start) / times * 1_000

    return sample
