"""Runs the first screen of the README as a stranger would: the program, its output, the line that replays it."""

from __future__ import annotations

from pathlib import Path

import pytest

from quiesce.engine import Converged, Result
from support.pages import ROOT, Block, Page, named_tests, read_blocks, read_links, shown

README = (ROOT / "README.md").read_text()
SCREEN = README.split("\n## ")[0]


def program_and_command() -> list[Block]:
    """Returns what the first screen runs."""
    return [block for block in read_blocks(SCREEN) if block.is_run]


@pytest.mark.slow
def test_the_program_prints_what_is_shown_and_is_replayed_by_the_line_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its output tells the stop; the replay knows the same facts."""
    page, (program, command) = Page("the_readme", tmp_path, monkeypatch), program_and_command()

    assert shown(program) == page.run(program)
    assert shown(command) == page.run(command)
    result = page.module.__dict__["result"]
    assert isinstance(result, Result)
    assert Converged(1) == result.stop
    assert str(result) == shown(program).splitlines()[0]


def test_the_first_screen_is_short() -> None:
    """One sentence, a program of about fifteen lines, and no more than fits on a screen or two."""
    program, _ = program_and_command()
    code = [line for line in program.text.splitlines() if line.strip() and not line.startswith("#")]

    assert 12 <= len(code) <= 18
    assert len(SCREEN.splitlines()) <= 70


def test_the_first_screen_makes_four_promises_each_with_its_test() -> None:
    """A promise without a test is a wish."""
    promises = [part.split("\n\n")[0] for part in SCREEN.split("\n- **")[1:]]
    links = [link for promise in promises for link in read_links(promise)]

    assert 5 == len(promises) == len(links)
    assert [True] * 5 == [link.text.strip("`") in named_tests(ROOT / link.target) for link in links]


def test_the_two_commands_are_there() -> None:
    """`make run` and `make test`, as targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()

    assert [True, True] == [f"`make {name}`" in SCREEN and f"\n{name}:" in makefile for name in ("run", "test")]
