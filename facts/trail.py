"""Remembers how a context came about: what each suggestor has seen, which gates are open, who lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from .fact import Fact, Ref, RunId, make_fact
from .payload import Opaque, Payload


@dataclass(frozen=True, slots=True)
class SuggestorPrint:
    """What identifies a suggestor in a log: renaming, re-versioning or rewiring it changes its print."""

    name: str
    version: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    pure: bool = True

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON data."""
        return {
            "name": self.name, "version": self.version, "pure": self.pure,
            "reads": list(self.reads), "writes": list(self.writes),
        }  # fmt: skip


class Seen(NamedTuple):
    """How much of each family a suggestor had been shown when it last ran, and which version of it that was."""

    version: str
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A proposal that did not become a fact; kept in the log."""

    ref: Ref
    key: str
    version: int
    by: str
    cycle: int
    confidence: float
    because: tuple[Ref, ...]
    reason: str
    payload: Payload | Opaque | None
    """None where it could not be written as JSON at all; the reason says why."""
    sha256: bytes | None


@dataclass(frozen=True, slots=True)
class Parked:
    """A proposal that waits at a gate for a person."""

    gate: str
    """The id that Approve and Reject name: a hash of policy, ref and content, the same in every replay."""
    policy: str
    """The name of the gate that holds it."""
    family: str
    id: str
    by: str
    cycle: int
    confidence: float
    because: tuple[Ref, ...]
    payload: Payload | Opaque
    sha256: bytes
    opened: str
    """The run's logical time at which it was parked (ISO 8601)."""
    expires: str | None = None
    default: str | None = None
    """What happens once it has expired: "approve" or "reject"."""

    @property
    def ref(self) -> Ref:
        return Ref(f"{self.family}:{self.id}")

    @property
    def key(self) -> str:
        return self.as_fact(self.cycle).key

    @property
    def version(self) -> int:
        return self.as_fact(self.cycle).version

    def as_fact(self, cycle: int, because: tuple[Ref, ...] = ()) -> Fact[Any]:
        """Returns the fact that it is once approved."""
        return make_fact(
            self.payload,
            self.id,
            self.by,
            cycle,
            self.confidence,
            self.because + because,
            self.sha256,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """How a gate was decided."""

    gate: str
    ref: Ref
    approved: bool
    by: str
    reason: str
    at: str


@dataclass(slots=True)
class Trail:
    """What a run leaves in its context besides facts."""

    run: RunId | None = None
    parent: RunId | None = None
    """The run that this one goes on from, where both are in one log."""
    cycle: int = -1
    """The last committed cycle; -1 before the input is committed."""
    seq: int = 0
    """How many events of the run this context folds."""
    digest: str = ""
    """The digest of the last of them; empty while the store puts off writing them."""
    home: object = None
    """The store that has them, in the process that wrote them."""
    prints: dict[str, SuggestorPrint] = field(default_factory=dict)
    """Every suggestor that took part, as the run recorded it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the run was last started or resumed with, as its log says."""
    cast: tuple[str, ...] = ()
    """The suggestors that the run was last started or resumed with."""
    seen: dict[str, Seen] = field(default_factory=dict)
    gates: dict[str, Parked] = field(default_factory=dict)
    decided: dict[str, Decision] = field(default_factory=dict)
    cycles: int = 0
    """How many cycles the run has used."""
    facts: int = 0
    """How many facts it has promoted, inputs counted."""
    tokens: int = 0
    cost: float = 0.0
    declined: set[tuple[str, bytes]] = field(default_factory=set)
    """Family and payload digest of what people rejected: not asked again."""
    losers: dict[Ref, list[Rejection]] = field(default_factory=dict)

    def version_of(self, suggestor: str) -> str | None:
        """Returns the version of a suggestor that took part; None if it has none or took no part."""
        known = self.prints.get(suggestor)
        return (known.version or None) if known else None

    def copy(self) -> Trail:
        """Returns a trail that can go on by itself."""
        return replace(
            self,
            prints=dict(self.prints),
            seen=dict(self.seen),
            gates=dict(self.gates),
            decided=dict(self.decided),
            declined=set(self.declined),
            losers={ref: list(lost) for ref, lost in self.losers.items()},
        )
