"""Holds packs to it that they choose who takes part in a run, and that a name that nobody gave is told."""

import pytest

from quiesce.engine import (
    Budget,
    ChangedSuggestors,
    Converged,
    Engine,
    InvalidOption,
    InvocationStarted,
    Notice,
    UnknownPack,
    suggestor,
)
from quiesce.facts import Context, Fact, Payload, RunResumed


class Ticket(Payload, key="seeds", family="packs-ticket"):
    text: str = ""


class Plan(Payload, key="strategies", family="packs-plan"):
    queue: str = ""


class Calls:
    """An engine of three suggestors, two of them in packs, and who of them was called."""

    def __init__(self) -> None:
        self.engine = Engine(observers=[self.note])
        self.names: list[str] = []
        for name, pack in (("always", None), ("billing", "money"), ("polite", "tone")):
            self.engine.register(suggestor(name=name)(self.answer), pack=pack)

    def answer(self, ticket: Fact[Ticket]) -> Plan | None: ...

    def note(self, notice: Notice) -> None:
        if isinstance(notice, InvocationStarted):
            self.names.append(notice.suggestor)


@pytest.mark.parametrize(
    ("packs", "called"),
    [
        (None, ["always", "billing", "polite"]),
        ({"money"}, ["always", "billing"]),
        (["tone", "money"], ["always", "billing", "polite"]),
        ([], ["always"]),
    ],
)
def test_suggestors_of_the_chosen_packs_and_those_without_one_take_part(
    packs: list[str] | None, called: list[str]
) -> None:
    """No choice is all of them; a choice of none is none of those in packs."""
    calls, context = Calls(), Context()
    context.add(Ticket(), id="t1")
    calls.engine.run_sync(context, packs=packs)

    assert called == calls.names


def test_a_pack_that_nobody_is_in_is_told() -> None:
    """Taking part in silence is what a typing error would otherwise do."""
    with pytest.raises(UnknownPack) as caught:
        Calls().engine.run_sync(packs={"money", "mony"})

    assert "no pack 'mony'. Known: money, tone" == str(caught.value)


def test_a_pack_where_there_is_none_is_told_how_to_make_one() -> None:
    with pytest.raises(UnknownPack) as caught:
        Engine().run_sync(packs={"money"})

    assert "no pack 'money'. Known: none; register(…, pack=…) makes one" == str(caught.value)


def test_a_text_where_names_belong_is_told() -> None:
    with pytest.raises(InvalidOption) as caught:
        Calls().engine.run_sync(packs="money")

    assert "packs='money' is not a set of names. Write: packs={'money'}" == str(caught.value)


def test_a_pack_chosen_later_sees_what_it_missed() -> None:
    calls, context = Calls(), Context()
    context.add(Ticket(), id="t1")
    first = calls.engine.run_sync(context, packs={"money"})
    calls.names.clear()
    calls.engine.run_sync(first.context)

    assert ["polite"] == calls.names


async def test_a_resumed_run_may_take_other_packs() -> None:
    calls, context = Calls(), Context()
    context.add(Ticket(), id="t1")
    first = await calls.engine.run(context, packs={"money"})
    calls.names.clear()
    await calls.engine.resume(first, packs={"tone"})

    assert (["polite"], ("money", "tone")) == (calls.names, calls.engine.packs)


async def test_a_resumed_run_keeps_its_packs_and_its_budget() -> None:
    """Whom the run had left out stays out, and what it may use is not more than before."""
    calls, context = Calls(), Context()
    context.add(Ticket(), id="t1")
    first = await calls.engine.run(context, packs={"money"}, budget=Budget(facts=9))
    calls.names.clear()
    first.context.add(Ticket(), id="t2")
    resumed = await calls.engine.resume(first)
    by_id = await calls.engine.resume(first.run_id, log=first.log)

    assert "polite" not in calls.names
    settings = [
        logged.event.settings for logged in first.log.events(first.run_id) if isinstance(logged.event, RunResumed)
    ]
    assert [(["money"], 9)] * 2 == [(one["packs"], one["budget"]["facts"]) for one in settings]
    assert (Converged, Converged) == (type(resumed.stop), type(by_id.stop))


async def test_a_run_is_not_resumed_without_its_suggestors_unawares() -> None:
    calls, context = Calls(), Context()
    context.add(Ticket(), id="t1")
    first = await calls.engine.run(context)

    with pytest.raises(ChangedSuggestors, match=r"\n- suggestor 'billing' is missing\n"):
        await Engine().resume(first.run_id, log=first.log)
    assert isinstance((await Engine().resume(first, accept_changes=True)).stop, Converged)


def test_only_who_takes_part_is_named_in_the_log() -> None:
    result = Calls().engine.run_sync(packs={"money"})

    assert ["always", "billing"] == [one.name for one in result.log.started(result.run_id).suggestors]
