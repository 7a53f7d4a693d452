"""Names what can happen in a run: the events of the log, and the JSON text of each.

The text of an event is what the chain covers. It names every payload by its digest and never holds one, so a payload
can be erased later and the chain still stands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any, ClassVar

from .fact import Fact, Ref, RunId
from .trail import Decision, Parked, Rejection, Seen, SuggestorPrint

FORMAT = 1
"""The version of the events that this build writes; it reads this one and every earlier one."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The point of another run from which a run goes on."""

    run: RunId
    seq: int
    """How many events of the parent belong to this run too."""
    digest: str
    """The digest of the last of them."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run began: who takes part, from which seed and time, under which settings."""

    kind: ClassVar[str] = "run_started"
    started: str
    seed: int
    suggestors: tuple[SuggestorPrint, ...]
    settings: Mapping[str, Any]
    parent: Parent | None = None
    replaced: Mapping[str, str] = field(default_factory=dict)
    """In a fork: who takes the place of whom, by their names, and has seen what that one had seen."""


@dataclass(frozen=True, slots=True)
class ContextCarried:
    """What a run took over from a context of another log: facts in full, with who had seen what."""

    kind: ClassVar[str] = "context_carried"
    cycle: int
    facts: Sequence[Fact[Any]]
    suggestors: Sequence[SuggestorPrint]
    seen: Mapping[str, Seen]
    gates: Sequence[Parked]
    losers: Sequence[Rejection]


@dataclass(frozen=True, slots=True)
class CycleCommitted:
    """A cycle ended: who ran in it, what was promoted and what was refused, in order."""

    kind: ClassVar[str] = "cycle_committed"
    cycle: int
    ran: Sequence[str]
    facts: Sequence[Fact[Any]]
    rejections: Sequence[Rejection] = ()
    tokens: int = 0
    """What the suggestors of this cycle reported to have used."""
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class GateOpened:
    """A proposal was parked until somebody decides."""

    kind: ClassVar[str] = "gate_opened"
    parked: Parked


@dataclass(frozen=True, slots=True)
class GateDecided:
    """Somebody decided, or the gate expired to its default."""

    kind: ClassVar[str] = "gate_decided"
    decision: Decision


