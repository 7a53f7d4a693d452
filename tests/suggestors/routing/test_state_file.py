"""Holds state files to losing nothing: whatever stands in them, whoever else saves, whatever fails in the midst."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.facts import StoreError
from quiesce.suggestors.routing import state_file, swap
from quiesce.suggestors.routing.beta import Beta
from quiesce.suggestors.routing.reputation import Reputation
from quiesce.suggestors.routing.state_file import NewerStateFile, StateFileError
from quiesce.suggestors.routing.stored_beta import BetaCodec
from quiesce.suggestors.routing.thompson import ThompsonState
from support.faults import Fault, in_child, python_calls, start_child
from support.state_file_worker import PRELOAD, load_often, save_often, save_once

texts = st.text(min_size=1, max_size=20) | st.sampled_from(["\ud800", "a/b", "\0", "é" * 300, "__proto__"])
known = st.dictionaries(texts, st.tuples(st.floats(0.5, 1e9), st.floats(0.5, 1e9)), max_size=8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@pytest.fixture(autouse=True)
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Returns what was warned of so far."""
    caplog.set_level(logging.WARNING, "quiesce")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


def state_of(**pairs: tuple[float, float]) -> ThompsonState:
    state = ThompsonState()
    state._take(pairs)
    return state


def stats(path: Path) -> list[tuple[str, float, float]]:
    """Returns what a file says, which has to be beyond doubt."""
    state = ThompsonState.load(path)
    assert () == state.problems
    return [tuple(known) for known in state.provider_stats()]  # type: ignore[misc]


def others(path: Path) -> list[Path]:
    """Returns what else is in the folder of a file."""
    return sorted(other for other in path.parent.iterdir() if other != path)


# --- what is saved is loaded


@settings(max_examples=30)
@given(known)
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, known: dict[str, Any]) -> None:
    """To the bit, whatever the names; and nothing else is left in the folder."""
    path = tmp_path_factory.mktemp("states") / "state.json"
    state = state_of(**known)
    state.save(path)

    assert state == ThompsonState.load(path)
    assert [] == others(path)


@settings(max_examples=20)
@given(st.floats(1e-6, 1e12), st.floats(1e-6, 1e12))
def test_parameters_are_brought_into_range(tmp_path_factory: pytest.TempPathFactory, alpha: float, beta: float) -> None:
    path = tmp_path_factory.mktemp("states") / "state.json"
    state_of(ada=(alpha, beta)).save(path)

    assert [("ada", min(max(alpha, 0.5), 1e9), min(max(beta, 0.5), 1e9))] == stats(path)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_a_file_is_its_owners_alone(path: Path, mask: int) -> None:
    """Whatever the process's mask, and whatever the file was before."""
    path.write_text('{"distributions": {}}')
    path.chmod(0o666)
    before = os.umask(mask)
    try:
        state_of(ada=(2, 1)).save(path)
    finally:
        os.umask(before)

    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c" / "state.json"
    state_of(ada=(2, 1)).save(str(path))

    assert [("ada", 2.0, 1.0)] == stats(path)


def test_without_a_file_it_is_the_prior_and_no_news(path: Path, warned: Callable[[], str]) -> None:
    state = ThompsonState.load(path, Beta(2, 3))

    assert (ThompsonState(Beta(2, 3)), (), "") == (state, state.problems, warned())
    assert [] == list(path.parent.iterdir())


def test_a_file_of_zeph_is_read_and_ours_is_one_that_it_reads(path: Path) -> None:
    path.write_text('{"distributions":{"claude":{"alpha":12.0,"beta":3.0},"ollama":{"alpha":1.0,"beta":1.0}}}')
    state = ThompsonState.load(path)
    state.update("claude", success=True)
    state.save(path)

    assert [("claude", 13.0, 3.0), ("ollama", 1.0, 1.0)] == stats(path)
    assert {"alpha": 13.0, "beta": 3.0} == json.loads(path.read_text())["distributions"]["claude"]


