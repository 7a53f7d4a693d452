"""Holds a ledger to design section 7: what is stored of a projection is what folding the ledger from scratch gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import Engine
from quiesce.facts import (
    BrokenProjection,
    Context,
    Fact,
    FactLog,
    Fenced,
    FoldFailed,
    JsonLinesStore,
    Payload,
    Projection,
    ProjectionBehind,
    ProjectionError,
    ProjectionOutdated,
    Record,
    RunId,
    SqliteStore,
    StoreError,
    TakenOver,
    projection,
    replay,
)
from quiesce.facts.event import ContextCarried, CycleCommitted, Event, RunStopped
from quiesce.facts.ledger import rebase
from quiesce.facts.standing import TRIES, bases_of, entry_of, values_of
from quiesce.facts.stores import Address, Batch, MemoryStore, Note, Put, Stale, Store
from quiesce.facts.trail import Rejection
from support.ledger_worker import count_in_processes
from support.payloads import STOPPED, started


class Hit(Payload, key="signals", family="ledger-hit"):
    who: str
    n: int


class Miss(Payload, key="signals", family="ledger-miss"):
    who: str


class Total(Payload, key="signals", family="ledger-total"):
    n: int


class Recent(Payload, key="signals", family="ledger-recent"):
    """The last three, which depend on the order."""

    items: list[int]
    mean: float


class Lives(Payload, key="signals", family="ledger-lives"):
    left: int


def who(fact: Fact[Any]) -> str:
    name: str = fact.payload.who
    return name


@projection(reads=[Hit], by=who)
def total(before: Total | None, fact: Fact[Hit]) -> Total:
    return Total(n=(before.n if before else 0) + fact.payload.n)


@projection(reads=[Hit], by=lambda fact: [fact.payload.who, "all"])
def recent(before: Recent | None, fact: Fact[Hit]) -> Recent:
    """Does not commute."""
    items, mean = (before.items, before.mean) if before else ([], 0.0)
    return Recent(items=[*items, fact.payload.n][-3:], mean=mean * 0.7 + fact.payload.n * 0.3)


@projection(reads=[Hit, Miss], by=who)
def lives(before: Lives | None, fact: Fact[Any]) -> Lives | None:
    """Comes and goes."""
    left = (before.left if before else 2) - isinstance(fact.payload, Miss)
    return Lives(left=left) if left else None


ALL: tuple[Projection[Any], ...] = (total, recent, lives)


class EagerStore(MemoryStore):
    """A store in memory that takes what it is given at once, and lets somebody in between reading and commit."""

    lazy = False

    def __init__(self) -> None:
        super().__init__()
        self.between: list[Callable[[], object]] = []

    def commit(self, batch: Batch) -> None:
        if self.between:
            happens, *later = self.between
            self.between = []
            happens()
            self.between = later
        super().commit(batch)


def fact(payload: Payload, id: str = "f") -> Fact[Any]:
    return Context().add(payload, id=id)


def context_of(*facts: Fact[Any]) -> Context:
    context = Context()
    for each in facts:
        context.add(each.payload, id=each.id)
    return context


def hits(*ns: int, who: str = "ana") -> list[Fact[Any]]:
    return [fact(Hit(who=who, n=n), f"{who}{place}") for place, n in enumerate(ns)]


def say(log: FactLog, run: str, facts: Sequence[Fact[Any]]) -> None:
    """Writes a run that commits facts, in one append."""
    log.append(RunId(run), [started(), CycleCommitted(0, (), facts), RunStopped(STOPPED, len(facts))])
    log.flush()


def folded(facts: Sequence[Fact[Any]], one: Projection[Any] = total) -> dict[str, Payload]:
    """Returns what a projection makes of facts in this order; the plain meaning of it."""
    values: dict[str, Any] = {}
    for each in facts:
        if each.family in one.families:
            for id in one.ids_of(each):
                values[id] = one(values.get(id), each)
    return {id: values[id] for id in sorted(values) if values[id] is not None}


def drop(log: FactLog, run: str) -> None:
    """Takes a run out of the ledger, as retention does."""
    while True:
        batch = Batch(ends={RunId(run): log.length(run)}, dropped={RunId(run)})
        rebase(log, batch)
        try:
            return log.store.commit(batch)
        except Stale:
            continue


STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda place: MemoryStore(),
    "eager": lambda place: EagerStore(),
    "jsonl": lambda place: JsonLinesStore(place / "log.jsonl"),
    "sqlite": lambda place: SqliteStore(place / "log.db"),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()


def log_of(store: Store, *projections: Projection[Any]) -> FactLog:
    log = FactLog(store)
    log.register(*projections)
    return log


# --- values ----------------------------------------------------------------------------------------------------------


def test_values_are_those_of_every_fact_of_every_run(store: Store) -> None:
    log = log_of(store, total)
    say(log, "a", hits(1, 2))
    say(log, "b", [*hits(3), *hits(4, who="ben")])
    values = log.values(total)

    assert {"ana": Total(n=6), "ben": Total(n=4)} == dict(values)
    assert (2, "total", log.store.position()) == (len(values), values.name, values.watermark)
    assert dict(values) == dict(log.values("total"))


def test_a_store_in_memory_folds_when_somebody_asks() -> None:
    log = log_of(MemoryStore(), total)
    for n in range(3):
        log.append(RunId(f"r{n}"), [started(), CycleCommitted(0, (), hits(n))])

    assert [] == log.store.runs()
    assert {"ana": Total(n=3)} == dict(log.values(total))


class Kinds(Payload, key="signals", family="ledger-kinds"):
    seen: Any


@projection(reads=[Hit], by=who)
def kinds(before: Kinds | None, fact: Fact[Hit]) -> Kinds:
    """Sees whether it is given what it returned, a tuple, or what was read back, a list."""
    return Kinds(seen=(type(before.seen).__name__ if before else "", *(before.seen[:4] if before else ())))


def test_where_an_append_ends_does_not_show_in_a_value(store: Store) -> None:
    one, two = log_of(store, kinds), log_of(MemoryStore(), kinds)
    say(one, "a", hits(1, 2, 3))
    for n in range(3):
        say(two, str(n), hits(n))

    assert dict(one.values(kinds)) == dict(two.values(kinds))
    assert [True, True] == [check.ok for log in (one, two) for check in log.check_projections()]


def test_facts_that_were_there_before_count(store: Store) -> None:
    say(FactLog(store), "a", hits(1, 2))
    log = log_of(store, *ALL)

    assert [folded(hits(1, 2), one) for one in ALL] == [dict(log.values(one)) for one in ALL]


def test_only_what_a_cycle_committed_counts(store: Store) -> None:
    """Not what a run took over from another log, and not what was refused."""
    log = log_of(store, total)
    one, two = hits(1, 2)
    refused = Rejection(two.ref, two.key, 1, "x", 0, 1.0, (), "refused", two.payload, two.sha256)
    events: list[Event] = [started(), ContextCarried(0, [one], [], {}, [], []), CycleCommitted(1, (), [], [refused])]
    log.append(RunId("a"), events)

    assert {} == dict(log.values(total))
    assert [True] == [check.ok for check in log.check_projections()]


def test_a_value_that_becomes_none_is_gone(store: Store) -> None:
    log = log_of(store, lives)
    misses = [fact(Miss(who="ana"), f"m{n}") for n in range(3)]
    say(log, "a", [misses[0]])
    left = dict(log.values(lives))
    say(log, "b", [misses[1]])
    none = dict(log.values(lives))
    say(log, "c", [misses[2]])

    assert [{"ana": Lives(left=1)}, {}, {"ana": Lives(left=1)}] == [left, none, dict(log.values(lives))]


def test_what_a_process_does_not_know_is_folded_by_the_next_that_does(store: Store) -> None:
    """Nothing is lost where code without the projection appends facts of its families."""
    knows, does_not = log_of(store, *ALL), FactLog(store)
    say(knows, "a", hits(1))
    say(does_not, "b", hits(2, 3))
    read = dict(knows.values(recent))
    say(knows, "c", hits(4))

    assert folded(hits(1, 2, 3), recent) == read
    assert [folded(hits(1, 2, 3, 4), one) for one in ALL] == [dict(knows.values(one)) for one in ALL]
    assert [True, True, True] == [check.ok for check in knows.check_projections()]


def test_reading_writes_nothing(store: Store) -> None:
    knows, does_not = log_of(store, total), FactLog(store)
    say(does_not, "a", hits(1))
    before = [list(store.notes(space)) for space in ("projection", values_of("total"))]
    knows.values(total), knows.context(), knows.check_projections()

    assert before == [list(store.notes(space)) for space in ("projection", values_of("total"))]


def test_an_append_rewrites_only_the_values_that_it_changes() -> None:
    store = EagerStore()
    log = log_of(store, total)
    say(log, "a", [*hits(1), *hits(1, who="ben")])
    before = dict(store.notes(values_of("total")))
    say(log, "b", hits(1))
    after = dict(store.notes(values_of("total")))

    assert ["", "ana"] == [address.key for address in after if after[address] != before[address]]


def test_values_that_are_kept_survive_the_process(tmp_path: Path) -> None:
    for n in range(3):
        with FactLog.open(tmp_path / "log.db", projections=[total]) as log:
            say(log, str(n), hits(n))

            assert {"ana": Total(n=sum(range(n + 1)))} == dict(log.values(total))


def test_runs_that_are_loaded_count(store: Store) -> None:
    """In the transaction in which they come in."""
    other = FactLog.open()
    say(other, "x", hits(5))
    say(other, "y", hits(6))
    log = log_of(store, recent)
    say(log, "a", hits(1))
    log.load(other.export("x") + other.export("y"))
    notes = {address.key for address, _ in store.notes(values_of("recent"))}

    assert folded(hits(1, 5, 6), recent) == dict(log.values(recent))
    assert {"", "all", "ana"} == notes


def test_many_values_are_forgotten_by_a_process_and_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quiesce.facts.folding.KNOWN", 3)
    log = log_of(EagerStore(), total)
    for n in range(30):
        say(log, str(n), hits(1, who=f"w{n % 7}"))

    assert {f"w{n}": Total(n=5 if n < 2 else 4) for n in range(7)} == dict(log.values(total))
    assert [True] == [check.ok for check in log.check_projections()]


def test_a_long_ledger_is_read_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quiesce.facts.folding.CHUNK", 2)
    store = EagerStore()
    first, progress = FactLog(store), list[int]()
    for n in range(60):
        say(first, str(n), hits(n))
    log = FactLog(store)
    log.register(recent, progress=progress.append)

    assert folded(hits(*range(60)), recent) == dict(log.values(recent))
    assert [64, 128] == progress


# --- contexts --------------------------------------------------------------------------------------------------------


def test_a_context_starts_with_the_values_and_says_where_they_are_from(store: Store) -> None:
    log = log_of(store, total, lives)
    say(log, "a", hits(1, 2))
    known = log.context().of(Total)["ana"]

    assert (Total(n=3), f"projection total@{log.values(total).watermark}") == (known.payload, known.by)
    assert ["ledger-total", "ledger-lives"] == list(log.context().families)


def test_a_run_replays_with_what_was_known_then(store: Store) -> None:
    """Whatever has been learned since."""
    log = log_of(store, total)
    say(log, "a", hits(1))
    result = Engine([]).run_sync(log.context(), log=log, run_id="b")
    say(log, "c", hits(9))

    assert [Total(n=1)] == [known.payload for known in replay(log, "b").of(Total).values()]
    assert result.context == replay(log, "b")
    assert {"ana": Total(n=10)} == dict(log.values(total))


# --- registering -----------------------------------------------------------------------------------------------------


def named(name: str, version: str = "1", factor: int = 1) -> Projection[Total]:
    def fold(before: Total | None, fact: Fact[Hit]) -> Total:
        return Total(n=(before.n if before else 0) + factor * fact.payload.n)

    return projection(reads=[Hit], by=who, name=name, version=version)(fold)


def test_another_version_is_folded_from_scratch(store: Store) -> None:
    say(log_of(store, named("total")), "a", hits(1, 2))
    log = log_of(store, named("total", "2", factor=10))
    say(log, "b", hits(4))

    assert {"ana": Total(n=70)} == dict(log.values("total"))
    assert [(True, "2")] == [(check.ok, check.version) for check in log.check_projections()]


def test_a_process_with_an_older_version_keeps_facts_and_says_that_it_is_old(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As in the middle of an upgrade: nobody overwrites what the other has folded, and nothing is lost."""
    store = EagerStore()
    old = log_of(store, named("total"))
    say(old, "a", hits(1))
    new = log_of(store, named("total", "2", factor=10))
    with caplog.at_level(logging.WARNING, "quiesce"):
        say(old, "b", hits(2))
        say(old, "c", hits(3))
    with pytest.raises(ProjectionOutdated, match="stands in the log in version '2'; this process has version '1'"):
        old.values("total")

    assert {"ana": Total(n=60)} == dict(new.values("total"))
    assert 1 == len(caplog.records)
    old.rebuild("total")
    assert {"ana": Total(n=6)} == dict(old.values("total"))


