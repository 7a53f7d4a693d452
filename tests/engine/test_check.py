"""Holds the lints of an engine to it that each finds its mistake, names it, and keeps quiet where there is none."""

import subprocess
import sys
from itertools import pairwise
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import ANY, Engine, Finding, suggestor
from quiesce.engine.check import check
from quiesce.facts import All, Contested, Fact, Failure, Malformed, Payload
from support.strategies import FAMILIES, World, engine_of, worlds


class Ticket(Payload, key="seeds", family="check-ticket"):
    text: str = ""


class Rule(Payload, key="constraints", family="check-rule"):
    text: str = ""


class Plan(Payload, key="strategies", family="check-plan"):
    queue: str = ""


class Review(Payload, key="evaluations", family="check-review"):
    verdict: str = ""


class Total(Payload, key="signals", family="check-total"):
    value: int = 0

    def join(self, other: Self) -> Self:
        return max(self, other, key=lambda one: one.value)


class Firm(Payload, key="strategies", family="check-firm", on_conflict="stop"):
    queue: str = ""


def make(name: str, reads: Any, writes: list[type[Payload]], **options: Any) -> Any:
    """Returns a suggestor that reads and writes so much, and does nothing."""
    return suggestor(reads=reads, writes=writes, name=name, **options)(lambda view: None)


def found(*suggestors: Any, inputs: tuple[type[Payload], ...] = (Ticket,)) -> list[tuple[str, str, str]]:
    """Returns what is found, without the messages; results aside, which nearly every engine has."""
    findings = Engine(suggestors).check(inputs)
    return [(one.level, one.code, one.where) for one in findings if one.code != "result"]


def message(code: str, *suggestors: Any, inputs: tuple[type[Payload], ...] = (Ticket,)) -> str:
    """Returns the message of the only finding with a code."""
    [one] = [one for one in Engine(suggestors).check(inputs) if one.code == code]
    return one.message


PLAN = make("plan", [Ticket], [Plan])
REVIEW = make("review", [Plan], [Review])
AGAIN = make("again", [Review], [Plan])
STEP = make("step", [Plan], [Plan])


# --- what holds of every engine ---------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=50)
@given(worlds())
def test_a_finding_names_a_suggestor_or_a_family_and_says_what_to_do(world: World) -> None:
    made = engine_of(world)
    known = {one.name for one in made.suggestors} | {node["name"] for _, node in made.graph().nodes(data=True)}
    findings = made.check()

    assert [] == [one for one in findings if one.where not in known or one.where not in one.message]
    assert sorted(findings, key=lambda one: ["error", "warning", "info"].index(one.level)) == findings
    assert len(findings) == len(set(findings))


@pytest.mark.slow
@settings(max_examples=50)
@given(worlds())
def test_without_inputs_nothing_is_an_error(world: World) -> None:
    """Whatever would have to come from outside is presumed to; so told, nobody is left asleep."""
    made = engine_of(world)
    presumed = {one.where for one in made.check() if one.code == "presumed-input"}
    inputs = [cls for cls in FAMILIES if cls.__family__ and cls.__family__.name in presumed]

    assert [] == [one for one in made.check() if one.level == "error"]
    assert [] == [one for one in made.check(inputs or FAMILIES) if one.code in {"never-wakes", "never-written"}]


@pytest.mark.slow
@settings(max_examples=50)
@given(worlds(), st.lists(st.sampled_from(FAMILIES), min_size=1, unique=True))
def test_who_never_wakes_is_woken_by_nobody_who_wakes(world: World, inputs: list[type[Payload]]) -> None:
    """Against the definition, straight: take away the sleepers, and nothing that wakes them is written or comes in."""
    made = engine_of(world)
    asleep = {one.where for one in made.check(inputs) if one.code == "never-wakes"}
    awake = [one for one in made.suggestors if one.name not in asleep]
    known = {cls.__family__.name for cls in inputs if cls.__family__}
    known |= {family.name for one in awake for family in one.families.values()} | {"failure", "contested", "rejected"}

    assert asleep == {one.name for one in made.suggestors if one.wakes and known.isdisjoint(one.wakes)}


@pytest.mark.slow
@settings(max_examples=50)
@given(worlds())
def test_a_loop_that_is_named_is_one(world: World) -> None:
    """Each suggestor of it writes something without a join that wakes the next."""
    made = engine_of(world)
    by_name = {one.name: one for one in made.suggestors}
    for finding in made.check():
        if finding.code == "endless-loop":
            loop = [by_name[name] for name in finding.message.split(" can run on")[0].split(" → ")]
            assert finding.where == loop[0].name == loop[-1].name
            for one, following in pairwise(loop):
                plain = {family.name for family in one.families.values() if not family.joins}
                assert plain if following.wakes is None else plain & {*following.wakes}


