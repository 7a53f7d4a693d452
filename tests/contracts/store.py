"""Holds a store to its contract: subclass `StoreContract`, say how a store is opened, and let pytest run it.

```python
class TestMyStore(StoreContract):
    def open(self, place: Path) -> Store:
        return MyStore(place / "events.mine")
```

Every case gets a folder of its own. `open` is called again and again for one folder and gives a store over the same
events each time; where nothing outlives the process, `lasting = False` leaves out what asks for that. What no test can
see: that with `sync="full"` an append returns only once the disk has the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.facts import FactLog, Fenced, Record, RunId, Store, replay, verify
from quiesce.facts.event import CycleCommitted, RunStarted, RunStopped
from quiesce.facts.stores import Batch

RUNS = ("r", "another run", 'with "quotes" \\ and ünïcode', "10", "a/../b", "x" * 200)
RUN = RunId("r")
TEXTS = st.sampled_from(["", "a", "é\u2028", '"', "\\", "\n", "\x7f", "😀", "}", '{"commit":"']) | st.text(max_size=8)
STEP = st.tuples(
    st.sampled_from(["append", "fenced", "read", "reopen"]),
    st.sampled_from(RUNS[:3]),
    st.lists(TEXTS, min_size=1, max_size=3),
)


def text_of(value: Any) -> bytes:
    """Returns JSON on one line, whatever it holds."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def record_of(run: str, seq: int, text: str, payloads: Sequence[str] = ()) -> Record:
    """Returns a record in the form in which a log writes it."""
    raw = b'{"v":1,"run":%s,"seq":%d,"text":%s}' % (text_of(run), seq, text_of(text))
    bodies = [b'{"text":%s}' % text_of(one) for one in payloads]
    beside = b'{"took":%s}' % json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False).encode()
    return Record(raw, sha256(raw).hexdigest(), {sha256(body).hexdigest(): body for body in bodies}, beside)


def records_of(run: str, seq: int, *texts: str) -> list[Record]:
    """Returns records that follow one another; some have payloads, one of which every record names."""
    return [record_of(run, seq + place, text, ["shared", text] if text else []) for place, text in enumerate(texts)]


class StoreContract:
    """What every store does; see `quiesce.facts.Store` for the clauses."""

    lasting = True
    """What was appended can be read by a store that is opened later."""

    def open(self, place: Path) -> Store:
        """Returns a store over the events that are kept in a folder."""
        raise NotImplementedError

    @contextmanager
    def opened(self) -> Iterator[Store]:
        """Gives a store over nothing, and closes it."""
        with TemporaryDirectory() as place:
            store = self.open(Path(place))
            yield store
            store.close()

    def test_records_come_back_byte_for_byte(self) -> None:
        """Also where several are appended at once."""

        @given(texts=st.lists(TEXTS, min_size=1, max_size=5), run=st.sampled_from(RUNS))
        def check(texts: list[str], run: str) -> None:
            records = records_of(run, 0, *texts)
            with self.opened() as store:
                store.commit(Batch.of(RunId(run), 0, records))

                assert records == list(store.read(RunId(run)))
                assert (len(records), [run]) == (store.length(RunId(run)), store.runs())

        check()  # in here, since Hypothesis wants a property to belong to one class

    def test_a_store_does_what_a_dict_of_lists_would_do(self) -> None:
        """Whatever is appended, refused, read and opened again, in any order."""
        given(steps=st.lists(STEP, max_size=12))(self._compare)()

    def _compare(self, steps: list[tuple[str, str, list[str]]]) -> None:
        known: dict[str, list[Record]] = {}
        with TemporaryDirectory() as place:
            store = self.open(Path(place))
            for step, run, texts in steps:
                kept = known.get(run, [])
                if step == "append":
                    records = records_of(run, len(kept), *texts)
                    store.commit(Batch.of(RunId(run), len(kept), records))
                    known[run] = kept + records
                elif step == "fenced":
                    with pytest.raises(Fenced):
                        store.commit(Batch.of(RunId(run), len(kept) + 1, records_of(run, len(kept) + 1, *texts)))
                elif step == "reopen" and self.lasting:
                    store.close()
                    store = self.open(Path(place))

                assert known.get(run, []) == list(store.read(RunId(run)))
                assert list(known) == store.runs()
                assert [len(known.get(run, [])) for run in RUNS] == [store.length(RunId(run)) for run in RUNS]
            store.close()

    @pytest.mark.parametrize("start", [0, 1, 2, 3, 4, 5, 99])
    def test_reading_starts_where_it_is_asked_to(self, start: int) -> None:
        """Inside a batch, at its edge and behind the end."""
        records = records_of("r", 0, "a", "b", "c", "d", "e")
        with self.opened() as store:
            store.commit(Batch.of(RUN, 0, records[:2]))
            store.commit(Batch.of(RUN, 2, records[2:]))

            assert records[start:] == list(store.read(RUN, start))

    def test_an_unknown_run_is_empty(self) -> None:
        with self.opened() as store:
            store.commit(Batch.of(RUN, 0, records_of("r", 0, "a")))

            assert ([], 0, [RUN]) == (list(store.read(RunId("s"))), store.length(RunId("s")), store.runs())

    @pytest.mark.parametrize("seq", [0, 1, 3, 9])
    def test_a_second_writer_is_fenced_and_changes_nothing(self, seq: int) -> None:
        """Its number is not where the run ends: too low, where it wrote before, or too high."""
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
        with self.opened() as store:
            with pytest.raises(Fenced):
                store.commit(Batch.of(RUN, 1, records_of("r", 1, "a")))

            assert ([], []) == (list(store.read(RUN)), store.runs())

    def test_runs_are_in_the_order_of_their_first_records_and_do_not_mix(self) -> None:
        with self.opened() as store:
            for seq in range(3):
                for run in RUNS:
                    store.commit(Batch.of(RunId(run), seq, records_of(run, seq, f"{run}{seq}")))

            assert [*RUNS] == store.runs()
            assert [[f"{run}{seq}" for seq in range(3)] for run in RUNS] == [
                [json.loads(record.raw)["text"] for record in store.read(RunId(run))] for run in RUNS
            ]

    def test_what_was_read_does_not_change_when_more_is_appended(self) -> None:
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

            assert [f"{seq}" for seq in range(3)] == [json.loads(record.raw)["text"] for record in again.read(RUN)]
            again.close()

    def test_a_log_over_it_can_be_verified_and_replayed(self) -> None:
        with self.opened() as store:
            log = FactLog(store)
            log.append(RUN, [RunStarted("2026-01-01T00:00:00+00:00", 1, (), {})])
            log.append(RUN, [CycleCommitted(0, (), ()), CycleCommitted(1, (), ())], beside={"took": 1})
            log.append(RUN, [RunStopped({"kind": "converged", "cycles": 1}, 0)])

            assert verify(log, RUN).ok
            assert [{}, {"took": 1}, {}, {}] == [dict(logged.beside) for logged in log.events(RUN)]
            assert 1 == replay(log, RUN).trail.cycle
