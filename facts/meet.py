"""Decides what happens when something is said about an id: it is new, the same, a revision, or contested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .canonical import digest_of, encode, payload_bytes
from .diagnostics import Contested
from .errors import InvalidPayload
from .fact import Fact
from .family import Family
from .payload import Opaque, Payload

MAX_LOSER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Meeting:
    """What becomes of a proposal that meets a fact of the same id and other content."""

    kind: Literal["same", "revised", "contested"]
    payload: Payload | None = None
    sha256: bytes = b""


SAME = Meeting("same")
CONTESTED = Meeting("contested")


def meet(known: Fact[Any], payload: Payload | Opaque, sha256: bytes) -> Meeting:
    """Returns what becomes of a payload that is said under the id of a fact that is known.

    Raises:
        InvalidPayload: the join raised or returned something that is no payload of the family.
    """
    if known.sha256 == sha256:
        return SAME
    family = payload.__family__
    if isinstance(payload, Opaque) or not isinstance(family, Family):
        return CONTESTED
    if not family.joins or type(known.payload) is not type(payload):
        return CONTESTED
    try:
        said: Any = known.payload
        joined = said.join(payload)
    except Exception as error:  # a user's function: whatever it raises rejects this one proposal
        raise InvalidPayload(family.name, f"join raised {type(error).__name__}: {error}") from error
    if type(joined) is not family.cls:
        raise InvalidPayload(family.name, f"join returned a {type(joined).__name__}, not a {family.cls.__name__}")
    digest = digest_of(encode(joined, family))
    return SAME if digest == known.sha256 else Meeting("revised", joined, digest)


def contested(known: Fact[Any], lost: Fact[Any]) -> Contested:
    """Returns the diagnostic that names both sides of a conflict."""
    raw = payload_bytes(lost.payload)
    return Contested(
        ref=known.ref, stands=known.digest, stands_by=known.by, lost=lost.digest, lost_by=lost.by,
        lost_confidence=lost.confidence, lost_payload=raw.decode() if len(raw) <= MAX_LOSER_BYTES else None,
    )  # fmt: skip
