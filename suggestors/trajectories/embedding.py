"""Says what an embedding is, and refuses what is none: one shape of vector for trajectories, patterns and queries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import AfterValidator

from ...facts import FactError
from ...facts.errors import shown

SIGNIFICANT = 5
"""Digits that the embedding of a pattern keeps: a cosine is off by less than 0.0001."""


MOST = 16_384
"""Dimensions that an embedding may have: several times those of any model in use, and a bound to what is kept."""


class InvalidEmbedding(FactError):
    """A vector cannot be used as an embedding."""

    def __init__(self, what: str, problem: str) -> None:
        self.problem = problem
        self.name = what
        super().__init__(
            f"{what} {problem}. An embedding is a list of finite numbers that are not all 0, of one length throughout"
        )


def find_problem(vector: Sequence[float]) -> str | None:
    """Returns what is wrong with a vector of floats, or None."""
    if not vector:
        return "is empty"
    if len(vector) > MOST:
        return f"has {len(vector):,} dimensions, more than {MOST:,}"
    for place, value in enumerate(vector):
        if not math.isfinite(value):
            return f"holds {value!r} at place {place}"
    if not any(vector):
        return "is all zeros, which points nowhere"
    if not math.isfinite(math.hypot(*vector)):
        return "is too long: its length is beyond what a float can hold"
    return None


def check_embedding(vector: Iterable[float], what: str, dimension: int | None = None) -> tuple[float, ...]:
    """Returns a vector as a tuple of floats.

    Raises:
        InvalidEmbedding: it is empty, all zeros, not finite, not of numbers, or of another dimension than the given.
    """
    values: list[float] = []
    if isinstance(vector, (str, bytes)) or not isinstance(vector, Iterable):
        raise InvalidEmbedding(what, f"is {shown(vector)} (a {type(vector).__name__})")
    for place, value in enumerate(vector):
        try:
            if isinstance(value, (bool, str, bytes)):
                raise TypeError
            values.append(float(value))
        except (TypeError, ValueError, OverflowError):
            raise InvalidEmbedding(what, f"holds {shown(value)} at place {place}, which is no number") from None
    problem = find_problem(values)
    if problem is not None:
        raise InvalidEmbedding(what, problem)
    if dimension is not None and len(values) != dimension:
        raise InvalidEmbedding(what, f"has {len(values)} dimensions, not {dimension}")
    return tuple(values)


def _validate(vector: tuple[float, ...]) -> tuple[float, ...]:
    problem = find_problem(vector)
    if problem is not None:
        raise ValueError(f"this embedding {problem}")
    return vector


Embedding = Annotated[tuple[float, ...], AfterValidator(_validate)]


def unit(vector: Sequence[float]) -> tuple[float, ...]:
    """Returns the vector of length 1 in the same direction."""
    largest = max(map(abs, vector))
    scaled = [value / largest for value in vector]  # first: the squares of huge and tiny numbers are not floats
    length = math.hypot(*scaled)
    return tuple(value / length for value in scaled)


def rounded(vector: Sequence[float]) -> tuple[float, ...]:
    """Returns a vector with a few significant digits, which take a third of the bytes."""
    return tuple(float(f"{value:.{SIGNIFICANT}g}") for value in vector)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Returns the cosine of two vectors of one dimension: the same on every machine, from -1 to 1."""
    if len(one) != len(other):
        raise InvalidEmbedding("the second vector", f"has {len(other)} dimensions, not {len(one)}")
    product = math.fsum(x * y for x, y in zip(unit(one), unit(other), strict=True))
    return min(1.0, max(-1.0, product))
