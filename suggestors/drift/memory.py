"""Remembers a window across runs: the fold over its observations, the same in a run and in a ledger."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import chain

from .evidence import RateTest, Start
from .judge import Figures, weigh
from .payloads import DriftBaseline, DriftVerdict, KnownWindow, Number, ResponseObservation, Severity
from .seen import Seen, WindowKey, first_end, pack, see, unpack, window_id
from .settings import Settings
from .usual import collapse, middle
from .watch import CUTS, POOLED, BaselineOptions, cut_of, is_bad, number_of
from .window import Window


class Memory:
    """What is known of one window: its latest observations, its baseline, and what has come of comparing with it."""

    __slots__ = (
        "_window", "alarms", "collapsed_from", "counts", "cuts", "early", "held", "key", "life", "number", "numbers",
        "packed", "settings", "severity", "since", "tests", "total", "usual", "watched",
    )  # fmt: skip

    def __init__(self, key: WindowKey, settings: Settings) -> None:
        self.key, self.settings = key, settings
        self.total = self.watched = self.held = self.number = self.since = 0
        self.severity: Severity = "none"
        self.packed = bytearray()
        self._window: Window | None = None
        self.usual = self.collapsed_from = 0.0
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
            self.early.setdefault("output_tokens", [])

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
        memory.usual, memory.collapsed_from = known.usual, known.collapsed_from
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
            cuts=tuple(self.cuts.items()), usual=self.usual, collapsed_from=self.collapsed_from,
            early=tuple((name, tuple(values)) for name, values in self.early.items()),
            starts=tuple((name, tuple(chain.from_iterable(test.starts))) for name, test in tests.items()),
            alarms=tuple((name, rate, int(bad), int(cases)) for name, (rate, bad, cases) in self.alarms.items()),
            numbers=tuple((name, values.tobytes()) for name, values in self.numbers.items()),
        )  # fmt: skip

    # --- the fold ---------------------------------------------------------------------------------------------------

    def observe(self, observation: ResponseObservation) -> Seen:
        """Takes in an observation, and returns what the window keeps of it."""
        seen = see(observation)
        baseline = self.settings.baseline
        # Decided before it comes: what is left of a stable history is then as stable as the whole, and so the bound of
        # the sequential test holds.
        is_left_out = baseline is not None and not self.is_frozen and self.is_severe
        self._keep(seen)
        self.total += 1
        if baseline is not None:
            thresholds, options = self.settings.thresholds, self.settings.options
            figures, before = self.window.figures(), self.collapsed_from
            self.collapsed_from = collapse(figures, before, self.length_at_first, thresholds, options)
            if self.is_frozen:
                self._compare(observation, seen, baseline)
            elif is_left_out:
                self._live(observation, seen, baseline)
            else:
                self.watched += 1
                self._warm_up(observation, seen, baseline)
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
    def window(self) -> Window:
        """The latest observations with their figures."""
        if self._window is None:
            self._window = Window(self.settings.size, self.recent())
        return self._window

    @property
    def figures(self) -> Figures:
        """Those of the window; the length that it had before a collapse stands until it is back."""
        figures = self.window.figures()
        if self.collapsed_from > figures.earlier_median:
            return figures._replace(earlier_median=self.collapsed_from)
        return figures

    @property
    def is_severe(self) -> bool:
        """One signal of the window is severe by itself."""
        figures, thresholds = self.figures, self.settings.thresholds
        if not figures.observations or figures.observations < thresholds.min_window_fill:
            return False
        return any(flag.severe for flag in weigh(figures, thresholds, self.settings.options)[0])

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

    def length_at_first(self) -> float:
        """Returns the median length of the first answers, as many as there are; 0 if nobody knows."""
        return self.usual or middle(self.early.get("output_tokens", ()))

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
        if self._window is not None:
            self._window.record(seen)

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
            _add(self.counts[name], bad)
            if name in self.life:
                _add(self.life[name], bad)
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
        self.usual = middle(self.early["output_tokens"])
        self.early = {}

    def _compare(self, observation: ResponseObservation, seen: Seen, baseline: BaselineOptions) -> None:
        for name, bad in self._cases(observation, seen, baseline):
            if name in self.life:
                _add(self.life[name], bad)
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

    def _live(self, observation: ResponseObservation, seen: Seen, baseline: BaselineOptions) -> None:
        """Counts for the comparison with other providers only."""
        for name, bad in self._cases(observation, seen, baseline):
            if name in self.life:
                _add(self.life[name], bad)


def _add(count: list[int], bad: bool) -> None:
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


def _in_pairs(starts: Sequence[int]) -> list[Start]:
    return list(zip(starts[::2], starts[1::2], strict=True))
