"""Shows what a projection has learned: its values, and how they compare with a fold from scratch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .payload import Payload
from .projection import Projection, ProjectionError

V = TypeVar("V", bound=Payload)


class Values(Mapping[str, V]):
    """The values of a projection by id, sorted, as of a position of the ledger."""

    __slots__ = ("_values", "name", "watermark")

    def __init__(self, name: str, watermark: int, values: Mapping[str, V]) -> None:
        self.name = name
        self.watermark = watermark
        """The position up to which facts are in the values."""
        self._values = values

    def __getitem__(self, id: str) -> V:
        return self._values[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{self.name}@{self.watermark} {dict(self._values)!r}>"


@dataclass(frozen=True, slots=True)
class ProjectionCheck:
    """What comparing the stored values of a projection with a fold from scratch found."""

    name: str
    version: str
    watermark: int
    values: int
    """How many values are stored."""
    differ: tuple[str, ...] = ()
    """The ids whose stored value is missing, damaged, too many or another than the fold gives."""
    problem: str | None = None
    """Why nothing could be compared."""

    @property
    def ok(self) -> bool:
        """Every stored value is what the fold gives."""
        return not self.differ and self.problem is None

    def __str__(self) -> str:
        if self.problem is not None:
            return f"projection {self.name}: not checked: {self.problem}"
        at = f"{self.values} values of version {self.version} at position {self.watermark}"
        if not self.differ:
            return f"projection {self.name}: {at} are what a fold from scratch gives"
        some = ", ".join(self.differ[:5]) + (", …" if len(self.differ) > 5 else "")
        return (
            f"projection {self.name}: of {at}, {len(self.differ)} are not what a fold from scratch gives: {some}. "
            f"Either the fold has changed without another version, or the values have. Fold them anew: "
            f"quiesce rebuild {self.name}"
        )


def differing(
    projection: Projection[Any], stored: Mapping[str, bytes], folded: Mapping[str, bytes], broken: list[str]
) -> tuple[str, ...]:
    """Returns the ids of values that are not the same; whichever version of their class wrote them is no matter."""
    differ = set(broken)
    for id in stored.keys() | folded.keys():
        one, other = stored.get(id), folded.get(id)
        if one == other:
            continue
        if one is None or other is None or _renewed(projection, one) != _renewed(projection, other):
            differ.add(id)
    return tuple(sorted(differ))


def _renewed(projection: Projection[Any], body: bytes) -> bytes:
    """Returns a value as the present version of its class writes it; as it is if that cannot read it."""
    try:
        return projection.encode(projection.decode(body))
    except ProjectionError:
        return body
