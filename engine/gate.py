"""Holds proposals for a person: which ones, how a decision is told, and what a decision does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Literal

from ..facts import Decided, Payload
from ..facts.fact import Ref, clean_message
from ..facts.family import family_of
from ..facts.trail import Decision, Parked, Trail
from .errors import GateError, InvalidOption
from .invariant import payload_classes
from .options import is_number

EXPIRED = "expiry"
"""Who decided on a gate that expired to its default."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Which proposals wait for a person.

    ```python
    Gate("refunds", families=[Refund])                        # every refund
    Gate("unsure", below_confidence=0.8)                      # whatever anybody is less sure of
    Gate("soon", families=[Plan], expires=timedelta(hours=4), default="reject")
    ```

    With both, only proposals of these families below this confidence wait.
    """

    name: str
    families: tuple[type[Payload], ...] = ()
    """Payload classes; empty: any."""
    below_confidence: float | None = None
    expires: timedelta | None = None
    """Counted from the run's logical time; an expired gate takes its default when the run is next resumed."""
    default: Literal["approve", "reject"] = "reject"

    def __init__(
        self,
        name: str,
        families: Iterable[type[Payload]] = (),
        below_confidence: float | None = None,
        expires: timedelta | None = None,
        default: Literal["approve", "reject"] = "reject",
    ) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "families", payload_classes("Gate.families", families))
        object.__setattr__(self, "below_confidence", below_confidence)
        object.__setattr__(self, "expires", expires)
        object.__setattr__(self, "default", default)
        if not isinstance(name, str) or not name:
            raise InvalidOption("Gate.name", name, "a text")
        if not self.families and below_confidence is None:
            raise InvalidOption("Gate.families", families, "a list of payload classes, without below_confidence either")
        if below_confidence is not None and not (is_number(below_confidence) and 0 <= below_confidence <= 1):
            raise InvalidOption("Gate.below_confidence", below_confidence, "a number from 0 to 1")
        if default not in ("approve", "reject"):
            raise InvalidOption("Gate.default", default, '"approve" or "reject"')
        if expires is not None and not (isinstance(expires, timedelta) and expires > timedelta(0)):
            raise InvalidOption("Gate.expires", expires, "a positive timedelta")

    def holds(self, payload: Payload, confidence: float) -> bool:
        """Tells whether a proposal waits here."""
        if self.families and type(payload) not in self.families:
            return False
        return self.below_confidence is None or confidence < self.below_confidence

    def id_for(self, family: str, id: str, digest: bytes) -> str:
        """Returns the id of the open gate for one proposal: the same whenever it is proposed again."""
        text = f"{self.name}\x00{family}\x00{id}\x00{digest.hex()}"
        return f"g-{sha256(text.encode()).hexdigest()[:12]}"

    def expiry(self, now: datetime) -> str | None:
        """Returns when a proposal parked now expires."""
        return None if self.expires is None else (now + self.expires).isoformat()

    def to_json(self) -> dict[str, Any]:
        """Returns what the log keeps of it."""
        return {
            "name": self.name, "families": [family_of(cls).name for cls in self.families],
            "below_confidence": self.below_confidence,
            "expires": None if self.expires is None else self.expires.total_seconds(), "default": self.default,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Approve:
    """A person lets a parked proposal become a fact."""

    gate: str
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reject:
    """A person refuses a parked proposal, in this run for good."""

    gate: str
    by: str
    reason: str = ""


def decide(trail: Trail, asked: Sequence[Approve | Reject], now: datetime) -> list[Decision]:
    """Returns the decisions on open gates, those asked for first, then those that expired.

    Raises:
        GateError: a gate is unknown, already decided or named twice, or nobody says who decides; nothing was changed.
    """
    at = now.isoformat()
    decisions: dict[str, Decision] = {}
    for one in asked:
        _check(trail, one, decisions)
        ref = trail.gates[one.gate].ref
        decisions[one.gate] = Decision(
            one.gate, ref, isinstance(one, Approve), clean_message(one.by), clean_message(one.reason), at
        )
    for gate, parked in trail.gates.items():
        if gate not in decisions and parked.expires is not None and datetime.fromisoformat(parked.expires) <= now:
            reason = f"nobody had decided by {parked.expires}"
            decisions[gate] = Decision(gate, parked.ref, parked.default == "approve", EXPIRED, reason, at)
    return list(decisions.values())


def first_expiry(gates: Mapping[str, Parked]) -> str | None:
    """Returns when the first open gate expires."""
    return min(
        (parked.expires for parked in gates.values() if parked.expires), key=datetime.fromisoformat, default=None
    )


def as_payload(decision: Decision) -> Decided:
    """Returns the diagnostic fact that tells of a decision."""
    return Decided(
        gate=decision.gate, ref=decision.ref, approved=decision.approved, by=decision.by, reason=decision.reason
    )  # fmt: skip


def decided_ref(decision: Decision) -> Ref:
    """Returns the ref of that fact."""
    return Ref(f"{family_of(Decided).name}:{decision.gate}")


def _check(trail: Trail, one: Approve | Reject, decided_now: Mapping[str, Decision]) -> None:
    if not isinstance(one, (Approve, Reject)):
        raise GateError(repr(one), "is no decision: give Approve(gate, by=…) or Reject(gate, by=…)")
    if not isinstance(one.by, str) or not one.by.strip():
        raise GateError(one.gate, "cannot be decided by nobody: give by=…, the name of who decides")
    earlier = decided_now.get(one.gate) or trail.decided.get(one.gate)
    if earlier is not None:
        raise GateError(one.gate, f"was already {'approved' if earlier.approved else 'rejected'} by {earlier.by}")
    if one.gate not in trail.gates:
        known = ", ".join(trail.gates) or "none"
        raise GateError(one.gate, f"is not open (open: {known})")
