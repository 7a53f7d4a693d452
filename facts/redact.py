"""Erases payloads for good, and leaves a tombstone that says why, by whom and when; every chain still stands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .diagnostics import Contested
from .errors import LogError
from .fact import RunId, printable
from .family import family_of
from .forget import JOURNAL, MEMO, Leaving, check_lease, child_of, counted, said_bytes, stamp_of
from .lease import address_of as lease_of
from .lease import stamp
from .read_event import BrokenEvent, read_head
from .record import Record
from .seal import BrokenNote, seal, unseal
from .snapshot import Body, Snapshot, address_of
from .stores import Address, Broken, Put
from .tombstone import Tombstone

if TYPE_CHECKING:
    from .log import FactLog

PARTS = ("facts", "losers", "rejections", "gates")
"""The lists of an event whose entries name payloads."""
CONTESTED = family_of(Contested).name


class NotHere(LogError):
    """A run has no fact of this ref."""

    def __init__(self, run: str, ref: str, stands_in: str | None = None) -> None:
        self.run, self.ref, self.stands_in = run, ref, stands_in
        if stands_in is not None:
            where = f"It stands in run {stands_in}, from which this one goes on: name that run"
        else:
            where = "Neither have the runs from which it goes on. A ref is family:id, as in replay(log, run)"
        super().__init__(f"run {run} has no fact or proposal {ref!r} of its own. {where}")


@dataclass(frozen=True, slots=True)
class Redaction:
    """What a redaction erased, or would erase."""

    run: RunId
    refs: tuple[str, ...]
    digests: tuple[str, ...]
    """Those of the payloads."""
    runs: Mapping[RunId, int]
    """In how many events of each run (its snapshot counts as one) payloads were erased."""
    payloads: int
    """How many were erased; the same payload in two events counts twice."""
    bytes: int
    """How many bytes of payloads and notes were erased."""
    notes: int = 0
    """How many journaled or memoized answers went with them, and will have to be asked for again."""
    already: int = 0
    """How many of the payloads had been redacted before; their first tombstones stay."""
    elsewhere: tuple[RunId, ...] = ()
    """Other runs in which the same payloads still stand; `everywhere=True` erases them there too."""
    mentions: tuple[str, ...] = ()
    """Facts that rest on what was redacted, also through others: what they took over from it still stands there."""
    dry_run: bool = False
    unread: tuple[RunId, ...] = ()
    """Other runs that are damaged: nobody can tell whether the payloads stand there, and nothing was erased in them."""

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        did = "would be erased" if self.dry_run else "erased"
        what = f"{counted(self.payloads, 'payload')} of {', '.join(self.refs)} {did}"
        yield f"{what} in {counted(len(self.runs), 'run')}: {said_bytes(self.bytes)}"
        if self.notes:
            yield f"{counted(self.notes, 'recorded answer')} {did} with them; who answered will be asked again"
        if self.already:
            yield f"{counted(self.already, 'payload')} had been redacted before"
        if self.elsewhere:
            others = counted(len(self.elsewhere), "other run")
            yield f"the same content still stands in {others}: {_some(self.elsewhere)}"
        if self.unread:
            others = counted(len(self.unread), "other run")
            yield f"not looked into, and not erased there: {others} with damage: {', '.join(self.unread)}"
        if self.mentions:
            yield f"what may repeat it still stands: {_some(self.mentions)}"


def redact(
    log: FactLog, run: RunId | str, refs: str | Iterable[str], reason: str, by: str, everywhere: bool, dry_run: bool
) -> Redaction:
    """Redacts payloads; see `FactLog.redact`."""
    name = RunId(str(run))
    wanted = tuple(dict.fromkeys([refs] if isinstance(refs, str) else map(str, refs)))
    if not wanted:
        raise LogError('no ref is given. Write: log.redact(run, ["ticket:t1"], reason=…, by=…)')
    for what, said in (("reason", reason), ("by", by)):
        if not isinstance(said, str) or not said.strip() or printable(said) != said:
            raise LogError(f"{what}={said!r:.80} is blank or not printable. Say why, and who asked for it")
    log.flush()
    found = _Found(name, frozenset(wanted))
    for ancestor in _ancestors(log, name):
        for place in (*_places(log, ancestor), *_journaled(log, ancestor)):
            found.look(ancestor, place)
    found.check(wanted)
    digests = frozenset(found.digests if everywhere else found.own)
    at = datetime.fromtimestamp(log.store.now(), UTC).isoformat(timespec="seconds")
    work = _Work(log, digests, Tombstone(reason, by, at).to_bytes())
    elsewhere, unread = [], []
    for one in log.runs():
        if one == name:
            work.take(one, found.families)
            continue
        try:  # damage in one run is no reason to keep what was to be erased in all others
            found_there = [digests & place.payloads.keys() for place in _places(log, one)]  # to its end: all is sound
        except (Broken, BrokenEvent, BrokenNote):
            unread.append(one)
            continue
        if everywhere:
            work.take(one, found.families)
        elif any(found_there):
            elsewhere.append(one)
    work.take_notes(MEMO, None)
    if work.payloads + work.notes and not dry_run:
        work.leaving.commit()
        shrink = getattr(log.store, "shrink", None)
        if shrink is not None:
            shrink()  # or the bytes would stay in pages that are free
    return Redaction(
        name, wanted, tuple(sorted(digests)), work.runs, work.payloads, work.bytes, work.notes, work.already,
        tuple(elsewhere), tuple(dict.fromkeys(found.mentions)), dry_run, tuple(unread),
    )  # fmt: skip


@dataclass(slots=True)
class _Place:
    """An event, or a snapshot: what it says, and the payloads beside it."""

    seq: int | None
    data: Mapping[str, Any]
    payloads: Mapping[str, bytes]
    gone: Mapping[str, bytes]
    record: Record | None = None
    snapshot: Snapshot | None = None

    def entries(self) -> Iterator[Mapping[str, Any]]:
        """Yields everything in it that names a payload."""
        for part in PARTS:
            yield from (entry for entry in self.data.get(part, ()) if isinstance(entry.get("digest"), str))
        if isinstance(self.data.get("digest"), str):
            yield self.data


def _places(log: FactLog, run: RunId) -> Iterator[_Place]:
    reading = log.read(run)
    if (found := reading.snapshot) is not None:
        body = found.body
        data = {
            "facts": found.entries(), "losers": body.losers, "rejections": body.rejections, "gates": body.gates,
        }  # fmt: skip
        yield _Place(None, data, found.payloads, found.gone, snapshot=found)
    for seq, record in enumerate(reading.records, reading.start):
        if record.payloads or record.gone:
            yield _Place(seq, read_head(record.raw, run, seq), record.payloads, record.gone, record=record)


def _journaled(log: FactLog, run: RunId) -> Iterator[_Place]:
    """Yields what was answered in a run and recorded, as if it had been committed: it may never have been."""
    for address, note in log.store.notes(JOURNAL, run):
        try:
            said = json.loads(unseal(address, note.value))["outcome"]["answers"]
            answers = [one for one in said if one["kind"] != "lapse"]  # a failure has no ref yet
            bodies = {one["digest"]: str(one["body"]).encode("utf-8", "replace") for one in answers if "body" in one}
            yield _Place(None, {"facts": answers}, bodies, {})
        except (BrokenNote, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # nobody can use it: it goes with whatever is erased from the run


def _ancestors(log: FactLog, run: RunId) -> list[RunId]:
    """Returns a run and those that it goes on from, as far as they are here."""
    found = [run]
    while (parent := log.started(found[-1]).parent) is not None and parent.run in log and parent.run not in found:
        found.append(parent.run)
    return found


class _Found:
    """Looks for everything that was said under some refs."""

    def __init__(self, run: RunId, refs: frozenset[str]) -> None:
        self.run, self.refs = run, refs
        self.own: dict[str, None] = {}
        """The digests in the run itself."""
        self.digests: dict[str, None] = {}
        """Those in the runs that it goes on from as well."""
        self.families: set[str] = set()
        self.mentions: list[str] = []
        self._where: dict[str, RunId] = {}
        self._rest = set(refs)
        """The refs, and those that rest on them."""

    def look(self, run: RunId, place: _Place) -> None:
        because: Any = ()
        for entry in place.entries():
            ref = entry.get("ref") or f"{entry.get('family')}:{entry.get('id')}"
            because = because if entry.get("because") == "same" else entry.get("because") or ()
            if ref in self.refs or self._repeats(ref, entry["digest"], place):
                self.digests.setdefault(entry["digest"])
                self.families.add(ref.partition(":")[0])
                if run == self.run:
                    self.own.setdefault(entry["digest"])
                    self._where[ref] = run
                self._where.setdefault(ref, run)
            elif not self._rest.isdisjoint(because):
                self.mentions.append(ref)
                self._rest.add(ref)

    def _repeats(self, ref: str, digest: str, place: _Place) -> bool:
        """Tells whether a diagnostic repeats what was said under one of the refs."""
        if not ref.startswith(f"{CONTESTED}:"):
            return False
        try:
            said = json.loads(place.payloads.get(digest, b"{}"))
            return said.get("ref") in self.refs
        except (ValueError, AttributeError, RecursionError):
            return False

    def check(self, wanted: Iterable[str]) -> None:
        """Raises NotHere unless everything that is to go is in the run itself."""
        for ref in wanted:
            where = self._where.get(ref)
            if where != self.run:
                raise NotHere(self.run, ref, where)


class _Work:
    """Puts together what one redaction changes."""

    def __init__(self, log: FactLog, digests: frozenset[str], told: bytes) -> None:
        self.log, self.digests, self.told = log, digests, told
        self.leaving = Leaving(log)
        self.runs: dict[RunId, int] = {}
        self.payloads = self.bytes = self.notes = self.already = 0
        self._bodies: set[bytes] = set()

    def take(self, run: RunId, families: Iterable[str]) -> None:
        """Plans what goes from a run and from what was journaled for it."""
        store, changed = self.log.store, 0
        length, child = store.length(run), stamp_of(store, child_of(run))
        for place in _places(self.log, run):
            self.already += len(self.digests & place.gone.keys())
            gone = self.digests & place.payloads.keys()
            if not gone:
                continue
            changed += 1
            self.payloads += len(gone)
            self.bytes += sum(len(place.payloads[digest]) for digest in gone)
            self._bodies.update(place.payloads[digest] for digest in gone)
            if place.record is not None and place.seq is not None:
                self.leaving.replaced[run, place.seq] = self._without(place.record, gone)
            elif place.snapshot is not None:
                self._rewrite(place.snapshot, gone)
        if changed:
            self.runs[run] = changed
            self.leaving.watch(run, length, child)
            self.leaving.families.update(families)
        if self.take_notes(JOURNAL, run, broken=bool(changed)) and not changed:
            self.leaving.expects[lease_of(run)] = check_lease(self.log, run)
            self.leaving.cut[run] = store.first(run)  # nothing more; but a store erases only where events leave

    def _without(self, record: Record, gone: frozenset[str]) -> Record:
        payloads = {digest: raw for digest, raw in record.payloads.items() if digest not in gone}
        return replace(record, payloads=payloads, gone={**record.gone, **dict.fromkeys(sorted(gone), self.told)})

    def _rewrite(self, snapshot: Snapshot, gone: frozenset[str]) -> None:
        body, places = snapshot.body, snapshot.places()
        dead = {places[digest]: digest for digest in gone}
        facts = [
            [*entry[:-1], dead.get(entry[-1], entry[-1]) if entry[-1].__class__ is int else entry[-1]]
            for entry in body.facts
        ]
        payloads = [None if place in dead else text for place, text in enumerate(body.payloads)]
        tombstones = {**body.gone, **dict.fromkeys(sorted(gone), self.told.decode())}
        new = snapshot.with_body(
            Body(facts, body.losers, body.rejections, body.gates, payloads, tombstones, body.rest)
        )  # fmt: skip
        address = address_of(snapshot.run)
        self.leaving.expects[address] = stamp_of(self.log.store, address)
        self.leaving.puts[address] = Put(seal(address, new.to_bytes()), stamp())

    def take_notes(self, space: str, owner: str | None, *, broken: bool = True) -> int:
        """Plans to drop the recorded answers that hold one of the payloads, and returns how many do."""
        before = self.notes
        needles = [digest.encode() for digest in self.digests]
        for raw in self._bodies - {b"{}"}:
            needles += [raw, json.dumps(raw.decode("utf-8", "replace"), ensure_ascii=False)[1:-1].encode()]
        for address, note in self.log.store.notes(space, owner):
            if address in self.leaving.puts:
                continue
            try:
                body = unseal(address, note.value)
            except BrokenNote:  # nobody can use it, and it may hold anything
                body = needles[0] if broken else b""
            if any(needle in body for needle in needles):
                self._forget(address, len(note.value), note.stamp)
        return self.notes - before

    def _forget(self, address: Address, size: int, found: int) -> None:
        self.leaving.puts[address] = None
        self.leaving.expects[address] = found
        self.notes += 1
        self.bytes += size


_SHOWN = 5


def _some(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
