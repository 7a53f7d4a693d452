"""Holds the pages to the code: every example runs and prints what is shown, every link leads somewhere.

How pages are written and run is told in tests/support/pages.py.
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.engine.cli_codes import MEANING
from support.pages import PAGES, ROOT, Block, Page, named_tests, read_anchors, read_blocks, read_links, shown

MODULES = [
    f"quiesce.{path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')}"
    for floor in ("facts", "engine", "suggestors")
    for path in sorted((ROOT / floor).rglob("*.py"))
    if path.name != "__init__.py" and not path.name.startswith(("cli", "otel"))
]
SETTING = (ROOT / "tests" / "support" / "setting.py").read_text()


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def examples_of(module: str) -> Iterator[tuple[str, str]]:
    """Yields the examples in the docstrings of a module's public names, with where each stands."""
    loaded = importlib.import_module(module)
    for name, value in vars(loaded).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module:
            continue
        members = [(name, value)]
        if inspect.isclass(value):
            members += [(f"{name}.{key}", member) for key, member in vars(value).items() if inspect.isfunction(member)]
        for where, member in members:
            for text in re.findall(r"```python\n(.*?)```", inspect.getdoc(member) or "", re.DOTALL):
                yield f"{module}.{where}", text


EXAMPLES = [example for module in MODULES for example in examples_of(module)]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_example_runs_and_prints_what_the_page_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Top to bottom, as a reader would type it."""
    where = Page("the_page", tmp_path, monkeypatch)
    for block in read_blocks(page.read_text()):
        if block.is_run:
            printed = where.run(block)

            assert shown(block) == printed, f"{name_of(page)}, line {block.line}"


@pytest.mark.parametrize(("where", "text"), EXAMPLES, ids=[where for where, _ in EXAMPLES])
def test_every_example_in_a_docstring_runs(
    where: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the setting of tests/support/setting.py, where the names are that a reader can be expected to know."""
    page = Page("the_docstring", tmp_path, monkeypatch)
    page.run(Block("python", SETTING, 1, None))
    page.run(Block("python", textwrap.dedent(text), 1, None))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    """Links to other sites are left alone."""
    broken = []
    for link in read_links(page.read_text()):
        path, _, anchor = link.target.partition("#")
        target = (page.parent / path).resolve() if path else page
        if re.match(r"https?://", link.target):
            continue
        if not target.exists() or (anchor and anchor not in read_anchors(target.read_text())):
            broken.append(link)

    assert [] == broken


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_is_named_is_there(page: Path) -> None:
    """A link whose text is the name of a test leads to the file that defines it."""
    named = [(link.text.strip("`"), page.parent / link.target) for link in read_links(page.read_text())]
    missing = [
        (name, path.resolve().relative_to(ROOT).as_posix())
        for name, path in named
        if name.startswith("test_") and not name.endswith(".py") and name not in named_tests(path)
    ]

    assert [] == missing


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_only_known_kinds_of_blocks_stand_on_a_page(page: Path) -> None:
    """A misspelt one would not be run, and nobody would know."""
    known = {"python", "python no-run", "python save", "console", "console no-run", "text", "mermaid", "json", "sh"}
    blocks = read_blocks(page.read_text())

    assert set() == {block.info for block in blocks} - known
    assert 2 * len(blocks) == len(re.findall(r"^```", page.read_text(), re.MULTILINE))


def test_every_page_can_be_reached_from_the_readme() -> None:
    """In one click."""
    linked = {ROOT / link.target.partition("#")[0] for link in read_links((ROOT / "README.md").read_text())}

    assert set() == set(PAGES[1:]) - linked


@pytest.mark.parametrize("name", ["replaying.md", "operating.md"])
def test_the_exit_codes_are_told_as_the_command_line_tells_them(name: str) -> None:
    """The table on a page is that of `quiesce --help`."""
    page = (ROOT / "docs" / name).read_text()
    table = page.split("# Exit codes")[1].split("\n## ")[0]

    assert [(str(code.value), text) for code, text in MEANING.items()] == re.findall(
        r"^\| (\d+) \| (.+) \|$", table, re.MULTILINE
    )


def test_a_block_that_prints_something_else_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness itself: outputs, awaits, files and commands."""
    fence = "```"
    text = (
        f"{fence}python\n# one.py\nimport anyio\nawait anyio.sleep(0)\nprint(1)\n{fence}\n\n{fence}text\n1\n{fence}\n"
        f"{fence}console\n$ ls; exit 3\none.py\n$ echo $?\n3\n{fence}\n"
    )
    page, blocks = Page("the_page", tmp_path, monkeypatch), read_blocks(text)

    assert EXAMPLES
    assert [True, False, True] == [block.is_run for block in blocks]
    assert ["1\n", "$ ls; exit 3\none.py\n$ echo $?\n3\n"] == [page.run(block) for block in blocks if block.is_run]
    assert ["1\n", "$ ls; exit 3\none.py\n$ echo $?\n3\n"] == [shown(block) for block in blocks if block.is_run]
