"""Holds registration to its word: three forms make one kind of object, and what is wrong is told with what to write."""

# The functions here are registered and never called; a body would only be in the way of the line that is told of.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Optional, Union

import pytest

from quiesce.engine import (
    ANY,
    DuplicateName,
    Engine,
    InvalidOption,
    Options,
    Proposal,
    RegistrationError,
    Suggestor,
    SuggestorLike,
    goal,
    invariant,
    suggestor,
)
from quiesce.facts import All, Context, Fact, Payload, View


class Ticket(Payload, key="seeds", family="registration-ticket"):
    text: str = ""


class Rule(Payload, key="constraints", family="registration-rule"):
    word: str = ""


class Plan(Payload, key="strategies", family="registration-plan"):
    queue: str = ""


class Note(Payload, key="signals", family="registration-note"):
    text: str = ""


class Keyless(Payload):
    text: str = ""


def classes(one: Suggestor) -> tuple[Any, Any]:
    return one.reads, one.writes


def problem_of(make: Any) -> str:
    """Returns the full text of the error that registering raises."""
    with pytest.raises(RegistrationError) as caught:
        Engine([make()])
    return str(caught.value)


# --- three forms ------------------------------------------------------------------------------------------------------


def test_a_function_of_a_fact_reads_and_writes_what_its_annotations_say() -> None:
    """The first form: parameters are read, the return is written, and the Fact wakes it."""

    @suggestor
    def plan(ticket: Fact[Ticket], rules: All[Rule], view: View) -> Plan: ...

    assert ((Ticket, Rule), (Plan,)) == classes(plan)
    assert ("registration-ticket",) == plan.wakes
    assert (("ticket", "fact", Ticket), ("rules", "all", Rule), ("view", "view", None)) == plan.slots


def test_a_function_of_a_view_reads_and_writes_what_its_decorator_says() -> None:
    """The second form: everything that it reads wakes it."""

    @suggestor(reads=(Ticket, Rule), writes=[Plan])
    def batch(view: View) -> Iterator[Any]: ...

    assert ((Ticket, Rule), (Plan,)) == classes(batch)
    assert ("registration-ticket", "registration-rule") == batch.wakes
    assert batch.trigger is None


def test_any_object_of_the_shape_is_a_suggestor() -> None:
    """The third form: name, reads, writes and suggest(view)."""

    class Batch:
        name = "batch"
        reads = (Ticket,)
        writes = (Plan,)
        options = Options(version="7")

        def suggest(self, view: View) -> Plan:
            return Plan(queue=self.name)

    made = Engine().register(Batch())

    assert isinstance(Batch(), SuggestorLike)
    assert ("batch", (Ticket,), (Plan,), "7") == (made.name, *classes(made), made.options.version)


def test_a_plain_function_can_be_registered_as_it_is() -> None:
    """The decorator is needed for options only."""

    def plan(ticket: Fact[Ticket]) -> Plan: ...

    assert ((Ticket,), (Plan,)) == classes(Engine().register(plan))


def test_a_method_bound_to_an_object_can_be_registered() -> None:
    """What it is bound to is no parameter."""

    class Desk:
        def plan(self, ticket: Fact[Ticket]) -> Plan: ...

    assert ((Ticket,), (Plan,)) == classes(Engine().register(Desk().plan))


def test_a_suggestor_can_still_be_called() -> None:
    """Decorating a function does not take it away."""

    @suggestor(reads=[], writes=[Plan])
    def start() -> Plan:
        return Plan(queue="first")

    assert Plan(queue="first") == start()


def test_one_suggestor_may_be_in_two_engines_under_two_packs() -> None:
    """Registering makes a copy with its place; the decorated function stays as it was."""

    @suggestor
    def plan(ticket: Fact[Ticket]) -> Plan: ...

    @suggestor
    def other(ticket: Fact[Ticket]) -> Plan: ...

    first = Engine([other]).register(plan, pack="money")
    second = Engine().register(plan)

    assert [("money", 1), (None, 0), (None, -1)] == [(one.pack, one.place) for one in (first, second, plan)]


