"""Shows what is said about backends and requests, and that quarantines are revised by their number."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from quiesce.facts import Context, Fact
from quiesce.facts.family import family_of
from quiesce.facts.testing import check_join
from quiesce.suggestors.selection.payloads import (
    CAPABILITIES,
    COST_CLASSES,
    KINDS,
    Backend,
    BackendRequirements,
    KnownQuarantine,
    ProviderAssignment,
    ProviderRequest,
    ProviderRequestError,
    Quarantine,
    quarantined,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_the_families_are_where_others_look_for_them() -> None:
    classes = (Backend, ProviderRequest, ProviderAssignment, ProviderRequestError, Quarantine, KnownQuarantine)
    addresses = {family_of(cls).name: family_of(cls).key for cls in classes}

    assert {
        "backend": "constraints",
        "provider-request": "seeds",
        "provider-assignment": "strategies",
        "provider-request-error": "diagnostics",
        "quarantine": "constraints",
        "known-quarantine": "constraints",
    } == addresses


def test_a_backend_needs_no_more_than_its_name_and_kind() -> None:
    backend = Backend(name="a", kind="llm")
    said = backend.model_dump(exclude={"name", "kind"})

    assert {
        "capabilities": frozenset(), "supports_replay": False, "requires_network": True, "cost_class": "medium",
        "latency_ms": 0.0, "region": "", "country": "", "compliance": frozenset(), "context_tokens": 0, "slots": 1,
        "quality": 0.5,
    } == said  # fmt: skip


def test_well_known_names_are_well_known_and_others_are_names_too() -> None:
    assert {"text_generation", "constraint_solving", "full_text_search"} < set(CAPABILITIES)
    assert {"llm", "storage"} < set(KINDS)
    assert ("free", "very_low", "low", "medium", "high", "very_high") == COST_CLASSES
    assert {"telepathy"} == Backend(name="a", kind="oracle", capabilities=frozenset({"telepathy"})).capabilities


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            BackendRequirements.fast_llm(),
            {"kind": "llm", "capabilities": ("text_generation",), "max_cost_class": "low", "max_latency_ms": 2_000},
        ),
        (
            BackendRequirements.reasoning_llm(),
            {
                "kind": "llm", "capabilities": ("text_generation", "reasoning"), "max_cost_class": "high",
                "max_latency_ms": 30_000,
            },
        ),
        (
            BackendRequirements.access_policy(),
            {"kind": "policy", "capabilities": ("access_control",), "max_latency_ms": 100},
        ),
        (
            BackendRequirements.constraint_solver(),
            {"kind": "optimization", "capabilities": ("constraint_solving",)},
        ),
        (BackendRequirements.embedding_pipeline(), {"kind": "analytics", "capabilities": ("embedding",)}),
        (BackendRequirements.vector_search(), {"kind": "search", "capabilities": ("vector_search",)}),
    ],
)  # fmt: skip
def test_ready_made_requirements_say_what_their_names_say(made: BackendRequirements, said: dict[str, Any]) -> None:
    """Whatever is not named in a row is as by default."""
    said["required_capabilities"] = said.pop("capabilities")

    assert BackendRequirements(**said) == made


def test_ready_made_requirements_take_changes() -> None:
    made = BackendRequirements.fast_llm(region="eu", max_cost_class="free")

    assert ("eu", "free", "llm") == (made.region, made.max_cost_class, made.kind)
    with pytest.raises(ValidationError, match="max_latency_ms"):
        BackendRequirements.fast_llm(max_latency_ms=-1)


def test_compliance_is_a_set_that_is_written_in_one_order() -> None:
    one = BackendRequirements.model_validate({"compliance": {"soc2", "gdpr", "iso"}})
    other = BackendRequirements(compliance=("iso", "soc2", "gdpr", "iso"))

    assert ("gdpr", "iso", "soc2") == one.compliance
    assert one == other
    assert BackendRequirements.model_validate_json(one.model_dump_json()) == one


def test_hashing_a_request_takes_no_sorting() -> None:
    """A field without an order would make each request several times as dear."""
    assert not family_of(ProviderRequest).unordered
    assert not family_of(ProviderAssignment).unordered


@pytest.mark.parametrize(
    "said",
    [
        {"name": ""}, {"name": "a" * 201}, {"kind": ""}, {"cost_class": "cheap"}, {"latency_ms": -1},
        {"latency_ms": float("nan")}, {"latency_ms": float("inf")}, {"slots": 0}, {"slots": 1_000_001},
        {"quality": 1.1}, {"quality": -0.1}, {"context_tokens": -1}, {"capabilities": {""}}, {"surprise": 1},
    ],
)  # fmt: skip
def test_a_backend_with_a_value_out_of_its_range_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(said))):
        Backend(**{"name": "a", "kind": "llm", **said})


def test_a_moment_without_a_time_zone_is_refused() -> None:
    """It could not be compared with the run's time, which would stop every answer."""
    with pytest.raises(ValidationError, match="timezone"):
        Quarantine(backend="a", reason="drift", until=datetime(2026, 11, 21))  # noqa: DTZ001  that is the point


@pytest.mark.parametrize("cls", [Quarantine, KnownQuarantine])
def test_quarantines_join_in_any_order(cls: type[Quarantine] | type[KnownQuarantine]) -> None:
    said: list[Quarantine | KnownQuarantine] = [
        cls(backend="a", reason=reason, number=number, lifted=lifted, until=until)
        for reason in ("drift", "health")
        for number in (1, 2)
        for lifted in ("", "well again")
        for until in (None, NOON)
    ]

    check_join(said)


def test_the_later_quarantine_holds_and_a_lifted_one_over_the_same() -> None:
    first = Quarantine(backend="a", reason="drift")
    lifted = first.model_copy(update={"lifted": "well again"})
    second = Quarantine(backend="a", reason="drift", number=2)

    assert lifted == first.join(lifted) == lifted.join(first)
    assert second == lifted.join(second) == second.join(lifted)


def test_a_quarantine_holds_before_its_end_and_no_longer() -> None:
    said = Quarantine(backend="a", reason="drift", until=NOON)

    assert said.holds(NOON - timedelta(microseconds=1))
    assert not said.holds(NOON)
    assert not said.holds(NOON.astimezone(UTC) + timedelta(days=1))
    assert not Quarantine(backend="a", reason="drift", lifted="well").holds(NOON)


def test_of_a_carried_and_a_standing_quarantine_the_one_that_says_more_counts() -> None:
    """Over all pairs of what was known before the run and what is said in it."""
    states = [(1, ""), (1, "well"), (2, ""), (2, "well")]
    for before, now in itertools.product([None, *states], repeat=2):
        standing, known = _said(Quarantine, now), _said(KnownQuarantine, before)
        out = quarantined(standing, known, NOON)
        expected = max((state for state in (before, now) if state is not None), default=(0, "none"))

        assert (not expected[1]) == ("a" in out), (before, now)


def _said(cls: type[Any], state: tuple[int, str] | None) -> list[Fact[Any]]:
    if state is None:
        return []
    return [Context().add(cls(backend="a", reason="drift", number=state[0], lifted=state[1]), id="a-drift")]


def test_a_backend_is_out_while_any_of_its_quarantines_holds() -> None:
    context = Context()
    context.add(Quarantine(backend="a", reason="drift", lifted="well"), id="a-drift")
    context.add(Quarantine(backend="a", reason="health"), id="a-health")
    out = quarantined(context.of(Quarantine).values(), (), NOON)

    assert {"a": "a-health"} == {name: fact.id for name, fact in out.items()}