@pytest.mark.parametrize(
    ("register", "problem"),
    [
        ([named("total"), named("total")], "another function goes by this name in this log. Give one of them another"),
        ([total, named("sum")], "its values are of family 'ledger-total', and so are those of 'total'"),
        ([len], "that is no projection. Write @projection(reads=[…], by=…) above the function"),
    ],
)
def test_what_cannot_be_registered_says_what_to_do(register: list[Any], problem: str) -> None:
    with pytest.raises(ProjectionError) as caught:
        log_of(EagerStore(), *register)

    assert problem in str(caught.value)


def test_registering_the_same_again_changes_nothing() -> None:
    log = log_of(EagerStore(), total)
    say(log, "a", hits(1))
    log.register(total)

    assert {"ana": Total(n=1)} == dict(log.values(total))


def test_values_of_another_class_are_not_taken_over() -> None:
    store = EagerStore()
    log_of(store, total)

    @projection(reads=[Hit], by=who, name="total")
    def other(before: Lives | None, fact: Fact[Hit]) -> Lives:
        return Lives(left=1)

    with pytest.raises(ProjectionError) as caught:
        log_of(store, other)

    assert (
        "projection 'total': its values in this log are of family 'ledger-total', and Lives is of family "
        "'ledger-lives'. Give the projection another name, or take the one in the log away: "
        "log.drop_projection('total')"
    ) == str(caught.value)


