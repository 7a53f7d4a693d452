"""Says what an answer was like, and what a window of them says about who gave it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...facts import Payload
from ..selection.payloads import Name

Severity = Literal["none", "mild", "severe"]
Number = Literal["output_tokens", "latency_ms", "cost", "score"]


class ResponseObservation(Payload, key="signals"):
    """What one answer was like, without its text."""

    provider: Name
    output_tokens: int = Field(ge=0)
    has_tool_use: bool
    request_had_tools: bool
    stop_reason: str | None = None
    is_error: bool = False
    stream: bool = False
    model: str = ""
    """Windows are kept apart by provider, model and stream."""
    latency_ms: float | None = Field(default=None, ge=0)
    cost: float | None = Field(default=None, ge=0)
    score: float | None = None
    """A judge's score, or any number that is to be watched."""


class DriftVerdict(Payload, key="evaluations"):
    """What the window of a provider says, written when that changes; its id is the window's and a running number."""

    provider: str
    drifted: bool
    severity: Severity
    signals: dict[str, float]
    """Name to value, rounded to 3 places."""
    reason: str
    """Empty when it has not drifted."""
    observations: int
    window: str = ""
    """Which window: the provider, its model and whether it streamed."""
    number: int = 0
    """Of this window's verdicts."""
    at: int = 0
    """After how many of this window's observations, over all runs."""


class DriftBaseline(Payload, key="evaluations"):
    """How a window behaved at first, frozen once its warm-up is over; its id is the window's."""

    provider: str
    window: str
    observations: int
    """How many the warm-up had."""
    rates: dict[str, float]
    """For each thing that is watched, how often it happened, rounded to 3 places."""
    cuts: dict[str, float]
    """For what is short, long, slow, dear or poor: the value from which on."""


class ChangePoint(Payload, key="evaluations"):
    """A change detector fired on a number; its id is the window's, the number's name and the position."""

    provider: str
    window: str
    signal: Number
    detector: str
    at: int
    """After how many of this window's observations, over all runs."""
    value: float
    """The number at which it fired."""


class ReloadRequest(Payload, key="proposals"):
    """A provider drifts severely and should be loaded afresh; its id is that of the quarantine and its number."""

    provider: str
    reason: str
    number: int


class KnownWindow(Payload, key="signals", max_bytes=4 * 1024 * 1024):
    """What is known of a window from earlier runs: what the projection of a `DriftMonitor` carries over."""

    provider: str
    model: str
    stream: bool
    settings: str
    """Those of the projection: its size and how it watches."""
    total: int = 0
    """Observations, over all runs."""
    watched: int = 0
    """Observations that were watched under these settings: the first of them are the warm-up. What came while a
    window that warms up was severe is none of them."""
    held: int = 0
    """How many of the latest are in `recent`."""
    recent: bytes = b""
    """The latest observations, packed."""
    severity: Severity = "none"
    """As the latest verdict said."""
    number: int = 0
    """Of the latest verdict."""
    since: int = 0
    """After how many observations it was said."""
    counts: tuple[tuple[str, int, int, int, int], ...] = ()
    """For each thing that is watched: how often in how many during the warm-up, how often in how many since."""
    life: tuple[tuple[str, int, int], ...] = ()
    """For each thing that is compared with other providers: how often in how many ever."""
    cuts: tuple[tuple[str, float], ...] = ()
    """For what is short, long, slow, dear or poor: the value from which on."""
    early: tuple[tuple[Number, tuple[float, ...]], ...] = ()
    """The numbers of the first quarter of the warm-up, until cuts are made of them."""
    starts: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Where the sequential test supposes that a change may have begun: cases and bad cases, in turns."""
    usual: float = Field(default=0.0, ge=0)
    """The median length of what `early` had; 0 until then."""
    collapsed_from: float = Field(default=0.0, ge=0)
    """The length that a collapsed window had before; 0 where it has not collapsed."""
    alarms: tuple[tuple[str, float, int, int], ...] = ()
    """What the sequential test has found: the rate that it had become, and how often in how many since."""
    numbers: tuple[tuple[str, bytes], ...] = ()
    """The latest values of the numbers on which change detectors run."""
