"""Shows that whoever was not chosen is told why: what it misses, or who was preferred."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.suggestors.selection.assign import assign
from quiesce.suggestors.selection.errors import UnknownBackend
from quiesce.suggestors.selection.payloads import COST_CLASSES, Backend, BackendRequirements, ProviderRequest
from quiesce.suggestors.selection.policy import Policy
from quiesce.suggestors.selection.why_not import why_not

NAMES = ("code", "vision", "reasoning")


def backend(name: str, *capabilities: str, **said: Any) -> Backend:
    return Backend(**{"name": name, "kind": "llm", "capabilities": frozenset(capabilities), **said})


def asks(*capabilities: str, **needs: Any) -> ProviderRequest:
    requirements = BackendRequirements(**needs) if needs else None
    return ProviderRequest(required_capabilities=capabilities, backend_requirements=requirements)


@st.composite
def pools(draw: st.DrawFn) -> list[Backend]:
    return [
        backend(name, *draw(st.sets(st.sampled_from(NAMES))), cost_class=draw(st.sampled_from(COST_CLASSES)))
        for name in draw(st.lists(st.sampled_from("abcdef"), max_size=5, unique=True))
    ]


@pytest.mark.slow
@given(
    wanted=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4),
    cost=st.sampled_from([None, *COST_CLASSES]),
    pool=pools(),
    policy=st.sampled_from([None, Policy(), Policy(cost=0)]),
    out=st.dictionaries(st.sampled_from("abcdef"), st.just("drift"), max_size=2),
)
def test_a_backend_is_told_why_not_exactly_if_it_was_not_chosen(
    wanted: list[str], cost: str | None, pool: list[Backend], policy: Policy | None, out: dict[str, str]
) -> None:
    request = asks(*wanted) if cost is None else asks(*wanted, max_cost_class=cost)
    chosen = {name for _, name in assign("r", request, pool, policy, out=out).assignments}
    for one in pool:
        assert (one.name in chosen) == (why_not(request, one, pool, policy, out=out) == ())


def test_the_cheaper_one_that_won_is_named_with_the_figures() -> None:
    pool = [backend("dear", "code", cost_class="high", latency_ms=100), backend("cheap", "code", cost_class="low")]
    told = why_not(asks("code", "vision"), "dear", pool, Policy(latency=1, mean=0))

    figures = "0.4 against 0.9: cost 0.4 against 0.8, latency 0 against 0.1"

    assert ("lacks vision", f"code went to cheap: it costs less under the policy ({figures})") == told


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (None, "it comes first in the pool"),
        (Policy(), "it comes first in the pool, and costs the same under the policy"),
    ],
)
def test_the_one_that_comes_first_is_named(policy: Policy | None, why: str) -> None:
    pool = [backend("a", "code"), backend("b", "code")]

    assert (f"code went to a: {why}",) == why_not(asks("code"), "b", pool, policy)
    assert (f"all of it went to a: {why}",) == why_not(asks("code", kind="llm"), pool[1], pool, policy)


def test_each_requirement_that_it_misses_is_named() -> None:
    pool = [backend("a", "code", cost_class="high", region="us"), backend("b", "code", "vision", region="eu")]
    request = asks("code", "vision", max_cost_class="medium", region="eu")

    assert ("lacks vision", "costs high, at most medium is asked", "is in region 'us', not 'eu'") == why_not(
        request, "a", pool
    )
    assert () == why_not(request, "b", pool)


def test_one_that_is_out_is_told_that_first() -> None:
    pool = [backend("a", "code")]

    assert ("is out (drift)", "lacks vision") == why_not(asks("vision"), "a", pool, out={"a": "drift"})


def test_one_that_is_not_in_the_pool_is_refused() -> None:
    with pytest.raises(UnknownBackend, match=r"backend 'x' is not in the pool: it has a and b\. Add it") as caught:
        why_not(asks("code"), "x", [backend("b"), backend("a")])

    assert ("x", ("a", "b")) == (caught.value.backend, caught.value.known)