def test_reading_something_else_asks_for_another_version() -> None:
    store = EagerStore()
    log_of(store, named("total"))

    @projection(reads=[Hit, Miss], by=who, name="total")
    def other(before: Total | None, fact: Fact[Any]) -> Total:
        return Total(n=1)

    with pytest.raises(ProjectionError, match="Give it another version, and its values are folded anew"):
        log_of(store, other)


def test_what_is_not_registered_is_not_known() -> None:
    log = log_of(EagerStore(), total)
    for ask in (log.values, log.rebuild):
        with pytest.raises(ProjectionError) as caught:
            ask("totals")

        assert ("projection 'totals': it is not registered with this log; known: total. Write: log.register(…)") == str(
            caught.value
        )


def test_a_log_that_cannot_register_what_it_is_opened_with_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with pytest.raises(ProjectionError):
        FactLog.open(path, projections=[total, named("total")])
    with FactLog.open(path, projections=[total]) as log:
        say(log, "a", hits(1))

        assert {"ana": Total(n=1)} == dict(log.values(total))


def test_a_projection_that_is_dropped_leaves_nothing_behind(store: Store) -> None:
    log = log_of(store, *ALL)
    say(log, "a", hits(1))
    say(log, "b", hits(2))
    drop(log, "a")
    for one in ALL:
        log.drop_projection(one.name)
    with pytest.raises(ProjectionError, match="it is not in this log"):
        log.drop_projection("total")
    left = [list(store.notes(space)) for one in ALL for space in (values_of(one.name), bases_of(one.name))]

    assert ([], [[]] * 6) == (list(store.notes("projection")), left)
    log.register(total)
    assert {"ana": Total(n=2)} == dict(log.values(total))


