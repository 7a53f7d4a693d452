"""Carries windows from run to run: the projection of a monitor."""

from __future__ import annotations

from ...facts import Fact, FactError, Projection, projection
from ...facts.fact import check_id
from .memory import Memory, Settings
from .payloads import DriftVerdict, KnownWindow, ResponseObservation
from .seen import key_of, window_id


def project(settings: Settings) -> Projection[KnownWindow]:
    """Returns the projection that keeps windows under these settings, one value for each window."""

    @projection(
        reads=[ResponseObservation, DriftVerdict], by=_window_of, version=f"1/{settings.text}", name="drift_windows"
    )
    def drift_windows(before: KnownWindow | None, fact: Fact[ResponseObservation | DriftVerdict]) -> KnownWindow | None:
        return fold(before, fact.payload, settings)

    return drift_windows


def fold(
    before: KnownWindow | None, said: ResponseObservation | DriftVerdict, settings: Settings
) -> KnownWindow | None:
    """Returns what is known of a window after an observation, or after a verdict about it."""
    if isinstance(said, DriftVerdict):
        if before is None:
            return None  # a verdict about a window that nobody has seen: there is nothing to remember it with
        memory = Memory.of(before, settings)
        memory.said(said)
        return memory.payload()
    memory = Memory(key_of(said), settings) if before is None else Memory.of(before, settings)
    memory.observe(said)
    return memory.payload()


def _window_of(fact: Fact[ResponseObservation | DriftVerdict]) -> str | None:
    said = fact.payload
    if isinstance(said, ResponseObservation):
        return window_id(said.provider, said.model, said.stream)
    try:
        check_id("known-window", said.window)
    except FactError:
        return None  # somebody else's verdict: it names no window of ours
    return said.window
