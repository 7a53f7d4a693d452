"""Calls runs off from outside, so that they end with what they have."""

from __future__ import annotations

from .run import Run


class CancelSwitch:
    """Calls runs off from outside: `switch.cancel("the operator said so")`.

    A run that is called off returns what it has, with the stop `Cancelled`; what was under way is dropped. Use it from
    the event loop's own thread.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._runs: list[Run] = []

    def cancel(self, reason: str = "no reason given") -> None:
        """Calls off every run that was given this switch, and any that will be."""
        self.reason = reason
        for run in self._runs:
            run.cancelled = reason
            run.executor.wake()

    def _attach(self, run: Run) -> None:
        self._runs.append(run)
        if self.reason is not None:
            run.cancelled = self.reason

    def _detach(self, run: Run) -> None:
        self._runs.remove(run)
