"""Shows that what is known of quarantines is the same in the run, in the ledger, and however processes commit."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import Engine, propose, suggestor
from quiesce.facts import Context, Fact, FactLog, Payload
from quiesce.suggestors.selection.known import known_quarantines
from quiesce.suggestors.selection.payloads import KnownQuarantine, Quarantine
from support.at_once import run_at_once

WORKER = Path(__file__).with_name("quarantine_worker.py")


class Say(Payload, key="seeds", family="selection-say"):
    id: str
    said: tuple[Quarantine, ...]


@suggestor(writes=[Quarantine])
def say(one: Fact[Say]) -> list[object]:
    return [propose(said, id=one.payload.id) for said in one.payload.said]


said = st.builds(
    Quarantine,
    backend=st.sampled_from("ab"),
    reason=st.sampled_from(["drift", "health"]),
    until=st.sampled_from([None, datetime(2026, 11, 21, tzinfo=UTC)]),
    number=st.integers(1, 3),
    lifted=st.sampled_from(["", "well"]),
    one_in=st.integers(0, 2),
)


def known(payload: Quarantine) -> KnownQuarantine:
    return KnownQuarantine(**payload.model_dump())


def fold(saids: list[Quarantine]) -> KnownQuarantine | None:
    value = None
    for one in saids:
        value = known_quarantines(value, Context().add(one, id="x"))
    return value


@given(saids=st.lists(said, min_size=1, max_size=5), data=st.data())
def test_what_is_known_does_not_depend_on_who_commits_first(saids: list[Quarantine], data: st.DataObject) -> None:
    """A late commit of what was said early does not bring back what was lifted since."""
    turned = data.draw(st.permutations(saids))

    assert fold(saids) == fold(turned) == fold([*turned, *saids])


@pytest.mark.slow
@given(saids=st.lists(st.tuples(st.sampled_from("xy"), st.lists(said, max_size=3)), max_size=5))
def test_the_run_and_the_ledger_agree(saids: list[tuple[str, list[Quarantine]]]) -> None:
    """What a run makes of quarantines by joining them is what the projection makes of its commits."""
    log = FactLog.open(projections=[known_quarantines])
    context = Context()
    for id, some in saids:
        context.add(Say(id=id, said=tuple(some)))
    result = Engine([say]).run_sync(context, log=log)
    in_run = {id: known(fact.payload) for id, fact in result.context.of(Quarantine).items()}

    assert in_run == dict(log.values(known_quarantines))
    assert all(check.ok for check in log.check_projections())


def test_what_is_known_comes_into_the_next_run_under_its_id_with_its_source() -> None:
    log = FactLog.open(projections=[known_quarantines])
    context = Context()
    context.add(Quarantine(backend="a", reason="drift", lifted="well"), id="a-drift")
    Engine([say]).run_sync(context, log=log)
    (fact,) = log.context().of(KnownQuarantine).values()

    assert ("a-drift", "a", "well") == (fact.id, fact.payload.backend, fact.payload.lifted)
    assert fact.by.startswith("projection known_quarantines@")


@pytest.mark.slow
def test_four_processes_lose_no_quarantine(tmp_path: Path) -> None:
    """The highest number stands, the lifted one over the same; and a fold from scratch gives what is stored."""
    runs, url = 8, str(tmp_path / "log.db")
    with FactLog.open(url, projections=[known_quarantines]):
        pass  # it is there before they come
    codes = run_at_once([[sys.executable, str(WORKER), url, name, str(runs)] for name in "abcd"])
    with FactLog.open(url, projections=[known_quarantines]) as log:
        before = dict(log.values(known_quarantines))
        log.rebuild(known_quarantines.name)

        assert [0] * 4 == codes
        assert before == dict(log.values(known_quarantines))
        assert {"a", "b", "c", "d", "shared"} == set(before)
        assert {(name, f"run {runs}", runs) for name in "abcd"} == {
            (id, one.reason, one.number) for id, one in before.items() if id != "shared"
        }
        assert (runs, "d", "") == (before["shared"].number, before["shared"].reason, before["shared"].lifted)