def test_a_file_says_its_kind_and_schema_version(path: Path) -> None:
    state_of(ada=(2, 1)).save(path)
    found = json.loads(path.read_text())

    assert ("quiesce.thompson", 1, 32) == (found["format"], found["version"], len(found["lineage"]))


# --- hostile files

BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "blank": b" \n",
    "cut short": b'{"distributions": {"ada": {"alpha": 2.0, "be',
    "no JSON": b"alpha=1\n",
    "no text": b'\xff\xfe\x00{"distributions"',
    "zeros": b"\0" * 4096,
    "a list": b"[1, 2]",
    "a number": b"17",
    "null": b"null",
    "an empty object": b"{}",
    "distributions that are a list": b'{"distributions": []}',
    "distributions that are null": b'{"distributions": null}',
    "something behind": b'{"distributions": {}} {"distributions": {}}',
    "lists in lists": b"[" * 200_000,
    "objects in objects": b'{"distributions":' * 50_000 + b"1" + b"}" * 50_000,
    "a version that is a text": b'{"version": "1", "distributions": {}}',
    "a version that is true": b'{"version": true, "distributions": {}}',
    "a version of 0": b'{"version": 0, "distributions": {}}',
    "a format that is a number": b'{"format": 1, "distributions": {}}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_set_aside_and_the_prior_is_used(name: str, path: Path, warned: Callable[[], str]) -> None:
    """The warning says where it is now; what it held is there to the byte; then all goes on."""
    path.write_bytes(BROKEN[name])
    state = ThompsonState.load(path)
    (aside,) = others(path)

    assert (ThompsonState(), BROKEN[name], False) == (state, aside.read_bytes(), path.exists())
    assert aside.name.startswith("state.json.broken-")
    assert str(path) in warned()
    assert (
        f"It was set aside as {aside.name}; begun with the prior"
        in warned()
        == f"state file {path}: {state.problems[0]}"
    )
    state.update("ada", success=True)
    state.save(path)
    assert [("ada", 2.0, 1.0)] == stats(path)
    assert [aside] == others(path)


def test_a_file_that_breaks_before_a_save_is_set_aside_and_all_is_written(
    path: Path, warned: Callable[[], str]
) -> None:
    state = state_of(ada=(20, 10))
    state.save(path)
    path.write_bytes(b"{")
    state.save(path)

    assert [("ada", 20.0, 10.0)] == stats(path)
    assert b"{" == others(path)[0].read_bytes()
    assert "was set aside" in warned()


def test_a_file_of_a_hundred_megabytes_is_not_read(path: Path, warned: Callable[[], str]) -> None:
    path.touch()
    os.truncate(path, 100 * 2**20)  # it takes no room on the disk

    assert ThompsonState() == ThompsonState.load(path)
    assert "it has 104,857,600 bytes, and 67,108,864 are the most that are read" in warned()
    assert 100 * 2**20 == others(path)[0].stat().st_size


