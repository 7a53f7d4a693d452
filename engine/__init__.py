"""How it settles: suggestors, and the engine that runs them until nothing new is proposed."""

from .budget import Budget
from .cancel import CancelSwitch
from .check import Finding
from .clock import Clock, RealClock
from .commit import NotKept
from .engine import Engine
from .errors import (
    ChangedSuggestors,
    DuplicateName,
    EngineError,
    GateError,
    InLoop,
    InvalidOption,
    Nonsense,
    RegistrationError,
    UnknownPack,
    UnknownSuggestor,
    Unsettled,
)
from .gate import Approve, Gate, Reject
from .goal import Blocked, Goal, Met, Unmet, goal
from .invariant import Invariant, Violation, invariant
from .journal import BrokenEntry
from .observe import Committed, InvocationEnded, InvocationStarted, Notice, Observer, RunEnded
from .proposal import Proposal, propose
from .recorder import NotJournaled, Unrecorded
from .recover import Recovery
from .rerun import Parting, Rerun
from .result import Result
from .stop import (
    AwaitingApproval,
    BudgetExhausted,
    Cancelled,
    Conflict,
    Converged,
    GoalsMet,
    InvariantViolated,
    Stop,
    describe,
)
from .stream import Stream
from .suggestor import ANY, Options, Suggestor, SuggestorLike, suggestor

__all__ = [
    "ANY",
    "Approve",
    "AwaitingApproval",
    "Blocked",
    "BrokenEntry",
    "Budget",
    "BudgetExhausted",
    "CancelSwitch",
    "Cancelled",
    "ChangedSuggestors",
    "Clock",
    "Committed",
    "Conflict",
    "Converged",
    "DuplicateName",
    "Engine",
    "EngineError",
    "Finding",
    "Gate",
    "GateError",
    "Goal",
    "GoalsMet",
    "InLoop",
    "InvalidOption",
    "Invariant",
    "InvariantViolated",
    "InvocationEnded",
    "InvocationStarted",
    "Met",
    "Nonsense",
    "NotJournaled",
    "NotKept",
    "Notice",
    "Observer",
    "Options",
    "Parting",
    "Proposal",
    "RealClock",
    "Recovery",
    "RegistrationError",
    "Reject",
    "Rerun",
    "Result",
    "RunEnded",
    "Stop",
    "Stream",
    "Suggestor",
    "SuggestorLike",
    "UnknownPack",
    "UnknownSuggestor",
    "Unmet",
    "Unrecorded",
    "Unsettled",
    "Violation",
    "describe",
    "goal",
    "invariant",
    "propose",
    "suggestor",
]
