"""Writes the commands that a reader may want next, so that they can be typed as they stand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from .cli_codes import without_password


@dataclass(frozen=True, slots=True)
class Hints:
    """What was said on the line, to be said again in another command."""

    log: str | None = None
    """None where nothing is kept: there is nothing to come back to."""
    target: str | None = None
    imports: Sequence[str] = ()

    def replay(self, run: str, at: int | None = None) -> str:
        """Returns the command that shows a run again; empty where it is not kept."""
        module = [self.target.rpartition(":")[0]] if self.target else []
        cycle = [] if at is None else ["--at", str(at)]
        return self._line("replay", [run], [*cycle, *_imports([*module, *self.imports])])

    def decide(self, verb: str, run: str, gate: str) -> str:
        """Returns the command that approves or rejects what waits at a gate; empty where the run is not kept."""
        options = ["--engine", self.target or "MODULE:ENGINE", "--by", "NAME", *_imports(self.imports)]
        return self._line(verb, [run, gate], options)

    def recover(self, run: str) -> str:
        """Returns the command that finishes a run; empty where it is not kept."""
        return self._line("recover", [run], ["--engine", self.target or "MODULE:ENGINE", *_imports(self.imports)])

    def _line(self, verb: str, names: Sequence[str], options: Sequence[str]) -> str:
        if not self.log:
            return ""
        options = ["--log", without_password(self.log), *options]
        if any(name.startswith("-") for name in names):  # it would be taken for an option
            return shlex.join(["quiesce", verb, *options, "--", *names])
        return shlex.join(["quiesce", verb, *names, *options])


def _imports(places: Sequence[str]) -> list[str]:
    return [word for place in dict.fromkeys(places) for word in ("--import", place)]
