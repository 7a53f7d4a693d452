"""Writes records as JSON lines and reads them back: the text of `export` and the file of the JSON lines store.

Three kinds of line, each a JSON object of two members whose first names the SHA-256 of the second:

    {"payload":"<sha256>","body":<the payload's JSON>}
    {"event":"<sha256>","body":<the event's JSON>}
    {"commit":"<sha256>","body":{"run":…,"seq":…,"events":…,"beside":[…]}}

A batch is its events, each behind the payloads that it names, and one commit line. A batch without its commit line was
torn by a crash and does not count, so appending is all or nothing. Bodies stand in the line as they are: what is hashed
is what is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from .record import Record

MISSING_COMMIT = "the commit line is missing"

_LINE = re.compile(rb'\{"(payload|event|commit)":"([0-9a-f]{64})","body":(.*)\}', re.DOTALL)
_HEAD = re.compile(rb'\{"v":[0-9]+,"run":("(?:[^"\\]|\\.)*"),"seq":([0-9]+),')
_COMMIT = re.compile(rb'\{"run":("(?:[^"\\]|\\.)*"),"seq":([0-9]+),"events":([0-9]+),')


class BadLine(ValueError):
    """A line is not as it was written."""

    def __init__(self, problem: str, sound: Sequence[Record] = ()) -> None:
        self.problem = problem
        self.sound = sound
        """The sound events of its batch that stand before it, without what stood beside them."""
        super().__init__(problem)

    @property
    def event(self) -> int:
        """How many sound events of its batch stand before it."""
        return len(self.sound)


@dataclass(frozen=True, slots=True)
class Line:
    """One line, checked against its own digest."""

    kind: str
    digest: str
    body: bytes


def write_batch(run: str, seq: int, records: Sequence[Record]) -> bytes:
    """Returns the lines of a batch of records that begins at event `seq` of a run."""
    lines: list[bytes] = []
    for record in records:
        for digest, body in record.payloads.items():
            lines.append(b'{"payload":"%s","body":%s}\n' % (digest.encode(), body))
        lines.append(b'{"event":"%s","body":%s}\n' % (record.digest.encode(), record.raw))
    beside = b",".join(record.beside for record in records)
    body = b'{"run":%s,"seq":%d,"events":%d,"beside":[%s]}' % (json.dumps(run).encode(), seq, len(records), beside)
    lines.append(b'{"commit":"%s","body":%s}\n' % (sha256(body).hexdigest().encode(), body))
    return b"".join(lines)


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
    payloads: dict[str, bytes] = {}  # of the next event
    events: list[tuple[int, Line, dict[str, bytes]]] = []
    committed: list[bytes] | None = None
    for number, raw in lines:
        try:
            line = read_line(raw)
            if committed is not None:
                raise BadLine(f"a {line.kind} stands behind the end of its batch")
            if line.kind == "payload":
                payloads[line.digest] = line.body
            elif line.kind == "event":
                events.append((number, line, payloads))
                payloads = {}
            elif payloads:
                raise BadLine("no event stands behind the payloads before it")
            else:
                committed = _read_commit(line.body, [event for _, event, _ in events])
        except BadLine as error:
            raise BadLine(f"line {number}: {error}", _sound(events)) from None
    if committed is None:
        raise BadLine(MISSING_COMMIT, _sound(events))
    for (number, event, named), beside in zip(events, committed, strict=True):
        yield number, Record(event.body, event.digest, named, beside)


def _sound(events: Iterable[tuple[int, Line, dict[str, bytes]]]) -> list[Record]:
    return [Record(event.body, event.digest, named) for _, event, named in events]


def peek_event(line: bytes) -> tuple[str, int] | None:
    """Returns the run and the number of an event line without checking it; None for any other line."""
    return _peek(_HEAD, line, b'{"event":"')


def peek_commit(line: bytes) -> tuple[str, int] | None:
    """Returns the run and the first event number of a commit line without checking it; None for any other line."""
    return _peek(_COMMIT, line, b'{"commit":"')


def _peek(pattern: re.Pattern[bytes], line: bytes, start: bytes) -> tuple[str, int] | None:
    if not line.startswith(start):
        return None
    return _peek_body(pattern, line, len(start) + 64 + len(b'","body":'))


def _peek_body(pattern: re.Pattern[bytes], text: bytes, start: int = 0) -> tuple[str, int] | None:
    match = pattern.match(text, start)
    if match is None:
        return None
    try:
        return str(json.loads(match[1])), int(match[2])
    except ValueError:
        return None


def _read_commit(body: bytes, events: list[Line]) -> list[bytes]:
    try:
        data = json.loads(body)
        beside = [json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode() for item in data["beside"]]
        run, seq, count = data["run"], data["seq"], data["events"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadLine(f"its commit cannot be read: {error}") from error
    if not isinstance(run, str) or type(seq) is not int or type(count) is not int:
        raise BadLine("its commit does not name a run and two numbers")
    if count != len(events) or len(beside) != len(events):
        raise BadLine(f"it commits {count} events, but {len(events)} stand before it")
    for place, event in enumerate(events):
        if _peek_body(_HEAD, event.body) != (run, seq + place):
            raise BadLine(f"the event before it is not event {seq + place} of run {run}")
    return beside
