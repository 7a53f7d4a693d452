"""Shows that what is kept of an observation, its packed form and the ids of windows lose nothing that counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.facts.fact import check_id
from quiesce.suggestors.drift.seen import MAX_TOKENS, first_end, pack, unpack, window_id
from quiesce.suggestors.drift.stops import EXPECTED, VENDORS, normalise_stop_reason

seen = st.lists(st.tuples(st.one_of(st.integers(0, 300), st.integers(0, MAX_TOKENS)), st.integers(0, 63)), max_size=50)
names = st.one_of(
    st.text(min_size=1, max_size=200), st.sampled_from(["a", "a/b", "a//stream", "a/stream", "a%2Fb", "%~"])
)


@given(seen=seen)
def test_packed_observations_are_read_back(seen: list[tuple[int, int]]) -> None:
    packed = b"".join(map(pack, seen))

    assert seen == unpack(packed)
    if seen:
        assert seen[1:] == unpack(packed[first_end(packed) :])


@pytest.mark.parametrize("raw", [b"\x01", b"\x01\x80", b"\x00" + b"\xff" * 12])
def test_garbled_bytes_are_told(raw: bytes) -> None:
    with pytest.raises(ValueError, match="cut short or garbled"):
        unpack(raw)


@given(
    one=st.tuples(names, st.text(max_size=60), st.booleans()),
    other=st.tuples(names, st.text(max_size=60), st.booleans()),
)
def test_two_windows_never_share_an_id_and_every_id_is_valid(
    one: tuple[str, str, bool], other: tuple[str, str, bool]
) -> None:
    """Whatever they are called: slashes, blanks, control characters, 200 letters that take four bytes."""
    ids = window_id(*one), window_id(*other)

    assert (one == other) == (ids[0] == ids[1])
    for id in ids:
        check_id("known-window", id)
        check_id("drift-verdict", f"drift/{id}#1000000000")


def test_long_names_are_cut_and_still_told_apart() -> None:
    ids = {window_id("ä" * 199 + last, "ü" * 5000 + last) for last in "abc"}

    assert 3 == len(ids)
    assert all(len(id) < 320 for id in ids)


@pytest.mark.parametrize(
    ("said", "meaning"), [(said, meaning) for table in VENDORS.values() for said, meaning in table.items()]
)
def test_what_vendors_say_for_the_same_is_the_same(said: str, meaning: str) -> None:
    """In whatever case, and with the name of the enumeration before it."""
    assert [meaning] * 3 == [normalise_stop_reason(one) for one in (said, said.upper(), f"FinishReason.{said}")]
    assert meaning in EXPECTED


@pytest.mark.parametrize(
    "said", [None, "", "refusal", "content_filter", "SAFETY", "ERROR", "load", "guardrail_intervened"]
)
def test_everything_else_stays_odd(said: str | None) -> None:
    assert "odd" == normalise_stop_reason(said)
