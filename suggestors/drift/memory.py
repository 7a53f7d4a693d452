"""Remembers a window across runs: the fold over its observations, the same in a run and in a ledger."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import log
from typing import Any

from .evidence import RateTest, Start
from .payloads import DriftBaseline, DriftVerdict, KnownWindow, Number, ResponseObservation, Severity
from .seen import Seen, WindowKey, first_end, pack, see, unpack, window_id
from .watch import CUTS, POOLED, BaselineOptions, cut_of, is_bad, number_of


class Settings:
    """What the fold depends on."""

    __slots__ = ("baseline", "numbers", "refresh", "size", "text", "wanted")

    def __init__(
        self, size: int, baseline: BaselineOptions | None, numbers: tuple[Number, ...] = (), refresh: int = 0
    ) -> None:  # fmt: skip
        self.size, self.baseline = size, baseline
        self.numbers = numbers
        """The numbers on which change detectors run."""
        self.refresh = refresh
        """After so many values a change detector starts anew: what it knows is a function of those."""
        self.wanted = 0.0 if baseline is None else log(3 * len(baseline.watch) / baseline.alpha)
        """The logarithm of the evidence that is asked for: a third of alpha for what was at first, two for the pool."""
        self.text = f"{size}/{','.join(numbers)}:{refresh}/" + (
            "" if baseline is None else f"{baseline.warm_up}:{baseline.alpha!r}:{baseline.effect!r}:"
            f"{','.join(baseline.watch)}:{baseline.min_length!r}:{baseline.recovery}"
        )  # fmt: skip


class Memory:
    """What is known of one window: its latest observations, its baseline, and what has come of comparing with it."""

    __slots__ = (
        "alarms", "counts", "cuts", "early", "held", "key", "life", "number", "numbers", "packed", "settings",
        "severity", "since", "tests", "total", "watched",
    )  # fmt: skip

    def __init__(self, key: WindowKey, settings: Settings) -> None:
        self.key, self.settings = key, settings
        self.total = self.watched = self.held = self.number = self.since = 0
        self.severity: Severity = "none"
        self.packed = bytearray()
        self.cuts: dict[str, float] = {}
        self.alarms: dict[str, list[float]] = {}  # the rate that it has become; bad cases and cases since
        self.numbers: dict[str, array[float]] = {name: array("d") for name in settings.numbers}
        self.counts: dict[str, list[int]] = {}  # of the warm-up: bad cases and cases
        self.tests: dict[str, RateTest] = {}
        self.life: dict[str, list[int]] = {}
        self.early: dict[Number, list[float]] = {}
        if settings.baseline is not None:
            self.counts = {name: [0, 0] for name in settings.baseline.watch}
            self.life = {name: [0, 0] for name in settings.baseline.watch if name in POOLED}
            self.early = {CUTS[name].number: [] for name in settings.baseline.watch if name in CUTS}

    # --- carried over -----------------------------------------------------------------------------------------------

    @classmethod
    def of(cls, known: KnownWindow, settings: Settings, *, whole: bool = True) -> Memory:
        """Returns what a payload carries; without `whole`, or if it was made with other settings, not the baseline."""
        memory = cls((known.provider, known.model, known.stream), settings)
        memory.severity, memory.number, memory.since = known.severity, known.number, known.since
        if known.settings != settings.text or not whole:
            for one in _readable(known.recent):
                memory._keep(one)
            memory.total = max(known.total, memory.held)
            memory.since = min(known.since, memory.total)
            return memory
        memory.total, memory.watched = known.total, known.watched
        memory.held, memory.packed = known.held, bytearray(known.recent)
        memory.cuts = dict(known.cuts)
        memory.alarms = {name: list(alarm) for name, *alarm in known.alarms}
        memory.early = {name: list(values) for name, values in known.early}
        memory.counts = {name: [bad, cases] for name, bad, cases, _, _ in known.counts}
        memory.life = {name: list(count) for name, *count in known.life}
        if memory.is_frozen:
            starts = dict(known.starts)
            memory.tests = {
                name: RateTest(counts[0], counts[1], counts[2], counts[3], _in_pairs(starts.get(name, ())))
                for name, *counts in known.counts
                if counts[1]  # what never came up in the warm-up has nothing to be compared with
            }
        for name, values in known.numbers:
            memory.numbers[name] = array("d", values)
        return memory

    def payload(self) -> KnownWindow:
        """Returns it as a payload."""
        provider, model, stream = self.key
        tests = self.tests
        return KnownWindow(
            provider=provider, model=model, stream=stream, settings=self.settings.text, total=self.total,
            watched=self.watched, held=self.held, recent=bytes(self.packed), severity=self.severity,
            number=self.number, since=self.since,
            counts=tuple(
                (name, bad, cases, tests[name].bad, tests[name].cases) if name in tests else (name, bad, cases, 0, 0)
                for name, (bad, cases) in self.counts.items()
            ),
            life=tuple((name, bad, cases) for name, (bad, cases) in self.life.items()),
            cuts=tuple(self.cuts.items()),
            early=tuple((name, tuple(values)) for name, values in self.early.items()),
            starts=tuple((name, tuple(chain.from_iterable(test.starts))) for name, test in tests.items()),
            alarms=tuple((name, rate, int(bad), int(cases)) for name, (rate, bad, cases) in self.alarms.items()),
            numbers=tuple((name, values.tobytes()) for name, values in self.numbers.items()),
        )  # fmt: skip

    # --- the fold ---------------------------------------------------------------------------------------------------

    def observe(self, observation: ResponseObservation) -> Seen:
        """Takes in an observation, and returns what the window keeps of it."""
        seen = see(observation)
        self._keep(seen)
        self.total += 1
        baseline = self.settings.baseline
        if baseline is not None:
            self.watched += 1
            if self.watched <= baseline.warm_up:
                self._warm_up(observation, seen, baseline)
            else:
                self._compare(observation, seen, baseline)
        for name in self.settings.numbers:
            value = number_of(observation, name, seen)
            if value is not None:
                values = self.numbers[name]
                if len(values) >= self.settings.refresh:
                    del values[:]
                values.append(value)
        return seen

    def said(self, verdict: DriftVerdict) -> None:
        """Takes note of a verdict about this window."""
        self.severity, self.since = verdict.severity, verdict.at
        self.number = max(self.number, verdict.number)

    # --- asking -----------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Of the window's facts."""
        return window_id(*self.key)

    @property
    def is_frozen(self) -> bool:
        """Its baseline is complete."""
        return self.settings.baseline is not None and self.watched >= self.settings.baseline.warm_up

    @property
    def calm(self) -> int:
        """How many observations in a row were judged with severity none, up to the latest."""
        return calm_of(self)

    def recent(self) -> list[Seen]:
        """Returns the latest observations, oldest first."""
        return unpack(self.packed)

    def rate_at_first(self, name: str) -> float:
        """Returns how often something was bad during the warm-up."""
        bad, cases = self.counts[name]
        return bad / cases if cases else 0.0

    def baseline(self) -> DriftBaseline:
        """Returns the frozen baseline as a payload."""
        counted = {name: bad / cases for name, (bad, cases) in self.counts.items() if cases}
        return DriftBaseline(
            provider=self.key[0], window=self.id, observations=self.watched,
            rates={name: round(rate, 3) for name, rate in counted.items()}, cuts=dict(self.cuts),
        )  # fmt: skip

    # --- inside -----------------------------------------------------------------------------------------------------

    def _keep(self, seen: Seen) -> None:
        if self.held >= self.settings.size:
            del self.packed[: first_end(self.packed)]
        else:
            self.held += 1
        self.packed += pack(seen)

    def _cases(
        self, observation: ResponseObservation, seen: Seen, baseline: BaselineOptions
    ) -> Iterator[tuple[str, bool]]:
        """Yields each thing that is watched and that an observation says something about."""
        for name in baseline.watch:
            cut = CUTS.get(name)
            if cut is None:
                bad = is_bad(name, seen)
                if bad is not None:
                    yield name, bad
            elif (limit := self.cuts.get(name)) is not None:
                value = number_of(observation, cut.number, seen)
                if value is not None:
                    yield name, value > limit if cut.above else value < limit

    def _warm_up(self, observation: ResponseObservation, seen: Seen, baseline: BaselineOptions) -> None:
        for name, bad in self._cases(observation, seen, baseline):
            count = self.counts[name]
            count[0] += bad
            count[1] += 1
            if name in self.life:
                self._live(name, bad)
        if self.early:
            for number, values in self.early.items():
                value = number_of(observation, number, seen)
                if value is not None:
                    values.append(value)
            if self.watched >= baseline.first:
                self._cut(baseline)
        if self.watched == baseline.warm_up:
            self.tests = {name: RateTest(bad, cases) for name, (bad, cases) in self.counts.items() if cases}

    def _cut(self, baseline: BaselineOptions) -> None:
        for name in baseline.watch:
            if name in CUTS:
                limit = cut_of(CUTS[name], self.early[CUTS[name].number], baseline.min_length)
                if limit is not None:
                    self.cuts[name] = limit
        self.early = {}

    def _compare(self, observation: ResponseObservation, seen: Seen, baseline: BaselineOptions) -> None:
        for name, bad in self._cases(observation, seen, baseline):
            if name in self.life:
                self._live(name, bad)
            alarm = self.alarms.get(name)
            if alarm is not None:
                alarm[1] += bad
                alarm[2] += 1
                if alarm[2] >= baseline.recovery:
                    if alarm[1] / alarm[2] < (alarm[0] + self.rate_at_first(name)) / 2:
                        del self.alarms[name]
                    else:
                        alarm[1:] = 0, 0
            test = self.tests.get(name)
            rate = None if test is None else test.see(bad, self.settings.wanted, baseline.effect)
            if rate is not None:
                self.alarms[name] = [rate, 0, 0]

    def _live(self, name: str, bad: bool) -> None:
        count = self.life[name]
        count[0] += bad
        count[1] += 1


