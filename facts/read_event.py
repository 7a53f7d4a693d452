"""Reads the text of an event back and trusts nothing in it: every error names run, event and field."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

from .canonical import decode
from .errors import InvalidPayload, LogError
from .event import (
    FORMAT,
    Compacted,
    ContextCarried,
    CycleCommitted,
    Event,
    GateDecided,
    GateOpened,
    Parent,
    RunResumed,
    RunStarted,
    RunStopped,
)
from .fact import Fact, Ref, RunId, make_fact
from .family import Family, find_family
from .freeze import freeze_model
from .payload import Opaque, Payload
from .tombstone import Tombstone
from .trail import Decision, Parked, Rejection, Seen, SuggestorPrint

Payloads = Callable[[str], bytes | None]
"""Finds the bytes of a payload by its digest; None if they are not there."""


MAX_AMOUNT = 1e300
"""No cost is larger; a larger integer might not even fit a float."""

_NOTHING_GONE: Mapping[str, bytes] = {}


class BrokenEvent(LogError):
    """An event of a log cannot be read."""

    def __init__(self, run: str, seq: int, problem: str) -> None:
        self.run, self.seq, self.problem = run, seq, problem
        intact = "Events before it are intact" if seq else "Nothing before it is intact"
        super().__init__(f"run {run}: event {seq} {problem}. {intact}")


class UnknownFormat(LogError):
    """A log was written by a newer build."""

    def __init__(self, run: str, seq: int, found: object) -> None:
        self.run, self.seq, self.found = run, seq, found
        super().__init__(
            f"run {run}: event {seq} has format version {found!r}; this build reads up to {FORMAT}. Upgrade quiesce"
        )


class _Fields:
    """The fields of one JSON object, asked for by name and type."""

    __slots__ = ("data", "gone", "run", "seq", "where")

    def __init__(
        self, data: Any, run: str, seq: int, where: str = "", gone: Mapping[str, bytes] = _NOTHING_GONE
    ) -> None:
        self.data, self.run, self.seq, self.where, self.gone = data, run, seq, where, gone
        if not isinstance(data, dict):
            self.fail("", "is not an object")

    def fail(self, name: str, problem: str) -> None:
        field = f"{self.where}{name}".removesuffix(".") or "text"
        raise BrokenEvent(self.run, self.seq, f"cannot be read: its {field} {problem}")

    def take(self, name: str, *kinds: type) -> Any:
        if name not in self.data:
            self.fail(name, "is missing")
        value = self.data[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            self.fail(name, f"is {value!r:.60}, not {' or '.join(kind.__name__ for kind in kinds)}")
        return value

    def text(self, name: str) -> str:
        return str(self.take(name, str))

    def number(self, name: str) -> int:
        return int(self.take(name, int))

    def digest(self, name: str) -> bytes:
        text = self.text(name)
        try:
            found = bytes.fromhex(text)
        except ValueError:
            found = b""
        if len(found) != 32 or found.hex() != text:
            self.fail(name, f"is {text!r:.60}, not a SHA-256 in hex")
        return found

    def confidence(self) -> float:
        value = self.take("confidence", float, int)
        if not 0 <= value <= 1:  # NaN is neither
            self.fail("confidence", f"is {value!r:.60}, not a number from 0 to 1")
        return float(value)

    def amount(self, name: str) -> float:
        value = self.take(name, float, int)
        if not abs(value) <= MAX_AMOUNT:  # neither is NaN
            self.fail(name, f"is {value!r:.60}, not a finite number")
        return float(value)

    def refs(self, name: str) -> tuple[Ref, ...]:
        return tuple(Ref(ref) for ref in self.texts(name))

    def texts(self, name: str) -> list[str]:
        found = self.take(name, list)
        if not all(isinstance(item, str) for item in found):
            self.fail(name, "holds something that is no text")
        return list(found)

    def each(self, name: str) -> list[_Fields]:
        return [
            _Fields(item, self.run, self.seq, f"{self.where}{name}[{place}].", self.gone)
            for place, item in enumerate(self.take(name, list))
        ]

    def at(self, name: str) -> _Fields:
        return _Fields(self.take(name, dict), self.run, self.seq, f"{self.where}{name}.", self.gone)


def read_head(raw: bytes, run: str, seq: int) -> Mapping[str, Any]:
    """Returns the JSON object of an event after checking its format, run and number."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BrokenEvent(run, seq, f"is not JSON: {error}") from error
    fields = _Fields(data, run, seq)
    version = fields.take("v", int)
    if not 1 <= version <= FORMAT:
        raise UnknownFormat(run, seq, version)
    if fields.text("run") != run:
        fields.fail("run", f"is {data['run']!r:.60}")
    if fields.number("seq") != seq:
        fields.fail("seq", f"is {data['seq']}: a line is missing, doubled or out of order")
    return fields.data  # type: ignore[no-any-return]  # checked to be a dict


