"""The input of a run: whatever a line holds becomes a fact, and nothing of it is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine.cli_input import admit_line, read_input
from quiesce.facts import Context, Malformed
from support.cli_orders import Ticket

BLANKS = st.text(" \t", max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


def problem_of(line: bytes) -> str:
    """Returns what is wrong with a line, after checking that its bytes are kept."""
    fact = admit_line(Context(), 3, line)

    assert isinstance(fact.payload, Malformed)
    assert (fact.ref, fact.payload.raw) == ("malformed:line-3", line)
    return fact.payload.reason


@given(line=st.binary(min_size=1))
def test_any_line_becomes_a_fact_that_keeps_it(line: bytes) -> None:
    """No bytes raise, and no bytes are lost."""
    fact = admit_line(Context(), 1, line)

    assert isinstance(fact.payload, Malformed)
    assert fact.payload.raw == line


@given(value=VALUES, blanks=st.lists(BLANKS, min_size=8, max_size=8), ascii=st.booleans(), swap=st.booleans())
def test_a_payload_is_admitted_as_it_was_written(value: Any, blanks: list[str], ascii: bool, swap: bool) -> None:
    """Not decoded and encoded again: spaces, escapes and decimals stay; the order of the members is free."""
    text = json.dumps(value, ensure_ascii=ascii, indent=1).replace("\n", " ")
    a, b, c, d, e, f, g, h = blanks
    members = [f'"payload"{a}:{b}{text}{c}', f'"family"{d}:{e}"cli-unheard-of"{f}']
    line = f"{{{g}{f',{h}'.join(reversed(members) if swap else members)}}}"
    fact = admit_line(Context(), 1, line.encode("utf-8", "surrogatepass"))

    assert isinstance(fact.payload, Malformed)
    try:
        line.encode()
    except UnicodeEncodeError:
        assert "not UTF-8" in fact.payload.reason
    else:
        assert (fact.payload.family, fact.payload.raw) == ("cli-unheard-of", text.encode())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[]", "it is not a JSON object: '{' is due at column 1"),
        (b"{}", "it has no 'family'"),
        (b'{"family":"a"}', "it has no 'payload'"),
        (b'{"family":1,"payload":{}}', "its 'family' is 1, not a text"),
        (b'{"family":"a","id":2,"payload":{}}', "its 'id' is 2, not a text"),
        (b'{"family":"a","payload":{},}', "it is not JSON: expecting value at column 28"),
        (b'{"family":"a" "payload":{}}', "it is not a JSON object: ',' is due at column 15"),
        (b'{"family":"a","family":"b"}', "it has a second member 'family'. Give family, id, payload"),
        (b'{"family":"a","text":"b"}', "it has an unknown member 'text'. Give family, id, payload"),
        (b'{"family":"a","payload":{}} x', "it goes on behind the end of its object, at column 29"),
        (b'{"family":"a","payload":' + b"[" * 100_000, "it is nested too deeply"),
        (b'{"family":"a\xff","payload":{}}', "it is not UTF-8 from byte 12 on"),
        (b'{"family":"a","payload":{"n":1', "it is not JSON: expecting ',' delimiter at column 31"),
    ],
)
def test_a_broken_line_says_what_is_wrong_and_where(line: bytes, reason: str) -> None:
    """With the number of the line."""
    assert problem_of(line) == f"line 3: {reason}"


def test_a_huge_line_is_kept_and_refused_by_the_limit_of_its_family() -> None:
    """Two megabytes in one line."""
    context = Context()
    payload = json.dumps({"text": "x" * 2_000_000}).encode()
    fact = admit_line(context, 1, b'{"family":"cli-ticket","id":"t1","payload":%s}' % payload)

    assert (fact.ref, fact.payload.raw) == ("malformed:cli-ticket:t1", payload)
    assert "over the limit of 1,048,576" in fact.payload.reason


def test_a_file_may_have_a_mark_blank_lines_and_other_line_ends(tmp_path: Path) -> None:
    """As other systems write them; line numbers count all lines."""
    file = tmp_path / "facts.jsonl"
    line = b'{"family":"cli-ticket","id":"%s","payload":{"text":"hi"}}'
    file.write_bytes(b"\xef\xbb\xbf" + line % b"t1" + b"\r\n\r\n  \n" + line % b"t2" + b"\nbroken")
    found = read_input(str(file))

    assert list(found.context.of(Ticket)) == ["t1", "t2"]
    assert (found.lines, list(found.malformed)) == (3, [5])