@dataclass(frozen=True, slots=True)
class RunResumed:
    """A stopped run goes on, with the suggestors of then or with changed ones."""

    kind: ClassVar[str] = "run_resumed"
    at: str
    suggestors: tuple[SuggestorPrint, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunStopped:
    """A run ended, for a reason, with so many facts under one root."""

    kind: ClassVar[str] = "run_stopped"
    stop: Mapping[str, Any]
    promoted: int
    """How many facts the run promoted."""
    root: str = ""
    """The Merkle root over them (RFC 9162), in hex; the log fills it in."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What the first events of a run came to, in their place. Never written: it is read from the run's snapshot."""

    kind: ClassVar[str] = "compacted"
    events: int
    """How many events it stands for."""
    began: int
    """The cycle from which the run went on; -1 where it began with nothing."""
    cycle: int
    """The last cycle among them."""
    started: RunStarted
    first: str
    """The digest of the first event."""
    at: str
    """When the run was started or last resumed."""
    facts: Sequence[Fact[Any]]
    losers: Sequence[Rejection]
    """Those that were carried into the run."""
    rejections: Sequence[Rejection]
    gates: Sequence[Parked | Decision]
    """Every gate that opened and every decision, in order."""
    prints: Sequence[SuggestorPrint]
    cast: tuple[str, ...]
    settings: Mapping[str, Any]
    seen: Mapping[str, Seen]
    cycles: int
    promoted: int
    tokens: int
    cost: float
    ran: Mapping[str, Sequence[int]]
    """In which cycles each suggestor ran."""
    recent: Sequence[frozenset[str]]
    """Who had facts promoted in each of the last cycles since the run was started or resumed."""


Event = (
    RunStarted | ContextCarried | CycleCommitted | GateOpened | GateDecided | RunResumed | RunStopped | Compacted
)  # fmt: skip


Leaves = list[bytes] | None
"""Where the leaves of facts go that are written; None if nobody asks."""


def write_event(
    event: Event, run: RunId, seq: int, previous: str | None, leaves: Leaves = None
) -> bytes:  # fmt: skip
    """Returns the text of an event: the bytes that the chain covers; adds the leaves of its facts to a list."""
    before = _text(previous) if previous else "null"
    head = f'{{"v":{FORMAT},"run":{_text(run)},"seq":{seq},"prev":{before},"kind":"{event.kind}"'
    # A lone surrogate in a message becomes its JSON escape: a text from outside must not be able to stop the log.
    return f"{head}{_bodies[type(event)](event, leaves)}}}".encode("utf-8", "backslashreplace")


def fact_entry(
    ref: str, key: str, version: int, by: str, cycle: int, because: Any, confidence: float, digest: str
) -> dict[str, Any]:  # fmt: skip
    """Returns the members of a fact as an event has them."""
    return {
        "ref": ref, "key": key, "version": version, "by": by, "cycle": cycle, "because": because,
        "confidence": confidence, "digest": digest,
    }  # fmt: skip


def payloads_of(event: Event) -> list[Fact[Any] | Rejection | Parked]:
    """Returns the parts of an event whose payloads stand beside it."""
    match event:
        case ContextCarried():
            return [*event.facts, *event.gates, *event.losers]
        case CycleCommitted():
            return [*event.facts, *event.rejections]
        case GateOpened():
            return [event.parked]
        case _:
            return []


def leaf(fact: Fact[Any]) -> bytes:
    """Returns the bytes that a proof about a fact is about: all of it but the payload, which it names by digest."""
    return _fact_text(fact, _refs(fact.because)).encode()


def leaf_of_entry(entry: Mapping[str, Any], because: Sequence[str]) -> bytes:
    """Returns the same bytes from a fact's entry in an event, whatever became of its payload class since."""
    return _entry_text(
        entry["ref"], entry["key"], entry["version"], entry["by"], entry["cycle"], _refs(because),
        float(entry["confidence"]), entry["digest"],
    ).encode()  # fmt: skip


def _fact_text(fact: Fact[Any], because: str) -> str:
    return _entry_text(
        fact.ref, fact.key, fact.version, fact.by, fact.cycle, because, fact.confidence, fact.sha256.hex()
    )


def _entry_text(
    ref: str, key: str, version: int, by: str, cycle: int, because: str, confidence: float, digest: str
) -> str:  # fmt: skip
    return (
        f'{{"ref":{_text(ref)},"key":{_text(key)},"version":{version},"by":{_text(by)},'
        f'"cycle":{cycle},"because":{because},"confidence":{confidence!r},"digest":"{digest}"}}'
    )


def _fact_texts(facts: Sequence[Fact[Any]], leaves: Leaves) -> str:
    """Returns the list of facts; a long lineage that several in a row share is written once."""
    texts: list[str] = []
    before: tuple[Ref, ...] = ()
    for fact in facts:
        because = fact.because
        if len(because) > 3 and (because is before or because == before):
            texts.append(_fact_text(fact, '"same"'))
            if leaves is not None:
                leaves.append(leaf(fact))
        else:
            text = _fact_text(fact, _refs(because))
            texts.append(text)
            if leaves is not None:
                leaves.append(text.encode())
        before = because
    return f"[{','.join(texts)}]"


def _rejection_text(rejection: Rejection) -> str:
    return _json({
        "ref": rejection.ref, "key": rejection.key, "version": rejection.version, "by": rejection.by,
        "cycle": rejection.cycle, "because": list(rejection.because), "confidence": rejection.confidence,
        "reason": rejection.reason, "digest": rejection.sha256.hex() if rejection.sha256 else None,
    })  # fmt: skip


def _parked_data(parked: Parked) -> dict[str, Any]:
    return {
        "gate": parked.gate, "policy": parked.policy, "family": parked.family, "id": parked.id, "key": parked.key,
        "version": parked.version, "by": parked.by, "cycle": parked.cycle, "because": list(parked.because),
        "confidence": parked.confidence, "digest": parked.sha256.hex(), "opened": parked.opened,
        "expires": parked.expires, "default": parked.default,
    }  # fmt: skip


def _decision_data(decision: Decision) -> dict[str, Any]:
    return {
        "gate": decision.gate, "ref": decision.ref, "approved": decision.approved, "by": decision.by,
        "reason": decision.reason, "at": decision.at,
    }  # fmt: skip


def _started_body(event: RunStarted, _leaves: Leaves) -> str:
    parent = event.parent
    replaced = {"replaced": dict(event.replaced)} if event.replaced else {}
    return _fields({
        "started": event.started, "seed": event.seed, "suggestors": [known.to_json() for known in event.suggestors],
        "settings": event.settings,
        "parent": None if parent is None else {"run": parent.run, "seq": parent.seq, "digest": parent.digest},
        **replaced,
    })  # fmt: skip


def seen_data(seen: Mapping[str, Seen]) -> dict[str, Any]:
    """Returns what suggestors have seen as JSON data."""
    return {
        name: {"version": one.version, "sizes": dict(sorted(one.sizes.items()))} for name, one in seen.items()
    }  # fmt: skip


def _carried_body(event: ContextCarried, leaves: Leaves) -> str:
    rest = _fields({
        "suggestors": [known.to_json() for known in event.suggestors],
        "seen": seen_data(event.seen),
        "gates": [_parked_data(parked) for parked in event.gates],
    })  # fmt: skip
    losers = ",".join(map(_rejection_text, event.losers))
    return f',"cycle":{event.cycle},"facts":{_fact_texts(event.facts, leaves)},"losers":[{losers}]{rest}'


def _committed_body(event: CycleCommitted, leaves: Leaves) -> str:
    ran = ",".join(map(_text, event.ran))
    rejections = ",".join(map(_rejection_text, event.rejections))
    spent = f',"tokens":{event.tokens},"cost":{event.cost!r}'
    facts = _fact_texts(event.facts, leaves)
    return f',"cycle":{event.cycle},"ran":[{ran}],"facts":{facts},"rejections":[{rejections}]{spent}'


def _opened_body(event: GateOpened, _leaves: Leaves) -> str:
    return _fields(_parked_data(event.parked))


def _decided_body(event: GateDecided, _leaves: Leaves) -> str:
    return _fields(_decision_data(event.decision))


def _resumed_body(event: RunResumed, _leaves: Leaves) -> str:
    suggestors = [known.to_json() for known in event.suggestors]
    return _fields({"at": event.at, "suggestors": suggestors, "settings": event.settings})


def _stopped_body(event: RunStopped, _leaves: Leaves) -> str:
    return _fields({"stop": event.stop, "promoted": event.promoted, "root": event.root})


_bodies: dict[type, Callable[[Any, Leaves], str]] = {
    RunStarted: _started_body,
    ContextCarried: _carried_body,
    CycleCommitted: _committed_body,
    GateOpened: _opened_body,
    GateDecided: _decided_body,
    RunResumed: _resumed_body,
    RunStopped: _stopped_body,
}

_text = encode_basestring  # the C function behind json.dumps for a single text


def _refs(refs: Sequence[str]) -> str:
    return f"[{','.join(map(_text, refs))}]"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _fields(fields: Mapping[str, Any]) -> str:
    """Returns the inside of a JSON object, to stand behind others."""
    return "," + _json(fields)[1:-1]