def read_event(
    data: Mapping[str, Any], run: str, seq: int, payloads: Payloads, gone: Mapping[str, bytes] = _NOTHING_GONE
) -> Event:
    """Returns the event of a JSON object that `read_head` has checked; `gone` has the tombstones of what was redacted.

    Raises:
        BrokenEvent: it cannot be read, or a payload that it names is missing and nobody redacted it.
    """
    fields = _Fields(data, run, seq, gone=gone)
    kind = fields.text("kind")
    reader = _readers.get(kind)
    if reader is None:
        fields.fail("kind", f"is {kind!r:.60}, which this build does not know")
    return reader(fields, payloads)  # type: ignore[misc]  # fail raised if it is None


def read_committed(
    data: Mapping[str, Any], run: str, seq: int, families: Container[str], payloads: Payloads
) -> Iterator[Fact[Any]]:
    """Yields the facts of some families that an event committed, without those whose payloads are gone.

    Cheaper than `read_event` where an event holds much else.
    """
    if data.get("kind") != CycleCommitted.kind:
        return
    fields = _Fields(data, run, seq)
    before: tuple[Ref, ...] = ()
    known: dict[tuple[str, int], Family] = {}
    for item in fields.each("facts"):
        entry = item.data
        if item.text("ref").partition(":")[0] in families and payloads(item.text("digest")) is not None:
            yield _quick_fact(entry, before, payloads, known) or _read_fact(item, before, payloads)
        before = before if entry.get("because") == "same" else item.refs("because")


def read_compacted(
    started: RunStarted, first: str, events: int, cycle: int, data: Mapping[str, Any], run: str, payloads: Payloads,
    gone: Mapping[str, bytes],
) -> Compacted:  # fmt: skip
    """Returns what the JSON object in a snapshot says of the events that it stands for.

    Raises:
        BrokenEvent: it cannot be read.
    """
    fields = _Fields(data, run, 0, gone=gone)
    gates = [
        _read_decision(item) if "approved" in item.data else _read_parked(item, payloads)
        for item in fields.each("gates")
    ]
    recent = [item.texts("who") for item in fields.each("recent")]
    ran: dict[str, list[int]] = {}
    for name, cycles in fields.take("ran", dict).items():
        if not isinstance(cycles, list) or not all(type(one) is int for one in cycles):
            fields.fail(f"ran.{name}", f"is {cycles!r:.60}, not a list of cycles")
        ran[name] = cycles
    return Compacted(
        events, fields.number("began"), cycle, started, first, fields.text("at"), _read_facts(fields, payloads),
        _read_rejections(fields, "losers", payloads), _read_rejections(fields, "rejections", payloads), gates,
        _read_prints(fields), tuple(fields.texts("cast")), fields.take("settings", dict), _read_seen(fields),
        fields.number("cycles"), fields.number("promoted"), fields.number("tokens"), fields.amount("cost"),
        ran, tuple(map(frozenset, recent)),
    )  # fmt: skip


