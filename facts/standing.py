"""Keeps what a projection has learned as notes of a store: its values, how far they are, and what they rest on.

The notes are of no run, so that none goes away with one:

- ("projection", "", name) is the *entry*: the version of the fold and what it reads. It has the families that are read,
  so whoever appends a fact of one of them gives it another stamp, whether he knows the projection or not.
- ("value/name", "", id) is one value, and ("value/name", "", "") the *mark*: which stamp of the entry the values are
  folded up to, and how many there are. They are put together, and the mark is read first (no value has an empty id):
  a value that is newer than its mark, or one too few, tells that they were read at different moments.
- ("base/name", "", id) and ("base/name", "", "") are the same of the moment at which facts last left the ledger: what a
  fold from scratch begins with. They are missing as long as none has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import StoreError
from .projection import Projection
from .seal import BrokenNote, seal, unseal
from .stores import Address, Note, Put, Store

SPACE = "projection"
FORMAT = 1
TRIES = 100
"""How often something is tried against others that are faster."""


class BrokenProjection(StoreError):
    """What is kept of a projection is not what was written."""

    def __init__(self, name: str, what: str) -> None:
        self.name, self.what = name, what
        anew = ", anew=True" if what.startswith("base") else ""
        super().__init__(
            f"projection {name!r}: its {what} is damaged. The events of the log are not touched by it, and its values "
            f"can be folded from them again: log.rebuild({name!r}{anew})"
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """A projection, as a store knows it."""

    name: str
    version: str
    value: str
    """The family of the values."""
    reads: tuple[str, ...]
    stamp: int
    """Another one whenever a fact of what it reads has been appended."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the values of a projection are."""

    version: str
    """That of the fold that gave them."""
    seen: int
    """The stamp of the entry up to which all is in them."""
    at: int | None
    """The position up to which all is in them, where that is not where they were put."""
    count: int
    """How many values there are."""
    stamp: int
    position: int

    @property
    def watermark(self) -> int:
        """The position up to which facts are in the values."""
        return self.position if self.at is None else self.at

    def is_behind(self, entry: Entry) -> bool:
        """Tells whether facts may have come that are not in the values."""
        return self.at is not None or self.seen != entry.stamp


@dataclass(frozen=True, slots=True)
class Base:
    """What a fold begins with: values, and the position up to which they are."""

    at: int
    values: Mapping[str, bytes]
    stamp: int | None = None
    """That of the base as it is stored; None if there is none."""


def entry_of(name: str) -> Address:
    """Returns where the entry of a projection stands."""
    return Address(SPACE, "", name)


def values_of(name: str) -> str:
    """Returns the space of a projection's values and of their mark."""
    return f"value/{name}"


def bases_of(name: str) -> str:
    """Returns the space of what a projection's values rest on."""
    return f"base/{name}"


# --- writing ----------------------------------------------------------------------------------------------------------


def put_entry(projection: Projection[Any], stamp: int) -> Put:
    return _entry(
        projection.name, projection.version, projection.value_family, projection.families, stamp
    )  # fmt: skip


def put_again(entry: Entry, stamp: int) -> Put:
    """Returns the same entry under another stamp."""
    return _entry(entry.name, entry.version, entry.value, entry.reads, stamp)


def put_mark(name: str, version: str, seen: int, count: int, stamp: int, at: int | None = None) -> Put:
    text = f'{{"v":{FORMAT},"version":{json.dumps(version)},"seen":{seen},"count":{count},"at":{_number(at)}}}'
    return put_value(values_of(name), "", text.encode(), stamp)


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def put_value(space: str, id: str, body: bytes, stamp: int) -> Put:
    return Put(seal(Address(space, "", id), body), stamp)


def replace_values(
    store: Store, space: str, wanted: Mapping[str, bytes], stamp: int
) -> dict[Address, Put | None]:  # fmt: skip
    """Returns the puts after which a space holds just these values; those that are there already are left alone."""
    puts: dict[Address, Put | None] = {}
    present = {""}
    for address, note in store.notes(space, ""):
        present.add(address.key)
        body = wanted.get(address.key)
        if body is not None and seal(address, body) != note.value:
            puts[address] = put_value(space, address.key, body, stamp)
        elif body is None and address.key:
            puts[address] = None
    puts.update((Address(space, "", id), put_value(space, id, wanted[id], stamp)) for id in wanted.keys() - present)
    return puts