ENTRIES: dict[str, tuple[str, tuple[float, float] | None]] = {
    "NaN": ('{"alpha": NaN, "beta": 2}', (1.0, 2.0)),
    "infinite": ('{"alpha": Infinity, "beta": -Infinity}', (1.0, 1.0)),
    "too large for a float": ('{"alpha": 1e999, "beta": 2}', (1.0, 2.0)),
    "thousands of digits": ('{"alpha": ' + "9" * 5_000 + ', "beta": 2}', (1.0, 2.0)),
    "huge": ('{"alpha": 1e300, "beta": 123456789012345678901234567890}', (1e9, 1e9)),
    "negative": ('{"alpha": -5, "beta": -1e-9}', (0.5, 0.5)),
    "zero": ('{"alpha": 0, "beta": -0.0}', (0.5, 0.5)),
    "small": ('{"alpha": 1e-300, "beta": 0.25}', (0.5, 0.5)),
    "more than asked for": ('{"alpha": 3, "beta": 4, "gamma": [1]}', (3.0, 4.0)),
    "texts": ('{"alpha": "3", "beta": 4}', None),
    "truths": ('{"alpha": true, "beta": 4}', None),
    "null": ("null", None),
    "nothing": ("{}", None),
    "half": ('{"alpha": 3}', None),
    "a list": ("[3, 4]", None),
    "a number": ("3", None),
    "lists inside": ('{"alpha": [3], "beta": {"x": 4}}', None),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_bad_entry_takes_nothing_from_the_others(name: str, path: Path) -> None:
    text, expected = ENTRIES[name]
    path.write_text(f'{{"distributions": {{"bad": {text}, "ok": {{"alpha": 7, "beta": 2}}}}}}')
    state = ThompsonState.load(path)
    found = {known.provider: tuple(known)[1:] for known in state.provider_stats()}

    assert ({"ok": (7.0, 2.0)} if expected is None else {"ok": (7.0, 2.0), "bad": expected}) == found
    assert [] == others(path)
    if expected is None:
        assert "distributions['bad']" in state.problems[0]


def test_a_file_with_bad_entries_is_kept_as_a_copy_before_it_is_written_over(
    path: Path, warned: Callable[[], str]
) -> None:
    """Somebody may want to mend them."""
    text = '{"distributions": {"bad": {"alpha": "7"}, "": {"alpha": 7, "beta": 2}, "ok": {"alpha": 7, "beta": 2}}}'
    path.write_text(text)
    state = ThompsonState.load(path)
    state.update("ok", success=True)
    state.save(path)

    assert [("ok", 8.0, 2.0)] == stats(path)
    assert [text] == [other.read_text() for other in others(path)]
    assert f"What it held was kept as {others(path)[0].name}" in warned()
    state.save(path)
    assert 1 == len(others(path))


def test_a_name_that_stands_twice_counts_as_it_stands_last_and_is_told(path: Path) -> None:
    path.write_text(
        '{"distributions": {"ada": {"alpha": 2, "beta": 2}, "ada": {"alpha": 5, "beta": 1}, "bob": '
        '{"alpha": 1, "alpha": 3, "beta": 1}}}'
    )
    state = ThompsonState.load(path)

    assert [("ada", 5.0, 1.0), ("bob", 3.0, 1.0)] == state.provider_stats()
    assert "'alpha' stands there more than once; the last one counts" in state.problems[0]
    assert "'ada' stands there more than once; the last one counts" in state.problems[1]


@pytest.mark.slow
@pytest.mark.timeout(30)
def test_a_name_that_stands_twice_among_very_many_is_found_at_once(path: Path) -> None:
    """Looking for each name among all the others took hours for a file of this size."""
    entries = ",".join(f'"p{n}":{{"alpha":2,"beta":1}}' for n in range(200_000))
    path.write_text(f'{{"distributions":{{{entries},"p7":{{"alpha":5,"beta":1}}}}}}')

    assert 5 == ThompsonState.load(path).get_distribution("p7").alpha


def test_of_many_bad_entries_some_are_named(path: Path) -> None:
    path.write_text(
        json.dumps({"distributions": {f"bad-{n}": None for n in range(1_000)} | {"ok": {"alpha": 2, "beta": 1}}})
    )
    state = ThompsonState.load(path)

    assert [("ok", 2.0, 1.0)] == state.provider_stats()
    assert (21, "980 more entries of distributions are wrong") == (len(state.problems), state.problems[-1])


def test_a_byte_order_mark_is_no_harm(path: Path) -> None:
    path.write_text('\ufeff{"distributions": {"ada": {"alpha": 2, "beta": 1}}}', encoding="utf-8")

    assert [("ada", 2.0, 1.0)] == stats(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    st.binary(max_size=200)
    | json_values.map(lambda value: json.dumps(value).encode())
    | json_values.map(lambda value: json.dumps({"distributions": value}).encode())
    | json_values.map(lambda value: json.dumps({"distributions": {"ada": value}}).encode())
    | st.tuples(json_values, json_values).map(
        lambda both: json.dumps({"distributions": {"ada": dict(zip(["alpha", "beta"], both, strict=True))}}).encode()
    )
)
def test_no_file_stops_a_program_and_none_is_lost(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever the bytes: it loads, chooses, learns and saves; and if not all of it was used, it is still there."""
    path = tmp_path_factory.mktemp("states") / "state.json"
    path.write_bytes(data)
    for cls in (ThompsonState, Reputation):
        state = cls.load(path)
        state.update("zoe", success=True)
        state.save(path)
        assert cls.load(path)._value() == state._value()
        if state.problems:
            assert data in [other.read_bytes() for other in others(path)]
        for other in [path, *others(path)]:
            other.unlink()
        path.write_bytes(data)


# --- files that are to be left alone


@pytest.mark.parametrize("cls", [ThompsonState, Reputation])
def test_a_file_of_a_newer_schema_is_refused_and_left_alone(path: Path, cls: Any) -> None:
    data = b'{"format": "quiesce.%s", "version": 7, "new": "shape"}' % cls().codec.kind.encode()
    path.write_bytes(data)
    state = cls()
    state.update("ada", success=True)
    calls: list[Callable[[], object]] = [lambda: cls.load(path), lambda: state.save(path)]
    for call in calls:
        with pytest.raises(NewerStateFile, match="schema version 7, and this Quiesce reads versions up to 1") as raised:
            call()
        assert (str(path), 7, 1) == (raised.value.path, raised.value.found, raised.value.known)

    assert (data, []) == (path.read_bytes(), others(path))


def test_a_file_of_another_kind_is_refused_and_left_alone(path: Path) -> None:
    state_of(ada=(2, 1)).save(path)
    data = path.read_bytes()
    calls: list[Callable[[], object]] = [lambda: Reputation.load(path), lambda: Reputation().save(path)]
    for call in calls:
        with pytest.raises(StateFileError, match=r"it holds quiesce.thompson, not quiesce.reputation"):
            call()

    assert (data, []) == (path.read_bytes(), others(path))


def test_what_is_no_file_is_left_alone(tmp_path: Path, warned: Callable[[], str]) -> None:
    """A folder, and a pipe into which nobody writes: neither is renamed, neither hangs."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    for name in ("folder", "pipe"):
        assert ThompsonState() == ThompsonState.load(tmp_path / name)
        assert "it is a folder, a pipe or a device, not a file; begun with the prior" in warned()
        with pytest.raises(StateFileError, match="a folder, a pipe or a device"):
            state_of(ada=(2, 1)).save(tmp_path / name)

    assert before == sorted(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_told_of(tmp_path: Path, warned: Callable[[], str]) -> None:
    (tmp_path / "file").write_text("mine")

    assert ThompsonState() == ThompsonState.load(tmp_path / "file" / "state.json")
    assert "begun with the prior" in warned()
    with pytest.raises(StateFileError, match="it was not written"):
        ThompsonState().save(tmp_path / "file" / "state.json")
    assert "mine" == (tmp_path / "file").read_text()


def test_a_link_to_a_state_file_stays_one(tmp_path: Path) -> None:
    """Also one to a file that is still to come."""
    (tmp_path / "real").mkdir()
    link, real = tmp_path / "link.json", tmp_path / "real" / "state.json"
    link.symlink_to(real)
    for alpha in (2.0, 3.0):
        state = ThompsonState.load(link)
        state.update("ada", success=True)
        state.save(link)
        assert (True, [("ada", alpha, 1.0)]) == (link.is_symlink(), stats(real))

    assert [real] == list(real.parent.iterdir())


def test_a_link_under_the_name_of_a_new_file_is_harmless(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where names could be guessed, somebody could have us write into a file of the victim's."""
    victim = path.with_name("victim")
    victim.write_text("precious")
    traps = [path.with_name(name) for name in (f".state.json.{'0' * 32}.new", "state.tmp", "state.json.tmp")]
    for trap in traps:
        trap.symlink_to(victim)
    tokens = iter(["f" * 32, "0" * 32, "1" * 32])
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(tokens))
    trapped = traps[0].with_name(f".state.json.{'0' * 32}.new")
    assert trapped.is_symlink()
    with monkeypatch.context() as patch:
        patch.setattr("quiesce.suggestors.routing.state_file.remove_left_overs", lambda _: None)
        state_of(ada=(2, 1)).save(path)

    assert ("precious", False, [("ada", 2.0, 1.0)]) == (victim.read_text(), path.is_symlink(), stats(path))
    assert trapped.is_symlink()


def test_a_link_under_the_name_of_the_lock_is_not_followed(path: Path) -> None:
    path.with_name(".state.json.lock").symlink_to(path.with_name("victim"))
    with pytest.raises(StateFileError, match="it was not written"):
        state_of(ada=(2, 1)).save(path)

    assert not path.with_name("victim").exists()
    assert not path.exists()


# --- several who save


def test_two_that_save_into_one_file_lose_nothing(path: Path) -> None:
    """What is written is what stands there and what has come since; then both know all."""
    state_of(ada=(5, 5)).save(path)
    one, other = ThompsonState.load(path), ThompsonState.load(path)
    for _ in range(3):
        one.update("ada", success=True)
        other.update("ada", success=False)
    one.update("bob", reward=0.25)
    other.update("cyd", success=True)
    one.save(path)
    other.save(path)
    one.save(path)

    assert [("ada", 8.0, 8.0), ("bob", 1.25, 1.75), ("cyd", 2.0, 1.0)] == stats(path)
    assert one == other == ThompsonState.load(path)


steps = st.tuples(st.integers(0, 3), st.sampled_from(["ada", "bob", "save", "load"]), st.booleans())


@pytest.mark.slow
@settings(max_examples=15)
@given(st.lists(steps, max_size=30))
def test_whatever_the_order_of_saves_all_outcomes_count_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str, bool]]
) -> None:
    path = tmp_path_factory.mktemp("states") / "state.json"
    states = [ThompsonState() for _ in range(4)]
    whole = ThompsonState()
    for who, what, success in steps:
        if what == "save":
            states[who].save(path)
        elif what == "load":  # a program that ends saves, and its successor loads
            states[who].save(path)
            states[who] = ThompsonState.load(path)
        else:
            states[who].update(what, success)
            whole.update(what, success)
    for state in states:
        state.save(path)

    assert whole == ThompsonState.load(path)


