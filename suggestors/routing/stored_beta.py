"""Says how beta distributions stand in a state file, and reads them, whatever has become of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

from ...facts.errors import shown
from .state_file import Unreadable

LOWEST, HIGHEST = 0.5, 1e9
"""Parameters are brought into this range when they are read or written."""
MOST_NAMED = 20
"""Of so many bad entries it is told what was wrong with each; of others, how many there are."""


def entries(
    document: dict[str, Any], section: str, problems: list[str], read: Callable[[dict[str, Any], str, list[str]], Any]
) -> Iterator[tuple[str, Any]]:
    """Yields each entry of a section that `read` can make something of; None from it leaves an entry out."""
    told: list[str] = []
    for name, entry in document[section].items():
        where = f"{section}[{shown(name)}]"
        if not name:
            told.append(f"{where} has no name; it was left out")
        elif not isinstance(entry, dict):
            told.append(f"{where} is {shown(entry)}, not an object; it was left out")
        elif (found := read(entry, where, told)) is not None:
            yield name, found
    problems += told[:MOST_NAMED]
    if len(told) > MOST_NAMED:
        problems.append(f"{len(told) - MOST_NAMED:,} more entries of {section} are wrong")


def read_beta(entry: dict[str, Any], where: str, problems: list[str]) -> tuple[float, float] | None:
    """Returns alpha and beta of an entry, brought into range; None, with a problem noted, if they are no numbers."""
    found = []
    for part in ("alpha", "beta"):
        value = entry.get(part)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            problems.append(f"{where} has {shown(value)} for {part}, not a number; it was left out")
            return None
        if not isfinite(value):
            problems.append(f"{where} has {value} for {part}; it counts as 1")
            value = 1.0
        elif value <= 0:
            problems.append(f"{where} has {value} for {part}, which is not above 0; it counts as {LOWEST}")
        found.append(clamped(value))
    return found[0], found[1]


def clamped(parameter: float) -> float:
    """Returns a parameter within the range that state files keep."""
    return min(max(float(parameter), LOWEST), HIGHEST)


class BetaCodec:
    """How beta distributions stand in a file: as zeph writes them, which can read ours in turn."""

    kind, version, limit = "thompson", 1, 64 * 2**20

    def read(self, document: dict[str, Any], problems: list[str]) -> Mapping[str, tuple[float, float]]:
        if not isinstance(document.get("distributions"), dict):
            raise Unreadable("it has no object of distributions")
        return dict(entries(document, "distributions", problems, read_beta))

    def write(self, value: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
        return {
            "distributions": {
                name: {"alpha": clamped(alpha), "beta": clamped(beta)} for name, (alpha, beta) in sorted(value.items())
            }
        }