# --- what goes wrong -------------------------------------------------------------------------------------------------


@projection(reads=[Hit], by=who, name="picky")
def picky(before: Total | None, fact: Fact[Hit]) -> Total:
    return Total(n=(before.n if before else 0) + 12 // fact.payload.n)


def test_a_fold_that_fails_keeps_no_fact_out(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The run goes on, a warning says so once, and whoever asks for the values is told which fact it was."""
    log = log_of(store, picky, recent)
    say(log, "a", hits(3))
    with caplog.at_level(logging.WARNING, "quiesce"):
        say(log, "b", hits(4, 0))
        say(log, "c", hits(6))
    with pytest.raises(FoldFailed) as caught:
        log.values(picky)

    assert (
        "projection 'picky' could not fold ledger-hit:ana1 (run b, event 1): ZeroDivisionError: integer division or "
        "modulo by zero. The log has the fact and takes more; the values stand as they were before it. Mend the fold "
        "and open the log again: it goes on from there"
    ) == str(caught.value)
    assert ["facts are kept without picky"] == [record.getMessage().split(":")[0] for record in caplog.records]
    assert folded(hits(3, 4, 0, 6), recent) == dict(log.values(recent))
    assert [False, True] == [check.ok for check in log.check_projections()]


def test_a_mended_fold_goes_on_from_where_the_other_failed(store: Store) -> None:
    log = log_of(store, picky)
    for run, n in enumerate([3, 0, 6]):
        say(log, str(run), hits(n))

    @projection(reads=[Hit], by=who, name="picky")
    def mended(before: Total | None, fact: Fact[Hit]) -> Total:
        return Total(n=(before.n if before else 0) + 12 // (fact.payload.n or 12))

    again = log_of(store, mended)

    assert {"ana": Total(n=7)} == dict(again.values("picky"))
    say(again, "x", hits(12))
    assert ({"ana": Total(n=8)}, [True]) == (dict(again.values("picky")), [one.ok for one in again.check_projections()])


@pytest.mark.parametrize(
    ("by", "fold", "problem"),
    [
        (lambda fact: fact.payload.nobody, None, "its by=… raised AttributeError: 'Hit' object has no attribute"),
        (lambda fact: 7, None, "its by=… raised TypeError: 'int' object is not iterable"),
        (lambda fact: "", None, "its by=… raised InvalidId: id '' of family 'ledger-total' is empty"),
        (who, lambda before, fact: 7, "TypeError: it returned 7 (a int). Return a Total, or None"),
        (who, lambda before, fact: Total.model_construct(), "InvalidPayload: payload of family 'ledger-total': lacks"),
    ],
)
def test_nonsense_names_the_fact_and_what_is_wrong_with_it(by: Any, fold: Any, problem: str) -> None:
    def wrong(before: Total | None, fact: Fact[Hit]) -> Total:
        value: Total = fold(before, fact)
        return value

    log = log_of(EagerStore(), projection(reads=[Hit], by=by)(wrong))
    say(log, "a", hits(1))
    with pytest.raises(FoldFailed) as caught:
        log.values("wrong")

    assert f"could not fold ledger-hit:ana0 (run a, event 1): {problem}" in str(caught.value)


def test_the_errors_of_an_append_keep_their_meaning() -> None:
    """A run that somebody else has taken over is not tried again."""
    store = EagerStore()
    one, two = log_of(store, total), log_of(store, total)
    say(two, "a", hits(1))
    with pytest.raises(Fenced):
        one.append(RunId("a"), [CycleCommitted(1, (), hits(2))], seq=1)
    held = FactLog(store, lease=0.001)
    held.register(total)
    held.claim(RunId("b"))
    held.append(RunId("b"), [started(), CycleCommitted(0, (), hits(3))])
    held._held.by_run[RunId("b")].stamp = 7
    with pytest.raises(TakenOver):
        held.append(RunId("b"), [CycleCommitted(1, (), hits(4))])

    assert {"ana": Total(n=4)} == dict(two.values(total))


def damage(store: Store, address: Address) -> None:
    note = store.note(address)
    assert note is not None
    store.commit(Batch(puts={address: Put(note.value[:-1] + b"7", note.stamp, note.families)}))


@pytest.mark.parametrize(
    ("address", "what"),
    [
        (Address(values_of("total"), "", "ana"), "value of 'ana'"),
        (Address(values_of("total"), "", ""), "watermark"),
        (entry_of("total"), "entry"),
    ],
)
def test_damage_is_named_and_mended_by_a_rebuild(address: Address, what: str) -> None:
    store = EagerStore()
    say(log_of(store, total), "a", hits(1, 2))
    damage(store, address)
    log = log_of(store, total)
    say(log, "b", hits(4))
    with pytest.raises(BrokenProjection) as caught:
        log.values(total)
    checks = log.check_projections()

    assert (
        f"projection 'total': its {what} is damaged. The events of the log are not touched by it, and its values can "
        f"be folded from them again: log.rebuild('total')"
    ) == str(caught.value)
    assert [False] == [check.ok for check in checks]
    log.rebuild("total")
    assert {"ana": Total(n=7)} == dict(log.values(total))
    assert [True] == [check.ok for check in log.check_projections()]


def test_a_value_that_is_missing_is_found_out() -> None:
    store = EagerStore()
    log = log_of(store, total)
    say(log, "a", [*hits(1), *hits(2, who="ben")])
    store.commit(Batch(puts={Address(values_of("total"), "", "ben"): None}))
    with pytest.raises(BrokenProjection, match="its set of 2 values, of which 1 are there, is damaged"):
        log.values(total)

    assert [("ben",)] == [check.differ for check in log.check_projections()]
    log.rebuild()
    assert folded([*hits(1), *hits(2, who="ben")]) == dict(log.values(total))


# --- checking --------------------------------------------------------------------------------------------------------


def test_a_check_names_the_values_that_differ(store: Store) -> None:
    """As after a change of the fold without another version."""
    say(log_of(store, named("total")), "a", [*hits(1), *hits(0, who="ben")])
    log = log_of(store, named("total", factor=2))
    check = log.check_projections()[0]

    assert (False, ("ana",), 2) == (check.ok, check.differ, check.values)
    assert (
        f"projection total: of 2 values of version 1 at position {log.values('total').watermark}, 1 are not what a "
        "fold from scratch gives: ana. Either the fold has changed without another version, or the values have. Fold "
        "them anew: quiesce rebuild total"
    ) == str(check)
    log.rebuild("total")
    assert "are what a fold from scratch gives" in str(log.check_projections()[0])


def test_what_cannot_be_checked_says_why(store: Store) -> None:
    log_of(store, total)
    log = log_of(store, recent)

    assert [
        "projection recent: 0 values of version 1 at position 0 are what a fold from scratch gives",
        "projection total: not checked: its code is not in this process. Import it and register it: log.register(…)",
    ] == [str(check) for check in log.check_projections()]


# --- what leaves the ledger ------------------------------------------------------------------------------------------


def test_facts_that_leave_still_count(store: Store) -> None:
    log = log_of(store, *ALL)
    for n in range(4):
        say(log, str(n), hits(n, n))
    drop(log, "1")
    drop(log, "3")
    say(log, "x", hits(9))
    expected = [folded(hits(0, 0, 1, 1, 2, 2, 3, 3, 9), one) for one in ALL]

    assert expected == [dict(log.values(one)) for one in ALL]
    assert [True, True, True] == [check.ok for check in log.check_projections()]
    log.rebuild()
    assert expected == [dict(log.values(one)) for one in ALL]


def test_a_rebuild_anew_forgets_what_has_left(store: Store) -> None:
    log = log_of(store, recent)
    for n in range(4):
        say(log, str(n), hits(n))
    drop(log, "3")
    log.rebuild("recent", anew=True)

    assert folded(hits(0, 1, 2), recent) == dict(log.values(recent))
    assert [] == list(store.notes(bases_of("recent")))
    assert [True] == [check.ok for check in log.check_projections()]


def test_another_version_begins_with_what_the_first_made_of_what_has_left(store: Store) -> None:
    log = log_of(store, named("total"))
    say(log, "a", hits(1))
    drop(log, "a")
    say(log, "b", hits(2))

    assert {"ana": Total(n=21)} == dict(log_of(store, named("total", "2", factor=10)).values("total"))


def test_values_can_be_kept_without_their_code(store: Store) -> None:
    """As long as all facts are in them."""
    log = log_of(store, total)
    say(log, "a", hits(1))
    drop(FactLog(store), "a")
    say(log, "b", hits(2))

    assert {"ana": Total(n=3)} == dict(log.values(total))
    assert [True] == [check.ok for check in log.check_projections()]


def test_nothing_leaves_that_a_projection_has_not_folded(store: Store) -> None:
    log_of(store, total)
    other = FactLog(store)
    say(other, "a", hits(1))
    with pytest.raises(ProjectionBehind) as caught:
        drop(other, "a")

    assert (
        "projection 'total' has not folded all facts of this log, and those that leave it would be lost to its values. "
        "Nothing was changed: register version '1' of it in this process, FactLog.open(…, projections=[…]), or take it "
        "out of the log: log.drop_projection('total')"
    ) == str(caught.value)
    drop(log_of(store, total), "a")
    assert {"ana": Total(n=1)} == dict(log_of(store, total).values(total))


def test_forgetting_changes_no_value(store: Store) -> None:
    """Redaction, compaction and retention, as users call them."""
    log = log_of(store, *ALL)
    for n in range(4):
        Engine([]).run_sync(context_of(*hits(n, n)), log=log, run_id=f"r{n}")
    expected = [dict(log.values(one)) for one in ALL]
    log.redact("r3", ["ledger-hit:ana1"], reason="erasure request", by="ana")
    log.compact()
    log.retain(count=2)
    left = log.runs()
    log.rebuild()

    assert (["r2", "r3"], expected) == (left, [dict(log.values(one)) for one in ALL])
    assert [True, True, True] == [check.ok for check in log.check_projections()]


def test_projections_that_do_not_read_what_leaves_are_left_alone() -> None:
    store = EagerStore()
    log = log_of(store, total, lives)
    say(log, "a", [fact(Miss(who="ana"))])
    batch = Batch(dropped={RunId("a")})
    rebase(log, batch, {"ledger-miss"})

    assert {entry_of("lives")} == set(batch.expects)


# --- schedules -------------------------------------------------------------------------------------------------------


def test_who_was_slower_folds_what_the_faster_has_put() -> None:
    """One appends while the other is between folding and commit; the order is that of the commits."""
    store = EagerStore()
    one, two = log_of(store, *ALL), log_of(store, *ALL)
    say(one, "a", hits(1))
    store.between = [lambda: say(two, "b", hits(2)), lambda: say(two, "c", hits(3))]
    say(one, "d", hits(4))

    assert ["a", "b", "c", "d"] == store.runs()
    assert [folded(hits(1, 2, 3, 4), each) for each in ALL] == [dict(one.values(each)) for each in ALL]
    assert [dict(one.values(each)) for each in ALL] == [dict(two.values(each)) for each in ALL]


BETWEEN: dict[str, tuple[list[Callable[[FactLog, FactLog], None]], list[int]]] = {
    "a process without the projection appends": ([lambda knows, plain: say(plain, "b", hits(2))], [1, 2, 4]),
    "one appends what it does not read": ([lambda knows, plain: say(plain, "b", [fact(Miss(who="ana"))])], [1, 4]),
    "it is rebuilt": ([lambda knows, plain: knows.rebuild("recent")], [1, 4]),
    "facts leave": ([lambda knows, plain: drop(plain, "a")], [1, 4]),
    "facts come and leave": (
        [lambda knows, plain: say(knows, "b", hits(2)), lambda knows, plain: drop(plain, "b")], [1, 2, 4]
    ),
    "it is dropped and registered again": (
        [lambda knows, plain: knows.drop_projection("recent"), lambda knows, plain: knows.register(recent)], [1, 4]
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BETWEEN)
def test_whatever_happens_between_reading_and_commit(what: str) -> None:
    store = EagerStore()
    log, knows, plain = log_of(store, recent), log_of(store, recent), FactLog(store)
    say(log, "a", hits(1))
    happens, counted = BETWEEN[what]
    store.between = [lambda: [each(knows, plain) for each in happens]]
    say(log, "z", hits(4))

    assert folded(hits(*counted), recent) == dict(log.values(recent)) == dict(knows.values(recent))
    assert [True] == [check.ok for check in knows.check_projections()]


@pytest.mark.parametrize("known", [0, 1])
def test_facts_that_come_while_it_is_folded_from_scratch_count(known: int) -> None:
    """Whether those who append know it or not."""
    store = EagerStore()
    other = log_of(store, *[total][:known])
    say(other, "a", hits(1))
    log = FactLog(store)
    store.between = [lambda: say(other, "b", hits(2)), lambda: say(other, "c", hits(3))]
    log.register(total)
    log.rebuild()

    assert folded(hits(1, 2, 3)) == dict(log.values(total))
    assert [True] == [check.ok for check in log.check_projections()]


def test_who_is_never_fast_enough_has_its_facts_kept_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are folded with the next."""
    monkeypatch.setattr("quiesce.facts.ledger._pause", lambda attempt: None)
    store = EagerStore()
    one, plain = log_of(store, total), FactLog(store)
    runs = iter(range(1000))

    store.between = [lambda: say(plain, f"x{next(runs)}", hits(1))] * TRIES
    say(one, "a", hits(1000))

    assert (TRIES, []) == (next(runs), store.between)
    assert {"ana": Total(n=TRIES + 1000)} == dict(one.values(total))
    say(one, "b", hits(1))
    assert {"ana": Total(n=TRIES + 1001)} == dict(one.values(total))


class LateStore(EagerStore):
    """Shows a run later than others that come behind it, as a server does that commits several at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.late: tuple[RunId, Note] | None = None

    def since(self, position: int) -> Iterator[tuple[int, RunId, int, Record]]:
        for found in super().since(position):
            if self.late is None or found[1] != self.late[0]:
                yield found

    def note(self, address: Address) -> Note | None:
        return self.late[1] if self.late is not None and address == entry_of("recent") else super().note(address)


@pytest.mark.parametrize("how", ["read", "append"])
def test_facts_that_are_shown_late_count(how: str) -> None:
    """Behind facts that the projection does not read: only of those that it reads the order is certain."""
    store = LateStore()
    log, plain = log_of(store, recent), FactLog(store)
    say(plain, "a", hits(1))
    note = store.note(entry_of("recent"))
    assert note is not None
    say(plain, "late", hits(2))
    say(plain, "b", [fact(Miss(who="ana"))])
    store.late = RunId("late"), note

    def show() -> None:
        store.late = None

    if how == "append":
        store.between = [show]
        say(log, "c", hits(3))
    else:
        log.values(recent)
        show()

    assert folded(hits(1, 2, *[3] * (how == "append")), recent) == dict(log.values(recent))
    assert [True] == [check.ok for check in log.check_projections()]


def test_a_store_that_fails_changes_nothing() -> None:
    store = EagerStore()
    log = log_of(store, total)
    say(log, "a", hits(1))

    def fail() -> None:
        raise StoreError("the disk is full")

    store.between = [fail]
    with pytest.raises(StoreError, match="the disk is full"):
        say(log, "b", hits(2))
    say(log, "b", hits(4))

    assert {"ana": Total(n=5)} == dict(log.values(total))


# --- any order of anything -------------------------------------------------------------------------------------------

FACTS = st.lists(
    st.one_of(
        st.builds(Hit, who=st.sampled_from("abc"), n=st.integers(0, 9)), st.builds(Miss, who=st.sampled_from("abc"))
    ),
    max_size=3,
)
STEP = st.tuples(
    st.sampled_from(["say", "say", "say", "load", "rebuild", "drop", "open", "read", "hinder"]),
    st.integers(0, 2),
    FACTS,
)


def walk(open_store: Callable[[], Store], steps: list[tuple[str, int, list[Payload]]]) -> None:
    """Compares what three logs over one store keep with a plain fold; the third does not know the projections."""
    stores = [open_store() for _ in range(3)]
    logs = [log_of(stores[0], *ALL), log_of(stores[1], *ALL), FactLog(stores[2])]
    told: list[Fact[Any]] = []
    there: list[str] = []
    marks = [[0, 0, 0], [0, 0, 0]]
    for number, (step, place, payloads) in enumerate(steps):
        log, facts = logs[place], [fact(payload, f"{number}-{at}") for at, payload in enumerate(payloads)]
        if step == "hinder" and not isinstance(log.store, EagerStore):
            step = "say"  # noqa: PLW2901
        if step == "say":
            say(log, str(number), facts)
        elif step == "load":
            other = FactLog.open()
            say(other, str(number), facts)
            log.load(other.export(str(number)))
        elif step == "rebuild":
            log.rebuild()
        elif step == "drop" and there:
            try:
                drop(log, there[0])
                there.pop(0)
            except ProjectionBehind:
                assert place == 2
        elif step == "open" and place < 2:
            logs[place] = log_of(stores[place], *ALL)
        elif step == "hinder" and isinstance(log.store, EagerStore):
            log.store.between = [partial(say, logs[place - 1], f"{number}h", facts)]
            say(log, str(number), facts)
        if step in ("say", "load", "hinder"):
            times = log.length(f"{number}h") > 0
            told += facts * (1 + times)
            there += [f"{number}h"] * times + [str(number)] * (log.length(str(number)) > 0)
        if step == "read" or number == len(steps) - 1:
            for reader, seen in zip(logs[:2], marks, strict=True):
                values = [reader.values(one) for one in ALL]

                assert [folded(told, one) for one in ALL] == [dict(one) for one in values]
                assert [True, True, True] == [check.ok for check in reader.check_projections()]
                assert seen <= [one.watermark for one in values]
                seen[:] = [one.watermark for one in values]
    for one in stores:
        one.close()


@given(steps=st.lists(STEP, max_size=14))
def test_what_is_stored_is_what_a_fold_from_scratch_gives(steps: list[tuple[str, int, list[Payload]]]) -> None:
    """Whoever appends, loads, rebuilds, forgets or looks on, in whatever order, with or without the projections."""
    store = EagerStore()
    walk(lambda: store, steps)


@pytest.mark.slow
@given(steps=st.lists(STEP, max_size=10))
def test_so_it_is_between_processes(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, list[Payload]]]
) -> None:
    """Each log has a connection of its own."""
    path = tmp_path_factory.mktemp("ledger") / "log.db"
    walk(lambda: SqliteStore(path), steps)


# --- many processes --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_count_is_lost_among_processes(tmp_path: Path) -> None:
    """Four know the projections, one does not; the order in which facts are folded is that of the ledger."""
    counts, checks = count_in_processes(str(tmp_path / "log.db"), 25)

    assert ({"all": 375, **dict.fromkeys("abcde", 75)}, [True, True]) == (counts, checks)
