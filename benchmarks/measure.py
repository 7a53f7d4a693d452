"""Measures works that are compared with each other: in turns, so that a slow minute of the machine is shared by all."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from math import log
from statistics import fmean, median
from time import perf_counter
from typing import Literal

Sample = Callable[[], Awaitable[float]]
"""Does a work once and returns what it measured, in the unit of its case."""


class NotMeasured(Exception):
    """A work could not be done; its row says why and the others go on."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a work is held to."""

    limit: float
    on: Literal["value", "ratio", "slope"] = "value"
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
    """The case that its ratio is taken to, at its own size; by default the first of the section that has that size."""
    quoted: float | None = None
    """A figure that was not measured here."""
    missing: str = "not installed"
    size: int | None = None
    """How much there is to do. Cases of one name and several sizes are a series, whose slope is shown."""
    kind: Literal["ours", "peer", "floor"] = "ours"
    """A floor is what a part of the work takes by itself: nobody who does that part can be faster."""
    once: bool = False
    """What it measures is the same each time (bytes), or is too slow to be measured often: one sample will do."""
    most: int | None = None
    """How many samples are taken at most, of what starts processes."""
    warm: bool = True
    """Whether it is done once beforehand, unmeasured."""


@dataclass(slots=True)
class Section:
    """Works that are compared with each other."""

    title: str
    note: str
    cases: list[Case]
    of: str = ""
    """What the sizes count."""


@dataclass(slots=True)
class Row:
    """What was found for a case."""

    case: Case
    samples: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    """To the case that it is compared with, repetition by repetition; empty for that case itself."""
    slope: float | None = None
    """How the medians of its series grow with their sizes: 1 is in proportion, 0 not at all."""
    failed: str = ""
    """Why there are no samples."""

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
        if self.case.target is None:
            return None
        found = {"value": self.median, "ratio": self.ratio, "slope": self.slope}[self.case.target.on]
        return None if found is None else self.case.target.is_met(found)


async def measure(section: Section, repetitions: int) -> list[Row]:
    """Returns a row for each case: one call to warm up, then every case once in each repetition, to and fro."""
    rows = [Row(case) for case in section.cases]
    for row in rows:
        if row.case.warm and not row.case.once:
            await _take(row)
    for row in rows:
        row.samples.clear()
    gc.collect()  # what was prepared is old now; from here on the collector runs as it does in production
    for repetition in range(repetitions):
        # Every other time from the last to the first: nobody is always measured right after the same neighbour.
        for row in rows if repetition % 2 == 0 else reversed(rows):
            most = 1 if row.case.once else row.case.most
            if most is None or len(row.samples) < most:
                await _take(row)
    compare(rows)
    for row in rows:
        row.case = replace(row.case, sample=None)
    section.cases = []  # what was prepared may be big; it goes before the next section comes
    return rows


async def _take(row: Row) -> None:
    if row.case.sample is None or row.failed:
        return
    try:
        row.samples.append(await row.case.sample())
    except NotMeasured as problem:
        row.failed = str(problem)
        row.samples.clear()


def compare(rows: list[Row]) -> None:
    """Fills in the ratios and slopes of measured rows."""
    for row in rows:
        base = _base(row, rows)
        row.ratios = [] if base is row else _ratios(row, base)
    for name in {row.case.name for row in rows}:
        series = [row for row in rows if row.case.name == name]
        points = [(row.case.size, row.median) for row in series]
        found = slope([(size, value) for size, value in points if size and value])
        for row in series:
            row.slope = found


def _base(row: Row, rows: list[Row]) -> Row:
    """Returns the row that another is compared with."""
    name, size = row.case.against, row.case.size
    named = [one for one in rows if name in (None, one.case.name)]
    return next((one for one in named if one.case.size == size), named[0])


def _ratios(row: Row, base: Row) -> list[float]:
    """Returns the ratios of samples of the same repetition; what was quoted or taken once is compared with each."""
    ones, others = _values(row), _values(base)
    length = max(len(ones), len(others)) if ones and others else 0
    pairs = zip(_spread(ones, length), _spread(others, length), strict=True)
    return [one / other for one, other in pairs if other]


def _values(row: Row) -> list[float]:
    quoted = row.case.quoted
    return row.samples or ([] if quoted is None else [quoted])


def _spread(values: list[float], length: int) -> list[float]:
    return values * length if len(values) == 1 else values[:length]


def slope(points: list[tuple[int, float]]) -> float | None:
    """Returns the slope of a straight line through points on logarithmic axes; None for fewer than three."""
    if len({size for size, _ in points}) < 3:
        return None
    xs, ys = [log(size) for size, _ in points], [log(value) for _, value in points]
    middle_x, middle_y = fmean(xs), fmean(ys)
    above = sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True))
    return above / sum((x - middle_x) ** 2 for x in xs)


def timed(work: Callable[[], Awaitable[object]], times: int = 1) -> Sample:
    """Returns a sample in milliseconds: the mean of so many calls, what they leave behind taken away with them."""

    async def sample() -> float:
        start = perf_counter()
        for _ in range(times):
            await work()
        return (perf_counter() - start) / times * 1_000

    return sample
