"""Asks of everything that can keep a fact away whether the log alone explains it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quiesce.engine import (
    Approve,
    Budget,
    CancelSwitch,
    Engine,
    Gate,
    Reject,
    Result,
    Violation,
    invariant,
    propose,
    suggestor,
)
from quiesce.facts import Context, Fact, FactLog, LogError, Payload, RunId, UnknownRun, View, WhyNot, why_not
from quiesce.facts import family as families
from quiesce.facts.stores import Batch, MemoryStore

START = datetime(2026, 1, 1, tzinfo=UTC)


class Ticket(Payload, key="seeds", family="why-not-ticket"):
    text: str


class Plan(Payload, key="strategies", family="why-not-plan"):
    queue: str


class Refund(Payload, key="proposals", family="why-not-refund"):
    cents: int


class Letter(Payload, key="signals", family="why-not-letter"):
    text: str


@suggestor
def plan(ticket: Fact[Ticket]) -> Plan:
    if ticket.payload.text == "boom":
        raise ValueError("no plan for this")
    return Plan(queue=ticket.payload.text)


@suggestor
def refund(plan: Fact[Plan]) -> Refund | None:
    return Refund(cents=len(plan.payload.queue)) if plan.payload.queue != "none" else None


@suggestor
def write(refund: Fact[Refund]) -> Letter:
    return Letter(text=f"{refund.payload.cents} cents")


def run(*texts: str, suggestors: Any = (plan, refund, write), context: Context | None = None, **options: Any) -> Result:
    context = Context() if context is None else context
    for text in texts:
        context.add(Ticket(text=text), id=text)
    named = {name: options.pop(name) for name in ("gates", "invariants") if name in options}
    options = {"run_id": "r", "seed": 1, "started": START, **options}
    return Engine(suggestors, **named).run_sync(context, **options)


def kinds(found: WhyNot) -> list[str]:
    return [finding.kind for finding in found.findings]


def told(found: WhyNot) -> list[str]:
    return str(found).splitlines()


# --- it is there ------------------------------------------------------------------------------------------------------


def test_a_fact_that_is_known_is_said_to_be() -> None:
    assert [
        "why-not-plan:a is known in run r",
        "- it is known since cycle 1, said by plan. What it rests on: why('why-not-plan:a')",
    ] == told(run("a").why_not("why-not-plan:a"))


def test_at_an_earlier_cycle_it_says_since_when() -> None:
    found = why_not(run("a").log, "r", "why-not-refund:a", at=1)

    assert (False, ["later", "not_yet"]) == (found.known, kinds(found))
    assert [
        "why-not-refund:a is not known in run r at the end of cycle 1",
        "- it became known later, in cycle 2",
        "- the run went on after cycle 1, and refund had not seen all that was new",
    ] == told(found)


def test_a_family_of_which_something_is_known_says_what() -> None:
    found = run(*"abcdefg").why_not("why-not-plan")

    assert (
        "- 7 facts of it are known: " + ", ".join(f"why-not-plan:{id}" for id in "abcde") + " and 2 more"
        == told(found)[1]
    )


def test_a_payload_that_is_gone_is_named() -> None:
    """Redacted: the fact stands without it."""
    log = run("a").log
    digest = next(one.event.facts[0].digest for one in log.events("r") if one.event.kind == "cycle_committed")  # type: ignore[union-attr]
    log.redact("r", ["why-not-ticket:a"], reason="asked to", by="ana")
    found = why_not(log, "r", "why-not-ticket:a")

    assert ["known", "redacted"] == kinds(found)
    assert told(found)[2].startswith("- its payload is gone: redacted by ana at ")
    assert f": asked to. Its digest, {digest[:12]}…, and all else of it still stand" in told(found)[2]


# --- it was proposed --------------------------------------------------------------------------------------------------


def test_a_contest_that_was_lost_names_who_won() -> None:
    @suggestor
    def rival(ticket: Fact[Ticket]) -> Plan:
        return Plan(queue="rival")

    found = run("a", suggestors=(plan, rival)).why_not("why-not-plan:a")

    assert ["known", "lost"] == kinds(found)
    assert (
        "- rival proposed why-not-plan:a as Plan(queue='rival') in cycle 1, and lost: Plan(queue='a') by plan stands "
        "since cycle 1" == told(found)[2]
    )


def test_a_refusal_is_told_with_its_reason() -> None:
    @suggestor(reads=[Ticket], writes=[Plan])
    def stray(view: View) -> Iterator[Any]:
        yield propose(Letter(text="x"), id="a")

    found = run("a", suggestors=(stray,)).why_not("why-not-letter:a")

    assert ["refused", "no_writer"] == kinds(found)
    assert (
        "- stray proposed why-not-letter:a in cycle 1, and it was refused: proposed a Letter, but declares "
        "writes=[Plan]. Add it: writes=[Plan, Letter]" == told(found)[1]
    )


GATE = Gate("refunds", [Refund], expires=timedelta(hours=4))


def test_what_waits_at_a_gate_says_how_to_decide_it() -> None:
    result = run("a", gates=[GATE])
    (gate,) = result.gates
    found = result.why_not("why-not-refund:a")

    assert ["waiting", "ran_otherwise", "stopped"] == kinds(found)
    assert (
        f"- why-not-refund:a, proposed by refund, waits since cycle 2 (2026-01-01T00:00:00+00:00) at gate {gate} "
        f"(refunds). It takes its default, reject, when resumed after 2026-01-01T04:00:00+00:00. "
        f"Decide it: engine.resume(run, [Approve({gate!r}, by=…)], log=log), or Reject(…)" == told(found)[1]
    )


def test_what_depends_on_what_waits_is_traced_to_the_gate() -> None:
    result = run("a", gates=[GATE])
    found = result.why_not("why-not-letter:a")

    assert ["never_ran", "stopped"] == kinds(found)
    assert [
        "why-not-letter:a is not known in run r",
        "- write was never called: nothing is known of why-not-refund",
        "    nothing of why-not-refund is known in run r",
    ] == told(found)[:3]
    assert told(found)[3].startswith("    - why-not-refund:a, proposed by refund, waits since cycle 2 (")
    assert told(found)[-1].startswith("- the run stopped; awaiting approval: gates g-")


def test_what_a_person_rejected_says_who_and_why() -> None:
    result = run("a", gates=[GATE])
    (gate,) = result.gates
    decided = Engine((plan, refund, write), gates=[GATE]).resume_sync(
        result, [Reject(gate, by="ana", reason="no receipt")], now=START
    )
    found = decided.why_not("why-not-refund:a")

    assert ["declined", "ran_otherwise"] == kinds(found)
    assert (
        f"- why-not-refund:a, proposed by refund, was rejected by ana at {START.isoformat()} (gate {gate}): no receipt"
        == told(found)[1]
    )
    assert ["waiting"] == kinds(why_not(decided.log, "r", "why-not-refund:a", at=2))[:1]


def test_the_same_content_under_another_id_was_rejected_too() -> None:
    """The decision holds for the content; the one that is told is the decision."""
    result = run("ab", gates=[GATE])
    (gate,) = result.gates
    result.context.add(Ticket(text="cd"), id="cd")
    decided = Engine((plan, refund, write), gates=[GATE]).resume_sync(result, [Reject(gate, by="ana")])
    found = decided.why_not("why-not-refund:cd")

    assert "declined" == kinds(found)[0]
    assert told(found)[1].startswith("- why-not-refund:ab, proposed by refund, was rejected by ana at ")
    assert told(found)[1].endswith("without a reason")


def test_an_approved_fact_is_known() -> None:
    result = run("a", gates=[GATE])
    made = Engine((plan, refund, write), gates=[GATE])
    decided = made.resume_sync(result, [Approve(gate, by="ana") for gate in result.gates])

    assert ["known"] == kinds(decided.why_not("why-not-refund:a"))


def test_an_invariant_that_refused_the_cycle_is_named() -> None:
    @invariant(reads=[Refund], on="commit")
    def small(view: View) -> Violation | None:
        return Violation("too much") if view.all(Refund) else None

    found = run("a", invariants=[small]).why_not("why-not-refund:a")

    assert ("cycle_refused", "stopped") == (kinds(found)[0], kinds(found)[-1])
    assert (
        "- refund proposed why-not-refund:a in cycle 2, but invariant 'small' refused the whole cycle: too much"
        == told(found)[1]
    )


def test_an_input_that_was_no_fact_is_named() -> None:
    context = Context()
    context.admit("why-not-ticket", "t9", b'{"text": 3}')
    found = run(context=context).why_not("why-not-ticket:t9")

    assert ["bad_input", "no_writer"] == kinds(found)
    assert told(found)[1].startswith("- it came from outside in cycle 0 and is no fact: ")


# --- nobody said it ---------------------------------------------------------------------------------------------------


def test_a_family_that_nobody_writes_has_to_come_from_outside() -> None:
    assert [
        "why-not-ticket:z is not known in run r",
        (
            "- no suggestor of the run writes why-not-ticket, so it has to come from outside "
            "(they write why-not-letter, why-not-plan, why-not-refund)"
        ),
    ] == told(run("a").why_not("why-not-ticket:z"))


def test_a_diagnostic_that_there_was_no_cause_for() -> None:
    found = run("a").why_not("failure:x")

    assert "- failure is what the engine itself says when there is cause; there was none" == told(found)[1]


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("why-not-plan:Order-12", "did you mean why-not-plan:order-12?"),
        ("why-not-plan:order12", "did you mean why-not-plan:order-12?"),
        (
            "why-not-plam:order-12",
            (
                "did you mean why-not-plan:order-12 or why-not-letter:order-12 or why-not-refund:order-12 or "
                "why-not-ticket:order-12?"
            ),
        ),
    ],
)
def test_a_mistyped_ref_is_answered_with_those_like_it(ref: str, expected: str) -> None:
    assert f"- {expected}" == told(run("order-12").why_not(ref))[1]


def test_a_chain_of_missing_facts_is_followed_to_its_beginning() -> None:
    assert [
        "why-not-letter:a is not known in run r",
        "- write was never called: nothing is known of why-not-refund",
        "    nothing of why-not-refund is known in run r",
        "    - refund was never called: nothing is known of why-not-plan",
        "        nothing of why-not-plan is known in run r",
        "        - plan was never called: nothing is known of why-not-ticket",
        "            nothing of why-not-ticket is known in run r",
        (
            "            - no suggestor of the run writes why-not-ticket, so it has to come from outside "
            "(they write why-not-letter, why-not-plan, why-not-refund)"
        ),
    ] == told(run().why_not("why-not-letter:a"))


def test_a_chain_of_one_id_is_followed_too() -> None:
    """Where one is known and the other not: what would have been read under that id."""
    assert [
        "why-not-refund:b is not known in run r",
        "- refund was called in cycle 2 and said why-not-refund:a",
        "    why-not-plan:b is not known in run r",
        "    - plan was called in cycle 1 and said why-not-plan:a",
        "        why-not-ticket:b is not known in run r",
        (
            "        - no suggestor of the run writes why-not-ticket, so it has to come from outside "
            "(they write why-not-letter, why-not-plan, why-not-refund)"
        ),
    ] == told(run("a").why_not("why-not-refund:b"))


def test_who_was_called_and_said_nothing() -> None:
    found = run("none").why_not("why-not-refund:none")

    assert [
        "why-not-refund:none is not known in run r",
        "- refund was called in cycle 2 and said nothing of why-not-refund that stands",
    ] == told(found)


def test_a_failure_is_told_with_its_error() -> None:
    found = run("boom").why_not("why-not-plan:boom")

    assert [
        "why-not-plan:boom is not known in run r",
        "- plan failed for why-not-ticket:boom in cycle 1: ValueError: no plan for this",
        "- plan was called in cycle 1 and said nothing of why-not-plan that stands",
    ] == told(found)


def test_a_budget_that_came_first_is_told() -> None:
    found = run("a", budget=Budget(cycles=1)).why_not("why-not-refund:a")

    assert [
        "why-not-refund:a is not known in run r",
        (
            "- the run stopped before refund saw all that was new; budget exhausted: resource cycles, limit 1, "
            "observed 1, restless plan"
        ),
    ] == told(found)


def test_a_run_that_was_called_off_is_told() -> None:
    switch = CancelSwitch()
    switch.cancel("enough")
    found = run("a", cancel=switch).why_not("why-not-letter:a")

    assert "- the run stopped; cancelled: reason enough" == told(found)[-1]
    assert "    - the run stopped before plan saw all that was new; cancelled: reason enough" in [
        line[4:] for line in told(found)
    ]


def test_a_run_that_is_not_finished_says_how_to_go_on() -> None:
    whole, log = run("a").log, FactLog.open()
    log.append(RunId("r"), [logged.event for logged in whole.events("r")][:3])
    found = why_not(log, "r", "why-not-refund:a")

    assert [
        "why-not-refund:a is not known in run r",
        "- the run is not finished: its log ends with cycle 1; go on with it: engine.recover(log)",
    ] == told(found)


def test_who_does_not_accept_is_told_to_have_had_the_choice() -> None:
    @suggestor(reads=[Ticket], writes=[Plan], accepts=lambda view: False)
    def picky(view: View) -> None: ...

    assert [
        "why-not-plan:a is not known in run r",
        (
            "- picky was never called: it reads why-not-ticket, and of each something is known. It did not accept "
            "that, or it is not what wakes it"
        ),
    ] == told(run("a", suggestors=(picky,)).why_not("why-not-plan:a"))


def test_families_that_wait_for_each_other_are_told_once() -> None:
    @suggestor
    def forth(letter: Fact[Letter]) -> Plan:
        return Plan(queue="")

    @suggestor
    def back(plan: Fact[Plan]) -> Letter:
        return Letter(text="")

    found = run("a", suggestors=(forth, back)).why_not("why-not-plan:x")

    assert [
        "why-not-plan:x is not known in run r",
        "- forth was never called: nothing is known of why-not-letter",
        "    nothing of why-not-letter is known in run r",
        "    - back was never called: nothing is known of why-not-plan",
    ] == told(found)


# --- from the log alone -----------------------------------------------------------------------------------------------


def questions() -> dict[str, tuple[FactLog, list[str]]]:
    """Returns logs of all sorts, and refs to ask each for."""
    refs = [f"why-not-{family}:{id}" for family in ("ticket", "plan", "refund", "letter") for id in ("a", "boom", "z")]
    refs += ["why-not-letter", "why-not-plan", "failure:x", "nothing", ":", "", "why-not-plan:"]
    gated = run("a", "boom", gates=[GATE])
    return {
        "whole": (run("a", "boom").log, refs),
        "short": (run("a", "boom", budget=Budget(cycles=1)).log, refs),
        "gated": (gated.log, refs),
        "empty": (run().log, refs),
    }


@pytest.mark.parametrize("which", ["whole", "short", "gated", "empty"])
def test_no_payload_class_has_to_be_registered(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only how payloads are shown differs; and what it says is JSON."""
    log, refs = questions()[which]
    before = [why_not(log, "r", ref, at).to_json() for ref in refs for at in (None, 0)]
    known = {name: found for name, found in families._families.items() if not name.startswith("why-not-")}
    monkeypatch.setattr(families, "_families", known)
    after = [why_not(log, "r", ref, at).to_json() for ref in refs for at in (None, 0)]

    assert before == after
    assert after == json.loads(json.dumps(after))


