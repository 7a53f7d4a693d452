"""Tells what a monitor has carried over from what somebody else made up: anybody may say a `KnownWindow`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .memory import Memory
from .payloads import KnownWindow
from .seen import MAX_TOKENS, unpack
from .settings import Settings
from .watch import CUTS


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
        and 0 <= known.usual <= MAX_TOKENS
        and 0 <= known.collapsed_from <= MAX_TOKENS
        and all(_fit(starts, *counts[name][2:]) for name, starts in known.starts)
        and all(len(values) % 8 == 0 for _, values in known.numbers)
    )


def _names(each: Iterable[tuple[Any, ...]]) -> list[str]:
    return [name for name, *_ in each]


def _fit(starts: Sequence[int], bad: int, cases: int) -> bool:
    """Tells whether a test with so many cases may have had these starts."""
    before, before_bad = starts[::2], starts[1::2]
    return len(before) == len(before_bad) and all(
        0 <= one_bad <= one <= cases and one_bad <= bad <= one_bad + cases - one
        for one, one_bad in zip(before, before_bad, strict=True)
    )