def calm_of(window: Memory | KnownWindow) -> int:
    """Returns how many observations in a row were judged with severity none, up to the latest."""
    if window.severity != "none":
        return 0
    return window.total - window.since + (window.number > 0)  # the one that the verdict was said at counts


def _readable(recent: bytes) -> list[Seen]:
    try:
        return unpack(recent)
    except ValueError:  # somebody else said this fact
        return []


def is_sound(known: KnownWindow, settings: Settings) -> bool:
    """Tells whether a payload is what `Memory.payload` makes under these settings; anybody may say such a fact."""
    try:
        if len(unpack(known.recent)) != known.held or known.held > min(settings.size, known.total):
            return False
    except ValueError:
        return False
    fresh = Memory((known.provider, known.model, known.stream), settings)
    counts = {name: each for name, *each in known.counts}
    return (
        known.settings == settings.text
        and _names(known.counts) == list(fresh.counts)
        and _names(known.life) == list(fresh.life)
        and _names(known.numbers) == list(fresh.numbers)
        and _names(known.early) in ([], list(fresh.early))
        and set(_names(known.cuts)) <= CUTS.keys()
        and set(_names(known.starts)) <= counts.keys()
        and set(_names(known.alarms)) <= counts.keys()
        and all(0 <= each[0] <= each[1] and 0 <= each[2] <= each[3] for each in counts.values())
        and all(0 <= bad <= cases for _, bad, cases in known.life)
        and all(_fit(starts, *counts[name][2:]) for name, starts in known.starts)
        and all(len(values) % 8 == 0 for _, values in known.numbers)
    )


def _in_pairs(starts: Sequence[int]) -> list[Start]:
    return list(zip(starts[::2], starts[1::2], strict=True))


def _names(each: Iterable[tuple[Any, ...]]) -> list[str]:
    return [name for name, *_ in each]


def _fit(starts: Sequence[int], bad: int, cases: int) -> bool:
    """Tells whether a test with so many cases may have had these starts."""
    before, before_bad = starts[::2], starts[1::2]
    return len(before) == len(before_bad) and all(
        0 <= one_bad <= one <= cases and one_bad <= bad <= one_bad + cases - one
        for one, one_bad in zip(before, before_bad, strict=True)
    )
