"""Reads the input of a run from JSON lines: what is no fact becomes a Malformed one, and nothing is lost."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ..facts import Context, Fact, Malformed
from .cli_codes import Misuse

MEMBERS = ("family", "id", "payload")
BOM = b"\xef\xbb\xbf"

_BLANK = re.compile(r"[ \t\r\n]*")

_decoder = json.JSONDecoder()


@dataclass(slots=True)
class Input:
    """What was read: a context, and which lines did not become the facts that they were meant to be."""

    context: Context = field(default_factory=Context)
    lines: int = 0
    """Lines that are not blank."""
    malformed: dict[int, Fact[Malformed]] = field(default_factory=dict)
    """By the number of the line, from 1."""


def read_input(path: str, *, strict: bool = False) -> Input:
    """Returns what a file of JSON lines says; "-" is standard input.

    Raises:
        Misuse: the file cannot be read; with `strict`, a line is no fact.
    """
    found = Input()
    with _open(path) as lines:
        for number, line in enumerate(lines, 1):
            text = line.removeprefix(BOM).strip() if number == 1 else line.strip()
            if text:
                found.lines += 1
                fact = admit_line(found.context, number, text)
                if isinstance(fact.payload, Malformed):
                    found.malformed[number] = fact
    for number, fact in found.malformed.items() if strict else ():
        raise Misuse(
            f"{len(found.malformed):,} of {found.lines:,} input lines malformed, and --strict was said: nothing was "
            f"run. The first is line {number}: {fact.payload.reason.removeprefix(f'line {number}: ')}"
        )
    return found


def admit_line(context: Context, number: int, line: bytes) -> Fact[Any]:
    """Adds what a line says: {"family": …, "id": …, "payload": {…}}, the id being optional."""
    try:
        members = _members(line.decode())
        family, id = _text(members, "family"), _text(members, "id", optional=True)
        payload = _member(members, "payload")[1]
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 from byte {error.start} on"
    except ValueError as error:
        reason = str(error)
    else:
        return context.admit(str(family), id, payload)
    note = Malformed(family="", id="", reason=f"line {number}: {reason}", raw=line)
    return context.add(note, f"line-{number}")


def read_bytes(path: str) -> bytes:
    """Returns what a file holds; "-" is standard input.

    Raises:
        Misuse: the file cannot be read.
    """
    with _open(path) as file:
        return file.read()


@contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb") as file:
            yield file
    except OSError as error:
        raise Misuse(f"input {path} cannot be read: {error.strerror or error}") from error


def _members(text: str) -> dict[str, tuple[Any, str]]:
    """Returns the members of a JSON object, each with its text as it stands: decoding would round decimals."""
    members: dict[str, tuple[Any, str]] = {}
    place = _skip(text, 0, "{")
    more = not text.startswith("}", place)
    while more:
        name, end = _decode(text, place)
        start = _skip(text, _blank(text, end), ":")
        value, end = _decode(text, start)
        if name not in MEMBERS or name in members:
            problem = "an unknown" if name not in MEMBERS else "a second"
            raise ValueError(f"it has {problem} member {name!r:.60}. Give {', '.join(MEMBERS)}")
        members[name] = (value, text[start:end])
        place = _blank(text, end)
        more = not text.startswith("}", place)
        place = _skip(text, place, ",") if more else place
    if (rest := _blank(text, place + 1)) < len(text):
        raise ValueError(f"it goes on behind the end of its object, at column {rest + 1}")
    return members


def _decode(text: str, place: int) -> tuple[Any, int]:
    try:
        return _decoder.raw_decode(text, place)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _skip(text: str, place: int, mark: str) -> int:
    if not text.startswith(mark, place):
        raise ValueError(f"it is not a JSON object: {mark!r} is due at column {place + 1}")
    return _blank(text, place + 1)


def _blank(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    return match.end() if match else place


def _member(members: dict[str, tuple[Any, str]], name: str) -> tuple[Any, str]:
    if name not in members:
        raise ValueError(f"it has no {name!r}")
    return members[name]


def _text(members: dict[str, tuple[Any, str]], name: str, *, optional: bool = False) -> str | None:
    value = members.get(name, (None, ""))[0] if optional else _member(members, name)[0]
    if not isinstance(value, str) and not (optional and value is None):
        raise ValueError(f"its {name!r} is {value!r:.60}, not a text")
    return value
