"""States what must always hold: predicates over a view that name what is wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ..facts import Fact, Payload, View
from ..facts.fact import clean_message
from ..facts.family import family_of
from .errors import InvalidOption

When = Literal["commit", "cycle", "convergence"]
Predicate = Callable[[View], "Violation | None"]


@dataclass(frozen=True, slots=True)
class Violation:
    """What an invariant returns when it does not hold."""

    reason: str
    refs: tuple[str, ...] = ()

    def __init__(self, reason: str, refs: Iterable[Fact[Any] | str] = ()) -> None:
        object.__setattr__(self, "reason", clean_message(reason))
        object.__setattr__(self, "refs", tuple(str(ref.ref if isinstance(ref, Fact) else ref) for ref in refs))


NOT_ASYNC = "a plain function: it is asked inside a commit. Leave out `async`"


@dataclass(frozen=True, slots=True)
class Invariant:
    """A predicate, what it reads and when it is asked.

    - `on="commit"`: before a cycle is committed. If it does not hold the cycle's facts are refused, so no committed
      context ever breaks it.
    - `on="cycle"`: with each cycle's commit. The facts stand, the violation stands beside them, the run stops.
    - `on="convergence"`: when the run claims to have converged.
    """

    name: str
    predicate: Predicate
    reads: tuple[type[Payload], ...]
    on: When

    def __call__(self, view: View) -> Violation | None:
        return self.predicate(view)

    @property
    def read_names(self) -> dict[str, str]:
        """Family to class name of what it reads."""
        return {family_of(cls).name: cls.__name__ for cls in self.reads}

    def ask(self, view: View) -> Violation | None:
        """Returns the violation, if any; a predicate that raises or returns something else is violated."""
        try:
            found = self.predicate(view)
        except Exception as error:  # noqa: BLE001  a user's function: an invariant that cannot be checked does not hold
            return Violation(f"the predicate raised {type(error).__name__}: {error}")
        if found is None or isinstance(found, Violation):
            return found
        return Violation(f"the predicate returned {found!r:.80}; it returns None or Violation(reason)")


def invariant(
    *, reads: Iterable[type[Payload]], on: When = "commit", name: str | None = None
) -> Callable[[Predicate], Invariant]:
    """Makes an invariant of a predicate over a view.

    ```python
    @invariant(reads=[Plan], on="commit")
    def one_queue(view: View) -> Violation | None:
        wrong = [plan for plan in view.new(Plan) if not plan.payload.queue]
        return Violation("a plan names no queue", wrong) if wrong else None
    ```
    """

    def make(predicate: Predicate) -> Invariant:
        called = name or str(getattr(predicate, "__name__", "invariant"))
        if inspect.iscoroutinefunction(predicate):
            raise InvalidOption("invariant", predicate, NOT_ASYNC)
        return Invariant(called, predicate, classes, on)

    if on not in ("commit", "cycle", "convergence"):
        raise InvalidOption("invariant.on", on, '"commit", "cycle" or "convergence"')
    classes = payload_classes("invariant.reads", reads)
    return make


def payload_classes(option: str, given: object) -> tuple[type[Payload], ...]:
    """Returns the payload classes of an option.

    Raises:
        InvalidOption: it is no list of payload classes with a key.
    """
    classes = tuple(given) if isinstance(given, Iterable) and not isinstance(given, type) else (None,)
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, Payload)) or cls.__family__ is None:
            raise InvalidOption(option, given, "a list of payload classes")
    return classes