def _payload(fields: _Fields, name: str, family: str, payloads: Payloads) -> Payload | Opaque:
    digest = fields.digest(name).hex()
    raw = payloads(digest)
    key, version = fields.text("key"), fields.number("version")
    if raw is None:
        return Opaque(family=family, key=key, version=version, raw=b"", tombstone=_tombstone(fields, name, digest))
    try:
        return decode(family, key, version, raw)
    except InvalidPayload as error:
        raise BrokenEvent(fields.run, fields.seq, f"cannot be read: its {fields.where}{name}: {error}") from error


def _tombstone(fields: _Fields, name: str, digest: str) -> str:
    raw = fields.gone.get(digest)
    if raw is None:
        where = f"{fields.where}{name}".removesuffix(".digest")
        problem = f"is damaged: the payload of its {where} ({digest[:12]}…) is missing, and nobody redacted it"
        raise BrokenEvent(fields.run, fields.seq, problem)
    try:
        Tombstone.read(raw)
    except ValueError as error:
        raise BrokenEvent(fields.run, fields.seq, f"cannot be read: its {fields.where}{name}: {error}") from error
    return raw.decode()


def _read_facts(fields: _Fields, payloads: Payloads) -> tuple[Fact[Any], ...]:
    facts: list[Fact[Any]] = []
    before: tuple[Ref, ...] = ()
    known: dict[tuple[str, int], Family] = {}
    for place, entry in enumerate(fields.take("facts", list)):
        fact = _quick_fact(entry, before, payloads, known)
        if fact is None:
            item = _Fields(entry, fields.run, fields.seq, f"{fields.where}facts[{place}].", fields.gone)
            fact = _read_fact(item, before, payloads)
        facts.append(fact)
        before = fact.because
    return tuple(facts)


def _quick_fact(
    entry: Any, before: tuple[Ref, ...], payloads: Payloads, known: dict[tuple[str, int], Family]
) -> Fact[Any] | None:
    """Returns the fact of a sound entry of a registered family; None sends the reader the long way, which says more."""
    try:
        ref, by, cycle, version = entry["ref"], entry["by"], entry["cycle"], entry["version"]
        because, confidence, digest = entry["because"], entry["confidence"], entry["digest"]
        name, _, id = ref.partition(":")
        family = known.get((name, version))
        if family is None:
            family = known[name, version] = find_family(name, version)
        if family.version != version or version.__class__ is not int or family.key != entry["key"] or not id:
            return None
        if by.__class__ is not str or cycle.__class__ is not int or confidence.__class__ is not float:
            return None
        if because != "same":
            before = tuple(because)
            if because.__class__ is not list or any(reason.__class__ is not str for reason in before):
                return None
        sha256, raw = bytes.fromhex(digest), payloads(digest)
        if not 0.0 <= confidence <= 1.0 or len(sha256) != 32 or raw is None:
            return None
        payload = family.cls.__pydantic_validator__.validate_json(raw)
        if family.mutable:
            freeze_model(payload)
    except Exception:  # noqa: BLE001  # a wrong entry, or a user's validator that raises anything: the long way tells
        return None
    return make_fact(payload, id, by, cycle, confidence, before, sha256)


def _read_fact(item: _Fields, before: tuple[Ref, ...], payloads: Payloads) -> Fact[Any]:
    before = before if item.data.get("because") == "same" else item.refs("because")
    family, _, id = item.text("ref").partition(":")
    if not (family and id):
        item.fail("ref", f"is {item.data['ref']!r:.60}, not family:id")
    cycle, by, confidence, sha256 = item.number("cycle"), item.text("by"), item.confidence(), item.digest("digest")
    return make_fact(_payload(item, "digest", family, payloads), id, by, cycle, confidence, before, sha256)


def _read_rejections(fields: _Fields, name: str, payloads: Payloads) -> tuple[Rejection, ...]:
    found = []
    for item in fields.each(name):
        ref = Ref(item.text("ref"))
        said = item.take("digest", str, type(None)) is not None
        found.append(
            Rejection(
                ref, item.text("key"), item.number("version"), item.text("by"), item.number("cycle"),
                item.confidence(), item.refs("because"), item.text("reason"),
                _payload(item, "digest", ref.partition(":")[0], payloads) if said else None,
                item.digest("digest") if said else None,
            )
        )  # fmt: skip
    return tuple(found)


