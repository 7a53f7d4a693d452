"""Holds one event as bytes: what stores keep and chains cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Record:
    """One event as bytes, with what stands beside it."""

    raw: bytes
    """The text of the event: what the chain covers."""
    digest: str
    """The SHA-256 of the text, in hex."""
    payloads: Mapping[str, bytes] = field(default_factory=dict)
    """The payloads that the event names, by digest; each is JSON on one line."""
    beside: bytes = b"{}"
    """A JSON object of what differs from run to run (durations, the wall clock); no part of the chain."""
    gone: Mapping[str, bytes] = field(default_factory=dict)
    """What stands for each payload that was redacted, by its digest: a JSON object that says why, by whom and when."""
