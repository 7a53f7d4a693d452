"""Compares what the modules export with what docs/api.md lists, both ways, and runs the example beside each name."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.pages import ROOT, Block, Page, read_blocks

MODULES = ("quiesce.engine", "quiesce.engine.testing", "quiesce.facts", "quiesce.facts.testing")
PAGE = (ROOT / "docs" / "api.md").read_text()
_ROW = re.compile(r"^\| `(?P<name>\w+)` \| .+ \| `(?P<example>[^`]+)` \|$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One public name as the page lists it."""

    name: str
    example: str
    raises: bool
    """It is an error, and the example raises it."""


def rows_of(module: str) -> list[Row]:
    """Returns what the page lists for a module."""
    section = re.search(rf"^## {re.escape(module)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    tables = re.split(r"^(?=\| Name \|)", section[1] if section else "", flags=re.MULTILINE)
    return [
        Row(match["name"], match["example"], table.startswith("| Name | When it is raised |"))
        for table in tables
        for match in _ROW.finditer(table)
    ]


@pytest.mark.parametrize("module", MODULES)
def test_the_page_lists_what_the_module_exports(module: str) -> None:
    """Each name once, and none that is not there."""
    exported = importlib.import_module(module).__all__

    assert sorted(exported) == list(exported)
    assert sorted(exported) == sorted(row.name for row in rows_of(module))


@pytest.mark.parametrize("module", MODULES)
def test_every_exported_name_is_there(module: str) -> None:
    """Without them `from … import *` fails."""
    loaded = importlib.import_module(module)

    assert [] == [name for name in loaded.__all__ if not hasattr(loaded, name)]


@pytest.mark.parametrize("module", MODULES)
def test_the_example_beside_each_name_holds(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example of a value is true and one of an error raises just that error."""
    page = Page("the_api", tmp_path, monkeypatch)
    for block in read_blocks(PAGE):
        page.run(block)
    for row in rows_of(module):
        if row.raises:
            with pytest.raises(BaseException) as raised:  # noqa: PT011  # compared exactly, below
                page.run(Block("python", row.example, 1, None))
            assert row.name == type(raised.value).__name__, row
        else:
            code = f"held = {row.example}" if row.example.startswith("await ") else f"held = ({row.example})"
            page.run(Block("python", code, 1, None))
            assert page.module.__dict__["held"], row
