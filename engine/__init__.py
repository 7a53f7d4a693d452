"""How it settles: suggestors, and the engine that runs them until nothing new is proposed."""

from .budget import Budget
from .cancel import CancelSwitch
from .check import Finding
from .clock import Clock, RealClock
from .commit import NotKept
from .engine import Engine
from .errors import (
    DuplicateName,
    EngineError,
    GateError,
    InLoop,
    InvalidOption,
    Nonsense,
    RegistrationError,
    UnknownPack,
    Unsettled,
)
from .gate import Approve, Gate, Reject
from .goal import Blocked, Goal, Met, Unmet, goal
from .invariant import Invariant, Violation, invariant
from .observe import Committed, InvocationEnded, InvocationStarted, Notice, Observer, RunEnded
from .proposal import Proposal, propose
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
    "Budget",
    "BudgetExhausted",
    "CancelSwitch",
    "Cancelled",
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
    "NotKept",
    "Notice",
    "Observer",
    "Options",
    "Proposal",
    "RealClock",
    "RegistrationError",
    "Reject",
    "Result",
    "RunEnded",
    "Stop",
    "Stream",
    "Suggestor",
    "SuggestorLike",
    "UnknownPack",
    "Unmet",
    "Unsettled",
    "Violation",
    "describe",
    "goal",
    "invariant",
    "propose",
    "suggestor",
]
