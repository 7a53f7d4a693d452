"""Shows who is assigned to what a request needs, and why what stays open stays open."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from quiesce.suggestors.selection.assign import assign
from quiesce.suggestors.selection.errors import NotForSelection
from quiesce.suggestors.selection.payloads import (
    COST_CLASSES,
    Backend,
    BackendRequirements,
    ProviderAssignment,
    ProviderRequest,
)
from quiesce.suggestors.selection.policy import Policy

NAMES = ("code", "vision", "reasoning", "search")


def backend(name: str, *capabilities: str, **said: Any) -> Backend:
    return Backend(**{"name": name, "kind": "llm", "capabilities": frozenset(capabilities), **said})


def asks(*capabilities: str, **needs: Any) -> ProviderRequest:
    requirements = BackendRequirements(**needs) if needs else None
    return ProviderRequest(required_capabilities=capabilities, backend_requirements=requirements)


@st.composite
def pools(draw: st.DrawFn, most: int = 5) -> list[Backend]:
    """Backends of different names; some have room for several slots."""
    count = draw(st.integers(0, most))
    return [
        backend(
            f"b{number}", *draw(st.sets(st.sampled_from(NAMES))), slots=draw(st.sampled_from([1, 1, 2, 1_000_000])),
            cost_class=draw(st.sampled_from(COST_CLASSES)), latency_ms=draw(st.sampled_from([0, 250, 900])),
            quality=draw(st.sampled_from([0.0, 0.5, 1.0])),
        )
        for number in range(count)
    ]  # fmt: skip


requests = st.lists(st.sampled_from(NAMES), max_size=5).map(lambda names: asks(*names))
policies = st.builds(
    Policy,
    cost=st.sampled_from([0, 1, 3]),
    latency=st.sampled_from([0, 1]),
    quality=st.sampled_from([0, 2]),
    mean=st.sampled_from([0, 1]),
    means=st.dictionaries(st.sampled_from(["b0", "b1", "b2"]), st.sampled_from([0, 0.25, 1]), max_size=3),
    loads=st.dictionaries(st.sampled_from(["b0", "b1", "b3"]), st.sampled_from([0.5, 2]), max_size=3),
)


# --- 1: one backend for each slot ---------------------------------------------------------------------------------


@pytest.mark.slow
@given(request=requests, pool=pools(), policy=st.none() | policies)
def test_an_assignment_is_as_its_fields_say(
    request: ProviderRequest, pool: list[Backend], policy: Policy | None
) -> None:
    """No double booking, everybody can do what they are assigned, and what is not assigned is unmatched, in order."""
    found = assign("r", request, pool, policy)
    known = {one.name: one for one in pool}
    booked = Counter(name for _, name in found.assignments)
    wanted = request.required_capabilities

    assert all(capability in known[name].capabilities for capability, name in found.assignments)
    assert all(times <= known[name].slots for name, times in booked.items())
    assert Counter(wanted) == Counter([one for one, _ in found.assignments]) + Counter(found.unmatched)
    assert found.coverage_ratio == (len(found.assignments) / len(wanted) if wanted else 1.0)
    assert bool(found.reason) == bool(found.unmatched)
    assert is_merged(list(wanted), [one for one, _ in found.assignments], list(found.unmatched))


def is_merged(whole: list[str], one: list[str], other: list[str]) -> bool:
    """Tells whether a list is two others, each in its order."""
    if not whole:
        return not one and not other
    return (one[:1] == whole[:1] and is_merged(whole[1:], one[1:], other)) or (
        other[:1] == whole[:1] and is_merged(whole[1:], one, other[1:])
    )


@pytest.mark.slow
@given(request=requests, pool=pools(), data=st.data())
def test_the_size_and_the_explanation_do_not_depend_on_the_order_of_the_pool(
    request: ProviderRequest, pool: list[Backend], data: st.DataObject
) -> None:
    turned = data.draw(st.permutations(pool))
    one, other = assign("r", request, pool), assign("r", request, turned)

    assert (one.coverage_ratio, one.unmatched, one.reason) == (other.coverage_ratio, other.unmatched, other.reason)


@pytest.mark.slow
@given(request=requests, pool=pools(), policy=st.none() | policies)
def test_the_same_input_gives_the_same_answer(
    request: ProviderRequest, pool: list[Backend], policy: Policy | None
) -> None:
    again = [Backend.model_validate_json(one.model_dump_json()) for one in pool]  # sets in another order

    assert assign("r", request, pool, policy) == assign("other", request, again, policy)


def test_slots_move_so_that_all_are_filled() -> None:
    pool = [backend("anthropic", "code", "reasoning"), backend("mini", "code")]
    found = assign("r", asks("code", "reasoning"), pool)

    assert (("code", "mini"), ("reasoning", "anthropic")) == found.assignments
    assert (1.0, (), "") == (found.coverage_ratio, found.unmatched, found.reason)


def test_a_capability_that_is_named_twice_asks_for_two_backends() -> None:
    found = assign("r", asks("reasoning", "reasoning"), [backend("a", "reasoning"), backend("b", "reasoning")])

    assert (("reasoning", "a"), ("reasoning", "b")) == found.assignments


def test_a_backend_with_slots_fills_as_many_and_no_more() -> None:
    found = assign("r", asks(*["code"] * 4), [backend("a", "code", slots=3)])

    assert 3 == len(found.assignments)
    assert "code ×4 needs 4 slots of backends, only a (3 slots) has it" == found.reason


def test_a_million_slots_are_a_number() -> None:
    found = assign("r", asks(*["code", "vision"] * 500), [backend("a", "code", "vision", slots=1_000_000)])

    assert 1.0 == found.coverage_ratio


def test_earlier_slots_go_before_later_ones() -> None:
    """When not all can be filled; whatever the order of the pool."""
    pool = [backend("a", "code", "vision"), backend("b", "vision")]
    for order in itertools.permutations(pool):
        assert ("reasoning", "vision") == assign("r", asks("reasoning", "code", "vision", "vision"), order).unmatched


def test_without_a_policy_the_first_of_the_pool_are_preferred() -> None:
    pool = [backend("a", "code", "vision"), backend("b", "code"), backend("c", "vision")]

    assert {"a", "b"} == {name for _, name in assign("r", asks("code", "vision"), pool).assignments}


@pytest.mark.parametrize("pool", [[], [backend("a", "code")]])
def test_an_empty_request_is_covered(pool: list[Backend]) -> None:
    assert ProviderAssignment(assignments=(), unmatched=(), coverage_ratio=1.0) == assign("r", asks(), pool)


def test_an_empty_pool_covers_nothing() -> None:
    found = assign("r", asks("code"), [])

    assert (0.0, ("code",), "no backend is known") == (found.coverage_ratio, found.unmatched, found.reason)


# --- 2: one backend for all of it ---------------------------------------------------------------------------------


def test_with_requirements_one_backend_does_all_of_it() -> None:
    """Even where it has one slot: an envelope is one piece of work."""
    pool = [backend("a", "code"), backend("b", "code", "vision"), backend("c", "code", "vision")]
    found = assign("r", asks("code", "vision", kind="llm"), pool)

    assert (("code", "b"), ("vision", "b")) == found.assignments
    assert 1.0 == found.coverage_ratio


def test_with_requirements_there_is_no_half_of_it() -> None:
    pool = [backend("a", "code", latency_ms=10), backend("b", "vision"), backend("c", "code", "vision", latency_ms=90)]
    found = assign("r", asks("code", "vision", max_latency_ms=50), pool)

    assert ((), ("code", "vision"), 0.0) == (found.assignments, found.unmatched, found.coverage_ratio)
    assert (
        "no backend has code and vision and meets every requirement: a lacks vision; b lacks code; "
        "c takes 90 ms, at most 50 is asked" == found.reason
    )


def test_with_requirements_the_policy_chooses_and_then_the_place_in_the_pool() -> None:
    pool = [backend("a", "code", cost_class="high"), backend("b", "code", cost_class="low"), backend("c", "code")]
    request = asks("code", kind="llm")

    assert "a" == assign("r", request, pool).assignments[0][1]
    assert "b" == assign("r", request, pool, Policy()).assignments[0][1]
    assert "c" == assign("r", request, pool[::-1], Policy(cost=0)).assignments[0][1]


def test_the_capabilities_of_requirements_are_what_is_assigned() -> None:
    """B 18: they go before those of the request."""
    found = assign("r", asks("vision", required_capabilities=("code",)), [backend("a", "code")])

    assert (("code", "a"),) == found.assignments


@pytest.mark.parametrize("pool", [[], [backend("a", "code", kind="search")]])
def test_a_kind_that_nobody_is_of_is_not_covered_though_it_names_no_capability(pool: list[Backend]) -> None:
    """B 9, J 38: it used to be covered in full by nobody. What asks for nothing at all is covered."""
    found = assign("r", asks(kind="llm"), pool)
    nothing = assign("r", ProviderRequest(backend_requirements=BackendRequirements()), pool)

    assert (0.0, (), ()) == (found.coverage_ratio, found.assignments, found.unmatched)
    assert found.reason in ("no backend is known", _OTHER_KIND)
    assert (1.0, "") == (nothing.coverage_ratio, nothing.reason)


_OTHER_KIND = "no backend meets every requirement: a is of kind 'search', not 'llm'"


def test_a_requirement_without_capabilities_is_covered_by_who_meets_it() -> None:
    assert 1.0 == assign("r", asks(kind="llm"), [backend("a")]).coverage_ratio


@given(names=st.permutations("abcde"))
def test_the_nearest_are_told_of_whatever_the_order(names: list[str]) -> None:
    misses: dict[str, dict[str, Any]] = {
        "a": {"kind": "x"},
        "b": {"kind": "x", "latency_ms": 9},
        "c": {"region": "us"},
        "d": {},
        "e": {},
    }
    pool = [backend(name, **{"region": "eu", **misses[name]}) for name in names]
    found = assign("r", asks("code", kind="llm", max_latency_ms=5, region="eu"), pool)

    assert (
        "no backend has code and meets every requirement: d lacks code; e lacks code; "
        "a is of kind 'x', not 'llm' and lacks code; 2 more miss as much or more" == found.reason
    )


# --- 6: the cheapest of the largest ------------------------------------------------------------------------------


@pytest.mark.slow
@given(request=requests, pool=pools(4), policy=policies)
def test_among_the_largest_matchings_the_cheapest_is_taken(
    request: ProviderRequest, pool: list[Backend], policy: Policy
) -> None:
    """By brute force over every way to give each slot to somebody who can, or to nobody."""
    found = assign("r", request, pool, policy)
    price = {one.name: policy.score(one) for one in pool}
    ways = itertools.product(
        *([None, *(one for one in pool if wanted in one.capabilities)] for wanted in request.required_capabilities)
    )
    taken = [[one.name for one in way if one] for way in ways]
    priced = [
        (-len(names), sum(price[name] for name in names))
        for names in taken
        if all(names.count(one.name) <= one.slots for one in pool)
    ]
    cost = sum(price[name] for _, name in found.assignments)

    assert min(priced)[0] == -len(found.assignments)
    assert pytest.approx(min(priced)[1]) == cost


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [20, 120])
def test_it_is_as_cheap_as_scipys_assignment(seed: int, size: int) -> None:
    """`linear_sum_assignment` on the slot graph, with an open slot dearer than everything else together."""
    chance = random.Random(seed)
    pool = [
        backend(
            f"b{n}", *(f"c{one}" for one in chance.sample(range(size), 4)), cost_class=chance.choice(COST_CLASSES),
            slots=chance.choice([1, 1, 2]),
        )
        for n in range(size)
    ]  # fmt: skip
    policy = Policy(means={one.name: chance.random() for one in pool})
    request = asks(*(f"c{n}" for n in range(size)))
    found = assign("r", request, pool, policy)
    price = {one.name: policy.score(one) for one in pool}

    places = [one for one in pool for _ in range(one.slots)]
    table = numpy.full((size, len(places) + size), 1e4)
    for at, wanted in enumerate(request.required_capabilities):
        for place, one in enumerate(places):
            table[at, place] = price[one.name] if wanted in one.capabilities else 1e9
    rows, columns = linear_sum_assignment(table)
    best = table[rows, columns]

    assert int((best < 1e4).sum()) == len(found.assignments)
    assert pytest.approx(float(best[best < 1e4].sum())) == sum(price[name] for _, name in found.assignments)


def test_number_goes_before_price() -> None:
    """However dear the one is that it takes."""
    pool = [backend("cheap", "code", "vision", cost_class="free"), backend("dear", "code", cost_class="very_high")]
    found = assign("r", asks("code", "vision"), pool, Policy(cost=1e9))

    assert (("code", "dear"), ("vision", "cheap")) == found.assignments


def test_who_is_out_is_not_assigned_and_is_told_of() -> None:
    pool = [backend("a", "code"), backend("b", "code", "vision")]
    found = assign("r", asks("code", "code", "vision"), pool, out={"b": "drift"})

    assert (("code", "a"),) == found.assignments
    assert (
        "no backend has vision but b, which is out (drift); "
        "code ×2 needs 2 backends, only a has it, beside b, which is out (drift)" == found.reason
    )


# --- 7: why not ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (["reasoning", "reasoning"], "reasoning ×2 needs 2 backends, only anthropic has it"),
        (["telepathy"], "no backend has telepathy"),
        (["telepathy", "x", "telepathy"], "no backend has telepathy ×2 or x"),
        (["reasoning", "vision"], "reasoning and vision need 2 backends, only anthropic has any of them"),
        (
            ["reasoning", "reasoning", "code", "code", "y"],
            "no backend has y; reasoning ×2 and code ×2 need 4 backends, only anthropic and mini have any of them",
        ),
        (["embedding"] * 3 + ["code"], "embedding ×3 needs 3 backends, only small and tiny have it"),
    ],
)
def test_the_reason_is_the_smallest_set_that_says_it_all(wanted: list[str], reason: str) -> None:
    pool = [
        backend("anthropic", "code", "reasoning", "vision"), backend("mini", "code"), backend("tiny", "embedding"),
        backend("small", "embedding"),
    ]  # fmt: skip

    assert reason == assign("r", asks(*wanted), pool).reason


def test_a_reason_stays_readable_however_much_is_asked() -> None:
    """Ten names a list, ten parts a reason; the rest is counted."""
    pool = [backend(f"b{n:02}", f"c{n}") for n in range(50)]
    nobody = assign("r", asks(*(f"x{n}" for n in range(5_000))), pool).reason
    many = assign("r", asks(*(f"c{n}" for n in range(50) for _ in range(2))), pool).reason

    assert nobody.endswith("x7, x8, x9 or 4,990 more")
    assert many.startswith("c0 ×2 needs 2 backends, only b00 has it; c1 ×2 needs 2 backends, only b01 has it;")
    assert many.endswith("; and 40 more of the kind")


# --- misuse -------------------------------------------------------------------------------------------------------


def test_a_backend_that_comes_twice_is_not_booked_twice() -> None:
    assert 0.5 == assign("r", asks("code", "code"), [backend("a", "code")] * 2).coverage_ratio


@pytest.mark.parametrize(
    ("request_", "pool", "policy", "told"),
    [
        ({"required_capabilities": ["code"]}, [], None, r"request 'r1': what is asked for is \{.*\(a dict\)"),
        (asks("code"), ["anthropic"], None, r"request 'r1': one of the backends is 'anthropic' \(a str\)"),
        (asks("code"), [], 3, r"request 'r1': the policy is 3 \(a int\)\. Give a Policy or None"),
    ],
)
def test_what_is_no_request_backend_or_policy_is_refused(request_: Any, pool: Any, policy: Any, told: str) -> None:
    with pytest.raises(NotForSelection, match=told):
        assign("r1", request_, pool, policy)
