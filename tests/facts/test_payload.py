"""Holds payload classes to what design section 2 says: address, versions, one text, and what they refuse."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from quiesce.facts import Context, FactError, InvalidPayload, Opaque, Payload, PayloadDefinitionError, UnknownFamily
from quiesce.facts.canonical import MAX_DIGITS, _encode, _has_long_number, decode, digest_of, encode
from quiesce.facts.family import MAX_PAYLOAD_BYTES, family_of, find_family
from support.payloads import Anything, Box, Colour, Count, Level, Note, Point, Rich, Tags

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def text_of(payload: Payload) -> bytes:
    return encode(payload, family_of(type(payload)))


def read_back(payload: Payload) -> Payload | Opaque:
    family = family_of(type(payload))
    return decode(family.name, family.key, family.version, text_of(payload))


# --- the address ------------------------------------------------------------------------------------------------------


class FactsKebabCase(Payload, key="seeds"):
    pass


class FactsHTTPReply2(Payload, key="seeds"):
    pass


class Facts_Under_Score(Payload, key="seeds"):
    pass


@pytest.mark.parametrize(
    ("cls", "family"),
    [
        (FactsKebabCase, "facts-kebab-case"),
        (FactsHTTPReply2, "facts-http-reply2"),
        (Facts_Under_Score, "facts-under-score"),
        (Note, "facts-note"),
    ],
)
def test_a_family_is_the_kebab_cased_class_name_unless_it_is_given(cls: type[Payload], family: str) -> None:
    assert (family, 1) == (family_of(cls).name, family_of(cls).version)


class FactsBase(Payload):
    text: str


class FactsKeyed(FactsBase, key="signals"):
    pass


class FactsKeyedTwice(FactsKeyed):
    pass


def test_a_class_without_a_key_is_a_base_for_others() -> None:
    """It has no family itself, its subclasses inherit its fields, and a key is inherited too."""
    with pytest.raises(PayloadDefinitionError) as caught:
        Context().add(FactsBase(text="a"))

    assert 'payload class FactsBase: it has no key. Add one: class …(Payload, key="seeds")' == str(caught.value)
    assert ("signals", "signals") == (family_of(FactsKeyed).key, family_of(FactsKeyedTwice).key)
    assert "facts-keyed-twice" == family_of(FactsKeyedTwice).name


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"key": ""}, "key '' is not a name (letters, digits, '_', '.', '-')"),
        ({"key": "a b"}, "key 'a b' is not a name (letters, digits, '_', '.', '-')"),
        ({"key": "a\n"}, "key 'a\\n' is not a name (letters, digits, '_', '.', '-')"),
        ({"key": 3}, "key 3 is not a name (letters, digits, '_', '.', '-')"),
        ({"family": "Big"}, "family 'Big' is not a lower-case name (letters, digits, '_', '.', '-')"),
        ({"family": "a:b"}, "family 'a:b' is not a lower-case name (letters, digits, '_', '.', '-')"),
        ({"family": ""}, "family '' is not a lower-case name (letters, digits, '_', '.', '-')"),
        ({"version": 0}, "version 0 is not a whole number from 1"),
        ({"version": "2"}, "version '2' is not a whole number from 1"),
        ({"version": True}, "version True is not a whole number from 1"),
        ({"on_conflict": "fight"}, 'on_conflict \'fight\' is not one of "contest", "stop", "confidence"'),
        ({"max_bytes": 0}, "max_bytes 0 is not a positive whole number"),
        ({"max_bytes": 1.5}, "max_bytes 1.5 is not a positive whole number"),
        ({"key": None, "family": "x"}, "family='x' without a key. Add one: key=\"seeds\""),
    ],
)
def test_a_class_with_a_bad_keyword_says_which(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(PayloadDefinitionError) as caught:
        type("FactsBadKeyword", (Payload,), {"__module__": __name__}, **({"key": "seeds"} | options))

    assert f"payload class FactsBadKeyword: {problem}" == str(caught.value)


def test_a_family_and_version_are_registered_once() -> None:
    with pytest.raises(PayloadDefinitionError) as caught:

        class Second(Payload, key="seeds", family="facts-note"):
            pass

    expected = (
        "family 'facts-note' version 1 is already that of support.payloads.Note. Give one of them family=… or version=…"
    )
    assert expected == caught.value.reason
    assert Note is find_family("facts-note").cls


def test_the_versions_of_a_family_share_a_key() -> None:
    with pytest.raises(PayloadDefinitionError) as caught:

        class Moved(Payload, key="signals", family="facts-note", version=2):
            pass

    assert "key 'signals' differs from that of version 1 of 'facts-note', 'seeds'" == caught.value.reason
    assert 1 == find_family("facts-note").version


def test_a_class_that_is_defined_again_replaces_itself() -> None:
    """A notebook cell is run twice."""

    def define() -> type[Payload]:
        class FactsCell(Payload, key="seeds"):
            pass

        return FactsCell

    first, second = define(), define()

    assert second is find_family("facts-cell").cls is not first


@pytest.mark.parametrize("version", [None, 7])
def test_an_unknown_family_says_what_to_import(version: int | None) -> None:
    with pytest.raises(UnknownFamily) as caught:
        find_family("facts-note" if version else "facts-nobody", version)

    wanted, known = ("facts-note@7", "facts-note@1") if version else ("facts-nobody", ", ".join(caught.value.known))
    expected = f"family {wanted!r} is not registered; known: {known}. Import the module that defines its payload class"
    assert expected == str(caught.value)


# --- versions ---------------------------------------------------------------------------------------------------------


class PlanNow(Payload, key="strategies", family="facts-plan", version=4):
    queue: str
    urgent: bool
    owner: str


@PlanNow.upcast(from_version=1)
def _from_1(data: dict[str, Any]) -> dict[str, Any]:
    return {"queue": data["q"]}


@PlanNow.upcast(from_version=2)
def _from_2(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"urgent": False}


@PlanNow.upcast(from_version=3)
def _from_3(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"owner": "nobody"}


@pytest.mark.parametrize(
    ("version", "raw"),
    [
        (1, b'{"q":"billing"}'),
        (2, b'{"queue":"billing"}'),
        (3, b'{"queue":"billing","urgent":false}'),
        (4, b'{"queue":"billing","urgent":false,"owner":"nobody"}'),
    ],
)
def test_an_older_version_is_read_through_its_upcasters(version: int, raw: bytes) -> None:
    found = decode("facts-plan", "strategies", version, raw)

    assert PlanNow(queue="billing", urgent=False, owner="nobody") == found


class GapNow(Payload, key="strategies", family="facts-gap", version=3):
    queue: str


@GapNow.upcast(from_version=2)
def _gap_from_2(data: dict[str, Any]) -> dict[str, Any]:
    return {"queue": data["name"]["queue"]}


@pytest.mark.parametrize("version", [1, 9])
def test_a_version_that_nothing_reads_is_kept_as_it_is(version: int) -> None:
    """Neither a newer version nor one without an upcaster is guessed at."""
    found = decode("facts-gap", "strategies", version, b'{"name":"x"}')

    assert Opaque(family="facts-gap", key="strategies", version=version, raw=b'{"name":"x"}') == found


@pytest.mark.parametrize("raw", [b'{"name":3}', b"[]", b"{}", b"not json", b"[" * 10_000, b'{"name":{"queue":3}}'])
def test_an_upcaster_that_fails_is_an_invalid_payload(raw: bytes) -> None:
    """Whatever it raises: a log that was damaged must not raise what nobody expects."""
    with pytest.raises(InvalidPayload, match=r"^payload of family 'facts-gap': version 2 cannot be read: "):
        decode("facts-gap", "strategies", 2, raw)


@pytest.mark.parametrize("version", [0, 3, 4])
def test_an_upcaster_starts_below_the_present_version(version: int) -> None:
    with pytest.raises(PayloadDefinitionError) as caught:
        GapNow.upcast(from_version=version)

    expected = f"payload class GapNow: upcast(from_version={version}) is not below its version, 3"
    assert expected == str(caught.value)


class TwinOne(Payload, key="strategies", family="facts-twin", version=1):
    q: str


class TwinTwo(Payload, key="strategies", family="facts-twin", version=2):
    queue: str


def test_two_versions_can_live_side_by_side() -> None:
    """Each reads its own; the family's name alone means the newest."""
    old, new = (
        decode("facts-twin", "strategies", 1, b'{"q":"a"}'),
        decode("facts-twin", "strategies", 2, b'{"queue":"a"}'),
    )

    assert (TwinOne(q="a"), TwinTwo(queue="a"), TwinTwo) == (old, new, find_family("facts-twin").cls)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Note(text="a", colour="red")  # type: ignore[call-arg]  # that is the point


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("how", ["field", "constructed", "copied", "any", "nested", "tuple", "set", "key"])
def test_what_is_not_finite_never_becomes_a_fact(value: float, how: str) -> None:
    context = Context()
    make: dict[str, Callable[[], Payload]] = {
        "field": lambda: Level(value=value),
        "constructed": lambda: Level.model_construct(value=value),
        "copied": lambda: Level(value=1).model_copy(update={"value": value}),
        "any": lambda: Anything(value=value),
        "nested": lambda: Anything(value={"a": [{"b": [value]}]}),
        "tuple": lambda: Anything(value=(1, (value,))),
        "set": lambda: Anything(value={value}),
        "key": lambda: Anything(value={value: 1}),
    }
    with pytest.raises((InvalidPayload, ValidationError)) as caught:
        context.add(make[how]())

    assert 0 == len(context)
    assert any(word in str(caught.value) for word in ("finite", "NaN", "Infinity", "Out of range"))


