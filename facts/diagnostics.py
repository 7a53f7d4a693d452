"""What the engine itself says: payloads under the key "diagnostics" that suggestors can read and react to."""

from __future__ import annotations

from typing import Literal

from .payload import Payload

UNBOUNDED = 2**40


class Malformed(Payload, key="diagnostics", max_bytes=UNBOUNDED):
    """Something came from outside that cannot be a fact; its bytes are kept as they came."""

    family: str
    id: str
    reason: str
    raw: bytes


class Failure(Payload, key="diagnostics"):
    """A suggestor raised, timed out or returned nonsense."""

    suggestor: str
    cycle: int
    trigger: str | None
    """The ref of the fact that it was called for, in the per-fact form."""
    kind: Literal["raised", "timeout", "deadline", "nonsense"]
    error: str
    """The exception's type."""
    message: str


class Contested(Payload, key="diagnostics"):
    """Two proposals gave one id different content, and the family has no join; the loser is kept in the log."""

    ref: str
    stands: str
    """The digest of the payload that stands."""
    stands_by: str
    lost: str
    """The digest of the payload that lost."""
    lost_by: str
    lost_confidence: float
    lost_payload: str | None
    """The loser's JSON text, so that a suggestor can weigh it; None where it takes more than 64 KiB."""


class Rejected(Payload, key="diagnostics"):
    """A proposal was refused by the engine: undeclared, badly named, too large, resting on nothing known."""

    ref: str
    suggestor: str
    cycle: int
    reason: str


class Violated(Payload, key="diagnostics"):
    """An invariant does not hold; the run stops."""

    invariant: str
    on: Literal["commit", "cycle", "convergence"]
    cycle: int
    reason: str
    refs: tuple[str, ...]


class Decided(Payload, key="diagnostics"):
    """A person (or an expiry) decided on a gated proposal."""

    gate: str
    ref: str
    approved: bool
    by: str
    reason: str