def test_a_suggestor_may_read_anything() -> None:
    """reads=ANY is woken by every family."""

    @suggestor(reads=ANY, writes=[Plan])
    def watch(view: View) -> None: ...

    assert ("ANY", None, None) == (repr(watch.reads), watch.wakes, watch.read_names)


def test_further_reads_of_the_first_form_come_from_the_decorator() -> None:
    """They may be looked up in its view and do not wake it."""

    @suggestor(reads=[Rule])
    def plan(ticket: Fact[Ticket], view: View) -> Plan: ...

    assert ((Ticket, Rule), (Plan,)) == classes(plan)
    assert ("registration-ticket",) == plan.wakes


# --- annotations ------------------------------------------------------------------------------------------------------


def test_every_usual_way_to_annotate_a_return_is_understood() -> None:
    """Options, unions, sequences, generators and proposals are looked through."""

    def none(ticket: Fact[Ticket]) -> None: ...
    def optional(ticket: Fact[Ticket]) -> Optional[Plan]: ...  # noqa: UP045  # as users write it
    def union(ticket: Fact[Ticket]) -> Union[Plan, Note, None]: ...  # noqa: UP007  # as users write it
    def either(ticket: Fact[Ticket]) -> Plan | list[Note] | None: ...
    def several(ticket: Fact[Ticket]) -> Sequence[Plan | Note]: ...
    def pair(ticket: Fact[Ticket]) -> tuple[Plan, Note]: ...
    def many(ticket: Fact[Ticket]) -> tuple[Plan, ...]: ...
    def yields(ticket: Fact[Ticket]) -> Iterator[Plan]: ...
    def proposal(ticket: Fact[Ticket]) -> Proposal[Plan]: ...
    def proposals(ticket: Fact[Ticket]) -> Iterator[Proposal[Plan] | Note]: ...
    def annotated(ticket: Fact[Ticket]) -> Annotated[Plan, "whatever"]: ...
    async def waits(ticket: Fact[Ticket]) -> Plan | None: ...
    async def streams(ticket: Fact[Ticket]) -> AsyncIterator[Plan]: ...

    written = [
        Engine().register(one).writes for one in (none, optional, many, yields, proposal, annotated, waits, streams)
    ]
    of_both = [Engine().register(one).writes for one in (union, either, several, pair, proposals)]

    assert ([(), *[(Plan,)] * 7], [(Plan, Note)] * 5) == (written, of_both)


def test_classes_defined_where_the_suggestor_is_defined_resolve() -> None:
    """Annotations are text here; classes that only the enclosing function knows are found."""

    class Local(Payload, key="seeds", family="registration-local"):
        text: str = ""

    @suggestor
    def copy(ticket: Fact[Local]) -> Local | None: ...

    def plain(ticket: Fact[Local]) -> Plan: ...

    assert ((Local,), (Local,)) == classes(copy)
    assert ((Local,), (Plan,)) == classes(Engine([plain]).suggestors[0])


def make_plan() -> Suggestor:
    @suggestor
    def plan(ticket: Fact[Ticket]) -> Plan: ...

    return plan


def test_names_of_a_caller_do_not_change_what_an_annotation_means() -> None:
    """Only the functions around a suggestor lend it their names, not those that happen to call them."""
    Plan = Note  # noqa: N806  # a name that means another thing elsewhere

    made = make_plan()

    assert "Note" == Plan.__name__
    assert ["Plan"] == [cls.__name__ for cls in made.writes]


def test_an_answer_keeps_the_trigger_s_id_only_where_that_can_be_said() -> None:
    """Not in the trigger's own family: the trigger has the id. With a join its own family too: it is revised."""

    class Level(Payload, key="signals", family="registration-level"):
        value: int = 0

        def join(self, other: Level) -> Level:
            return self if self.value >= other.value else other

    def plan(ticket: Fact[Ticket]) -> Plan | Ticket: ...
    def raise_it(level: Fact[Level]) -> Level: ...

    made = Engine([plan, raise_it]).suggestors

    assert [{Plan}, {Level}] == [set(one.keeps_id) for one in made]


