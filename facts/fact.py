"""Holds one thing that is known, who said it, and because of what."""

from __future__ import annotations

import math
import re
from typing import Any, Generic, NewType, TypeVar

from .errors import ImmutableFact, InvalidConfidence, InvalidId
from .payload import Payload

Ref = NewType("Ref", str)
"""The name of a fact: its family, a colon, its id ("plan:t1")."""
RunId = NewType("RunId", str)

P = TypeVar("P", bound=Payload)
P_co = TypeVar("P_co", bound=Payload, covariant=True)

CONTENT_ID_CHARS = 24
"""Hex digits of the payload's digest that name a fact without an id: 96 bits, so nobody can forge a collision."""
MAX_ID_BYTES = 512

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")


class _Fields(Generic[P_co]):
    """The slots of a fact. To fill them here and then change the class is much faster than a frozen dataclass."""

    __slots__ = ("_ref", "because", "by", "confidence", "cycle", "id", "payload", "sha256")

    def __init__(
        self, payload: P_co, id: str, by: str, cycle: int, confidence: float, because: tuple[Ref, ...], sha256: bytes
    ) -> None:
        self.payload = payload
        self.id = id
        self.by = by
        self.cycle = cycle
        self.confidence = confidence
        self.because = because
        self.sha256 = sha256
        self._ref: Ref | None = None  # made when first asked for, then shared by all that rest on this fact


class Fact(_Fields[P_co]):
    """One promoted fact. Immutable; made by a context or an engine, never by hand.

    `payload` says what is known; `id` names it within its family; `by` is the suggestor that proposed it ("input" for
    what came from outside); `cycle` is when it was promoted; `confidence` is in [0, 1]; `because` holds the refs it
    rests on; `sha256` is the digest of the payload's JSON text.
    """

    __slots__ = ()

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        raise ImmutableFact("a Fact cannot be made by hand; use context.add(payload) or propose one from a suggestor")

    @property
    def family(self) -> str:
        return self.payload.__family__.name  # type: ignore[union-attr]  # only registered classes become facts

    @property
    def key(self) -> str:
        return self.payload.__family__.key  # type: ignore[union-attr]  # only registered classes become facts

    @property
    def version(self) -> int:
        return self.payload.__family__.version  # type: ignore[union-attr]  # only registered classes become facts

    @property
    def ref(self) -> Ref:
        ref = self._ref
        if ref is None:
            ref = Ref(f"{self.family}:{self.id}")
            object.__setattr__(self, "_ref", ref)
        return ref

    @property
    def digest(self) -> str:
        """The SHA-256 of the payload's JSON text, in hex."""
        return self.sha256.hex()

    def __setattr__(self, name: str, value: Any) -> None:
        raise ImmutableFact(f"{name!r} of {self.ref} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise ImmutableFact(f"{name!r} of {self.ref} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fact):
            return NotImplemented
        return self is other or self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((self.id, self.sha256))

    def __repr__(self) -> str:
        confidence = "" if self.confidence == 1 else f", confidence={self.confidence:g}"
        return f"<{self.ref} {self.payload!r} by {self.by} in cycle {self.cycle}{confidence}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return make_fact, (self.payload, self.id, self.by, self.cycle, self.confidence, self.because, self.sha256)

    def _identity(self) -> tuple[Any, ...]:
        return self.family, self.id, self.sha256, self.by, self.cycle, self.confidence, self.because


def make_fact(
    payload: P, id: str, by: str, cycle: int, confidence: float, because: tuple[Ref, ...], sha256: bytes
) -> Fact[P]:
    """Makes a fact from parts that have been checked."""
    fact = _Fields(payload, id, by, cycle, confidence, because, sha256)
    fact.__class__ = Fact  # the same slots, from here on read-only
    return fact  # type: ignore[return-value]  # see the line above


def content_id(sha256: bytes) -> str:
    """Returns the id of a fact that was given none."""
    return sha256[: CONTENT_ID_CHARS // 2].hex()


def check_id(family: str, id: object) -> None:
    """Raises InvalidId unless the id can name a fact of the family."""
    if not isinstance(id, str):
        raise InvalidId(family, id, f"is a {type(id).__name__}, not a text")
    if id.isascii() and id.isprintable() and 0 < len(id) <= MAX_ID_BYTES and not id.isspace():
        return  # nearly every id
    if not id:
        raise InvalidId(family, id, "is empty")
    if _CONTROL.search(id):
        raise InvalidId(family, id, "holds a control character, a line break or a lone surrogate")
    if not id.strip():
        raise InvalidId(family, id, "is blank")
    if len(id) > MAX_ID_BYTES or (not id.isascii() and len(id.encode()) > MAX_ID_BYTES):
        raise InvalidId(family, id, f"takes {len(id.encode())} bytes, over the limit of {MAX_ID_BYTES}")


def check_confidence(confidence: object) -> float:
    """Returns the confidence as a float, or raises InvalidConfidence."""
    if isinstance(confidence, bool) or not isinstance(confidence, (int, float)):
        raise InvalidConfidence(confidence)
    if not 0 <= confidence <= 1 or math.isnan(confidence):
        raise InvalidConfidence(confidence)
    return float(confidence)


def split_ref(ref: str) -> tuple[str, str]:
    """Returns the family and the id that a ref names; an empty id if there is no colon."""
    family, _, id = ref.partition(":")
    return family, id


def printable(text: object) -> str:
    """Returns a text in which control characters and lone surrogates stand as escapes; an empty one for None."""
    if text is None:
        return ""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text))


MAX_MESSAGE = 2_000
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def clean_message(message: object) -> str:
    """Returns a message from outside as a text that can stand in a fact: no memory addresses, nothing unwritable."""
    try:
        text = str(message)
    except Exception:  # noqa: BLE001  somebody's __str__: that it cannot be shown is no reason to lose its name
        text = f"<{type(message).__name__}>"
    text = _ADDRESS.sub("", text).encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + "…"
