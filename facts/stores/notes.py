"""Writes what changes beside the runs as JSON lines and reads it back: notes that are put, removed or touched.

The body of a note line has one of three forms:

    {"change":1,"space":…,"owner":…,"key":…,"stamp":…,"position":…,"families":[…],"value":"<base64>"}
    {"change":2,"space":…,"owner":…,"key":…,"value":null}
    {"change":3,"touched":[<families>],"stamp":…}

Lines are only added, and of those about one note the last holds. `change` counts them, so that one that is missing, or
stands where another should, is seen.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..lines import BadLine, Commit, line_of, read_line
from .batch import Address, Note


@dataclass(frozen=True, slots=True)
class Changed:
    """A note is kept, or taken away."""

    address: Address
    note: Note | None


@dataclass(frozen=True, slots=True)
class Touched:
    """Every note with one of some families got another stamp."""

    families: tuple[str, ...]
    stamp: int


Change = Changed | Touched


def write_notes(changes: Sequence[Change], first: int, *, at: int | None = None) -> bytes:
    """Returns the lines of changes, the first of which has the number `first`, and their commit line."""
    lines = [line_of("note", _write(change, number)) for number, change in enumerate(changes, first)]
    return b"".join([*lines, Commit(None, 0, notes=len(lines), at=at).to_line()])


def _write(change: Change, number: int) -> bytes:
    said: dict[str, Any] = {"change": number}
    if isinstance(change, Touched):
        said |= {"touched": change.families, "stamp": change.stamp}
    else:
        said |= change.address._asdict()
        note = change.note
        if note is not None:
            said |= {"stamp": note.stamp, "position": note.position, "families": note.families}
        said["value"] = None if note is None else b64encode(note.value).decode()
    return json.dumps(said, separators=(",", ":")).encode()


def read_note(raw: bytes, number: int | None = None) -> Change:
    """Returns what a line says; it has to be change `number`, if one is given.

    Raises:
        BadLine: it is damaged, or stands where another should.
    """
    line = read_line(raw)
    if line.kind != "note":
        raise BadLine(f"a {line.kind} stands among notes")
    try:
        data: dict[str, Any] = json.loads(line.body)
        if number is not None and data["change"] != number:
            raise BadLine(f"change {data['change']} stands where change {number} should be")
        if "touched" in data:
            return Touched(tuple(map(str, data["touched"])), int(data["stamp"]))
        address = Address(str(data["space"]), str(data["owner"]), str(data["key"]))
        if data["value"] is None:
            return Changed(address, None)
        value, families = b64decode(data["value"], validate=True), tuple(map(str, data["families"]))
        return Changed(address, Note(value, int(data["stamp"]), int(data["position"]), families))
    except BadLine:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadLine(f"its note cannot be read: {error!r}") from error
