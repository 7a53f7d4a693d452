"""States what a run is for: named predicates whose outcome is part of its result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..facts import Payload, View
from ..facts.family import family_of
from .errors import InvalidOption
from .invariant import NOT_ASYNC, payload_classes


@dataclass(frozen=True, slots=True)
class Met:
    """A goal is reached."""

    refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unmet:
    """A goal is not reached."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A goal cannot be reached until somebody outside does something."""

    reason: str = ""


Outcome = Met | Unmet | Blocked


@dataclass(frozen=True, slots=True)
class Goal:
    """A named predicate over a view; returns an outcome, or a bool for met and unmet."""

    name: str
    test: Callable[[View], Outcome | bool]
    reads: tuple[type[Payload], ...]
    required: bool = True

    @property
    def read_names(self) -> dict[str, str]:
        """Family to class name of what it reads."""
        return {family_of(cls).name: cls.__name__ for cls in self.reads}

    def ask(self, view: View) -> Outcome:
        """Returns the outcome; a test that raises is unmet and says so."""
        try:
            found = self.test(view)
        except Exception as error:  # noqa: BLE001  a user's function: a goal that cannot be checked is not met
            return Unmet(f"the test raised {type(error).__name__}: {error}")
        if isinstance(found, (Met, Unmet, Blocked)):
            return found
        if isinstance(found, bool):
            return Met() if found else Unmet()
        return Unmet(f"the test returned {found!r:.80}; it returns a bool, Met, Unmet or Blocked")


def goal(
    *, reads: Iterable[type[Payload]], name: str | None = None, required: bool = True
) -> Callable[[Callable[[View], Outcome | bool]], Goal]:
    """Makes a goal of a predicate over a view.

    ```python
    @goal(reads=[Plan])
    def planned(view: View) -> bool:
        return len(view.all(Plan)) > 0
    ```
    """

    def make(test: Callable[[View], Outcome | bool]) -> Goal:
        called = name or str(getattr(test, "__name__", "goal"))
        if inspect.iscoroutinefunction(test):
            raise InvalidOption("goal", test, NOT_ASYNC)
        return Goal(called, test, classes, required)

    classes = payload_classes("goal.reads", reads)
    return make
