"""Shows that a result is credited to the models whose steps led to it, later and in part."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import InvalidOption
from quiesce.suggestors.trajectories.credit import Credit, credit
from quiesce.suggestors.trajectories.outcome import StepOutcome
from quiesce.suggestors.trajectories.payloads import StepMetadata, Trajectory, TrajectoryStep
from quiesce.suggestors.trajectories.verdict import Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)


def done(*models: tuple[str | None, float], verdict: Verdict | None = None) -> Trajectory:
    steps = [
        TrajectoryStep(index=place, action="a", rationale="", outcome=StepOutcome.success(), confidence=sure,
                       timestamp=AT, metadata=StepMetadata(model=model))
        for place, (model, sure) in enumerate(models)
    ]  # fmt: skip
    begun = Trajectory.model_validate({**dict(Trajectory.begin(started=AT)), "steps": tuple(steps)})
    return begun.complete(verdict if verdict is not None else Verdict.success(), at=AT, latency_ms=1)


def test_each_model_is_credited_with_its_own_steps() -> None:
    """J 11, K.2: quality was credited to whoever answered last."""
    found = credit(done(("m1", 0.8), ("m2", 0.4), ("m1", 0.6), (None, 0.1), verdict=Verdict.partial(0.5)))

    assert [("m1", 2, 0.5), ("m2", 1, 0.25)] == [(one.model, one.steps, one.share) for one in found]
    assert [0.525, 0.3] == pytest.approx([one.reward for one in found])


def test_a_correction_that_comes_later_falls_on_all_or_on_who_was_wrong() -> None:
    trajectory = done(("m1", 1.0), ("m2", 1.0))

    assert [("m1", 0.25), ("m2", 0.25)] == [(one.model, one.reward) for one in credit(trajectory, correction=0.75)]
    assert [("m1", 1.0), ("m2", 0.25)] == [
        (one.model, one.reward) for one in credit(trajectory, correction=0.75, wrong_step=1)
    ]


def test_an_unfinished_trajectory_credits_nobody() -> None:
    assert () == credit(Trajectory.begin())


@given(
    models=st.lists(st.tuples(st.sampled_from(["m1", "m2", None]), st.floats(0, 1)), max_size=8),
    correction=st.floats(0, 1),
)
def test_rewards_are_shares_and_a_correction_never_raises_one(
    models: list[tuple[str | None, float]], correction: float
) -> None:
    plain, corrected = credit(done(*models)), credit(done(*models), correction=correction)

    assert all(isinstance(one, Credit) and 0 <= one.reward <= 1 for one in (*plain, *corrected))
    assert all(after.reward <= before.reward for before, after in zip(plain, corrected, strict=True))
    assert {model for model, _ in models if model is not None} == {one.model for one in plain}


@pytest.mark.parametrize(
    "options",
    [{"correction": 1.5}, {"correction": float("nan")}, {"correction": True}, {"wrong_step": 2}, {"wrong_step": -1}],
)
def test_options_outside_their_ranges_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        credit(done(("m1", 1.0), ("m2", 1.0)), **options)
