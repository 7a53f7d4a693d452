"""Shows who satisfies the whole of a request, requirement by requirement, and what the others miss."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.suggestors.selection.eligible import eligible
from quiesce.suggestors.selection.envelope import misses
from quiesce.suggestors.selection.errors import NotForSelection
from quiesce.suggestors.selection.payloads import COST_CLASSES, Backend, BackendRequirements, ProviderRequest

NAMES = st.sampled_from(["code", "vision", "reasoning"])
PLACES = st.sampled_from(["", "eu", "EU ", "us"])
MARKS = st.sampled_from(["gdpr", "GDPR", "soc2"])


def backends() -> st.SearchStrategy[Backend]:
    return st.builds(
        Backend,
        name=st.sampled_from("abcdef"),
        kind=st.sampled_from(["llm", "search"]),
        capabilities=st.frozensets(NAMES),
        cost_class=st.sampled_from(COST_CLASSES),
        latency_ms=st.sampled_from([0, 99.5, 100, 101]),
        region=PLACES,
        country=PLACES,
        compliance=st.frozensets(MARKS),
        context_tokens=st.integers(0, 3),
        supports_replay=st.booleans(),
        requires_network=st.booleans(),
        slots=st.integers(1, 2),
    )


def requirements() -> st.SearchStrategy[BackendRequirements]:
    return st.builds(
        BackendRequirements,
        kind=st.sampled_from([None, "llm"]),
        required_capabilities=st.lists(NAMES, max_size=2).map(tuple),
        max_cost_class=st.sampled_from(COST_CLASSES),
        max_latency_ms=st.sampled_from([0, 100]),
        region=PLACES,
        country=PLACES,
        compliance=st.lists(MARKS, max_size=2).map(tuple),
        min_context_tokens=st.integers(0, 3),
        requires_replay=st.booleans(),
        requires_offline=st.booleans(),
    )


def requests() -> st.SearchStrategy[ProviderRequest]:
    return st.builds(
        ProviderRequest,
        required_capabilities=st.lists(NAMES, max_size=3).map(tuple),
        backend_requirements=st.none() | requirements(),
    )


def plain(text: str) -> str:
    return text.strip().lower()


def can(request: ProviderRequest, backend: Backend) -> bool:
    """Tells the same as `eligible`, as directly as it can be written."""
    needs = request.backend_requirements
    if needs is None:
        wanted = request.required_capabilities
        return all(one in backend.capabilities and wanted.count(one) <= backend.slots for one in wanted)
    return (
        needs.kind in (None, backend.kind)
        and set(needs.required_capabilities or request.required_capabilities) <= backend.capabilities
        and COST_CLASSES.index(backend.cost_class) <= COST_CLASSES.index(needs.max_cost_class)
        and (needs.max_latency_ms == 0 or backend.latency_ms <= needs.max_latency_ms)
        and plain(needs.region) in ("", plain(backend.region))
        and plain(needs.country) in ("", plain(backend.country))
        and set(map(plain, needs.compliance)) <= set(map(plain, backend.compliance))
        and backend.context_tokens >= needs.min_context_tokens
        and (backend.supports_replay or not needs.requires_replay)
        and not (needs.requires_offline and backend.requires_network)
    )


@pytest.mark.slow
@given(request=requests(), pool=st.lists(backends(), max_size=6, unique_by=lambda one: one.name))
def test_eligible_are_those_that_can_do_all_of_it_in_the_order_of_the_pool(
    request: ProviderRequest, pool: list[Backend]
) -> None:
    """And who is not eligible is told at least one thing that it misses."""
    found = eligible(request, pool)

    assert [one for one in pool if can(request, one)] == found
    assert all(bool(misses(request, one)) != (one in found) for one in pool)


FULL: dict[str, Any] = {
    "name": "a", "kind": "llm", "capabilities": {"code"}, "cost_class": "low", "latency_ms": 100, "region": "EU",
    "country": "de", "compliance": {"GDPR"}, "context_tokens": 8_000, "supports_replay": True,
    "requires_network": False,
}  # fmt: skip
ASKED = BackendRequirements(
    kind="llm", required_capabilities=("code",), max_cost_class="low", max_latency_ms=100, region="eu", country="DE",
    compliance=("gdpr",), min_context_tokens=8_000, requires_replay=True, requires_offline=True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, []),
        ({"kind": "search"}, ["is of kind 'search', not 'llm'"]),
        ({"capabilities": {"vision"}}, ["lacks code"]),
        ({"cost_class": "medium"}, ["costs medium, at most low is asked"]),
        ({"latency_ms": 100.5}, ["takes 100.5 ms, at most 100 is asked"]),
        ({"region": "us"}, ["is in region 'us', not 'eu'"]),
        ({"country": ""}, ["names no country, 'DE' is asked"]),
        ({"compliance": {"soc2"}}, ["does not comply with gdpr"]),
        ({"context_tokens": 7_999}, ["takes 7,999 tokens of context, 8,000 are asked"]),
        ({"supports_replay": False}, ["does not support replay"]),
        ({"requires_network": True}, ["requires the network"]),
        ({"kind": "x", "requires_network": True}, ["is of kind 'x', not 'llm'", "requires the network"]),
    ],
)
def test_each_requirement_counts_and_is_named_when_it_is_missed(change: dict[str, Any], missed: list[str]) -> None:
    """B 9, J 38: cost, latency, residency and compliance were ignored. F 46: places were told apart by case."""
    request = ProviderRequest(backend_requirements=ASKED)

    assert missed == misses(request, Backend(**{**FULL, **change}))


def test_the_capabilities_of_the_requirements_go_before_those_of_the_request() -> None:
    request = ProviderRequest(
        required_capabilities=("vision",), backend_requirements=BackendRequirements(required_capabilities=("code",))
    )
    named = request.model_copy(update={"backend_requirements": BackendRequirements()})

    assert [] == misses(request, Backend(**FULL))
    assert ["lacks vision"] == misses(named, Backend(**FULL))


def test_a_capability_that_is_named_twice_takes_a_backend_with_two_slots_to_do_all_of_it() -> None:
    request = ProviderRequest(required_capabilities=("code", "code"))
    one, two = Backend(**FULL), Backend(**{**FULL, "name": "b", "slots": 2})

    assert [two] == eligible(request, [one, two])
    assert ["fills 1 of 2 slots that ask for code independently"] == misses(request, one)


def test_who_is_out_is_left_aside() -> None:
    pool = [Backend(**FULL), Backend(**{**FULL, "name": "b"})]

    assert ["b"] == [one.name for one in eligible(ProviderRequest(), pool, out={"a"})]


def test_a_name_that_comes_twice_counts_once() -> None:
    """Identical ones are one; of two that differ the same one counts, whichever comes first."""
    able, unable = Backend(**FULL), Backend(**{**FULL, "capabilities": set()})
    request = ProviderRequest(required_capabilities=("code",))

    assert 1 == len(eligible(request, [able, able]))
    assert eligible(request, [able, unable]) == eligible(request, [unable, able])


def test_a_hundred_thousand_capabilities_that_a_thousand_backends_lack_are_counted_quickly() -> None:
    """The sentence names ten of them; none of the rest is looked at for each backend."""
    wanted = tuple(f"c{n}" for n in range(100_000))
    told = misses(ProviderRequest(required_capabilities=wanted), Backend(**FULL))

    assert [f"lacks {', '.join(wanted[:10])} and 99,990 more"] == told


@pytest.mark.parametrize(("request_", "pool"), [(None, []), ("code", []), (ProviderRequest(), ["mini"])])
def test_what_is_no_request_or_no_backend_is_told(request_: Any, pool: list[Any]) -> None:
    with pytest.raises(NotForSelection, match=r"Give a (ProviderRequest|Backend)"):
        eligible(request_, pool)
