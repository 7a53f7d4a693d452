"""Holds redaction to its promise: the bytes are gone everywhere, the chain stands, and it is told why."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import Approve, Engine, Gate, propose, suggestor
from quiesce.facts import Context, Fact, FactLog, Fenced, LogError, Opaque, Payload, RunId, replay, verify
from quiesce.facts.forget import OWNED
from quiesce.facts.lease import Leased
from quiesce.facts.proof import check_proof
from quiesce.facts.redact import NotHere
from quiesce.facts.stores import Address
from quiesce.facts.tombstone import Tombstone
from support.histories import START, STORES, copy_of, cut_at, everything, note_at, write_history
from support.refusing import Refusing
from support.strategies import World, worlds

RUN = RunId("r")
SPACES = (*OWNED, "projection", "base")


class Person(Payload, key="seeds", family="redact-person"):
    name: str


class Letter(Payload, key="strategies", family="redact-letter"):
    text: str


@suggestor
def write(person: Fact[Person]) -> Letter:
    return Letter(text=f"dear {len(person.payload.name)}")


@suggestor(reads=[Person], writes=[Letter], name="gossip")
def gossip(view):  # type: ignore[no-untyped-def]  # of a view
    for fact in view.new(Person):
        yield propose(Letter(text=f"{fact.payload.name} again"), id=fact.id, because=[fact])


def written(log: FactLog, run: str = "r", names: tuple[str, ...] = ("Zebedee", "Yolanda")) -> FactLog:
    context = Context()
    for name in names:
        context.add(Person(name=name), id=name[0].lower())
    Engine([write, gossip], gates=[Gate("some", [Letter], below_confidence=0.1)]).run_sync(
        context, log=log, run_id=run, seed=1, started=START
    )
    return log


# --- properties -------------------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(world=worlds(), data=st.data())
def test_redaction_keeps_the_chain_and_everything_else(world: World, data: st.DataObject) -> None:
    """Of any run, compacted or not: it verifies, and every fact but the redacted is what it was."""
    log = FactLog.open()
    write_history(log, world)
    if data.draw(st.booleans(), label="compact"):
        log.compact()
    before = {run: replay(log, run) for run in log.runs()}
    roots = {run: log.root_of(run) for run in log.runs()}
    refs = sorted({fact.ref for fact in before[RunId("three")]})
    chosen = data.draw(st.lists(st.sampled_from(refs), min_size=1, max_size=3, unique=True), label="refs")
    planned = log.redact("three", chosen, reason="asked", by="ana", everywhere=True, dry_run=True)
    assert [True] * len(before) == [verify(log, run).ok and not verify(log, run).gone for run in before]
    done = log.redact("three", chosen, reason="asked", by="ana", everywhere=True)

    assert done == replace(planned, dry_run=False)
    for run, context in before.items():
        found, after = verify(log, run), replay(log, run)
        assert found.fault is None
        assert set(found.gone) <= set(done.digests)
        assert roots[run] == log.root_of(run) == FactLog(log.store).root_of(run)
        assert list(context) == list(after)  # facts are compared by their digests
        for old, new in zip(context, after, strict=True):
            gone = isinstance(new.payload, Opaque) and new.payload.tombstone
            assert bool(gone) == (old.digest in done.digests)
            assert gone or old.payload == new.payload
    assert not any(
        digest in record.payloads for run in before for record in log.records(run) for digest in done.digests
    )


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("compacted", [False, True])
def test_the_bytes_are_gone_from_everything_that_a_store_has(store: str, compacted: bool, tmp_path: Path) -> None:
    """Payloads, losers, diagnostics that repeat them, recorded answers, snapshots; also from the raw files."""
    log = written(FactLog(STORES[store](tmp_path)))
    note_at(log.store, Address("memo", "", "m"), json.dumps({"body": '{"name":"Zebedee"}'}).encode())
    note_at(log.store, Address("journal", "r", "m"), b'{"text":"dear 7"}')
    note_at(log.store, Address("memo", "", "other"), b"something else")
    if compacted:
        cut_at(log, "r", log.length("r") - 1)
    before = verify(log, "r")
    done = log.redact("r", ["redact-person:z", "redact-letter:z"], reason="asked", by="ana")
    kept = everything(log.store, log.runs(), SPACES)
    notes = [address.key for space in ("memo", "journal") for address, _ in log.notes(space)]
    proof = log.prove("r", "redact-person:z")
    after = verify(log, "r")
    log.close()
    raw = kept + b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())

    assert (True, before.root) == (after.ok, after.root)
    assert (["other"], 2) == (notes, done.notes)
    for word in (b"Zebedee", b"dear 7"):
        assert word not in raw
    assert b"Yolanda" in kept or compacted
    assert (None, True) == (proof.payload, check_proof(proof.to_json(), root=before.root).ok)


# --- examples ---------------------------------------------------------------------------------------------------------


def test_a_redacted_fact_says_why_it_is_gone() -> None:
    log = written(FactLog.open())
    done = log.redact("r", "redact-person:z", reason="erasure request 17", by="ana")
    fact = replay(log, "r").find("redact-person:z")
    found = verify(log, "r")

    assert fact is not None
    assert isinstance(fact.payload, Opaque)
    told = Tombstone.read(fact.payload.tombstone)
    assert ("erasure request 17", "ana", b"") == (told.reason, told.by, fact.payload.raw)
    assert datetime.fromisoformat(told.at).tzinfo is not None
    assert f"redacted by ana at {told.at}: erasure request 17" == str(told)
    assert (done.digests, (told,)) == (found.gone, found.tombstones)
    assert "1 payload redacted (1 for erasure request 17, by ana)" in str(found)


def test_a_report_says_what_is_left_elsewhere() -> None:
    log = written(written(written(FactLog.open()), "s"), "t", ("Zoe",))
    done = log.redact("r", ["redact-person:z"], reason="asked", by="ana")

    assert {"r": 1} == done.runs
    assert ("s",) == done.elsewhere
    assert "redact-letter:z" == done.mentions[0]
    assert ["contested"] == [ref.partition(":")[0] for ref in done.mentions[1:]], "it rests on the letter"
    assert "1 payload of redact-person:z erased in 1 run: 18 bytes" == str(done).splitlines()[0]
    assert "the same content still stands in 1 other run: s" in str(done)
    assert "what may repeat it still stands: redact-letter:z, contested:" in str(done)

    again = log.redact("r", ["redact-person:z"], reason="once more", by="bob", everywhere=True)

    assert ({"s": 1}, 1, ()) == (again.runs, again.already, again.elsewhere)
    assert ["ana", "bob"] == [verify(log, run).tombstones[0].by for run in ("r", "s")]


def test_a_report_names_what_rests_on_it_through_others() -> None:
    context = Context()
    person = context.add(Person(name="Zebedee"), id="z")
    first = context.add(Letter(text="Zebedee"), id="one", because=[person])
    second = context.add(Letter(text="Zebedee again"), id="two", because=[first])
    context.add(Letter(text="nobody"), id="three")
    log = FactLog.open()
    Engine([]).run_sync(context, log=log, run_id="r", seed=1, started=START)

    done = log.redact("r", person.ref, reason="asked", by="ana", dry_run=True)

    assert (first.ref, second.ref) == done.mentions


@pytest.mark.parametrize("everywhere", [False, True])
def test_damage_in_one_run_keeps_nothing_from_being_erased_in_others(tmp_path: Path, everywhere: bool) -> None:
    log = written(written(written(FactLog.open(tmp_path / "log.db")), "s"), "t")
    log.close()
    with sqlite3.connect(tmp_path / "log.db") as database:
        database.execute("UPDATE events SET raw = zeroblob(9) WHERE run = 2 AND seq = 2")
    database.close()
    log = FactLog.open(tmp_path / "log.db")
    done = log.redact("r", "redact-person:z", reason="asked", by="ana", everywhere=everywhere)
    gone = {run: len(verify(log, run).gone) for run in ("r", "t")}
    log.close()

    assert (("s",), () if everywhere else ("t",)) == (done.unread, done.elsewhere)
    assert {"r": 1, "t": int(everywhere)} == gone
    assert "not looked into, and not erased there: 1 other run with damage: s" in str(done)


def test_redacting_twice_changes_nothing_more() -> None:
    log = written(FactLog.open())
    log.redact("r", ["redact-person:z"], reason="asked", by="ana")
    expected = log.export("r")
    again = log.redact("r", ["redact-person:z"], reason="asked again", by="bob")

    assert (0, 1, expected) == (again.payloads, again.already, log.export("r"))
    assert str(again).endswith("1 payload had been redacted before\n") or "had been redacted before" in str(again)


def test_what_is_parked_and_what_was_refused_goes_too() -> None:
    log = FactLog.open()
    context = Context()
    context.add(Person(name="Zebedee"), id="z")
    engine = Engine([gossip], gates=[Gate("all", [Letter])])
    result = engine.run_sync(context, log=log, run_id="r", started=START)
    done = log.redact("r", "redact-letter:z", reason="asked", by="ana")

    assert 1 == done.payloads
    assert b"Zebedee again" not in everything(log.store, ["r"], SPACES)
    assert verify(log, "r").ok
    decided = engine.resume_sync("r", [Approve(next(iter(result.gates)), by="bob")], log=log)
    assert b"Zebedee again" not in everything(log.store, ["r"], SPACES)
    assert (True, "converged") == (verify(log, "r").ok, decided.log.stopped("r").stop["kind"])  # type: ignore[union-attr]


def test_what_was_redacted_stays_so_in_a_run_that_takes_it_over() -> None:
    """Carried over to another log, with its tombstone."""
    log, other = written(FactLog.open()), FactLog.open()
    log.redact("r", "redact-person:z", reason="asked", by="ana")
    Engine([write]).run_sync(replay(log, "r"), log=other, run_id="s")

    assert (True, verify(log, "r").tombstones) == (verify(other, "s").ok, verify(other, "s").tombstones)


def test_an_export_keeps_the_tombstones() -> None:
    log = written(FactLog.open())
    log.redact("r", "redact-person:z", reason="asked", by="ana")
    for cut in (False, True):
        if cut:
            cut_at(log, "r", log.length("r") - 1)
        other = copy_of(log)

        assert verify(log, "r") == verify(other, "r")
        assert log.to_bytes("r") == other.to_bytes("r")


def test_a_fact_of_a_parent_names_the_run_in_which_it_stands() -> None:
    log = written(FactLog.open())
    more = replay(log, "r")
    more.add(Person(name="Xaver"), id="x")
    Engine([write]).run_sync(more, log=log, run_id="c")
    with pytest.raises(NotHere) as caught:
        log.redact("c", ["redact-person:x", "redact-person:z"], reason="asked", by="ana")

    expected = (
        "run c has no fact or proposal 'redact-person:z' of its own. It stands in run r, from which this one goes on: "
        "name that run"
    )
    assert ("r", expected) == (caught.value.stands_in, str(caught.value))
    assert () == verify(log, "c").gone
    with pytest.raises(NotHere, match="Neither have the runs from which it goes on"):
        log.redact("c", "redact-person:nobody", reason="asked", by="ana")


@pytest.mark.parametrize(
    ("refs", "reason", "by", "problem"),
    [
        ([], "asked", "ana", "no ref is given"),
        (["redact-person:z"], " ", "ana", "reason=' ' is blank"),
        (["redact-person:z"], "asked", "", "by='' is blank"),
        (["redact-person:z"], "asked\n", "ana", "is blank or not printable"),
        (["redact-person:z"], None, "ana", "reason=None is blank"),
    ],
)
def test_who_asked_and_why_has_to_be_said(refs: list[str], reason: str, by: str, problem: str) -> None:
    with pytest.raises(LogError, match=problem):
        written(FactLog.open()).redact("r", refs, reason=reason, by=by)


@pytest.mark.parametrize("error", [OSError("disk full"), Fenced("r", 1, 2)])
def test_a_redaction_that_cannot_be_kept_changes_nothing(error: Exception) -> None:
    store = Refusing()
    log = written(written(FactLog(store)), "s")
    expected = log.export("r") + log.export("s")
    store.error = error
    with pytest.raises(type(error)):
        log.redact("r", "redact-person:z", reason="asked", by="ana", everywhere=True)

    assert expected == log.export("r") + log.export("s")


def test_a_run_that_somebody_else_writes_to_is_refused() -> None:
    """And with it the whole redaction, wherever else the payload stands."""
    store = Refusing()
    mine, theirs = FactLog(store), FactLog(store)
    written(mine)
    events = [logged.event for logged in mine.events("r")]
    theirs.claim(RunId("s"))
    theirs.append(RunId("s"), events[:-1])
    with pytest.raises(Leased):
        mine.redact("r", "redact-person:z", reason="asked", by="ana", everywhere=True)

    assert () == verify(mine, "r").gone
    mine.redact("r", "redact-person:z", reason="asked", by="ana")
    assert 1 == len(verify(mine, "r").gone)


def test_a_damaged_note_goes_with_what_is_redacted() -> None:
    """Nobody can use it, and it may hold anything."""
    log = written(FactLog.open())
    note_at(log.store, Address("memo", "", "m"), b"x")
    log.store._notes[Address("memo", "", "m")] = log.store._notes[Address("memo", "", "m")]._replace(value=b"Zebedee")  # type: ignore[attr-defined]  # damage

    assert 1 == log.redact("r", "redact-person:z", reason="asked", by="ana").notes
