"""Turns records into rows of the PostgreSQL store, and rows back into records that are checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from ..record import Record
from .base import Broken
from .memory import size_of

COLUMNS = "e.seq, e.raw, e.digest, e.seal, e.beside, e.payloads, e.gone"
"""What `read_row` asks for, in this order."""


class Row(NamedTuple):
    """One event as it stands in the table, without its place."""

    raw: bytes
    digest: bytes
    seal: bytes
    """Covers all but the text, and where it stands."""
    beside: bytes | None
    """None for an empty object."""
    payloads: bytes | None
    """The bodies, framed; their digests are made again when they are read."""
    gone: bytes | None
    """Digests and what stands for the payloads that were redacted, in turn, framed."""
    size: int


def make_row(run: str, seq: int, record: Record) -> Row:
    """Returns the row of a record that stands at `seq` of a run."""
    gone = [part for digest, told in record.gone.items() for part in (digest.encode(), told)]
    return Row(
        record.raw,
        bytes.fromhex(record.digest),
        _seal(run, seq, record.digest, record.payloads, record.beside, gone),
        None if record.beside == b"{}" else record.beside,
        _frame(record.payloads.values()),
        _frame(gone),
        size_of(record),
    )


def read_row(run: str, row: tuple[Any, ...], where: str) -> Record:
    """Returns the record of a row.

    Raises:
        Broken: its bytes are not what was kept.
    """
    seq, raw, digest, seal, beside, payloads, gone = row
    name = sha256(raw).hexdigest()
    if name != digest.hex():
        raise Broken(run, seq, where, "its text does not match its digest")
    try:
        bodies = {sha256(body).hexdigest(): body for body in _unframe(payloads)}
        told = _unframe(gone)
        texts = dict(zip([part.decode() for part in told[::2]], told[1::2], strict=True))
    except ValueError:
        raise Broken(run, seq, where, "its payloads cannot be told apart") from None
    beside = b"{}" if beside is None else beside
    if _seal(run, seq, name, bodies, beside, told) != seal:
        raise Broken(run, seq, where, "its payloads, or what stands beside it, do not match their seal")
    return Record(raw, name, bodies, beside, texts)


def _seal(run: str, seq: int, digest: str, payloads: Iterable[str], beside: bytes, gone: Iterable[bytes]) -> bytes:
    place = run.encode("utf-8", "surrogatepass")
    said = b"%d:%b%d\n%b\n%b\n" % (len(place), place, seq, digest.encode(), ",".join(payloads).encode())
    return sha256(b"%b%d:%b%b" % (said, len(beside), beside, _frame(gone) or b"")).digest()[:16]


def _frame(parts: Iterable[bytes]) -> bytes | None:
    """Returns parts as one: their lengths on a line, then they themselves; None for none."""
    parts = list(parts)
    return b"%b\n%b" % (b",".join(b"%d" % len(part) for part in parts), b"".join(parts)) if parts else None


def _unframe(data: bytes | None) -> list[bytes]:
    if data is None:
        return []
    at = data.index(b"\n") + 1
    parts = []
    for length in map(int, data[: at - 1].split(b",")):
        parts.append(data[at : at + length])
        at += length
    if at != len(data):
        raise ValueError("the lengths do not add up")
    return parts


def named(payloads: Mapping[str, bytes]) -> bool:
    """Tells whether payloads go by their digests, as they have to: rows do not keep the names."""
    return all(sha256(body).hexdigest() == name for name, body in payloads.items())


# --- names ----------------------------------------------------------------------------------------------------------

_MARK = "\uffff"


def to_text(name: str) -> str:
    """Returns a name as PostgreSQL can hold it: U+0000 and halves of surrogate pairs are written as U+FFFF and four
    hexadecimal digits.
    """
    if name.isascii() and "\0" not in name:
        return name
    return "".join(f"{_MARK}{ord(c):04x}" if c in "\0" + _MARK or "\ud800" <= c <= "\udfff" else c for c in name)


def from_text(text: str) -> str:
    """Returns the name that `to_text` was given."""
    if _MARK not in text:
        return text
    first, *rest = text.split(_MARK)
    return first + "".join(chr(int(part[:4], 16)) + part[4:] for part in rest)
