"""Shows that nothing that comes from outside is lost, and that nothing of it stops anybody."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import field_validator

from quiesce.facts import Context, Fact, FactLog, Malformed, Payload, replay
from quiesce.facts.canonical import digest_of
from quiesce.facts.fact import content_id
from support.payloads import Note, Rule, Tags, engine

FAMILIES = st.sampled_from(["facts-note", "facts-anything", "facts-tags", "facts-rule", "malformed", "facts-none"])
IDS = st.none() | st.sampled_from(["a", "b", "", " ", "a\n", "x" * 600]) | st.text()
RAWS = (
    st.binary()
    | st.text()
    | st.sampled_from([b'{"text":"a"}', b'{"text":"b"}', b'{"names":["a"]}', b'{"names":["b"]}', b'{"value":NaN}'])
    | st.builds(lambda value: json.dumps({"value": value}), st.recursive(st.none(), st.lists))
)


def bytes_of(raw: bytes | str) -> bytes:
    return raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw


def kept(context: Context) -> list[bytes]:
    """Returns the bytes of every malformed input that a context or its log holds."""
    facts: list[Any] = [fact.payload for fact in context] + [lost.payload for lost in context._lost]
    return [payload.raw for payload in facts if isinstance(payload, Malformed)]


@given(inputs=st.lists(st.tuples(FAMILIES | st.text(), IDS, RAWS), max_size=5))
def test_whatever_comes_in_becomes_a_fact_and_its_bytes_are_kept(
    inputs: list[tuple[str, str | None, bytes | str]],
) -> None:
    context = Context()
    for family, id, raw in inputs:
        fact = context.admit(family, id, raw)

        assert context.find(fact.ref) is fact
        if isinstance(fact.payload, Malformed):
            assert fact.key == "diagnostics"
            assert bytes_of(raw) in kept(context)
            assert fact.payload.reason.isprintable()
    log = FactLog.open()
    result = engine().run_sync(context, log=log)

    assert replay(log, result.run_id, at=0) == context
    assert {fact.ref for fact in context} <= {fact.ref for fact in result.context}


@given(raw=st.binary(), id=st.text(min_size=1))
def test_bytes_of_an_unknown_family_are_kept_exactly(raw: bytes, id: str) -> None:
    fact = Context().admit("facts-none", id, raw)

    assert (raw, "family 'facts-none' is not registered") == (fact.payload.raw, fact.payload.reason)


def test_valid_input_becomes_a_fact_like_any_other() -> None:
    context, expected = Context(), Context()
    named, unnamed = (
        context.admit("facts-note", "n", b'{"text": "a"}', by="ana"),
        context.admit("facts-note", None, '{"text":"b"}'),
    )
    expected.add(Note(text="a"), id="n", by="ana")
    expected.add(Note(text="b"))

    assert expected == context
    assert (Note(text="a"), Note(text="b")) == (named.payload, unnamed.payload)


class FactsTight(Payload, key="seeds", max_bytes=10):
    n: int


class FactsMoody(Payload, key="seeds"):
    n: int

    @field_validator("n")
    @classmethod
    def _check(cls, n: int) -> int:
        errors: dict[int, Exception] = {1: KeyError("n"), 2: ValueError("odd"), 3: ZeroDivisionError("by\nzero")}
        raise errors[n]


FAULTS: list[tuple[Any, Any, bytes, str]] = [
    ("facts-note", "a", b'{"text": 3', "Invalid JSON: EOF while parsing an object at line 1 column 10"),
    ("facts-note", "a", b"", "Invalid JSON: EOF while parsing a value at line 1 column 0"),
    ("facts-note", "a", b"\xff\x00", "Invalid JSON: expected value at line 1 column 1"),
    ("facts-note", "a", b"[]", "Input should be an object"),
    ("facts-note", "a", b'{"text":3}', "text: Input should be a valid string"),
    ("facts-note", "a", b'{"txt":"a","x":1}', "text: Field required (and 2 more)"),
    ("facts-nobody", "a", b"{}", "family 'facts-nobody' is not registered"),
    ("", "a", b"{}", "family '' is not registered"),
    ("facts-note\n", "a", b"{}", r"family 'facts-note\n' is not registered"),
    ("f" * 200, "a", b"{}", f"family '{'f' * 99} is not registered"),
    ("facts-tight", "a", b'{"n": 1234}', "takes 11 bytes, over the limit of 10 for 'facts-tight'"),
    ("facts-level", "a", b'{"value":NaN}', "value: Input should be a finite number"),
    ("facts-level", "a", b'{"value":1e999}', "value: Input should be a finite number"),
    ("facts-count", "a", b'{"n":' + b"1" * 5000 + b"}", "Invalid JSON: number out of range at line 1 column 4307"),
    (
        "facts-anything",
        "a",
        b'{"value":[NaN]}',
        "payload of family 'facts-anything': cannot be written as JSON: nan is not a finite number",
    ),
    (
        "facts-anything",
        "a",
        b'{"value":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "Invalid JSON: recursion limit exceeded at line 1 column 210",
    ),
    (
        "facts-anything",
        "a",
        b'{"value":' + b"[" * 100 + b"]" * 100 + b"}",
        "payload of family 'facts-anything': cannot be written as JSON: nested deeper than 64 levels",
    ),
    ("facts-note", "a", rb'{"text":"\ud800"}', "Invalid JSON: unexpected end of hex escape at line 1 column 16"),
    ("facts-moody", "a", b'{"n":1}', "KeyError: 'n'"),
    ("facts-moody", "a", b'{"n":2}', "n: Value error, odd"),
    ("facts-moody", "a", b'{"n":3}', r"ZeroDivisionError: by\nzero"),
    (
        "facts-note",
        "",
        b'{"text":"a"}',
        "id '' of family 'facts-note' is empty. Give a printable text of 1 to 512 bytes",
    ),
    (
        "facts-note",
        " ",
        b'{"text":"a"}',
        "id ' ' of family 'facts-note' is blank. Give a printable text of 1 to 512 bytes",
    ),
    (
        "facts-note",
        7,
        b'{"text":"a"}',
        "id 7 of family 'facts-note' is a int, not a text. Give a printable text of 1 to 512 bytes",
    ),
]


@pytest.mark.parametrize(("family", "id", "raw", "reason"), FAULTS, ids=[str(place) for place in range(len(FAULTS))])
def test_what_cannot_be_a_fact_says_why(family: Any, id: Any, raw: bytes, reason: str) -> None:
    context = Context()
    fact = context.admit(family, id, raw)

    assert (reason, raw) == (fact.payload.reason, fact.payload.raw)
    assert ([fact], "malformed") == (list(context), fact.family)


def test_a_malformed_fact_is_named_by_family_and_id() -> None:
    context = Context()
    named = context.admit("facts-note", "t2", b'{"text": 3')
    unnamed = context.admit("facts-note", None, b"{")
    escaped = context.admit("facts-note", "a\nb", b"{")
    long = context.admit("facts-note", "x" * 600, b"{")

    assert "malformed:facts-note:t2" == named.ref
    assert f"facts-note:{content_id(digest_of(b'{'))}" == unnamed.id
    assert r"facts-note:a\nb" == escaped.id
    assert long.id.startswith("facts-note:xxxx")
    assert ("x" * 600, 64 + 1 + 24) == (long.payload.id, len(long.id))


def test_malformed_inputs_without_an_id_do_not_stand_in_each_others_way() -> None:
    context = Context()
    for raw in (b"1", b"2", b"1"):
        context.admit("facts-note", None, raw)

    assert [b"1", b"2"] == [fact.payload.raw for fact in context["diagnostics"]]


def test_two_malformed_inputs_of_one_id_are_contested_and_both_are_kept() -> None:
    context = Context()
    context.admit("facts-note", "a", b"1")
    context.admit("facts-note", "a", b"2")

    assert ["malformed", "contested"] == [fact.family for fact in context]
    assert [b"1", b"2"] == kept(context)


def test_an_input_that_its_family_does_not_tolerate_is_malformed() -> None:
    """`on_conflict="stop"` raises for `add`, which is code; what comes from outside never raises."""
    context = Context()
    stands = context.admit("facts-rule", "n", b'{"text":"a"}')
    refused = context.admit("facts-rule", "n", b'{"text":"b"}')

    assert Rule(text="a") == stands.payload == context.of(Rule)["n"].payload
    assert b'{"text":"b"}' == refused.payload.raw
    assert refused.payload.reason.startswith("facts-rule:n is already known (said by 'input') with other content")


def test_inputs_of_a_family_with_a_join_are_joined() -> None:
    context = Context()
    context.admit("facts-tags", "t", b'{"names":["a"]}')
    fact: Fact[Any] = context.admit("facts-tags", "t", b'{"names":["b"]}')

    assert Tags(names=frozenset({"a", "b"})) == fact.payload


def test_a_large_input_is_kept_whole() -> None:
    raw = b'{"text":"' + b"x" * 2_000_000
    fact = Context().admit("facts-note", "a", raw)

    assert raw == fact.payload.raw
    assert "takes 2,000,009 bytes, over the limit of 1,048,576 for 'facts-note'" == fact.payload.reason
