"""Holds the ids of posteriors to their promise: no two names share one, and every name has one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.facts.fact import check_id
from quiesce.suggestors.routing.names import has_tag, posterior_id, probe_id

NAMES = st.text(st.characters(), min_size=1, max_size=200) | st.text("a/% \n", min_size=1, max_size=4)
PAIRS = st.tuples(NAMES, st.none() | NAMES)


@given(one=PAIRS, other=PAIRS)
def test_two_pairs_of_a_provider_and_a_tag_share_no_id(
    one: tuple[str, str | None], other: tuple[str, str | None]
) -> None:
    assert (one == other) == (posterior_id(*one) == posterior_id(*other))


@given(pair=PAIRS)
def test_every_name_has_an_id_that_a_fact_can_have(pair: tuple[str, str | None]) -> None:
    """Control characters, lone surrogates, blanks and names of 800 bytes among them."""
    id = posterior_id(*pair)
    check_id("posterior", id)

    assert (pair[1] is not None) == has_tag(id)


@given(request=st.text(min_size=1, max_size=512), provider=NAMES)
def test_a_turn_has_an_id_too(request: str, provider: str) -> None:
    check_id("probe-turn", probe_id(request, provider, "trial"))


@pytest.mark.parametrize(
    ("provider", "tag", "id"),
    [
        ("gpt-5", None, "gpt-5"),
        ("gpt-5", "billing", "gpt-5/billing"),
        ("a/b", None, "a%2Fb"),
        ("a", "b/c", "a/b%2Fc"),
        ("a%2Fb", None, "a%252Fb"),
        ("größe ü", None, "größe ü"),
        (" ", None, "%20"),
        ("a\nb", None, "a%0Ab"),
    ],
)
def test_usual_names_are_their_own_ids(provider: str, tag: str | None, id: str) -> None:
    assert id == posterior_id(provider, tag)


def test_a_name_that_is_too_long_is_named_by_its_digest() -> None:
    long = "語" * 200

    assert posterior_id(long).startswith("%%")
    assert 66 == len(posterior_id(long))
    assert posterior_id(long) != posterior_id(long[1:])