def test_a_state_that_begins_anew_adds_to_what_is_there(path: Path) -> None:
    state_of(ada=(5, 5)).save(path)
    fresh = ThompsonState()
    fresh.update("ada", success=True)
    fresh.save(path)

    assert [("ada", 6.0, 5.0)] == stats(path)


def test_a_state_may_be_saved_under_several_paths(path: Path) -> None:
    second = path.with_name("second.json")
    state = state_of(ada=(5, 5))
    for each in (path, second, path, second):
        state.update("ada", success=True)
        state.save(each)

    assert ([("ada", 8.0, 5.0)], [("ada", 9.0, 5.0)]) == (stats(path), stats(second))


def test_files_that_differ_in_their_ending_have_nothing_in_common(tmp_path: Path) -> None:
    """Where the ending was replaced for the new file, two states would be written into one."""
    paths = [tmp_path / name for name in ("state.json", "state.yaml", "state", "state.new", "state.lock")]
    states = [state_of(ada=(2.0 + place, 1)) for place in range(5)]
    threads = [
        Thread(target=lambda path=path, state=state: [state.save(path) for _ in range(4)])
        for path, state in zip(paths, states, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [[("ada", 2.0 + place, 1.0)] for place in range(5)] == [stats(path) for path in paths]
    assert sorted(paths) == sorted(tmp_path.iterdir())


def test_in_the_place_of_a_file_that_is_gone_all_is_written(path: Path) -> None:
    state = state_of(ada=(5, 5))
    state.save(path)
    path.unlink()
    state.update("ada", success=True)
    state.save(path)

    assert [("ada", 6.0, 5.0)] == stats(path)


def test_in_the_place_of_a_file_that_somebody_began_anew_all_is_added(path: Path) -> None:
    """It does not go back to ours: the difference to ours would make no sense."""
    state = state_of(ada=(5, 5))
    state.save(path)
    path.unlink()
    state_of(ada=(2, 1)).save(path)
    state.update("ada", success=True)
    state.save(path)

    assert [("ada", 7.0, 5.0)] == stats(path)


def test_two_that_take_over_a_file_of_zeph_count_it_once(path: Path) -> None:
    path.write_text('{"distributions": {"ada": {"alpha": 100, "beta": 50}}}')
    states = [ThompsonState.load(path) for _ in range(3)]
    for state in states:
        state.update("ada", success=True)
        state.save(path)

    assert [("ada", 103.0, 50.0)] == stats(path)


def test_what_is_pruned_leaves_the_file_and_stays_out(path: Path) -> None:
    """What another process still knows of it does not bring it back; what it learns anew does."""
    state_of(ada=(9, 9), bob=(3, 3)).save(path)
    one, other = ThompsonState.load(path), ThompsonState.load(path)
    one.prune(["ada"])
    one.save(path)
    other.update("ada", success=True)
    other.save(path)
    assert [("ada", 10.0, 9.0)] == stats(path)
    other.update("bob", success=True)
    other.save(path)

    assert [("ada", 10.0, 9.0), ("bob", 2.0, 1.0)] == stats(path)


def test_what_is_pruned_and_learned_anew_begins_anew(path: Path) -> None:
    state = state_of(ada=(9, 9))
    state.save(path)
    state.prune([])
    state.update("ada", success=True)
    state.save(path)

    assert [("ada", 2.0, 1.0)] == stats(path)


def test_outcomes_that_come_while_a_file_is_written_count_once(path: Path) -> None:
    """Two threads save one state all the time, four teach it."""
    state = ThompsonState()

    def teach() -> None:
        for _ in range(500):
            state.update("ada", success=True)

    def save() -> None:
        for _ in range(20):
            state.save(path)

    threads = [Thread(target=work) for work in (teach, save, teach, save, teach, teach)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state.save(path)

    assert [("ada", 2_001.0, 1.0)] == stats(path) == state.provider_stats()


def test_what_is_forgotten_while_a_file_is_written_is_forgotten_there_with_the_next(path: Path) -> None:
    """Pruned, decayed and learned between what was read and what was written: none is undone, none counts twice."""

    class Meanwhile(BetaCodec):
        def write(self, value: Any) -> dict[str, Any]:
            if turns:
                turns.pop()()
            return super().write(value)

    state = state_of(ada=(9, 9), bob=(11, 1))
    state.codec = Meanwhile()

    def forget() -> None:
        state.prune(["bob"])
        state.decay(0.5)
        state.update("bob", success=False)

    turns = [forget]
    state.save(path)
    assert [("ada", 9.0, 9.0), ("bob", 11.0, 1.0)] == stats(path)
    assert [("bob", 6.0, 2.0)] == state.provider_stats()
    state.save(path)

    assert [("bob", 6.0, 2.0)] == stats(path) == state.provider_stats()


def test_a_lock_that_goes_while_it_is_waited_for_is_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who held it removes its file; whoever had that open and locks it now locks nothing that others see."""
    lock, real = path.with_name(".state.json.lock"), fcntl.flock
    locked = []

    def flock(file: int, how: int) -> None:
        locked.append(os.fstat(file).st_ino)
        if len(locked) == 1:
            lock.unlink()
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with swap.locked(path, 1.0):
        assert lock.stat().st_ino == locked[-1]

    assert 2 == len(locked)


def test_a_save_waits_for_another_and_gives_up_when_it_is_told_to(path: Path) -> None:
    state = state_of(ada=(5, 5))
    lock = path.with_name(".state.json.lock")
    held = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(StateFileError, match="others have been saving into it all the time"):
        state.save(path, wait=0.01)
    assert not path.exists()
    waiting = Thread(target=state.save, args=(path,))
    waiting.start()
    os.close(held)
    waiting.join()

    assert [("ada", 5.0, 5.0)] == stats(path)
    assert [] == others(path)


@pytest.mark.slow
def test_processes_that_save_into_one_file_lose_nothing(path: Path) -> None:
    """Four processes, 25 saves each, while one loads all the time and never finds anything wrong."""
    done = path.with_name("done")
    reader = start_child(load_often, str(path), str(done), preload=PRELOAD)
    workers = [start_child(save_often, str(path), name, 25, preload=PRELOAD) for name in "abcd"]
    ended = [worker.wait() for worker in workers]
    done.touch()
    read = reader.wait()

    assert [""] * 5 == [each.error for each in (*ended, read)]
    assert [("a", 26.0, 1.0), ("all", 1.0, 101.0), *((name, 26.0, 1.0) for name in "bcd")] == stats(path)
    assert 1 == len(read.said)
    assert read.said[0] > 0
    assert [done] == others(path)


# --- what fails, and what dies


def count_calls(path: Path) -> dict[str, int]:
    """Returns which calls a save makes that changes a file."""
    state_of(ada=(5, 5)).save(path)
    state = ThompsonState.load(path)
    state.update("ada", success=True)
    with python_calls() as calls:
        state.save(path)
    return dict(calls.counts)


CALLS = [
    *(("open", nth) for nth in (1, 2, 3, 4)), ("fchmod", 1), ("write", 1), ("fsync", 1), ("replace", 1), ("fsync", 2),
    ("unlink", 1),
]  # fmt: skip


def test_these_are_all_calls_of_a_save(path: Path) -> None:
    """So that none is forgotten below: lock, old file, new file, folder."""
    assert {"open": 4, "fchmod": 1, "write": 1, "fsync": 2, "replace": 1, "unlink": 1} == count_calls(path)


@pytest.mark.parametrize("how", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_call_that_fails_loses_nothing_and_counts_nothing_twice(call: tuple[str, int], how: Any, path: Path) -> None:
    """The old file stands, or the new one; nothing else is left; and the next save makes it whole."""
    state_of(ada=(5, 5)).save(path)
    state = ThompsonState.load(path)
    state.update("ada", success=True)
    with python_calls(Fault(*call, how)) as calls:
        try:
            state.save(path)
            failed = None
        except StateFileError as error:
            failed = error
    assert calls.hit
    left = [other for other in others(path) if other.name != ".state.json.lock"]

    if call == ("open", 2):  # the old file could not be read: it was set aside
        assert [b'"ada":{"alpha":5.0' in other.read_bytes() for other in left] == [True]
        assert (None, [("ada", 6.0, 5.0)]) == (failed, stats(path))
    else:
        assert [] == left
        assert (failed is None) == (call == ("unlink", 1))
        assert stats(path) in ([("ada", 5.0, 5.0)], [("ada", 6.0, 5.0)])
    state.update("ada", success=True)
    state.save(path)
    assert [("ada", 7.0, 5.0)] == stats(path) == state.provider_stats()
    if failed is not None:
        is_new = call in (("open", 4), ("fsync", 2))
        assert ("it was written, but the disk has not confirmed it" in str(failed)) == is_new
        assert isinstance(failed, StoreError)


def test_a_file_that_cannot_be_read_is_set_aside(
    path: Path, warned: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state_of(ada=(5, 5)).save(path)
    with python_calls(Fault("open", 1, "EIO")):
        fine = ThompsonState.load(path)  # it could be read the second time, under the lock
    assert [("ada", 5.0, 5.0)] == fine.provider_stats()
    data = path.read_bytes()

    def refuse(target: Path, limit: int) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(state_file, "_bytes_of", refuse)
        state = ThompsonState.load(path)

    assert ThompsonState() == state
    assert [data] == [other.read_bytes() for other in others(path)]
    assert "it cannot be read: Permission denied. It was set aside as" in warned()


def test_a_broken_file_that_cannot_be_set_aside_is_never_written_over(path: Path, warned: Callable[[], str]) -> None:
    path.write_bytes(b"{")
    with python_calls(Fault("rename", 1, "EIO", lasting=True)):
        state = ThompsonState.load(path)
        with pytest.raises(StateFileError, match="it was not written"):
            state.save(path)

    assert (b"{", []) == (path.read_bytes(), others(path))
    assert "It could not be set aside" in warned()


def test_a_file_that_somebody_puts_right_meanwhile_is_not_set_aside(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking and locking, another process may have set it aside and saved."""
    path.write_bytes(b"{")
    lock = swap.locked

    def locked(target: Path, wait: float) -> Any:
        path.unlink()
        monkeypatch.setattr(state_file, "locked", lock)
        state_of(ada=(5, 5)).save(path)
        return lock(target, wait)

    monkeypatch.setattr(state_file, "locked", locked)

    assert [("ada", 5.0, 5.0)] == stats(path)
    assert [] == others(path)


KILLS = [
    (call, how)
    for call in CALLS
    for how in ("kill-before", "kill-torn", "kill-after")
    if how != "kill-torn" or call[0] == "write"
]


@pytest.mark.slow
def test_a_process_that_is_killed_at_any_call_leaves_the_old_file_or_the_new_one(path: Path) -> None:
    """SIGKILL before, in the midst of and after each call: what is left loads, and the next save clears up."""
    old, new = [("ada", 5.0, 5.0)], [("ada", 15.0, 5.0), ("new", 2.0, 1.0)]
    seen = set()
    for call, how in KILLS:
        # One more: the load opens the file, too.
        nth = call[1] + 1 if call[0] == "open" else call[1]
        for each in (path, *others(path)):
            each.unlink(missing_ok=True)
        state_of(ada=(5, 5)).save(path)
        ended = in_child(
            save_once, str(path), fault=Fault(call[0], nth, how), watch=python_calls,  # type: ignore[arg-type]
        )  # fmt: skip
        found = stats(path)
        seen.add(tuple(found))
        is_placed = call in (("open", 4), ("fsync", 2), ("unlink", 1)) or (call, how) == (("replace", 1), "kill-after")

        assert ended.killed, (call, how, ended.error)
        assert (new if is_placed else old) == found, (call, how)
        state = ThompsonState.load(path)
        state.update("ada", success=False)
        state.save(path)
        assert [] == others(path), (call, how)
        assert [(name, alpha, beta + (name == "ada")) for name, alpha, beta in found] == stats(path)

    assert {tuple(old), tuple(new)} == seen


@pytest.mark.slow
def test_processes_that_are_killed_take_nothing_from_the_others(path: Path) -> None:
    """Three save all the time, one of them is killed: what it had said was saved is there, at most one more is."""
    workers = [start_child(save_often, str(path), name, rounds, preload=PRELOAD) for name, rounds in
               (("a", 20), ("b", 20), ("c", 10_000))]  # fmt: skip
    for _ in range(7):
        workers[2].hear()
    workers[2].kill()
    ended = [worker.wait() for worker in workers]
    state = ThompsonState.load(path)
    state.save(path)
    counts = {name: int(alpha + beta - 2) for name, alpha, beta in stats(path)}

    assert [False, False, True] == [each.killed for each in ended]
    assert (20, 20) == (counts["a"], counts["b"])
    told = ended[2].said[-1][1]
    assert told <= counts["c"] <= told + 1
    assert counts["all"] == 40 + counts["c"]
    assert [] == others(path)


def test_a_state_that_would_not_be_read_again_is_not_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state_of(ada=(5, 5)).save(path)
    big = ThompsonState()
    for number in range(100):
        big.update(f"provider {number}", success=True)
    monkeypatch.setattr(type(big.codec), "limit", 500)
    with pytest.raises(StateFileError, match="are more than the 500 that would be read again"):
        big.save(path)
    monkeypatch.undo()

    assert [("ada", 5.0, 5.0)] == stats(path)
    assert [] == others(path)


def test_names_that_json_cannot_hold_are_no_danger(path: Path) -> None:
    """A lone surrogate is no valid UTF-8: it stands there escaped."""
    state = ThompsonState()
    state.update("\ud800", success=True)
    state.save(path)

    assert path.read_bytes().isascii()
    assert state == ThompsonState.load(path)
