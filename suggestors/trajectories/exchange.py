"""Writes patterns as JSON lines, and reads them back from somebody whom nobody trusts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from .errors import BrokenPatterns
from .payloads import Pattern

FORMAT = "quiesce-patterns"
VERSION = 1
MAX_LINE = 16 * 1024 * 1024
"""Bytes of one pattern: half a million numbers."""


@dataclass(frozen=True, slots=True)
class Import:
    """What became of patterns that were put into a memory."""

    added: int
    same: int
    """Those that were there to the letter."""
    revised: int
    """Those whose id was there with other content: the one that has seen more trajectories stands."""


def write_patterns(patterns: Iterable[Pattern]) -> str:
    """Returns patterns as JSON lines, the first of which says how many follow."""
    lines = [one.model_dump_json() for one in patterns]
    head = json.dumps({"format": FORMAT, "version": VERSION, "patterns": len(lines)})
    return "\n".join([head, *lines, ""])


def read_patterns(text: str | bytes) -> list[Pattern]:
    """Returns the patterns that `write_patterns` wrote, in order.

    Raises:
        BrokenPatterns: the first line that is wrong, and what is.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    lines = raw.split(b"\n")
    wanted = _read_head(lines[0])
    found: list[Pattern] = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        if len(found) == wanted:
            raise BrokenPatterns(number, f"it is one more than the {wanted} that the first line tells of")
        found.append(_read_line(number, line, found[0] if found else None))
    if len(found) != wanted:
        raise BrokenPatterns(len(lines), f"the text ends after {len(found)} of {wanted} patterns: it was cut short")
    return found


def _read_head(line: bytes) -> int:
    try:
        head: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BrokenPatterns(1, f"it is not JSON: {error}"[:300]) from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise BrokenPatterns(1, f'it is not the head of an export, {{"format": "{FORMAT}", …}}')
    if head.get("version") != VERSION:
        raise BrokenPatterns(1, f"it is of version {head.get('version')!r:.40}, and this build reads {VERSION}")
    count = head.get("patterns")
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise BrokenPatterns(1, f"its number of patterns is {count!r:.40}")
    return count


def _read_line(number: int, line: bytes, first: Pattern | None) -> Pattern:
    if len(line) > MAX_LINE:
        raise BrokenPatterns(number, f"it takes {len(line):,} bytes, over the limit of {MAX_LINE:,}")
    try:
        pattern = Pattern.model_validate_json(line)
    except ValidationError as error:
        what = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, what["loc"]))
        raise BrokenPatterns(number, f"{where or 'it'}: {what['msg']}"[:300]) from None
    if first is not None and len(pattern.embedding) != len(first.embedding):
        lengths = f"{len(pattern.embedding)} dimensions, and the first has {len(first.embedding)}"
        raise BrokenPatterns(number, f"its embedding has {lengths}")
    return pattern
