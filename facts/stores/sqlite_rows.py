"""Turns records and notes into rows of the SQLite store's tables and back; a row that was changed is found out."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from ..errors import StoreError
from ..fact import RunId
from ..record import Record
from .base import Broken
from .batch import Address, Note
from .memory import size_of

SEAL_BYTES = 16

Row = tuple[int, bytes, bytes, bytes, bytes | None, bytes | None, bytes | None]
COLUMNS = "size, digest, seal, raw, payloads, beside, gone"
NOTE_COLUMNS = "stamp, position, families, seal, value"


def row_of(run: RunId, seq: int, record: Record) -> Row:
    """Returns the columns of a record."""
    digest = bytes.fromhex(record.digest)
    payloads = beside = gone = None
    if record.payloads:
        payloads = b"\n".join(record.payloads.values())
        if payloads.count(b"\n") != len(record.payloads) - 1:
            raise StoreError(f"run {run}: a payload of event {seq} is not JSON on one line. Nothing was kept")
    if record.beside != b"{}":
        beside = record.beside
    if record.gone:
        gone = b"\n".join(b"%b %b" % (name.encode(), body) for name, body in record.gone.items())
    return size_of(record), digest, _seal(run, seq, digest, payloads, beside, gone), record.raw, payloads, beside, gone


def record_of(run: RunId, seq: int, row: Any, where: str) -> Record:
    """Returns the record that a row holds.

    Raises:
        Broken: it is not what was written.
    """
    size, digest, seal, raw, payloads, beside, gone = row
    try:
        if sha256(raw).digest() != digest:
            raise ValueError("its text does not match its digest")
        if _seal(run, seq, digest, payloads, beside, gone) != seal:
            raise ValueError("its payloads and what stands beside it do not match their seal")
        bodies = {sha256(body).hexdigest(): body for body in payloads.split(b"\n")} if payloads else {}
        away = dict(line.split(b" ", 1) for line in gone.split(b"\n")) if gone else {}
        record = Record(raw, digest.hex(), bodies, beside or b"{}", {name.decode(): away[name] for name in away})
        if size_of(record) != size:
            raise ValueError("its size is not that of what was written")
    except (TypeError, AttributeError):  # the columns of a damaged row can have any type
        raise Broken(run, seq, where, "a column has another type than was written") from None
    except ValueError as error:
        raise Broken(run, seq, where, str(error)) from None
    return record


def note_of(address: Address, row: Any, where: str) -> Note:
    """Returns the note that a row holds.

    Raises:
        StoreError: it is not what was written.
    """
    stamp, position, families, seal, value = row
    sound = (int, int, str, bytes) == (type(stamp), type(position), type(families), type(value))
    if not sound or seal_of_note(address, position, families, value) != seal:
        raise StoreError(
            f"{where} is damaged: the {address.space} note {address.key!r:.80} of {address.owner!r:.80} is not what "
            f"was written. The events of the log are not touched by it; quiesce verify checks them"
        )
    return Note(value, stamp, position, tuple(families.split("\n")) if families else ())


def seal_of_note(address: Address, position: int, families: str, value: bytes) -> bytes:
    """Returns what covers all of a note but its stamp, which alone may change under it."""
    name = "\x00".join((*address, str(position), families)).encode()
    return sha256(b"%d:%b%b" % (len(name), name, value)).digest()[:SEAL_BYTES]


def _seal(
    run: RunId, seq: int, digest: bytes, payloads: bytes | None, beside: bytes | None, gone: bytes | None
) -> bytes:
    """Returns what covers where an event stands and all of it but its text; no byte can go from one part to another."""
    payloads, beside, gone = payloads or b"", beside or b"", gone or b""
    start = b"%d %d %d %d " % (seq, len(payloads), len(beside), len(gone))
    return sha256(b"".join((start, digest, payloads, beside, gone, run.encode()))).digest()[:SEAL_BYTES]
