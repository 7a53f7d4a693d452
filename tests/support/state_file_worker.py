"""Saves into a state file as a process of its own; the tests of state files start several, and kill some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from quiesce.suggestors.routing.thompson import ThompsonState

PRELOAD = ("quiesce.suggestors.routing.thompson", "support.faults", "support.state_file_worker")


def save_once(say: Callable[[Any], None], path: str) -> None:
    """Loads, learns ten successes of one provider and one of another, saves, and tells that it has."""
    state = ThompsonState.load(path)
    for _ in range(10):
        state.update("ada", success=True)
    state.update("new", success=True)
    state.save(path)
    say("saved")


def save_often(say: Callable[[Any], None], path: str, name: str, rounds: int) -> None:
    """Learns a success of its own and a failure of everybody's, saves, tells so; again and again."""
    state = ThompsonState.load(path)
    for turn in range(rounds):
        state.update(name, success=True)
        state.update("all", success=False)
        state.save(path)
        say((name, turn + 1))
        if turn % 5 == 4:
            state = ThompsonState.load(path)


def load_often(say: Callable[[Any], None], path: str, until: str) -> None:
    """Loads until a file is there; tells what was wrong each time, if something was."""
    loads = 0
    while not Path(until).exists():
        state = ThompsonState.load(path)
        loads += 1
        if state.problems:
            say(state.problems)
    say(loads)
