"""Sends what nobody should: trajectories with a fault or two, each of which becomes a fact or a diagnostic."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from quiesce.engine import Engine
from quiesce.facts import Context, FactLog, verify
from quiesce.suggestors.trajectories.analysis import analyse_in
from quiesce.suggestors.trajectories.credit import credit
from quiesce.suggestors.trajectories.distil import distil
from quiesce.suggestors.trajectories.learn import PROJECTIONS
from quiesce.suggestors.trajectories.ledger import read_trajectories
from quiesce.suggestors.trajectories.memory import PatternMemory
from quiesce.suggestors.trajectories.offering import LessonOffering
from quiesce.suggestors.trajectories.outcome import StepOutcome
from quiesce.suggestors.trajectories.payloads import LessonQuery, StepMetadata, Trajectory
from quiesce.suggestors.trajectories.recorder import TrajectoryRecorder
from quiesce.suggestors.trajectories.verdict import RootCause, Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)
STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 10**40, 1e-320, 1e308, -1e308, "", " ", "\x00", "\ud800", "a" * 5_000, "nan", "success",
    [], {}, [[]], [None], [0.0, 0.0], [1e308] * 2, [5e-324, 0.0], [1.0] * 3, list(range(1, 40)), {"kind": "success"},
    {"kind": "partial", "completion_ratio": 1e308}, {"kind": "failure"}, "2026-01-01", "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-12:00", "lesson " * 500, {str(number): "x" for number in range(50)},
)  # fmt: skip


def sound() -> dict[str, Any]:
    with TrajectoryRecorder([1.0, 0.5], user_id="ana", request_type="lookup") as recorder:
        recorder.add_step("search", "why", StepOutcome.failure("timeout"), 0.5, embedding=[0.5, 1.0])
        recorder.add_step(
            "search", "", StepOutcome.needs_retry("x", ["y"]), 1, metadata=StepMetadata(model="m", tool="t")
        )
        recorder.add_lesson("look twice")
        recorder.set_response_embedding([1, 1])
        done = recorder.complete(Verdict.recovered_via_reflection(RootCause.tool_failure("t", "e"), 2, 0.5))
    found: dict[str, Any] = json.loads(done.model_dump_json())
    return found


def spoil(value: Any, random: Random) -> Any:
    """Puts something strange into one place of JSON data."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(sorted(value))
        return {**value, key: spoil(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.9:
        place = random.randrange(len(value))
        return [*value[:place], spoil(value[place], random), *value[place + 1 :]]
    return random.choice(STRANGE)


@pytest.mark.slow
def test_trajectories_with_faults_become_facts_or_diagnostics_and_nothing_stands_still() -> None:
    """What is taken in spite of its fault reaches every fold and every pure function, and spoils none of them."""
    random, log = Random(7), FactLog.open(projections=PROJECTIONS)
    base, context, families = sound(), Context(), set()
    for number in range(2_500):
        said = base
        for _ in range(random.choice([1, 1, 2])):
            said = spoil(said, random)
        raw = json.dumps(said).encode("utf-8", "surrogatepass")
        families.add(context.admit("trajectory", str(number), raw).family)
    Engine([]).run_sync(context, log=log, run_id="hostile").unwrap()
    taken = list(read_trajectories(log))

    assert {"trajectory", "malformed"} == families
    assert 150 < len(taken) < 2_300
    assert verify(log, "hostile").ok
    assert all(check.ok for check in log.check_projections())
    for one in taken:
        assert one == Trajectory.model_validate_json(one.model_dump_json())
        analyse_in(log, one)
        credit(one)
    found = [one for one in taken if one.query_embedding is not None and one.is_finished]
    memory = PatternMemory([one for one in distil(found) if len(one.embedding) == 2])
    assert len(memory.similar([1.0, 0.0], 10)) == min(10, len(memory))
    again = log.context()
    again.add(LessonQuery(embedding=(1.0, 0.5)), id="q")
    result = Engine([LessonOffering()]).run_sync(again, log=log, run_id="after").unwrap()
    assert () == tuple(fact for fact in result.context["diagnostics"] if fact.family == "failure")
    assert result.context.find("offered-lesson:q/0") is not None
