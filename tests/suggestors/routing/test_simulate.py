"""Holds the simulator to the folds, and the sampler to an oracle: what it misses in worlds that change, or do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quiesce.engine import InvalidOption
from quiesce.suggestors.routing.arms import Weighing
from quiesce.suggestors.routing.forgetting import Forgetting, evidence
from quiesce.suggestors.routing.payloads import Outcome, Posterior
from quiesce.suggestors.routing.posterior import fold
from quiesce.suggestors.routing.simulate import World, delayed, drifting, failing, play, stationary

SEEDS = 200
GOOD = [0.9, 0.8, 0.7, 0.6, 0.5]
PHASES = [[0.9, 0.5, 0.3], [0.3, 0.9, 0.5], [0.5, 0.3, 0.9]]
WINDOW = Forgetting("window", size=25, span=200.0)
WAYS = [
    Forgetting("none"), Forgetting("discount", half_life=20.0), Forgetting("window", size=7),
    Forgetting("window", size=9, span=30.0),
]  # fmt: skip


def missed(world: World, forgetting: Forgetting, steps: int | None = None) -> tuple[float, float]:
    """Returns the mean regret of 200 repetitions up to a step, with its standard error."""
    stream = world.stream(SEEDS, np.random.default_rng(21))
    regret = world.regret(play(world, stream, np.random.default_rng(22), forgetting))[:, (steps or world.steps) - 1]
    return float(regret.mean()), float(regret.std(ddof=1) / SEEDS**0.5)


@pytest.mark.parametrize("forgetting", WAYS, ids=lambda how: f"{how.way}-{how.span}")
@pytest.mark.parametrize("delay", [0, 4])
@pytest.mark.slow
def test_the_simulator_chooses_as_the_folds_do(forgetting: Forgetting, delay: int) -> None:
    """Step by step through `fold` and `evidence`, with the same draws."""
    world = delayed([0.7, 0.5, 0.2], 120, delay)
    stream = world.stream(1, np.random.default_rng(3))
    choices, rng = play(world, stream, np.random.default_rng(4), forgetting)[0], np.random.default_rng(4)
    known: list[Posterior | None] = [None] * 3
    for step in range(world.steps):
        heard = step - 1 - delay
        if heard >= 0:
            arm = int(choices[heard])
            outcome = Outcome(
                request_id=str(heard), provider=str(arm), success=bool(stream[0, heard, arm]), at=float(step - 1)
            )
            known[arm] = fold(known[arm], outcome, forgetting)
        now = max((one.last for one in known if one is not None and one.last is not None), default=None)
        params = [Weighing().parameters(evidence(one, forgetting, now)) for one in known]
        alphas, betas = np.array(params).T

        assert int(rng.beta(alphas[None], betas[None]).argmax()) == int(choices[step])


@pytest.mark.slow
def test_regret_grows_with_the_logarithm_of_time_where_nobody_changes() -> None:
    """Lai and Robbins: at least Σ gap/KL · ln T in the long run. Over 200 seeds, beside an oracle."""
    world = stationary(GOOD, 1_000)

    def divergence(p: float, q: float) -> float:
        return float(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))

    least = sum((0.9 - mean) / divergence(mean, 0.9) for mean in GOOD[1:]) * np.log(1_000)
    (at_end, error), (halfway, _) = missed(world, Forgetting()), missed(world, Forgetting(), 500)

    assert at_end + 3 * error < 1.6 * least
    assert at_end - halfway < 0.35 * halfway, "it has nearly stopped"
    assert at_end < 0.1 * 1_000 * (0.9 - np.mean(GOOD)), "a tenth of what chance misses"


@pytest.mark.slow
def test_outcomes_that_come_late_cost_what_is_missed_meanwhile_and_no_more() -> None:
    """In fifty steps without an outcome, chance misses 10."""
    (at_once, one), (late, two) = (missed(world, Forgetting()) for world in (stationary(GOOD), delayed(GOOD)))

    assert late - at_once < 50 * (0.9 - float(np.mean(GOOD))) + 3 * (one**2 + two**2) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("world", [drifting(PHASES), failing([0.9, 0.7, 0.5])], ids=lambda world: world.name)
def test_forgetting_misses_less_where_providers_change(world: World) -> None:
    for forgetting in (WINDOW, Forgetting("discount", half_life=30.0)):
        (forgets, one), (remembers, two) = missed(world, forgetting), missed(world, Forgetting())

        assert forgets < 0.65 * remembers
        assert remembers - forgets > 5 * (one**2 + two**2) ** 0.5


def test_the_oracle_misses_nothing_and_regret_never_falls() -> None:
    world = drifting(PHASES, 90)
    best = world.means.argmax(axis=1)[None]
    stream = world.stream(3, np.random.default_rng(1))
    regret = world.regret(play(world, stream, np.random.default_rng(2)))

    assert 0 == world.regret(best)[0, -1]
    assert (np.diff(regret, axis=1) >= 0).all()


def test_worlds_are_what_they_say() -> None:
    assert (30, 3) == drifting(PHASES, 30).means.shape
    assert [0.9, 0.3, 0.5] == [float(drifting(PHASES, 30).means[step, 0]) for step in (0, 10, 20)]
    outage = failing([0.9, 0.7], 50, outages=2).means[:, 0]
    assert [0.9, 0.0, 0.9, 0.0, 0.9] == [float(outage[step]) for step in (0, 10, 20, 30, 45)]
    stream = stationary([0.9, 0.1], 100).stream(200, np.random.default_rng(1))
    assert [0.9, 0.1] == pytest.approx(stream.mean(axis=(0, 1)).tolist(), abs=5 * 0.3 / 20_000**0.5)


@pytest.mark.parametrize(
    ("means", "delay"), [([[1.1]], 0), ([[float("nan")]], 0), ([0.5], 0), ([], 0), ([[0.5]], -1), ([[0.5]], 1.5)]
)
def test_a_world_that_cannot_be_is_refused(means: Any, delay: Any) -> None:
    with pytest.raises(InvalidOption, match=r"probabilities|whole number"):
        World("odd", means, delay)
