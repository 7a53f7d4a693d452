"""Resumes runs after the code was upgraded: whatever is not as it was is named, and refused unless it is meant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quiesce.engine import (
    Approve,
    AwaitingApproval,
    ChangedSuggestors,
    Converged,
    Engine,
    Gate,
    Result,
    Violation,
    invariant,
    suggestor,
)
from quiesce.facts import Context, Fact, FactLog, Payload, View

START = datetime(2026, 1, 1, tzinfo=UTC)


class Ticket(Payload, key="seeds", family="changes-ticket"):
    text: str


class Rule(Payload, key="constraints", family="changes-rule"):
    text: str


class Plan(Payload, key="strategies", family="changes-plan"):
    text: str


class Note(Payload, key="signals", family="changes-note"):
    text: str


def suggest(name: str, reads: Any = (Ticket,), writes: Any = (Plan,), **options: Any) -> Any:
    """Returns a suggestor that answers every ticket, as a version of the code has it."""

    @suggestor(name=name, reads=list(reads), writes=list(writes), **options)
    def answer(view: View) -> list[Any]:
        return [Plan(text=f"{name} {fact.payload.text}") for fact in view.new(Ticket) if Plan in writes]

    return answer


def rule(name: str, on: Any = "commit") -> Any:
    @invariant(reads=[Plan], on=on, name=name)
    def holds(view: View) -> Violation | None:
        return None

    return holds


GATE = Gate("plans", [Plan], expires=timedelta(hours=4))


def made(**options: Any) -> Engine:
    """Returns the engine of the day on which the run was paused."""
    parts: dict[str, Any] = {"gates": [GATE], "invariants": [rule("small")], **options}
    return Engine(parts.pop("suggestors", [suggest("one"), suggest("two")]), **parts)


def paused(engine: Engine | None = None) -> Result:
    context = Context()
    context.add(Ticket(text="a"), id="a")
    return (engine or made()).run_sync(context, log=FactLog.open(), run_id="paused", started=START)


UPGRADES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("missing", {"suggestors": [suggest("one")]}, ("suggestor 'two' is missing",)),
    ("new", {"suggestors": [suggest("one"), suggest("two"), suggest("three")]}, ("suggestor 'three' is new",)),
    (
        "version",
        {"suggestors": [suggest("one", version="2"), suggest("two")]},
        ("suggestor 'one' has changed: version '' → '2'",),
    ),
    (
        "reads",
        {"suggestors": [suggest("one", reads=[Rule, Ticket]), suggest("two")]},
        ("suggestor 'one' has changed: reads changes-ticket → changes-rule, changes-ticket",),
    ),
    (
        "writes and pure",
        {"suggestors": [suggest("one", writes=[], pure=False), suggest("two")]},
        ("suggestor 'one' has changed: writes changes-plan → nothing; pure True → False",),
    ),
    (
        "order",
        {"suggestors": [suggest("two"), suggest("one")]},
        ("the order of suggestors has changed: one, two → two, one",),
    ),
    ("a gate less", {"gates": []}, ("gate 'plans' is missing",)),
    ("a gate more", {"gates": [GATE, Gate("unsure", below_confidence=0.2)]}, ("gate 'unsure' is new",)),
    (
        "another gate",
        {"gates": [Gate("plans", [Plan, Note], default="approve")]},
        (
            (
                "gate 'plans' has changed: families ['changes-plan'] → ['changes-plan', 'changes-note']; "
                "expires 14400.0 → None; default 'reject' → 'approve'"
            ),
        ),
    ),
    ("an invariant less", {"invariants": []}, ("invariant 'small' is missing",)),
    (
        "another invariant",
        {"invariants": [rule("small", "cycle"), rule("large")]},
        ("invariant 'small' has changed: on 'commit' → 'cycle'", "invariant 'large' is new"),
    ),
    (
        "all at once",
        {"suggestors": [suggest("two", version="7"), suggest("three")], "gates": []},
        (
            "suggestor 'one' is missing",
            "suggestor 'two' has changed: version '' → '7'",
            "suggestor 'three' is new",
            "gate 'plans' is missing",
        ),
    ),
]


@pytest.mark.parametrize("by_id", [True, False])
@pytest.mark.parametrize(("parts", "changes"), [row[1:] for row in UPGRADES], ids=[row[0] for row in UPGRADES])
def test_every_difference_is_named_and_nothing_is_changed(
    parts: dict[str, Any], changes: tuple[str, ...], by_id: bool
) -> None:
    first = paused()
    before = first.log.to_bytes("paused")
    with pytest.raises(ChangedSuggestors) as caught:
        made(**parts).resume_sync("paused" if by_id else first, log=first.log)

    assert ("paused", changes) == (caught.value.run, caught.value.changes)
    assert before == first.log.to_bytes("paused")


@pytest.mark.parametrize("parts", [row[1] for row in UPGRADES], ids=[row[0] for row in UPGRADES])
def test_what_is_meant_is_accepted_and_then_what_the_run_is_made_with(parts: dict[str, Any]) -> None:
    """The log names the new ones, so the next to resume it is compared with them."""
    first = paused()
    made(**parts).resume_sync("paused", log=first.log, accept_changes=True)
    again = made(**parts).resume_sync("paused", log=first.log)

    assert isinstance(again.stop, (AwaitingApproval, Converged))
    with pytest.raises(ChangedSuggestors):
        made().resume_sync("paused", log=first.log)


def test_the_error_says_each_change_on_a_line_of_its_own() -> None:
    first = paused()
    with pytest.raises(ChangedSuggestors) as caught:
        made(suggestors=[suggest("one", version="2")]).resume_sync(first)

    assert [
        "run paused cannot go on as it was made; since then:",
        "- suggestor 'one' has changed: version '' → '2'",
        "- suggestor 'two' is missing",
        (
            "Nothing was changed. Go on with what it was made with, or, if the changes are meant, say "
            "accept_changes=True (--accept-changes on the command line)"
        ),
    ] == str(caught.value).splitlines()


def test_the_order_in_which_families_are_declared_is_no_change() -> None:
    first = paused(made(suggestors=[suggest("one", reads=[Rule, Ticket])]))
    gates = [Approve(gate, by="ana") for gate in first.gates]
    done = made(suggestors=[suggest("one", reads=[Ticket, Rule])]).resume_sync(first, gates)

    assert isinstance(done.stop, Converged)


def packed(*, tone: str = "", plain: str = "") -> Engine:
    engine = Engine([suggest("plain", version=plain)])
    engine.register(suggest("money"), pack="money")
    engine.register(suggest("tone", version=tone), pack="tone")
    return engine


def test_other_packs_are_other_suggestors_on_purpose() -> None:
    first = packed().run_sync(Context(), packs={"money"}, run_id="packed")

    assert packed(tone="2").resume_sync(first, packs={"tone"}).stop == Converged(0)


def test_other_packs_do_not_hide_what_else_has_changed() -> None:
    first = packed().run_sync(Context(), packs={"money"}, run_id="packed")
    with pytest.raises(ChangedSuggestors) as caught:
        packed(plain="2").resume_sync(first, packs={"tone"})

    assert ("suggestor 'plain' has changed: version '' → '2'",) == caught.value.changes


def test_a_suggestor_that_moved_to_a_pack_that_takes_no_part_is_missing() -> None:
    first = packed().run_sync(Context(), packs={"money"}, run_id="packed")
    moved = Engine()
    moved.register(suggest("plain"), pack="tone")
    moved.register(suggest("money"), pack="money")
    with pytest.raises(ChangedSuggestors) as caught:
        moved.resume_sync(first)

    assert ("suggestor 'plain' is missing",) == caught.value.changes


def test_a_new_version_is_called_again_for_all_that_it_reads() -> None:
    """Once the change is accepted: its answers would be others."""

    @suggestor(name="one", version="2")
    def better(ticket: Fact[Ticket]) -> Plan:
        return Plan(text="better")

    engine = Engine([suggest("one")])
    first = paused(engine)
    again = Engine([better]).resume_sync(first, accept_changes=True)

    assert ["better"] == [fact.payload.text for fact in again.context.of(Plan).values() if fact.cycle == 2]
