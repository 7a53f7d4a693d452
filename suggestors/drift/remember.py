"""Carries windows from run to run: the projection of a monitor."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from ...facts import Fact, FactError, Projection, projection
from ...facts.fact import check_id
from .memory import Memory
from .payloads import DriftVerdict, KnownWindow, ResponseObservation
from .seen import key_of, window_id
from .settings import Settings


def project(settings: Settings) -> Projection[KnownWindow]:
    """Returns the projection that keeps windows under these settings, one value for each window."""
    kept = Kept()

    @projection(
        reads=[ResponseObservation, DriftVerdict], by=_window_of, version=f"2/{settings.text}", name="drift_windows"
    )
    def drift_windows(before: KnownWindow | None, fact: Fact[ResponseObservation | DriftVerdict]) -> KnownWindow | None:
        return fold(before, fact.payload, settings, kept)

    return drift_windows


class Kept:
    """The memories that the latest payloads were made of, so that a window need not be unpacked for each observation.

    A memory is given back only for a payload that is written as the one that it made, and only once. So the fold
    depends on nothing but what it is given: anything else is unpacked.
    """

    def __init__(self, most: int = 64) -> None:
        self.most = most
        self._kept: OrderedDict[str, tuple[str, Memory]] = OrderedDict()
        self._lock = Lock()

    def take(self, known: KnownWindow) -> Memory | None:
        """Returns the memory that made a payload, and forgets it."""
        with self._lock:
            found = self._kept.pop(window_id(known.provider, known.model, known.stream), None)
        return found[1] if found is not None and found[0] == known.model_dump_json() else None

    def keep(self, memory: Memory) -> KnownWindow:
        """Returns the payload of a memory, and keeps the memory for whoever goes on from there."""
        known = memory.payload()
        with self._lock:
            self._kept[memory.id] = (known.model_dump_json(), memory)
            if len(self._kept) > self.most:
                self._kept.popitem(last=False)
        return known


def fold(
    before: KnownWindow | None, said: ResponseObservation | DriftVerdict, settings: Settings, kept: Kept | None = None
) -> KnownWindow | None:
    """Returns what is known of a window after an observation, or after a verdict about it."""
    if isinstance(said, DriftVerdict):
        if before is None:
            return None  # a verdict about a window that nobody has seen: there is nothing to remember it with
        memory = _memory(before, settings, kept)
        memory.said(said)
    else:
        memory = Memory(key_of(said), settings) if before is None else _memory(before, settings, kept)
        memory.observe(said)
    return memory.payload() if kept is None else kept.keep(memory)


def _memory(before: KnownWindow, settings: Settings, kept: Kept | None) -> Memory:
    found = None if kept is None else kept.take(before)
    return Memory.of(before, settings) if found is None else found


def _window_of(fact: Fact[ResponseObservation | DriftVerdict]) -> str | None:
    said = fact.payload
    if isinstance(said, ResponseObservation):
        return window_id(said.provider, said.model, said.stream)
    try:
        check_id("known-window", said.window)
    except FactError:
        return None  # somebody else's verdict: it names no window of ours
    return said.window
