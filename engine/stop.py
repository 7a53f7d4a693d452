"""Says why a run ended: one value of one union, and one sentence for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, assert_never

Resource = Literal["cycles", "facts", "seconds", "tokens", "cost"]


@dataclass(frozen=True, slots=True)
class Converged:
    """Nothing new was proposed: the context is quiescent."""

    cycles: int
    """In how many cycles suggestors ran; one that only takes in inputs or decisions is not counted."""


@dataclass(frozen=True, slots=True)
class GoalsMet:
    """Every required goal is met, and the run was asked to stop then."""

    goals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BudgetExhausted:
    """A limit was reached while suggestors were still proposing."""

    resource: Resource
    limit: float
    observed: float
    """What was measured, not the limit again: what the next commit would have come to."""
    restless: tuple[str, ...]
    """The suggestors that proposed something new in the last cycle."""
    loop: tuple[str, ...] = ()
    """Suggestors that woke one another round and round, in the order of the round; empty if there is no such loop."""


@dataclass(frozen=True, slots=True)
class InvariantViolated:
    """An invariant does not hold."""

    invariant: str
    on: Literal["commit", "cycle", "convergence"]
    reason: str
    refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two proposals gave one id different content, and the family does not tolerate it."""

    ref: str
    stands_by: str
    lost_by: str


@dataclass(frozen=True, slots=True)
class AwaitingApproval:
    """Everything else is settled; these gates wait for a person."""

    gates: tuple[str, ...]
    expires: str | None = None
    """When the first of them expires (ISO 8601), if any does."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody called the run off."""

    reason: str


Stop = Converged | GoalsMet | BudgetExhausted | InvariantViolated | Conflict | AwaitingApproval | Cancelled

_kinds: dict[str, type[Stop]] = {
    "converged": Converged,
    "goals_met": GoalsMet,
    "budget_exhausted": BudgetExhausted,
    "invariant_violated": InvariantViolated,
    "conflict": Conflict,
    "awaiting_approval": AwaitingApproval,
    "cancelled": Cancelled,
}
_names = {cls: name for name, cls in _kinds.items()}


def describe(stop: Stop) -> str:
    """Returns the sentence that tells why a run ended, without its subject."""
    match stop:
        case Converged(cycles):
            return f"converged after {cycles} cycle{'' if cycles == 1 else 's'}"
        case GoalsMet(goals):
            return f"met its goals: {', '.join(goals)}"
        case BudgetExhausted(resource, limit, observed, restless, loop):
            still = f"; still proposing: {', '.join(restless)}" if restless else ""
            around = f"; round and round: {' → '.join([*loop, loop[0]])}" if loop else ""
            return f"stopped at {observed:g} of {limit:g} {resource}{still}{around}"
        case InvariantViolated(invariant, on, reason, refs):
            about = f" ({', '.join(refs)})" if refs else ""
            return f"violated {invariant!r} on {on}: {reason}{about}"
        case Conflict(ref, stands_by, lost_by):
            return f"stopped on a conflict about {ref}: {stands_by} and {lost_by} contradict each other"
        case AwaitingApproval(gates, expires):
            until = f" until {expires}" if expires else ""
            return f"waits for approval{until} of {', '.join(gates)}"
        case Cancelled(reason):
            return f"was cancelled: {reason}"
        case _:
            assert_never(stop)


def stop_to_json(stop: Stop) -> dict[str, Any]:
    """Returns a stop as the JSON data that a log keeps."""
    return {"kind": _names[type(stop)], **asdict(stop)}


def stop_from_json(data: Mapping[str, Any]) -> Stop:
    """Returns the stop that a log keeps.

    Raises:
        ValueError: the data is of no stop that this build knows.
    """
    fields = {
        name: tuple(value) if isinstance(value, list) else value for name, value in data.items() if name != "kind"
    }
    try:
        made: Callable[..., Stop] = _kinds[data["kind"]]
        return made(**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{dict(data)!r:.100} is no stop that this build knows") from error
