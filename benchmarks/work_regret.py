"""Lets Thompson sampling and MABWiser's policies earn on the same streams, and compares what they miss.

`python benchmarks/work_regret.py` prints a table; with `--write` it also writes the curves that the picture of
docs/routing.md is drawn from.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quiesce.suggestors.routing.forgetting import Forgetting
from quiesce.suggestors.routing.simulate import World, delayed, drifting, failing, play, stationary

STEPS, REPETITIONS, POINTS = 1_000, 100, 51
GOOD = [0.9, 0.8, 0.7, 0.6, 0.5]
WORLDS = [
    stationary(GOOD, STEPS),
    delayed(GOOD, STEPS, delay=50),
    drifting([[0.9, 0.5, 0.3], [0.3, 0.9, 0.5], [0.5, 0.3, 0.9]], STEPS),
    failing([0.9, 0.7, 0.5], STEPS),
]
OURS = {
    "Thompson": Forgetting("none"),
    "Thompson, window": Forgetting("window", size=25, span=200.0),
    "Thompson, half-life": Forgetting("discount", half_life=30.0),
}
DATA = Path(__file__).parents[1] / "docs" / "pictures" / "routing.json"


@dataclass(frozen=True, slots=True)
class Result:
    """What a policy missed in one world, repetition by repetition."""

    world: str
    policy: str
    regret: NDArray[Any]
    """Repetitions × steps."""

    @property
    def final(self) -> tuple[float, float]:
        """The mean regret at the end, with its standard error."""
        last = self.regret[:, -1]
        return float(last.mean()), float(last.std(ddof=1) / len(last) ** 0.5)


def mabwiser_policies() -> dict[str, Any]:
    """Returns MABWiser's policies with their default settings; none if it is not installed."""
    if find_spec("mabwiser") is None:
        return {}
    policies = import_module("mabwiser.mab").LearningPolicy
    return {
        "MABWiser Thompson": policies.ThompsonSampling(),
        "MABWiser UCB1": policies.UCB1(),
        "MABWiser ε-greedy": policies.EpsilonGreedy(),
    }


def play_mabwiser(world: World, stream: NDArray[Any], policy: Any) -> NDArray[Any]:
    """Returns whom a policy of MABWiser chooses; it begins once it has heard of each provider, tried in turn."""
    bandits = import_module("mabwiser.mab")
    repetitions, steps, providers = stream.shape
    choices = np.zeros((repetitions, steps), dtype=np.int64)
    for row in range(repetitions):
        bandit = bandits.MAB(list(range(providers)), policy, seed=row)
        for step in range(steps):
            heard = step - 1 - world.delay
            if heard == providers - 1:
                arms = choices[row, :providers]
                bandit.fit(arms.tolist(), stream[row, np.arange(providers), arms].astype(int).tolist())
            elif heard >= providers:
                arm = int(choices[row, heard])
                bandit.partial_fit([arm], [int(stream[row, heard, arm])])
            choices[row, step] = bandit.predict() if heard >= providers - 1 else step % providers
    return choices


def compare(repetitions: int = REPETITIONS) -> list[Result]:
    """Returns what every policy missed in every world; all of them meet the same streams."""
    found = []
    for seed, world in enumerate(WORLDS):
        stream = world.stream(repetitions, np.random.default_rng(seed))
        for name, forgetting in OURS.items():
            choices = play(world, stream, np.random.default_rng(100 + seed), forgetting)
            found.append(Result(world.name, name, world.regret(choices)))
        for name, policy in mabwiser_policies().items():
            found.append(Result(world.name, name, world.regret(play_mabwiser(world, stream, policy))))
    return found


def judge(found: list[Result]) -> list[str]:
    """Returns, for each world, whether the promise holds beside MABWiser's best, and by how many standard errors.

    Where nobody changes, plain Thompson sampling is not worse than noise explains (3 standard errors); where somebody
    does, the window is better than noise explains.
    """
    lines = []
    for world, ours in (("stationary", ""), ("delayed", ""), ("drifting", ", window"), ("failing", ", window")):
        finals = {one.policy: one.final for one in found if one.world == world}
        peers = {policy: final for policy, final in finals.items() if policy.startswith("MABWiser")}
        if not peers:
            continue
        best = min(peers, key=lambda policy: peers[policy][0])
        (mine, my_error), (their, error) = finals[f"Thompson{ours}"], peers[best]
        apart = (mine - their) / (my_error**2 + error**2) ** 0.5
        held = apart < -3 if ours else apart < 3
        lines.append(
            f"{world}: Thompson{ours} against {best}: {apart:+.1f} standard errors, {'held' if held else 'MISSED'}"
        )
    return lines


def to_json(found: list[Result]) -> str:
    """Returns the mean curves at some steps, with the standard error at the end."""
    steps = np.linspace(0, STEPS - 1, POINTS).astype(int)
    data = {
        "steps": (steps + 1).tolist(),
        "repetitions": len(found[0].regret),
        "curves": [
            {
                "world": one.world,
                "policy": one.policy,
                "mean": [round(float(value), 1) for value in one.regret.mean(axis=0)[steps]],
                "error": round(one.final[1], 1),
            }
            for one in found
        ],
    }
    return json.dumps(data, ensure_ascii=False) + "\n"


def main(show: Callable[[str], None] = print) -> None:
    """Prints the table, and writes the curves if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--write", action="store_true", help=f"write {DATA.name}")
    options = parser.parse_args()
    found = compare(options.repetitions)
    show(f"regret after {STEPS:,} steps, mean of {options.repetitions} repetitions ± standard error")
    for world in dict.fromkeys(one.world for one in found):
        show(world)
        for one in found:
            if one.world == world:
                mean, error = one.final
                show(f"  {one.policy:<24} {mean:7.1f} ± {error:.1f}")
    for line in judge(found):
        show(line)
    if options.write:
        DATA.write_text(to_json(found), encoding="utf-8")


if __name__ == "__main__":
    main()