def test_the_word_nan_in_a_text_is_only_a_word() -> None:
    fact = Context().add(Note(text="NaN, -Infinity"))

    assert "NaN, -Infinity" == fact.payload.text


@pytest.mark.parametrize("sign", [1, -1])
def test_a_huge_integer_is_refused_and_one_that_can_be_read_back_is_not(sign: int) -> None:
    """Python reads 4,300 digits; a fact with more could be written, and never be read again."""
    longest = sign * (10**MAX_DIGITS - 1)
    with pytest.raises(InvalidPayload) as caught:
        Context().add(Count(n=sign * 10**5000))

    assert Count(n=longest) == read_back(Count(n=longest))
    assert "holds an integer of more than 4,300 digits, too many to be read back" == caught.value.reason
    with pytest.raises(InvalidPayload, match="Exceeds the limit"):
        Context().add(Anything(value=[sign * 10**5000]))


def test_many_digits_in_a_text_are_no_integer() -> None:
    note = Note(text="1" * 10_000)

    assert note == read_back(note)


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize("depth", [64, 200, 10_000])
def test_deep_nesting_is_refused_before_any_recursion_limit(depth: int) -> None:
    with pytest.raises(InvalidPayload) as caught:
        Context().add(Anything(value=nested(depth)))

    assert "cannot be written as JSON: nested deeper than 64 levels" == caught.value.reason


