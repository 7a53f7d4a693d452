"""Compares a store, step by step, with the one in memory: whatever is kept, refused, taken out and opened again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ..fact import RunId
from ..record import Record
from ..stores import Address, Batch, Fenced, MemoryStore, Note, Put, Stale, Store
from .samples import (
    FAMILIES,
    KEYS,
    OWNERS,
    RUNS,
    SPACES,
    TEXTS,
    VALUES,
    new_stamp,
    records_of,
    redacted,
)

MODEL_RUNS = RUNS[:3]
ADDRESSES = st.builds(Address, st.sampled_from(SPACES), st.sampled_from(OWNERS), st.sampled_from(KEYS))
FAMILY_SETS = st.frozensets(st.sampled_from(FAMILIES))


class StoreModel(RuleBasedStateMachine):
    """Takes the same steps in a store and in memory, and looks for a difference after each."""

    def __init__(self, open_in: Callable[[Path], Store], *, lasting: bool) -> None:
        super().__init__()
        self._open_in, self.lasting = open_in, lasting
        self._exits = ExitStack()
        self.place = Path(self._exits.enter_context(TemporaryDirectory()))
        self.store = open_in(self.place)
        self.model: Store = MemoryStore()
        self.positions: dict[tuple[RunId, int], int] = {}
        """Where each event stood in the ledger of the store when it was kept."""
        self.noted: dict[Address, int] = {}
        """Where the ledger of the store ended when each note was kept."""

    @initialize()
    def begin(self) -> None:
        """Looks at a store that holds nothing."""
        assert 0 == self.store.position()

    def _commit(self, batch: Batch) -> None:
        before = self.store.position()
        self.model.commit(batch)
        self.store.commit(batch)
        now = self.store.position()
        for address, put in batch.puts.items():
            if put is not None:
                self.noted[address] = now
        found = [(run, seq, at) for at, run, seq, _ in self.store.since(before)]
        added = [
            (run, batch.ends[run] + place)
            for run, records in batch.records.items()
            for place in range(len(records))
            if run not in batch.dropped
        ]

        assert added == [(run, seq) for run, seq, _ in found], "what a batch added stands behind where the ledger ended"
        assert now >= before, "the ledger never goes back"
        if found:
            assert now == found[-1][2], "the ledger ends with its last event"
        self.positions.update({(run, seq): at for run, seq, at in found})

    # --- steps ------------------------------------------------------------------------------------------------------

    @rule(
        texts=st.dictionaries(
            st.sampled_from(MODEL_RUNS), st.lists(TEXTS, min_size=1, max_size=3), min_size=1, max_size=3
        ),
        puts=st.dictionaries(ADDRESSES, st.none() | st.tuples(VALUES, FAMILY_SETS), max_size=3),
        touches=FAMILY_SETS,
    )
    def append(
        self,
        texts: dict[RunId, list[str]],
        puts: dict[Address, tuple[bytes, frozenset[str]] | None],
        touches: frozenset[str],
    ) -> None:
        """Adds events to some runs, with notes beside them."""
        batch = Batch(puts=_puts(puts), touches=touches, touch=new_stamp())
        for run, said in texts.items():
            batch.ends[run] = end = self.model.length(run)
            batch.records[run] = records_of(run, end, *said)
        self._commit(batch)

    @rule(puts=st.dictionaries(ADDRESSES, st.none() | st.tuples(VALUES, FAMILY_SETS), min_size=1, max_size=3))
    def keep(self, puts: dict[Address, tuple[bytes, frozenset[str]] | None]) -> None:
        """Keeps and removes notes that are as they were read."""
        notes = {address: self.model.note(address) for address in puts}
        expects = {address: None if note is None else note.stamp for address, note in notes.items()}
        self._commit(Batch(expects=expects, puts=_puts(puts)))

    @rule(run=st.sampled_from(MODEL_RUNS), off=st.sampled_from([-1, 1, 5]), address=ADDRESSES)
    def is_fenced(self, run: RunId, off: int, address: Address) -> None:
        """Refuses a batch whose run ends elsewhere, whatever else is in it."""
        end = max(0, self.model.length(run) + off)
        if end == self.model.length(run):
            return
        batch = Batch.of(run, end, records_of(run, end, "never"))
        other = next(each for each in MODEL_RUNS if each != run)
        batch.ends[other] = self.model.length(other)
        batch.records = {other: records_of(other, batch.ends[other], "never"), **batch.records}
        batch.puts = {address: Put(b"never", new_stamp())}
        for store in (self.model, self.store):
            with pytest.raises(Fenced) as caught:
                store.commit(batch)

            error = caught.value
            assert (run, end, self.model.length(run)) == (error.run, error.expected, error.found)

    @rule(address=ADDRESSES, stamp=st.none() | st.just(7), run=st.sampled_from(MODEL_RUNS))
    def is_stale(self, address: Address, stamp: int | None, run: RunId) -> None:
        """Refuses a batch whose note was changed, whatever else is in it."""
        note = self.model.note(address)
        if (None if note is None else note.stamp) == stamp:
            stamp = 8
        end = self.model.length(run)
        batch = Batch.of(run, end, records_of(run, end, "never"))
        batch.expects, batch.puts = {address: stamp}, {address: Put(b"never", new_stamp())}
        for store in (self.model, self.store):
            with pytest.raises(Stale) as caught:
                store.commit(batch)

            assert address == caught.value.address

    @precondition(lambda self: self.model.runs())
    @rule(data=st.data())
    def redact(self, data: st.DataObject) -> None:
        """Gives events other payloads, or says in their place that they are gone."""
        events = [event for event in self.positions if event[1] >= self.model.first(event[0])]
        chosen = data.draw(st.lists(st.sampled_from(events), max_size=3, unique=True)) if events else []
        self._commit(Batch(replaced={(run, seq): redacted(_read_one(self.model, run, seq)) for run, seq in chosen}))

    @precondition(lambda self: self.model.runs())
    @rule(data=st.data(), value=VALUES)
    def cut(self, data: st.DataObject, value: bytes) -> None:
        """Takes the first events of a run away and keeps a note in their place."""
        run = data.draw(st.sampled_from(self.model.runs()))
        before = data.draw(st.integers(self.model.first(run), self.model.length(run)))
        note = Address("snapshot", run, "")
        self._commit(Batch(ends={run: self.model.length(run)}, cut={run: before}, puts={note: Put(value, new_stamp())}))
        self._forget()

    @precondition(lambda self: self.model.runs())
    @rule(data=st.data(), also=st.booleans())
    def drop(self, data: st.DataObject, also: bool) -> None:
        """Takes runs away, with the notes that they own; in the same step, perhaps, another grows."""
        dropped = data.draw(st.sets(st.sampled_from(self.model.runs()), min_size=1))
        batch = Batch(dropped=dropped)
        left = [run for run in MODEL_RUNS if run not in dropped]
        if also and left:
            batch.ends = {left[0]: self.model.length(left[0])}
            batch.records = {left[0]: records_of(left[0], batch.ends[left[0]], "behind what went")}
        self._commit(batch)
        self._forget()

    def _forget(self) -> None:
        self.positions = {
            (run, seq): at
            for (run, seq), at in self.positions.items()
            if self.model.first(run) <= seq < self.model.length(run)
        }

    @precondition(lambda self: self.lasting)
    @rule()
    def reopen(self) -> None:
        """Closes the store and opens it again."""
        self.store.close()
        self.store = self._open_in(self.place)

    # --- what has to be the same ------------------------------------------------------------------------------------

    @invariant()
    def runs_are_the_same(self) -> None:
        """Runs, where each begins and ends, its records and their size."""
        assert self.model.runs() == self.store.runs()
        for run in MODEL_RUNS:
            first, length = self.model.first(run), self.model.length(run)

            assert (first, length) == (self.store.first(run), self.store.length(run))
            assert list(self.model.read(run)) == list(self.store.read(run))
            for start in {first + 1, (first + length) // 2, length}:
                assert list(self.model.read(run, start)) == list(self.store.read(run, start))
            assert self.model.size(run) == self.store.size(run)

    @invariant()
    def notes_are_the_same(self) -> None:
        """By address, by owner and by space, in the same order."""
        for space in (*SPACES, "snapshot", "none"):
            for owner in (None, *OWNERS):
                assert [self._told(*each) for each in self.model.notes(space, owner)] == list(
                    self.store.notes(space, owner)
                )
            for address, note in self.model.notes(space):
                assert self._told(address, note)[1] == self.store.note(address)

    def _told(self, address: Address, note: Note) -> tuple[Address, Note]:
        return address, note._replace(position=self.noted[address])

    @invariant()
    def the_ledger_is_the_same(self) -> None:
        """Each event keeps its position for good, and stands in the order of the positions."""
        found = [(at, run, seq, record) for at, run, seq, record in self.store.since(0)]

        assert self.positions == {(run, seq): at for at, run, seq, _ in found}
        assert sorted(self.positions.values()) == [at for at, *_ in found]
        assert [(run, seq, record) for _, run, seq, record in self.model.since(0)] == [
            (run, seq, record) for _, run, seq, record in found
        ]
        for at in {0, *self.positions.values()} if len(found) < 6 else {found[len(found) // 2][0]}:
            assert [each for each in found if each[0] > at] == list(self.store.since(at))

    @invariant()
    def nothing_is_wrong(self) -> None:
        """The store finds no fault in itself."""
        assert [] == list(self.store.check())

    def teardown(self) -> None:
        """Closes the store."""
        self.store.close()
        self._exits.close()


def _puts(said: dict[Address, tuple[bytes, frozenset[str]] | None]) -> dict[Address, Put | None]:
    return {
        address: None if one is None else Put(one[0], new_stamp(), tuple(sorted(one[1])))
        for address, one in said.items()
    }


def _read_one(store: Store, run: RunId, seq: int) -> Record:
    return next(iter(store.read(run, seq)))