# --- what is wrong, in full -------------------------------------------------------------------------------------------


def test_a_parameter_that_is_a_payload_is_told_to_be_a_fact() -> None:
    def plan(ticket: Ticket) -> Plan: ...

    expected = "suggestor 'plan': its parameter 'ticket' is a Ticket. Write ticket: Fact[Ticket]"
    assert expected == problem_of(lambda: plan)


@pytest.mark.parametrize(
    ("annotation", "shown"), [(None, "nothing"), (int, "int"), (Fact, "Fact"), (list[int], "list[int]")]
)
def test_a_parameter_that_the_engine_cannot_fill_is_refused(annotation: Any, shown: str) -> None:
    def plan(ticket): ...  # type: ignore[no-untyped-def]  # annotated below

    plan.__annotations__ = {} if annotation is None else {"ticket": annotation}

    expected = (
        f"suggestor 'plan': its parameter 'ticket' is annotated with {shown}. "
        f"Annotate it Fact[…] (called for each new one), All[…] (every one) or View, with a payload class inside"
    )
    assert expected == problem_of(lambda: plan)


def test_a_fact_of_no_payload_is_refused() -> None:
    def plan(ticket: Fact[int]) -> Plan: ...  # type: ignore[type-var]  # that is the mistake

    assert "suggestor 'plan': int ('ticket') is no payload class. Derive it from Payload" == problem_of(lambda: plan)


def test_a_fact_of_a_class_without_a_key_is_refused() -> None:
    def plan(ticket: Fact[Keyless]) -> Plan: ...

    expected = "suggestor 'plan': Keyless ('ticket') has no key. Write: class Keyless(Payload, key=\"seeds\")"
    assert expected == problem_of(lambda: plan)


def test_a_return_that_is_no_payload_is_refused() -> None:
    def text(ticket: Fact[Ticket]) -> str: ...
    def table(ticket: Fact[Ticket]) -> dict[str, int]: ...

    expected = [
        "suggestor 'text': str ('return') is no payload class. Derive it from Payload",
        "suggestor 'table': dict[str, int] ('return') is no payload class. Derive it from Payload",
    ]
    assert expected == [problem_of(lambda: text), problem_of(lambda: table)]


def test_two_facts_are_refused() -> None:
    def plan(ticket: Fact[Ticket], rule: Fact[Rule]) -> Plan: ...

    expected = (
        "suggestor 'plan': it has 2 Fact[…] parameters, but is called for one fact at a time. "
        "Keep one and take the others as All[…], or look them up in a View"
    )
    assert expected == problem_of(lambda: plan)


def test_parameters_that_are_not_named_one_by_one_are_refused() -> None:
    def plan(*tickets: Fact[Ticket]) -> Plan: ...
    def named(**tickets: Fact[Ticket]) -> Plan: ...

    expected = [
        "suggestor 'plan': its parameter *tickets cannot be filled. Name each parameter",
        "suggestor 'named': its parameter *tickets cannot be filled. Name each parameter",
    ]
    assert expected == [problem_of(lambda: plan), problem_of(lambda: named)]


def test_a_parameter_that_is_taken_by_name_only_is_refused() -> None:
    """It would be a TypeError at the first call otherwise."""

    def plan(ticket: Fact[Ticket], *, rules: All[Rule]) -> Plan: ...

    expected = "suggestor 'plan': its parameter 'rules' is taken by name only. Remove the * before it"
    assert expected == problem_of(lambda: plan)


def test_a_name_that_nobody_knows_is_told() -> None:
    def plan(ticket: Fact[Tikcet]) -> Plan: ...  # type: ignore[name-defined]  # noqa: F821  # that is the mistake

    expected = "suggestor 'plan': its annotation 'Tikcet' cannot be resolved. Import it where the suggestor is defined"
    assert expected == problem_of(lambda: plan)