def _read_parked(fields: _Fields, payloads: Payloads) -> Parked:
    return Parked(
        gate=fields.text("gate"), policy=fields.text("policy"), family=fields.text("family"), id=fields.text("id"),
        by=fields.text("by"), cycle=fields.number("cycle"), confidence=fields.confidence(),
        because=fields.refs("because"), payload=_payload(fields, "digest", fields.text("family"), payloads),
        sha256=fields.digest("digest"), opened=fields.text("opened"),
        expires=fields.take("expires", str, type(None)), default=fields.take("default", str, type(None)),
    )  # fmt: skip


def _read_decision(fields: _Fields) -> Decision:
    return Decision(
        fields.text("gate"), Ref(fields.text("ref")), fields.take("approved", bool), fields.text("by"),
        fields.text("reason"), fields.text("at"),
    )  # fmt: skip


def _read_prints(fields: _Fields) -> tuple[SuggestorPrint, ...]:
    return tuple(
        SuggestorPrint(
            item.text("name"), item.text("version"), tuple(item.texts("reads")), tuple(item.texts("writes")),
            item.take("pure", bool),
        )
        for item in fields.each("suggestors")
    )  # fmt: skip


def _read_seen(fields: _Fields) -> dict[str, Seen]:
    seen = {}
    for name in fields.take("seen", dict):
        one = fields.at("seen").at(name)
        sizes = one.at("sizes")
        seen[name] = Seen(one.text("version"), {family: sizes.number(family) for family in sizes.data})
    return seen


def _started(fields: _Fields, _payloads: Payloads) -> Event:
    parent = None
    if fields.take("parent", dict, type(None)) is not None:
        above = fields.at("parent")
        parent = Parent(RunId(above.text("run")), above.number("seq"), above.text("digest"))
    settings = fields.take("settings", dict)
    replaced: dict[str, str] = {}
    if "replaced" in fields.data:  # in forks only
        names = fields.at("replaced")
        replaced = {name: names.text(name) for name in names.data}
        if not replaced:
            fields.fail("replaced", "is empty")
    return RunStarted(fields.text("started"), fields.number("seed"), _read_prints(fields), settings, parent, replaced)


def _carried(fields: _Fields, payloads: Payloads) -> Event:
    return ContextCarried(
        fields.number("cycle"), _read_facts(fields, payloads), _read_prints(fields), _read_seen(fields),
        tuple(_read_parked(item, payloads) for item in fields.each("gates")),
        _read_rejections(fields, "losers", payloads),
    )  # fmt: skip


def _committed(fields: _Fields, payloads: Payloads) -> Event:
    rejections = _read_rejections(fields, "rejections", payloads)
    return CycleCommitted(
        fields.number("cycle"), tuple(fields.texts("ran")), _read_facts(fields, payloads), rejections,
        fields.number("tokens"), fields.amount("cost"),
    )  # fmt: skip


def _opened(fields: _Fields, payloads: Payloads) -> Event:
    return GateOpened(_read_parked(fields, payloads))


def _decided(fields: _Fields, _payloads: Payloads) -> Event:
    return GateDecided(_read_decision(fields))


def _resumed(fields: _Fields, _payloads: Payloads) -> Event:
    return RunResumed(fields.text("at"), _read_prints(fields), fields.take("settings", dict))


def _stopped(fields: _Fields, _payloads: Payloads) -> Event:
    return RunStopped(fields.take("stop", dict), fields.number("promoted"), fields.text("root"))


_readers: dict[str, Callable[[_Fields, Payloads], Event]] = {
    RunStarted.kind: _started,
    ContextCarried.kind: _carried,
    CycleCommitted.kind: _committed,
    GateOpened.kind: _opened,
    GateDecided.kind: _decided,
    RunResumed.kind: _resumed,
    RunStopped.kind: _stopped,
}