def test_payloads_of_an_unknown_family_are_shown_as_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    @suggestor
    def rival(ticket: Fact[Ticket]) -> Plan:
        return Plan(queue="rival")

    log = run("a", suggestors=(plan, rival)).log
    known = {name: found for name, found in families._families.items() if not name.startswith("why-not-")}
    monkeypatch.setattr(families, "_families", known)

    assert (
        '- rival proposed why-not-plan:a as {"queue":"rival"} in cycle 1, and lost: {"queue":"a"} by plan stands since '
        "cycle 1" == told(why_not(log, "r", "why-not-plan:a"))[2]
    )


def test_what_a_parent_said_counts() -> None:
    first = run("a", budget=Budget(cycles=1))
    second = Engine((plan,)).run_sync(first.context, log=first.log, run_id="s")
    found = second.why_not("why-not-refund:a")

    assert "known" == kinds(second.why_not("why-not-plan:a"))[0]
    assert ["not_called"] == kinds(found)


def test_damage_behind_the_cycle_that_is_asked_for_is_no_matter() -> None:
    log = run("a").log
    store, records = MemoryStore(), list(log.records("r"))
    broken = [*records[:3], type(records[3])(b"{", records[3].digest, {})]
    store.commit(Batch.of(RunId("r"), 0, broken))
    found = why_not(FactLog(store), "r", "why-not-refund:a", at=1)

    assert "why-not-refund:a is not known in run r at the end of cycle 1" == told(found)[0]
    with pytest.raises(LogError):
        why_not(FactLog(store), "r", "why-not-refund:a")


