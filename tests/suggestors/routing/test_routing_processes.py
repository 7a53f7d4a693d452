"""Lets four processes decide and learn on one log at once: what is learned is what one process learns from the same."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from quiesce.facts import FactLog
from quiesce.suggestors.routing.decided import logged_decisions
from quiesce.suggestors.routing.learning import OutcomeLearning
from quiesce.suggestors.routing.payloads import Outcome
from quiesce.suggestors.routing.posterior import fold
from quiesce.suggestors.routing.probing import probe_tallies
from support.at_once import run_at_once

pytestmark = pytest.mark.slow

WORKER = dedent(
    """
    import sys
    from hashlib import sha256
    from quiesce.engine import Engine, suggestor
    from quiesce.facts import Fact, FactLog
    from quiesce.suggestors.routing.learning import OutcomeLearning
    from quiesce.suggestors.routing.payloads import Outcome, RouteDecision, RouteRequest
    from quiesce.suggestors.routing.router import ThompsonRouter

    path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

    @suggestor
    def call(decision: Fact[RouteDecision]) -> Outcome:
        luck = sha256(decision.id.encode()).digest()[0] / 256
        good = {"a": 0.9, "b": 0.6, "c": 0.3}[decision.payload.provider]
        return Outcome(
            request_id=decision.id, provider=decision.payload.provider, reward=min(1.0, good * luck * 1.5), cost=0.1,
            at=float(len(decision.id)), tags=("x",),
        )

    router, learning = ThompsonRouter(), OutcomeLearning(dim=None)
    engine = Engine([router, call, learning])
    with FactLog.open(path, projections=[*learning.projections, *router.projections]) as log:
        print("ready", flush=True)
        sys.stdin.readline()
        for n in range(count):
            context = log.context()
            context.add(RouteRequest(providers=("a", "b", "c"), tags=("x",)), id=f"{name}-{n}")
            engine.run_sync(context, log=log, run_id=f"{name}-{n}")
    """
)
EACH = 25


def test_four_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """To the last bit: nothing is lost, nothing counts twice, and no order of theirs shows."""
    path = tmp_path / "log.db"
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    codes = run_at_once([[sys.executable, str(script), str(path), f"w{n}", str(EACH)] for n in range(4)], environment)

    assert [0] * 4 == codes
    learning = OutcomeLearning()
    with FactLog.open(path, projections=[*learning.projections, probe_tallies()]) as log:
        stored = {id: one.model_dump() for id, one in log.values(learning.projection).items()}
        alone: dict[str, object] = {}
        for run in sorted(log.runs(), reverse=True):  # another order than any of theirs
            for outcome in _outcomes(log, run):
                for id in (outcome.provider, f"{outcome.provider}/x"):
                    alone[id] = fold(alone.get(id), outcome, learning.forgetting)  # type: ignore[arg-type]  # posteriors

        assert {id: one.model_dump() for id, one in alone.items()} == stored  # type: ignore[attr-defined]  # the same
        assert 4 * EACH == sum(one["observations"] for id, one in stored.items() if "/" not in id)
        assert [] == [str(check) for check in log.check_projections() if not check.ok]
        found = logged_decisions(log)
        assert 4 * EACH == len(found)
        assert all(one.reward is not None and one.decision.propensity > 0 for one in found)
        assert json.dumps(stored)


def _outcomes(log: FactLog, run: str) -> list[Outcome]:
    facts = (fact for logged in log.events(run) for fact in getattr(logged.event, "facts", ()))
    return [fact.payload for fact in facts if isinstance(fact.payload, Outcome)]
