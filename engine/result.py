"""What a run gives back: the context, the log, and why it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..facts import Context, Fact, FactLog, RunId, Why, WhyNot, why_not
from ..facts.trail import Parked
from .errors import Unsettled
from .goal import Goal, Outcome
from .stop import Converged, GoalsMet, Stop, describe


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a run. An early stop keeps everything that the run has."""

    run_id: RunId
    context: Context
    """Everything that is known; add to it and run it again, and only what is touched is woken."""
    log: FactLog
    stop: Stop
    goals: Mapping[str, Outcome] = field(default_factory=dict)
    asked: tuple[Goal, ...] = ()
    """The goals that it was asked for, so that resuming it asks them again."""

    def unwrap(self) -> Result:
        """Returns itself if the run converged or met its goals, else raises Unsettled."""
        if isinstance(self.stop, (Converged, GoalsMet)):
            return self
        raise Unsettled(self.run_id, describe(self.stop))

    def why(self, ref: str | Fact[Any]) -> Why:
        """Returns the tree of what a fact rests on."""
        return self.context.why(ref)

    def why_not(self, ref: str) -> WhyNot:
        """Returns why a fact is not known, as far as the log of the run can tell."""
        return why_not(self.log, self.run_id, ref)

    @property
    def gates(self) -> Mapping[str, Parked]:
        """The open gates by id: what is proposed, by whom and because of what."""
        return dict(self.context.trail.gates)

    @property
    def cycles(self) -> int:
        """How many cycles the run used."""
        return self.context.trail.cycles

    def __str__(self) -> str:
        return f"run {self.run_id} {describe(self.stop)}; {len(self.context)} facts"
