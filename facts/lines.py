"""Writes records as JSON lines and reads them back: the text of `export` and the file of the JSON lines store.

Five kinds of line, each a JSON object of two members whose first names the SHA-256 of the second:

    {"payload":"<sha256>","body":<the payload's JSON>}
    {"gone":"<sha256>","body":{"payload":"<the digest of one that was redacted>","gone":<why, by whom and when>}}
    {"event":"<sha256>","body":<the event's JSON>}
    {"note":"<sha256>","body":<what changes beside the runs; see stores/notes.py>}
    {"commit":"<sha256>","body":{"run":…,"seq":…,"events":…,"beside":[…]}}

A part is the events of one run, each behind the payloads that it names, and one commit line; or notes, and a commit
line whose run is null. A batch is one part, or several of which all but the last say how many more there are. A batch
without its last commit line was torn by a crash and does not count, so appending is all or nothing. Bodies stand in the
line as they are: what is hashed is what is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from .errors import StoreError
from .record import Record

MISSING_COMMIT = "the commit line is missing"

_LINE = re.compile(rb'\{"(payload|gone|event|note|commit)":"([0-9a-f]{64})","body":(.*)\}', re.DOTALL)
_HEAD = re.compile(rb'\{"v":[0-9]{1,9},"run":("(?:[^"\\]|\\.)*"),"seq":([0-9]{1,18}),')
_GONE = re.compile(rb'\{"payload":"([0-9a-f]{64})","gone":(.*)\}', re.DOTALL)
_COMMIT = re.compile(
    rb'\{"run":(null|"(?:[^"\\]|\\.)*"),"seq":([0-9]{1,18}),"events":([0-9]{1,18})(,"cut":true)?'
    rb'(?:,"notes":([0-9]{1,18}))?(?:,"at":([0-9]{1,18}))?(?:,"more":([0-9]{1,18}))?(?:,"file":"[0-9a-f]{32}")?,"beside":\['
)
_DECODER = json.JSONDecoder()
_START = len(b'{"commit":"') + 64 + len(b'","body":')


class BadLine(ValueError):
    """A line is not as it was written."""

    def __init__(self, problem: str, sound: Sequence[Record] = ()) -> None:
        self.problem = problem
        self.sound = sound
        """The sound events of its batch that stand before it, without what stood beside them."""
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class Line:
    """One line, checked against its own digest."""

    kind: str
    digest: str
    body: bytes


class Commit(NamedTuple):
    """What a commit line says, without what stands beside its events."""

    run: str | None
    """Whose events stand before it; None if they are notes."""
    seq: int
    """The number of the first of its events."""
    events: int = 0
    cut: bool = False
    """The events of this run before `seq` were cut off."""
    notes: int = 0
    """How many note lines stand before it."""
    at: int | None = None
    """Which position of the ledger its first event has, or the next to come; None: the one behind the last."""
    more: int = 0
    """How many commit lines of the same batch come behind it."""
    file: str = ""
    """Tells a file that was rewritten from the one before."""

    def to_line(self, beside: bytes = b"") -> bytes:
        """Returns the line."""
        rest = b',"cut":true' if self.cut else b""
        for name, value in ((b"notes", self.notes), (b"at", self.at), (b"more", self.more)):
            if value:
                rest += b',"%b":%d' % (name, value)
        if self.file:
            rest += b',"file":"%b"' % self.file.encode()
        run = json.dumps(self.run).encode()
        return line_of(
            "commit", b'{"run":%b,"seq":%d,"events":%d%b,"beside":[%b]}' % (run, self.seq, self.events, rest, beside)
        )


def line_of(kind: str, body: bytes) -> bytes:
    """Returns a line around a body."""
    return b'{"%b":"%b","body":%b}\n' % (kind.encode(), sha256(body).hexdigest().encode(), body)


def write_batch(run: str, seq: int, records: Sequence[Record], *, at: int | None = None, more: int = 0) -> bytes:
    """Returns the lines of records that begin at event `seq` of a run.

    Raises:
        StoreError: a text holds a line break, which no line can.
    """
    lines: list[bytes] = []
    for record in records:
        for digest, body in record.payloads.items():
            lines.append(b'{"payload":"%b","body":%b}\n' % (digest.encode(), body))
        for digest, told in record.gone.items():
            lines.append(line_of("gone", b'{"payload":"%b","gone":%b}' % (digest.encode(), told)))
        lines.append(b'{"event":"%b","body":%b}\n' % (record.digest.encode(), record.raw))
    beside = b",".join(record.beside for record in records)
    lines.append(Commit(run, seq, len(records), at=at, more=more).to_line(beside))
    data = b"".join(lines)
    if data.count(b"\n") != len(lines):
        raise StoreError(f"run {run}: an event from {seq} on holds a line break, so it cannot be kept as JSON lines")
    return data


def read_line(line: bytes) -> Line:
    """Returns a line's parts.

    Raises:
        BadLine: it does not have the form of a line, or its body is not what its digest was made of.
    """
    match = _LINE.fullmatch(line.rstrip(b"\n"))
    if match is None:
        raise BadLine("it has not the form of a line of a fact log")
    kind, digest, body = match[1].decode(), match[2].decode(), match[3]
    if sha256(body).hexdigest() != digest:
        raise BadLine(f"its {kind} does not match its digest")
    return Line(kind, digest, body)


def read_batch(lines: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, Record]]:
    """Yields the records of one batch, each with the number of its line.

    Raises:
        BadLine: a line is damaged, or the batch is not what its commit line says.
    """
    named = _Named({}, {})  # by the next event
    events: list[tuple[int, Line, _Named]] = []
    committed: list[bytes] | None = None
    for number, raw in lines:
        try:
            line = read_line(raw)
            if committed is not None:
                raise BadLine(f"a {line.kind} stands behind the end of its batch")
            if line.kind == "payload":
                named.payloads[line.digest] = line.body
            elif line.kind == "gone":
                digest, told = _read_gone(line.body)
                named.gone[digest] = told
            elif line.kind == "event":
                events.append((number, line, named))
                named = _Named({}, {})
            elif line.kind == "note":
                raise BadLine("a note stands among events")
            elif named.payloads or named.gone:
                raise BadLine("no event stands behind the payloads before it")
            else:
                committed = _read_commit(line.body, [event for _, event, _ in events])
        except BadLine as error:
            raise BadLine(f"line {number}: {error}", _sound(events)) from None
    if committed is None:
        raise BadLine(MISSING_COMMIT, _sound(events))
    for (number, event, named), beside in zip(events, committed, strict=True):
        yield number, Record(event.body, event.digest, named.payloads, beside, named.gone)


class _Named(NamedTuple):
    payloads: dict[str, bytes]
    gone: dict[str, bytes]


def _sound(events: Iterable[tuple[int, Line, _Named]]) -> list[Record]:
    return [Record(event.body, event.digest, named.payloads, gone=named.gone) for _, event, named in events]


def peek_event(line: bytes) -> tuple[str, int] | None:
    """Returns the run and the number of an event line without checking it; None for any other line."""
    return peek_head(line, _START - 1) if line.startswith(b'{"event":"') else None


def peek_head(text: bytes, start: int = 0) -> tuple[str, int] | None:
    """Returns the run and the number of an event without checking it; None if it has not the form of one."""
    match = _HEAD.match(text, start)
    if match is None:
        return None
    try:
        return str(json.loads(match[1])), int(match[2])
    except ValueError:
        return None


def peek_commit(line: bytes) -> Commit | None:
    """Returns what a commit line says without checking it; None for any other line."""
    match = _COMMIT.match(line, _START) if line.startswith(b'{"commit":"') else None
    if match is None:
        return None
    try:
        run = json.loads(match[1])
    except ValueError:
        return None
    at = None if match[6] is None else int(match[6])
    notes, more = int(match[5] or 0), int(match[7] or 0)
    return Commit(run, int(match[2]), int(match[3]), match[4] is not None, notes, at, more)


def read_commit(line: bytes) -> Commit | None:
    """Returns what a commit line says if it is what its digest was made of, else None."""
    match = _LINE.fullmatch(line.rstrip(b"\n"))
    if match is None or sha256(match[3]).hexdigest() != match[2].decode():
        return None
    return peek_commit(line)


def _read_gone(body: bytes) -> tuple[str, bytes]:
    match = _GONE.fullmatch(body)
    if match is None:
        raise BadLine("it does not say which payload is gone")
    return match[1].decode(), match[2]


def _read_commit(body: bytes, events: list[Line]) -> list[bytes]:
    """Returns what stands beside each event, to the byte: reading and writing it could change it."""
    match = _COMMIT.match(body)
    try:
        if match is None:
            raise ValueError("it does not name a run and two numbers")
        run, seq, count = json.loads(match[1]), int(match[2]), int(match[3])
        beside = list(_split(body[match.end() :].decode()))
    except (ValueError, RecursionError) as error:
        raise BadLine(f"its commit cannot be read: {error}") from error
    if count != len(events) or len(beside) != len(events):
        raise BadLine(f"it commits {count} events, but {len(events)} stand before it")
    for place, event in enumerate(events):
        if peek_head(event.body) != (run, seq + place):
            raise BadLine(f"the event before it is not event {seq + place} of run {run}")
    return beside


def _split(text: str) -> Iterator[bytes]:
    """Yields the items of a list, from behind its opening bracket to the end of the line."""
    at = 0
    while not text.startswith("]", at):
        _, end = _DECODER.raw_decode(text, at)
        yield text[at:end].encode()
        at = end + text.startswith(",", end)
    if text[at:] != "]}":
        raise ValueError("it has not the form of a commit")
