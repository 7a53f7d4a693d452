"""Holds a store to its contract: subclass `StoreContract`, say how a store is opened, and let pytest run it.

```python
class TestMyStore(StoreContract):
    def open(self, place: Path) -> Store:
        return MyStore(place / "events.mine")
```

Every case gets a folder of its own. `open` is called again and again for one folder and gives a store over the same
events each time; where nothing outlives the process, `lasting = False` leaves out what asks for that. What no test can
see: that with `sync="full"` a commit returns only once the disk has the bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier, Event
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from ..errors import StoreError
from ..event import CycleCommitted, RunStarted, RunStopped
from ..fact import RunId
from ..log import FactLog
from ..replay import replay
from ..stores import Address, Batch, Fenced, Note, Put, Stale, Store
from ..verify import verify
from .model import StoreModel
from .samples import (
    FAMILIES,
    KEYS,
    OWNERS,
    RUN,
    RUNS,
    TEXTS,
    VALUES,
    address_of,
    put_of,
    record_of,
    records_of,
    redacted,
    text_in,
)
from .writers import COUNTER, OTHER, batch_of, writers

T = TypeVar("T", bound=Callable[..., Any])
S = RunId("s")

_about: dict[str, str] = {}


class Clause(NamedTuple):
    """One thing that a store has to do."""

    test: str
    """The name of the test."""
    shows: str
    """What the test shows, in a sentence."""
    about: str = ""
    """ "concurrent writers", "crashes", or nothing."""


def about(what: str) -> Callable[[T], T]:
    """Marks what a clause is about."""

    def mark(test: T) -> T:
        _about[test.__name__] = what
        return test

    return mark


def _cases(share: int) -> settings:
    """Returns the settings of a property that tries a part of the cases that the profile asks for."""
    cases = max(1, settings().max_examples // share)
    return settings(max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck))


class StoreContract:
    """What every store does; see `quiesce.facts.Store` for the clauses, and `clauses()` for what is tested."""

    lasting = True
    """What was committed can be read by a store that is opened later."""
    several_processes = True
    """Another process can open the same store: it imports the file of the test class and calls its `open`."""

    def open(self, place: Path) -> Store:
        """Returns a store over the events that are kept in a folder."""
        raise NotImplementedError(f"{type(self).__name__} has to say how its store is opened: def open(self, place)")

    @contextmanager
    def opened(self) -> Iterator[Store]:
        """Gives a store over nothing, and closes it."""
        with TemporaryDirectory() as place:
            store = self.open(Path(place))
            yield store
            store.close()

    @classmethod
    def clauses(cls) -> list[Clause]:
        """Returns what the tests of the contract show, in the order in which they are written."""
        found = [(name, test) for name, test in vars(StoreContract).items() if name.startswith("test_")]
        return [
            Clause(name, " ".join((inspect.getdoc(test) or "").split()), _about.get(name, "")) for name, test in found
        ]

    @contextmanager
    def _two(self) -> Iterator[tuple[Store, Store]]:
        """Gives two stores over the same events; where nothing outlives a store, the same one twice."""
        with TemporaryDirectory() as place:
            one = self.open(Path(place))
            two = self.open(Path(place)) if self.lasting else one
            yield one, two
            two.close()
            one.close()

    @contextmanager
    def _again(self, change: Callable[[Store], None]) -> Iterator[Store]:
        """Gives a store in which something was done, opened again if it can be."""
        with TemporaryDirectory() as place:
            store = self.open(Path(place))
            change(store)
            if self.lasting:
                store.close()
                store = self.open(Path(place))
            yield store
            store.close()

    # --- events -----------------------------------------------------------------------------------------------------

    def test_records_come_back_byte_for_byte(self) -> None:
        """Texts, payloads and what stands beside them are read as they were written, several at once too."""

        @_cases(2)
        @given(texts=st.lists(TEXTS, min_size=1, max_size=5), run=st.sampled_from(RUNS))
        def check(texts: list[str], run: RunId) -> None:
            records = records_of(run, 0, *texts)
            with self.opened() as store:
                store.commit(Batch.of(run, 0, records))

                assert records == list(store.read(run))
                assert (len(records), [run]) == (store.length(run), store.runs())

        check()  # in here, since Hypothesis wants a property to belong to one class

    def test_what_stands_for_a_payload_that_is_gone_comes_back(self) -> None:
        """A record without its payloads keeps what says why they are gone."""
        records = [redacted(record, why) for record, why in zip(records_of("r", 0, "a", "é"), 'x"', strict=True)]
        with self._again(lambda store: store.commit(Batch.of(RUN, 0, records))) as store:
            assert records == list(store.read(RUN))

    @pytest.mark.parametrize("start", [0, 1, 2, 3, 4, 5, 99])
    def test_reading_starts_where_it_is_asked_to(self, start: int) -> None:
        """Reading from a number on begins there: inside a batch, at its edge, behind the end."""
        records = records_of("r", 0, "a", "b", "c", "d", "e")
        with self.opened() as store:
            store.commit(Batch.of(RUN, 0, records[:2]))
            store.commit(Batch.of(RUN, 2, records[2:]))

            assert records[start:] == list(store.read(RUN, start))

    def test_an_unknown_run_is_empty(self) -> None:
        """A run that was never written has no records, begins and ends at 0, and takes no bytes."""
        with self.opened() as store:
            store.commit(Batch.of(RUN, 0, records_of("r", 0, "a")))

            assert ([], 0, 0, 0) == (list(store.read(S)), store.first(S), store.length(S), store.size(S))
            assert [RUN] == store.runs()

    def test_runs_are_in_the_order_of_their_first_records_and_do_not_mix(self) -> None:
        """Runs are told in the order in which they began; each has its own records, whatever its name."""
        with self.opened() as store:
            for seq in range(3):
                for run in RUNS:
                    store.commit(Batch.of(run, seq, records_of(run, seq, f"{run}{seq}")))

            assert [*RUNS] == store.runs()
            assert [[f"{run}{seq}" for seq in range(3)] for run in RUNS] == [
                list(map(text_in, store.read(run))) for run in RUNS
            ]

    def test_what_was_read_does_not_change_when_more_is_appended(self) -> None:
        """Records that were read stay as they are; reading again gives them and what came behind."""
        with self.opened() as store:
            store.commit(Batch.of(RUN, 0, records_of("r", 0, "a")))
            before = list(store.read(RUN))
            store.commit(Batch.of(RUN, 1, records_of("r", 1, "b")))

            assert records_of("r", 0, "a") == before
            assert [*before, *records_of("r", 1, "b")] == list(store.read(RUN))

    def test_what_append_returned_from_outlives_the_store(self) -> None:
        """Closing loses nothing, and a store that is opened later goes on where this one ended."""
        if not self.lasting:
            return
        with TemporaryDirectory() as place:
            for seq in range(3):
                store = self.open(Path(place))
                store.commit(Batch.of(RUN, seq, records_of("r", seq, str(seq))))
                store.close()
            again = self.open(Path(place))

            assert ["0", "1", "2"] == list(map(text_in, again.read(RUN)))
            again.close()

    def test_a_large_record_and_a_large_note_come_back(self) -> None:
        """Records and notes of some megabytes are kept like small ones."""
        record = record_of("r", 0, "é" * 1_000_000, ["x" * 1_000_000])
        value = bytes(range(256)) * 8_000
        batch = Batch.of(RUN, 0, [record])
        batch.puts = {address_of(): put_of(value)}
        with self._again(lambda store: store.commit(batch)) as store:
            note = store.note(address_of())

            assert [record] == list(store.read(RUN))
            assert note is not None
            assert value == note.value

    def test_size_is_what_the_records_hold(self) -> None:
        """The size of a run is that of its texts, its payloads and what stands beside or in place of them."""
        records = [*records_of("r", 0, "a", "é"), redacted(record_of("r", 2, "c", ["c"]))]
        parts = [[each.raw, each.beside, *each.payloads.values(), *each.gone.values()] for each in records]
        with self._again(lambda store: store.commit(Batch.of(RUN, 0, records))) as store:
            assert sum(len(part) for each in parts for part in each) == store.size(RUN)

    def test_a_log_over_it_can_be_verified_and_replayed(self) -> None:
        """A fact log writes to it, and reads, verifies and replays what it wrote."""
        with self.opened() as store:
            log = FactLog(store)
            log.append(RUN, [RunStarted("2026-01-01T00:00:00+00:00", 1, (), {})])
            log.append(RUN, [CycleCommitted(0, (), ()), CycleCommitted(1, (), ())], beside={"took": 1})
            log.append(RUN, [RunStopped({"kind": "converged", "cycles": 1}, 0)])

            assert verify(log, RUN).ok
            assert [{}, {"took": 1}, {}, {}] == [dict(logged.beside) for logged in log.events(RUN)]
            assert 1 == replay(log, RUN).trail.cycle

    # --- notes ------------------------------------------------------------------------------------------------------

    def test_notes_come_back_byte_for_byte(self) -> None:
        """Any bytes at any address are read as they were put, with their stamp and families."""

        @_cases(2)
        @given(
            key=st.sampled_from(KEYS), owner=st.sampled_from(OWNERS), value=VALUES,
            families=st.lists(st.sampled_from(FAMILIES), unique=True), stamp=st.integers(0, (1 << 62) - 1),
        )  # fmt: skip
        def check(key: str, owner: str, value: bytes, families: list[str], stamp: int) -> None:
            address = Address("journal", owner, key)
            with self.opened() as store:
                store.commit(Batch(puts={address: Put(value, stamp, tuple(sorted(families)))}))

                expected = Note(value, stamp, 0, tuple(sorted(families)))
                assert expected == store.note(address)
                assert [(address, expected)] == list(store.notes("journal"))

        check()

    def test_notes_are_in_the_order_of_owner_and_key(self) -> None:
        """Those of a space, or of one owner in it, come in the order of their characters' numbers; others do not."""
        addresses = [Address("journal", owner, key) for owner in reversed(OWNERS) for key in KEYS]
        others = [Address(space, owner, "k") for space in ("journa", "journal2", "") for owner in OWNERS]
        puts = {address: put_of(address.key.encode()) for address in [*addresses, *others]}
        with self._again(lambda store: store.commit(Batch(puts=puts))) as store:
            assert sorted(addresses) == [address for address, _ in store.notes("journal")]
            for owner in OWNERS:
                assert sorted(each for each in addresses if each.owner == owner) == [
                    address for address, _ in store.notes("journal", owner)
                ]
            assert [] == list(store.notes("none"))

    def test_a_note_is_put_anew_and_taken_away(self) -> None:
        """The last put holds; None takes a note away, and does nothing where there is none."""
        first, second, third = (address_of(key) for key in "abc")

        def change(store: Store) -> None:
            store.commit(Batch(puts={first: put_of(b"1"), second: put_of(b"1")}))
            store.commit(Batch(puts={first: put_of(b"2"), second: None, third: None}))

        with self._again(change) as store:
            assert [(first, b"2")] == [(address, note.value) for address, note in store.notes("journal")]
            assert (None, None) == (store.note(second), store.note(third))

    def test_an_append_touches_notes_of_its_families(self) -> None:
        """A note with one of the touched families gets another stamp and keeps all else; the others keep theirs."""
        touched, put, other, plain = (address_of(key) for key in "abcd")
        kept = {
            touched: put_of(b"1", FAMILIES), put: put_of(b"1", FAMILIES), other: put_of(b"1", ("third",)),
            plain: put_of(b"1"),
        }  # fmt: skip
        anew = put_of(b"2", FAMILIES)
        batch = Batch.of(RUN, 0, records_of("r", 0, "a"))
        batch.touches, batch.touch, batch.puts = {FAMILIES[1], "fourth"}, 77, {put: anew}

        def change(store: Store) -> None:
            store.commit(Batch(puts=kept))
            store.commit(batch)

        with self._again(change) as store:
            stamps = [note.stamp for _, note in store.notes("journal")]

            assert [77, anew.stamp, kept[other].stamp, kept[plain].stamp] == stamps
            assert Note(b"1", 77, 0, FAMILIES) == store.note(touched)
            with pytest.raises(Stale):
                store.commit(Batch(expects={touched: kept[touched].stamp}))

    # --- all or nothing ---------------------------------------------------------------------------------------------

    @about("concurrent writers")
    @pytest.mark.parametrize("seq", [0, 1, 3, 9])
    def test_a_second_writer_is_fenced_and_changes_nothing(self, seq: int) -> None:
        """An append whose number is not where the run ends raises `Fenced`, which names both; nothing is added."""
        records = records_of("r", 0, "a", "b")
        with self.opened() as store:
            store.commit(Batch.of(RUN, 0, records))
            with pytest.raises(Fenced) as caught:
                store.commit(Batch.of(RUN, seq, records_of("r", seq, "x", "y")))

            expected = (
                f"run r: another writer has appended to it (this one would write event {seq}, the log is at 2). "
                f"Nothing was written. Let one process own a run, or start a run of your own"
            )
            assert expected == str(caught.value)
            assert records == list(store.read(RUN))

    def test_a_new_run_begins_at_nothing(self) -> None:
        """A run that is not there ends at 0, and nowhere else."""
        with self.opened() as store:
            with pytest.raises(Fenced):
                store.commit(Batch.of(RUN, 1, records_of("r", 1, "a")))

            assert ([], []) == (list(store.read(RUN)), store.runs())

    @about("concurrent writers")
    @pytest.mark.parametrize("expected", [None, 1])
    def test_a_note_that_was_changed_refuses_the_batch(self, expected: int | None) -> None:
        """A batch that expects another stamp, or no note where there is one, raises `Stale`; nothing of it is kept."""
        batch = Batch.of(RUN, 0, records_of("r", 0, "a"))
        batch.expects, batch.puts = {address_of(): expected}, {address_of("other"): put_of(b"x")}
        with self.opened() as store:
            store.commit(Batch(puts={address_of(): Put(b"1", 2)}))
            with pytest.raises(Stale) as caught:
                store.commit(batch)

            assert address_of() == caught.value.address
            assert ([], None) == (store.runs(), store.note(address_of("other")))

    def test_a_note_that_is_missing_refuses_the_batch(self) -> None:
        """A batch that expects a note where there is none raises `Stale`."""
        with self.opened() as store, pytest.raises(Stale):
            store.commit(Batch(expects={address_of(): 1}))

    def test_ends_are_checked_before_notes(self) -> None:
        """Where both are wrong, the batch is `Fenced`: whoever lost its run is told so."""
        batch = Batch(ends={RUN: 1}, expects={address_of(): 1})
        with self.opened() as store, pytest.raises(Fenced):
            store.commit(batch)

    def test_a_batch_of_several_runs_and_notes_is_one_step(self) -> None:
        """Where one of its runs ends elsewhere, no run gets an event, no note changes, no position is taken."""
        batch = Batch(ends={RUN: 0, S: 0}, records={RUN: records_of("r", 0, "a"), S: records_of("s", 0, "b")})
        batch.puts = {address_of(): put_of(b"1"), address_of(owner="s"): put_of(b"2")}
        torn = Batch(ends={RUN: 1, S: 0}, records={RUN: records_of("r", 1, "x"), S: records_of("s", 0, "x")})
        torn.puts = {address_of(): None}

        def change(store: Store) -> None:
            store.commit(batch)
            with pytest.raises(Fenced):
                store.commit(torn)

        with self._again(change) as store:
            assert [RUN, S] == store.runs()
            assert (["a"], ["b"]) == (list(map(text_in, store.read(RUN))), list(map(text_in, store.read(S))))
            assert [b"1", b"2"] == [note.value for _, note in store.notes("journal")]
            assert [RUN, S] == [run for _, run, _, _ in store.since(0)]

    def test_nothing_is_kept_after_close(self) -> None:
        """A store that was closed refuses what is committed, with an error."""
        with self._again(lambda store: store.commit(Batch.of(RUN, 0, records_of("r", 0, "a")))) as store:
            store.close()
            with pytest.raises(StoreError):
                store.commit(Batch.of(RUN, 1, records_of("r", 1, "b")))

    # --- the ledger -------------------------------------------------------------------------------------------------

    def test_positions_grow_in_the_order_of_commits(self) -> None:
        """Over all runs: of one batch, the run named first comes first; `since` tells what stands behind a position."""
        steps = [{RUN: 2}, {S: 1, RUN: 2}, {OTHER: 1, S: 1}]

        def change(store: Store) -> None:
            for step in steps:
                batch = Batch(ends={run: store.length(run) for run in step})
                batch.records = {run: records_of(run, batch.ends[run], *"xyz"[:width]) for run, width in step.items()}
                store.commit(batch)

        with self._again(change) as store:
            found = [(run, seq) for _, run, seq, _ in store.since(0)]
            positions = [at for at, *_ in store.since(0)]

            assert [(RUN, 0), (RUN, 1), (S, 0), (RUN, 2), (RUN, 3), (OTHER, 0), (S, 1)] == found
            assert sorted(set(positions)) == positions
            assert (positions[-1], positions[0] > 0) == (store.position(), True)
            for place, at in enumerate(positions):
                assert positions[place + 1 :] == [behind for behind, *_ in store.since(at)]

    def test_a_note_says_where_the_ledger_ended(self) -> None:
        """The position of a note is that of the last event when it was put, those of its own batch included."""
        with self.opened() as store:
            store.commit(Batch(puts={address_of("before"): put_of(b"")}))
            batch = Batch.of(RUN, 0, records_of("r", 0, "a", "b"))
            batch.puts = {address_of("with"): put_of(b"")}
            store.commit(batch)
            last = store.position()
            store.commit(Batch(puts={address_of("behind"): put_of(b"")}))
            store.commit(Batch.of(RUN, 2, records_of("r", 2, "c")))

            found = {address.key: note.position for address, note in store.notes("journal")}
            assert {"before": 0, "with": last, "behind": last} == found

    def test_a_position_is_never_used_twice(self) -> None:
        """Also when every event was dropped and the store was opened again: the ledger goes on behind them."""
        last: list[int] = []

        def change(store: Store) -> None:
            store.commit(Batch.of(RUN, 0, records_of("r", 0, "a", "b")))
            store.commit(Batch.of(S, 0, records_of("s", 0, "c")))
            last.append(store.position())
            store.commit(Batch(dropped={RUN, S}))

        with self._again(change) as store:
            store.commit(Batch.of(RUN, 0, records_of("r", 0, "again")))

            assert [(True, RUN, 0)] == [(at > last[0], run, seq) for at, run, seq, _ in store.since(last[0])]
            assert [] == list(store.since(store.position()))

    # --- taking out -------------------------------------------------------------------------------------------------

    def test_an_event_gets_other_payloads_in_its_place(self) -> None:
        """A replaced event keeps its number, its text and its position; its payloads are what was given."""
        records = records_of("r", 0, "a", "b", "c")
        positions: list[list[int]] = []

        def change(store: Store) -> None:
            store.commit(Batch.of(RUN, 0, records))
            positions.append([at for at, *_ in store.since(0)])
            store.commit(Batch(ends={RUN: 3}, replaced={(RUN, 1): redacted(records[1])}))

        with self._again(change) as store:
            assert [records[0], redacted(records[1]), records[2]] == list(store.read(RUN))
            assert positions == [[at for at, *_ in store.since(0)]]

    @pytest.mark.parametrize("before", [0, 1, 2, 3, 4])
    def test_a_run_is_cut_and_keeps_the_numbers_of_the_rest(self, before: int) -> None:
        """Events before the cut are gone; the others keep number and position, and the run goes on where it was."""
        records = records_of("r", 0, "a", "b", "c", "d")
        note = Address("snapshot", "r", "")

        def change(store: Store) -> None:
            store.commit(Batch.of(RUN, 0, records[:2]))
            store.commit(Batch.of(S, 0, records_of("s", 0, "s")))
            store.commit(Batch.of(RUN, 2, records[2:]))
            whole, rest = store.size(RUN), list(store.since(0))
            store.commit(Batch(ends={RUN: 4}, cut={RUN: before}, puts={note: put_of(b"snapshot")}))
            kept = [each for each in rest if each[1] == S or each[2] >= before]

            assert (kept, before == 0) == (list(store.since(0)), store.size(RUN) == whole)

        with self._again(change) as store:
            assert (before, 4) == (store.first(RUN), store.length(RUN))
            assert (records[before:], records[max(before, 3) :]) == (list(store.read(RUN)), list(store.read(RUN, 3)))
            assert [RUN, S] == store.runs()
            assert store.note(note) is not None
            store.commit(Batch.of(RUN, 4, records_of("r", 4, "e")))
            assert [*"abcde"[before:]] == list(map(text_in, store.read(RUN)))

    def test_a_cut_behind_which_the_run_was_cut_already_changes_nothing(self) -> None:
        """The first number stays."""

        def change(store: Store) -> None:
            store.commit(Batch.of(RUN, 0, records_of("r", 0, "a", "b", "c")))
            store.commit(Batch(cut={RUN: 2}))
            store.commit(Batch(cut={RUN: 1}))

        with self._again(change) as store:
            assert (2, 3, ["c"]) == (store.first(RUN), store.length(RUN), list(map(text_in, store.read(RUN))))

    def test_a_dropped_run_goes_with_its_notes_and_may_begin_again(self) -> None:
        """Nothing of it is left; other runs, their notes and those of nobody stay."""

        def change(store: Store) -> None:
            for run in (RUN, S):
                store.commit(Batch.of(run, 0, records_of(run, 0, "a", "b")))
            notes = [address_of(owner="r"), Address("lease", "r", ""), address_of(owner="s"), address_of()]
            store.commit(Batch(puts={address: put_of(b"") for address in notes}))
            store.commit(Batch(dropped={RUN, RunId("unknown")}))

        with self._again(change) as store:
            assert ([S], 0, 0, []) == (store.runs(), store.length(RUN), store.size(RUN), list(store.read(RUN)))
            assert [address_of(), address_of(owner="s")] == [address for address, _ in store.notes("journal")]
            assert [] == list(store.notes("lease"))
            store.commit(Batch.of(RUN, 0, records_of("r", 0, "again")))
            assert ([S, RUN], ["again"]) == (store.runs(), list(map(text_in, store.read(RUN))))

    def test_what_is_taken_out_and_what_is_added_is_one_step(self) -> None:
        """One batch appends, replaces, cuts, drops and keeps notes; a refused one does none of it."""
        records = records_of("r", 0, "a", "b", "c")

        def batch(end: int) -> Batch:
            return Batch(
                ends={RUN: end}, records={RUN: records_of("r", 3, "d")}, replaced={(RUN, 2): redacted(records[2])},
                cut={RUN: 1}, dropped={S}, puts={address_of(): put_of(b"2", FAMILIES)}, touches={FAMILIES[0]}, touch=5,
            )  # fmt: skip

        def change(store: Store) -> None:
            store.commit(Batch.of(RUN, 0, records))
            store.commit(Batch.of(S, 0, records_of("s", 0, "s")))
            store.commit(Batch(puts={address_of("other"): put_of(b"1", FAMILIES[:1])}))
            before = list(store.since(0)), list(store.notes("journal"))
            with pytest.raises(Fenced):
                store.commit(batch(2))
            assert before == (list(store.since(0)), list(store.notes("journal")))
            store.commit(batch(3))

        with self._again(change) as store:
            assert [records[1], redacted(records[2]), *records_of("r", 3, "d")] == list(store.read(RUN))
            assert [RUN] == store.runs()
            assert [b"2", b"1"] == [note.value for _, note in store.notes("journal")]
            assert 5 == next(note.stamp for address, note in store.notes("journal") if address.key == "other")

    # --- writers beside each other ----------------------------------------------------------------------------------

    @about("concurrent writers")
    def test_of_two_stores_that_expect_the_same_one_succeeds(self) -> None:
        """Two threads commit at once, again and again: each time exactly one is kept, the other gets an error."""
        rounds = 6
        with self._two() as stores, ThreadPoolExecutor(2) as threads:
            for seq in range(rounds):
                barrier = Barrier(2)
                found = list(threads.map(self._try, stores, "ab", [seq, seq], [barrier, barrier]))

                assert [False, True] == sorted(found)
            assert (rounds, rounds) == (stores[0].length(RUN), len(list(stores[1].read(RUN))))

    @staticmethod
    def _try(store: Store, name: str, seq: int, barrier: Barrier) -> bool:
        batch = Batch.of(RUN, seq, records_of("r", seq, name))
        batch.expects, batch.puts = {address_of(): seq or None}, {address_of(): Put(name.encode(), seq + 1)}
        barrier.wait()
        try:
            store.commit(batch)
        except StoreError:
            return False
        return True

    @about("concurrent writers")
    def test_of_two_processes_that_expect_the_same_one_succeeds(self) -> None:
        """Two processes count in one run and one note: no event and no count is lost, none is acknowledged twice."""
        if not (self.lasting and self.several_processes):
            return
        total = 24
        with TemporaryDirectory() as name:
            place = Path(name)
            with writers(self, place, ("race", "a", total), ("race", "b", total)) as racing:
                for writer in racing:
                    writer.go()
                said = [list(writer.said()) for writer in racing]
            store = self.open(place)
            wrote = list(map(text_in, store.read(RUN)))
            counted = store.note(COUNTER)
            store.close()

        assert [*range(total)] == sorted(said[0] + said[1])
        assert ["a" if seq in said[0] else "b" for seq in range(total)] == wrote
        assert counted is not None
        assert total == int(counted.value)

    @about("concurrent writers")
    def test_a_reader_sees_whole_batches_while_another_writes(self) -> None:
        """What it reads is a beginning of what is written; runs of one batch and its notes come together."""
        total, done = 25, Event()

        def write(store: Store) -> None:
            try:
                for seq in range(total):
                    store.commit(batch_of(seq))
            finally:
                done.set()

        def read(store: Store) -> list[int]:
            seen = [0]
            while not done.is_set() or seen[-1] < total:
                was_done = done.is_set()
                texts = list(map(text_in, store.read(RUN)))
                counted, other = store.note(COUNTER), store.length(OTHER)

                assert [str(seq) for seq in range(len(texts))] == texts
                assert len(texts) <= (0 if counted is None else int(counted.value)) <= other
                seen.append(len(texts))
                if was_done:
                    break
            return seen

        with self._two() as (one, two), ThreadPoolExecutor(2) as threads:
            reading = threads.submit(read, two)
            threads.submit(write, one).result()
            seen = reading.result()

        assert (total, sorted(seen)) == (seen[-1], seen)

    @about("concurrent writers")
    def test_what_one_store_takes_out_another_no_longer_reads(self) -> None:
        """A store that was open before sees runs cut, dropped and written anew, and the ledger as it is now."""
        with self._two() as (one, two):
            one.commit(Batch.of(RUN, 0, records_of("r", 0, "a", "b", "c")))
            one.commit(Batch.of(S, 0, records_of("s", 0, "s")))
            assert [RUN, S] == two.runs()
            one.commit(Batch(cut={RUN: 2}, dropped={S}, puts={address_of(): put_of(b"1")}))

            assert ([RUN], 2, 3, 0) == (two.runs(), two.first(RUN), two.length(RUN), two.length(S))
            assert list(one.since(0)) == list(two.since(0))
            assert one.note(address_of()) == two.note(address_of())
            one.commit(Batch.of(RUN, 3, records_of("r", 3, "d")))
            assert ["c", "d"] == list(map(text_in, two.read(RUN)))

    # --- crashes ----------------------------------------------------------------------------------------------------

    @about("crashes")
    def test_a_killed_writer_leaves_all_that_it_acknowledged_and_nothing_half(self) -> None:
        """After SIGKILL amid commits, every batch that was acknowledged is there, whole; and another goes on behind."""
        if not (self.lasting and self.several_processes):
            return
        with TemporaryDirectory() as name:
            place = Path(name)
            with writers(self, place, ("keep_on",)) as (writer,):
                writer.go()
                said = list(islice(writer.said(), 12))
                writer.kill()
                said += writer.said()
            store = self.open(place)
            length = store.length(RUN)
            sound = [batch_of(seq).records[RUN][0] for seq in range(length)]
            values = [note.value for _, note in store.notes("memo", OTHER)]
            counted = store.note(COUNTER)

            assert [*range(len(said))] == said
            assert length in (len(said), len(said) + 1)
            assert sound == list(store.read(RUN))
            assert length == store.length(OTHER) == len(values)
            assert counted is not None
            assert length == int(counted.value)
            assert [] == list(store.check())
            store.commit(batch_of(length))
            assert length + 1 == store.length(RUN)
            store.close()

    # --- all of it --------------------------------------------------------------------------------------------------

    def test_a_store_does_what_the_store_in_memory_does(self) -> None:
        """Whatever is appended, noted, refused, replaced, cut, dropped and opened again, in any order."""
        steps = settings(_cases(8), stateful_step_count=12)
        run_state_machine_as_test(lambda: StoreModel(self.open, lasting=self.lasting), settings=steps)  # type: ignore[arg-type]  # it calls it, whatever it is