def test_what_is_taken_over_from_fact_to_fact_cannot_grow_too_deep_either() -> None:
    """Each fact wraps what the one before held, which is frozen already; none is written that cannot be read."""
    context = Context()

    def wrap(held: Any = 1) -> None:
        for _ in range(100):
            held = context.add(Anything(value=[held])).payload.value

    with pytest.raises(InvalidPayload, match="nested deeper than 64 levels"):
        wrap()

    assert 50 < len(context)
    assert all(fact.payload == read_back(fact.payload) for fact in context)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
@pytest.mark.parametrize(
    "make", [lambda text: Note.model_construct(text=text), lambda text: Anything(value={text: [text]})]
)
def test_a_lone_surrogate_is_refused(make: Any, text: str) -> None:
    with pytest.raises(InvalidPayload, match="surrogates not allowed"):
        Context().add(make(text))


class FactsSmall(Payload, key="seeds", max_bytes=20):
    text: str


def test_a_payload_over_its_limit_says_how_large_it_is() -> None:
    with pytest.raises(InvalidPayload) as caught:
        Context().add(FactsSmall(text="é" * 8))

    expected = (
        "payload of family 'facts-small': takes 27 bytes, over its limit of 20. "
        "Keep large content elsewhere and its address here, or raise max_bytes=… on the class"
    )
    assert expected == str(caught.value)
    assert b'{"text":"123456789"}' == text_of(FactsSmall(text="123456789"))


