"""Follows the windows of one run: what earlier runs left, and every observation of this one, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...facts import Fact
from .detectors import Detector, detector
from .judge import Flag, Judgement, conclude, weigh
from .memory import Memory, calm_of
from .payloads import ChangePoint, DriftBaseline, DriftVerdict, KnownWindow, Number, ResponseObservation
from .pool import Pool
from .seen import WindowKey, key_of, window_id
from .settings import Settings
from .sound import is_sound
from .thresholds import DriftOptions, DriftThresholds
from .watch import SEVERE, WATCHES, number_of


@dataclass(frozen=True, slots=True)
class Rules:
    """How windows are judged."""

    thresholds: DriftThresholds
    options: DriftOptions
    settings: Settings
    detectors: Mapping[Number, str]


class LiveWindow:
    """One window of a run: what is remembered of it, its figures, and the facts of this run that are in it."""

    __slots__ = ("detectors", "facts", "id", "memory", "number_at_first", "rules", "thresholds")

    def __init__(self, memory: Memory, rules: Rules) -> None:
        self.memory, self.rules = memory, rules
        self.id, self.number_at_first = memory.id, memory.number
        self.facts: deque[Fact[ResponseObservation]] = deque(maxlen=rules.settings.size)
        self.thresholds = rules.thresholds
        self.detectors = {name: self._detector(name, memory.numbers[name]) for name in rules.detectors}
        if memory.is_frozen:
            self.freeze()

    def observe(self, fact: Fact[ResponseObservation]) -> list[ChangePoint]:
        """Takes in an observation, and returns the changes that detectors find at it."""
        seen = self.memory.observe(fact.payload)
        self.facts.append(fact)
        if not self.detectors:
            return []
        changes = []
        for name in self.rules.detectors:
            value = number_of(fact.payload, name, seen)
            if value is None:
                continue
            if len(self.memory.numbers[name]) == 1:  # the memory has just begun anew, and so does the detector
                self.detectors[name] = self._detector(name, ())
            if self.detectors[name].update(value):
                provider, at, kind = self.memory.key[0], self.memory.total, self.rules.detectors[name]
                changes.append(
                    ChangePoint(provider=provider, window=self.id, signal=name, detector=kind, at=at, value=value)
                )
        return changes

    def freeze(self) -> None:
        """Takes the baseline into account: who hardly ever uses tools is not silent for that."""
        if "silent" in self.memory.counts:
            usual = (1 + self.memory.rate_at_first("silent")) / 2
            if usual > self.thresholds.tool_silence_rate:
                self.thresholds = replace(self.thresholds, tool_silence_rate=usual)

    def judge(self, pool: Pool) -> Judgement:
        """Returns what the window, its baseline and the pool say together."""
        figures, growth = self.memory.figures, self.rules.options.growth_ratio
        if figures.observations < self.thresholds.min_window_fill:
            return Judgement(observations=figures.observations)
        flags, signals = weigh(figures, self.thresholds, self.rules.options)
        memory = self.memory
        grown = growth is not None and any(flag.subject == "long" for flag in flags)
        if grown and figures.recent_median <= (growth or 0) * memory.length_at_first():
            flags = [flag for flag in flags if flag.subject != "long"]  # what comes back has not grown
        if memory.alarms:
            for name in WATCHES:
                if name in memory.alarms:
                    rate, before = memory.alarms[name][0], memory.rate_at_first(name)
                    signals[f"{name}_against_baseline"] = round(rate, 3)
                    text = f"{name}_against_baseline {rate:.2f} (at first {before:.2f})"
                    flags.append(Flag(name, name in SEVERE, text))
        flags += pool.weigh(memory.key[0], memory.life, figures, signals)
        return conclude(flags, signals, figures.observations)

    def _detector(self, name: Number, values: Iterable[float]) -> Detector:
        made = detector(self.rules.detectors[name])
        for value in values:
            made.update(value)
        return made


class LiveRun:
    """All windows of a run, as of an observation; what `take` returns depends on what was taken before, in order."""

    def __init__(self, known: Iterable[Fact[KnownWindow]], rules: Rules) -> None:
        self.rules = rules
        self.count = 0
        """How many observations it has taken."""
        self.last: Fact[ResponseObservation] | None = None
        """The latest of them."""
        self._has_gaps = False
        self.known = tuple(known)
        """What it began with."""
        self._known: dict[WindowKey, tuple[KnownWindow, bool]] = {}
        self._live: dict[WindowKey, LiveWindow] = {}
        self._of: dict[str, list[WindowKey]] = {}
        self._pool = Pool(rules.settings)
        for fact in self.known:
            if isinstance(fact.payload, KnownWindow):  # else it was redacted
                self._know(fact)

    def go_on(self, fact: Fact[Any]) -> Taken | None:
        """Takes in the next observation, and returns what is to be said about it; nothing about a redacted one."""
        if isinstance(fact.payload, ResponseObservation):
            return self.take(fact)
        self.count += 1
        self.last = fact
        self._has_gaps = True
        return None

    def take(self, fact: Fact[ResponseObservation]) -> Taken:
        """Takes in the next observation, and returns what is to be said about it."""
        self.count += 1
        self.last = fact
        live = self._window(key_of(fact.payload))
        was_frozen = live.memory.is_frozen
        changes = live.observe(fact)
        baseline = None
        if live.memory.is_frozen and not was_frozen:
            self._freeze(live)
            baseline = live.memory.baseline()
        judgement = live.judge(self._pool)
        verdict = None
        if judgement.severity != live.memory.severity:
            number = live.memory.number + 1
            if self._has_gaps:  # nobody can tell which verdicts were said about what was redacted; never more than this
                number = max(number, live.number_at_first + self.count)
            verdict = judgement.verdict(live.memory.key[0], live.id, number, live.memory.total)
            live.memory.said(verdict)
        return Taken(live, judgement, verdict, baseline, changes)

    def is_well(self, provider: str, recovery: int) -> bool:
        """Tells whether no window of a provider has drifted for so many observations, or ever."""
        for key in self._of.get(provider, ()):
            live = self._live.get(key)
            window = self._known[key][0] if live is None else live.memory
            if window.severity != "none" or (window.number and calm_of(window) < recovery):
                return False
        return True

    def payloads(self) -> dict[str, KnownWindow]:
        """Returns what is known of every window, by id: what the projection has once the run is committed."""
        known = {window_id(*key): window for key, (window, _) in self._known.items()}
        known.update((live.id, live.memory.payload()) for live in self._live.values())
        return dict(sorted(known.items()))

    def _know(self, fact: Fact[KnownWindow]) -> None:
        known = fact.payload
        key = (known.provider, known.model, known.stream)
        if not known.provider or fact.id != window_id(*key):
            return  # somebody else's: ours bear the id of their window
        whole = is_sound(known, self.rules.settings)
        self._known[key] = (known, whole)
        self._of.setdefault(known.provider, []).append(key)
        baseline = self.rules.settings.baseline
        if whole and baseline is not None and known.watched >= baseline.warm_up:
            self._pool.add(known.provider, {name: (bad, cases) for name, bad, cases, _, _ in known.counts})

    def _window(self, key: WindowKey) -> LiveWindow:
        live = self._live.get(key)
        if live is None:
            settings = self.rules.settings
            known = self._known.get(key)
            memory = Memory(key, settings) if known is None else Memory.of(known[0], settings, whole=known[1])
            live = self._live[key] = LiveWindow(memory, self.rules)
            if known is None:
                self._of.setdefault(key[0], []).append(key)
        return live

    def _freeze(self, live: LiveWindow) -> None:
        live.freeze()
        self._pool.add(live.memory.key[0], {name: (bad, cases) for name, (bad, cases) in live.memory.counts.items()})


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of one observation."""

    live: LiveWindow
    judgement: Judgement
    verdict: DriftVerdict | None
    """Written, since the severity has changed."""
    baseline: DriftBaseline | None
    """Frozen at this observation."""
    changes: list[ChangePoint]