def replace_base(store: Store, name: str, base: Base, stamp: int) -> dict[Address, Put | None]:
    """Returns the puts after which a fold from scratch begins with other values."""
    space = bases_of(name)
    return {
        **replace_values(store, space, base.values, stamp),
        Address(space, "", ""): put_value(space, "", b"%d" % base.at, stamp),
    }


def _entry(name: str, version: str, value: str, reads: Iterable[str], stamp: int) -> Put:
    families = tuple(reads)
    data = {"v": FORMAT, "version": version, "value": value, "reads": families}
    return Put(seal(entry_of(name), json.dumps(data, separators=(",", ":")).encode()), stamp, families)


# --- reading ----------------------------------------------------------------------------------------------------------


def read_entry(store: Store, name: str) -> Entry | None:
    """Returns a projection as the store knows it, or None.

    Raises:
        BrokenProjection: its entry is damaged. So do all that follow.
    """
    address = entry_of(name)
    note = store.note(address)
    if note is None:
        return None
    data = _json(name, "entry", address, note)
    return Entry(name, data["version"], data["value"], tuple(data["reads"]), note.stamp)


def read_mark(store: Store, name: str) -> Mark:
    """Returns how far the values of a projection are."""
    address = Address(values_of(name), "", "")
    return _mark(name, address, store.note(address))


def read_value(store: Store, name: str, id: str) -> bytes | None:
    """Returns one value of a projection, or None."""
    address = Address(values_of(name), "", id)
    note = store.note(address)
    return None if note is None else _body(name, f"value of {id!r}", address, note)


def read_values(store: Store, name: str, broken: list[str] | None = None) -> tuple[Mark, dict[str, bytes]]:
    """Returns the values of a projection, with how far they are; the ids of damaged ones go to `broken` if given."""
    for _ in range(TRIES):
        found = dict(store.notes(values_of(name), ""))
        address = Address(values_of(name), "", "")
        mark = _mark(name, address, found.pop(address, None))
        latest = max((note.position for note in found.values()), default=0)
        if len(found) != mark.count or latest > mark.position:
            if read_mark(store, name).stamp != mark.stamp:
                continue  # somebody has put values while these were read
            if broken is None:
                raise BrokenProjection(name, f"set of {mark.count} values, of which {len(found)} are there,")
        values: dict[str, bytes] = {}
        for address, note in found.items():
            try:
                values[address.key] = _body(name, f"value of {address.key!r}", address, note)
            except BrokenProjection:
                if broken is None:
                    raise
                broken.append(address.key)
        return mark, values
    raise too_fast(name)


def read_base(store: Store, name: str) -> Base:
    """Returns what a fold from scratch begins with."""
    values: dict[str, bytes] = {}
    at, stamp = b"0", None
    for address, note in store.notes(bases_of(name), ""):
        body = _body(name, f"base value of {address.key!r}" if address.key else "base", address, note)
        if address.key:
            values[address.key] = body
        else:
            at, stamp = body, note.stamp
    return Base(int(at), values, stamp)


def base_stamp(store: Store, name: str) -> int | None:
    """Returns a number that changes when facts leave the ledger that a projection has folded."""
    note = store.note(Address(bases_of(name), "", ""))
    return None if note is None else note.stamp


def too_fast(name: str) -> StoreError:
    """Returns the error of who has tried often enough."""
    return StoreError(
        f"projection {name!r}: others have appended faster than its values could be read, {TRIES} times. Try again"
    )


def _mark(name: str, address: Address, note: Note | None) -> Mark:
    if note is None:
        raise BrokenProjection(name, "watermark")
    data = _json(name, "watermark", address, note)
    return Mark(data["version"], data["seen"], data["at"], data["count"], note.stamp, note.position)


def _json(name: str, what: str, address: Address, note: Note) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(_body(name, what, address, note))
    if data["v"] != FORMAT:
        raise StoreError(
            f"projection {name!r}: its {what} has format version {data['v']!r}; this build reads up to {FORMAT}. "
            f"Upgrade quiesce"
        )
    return data


def _body(name: str, what: str, address: Address, note: Note) -> bytes:
    try:
        return unseal(address, note.value)
    except BrokenNote as error:
        raise BrokenProjection(name, what) from error
