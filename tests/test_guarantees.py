"""Holds the page of guarantees to its commands: each runs the tests that stand beside it.

What a command runs is read from the source, since to have pytest collect every file takes as long as many tests. Names
are compared as `-k` compares them, but of tests and their classes only, so this finds at most what pytest does.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from quiesce.facts.testing import StoreContract
from support.pages import ROOT, read_links

PAGE = ROOT / "docs" / "guarantees.md"
LINES = [line for line in PAGE.read_text().splitlines() if "`make " in line]
ROWS = [line for line in LINES if line.startswith("| ") and "](../" in line and "test_" in line.partition("](../")[0]]


@dataclass(frozen=True)
class Found:
    """A test that a file runs."""

    name: str
    words: str
    """Its name and that of its class, in small letters."""
    is_soak: bool


@dataclass(frozen=True)
class Command:
    """What a command of the page asks pytest for."""

    soaks: bool
    path: str
    words: str
    """What stands behind `-k`; empty for all of the file."""

    def runs(self) -> list[str]:
        """Returns the names of the tests that it runs."""
        found = [test for test in found_in(ROOT / self.path) if test.is_soak == self.soaks]
        return [test.name for test in found if not self.words or fits(self.words, test.words)]


def fits(wanted: str, words: str) -> bool:
    """Tells whether an expression of `-k` selects a test."""
    told = re.sub(r"(?!(?:and|or|not)\b)\b\w+", lambda word: str(word[0].lower() in words), wanted)
    return bool(eval(told, {"__builtins__": {}}))  # True, False, and, or, not


@cache
def found_in(path: Path) -> tuple[Found, ...]:
    """Returns the tests of a file, those that its classes inherit from the contract of stores included."""
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
            marks = {ast.unparse(each) for each in node.decorator_list}
            found.append(Found(node.name, node.name.lower(), "pytest.mark.soak" in marks))
        elif isinstance(node, ast.ClassDef) and "StoreContract" in map(ast.unparse, node.bases):
            clauses = [clause.test for clause in StoreContract.clauses()]
            found += [Found(name, f"{node.name} {name}".lower(), False) for name in clauses]
    return tuple(found)


def commands_in(line: str) -> Iterator[Command]:
    """Yields the commands of a line of the page."""
    for kind, quoted, plain in re.findall(r'`make (test|soak) ARGS=(?:"([^"]*)"|(\S+?))`', line):
        path, *rest = shlex.split(quoted or plain)
        assert rest[:1] in ([], ["-k"]), line
        yield Command(kind == "soak", path, " ".join(rest[1:]))


COMMANDS = [command for line in LINES for command in commands_in(line)]


@pytest.mark.parametrize("row", ROWS, ids=[row[2:60].split(" | ")[0] for row in ROWS])
def test_the_commands_of_a_row_run_its_tests(row: str) -> None:
    """Each test that is linked, in the file to which the link leads; a clause of the contract in any."""
    links = [(link.text.strip("`"), (PAGE.parent / link.target).resolve()) for link in read_links(row)]
    linked = [(name, path) for name, path in links if name.startswith("test_")]
    contract = ROOT / "facts" / "testing" / "contract.py"
    run = {
        (name, path)
        for command in commands_in(row)
        for name in command.runs()
        for path in (ROOT / command.path, contract)
    }

    assert linked
    assert [] == [name for name, path in linked if (name, path) not in run]


def test_every_command_runs_something() -> None:
    """Those that stand in the text too; and none is written in a way that is not understood here."""
    assert [] == [command for command in COMMANDS if not command.runs()]
    assert len(COMMANDS) == sum(line.count("ARGS=") for line in LINES)
    assert len(ROWS) > 60


def test_every_file_that_soaks_is_named() -> None:
    """Under "At length", so that nobody has to look for what CI bounds."""
    soaking = {path for path in (ROOT / "tests").rglob("test_*.py") if any(test.is_soak for test in found_in(path))}

    assert soaking == {ROOT / command.path for command in COMMANDS if command.soaks}


@pytest.mark.parametrize(
    ("wanted", "fitting"),
    [
        ("one", True),
        ("ONE", True),
        ("three", False),
        ("not one", False),
        ("three or one", True),
        ("one and three", False),
    ],
)
def test_words_are_compared_as_pytest_compares_them(wanted: str, fitting: bool) -> None:
    """The harness itself."""
    assert fitting == fits(wanted, "testmine test_one_of_two")