@pytest.mark.parametrize(
    ("annotation", "error"),
    [
        ("Fact[", "Forward reference must be an expression"),
        ("pytest.Nothing", "'pytest' has no attribute 'Nothing'"),
        ("All[1, 2]", ""),
    ],
)
def test_an_annotation_that_cannot_be_read_is_told(annotation: str, error: str) -> None:
    def plan(ticket): ...  # type: ignore[no-untyped-def]  # annotated below

    plan.__annotations__ = {"ticket": annotation}

    text = problem_of(lambda: plan)
    assert text.startswith("suggestor 'plan': its annotations cannot be read: ")
    assert error in text


def test_nothing_to_take_is_refused() -> None:
    def alone() -> Plan: ...
    def rules_only(rules: All[Rule]) -> Plan: ...

    told = "it takes neither a Fact[…] nor a View. Write one: (ticket: Fact[Ticket]) or (view: View)"
    expected = [f"suggestor 'alone': {told}", f"suggestor 'rules_only': {told}"]
    assert expected == [problem_of(lambda: alone), problem_of(lambda: rules_only)]


def test_a_view_with_everything_beside_it_is_told_to_look_it_up() -> None:
    def both(view: View, rules: All[Rule]) -> Plan: ...

    expected = "suggestor 'both': beside a View it takes All[Rule]. Look it up: view.all(Rule), with reads=[Rule]"
    assert expected == problem_of(lambda: both)


def test_no_reads_are_refused() -> None:
    def batch(view: View) -> Plan: ...

    expected = "suggestor 'batch': nothing says what it reads. Write: @suggestor(reads=[…], writes=[…])"
    assert expected == problem_of(lambda: batch)


def test_no_writes_are_refused() -> None:
    def plan(ticket: Fact[Ticket]): ...  # type: ignore[no-untyped-def]  # that is the mistake

    expected = (
        "suggestor 'plan': nothing says what it writes. "
        "Annotate its return (-> Plan) or write @suggestor(writes=[…]); writes=[] if it only acts"
    )
    assert expected == problem_of(lambda: plan)


def test_a_suggestor_may_read_what_does_not_wake_it() -> None:
    """In both forms that take a view: it runs for tickets alone, and sees the rules."""
    seen: list[tuple[str, int, int]] = []

    def look(name: str, view: View) -> None:
        seen.append((name, len(view.new(Ticket)), len(view.all(Rule))))

    @suggestor(reads=[Ticket, Rule], writes=[], wakes=[Ticket])
    def function(view: View) -> None:
        look("function", view)

    class Thing:
        name, reads, writes, wakes = "thing", (Ticket, Rule), (), (Ticket,)

        def suggest(self, view: View) -> None:
            look("thing", view)

    engine, context = Engine([function, Thing()]), Context()
    context.add(Rule(word="a"), id="r")
    first = engine.run_sync(context)
    first.context.add(Ticket(text="a"), id="t")
    second = engine.run_sync(first.context)
    second.context.add(Rule(word="b"), id="s")
    engine.run_sync(second.context)

    assert [("function", 1, 1), ("thing", 1, 1)] == seen


@pytest.mark.parametrize(
    ("wakes", "told"),
    [
        ([], "with wakes=[] it would never run. Name those of its reads that wake it"),
        ([Plan], "wakes holds Plan, which it does not read. Add it: reads=[…, Plan]"),
        (Ticket, "wakes=Ticket is not a list. Write: wakes=[Ticket]"),
    ],
)
def test_what_cannot_wake_is_refused(wakes: Any, told: str) -> None:
    make = partial(suggestor, reads=[Ticket], writes=[Plan], wakes=wakes)

    assert f"suggestor 'batch': {told}" == problem_of(lambda: make()(batch))


def test_the_first_form_is_woken_by_its_fact_alone() -> None:
    def plan(ticket: Fact[Ticket]) -> Plan: ...

    expected = "suggestor 'plan': it is called for each Ticket, which wakes it. Remove wakes=[…]"
    assert expected == problem_of(lambda: suggestor(wakes=[Ticket])(plan))


@pytest.mark.parametrize("what", ["reads", "writes"])
def test_one_class_where_a_list_belongs_is_told(what: str) -> None:
    given: dict[str, Any] = {"reads": [Ticket], "writes": [Plan], what: Rule}

    expected = f"suggestor 'batch': {what}=Rule is not a list. Write: {what}=[Rule]"
    assert expected == problem_of(lambda: suggestor(**given)(batch))


