"""Reads logs of every format version to what they were read as when they were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quiesce.facts import FactLog, family, replay, verify
from quiesce.facts.event import FORMAT
from support.golden import FOLDER, describe, text_of, write

FILES = sorted(FOLDER.glob("v*/*.jsonl"))
KINDS = {
    "run_started", "context_carried", "cycle_committed", "gate_opened", "gate_decided", "run_resumed", "run_stopped",
}  # fmt: skip


def expected_of(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((file.parent / "expected.json").read_text())[file.stem]
    return found


def name_of(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


@pytest.mark.parametrize("url", [":memory:", "loaded.jsonl", "loaded.db"])
@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_golden_log_is_read_as_it_always_was(file: Path, url: str, tmp_path: Path) -> None:
    """Digest for digest, the context after every cycle, and out again byte for byte; in every store."""
    with FactLog.open(url if url == ":memory:" else tmp_path / url) as log:
        log.load(file.read_bytes())

        assert expected_of(file) == {run: describe(log, run) for run in map(str, log.runs())}
        assert file.read_bytes() == text_of(log)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_golden_log_is_read_where_it_stands(file: Path, tmp_path: Path) -> None:
    """As a file of the JSON lines store, which opening leaves as it is."""
    copy = tmp_path / file.name
    copy.write_bytes(file.read_bytes())
    with FactLog.open(copy) as log:
        assert expected_of(file) == {run: describe(log, run) for run in map(str, log.runs())}

    assert file.read_bytes() == copy.read_bytes()


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_golden_log_is_sound_without_its_payload_classes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chain, roots and refs are the same; so are the bytes of an export."""
    known = {name: found for name, found in family._families.items() if not name.startswith("golden-")}
    monkeypatch.setattr(family, "_families", known)
    log = FactLog.open()
    log.load(file.read_bytes())
    for run, expected in expected_of(file).items():
        found = verify(log, run).unwrap()

        assert [expected["digests"], expected["root"], expected["facts"], expected["gone"]] == [
            [one.digest for one in log.events(run)], found.root, found.facts, list(found.gone),
        ]  # fmt: skip
        assert len(list(replay(log, run))) > 0
    assert file.read_bytes() == text_of(log)


def test_there_are_golden_logs_of_every_version() -> None:
    """A new format comes with new ones: `python -m support.golden`."""
    assert [f"v{version}" for version in range(1, FORMAT + 1)] == sorted(path.name for path in FOLDER.glob("v*"))


@pytest.mark.parametrize("version", range(1, FORMAT + 1))
def test_the_golden_logs_hold_every_kind_of_event(version: int) -> None:
    expected = json.loads((FOLDER / f"v{version}" / "expected.json").read_text())
    runs = [described for runs in expected.values() for described in runs.values()]

    assert KINDS == {kind for described in runs for kind in described["kinds"]}
    assert {True, False} == {described["finished"] for described in runs}
    assert any(described["gone"] for described in runs)


def test_golden_logs_are_never_written_anew(tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match="Golden logs are never written anew"):
        write(FOLDER)
    place = write(tmp_path)

    assert before == {path: path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()}
    assert sorted(path.name for path in place.iterdir()) == sorted(
        path.name for path in (FOLDER / f"v{FORMAT}").iterdir()
    )
