"""Makes a trajectory of a run from its log: each turn of a suggestor is a step, why the run stopped is the verdict.

A log says who ran in a cycle, not how often it was called there, so a step is the turn of one suggestor in one cycle,
whatever the number of facts that it was called for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import fsum
from typing import Any, assert_never

from ...engine.options import check_log
from ...engine.stop import (
    AwaitingApproval,
    BudgetExhausted,
    Cancelled,
    Conflict,
    Converged,
    GoalsMet,
    InvariantViolated,
    Stop,
    describe,
    stop_from_json,
)
from ...facts import Compacted, CutOff, CycleCommitted, Fact, FactLog, Failure, GateDecided, GateOpened, LogError, RunId
from ...facts.event import RunResumed, RunStarted, RunStopped
from ...facts.trail import Decision, Parked, Rejection
from .identity import uuid_of
from .outcome import AnyStepOutcome, StepOutcome
from .payloads import StepMetadata, Trajectory, TrajectoryMetadata, TrajectoryStep
from .verdict import RootCause, Verdict

LONGEST = 1e9
"""Seconds that a turn may have taken, some thirty years; whatever says more of it says nothing."""
SHOWN = 5
"""How many refs or reasons an outcome names; the others are counted."""


@dataclass(slots=True)
class _Turn:
    """What came of one suggestor in one cycle."""

    suggestor: str
    cycle: int
    at: datetime
    took: tuple[float, int] | None
    """Seconds and attempts, where the log has them."""
    facts: list[Fact[Any]] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


@dataclass(slots=True)
class _Run:
    """What a run came to."""

    started: datetime
    turns: dict[tuple[int, str], _Turn] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    slowest: dict[int, float] = field(default_factory=dict)
    """By cycle, the seconds of the suggestor that took longest."""
    tokens: int = 0
    cost: float = 0.0
    stop: Stop | None = None

    def turn(self, cycle: int, name: str) -> _Turn | None:
        return self.turns.get((cycle, name))


def trajectory_of(log: FactLog, run_id: RunId | str, *, after: int = 0) -> Trajectory:
    """Returns a run as a trajectory, the same whenever it is asked for.

    ```python
    from quiesce.suggestors import trajectory_of

    found = trajectory_of(log, result.run_id)
    [(step.action, step.outcome.kind) for step in found.steps]        # [('plan', 'success'), ('refund', 'success'), …]
    ```

    The action is the suggestor, the confidence the mean of its proposals' (1 where it made none), the latency what the
    log keeps beside the chain, 0 where it has none. The outcome: success where all it proposed stands; failure where
    it failed, or nothing of it stands; partial where some does, or waits for a person; skipped where it had nothing
    new to say. Its total latency is the sum of what the slowest took in each cycle. Tokens, of which a run knows the
    total only, count as input. `after` leaves out the first events: what a run did since it was resumed.

    Raises:
        UnknownRun: the log holds no such run.
        CutOff: it was compacted beyond `after`.
        LogError: it cannot be read.
    """
    name = RunId(str(run_id))
    found = _read(check_log(log), name, after)
    steps = tuple(_step(place, turn, found.decisions) for place, turn in enumerate(found.turns.values()))
    latency = min(1e15, fsum(found.slowest.values()) * 1_000)
    uuid = uuid_of(found.started, f"{name}/{after}" if after else name)
    attributes = {"run": name} | ({"after": str(after)} if after else {})
    if found.stop is not None:
        attributes["stop"] = describe(found.stop)
    if found.cost:
        attributes["cost"] = f"{found.cost:g}"
    metadata = TrajectoryMetadata(request_type="run", input_tokens=found.tokens, attributes=attributes)
    begun = Trajectory.begin(uuid=uuid, started=found.started, metadata=metadata)
    whole = Trajectory.model_validate({**dict(begun), "steps": steps})
    if found.stop is None:
        return whole
    room = datetime.max.replace(tzinfo=UTC) - found.started  # telemetry may claim anything, in many cycles
    end = found.started + min(room, timedelta(milliseconds=latency))
    return whole.complete(_verdict(found, found.stop), at=end, latency_ms=latency)


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(log: FactLog, run: RunId, after: int) -> _Run:
    found = _Run(_time(log.started(run).started, run))
    now = found.started
    for logged in log.events(run):
        event = logged.event
        if isinstance(event, RunStarted):
            now = _time(event.started, run)
        elif isinstance(event, RunResumed):
            now, found.stop = _time(event.at, run), None
            if logged.seq == after:
                found.started = now
        elif isinstance(event, GateDecided):
            found.decisions[event.decision.gate] = event.decision
        if logged.seq < after:
            continue
        if isinstance(event, CycleCommitted):
            took = _took(logged.beside)
            for name in event.ran:
                found.turns[event.cycle, name] = _Turn(name, event.cycle, now, took.get(name))
            found.slowest[event.cycle] = max((seconds for seconds, _ in took.values()), default=0.0)
            _take(found, event.facts, event.rejections)
            found.tokens += event.tokens
            found.cost += event.cost
        elif isinstance(event, Compacted):
            if after:
                raise CutOff(
                    run, event.cycle, f"what came after its event {after} cannot be told from what came before"
                )
            _take_compacted(found, event, _time(event.at, run))
            now = _time(event.at, run)
        elif isinstance(event, GateOpened):
            _park(found, event.parked)
        elif isinstance(event, RunStopped):
            found.stop = _stop(event, run)
    return found


def _take_compacted(found: _Run, event: Compacted, now: datetime) -> None:
    places = sorted((cycle, place, name) for place, (name, cycles) in enumerate(event.ran.items()) for cycle in cycles)
    for cycle, _, name in places:
        found.turns[cycle, name] = _Turn(name, cycle, now, None)
    _take(found, event.facts, event.rejections)
    for gate in event.gates:
        if isinstance(gate, Decision):
            found.decisions[gate.gate] = gate
        else:
            _park(found, gate)
    found.tokens, found.cost = event.tokens, event.cost


def _take(found: _Run, facts: Iterable[Fact[Any]], rejections: Iterable[Rejection]) -> None:
    for fact in facts:
        if isinstance(fact.payload, Failure):
            turn = found.turn(fact.payload.cycle, fact.payload.suggestor)
            if turn is not None and fact.by == "engine":
                turn.failures.append(fact.payload)
                continue
        turn = found.turn(fact.cycle, fact.by)
        if turn is not None:
            turn.facts.append(fact)
    for rejection in rejections:
        turn = found.turn(rejection.cycle, rejection.by)
        if turn is not None:
            turn.rejections.append(rejection)


def _park(found: _Run, parked: Parked) -> None:
    turn = found.turn(parked.cycle, parked.by)
    if turn is not None:
        turn.parked.append(parked)


def _took(beside: Mapping[str, Any]) -> dict[str, tuple[float, int]]:
    """Returns the telemetry of a cycle; it is no part of the chain, so it may be anything."""
    found: dict[str, tuple[float, int]] = {}
    took = beside.get("took")
    for name, said in took.items() if isinstance(took, Mapping) else ():
        match said:
            case [int() | float() as seconds, int() as attempts] if 0 <= seconds <= LONGEST and 0 <= attempts < 2**63:
                found[str(name)] = float(seconds), attempts
    return found


def _time(text: str, run: RunId) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
    except ValueError:
        raise LogError(f"run {run} has the time {text!r:.60}, which is none in ISO 8601 with a zone") from None
    return moment


def _stop(event: RunStopped, run: RunId) -> Stop:
    try:
        return stop_from_json(event.stop)
    except ValueError as error:
        raise LogError(f"run {run}: {error}. Read it with the build of quiesce that wrote it") from error


# --- judging ----------------------------------------------------------------------------------------------------------


def _step(place: int, turn: _Turn, decisions: Mapping[str, Decision]) -> TrajectoryStep:
    said = [fact.confidence for fact in turn.facts]
    said += [one.confidence for one in turn.parked]
    said += [one.confidence for one in turn.rejections if one.confidence]  # of what was refused a log has none
    seconds, attempts = turn.took if turn.took is not None else (0.0, 0)
    attributes = {"cycle": str(turn.cycle)} | ({"attempts": str(attempts)} if turn.took is not None else {})
    proposed = len(turn.facts) + len(turn.parked) + len(turn.rejections)
    return TrajectoryStep(
        index=place, action=turn.suggestor,
        rationale=f"cycle {turn.cycle}: {proposed} proposal{'' if proposed == 1 else 's'}",
        outcome=_outcome(turn, decisions),
        confidence=min(1.0, fsum(said) / len(said)) if said else 1.0,
        latency_ms=seconds * 1_000, timestamp=turn.at, metadata=StepMetadata(attributes=attributes),
    )  # fmt: skip


def _outcome(turn: _Turn, decisions: Mapping[str, Decision]) -> AnyStepOutcome:
    """Returns how a turn went, from what became of what it proposed."""
    stands = [fact.ref for fact in turn.facts]
    lacks = [f"{failure.kind} {failure.error}: {failure.message}" for failure in turn.failures]
    lacks += [f"{lost.ref} {lost.reason}" for lost in turn.rejections]
    waits = 0
    for parked in turn.parked:
        decision = decisions.get(parked.gate)
        if decision is None:
            waits += 1
            lacks.append(f"{parked.ref} waits for approval at gate {parked.gate}")
        elif decision.approved:
            stands.append(parked.ref)
        else:
            lacks.append(f"{parked.ref} was rejected by {decision.by}: {decision.reason}")
    if not lacks:
        return StepOutcome.success() if stands else StepOutcome.skipped("it had nothing new to say")
    if stands or waits:
        return StepOutcome.partial(achieved=_some(stands) or "proposals that wait", missing=_some(lacks))
    return StepOutcome.failure(_some(lacks))


def _some(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return "; ".join(texts[:SHOWN]) + more


def _verdict(found: _Run, stop: Stop) -> Verdict:
    match stop:
        case Converged() | GoalsMet():
            return Verdict.success()
        case BudgetExhausted(resource, limit, _, _, _):
            return Verdict.failure(RootCause.resource_constraint(resource, limit))
        case InvariantViolated(invariant, _, reason, _):
            return Verdict.failure(RootCause.reasoning_error("logical_inconsistency", f"{invariant}: {reason}"))
        case Conflict():
            return Verdict.failure(RootCause.reasoning_error("logical_inconsistency", describe(stop)))
        case Cancelled(reason):
            return Verdict.failure(RootCause.unknown(f"it was cancelled: {reason}"))
        case AwaitingApproval():
            return Verdict.partial(_settled(found))
        case _:
            assert_never(stop)


def _settled(found: _Run) -> float:
    """Returns the share of proposals that do not wait for a person."""
    waits = sum(one.gate not in found.decisions for turn in found.turns.values() for one in turn.parked)
    stands = sum(len(turn.facts) for turn in found.turns.values())
    return stands / (stands + waits) if stands + waits else 0.0