def batch(view: View) -> None: ...


def test_a_list_of_something_else_is_told() -> None:
    def make(reads: Any) -> str:
        return problem_of(lambda: suggestor(reads=reads, writes=[])(batch))

    told = ', which is no payload class with a key. Write: class …(Payload, key="…")'
    assert [
        f"suggestor 'batch': reads holds str{told}",
        f"suggestor 'batch': reads holds 'ticket'{told}",
        f"suggestor 'batch': reads holds Keyless{told}",
    ] == [make([str]), make(["ticket"]), make([Keyless])]


def test_two_suggestors_of_one_name_are_refused() -> None:
    """Both places are named."""
    engine = Engine([make_plan()])

    with pytest.raises(DuplicateName) as caught:
        engine.register(make_plan())

    where = f"{__name__}.make_plan.<locals>.plan (line {make_plan.__code__.co_firstlineno + 1})"
    assert (
        f"suggestor 'plan': the name is taken: {where} and {where}. Give one of them another: @suggestor(name=…)"
        == str(caught.value)
    )
    assert 1 == len(engine.suggestors)


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\nb", "x" * 201, 7])
def test_a_name_that_cannot_stand_in_a_log_is_refused(name: Any) -> None:
    expected = f"suggestor {str(name)!r}: a name is a printable text of 1 to 200 characters without '/'"
    assert expected == problem_of(lambda: suggestor(reads=[], writes=[], name=name)(batch))


@pytest.mark.parametrize("name", ["input", "engine"])
def test_the_engine_s_own_names_are_refused(name: str) -> None:
    expected = f"suggestor {name!r}: the name is the engine's own. Give another: @suggestor(name=…)"
    assert expected == problem_of(lambda: suggestor(reads=[], writes=[], name=name)(batch))


def test_objects_of_no_such_shape_are_refused() -> None:
    """What is missing is named, with the line to add."""

    class Batch:
        name = "batch"
        reads = (Ticket,)
        writes = (Plan,)

        def suggest(self, view: View) -> None: ...

    class Nameless(Batch):
        name = None  # type: ignore[assignment]  # that is the mistake

    class Blind(Batch):
        reads = None  # type: ignore[assignment]  # that is the mistake

    class Mute(Batch):
        writes = None  # type: ignore[assignment]  # that is the mistake

    class Odd(Batch):
        options = ("timeout", 3)

    expected = [
        "suggestor 'Batch': it is a class. Register an object of it: Batch()",
        "suggestor 'Nameless': it has no name. Write: name = \"nameless\" in the class",
        "suggestor 'batch': it has no reads. Write: reads = (…,) in class Blind",
        "suggestor 'batch': it has no writes. Write: writes = (…,) in class Mute",
        "suggestor 'batch': its options are a tuple. Write: options = Options(…)",
        "suggestor '7': a int is no suggestor. Use @suggestor, or an object with name, reads, writes and suggest(view)",
    ]
    assert expected == [
        problem_of(partial(next, iter([one]))) for one in (Batch, Nameless(), Blind(), Mute(), Odd(), 7)
    ]


def test_decorating_twice_is_refused() -> None:
    with pytest.raises(RegistrationError) as caught:
        suggestor(name="again")(make_plan())

    assert "suggestor 'plan': it is a suggestor already. Decorate it once" == str(caught.value)


def test_a_timeout_on_a_plain_function_is_refused() -> None:
    """Nothing could stop it."""
    told = "a plain function cannot be stopped by a timeout or deadline. Make it async, or add thread=True"

    texts = [problem_of(lambda: suggestor(reads=[], writes=[], timeout=1)(batch)),
             problem_of(lambda: suggestor(reads=[], writes=[], deadline=1)(batch))]  # fmt: skip

    assert [f"suggestor 'batch': {told}"] * 2 == texts
    assert suggestor(reads=[], writes=[], timeout=1, thread=True)(batch).awaits


