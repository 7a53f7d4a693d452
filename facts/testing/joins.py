"""Checks on samples that a join is one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, product
from typing import Any, TypeVar

from ..canonical import encode
from ..errors import FactError
from ..family import family_of
from ..freeze import freeze_model
from ..payload import Payload

P = TypeVar("P", bound=Payload)


class NotAJoin(FactError, AssertionError):
    """A join breaks one of the laws on which the order of proposals rests."""

    def __init__(self, cls: str, law: str, operands: tuple[object, ...], left: object, right: object) -> None:
        self.cls, self.law, self.operands, self.left, self.right = cls, law, operands, left, right
        shown = "\n".join(f"  {name} = {operand!r}" for name, operand in zip("abc", operands, strict=False))
        super().__init__(
            f"{cls}.join is not {law}:\n{shown}\n  left:  {left!r}\n  right: {right!r}\n"
            f"Facts that are revised by it would depend on who spoke first"
        )


def check_join(samples: Iterable[P], limit: int = 20) -> None:
    """Checks on samples that their join is commutative, associative and idempotent, and never mutates.

    Use it in a test, with examples or with a Hypothesis strategy of lists of payloads:

    ```python
    check_join([Tags(names={"a"}), Tags(names={"b"}), Tags(names=set())])
    ```

    At most `limit` samples are looked at, since every triple is tried.

    Raises:
        NotAJoin: a law is broken; the error shows the operands and both sides.
    """
    values = list(islice(samples, limit))
    for a in values:
        freeze_model(a)
        _expect("idempotent (a ∨ a = a)", (a,), _join(a, a), a)
    for a, b in product(values, repeat=2):
        _expect("commutative (a ∨ b = b ∨ a)", (a, b), _join(a, b), _join(b, a))
        _expect("an upper bound (a ∨ (a ∨ b) = a ∨ b)", (a, b), _join(a, _join(a, b)), _join(a, b))
    for a, b, c in product(values, repeat=3):
        _expect("associative ((a ∨ b) ∨ c = a ∨ (b ∨ c))", (a, b, c), _join(_join(a, b), c), _join(a, _join(b, c)))


def _join(a: P, b: P) -> P:
    one: Any = a
    joined: Any = one.join(b)
    if type(joined) is not type(a):
        raise FactError(f"{type(a).__name__}.join returned a {type(joined).__name__}; it must return its own class")
    return freeze_model(joined)


def _expect(law: str, operands: tuple[P, ...], left: P, right: P) -> None:
    family = family_of(type(left))
    if encode(left, family) != encode(right, family):
        raise NotAJoin(type(left).__name__, law, operands, left, right)
