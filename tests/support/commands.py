"""Calls the command line as a shell would, inside this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from quiesce.engine.cli import app

ORDERS = "support.cli_orders"
PLAIN = {"COLUMNS": None, "QUIESCE_LOG": None, "NO_COLOR": None, "FORCE_COLOR": None}


@dataclass(frozen=True)
class Answer:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What stands on stdout, without the blanks that fill a line."""
        return [line.rstrip() for line in self.out.splitlines()]

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


def quiesce(*words: str | Path, input: str | bytes | None = None, env: dict[str, str] | None = None) -> Answer:
    """Runs one command."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=input, env={**PLAIN, **(env or {})})
    return Answer(result.exit_code, result.stdout, result.stderr)


def say(path: Path, *facts: tuple[str, str | None, Any]) -> Path:
    """Writes an input file of facts: family, id, payload."""
    lines = [json.dumps({"family": family, "id": id, "payload": payload}) for family, id, payload in facts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
