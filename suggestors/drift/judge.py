"""Judges the figures of a window: which signals are anomalous, how severe that is, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .payloads import DriftVerdict, ResponseObservation, Severity
from .seen import ERROR, HAD_TOOLS, ODD_AS_SAID, ODD_AT_ALL, USED_TOOL, Seen, check_observation, see
from .thresholds import PLAIN, SENSITIVITY, DriftOptions, DriftThresholds, check_options, thresholds_of

NORMAL = SENSITIVITY["normal"]


class Figures(NamedTuple):
    """What a window comes down to."""

    observations: int
    ok: int
    """Those that are no errors; the figures below are theirs."""
    empty: int
    eligible: int
    """Their requests had tools."""
    silent: int
    """Of the eligible, those that used none."""
    odd: int
    """Their stop reason is odd as it is written."""
    odd_at_all: int
    """It is odd whatever the vendor's words."""
    earlier_median: float
    recent_median: float


class Flag(NamedTuple):
    """One anomalous signal."""

    subject: str
    """What is wrong; two flags of one subject count once."""
    severe: bool
    text: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a window says: the same attributes as a `DriftVerdict`, without a name."""

    drifted: bool = False
    severity: Severity = "none"
    signals: dict[str, float] = field(default_factory=dict)
    """Name to value, rounded to 3 places; each judgement has its own."""
    reason: str = ""
    observations: int = 0

    def verdict(self, provider: str, window: str = "", number: int = 0, at: int = 0) -> DriftVerdict:
        """Returns it as a payload."""
        return DriftVerdict(
            provider=provider, drifted=self.drifted, severity=self.severity, signals=dict(self.signals),
            reason=self.reason, observations=self.observations, window=window, number=number, at=at,
        )  # fmt: skip


def detect_drift(
    window: Sequence[ResponseObservation],
    thresholds: str | DriftThresholds | None = None,
    options: DriftOptions = PLAIN,
) -> Judgement:
    """Returns what the observations of one provider, oldest first, say about it.

    ```python
    from quiesce.suggestors import ResponseObservation, detect_drift

    def answer(tokens: int) -> ResponseObservation:
        return ResponseObservation(
            provider="acme", output_tokens=tokens, has_tool_use=False, request_had_tools=False, stop_reason="end_turn"
        )

    found = detect_drift([answer(400)] * 5 + [answer(80)] * 5)
    assert (found.severity, found.signals["length_collapse_ratio"]) == ("severe", 0.2)
    ```

    It depends on what it is given and on nothing else. `thresholds` are the name of a preset or `DriftThresholds`;
    without them it takes those of `SENSITIVITY["normal"]`.

    Raises:
        InvalidDriftSetting: thresholds, options or an observation that are none.
    """
    where = "detect_drift"
    limits = NORMAL if thresholds is None else thresholds_of(where, thresholds)
    check_options(where, options)
    for place, one in enumerate(window):
        if not isinstance(one, ResponseObservation):
            check_observation(f"{where}: window[{place}]", one)
    return judge(figures_of([see(one) for one in window]), limits, options)


def figures_of(seen: Sequence[Seen]) -> Figures:
    """Returns the figures of a window, oldest observation first."""
    fine = [one for one in seen if not one[1] & ERROR]
    eligible = [flags for _, flags in fine if flags & HAD_TOOLS]
    tokens = [tokens for tokens, _ in fine]
    half = len(tokens) // 2
    return Figures(
        len(seen),
        len(fine),
        tokens.count(0),
        len(eligible),
        sum(not flags & USED_TOOL for flags in eligible),
        sum(bool(flags & ODD_AS_SAID) for _, flags in fine),
        sum(bool(flags & ODD_AT_ALL) for _, flags in fine),
        _median(tokens[:half]),
        _median(tokens[half:]),
    )


def judge(figures: Figures, thresholds: DriftThresholds = NORMAL, options: DriftOptions = PLAIN) -> Judgement:
    """Returns what the figures of a window say."""
    if figures.observations < thresholds.min_window_fill:
        return Judgement(observations=figures.observations)
    flags, signals = weigh(figures, thresholds, options)
    return conclude(flags, signals, figures.observations)


def weigh(
    figures: Figures, thresholds: DriftThresholds, options: DriftOptions
) -> tuple[list[Flag], dict[str, float]]:  # fmt: skip
    """Returns the anomalous signals and the values of all."""
    all_, ok, empty, eligible, silent, odd, odd_at_all, earlier, recent = figures
    flags: list[Flag] = []
    signals: dict[str, float] = {}
    if ok:
        rate = empty / ok
        signals["empty_response_rate"] = round(rate, 3)
        if rate > thresholds.empty_response_rate:
            flags.append(Flag("empty", True, f"empty_response_rate {rate:.2f}"))
        if ok >= 4 and earlier > 0 and earlier >= options.min_earlier_median:
            _weigh_length(earlier, recent, thresholds, options, flags, signals)
        if eligible >= 3:
            rate = silent / eligible
            signals["tool_silence_rate"] = round(rate, 3)
            if rate > thresholds.tool_silence_rate:
                flags.append(Flag("silent", False, f"tool_silence_rate {rate:.2f}"))
        rate = (odd_at_all if options.normalise_stop_reasons else odd) / ok
        signals["stop_anomaly_rate"] = round(rate, 3)
        if rate > thresholds.stop_anomaly_rate:
            flags.append(Flag("odd", False, f"stop_anomaly_rate {rate:.2f}"))
    rate = (all_ - ok) / all_
    signals["error_rate"] = round(rate, 3)
    if rate > thresholds.error_rate:
        factor = options.severe_error_factor
        severe = factor is not None and rate >= min(1.0, factor * thresholds.error_rate)
        flags.append(Flag("error", severe, f"error_rate {rate:.2f}"))
    return flags, signals


def _weigh_length(
    earlier: float,
    recent: float,
    thresholds: DriftThresholds,
    options: DriftOptions,
    flags: list[Flag],
    signals: dict[str, float],
) -> None:
    ratio = recent / earlier
    signals["length_collapse_ratio"] = round(ratio, 3)
    medians = f"(median {recent:.0f} after {earlier:.0f})"
    if ratio < thresholds.length_collapse_ratio:
        flags.append(Flag("short", True, f"length_collapse_ratio {ratio:.2f} {medians}"))
    if options.growth_ratio is not None:
        signals["length_growth_ratio"] = round(ratio, 3)
        if ratio > options.growth_ratio:
            flags.append(Flag("long", False, f"length_growth_ratio {ratio:.2f} {medians}"))


def conclude(flags: Iterable[Flag], signals: dict[str, float], observations: int) -> Judgement:
    """Returns the judgement that anomalous signals lead to: one severe or two mild ones are severe."""
    severe = [flag for flag in flags if flag.severe]
    mild = [flag for flag in flags if not flag.severe]
    if not severe and not mild:
        return Judgement(False, "none", signals, "", observations)
    is_severe = severe or len({flag.subject for flag in mild}) > 1
    reason = ", ".join(flag.text for flag in (*severe, *mild))
    return Judgement(True, "severe" if is_severe else "mild", signals, reason, observations)


def _median(values: list[int]) -> float:
    if not values:
        return 0.0
    values = sorted(values)
    middle = len(values) // 2
    return float(values[middle]) if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