@pytest.mark.slow
@settings(max_examples=50)
@given(worlds())
def test_where_no_loop_is_found_there_is_none(world: World) -> None:
    """Taking away, again and again, who wakes nobody or is woken by nobody leaves nothing."""
    made = engine_of(world)
    left = list(made.suggestors)
    plain = {one.name: {f.name for f in one.families.values() if not f.joins} for one in left}
    while some := [one for one in left if not any(_wakes(plain[one.name], other) for other in left)]:
        left = [one for one in left if one not in some]

    assert bool(left) == any(one.code == "endless-loop" for one in made.check())


def _wakes(families: set[str], other: Any) -> bool:
    return bool(families if other.wakes is None else families & {*other.wakes})


# --- each lint by an example ------------------------------------------------------------------------------------------


def test_an_engine_that_is_in_order_has_nothing_but_results() -> None:
    findings = Engine([PLAN, REVIEW]).check([Ticket])
    text = (
        "family 'check-review' is a result: review writes it and no suggestor reads it. "
        "If one should, add it to that one's reads"
    )

    assert [Finding("info", "result", "check-review", text)] == findings
    assert f"info: check-review: {text} (result)" == str(findings[0])


def test_what_nobody_writes_is_presumed_to_come_from_outside() -> None:
    assert [("info", "presumed-input", "check-ticket")] == found(PLAN, inputs=())
    assert (
        "family 'check-ticket' is presumed to come from outside: nobody writes it. "
        "Name what does, to be sure: engine.check(inputs=[Ticket])"
    ) == message("presumed-input", PLAN, inputs=())


def test_a_loop_that_only_wakes_itself_is_presumed_to_be_woken_from_outside() -> None:
    """Not those behind it, whatever their place."""
    behind = make("behind", [Review], [])

    assert [("warning", "endless-loop", "review"), ("info", "presumed-input", "check-plan")] == found(
        behind, REVIEW, AGAIN, inputs=()
    )
    assert "only again writes it, and would have to be woken by it first" in message(
        "presumed-input", behind, REVIEW, AGAIN, inputs=()
    )


def test_a_loop_that_another_wakes_needs_nothing_from_outside() -> None:
    back = make("back", [Total], [Review])
    further = make("further", [Review], [Total])

    assert ["check-plan"] == [
        one.where for one in Engine([further, back, STEP, REVIEW]).check() if one.code == "presumed-input"
    ]


def test_what_nobody_writes_and_does_not_come_in_is_a_mistake() -> None:
    @suggestor
    def plan(ticket: Fact[Ticket], rules: All[Rule]) -> Plan | None:
        return None

    assert [("warning", "never-written", "check-rule")] == found(plan)
    assert (
        "family 'check-rule' is read by plan, but no suggestor writes it and it is not among the inputs. "
        "Register who writes it, or add Rule to engine.check(inputs=[…])"
    ) == message("never-written", plan)


def test_who_is_woken_by_nobody_is_an_error_and_so_is_who_waits_for_him() -> None:
    lost, behind = make("lost", [Rule], [Plan]), make("behind", [Plan, Review], [])

    assert [
        ("error", "never-wakes", "lost"),
        ("error", "never-wakes", "behind"),
        ("warning", "never-written", "check-rule"),
        ("warning", "never-written", "check-review"),
    ] == found(lost, behind)
    assert (
        "suggestor 'behind' never runs: check-plan comes only from lost, and that never runs, check-review is written "
        "by nobody. Register who writes Plan or Review, or add it to a context and name it: "
        "engine.check(inputs=[…, Plan])"
    ) == Engine([lost, behind]).check([Ticket])[1].message


def test_who_reads_nothing_or_everything_or_what_the_engine_says_is_woken() -> None:
    seed, mend = make("seed", [], [Rule]), make("mend", [Failure, Contested, Malformed], [])

    assert [("info", "reads-anything", "audit")] == found(seed, mend, make("audit", ANY, []))


def test_a_loop_without_a_join_is_told_with_all_who_are_on_it() -> None:
    other = make("other", [Review], [Plan, Review])

    assert ("warning", "endless-loop", "other") in found(PLAN, REVIEW, AGAIN, other)
    assert (
        "review → again → review can run on without a join: each new check-review or check-plan may bring another. "
        "Define join on Review or Plan, propose under ids that repeat, or bound the run: Budget(cycles=…)"
    ) == message("endless-loop", PLAN, REVIEW, AGAIN)
    assert "other → other can run on without a join: each new check-review may bring another. " in message(
        "endless-loop", PLAN, REVIEW, AGAIN, other
    )
    assert "review and again are on loops with them." in message("endless-loop", PLAN, REVIEW, AGAIN, other)


