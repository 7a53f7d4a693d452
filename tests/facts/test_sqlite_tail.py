"""Shows what SQLite makes of a write-ahead log that is damaged after a crash: an earlier log, and never a wrong one.

SQLite reads the frames of a write-ahead log up to the first one that does not fit its checksum, and ignores that one
and all behind it, without a word. No store above it can tell this from a log that ended there. `docs/guarantees.md`
says so; this holds the page to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.facts import Context, FactLog, Payload, RunId, verify
from quiesce.facts.event import CycleCommitted, RunStarted
from quiesce.facts.record import Record

RUNS = [RunId(f"r{n}") for n in range(12)]


class Leaf(Payload, key="seeds", family="sqlite-tail-leaf"):
    text: str


@pytest.fixture
def crashed(tmp_path: Path) -> tuple[bytes, bytes]:
    """The database and its write-ahead log, as a process leaves them that dies after its last commit."""
    path = tmp_path / "log.db"
    with FactLog.open(path, sync="full") as log:
        for run in RUNS:
            fact = Context().add(Leaf(text=run))
            log.append(run, [RunStarted("2026-01-01T00:00:00+00:00", 1, (), {}), CycleCommitted(0, (), [fact])])
        return path.read_bytes(), path.with_name("log.db-wal").read_bytes()


def read(path: Path, data: bytes, ahead: bytes) -> list[list[Record]]:
    """Returns what a log holds that is made of these files, run by run; each has to be sound."""
    path.write_bytes(data)
    path.with_name(f"{path.name}-wal").write_bytes(ahead)
    with FactLog.open(path) as log:
        assert all(verify(log, run).ok for run in log.runs())
        assert [] == list(log.store.check())
        return [list(log.records(run)) for run in log.runs()]


def damaged(data: bytes, every: int) -> Iterator[bytes]:
    """Yields the bytes with another one in one place, for one of so many places."""
    for place in range(0, len(data), every):
        yield data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.slow
def test_a_damaged_write_ahead_log_gives_an_earlier_log_and_never_a_wrong_one(
    crashed: tuple[bytes, bytes], tmp_path: Path
) -> None:
    """Commits at its end that were acknowledged are gone, also with `sync="full"`; all before them is there."""
    data, ahead = crashed
    whole = read(tmp_path / "whole.db", data, ahead)
    left = [read(tmp_path / f"{at}.db", data, other) for at, other in enumerate(damaged(ahead, 4093))]

    assert [whole[: len(found)] for found in left] == left
    assert len(RUNS) == len(whole)
    assert {0, 1, len(RUNS) - 1} <= {len(found) for found in left}
