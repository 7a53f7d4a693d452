"""Says what is wrong with what selection is given by the caller's code."""

from __future__ import annotations

from collections.abc import Iterable

from ...engine import EngineError
from ...facts.errors import shown
from .envelope import listed


class SelectionError(EngineError):
    """Selection is asked for something that it cannot tell."""


class NotForSelection(SelectionError):
    """Something is given that is of another type than selection works on."""

    def __init__(self, request: str, what: str, given: object, wanted: str) -> None:
        self.request, self.what, self.given, self.wanted = request, what, shown(given), wanted
        where = f"request {shown(request)}: " if request else ""
        super().__init__(
            f"{where}{what} is {self.given} (a {type(given).__name__}). Give {wanted}; raw JSON goes into a run "
            f"through context.admit, which turns what it cannot read into a fact"
        )


class UnknownBackend(SelectionError):
    """A backend is asked about that is not in the pool."""

    def __init__(self, backend: str, known: Iterable[str]) -> None:
        self.backend, self.known = backend, tuple(known)
        among = f"it has {listed(self.known)}" if self.known else "it is empty"
        super().__init__(f"backend {shown(backend)} is not in the pool: {among}. Add it to the backends")
