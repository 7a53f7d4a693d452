"""Compares what modules export with what the pages of names list, both ways, and runs the example beside each name.

What `quiesce.suggestors` exports stands there once, and not again under the area that it comes from.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.pages import ROOT, Block, Page, read_blocks

AREAS = tuple(f"quiesce.suggestors.{area}" for area in ("drift", "feedback", "routing", "selection", "trajectories"))
PAGES = {
    "api.md": ("quiesce.engine", "quiesce.engine.testing", "quiesce.facts", "quiesce.facts.testing"),
    "api-suggestors.md": ("quiesce.suggestors", *AREAS),
}
TEXTS = {name: (ROOT / "docs" / name).read_text() for name in PAGES}
PAGE_OF = {module: name for name, modules in PAGES.items() for module in modules}
MODULES = tuple(PAGE_OF)
_ROW = re.compile(r"^\| `(?P<name>\w+)` \| .+ \| `(?P<example>[^`]+)` \|$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One public name as the page lists it."""

    name: str
    example: str
    raises: bool
    """It is an error, and the example raises it."""


def _kind(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, each in order."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2, name


def section_of(module: str) -> str:
    """Returns what a page says about a module."""
    section = re.search(rf"^## {re.escape(module)}\n(.*?)(?=^## |\Z)", TEXTS[PAGE_OF[module]], re.DOTALL | re.MULTILINE)
    return section[1] if section else ""


def rows_of(module: str) -> list[Row]:
    """Returns what a page lists for a module."""
    tables = re.split(r"^(?=\| Name \|)", section_of(module), flags=re.MULTILINE)
    return [
        Row(match["name"], match["example"], table.startswith("| Name | When it is raised |"))
        for table in tables
        for match in _ROW.finditer(table)
    ]


@pytest.mark.parametrize("module", MODULES)
def test_the_page_lists_what_the_module_exports(module: str) -> None:
    """Each name once, and none that is not there."""
    exported = importlib.import_module(module).__all__
    whole = set(importlib.import_module("quiesce.suggestors").__all__) if module in AREAS else set()

    assert sorted(exported, key=_kind) == list(exported)
    assert sorted(set(exported) - whole) == sorted(row.name for row in rows_of(module))


@pytest.mark.parametrize("module", MODULES)
def test_every_exported_name_is_there(module: str) -> None:
    """Without them `from … import *` fails."""
    loaded = importlib.import_module(module)

    assert [] == [name for name in loaded.__all__ if not hasattr(loaded, name)]


@pytest.mark.parametrize("module", MODULES)
def test_the_example_beside_each_name_holds(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example of a value is true and one of an error raises just that error."""
    page = Page("the_api", tmp_path, monkeypatch)
    prelude = TEXTS[PAGE_OF[module]].partition("\n## ")[0]
    for block in [*read_blocks(prelude), *read_blocks(section_of(module))]:
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