def test_a_thread_for_an_async_function_is_refused() -> None:
    """It would come back with a coroutine that nobody awaits."""

    async def waits(view: View) -> None: ...

    expected = "suggestor 'waits': it is async already. Remove thread=True, which is for plain functions that block"
    assert expected == problem_of(lambda: suggestor(reads=[], writes=[], thread=True)(waits))


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        *[(name, value, "a positive number") for name in ("timeout", "deadline", "rate")
          for value in (0, -1, float("nan"), "3", True)],
        *[("retries", value, "a whole number from 0") for value in (-1, 1.5, True, None)],
        *[("backoff", value, "a number from 0") for value in (-0.1, float("nan"), None)],
        *[("limit", value, "a whole number from 1") for value in (0, -1, 1.5, True)],
        *[(name, value, "True or False") for name in ("thread", "serial", "pure") for value in (1, None, "yes")],
    ],
)  # fmt: skip
def test_an_option_out_of_range_is_refused(option: str, value: Any, allowed: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        Options(**{option: value})

    assert f"{option}={value!r} is not {allowed}" == str(caught.value)
    assert (option, allowed) == (caught.value.option, caught.value.allowed)


@pytest.mark.parametrize("option", ["timeout", "deadline", "rate", "backoff", "memo"])
def test_a_number_beyond_all_floats_is_refused_like_others(option: str) -> None:
    given: dict[str, Any] = {option: 10**400}
    with pytest.raises(InvalidOption, match=option):
        Options(**given)


def test_a_version_may_be_any_value() -> None:
    """It is kept as text, since a log is text."""
    assert ["", "2", "2026-01"] == [Options(version=version).version for version in ("", 2, "2026-01")]  # type: ignore[arg-type]  # people write numbers


def test_a_failed_registration_leaves_the_engine_as_it_was() -> None:
    engine = Engine([make_plan()])
    before = engine.suggestors

    with pytest.raises(RegistrationError):
        engine.register(7)

    assert before == engine.suggestors


def test_what_is_registered_after_a_run_takes_part_in_the_next() -> None:
    def note(ticket: Fact[Ticket]) -> Note:
        return Note(text=ticket.payload.text)

    engine, context = Engine(), Context()
    context.add(Ticket(text="refund"), id="t1")
    first = engine.run_sync(context)
    engine.register(note)

    second = engine.run_sync(context)

    assert [0, 1] == [len(result.context.of(Note)) for result in (first, second)]


def test_the_fingerprint_names_what_identifies_a_suggestor() -> None:
    """Version, reads and writes are part of it; the function's code is not."""
    plan = make_plan()
    renamed = replace(plan, options=Options(version="2", pure=False))

    reads, writes = ["registration-ticket"], ["registration-plan"]
    expected = {"name": "plan", "version": "2", "pure": False, "reads": reads, "writes": writes}
    assert expected == renamed.fingerprint().to_json()


def test_two_versions_of_a_family_agree_on_what_a_conflict_is() -> None:
    """Else it would depend on who spoke first which of the rules holds."""

    class Rate1(Payload, key="signals", family="registration-rate"):
        cents: int

    class Rate2(Payload, key="signals", family="registration-rate", version=2, on_conflict="stop"):
        cents: int

    @suggestor
    def old(ticket: Fact[Ticket]) -> Rate1:
        return Rate1(cents=1)

    @suggestor
    def new(ticket: Fact[Ticket]) -> Rate2:
        return Rate2(cents=1)

    with pytest.raises(RegistrationError) as caught:
        Engine([old, new])

    expected = "suggestor 'new': it writes Rate2 (version 2 of 'registration-rate'), suggestor 'old' writes version 1, "
    expected += "and they treat conflicts differently (on_conflict='stop', on_conflict='contest'). "
    assert expected + "Give both the same on_conflict and join" == str(caught.value)


async def _later(view: View) -> Any:
    return None


@pytest.mark.parametrize("make", [invariant(reads=[Ticket]), goal(reads=[Ticket])])
def test_what_is_asked_inside_a_commit_is_a_plain_function(make: Any) -> None:
    with pytest.raises(InvalidOption, match="Leave out `async`"):
        make(_later)