def test_the_limit_is_one_mebibyte_unless_the_class_says_otherwise() -> None:
    frame = len(text_of(Note(text="")))
    fits = Note(text="x" * (MAX_PAYLOAD_BYTES - frame))
    with pytest.raises(InvalidPayload, match=r"takes 1,048,577 bytes, over its limit of 1,048,576"):
        Context().add(Note(text=fits.text + "x"))

    assert 1024 * 1024 == len(text_of(fits))


@pytest.mark.parametrize("value", [{1: "a", "1": "b"}, {True: 1, "true": 2}, {"a": {None: 1, "None": 2}}])
def test_a_dict_whose_keys_are_the_same_in_json_is_refused(value: Any) -> None:
    """One of them would be lost."""
    with pytest.raises(InvalidPayload, match="two keys of a dict are the same in JSON"):
        Context().add(Anything(value=value))


@pytest.mark.parametrize("payload", [object(), "text", None, Note, Point(x=1, y=2), {"text": "a"}])
def test_only_a_payload_can_be_added(payload: Any) -> None:
    with pytest.raises(FactError, match=r"^context.add takes a Payload, not .*\. For raw JSON use context.admit$"):
        Context().add(payload)


class Loose(BaseModel):
    x: int


@dataclass
class LooseData:
    x: int


def test_a_class_that_holds_what_can_be_changed_is_refused() -> None:
    """Wherever it stands in the annotation."""
    for held, advice in ((Loose, "class Loose(BaseModel, frozen=True)"), (LooseData, "@dataclass(frozen=True)")):
        for annotation in (held, list[held], dict[str, tuple[held, ...]], held | None):  # type: ignore[valid-type]  # made at run time
            with pytest.raises(PayloadDefinitionError) as caught:
                type(
                    "FactsHolds",
                    (Payload,),
                    {"__annotations__": {"it": annotation}, "__module__": __name__},
                    key="seeds",
                )

            expected = (
                f"payload class FactsHolds: it holds a {held.__name__}, whose fields can be changed. Write: {advice}"
            )
            assert expected == str(caught.value)


# --- one text ---------------------------------------------------------------------------------------------------------


@given(value=JSON)
def test_what_is_written_reads_back_equal(value: Any) -> None:
    assert Anything(value=value) == read_back(Anything(value=value))


@given(items=st.lists(st.tuples(st.text(), JSON), max_size=6, unique_by=lambda item: item[0]), order=st.randoms())
def test_equal_payloads_have_equal_digests_whatever_the_order_of_their_dicts(items: list[Any], order: Any) -> None:
    shuffled = list(items)
    order.shuffle(shuffled)
    one, two = (Anything(value={"inner": dict(pairs)}) for pairs in (items, shuffled))

    assert text_of(one) == text_of(two)


@given(names=st.lists(st.text(), max_size=8), order=st.randoms())
def test_equal_payloads_have_equal_digests_whatever_the_order_of_their_sets(names: list[str], order: Any) -> None:
    shuffled = list(names)
    order.shuffle(shuffled)
    pairs = [(Tags(names=frozenset(texts)), Anything(value=set(texts))) for texts in (names, shuffled)]

    assert [text_of(payload) for payload in pairs[0]] == [text_of(payload) for payload in pairs[1]]