def test_a_suggestor_that_wakes_itself_is_a_loop() -> None:
    assert [("warning", "endless-loop", "step")] == found(PLAN, STEP)[:1]
    assert "step → step can run on without a join" in message("endless-loop", PLAN, STEP)


def test_two_loops_that_do_not_meet_are_two_findings() -> None:
    other = make("other", [Ticket], [Ticket])

    assert ["step", "other"] == [where for _, code, where in found(PLAN, STEP, other) if code == "endless-loop"]


def test_a_loop_through_a_join_is_only_mentioned() -> None:
    """A join ends it as long as the ids repeat, also where another family on it has none."""
    add, look = make("add", [Total, Ticket], [Total]), make("look", [Total, Ticket], [Plan])
    back = make("back", [Plan], [Total])

    assert [("info", "joined-loop", "add")] == found(add)
    assert [("info", "joined-loop", "look")] == found(look, back)
    assert (
        "look → back → look is a loop, and ends once check-total joins to nothing new. "
        "It needs ids that repeat: with new ids each time it runs on"
    ) == message("joined-loop", look, back)


def test_background_wakes_nobody_and_so_makes_no_loop() -> None:
    @suggestor
    def plan(ticket: Fact[Ticket], plans: All[Plan]) -> Plan | None:
        return None

    assert [] == found(plan)


def test_who_reads_everything_and_writes_something_wakes_himself() -> None:
    assert [("warning", "endless-loop", "audit"), ("info", "reads-anything", "audit")] == found(
        make("audit", ANY, [Review])
    )
    assert [("info", "joined-loop", "audit"), ("info", "reads-anything", "audit")] == sorted(
        found(make("audit", ANY, [Total]))
    )


def test_failures_make_no_loop() -> None:
    """Everyone can cause them, so everyone who reads them would be on one; who writes them himself is."""
    assert [] == found(PLAN, make("mend", [Failure], [Review]))
    assert ("warning", "endless-loop", "fake") in found(make("fake", [Failure], [Failure]))


def test_an_impure_suggestor_says_its_version() -> None:
    assert [("warning", "unversioned", "guess")] == found(make("guess", [Ticket], [], pure=False))
    assert [] == found(make("guess", [Ticket], [], pure=False, version="1"))
    assert 'Write: version="1", and another whenever' in message("unversioned", make("guess", [Ticket], [], pure=False))


def test_what_is_written_later_wakes_nobody_who_has_it_in_the_background() -> None:
    @suggestor
    def plan(ticket: Fact[Ticket], rules: All[Rule]) -> Plan | None:
        return None

    extract = make("extract", [Ticket], [Rule])

    assert [("info", "late-background", "plan")] == found(plan, extract)
    assert (
        "suggestor 'plan' has All[Rule] in the background, so what extract writes later does not wake it again. "
        "If it should, take a View: @suggestor(reads=[…, Rule], writes=[…])"
    ) == message("late-background", plan, extract)


def test_two_who_write_one_family_without_a_join_may_contradict_each_other() -> None:
    """Where the family says what happens then, somebody has thought of it."""
    other = make("other", [Ticket], [Plan])
    firm, total = [make(name, [Ticket], [Firm, Total]) for name in ("one", "two")]

    assert [("info", "contested", "check-plan")] == found(PLAN, other)
    assert [] == found(firm, total)
    assert (
        "family 'check-plan' is written by plan and other and has no join: where they give one id different content, "
        "the first promoted stands and a Contested fact names both. "
        'Define join on Plan, or choose on_conflict="stop" or "confidence"'
    ) == message("contested", PLAN, other)


def test_nothing_is_a_result_where_somebody_reads_everything() -> None:
    assert [] == [one for one in Engine([PLAN, make("audit", ANY, [])]).check() if one.code == "result"]


def test_an_engine_without_suggestors_has_no_findings() -> None:
    assert [] == check([])


PROGRAM = """
from quiesce.engine import Engine, suggestor
from quiesce.facts import Payload
kinds = [type(f"Kind{n}", (Payload,), {"__annotations__": {}}, key="seeds") for n in range(9)]
engine = Engine()
for place in range(9):
    reads, writes = [kinds[place], kinds[(place * 5) % 9]], [kinds[(place + 1) % 9], kinds[(place * 7 + 3) % 9]]
    engine.register(suggestor(reads=reads, writes=writes, name=f"s{place}")(lambda view: None))
print(*engine.check(), engine.mermaid(), engine.dot(), sep="\\n")
"""


@pytest.mark.slow
def test_what_is_found_does_not_depend_on_the_order_of_sets() -> None:
    """Two processes with other hashes say the same."""
    told = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }

    assert 1 == len(told)
    assert "endless-loop" in told.pop()
