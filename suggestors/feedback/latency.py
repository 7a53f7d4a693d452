"""Measures how long judgements take, failed ones too: beside the facts, since it differs from run to run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from ...engine import InvalidOption
from ...engine.observe import InvocationEnded, Notice

KEPT = 1_024


@dataclass(frozen=True, slots=True)
class Latency:
    """What is known of how long something took, in seconds; the quantiles are those of the latest that are kept."""

    count: int
    """All there were, kept or not."""
    p50: float | None
    p95: float | None
    p99: float | None
    longest: float | None

    def __str__(self) -> str:
        if self.p50 is None or self.p95 is None or self.p99 is None:
            return f"{self.count:,} judgements"
        return (
            f"{self.count:,} judgements: p50 {1e3 * self.p50:.1f} ms, p95 {1e3 * self.p95:.1f} ms, "
            f"p99 {1e3 * self.p99:.1f} ms"
        )


class Latencies:
    """Keeps the latest durations. May be used by several threads.

    As an observer of an engine it takes what the invocations of a suggestor took, waiting for limits included:
    `Engine([judge], observers=[Latencies(of="FeedbackJudge")])`.
    """

    def __init__(self, kept: int = KEPT, *, of: str | None = None) -> None:
        if isinstance(kept, bool) or not isinstance(kept, int) or kept < 1:
            raise InvalidOption("kept", kept, "a whole number from 1")
        self.of = of
        self._seconds: deque[float] = deque(maxlen=kept)
        self._count = 0
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        """Takes one duration."""
        with self._lock:
            self._count += 1
            self._seconds.append(seconds)

    def __call__(self, notice: Notice) -> None:
        if isinstance(notice, InvocationEnded) and notice.suggestor == self.of:
            self.add(notice.seconds)

    @property
    def now(self) -> Latency:
        """What is known at this moment."""
        with self._lock:
            count, seconds = self._count, sorted(self._seconds)
        if not seconds:
            return Latency(count, None, None, None, None)
        p50, p95, p99 = (quantile(seconds, share) for share in (0.5, 0.95, 0.99))
        return Latency(count, p50, p95, p99, seconds[-1])


def quantile(ascending: Iterable[float], share: float) -> float:
    """Returns the smallest of some values, in ascending order, that is not below that share of them."""
    values = list(ascending)
    return values[max(0, ceil(share * len(values)) - 1)]