PROGRAM = """
from typing import Any
from quiesce.facts import Context, Payload
class Hashed(Payload, key="seeds"):
    names: frozenset[str]
    loose: Any
context = Context()
words = [f"w{n}" for n in range(50)]
print(context.add(Hashed(names=frozenset(words), loose={"s": set(words), "d": {w: {w} for w in set(words)}})).digest)
"""


@pytest.mark.slow
def test_the_digest_is_the_same_in_every_process() -> None:
    """Also where Python hashes texts differently."""
    runs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1", "4242")
    ]

    assert [runs[0]] * 3 == runs
    assert 65 == len(runs[0])


def test_the_text_is_compact_json_in_the_order_of_the_fields() -> None:
    box = Box(items=[2, 1], names={"b": [1], "a": []}, seen={3, 1})

    assert b'{"items":[2,1],"names":{"a":[],"b":[1]},"seen":[1,3]}' == text_of(box)
    assert '{"text":"é\\n\u2028"}'.encode() == text_of(Note(text="é\n\u2028"))


RICH = Rich(
    raw=b"\x00\xff\n",
    price=Decimal("1.50"),
    at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    on=date(2026, 1, 2),
    lasts=timedelta(days=1, microseconds=1),
    colour=Colour.BLUE,
    kind="b",
    point=Point(x=1, y=0.1),
    points=(Point(x=2, y=1e300), Point(x=3, y=-0.0)),
    pair=(1, "a"),
    maybe=None,
    which="1",
    uuid=UUID(int=5),
    names=frozenset({"b", "a"}),
    by_day={date(2026, 1, 2): Colour.RED},
    path=Path("/a/b"),
)


def test_fields_of_every_kind_read_back_as_they_were() -> None:
    found = read_back(RICH)

    assert RICH == found
    assert text_of(RICH) == text_of(found)
    assert json.loads(text_of(RICH))["price"] == "1.50"


def test_the_digest_is_the_sha_256_of_the_text() -> None:
    fact = Context().add(Note(text="a"))

    assert digest_of(b'{"text":"a"}').hex() == fact.digest
    assert fact.digest[:24] == fact.id


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([1, 7, MAX_DIGITS - 1, MAX_DIGITS, MAX_DIGITS + 1])), max_size=8
    )
)
def test_a_row_of_digits_that_is_too_long_is_found_wherever_it_stands(rows: list[tuple[int, int]]) -> None:
    """As by measuring every row."""
    raw = b"".join(b"x" * between + b"7" * digits for between, digits in rows)

    assert any(len(row) > MAX_DIGITS for row in re.findall(rb"[0-9]+", raw)) == _has_long_number(raw)


class PlainFields(Payload, key="signals", family="payload-plain-fields"):
    number: int
    text: str = "a"
    share: float = 0.5
    said: bool = False


@given(
    number=st.integers() | st.booleans() | st.floats() | st.text(),
    text=st.text(max_size=2_000) | st.sampled_from(["NaN", "\ud800", "Infinity"]) | st.integers() | st.none(),
    share=st.floats() | st.integers() | st.sampled_from([10**400, -0.0]),
    given_=st.sets(st.sampled_from(["number", "text", "share", "said"])),
)
def test_the_short_way_to_write_plain_fields_writes_what_the_strict_way_does(
    number: Any, text: Any, share: Any, given_: set[str]
) -> None:
    """Bytes and refusals are the same, whatever somebody put into a payload behind pydantic's back."""
    payloads = [
        PlainFields.model_construct(given_, number=number, text=text, share=share, said=False) for _ in range(2)
    ]
    family = family_of(PlainFields)
    told = []
    for write, payload in zip((encode, _encode), payloads, strict=True):
        try:
            told.append(str(write(payload, family)))
        except InvalidPayload as error:
            told.append(str(error))

    assert told[0] == told[1]


def test_only_plain_fields_go_the_short_way() -> None:
    assert [int, str, float, bool] == family_of(PlainFields).plain
    assert family_of(Anything).plain is None
