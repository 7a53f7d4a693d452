"""Reads the documentation as programs: its blocks, headings and links, and runs a page from top to bottom.

How a page is written:

- A ```python block is run. The blocks of a page share one namespace, top to bottom. `await` may stand at the top level,
  as in a notebook. One whose first line is a comment that names a file (`# tickets.py`) is saved under that name too.
- A ```python save block is only saved, for a command to run.
- A ```console block holds commands behind `$ `, each with what it prints. They are run where the page's files are.
- A ```text or ```mermaid block right behind a ```python block is what that block prints, to the letter.
- ```python no-run and ```console no-run are shown and not run.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from quiesce.facts import family

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<target>[^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (?P<title>.+)$", re.MULTILINE)
_FILE = re.compile(r"# (?P<name>[\w-]+\.py)\n")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    info: str
    text: str
    line: int
    """The number of its first line of text."""
    shows: str | None
    """What the page shows as its output."""

    @property
    def is_run(self) -> bool:
        return self.info in ("python", "python save", "console")


@dataclass(frozen=True)
class Link:
    """One link of a page."""

    text: str
    target: str


def read_blocks(text: str) -> list[Block]:
    """Returns the blocks of a page; what stands right behind a python block is what it prints."""
    found = list(_FENCE.finditer(text))
    blocks = []
    for place, match in enumerate(found):
        behind = found[place + 1] if place + 1 < len(found) else None
        is_next = behind is not None and not text[match.end() : behind.start()].strip()
        shows = behind["text"] if behind is not None and is_next and behind["info"] in ("text", "mermaid") else None
        line = text.count("\n", 0, match.start()) + 2
        blocks.append(Block(match["info"].strip(), match["text"], line, shows))
    return blocks


def read_links(text: str) -> list[Link]:
    """Returns the links of a page, those inside code left out."""
    prose = re.sub(r"\[`[^`\n]*`\]|`[^`\n]*`", lambda code: code[0] if code[0][0] == "[" else "", _FENCE.sub("", text))
    return [Link(match["text"], match["target"]) for match in _LINK.finditer(prose)]


def read_anchors(text: str) -> set[str]:
    """Returns the anchors of a page's headings, made as GitHub makes them."""
    titles = (match["title"] for match in _HEADING.finditer(_FENCE.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@cache
def named_tests(path: Path) -> frozenset[str]:
    """Returns the names of the tests that a file defines."""
    tree = ast.parse(path.read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


class Page:
    """A module of its own, in a registry of its own and a folder of its own, in which blocks are run one by one."""

    def __init__(self, name: str, place: Path, patch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.module = types.ModuleType(name)
        patch.setitem(sys.modules, name, self.module)
        patch.setattr(family, "_families", _own_families())
        patch.chdir(place)

    def run(self, block: Block) -> str:
        """Returns what a block prints."""
        if block.info == "console":
            return "".join(self._type(block.text))
        if match := _FILE.match(block.text):
            (self.place / match["name"]).write_text(block.text)
        return "" if block.info == "python save" else self._execute(block)

    def _execute(self, block: Block) -> str:
        source = "\n" * (block.line - 1) + block.text
        code = compile(source, self.module.__name__, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            result = eval(code, self.module.__dict__)  # the documentation is ours
            if inspect.iscoroutine(result):
                anyio.run(partial(_wait_for, result))
        return printed.getvalue()

    def _type(self, text: str) -> Iterator[str]:
        """Yields each command with what it prints; `$?` is that of the command before."""
        environment = {
            **os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100",
            "NO_COLOR": "1", "PYTHONPATH": "",
        }  # fmt: skip
        code = 0
        for command in re.findall(r"^\$ (.+(?:\\\n.+)*)", text, re.MULTILINE):
            done = subprocess.run(
                ["sh", "-c", f"(exit {code}); {command}"], cwd=self.place, env=environment, text=True, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            code = done.returncode
            yield f"$ {command}\n{_trimmed(done.stdout)}"


def shown(block: Block) -> str:
    """Returns what a page shows as the output of a block."""
    return block.text if block.info == "console" else block.shows or ""


async def _wait_for(coroutine: Any) -> None:
    await coroutine


def _trimmed(text: str) -> str:
    """Returns a text without blanks at the end of its lines, which nobody sees on a page."""
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _own_families() -> dict[str, dict[int, family.Family]]:
    """Returns the families that Quiesce itself defines: all that a page starts with."""
    return {
        name: dict(versions)
        for name, versions in family._families.items()
        if all(known.cls.__module__.startswith("quiesce.") for known in versions.values())
    }