def test_an_unknown_run_or_cycle_is_an_error() -> None:
    log = run("a").log
    with pytest.raises(UnknownRun):
        why_not(log, "nobody", "x:y")
    with pytest.raises(LogError, match="has no cycle 9"):
        why_not(log, "r", "x:y", at=9)


def test_a_compacted_run_explains_what_it_explained_before() -> None:
    result = run("a", "boom", gates=[GATE])
    log = result.log
    Engine((plan, refund, write), gates=[GATE]).resume_sync(
        result, [Reject(gate, by="ana", reason="no") for gate in result.gates]
    )
    refs = ("why-not-refund:a", "why-not-plan:boom", "why-not-letter:a", "why-not-plan:a")
    before = [told(why_not(log, "r", ref)) for ref in refs]
    log.compact("r")

    assert "compacted" == next(iter(log.events("r"))).event.kind
    assert before == [told(why_not(log, "r", ref)) for ref in refs]


def test_who_was_called_in_another_log_is_known_to_have_been() -> None:
    """A context that was carried over says who had seen what, not in which cycles."""
    log = FactLog.open()
    Engine((plan, refund)).run_sync(run("none").context, log=log, run_id="there")

    assert [
        "why-not-refund:none is not known in run there",
        "- refund was called before this log begins and said nothing of why-not-refund that stands",
    ] == told(why_not(log, "there", "why-not-refund:none"))
