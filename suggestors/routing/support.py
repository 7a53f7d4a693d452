"""Says which errors stand in the way of asking what another policy would have earned."""

from __future__ import annotations

from collections.abc import Sequence

from ...facts import FactError, LogError
from ...facts.errors import shown


class NoSupport(LogError):
    """A log cannot tell what a policy would have earned: the policy does what was never, or hardly ever, done."""

    def __init__(self, problem: str, decisions: int, effective: float, providers: Sequence[str] = ()) -> None:
        self.problem, self.decisions, self.effective = problem, decisions, effective
        self.providers = tuple(providers)
        super().__init__(
            f"what this policy would have earned cannot be told from {decisions} logged decisions: {problem}. "
            f"Let the router explore (ThompsonRouter(explore=0.05)) and ask again, or ask about a policy that stays "
            f"closer to what was done"
        )


class InvalidPolicy(FactError):
    """A policy does not give probabilities."""

    def __init__(self, request: str, said: object, problem: str) -> None:
        self.request, self.said, self.problem = request, shown(said), problem
        super().__init__(
            f"for request {request!r} the policy gave {self.said}, {problem}. Return a mapping from providers to "
            f"probabilities that sum to 1"
        )
