"""Tells what another policy would have earned on the decisions of a log, or refuses where the log cannot tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...facts import FactError, FactLog
from ...facts.errors import shown
from .arms import check_number
from .beta import as_float
from .decided import LoggedDecision, Reward, gained, logged_decisions
from .estimate import crossed_means, estimate
from .payloads import RouteDecision
from .support import InvalidPolicy, NoSupport

if TYPE_CHECKING:
    from numpy.typing import NDArray

Policy = Callable[[RouteDecision], Mapping[str, float]]
"""What a policy would do where a decision was made: the probability of each provider; it may not look at who won."""
Model = Callable[[RouteDecision, str], float]
"""What a provider would give where a decision was made."""

MOST_REWARD = 1e12
"""Rewards are not larger, so that squares of them can be summed."""
SUPPORTED = 1e-6
"""What was done with a lower probability was not done."""


def uniform(decision: RouteDecision) -> Mapping[str, float]:
    """Gives each eligible provider the same chance."""
    names = dict.fromkeys(decision.eligible or [decision.provider])
    return dict.fromkeys(names, 1 / len(names))


def as_logged(decision: RouteDecision) -> Mapping[str, float]:
    """Does what was done, with the same probabilities; where only the winner's is known, the rest is shared evenly."""
    if decision.propensities and len(decision.propensities) == len(decision.eligible):
        return dict(zip(decision.eligible, decision.propensities, strict=True))
    others = [name for name in dict.fromkeys(decision.eligible) if name != decision.provider]
    chance = decision.propensity if others else 1.0
    return {**dict.fromkeys(others, (1 - chance) / max(len(others), 1)), decision.provider: chance}


def always(provider: str) -> Policy:
    """Returns the policy that takes one provider for everything."""
    return lambda _: {provider: 1.0}


NAMED: Mapping[str, Policy] = {"uniform": uniform, "logged": as_logged}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a policy would have earned per decision, three times estimated."""

    ips: Estimate
    snips: Estimate
    doubly_robust: Estimate
    logged: Estimate
    """What the decisions have earned as they were made."""
    effective: float
    """The effective sample size: how many decisions of the policy's own this is worth."""
    mean_weight: float
    """Near 1 if the logged propensities are right."""
    decisions: int
    unanswered: int
    """Decisions without a reward; they are left out."""

    def __str__(self) -> str:
        left_out = f", {self.unanswered} without an outcome left out" if self.unanswered else ""
        worth = f"effective sample {self.effective:.0f}, mean weight {self.mean_weight:.2f}"
        return "\n".join(
            [
                f"{self.decisions} decisions{left_out}; {worth}",
                f"as logged      {self.logged}",
                f"IPS            {self.ips}",
                f"SNIPS          {self.snips}",
                f"doubly robust  {self.doubly_robust}",
            ]
        )


def evaluate(
    log: FactLog | Iterable[LoggedDecision],
    policy: Policy | str,
    *,
    level: float = 0.95,
    model: Model | None = None,
    reward: Reward = gained,
    least: float = 10.0,
) -> Evaluation:
    """Returns what a policy would have earned on the logged decisions, with confidence intervals.

    ```python
    from quiesce.suggestors import RouteDecision, evaluate
    from quiesce.suggestors.routing import LoggedDecision, always

    def decision(provider):
        return RouteDecision(
            provider=provider, alpha=1, beta=1, sample=0.5, exploit=True, propensity=0.5, eligible=("swift", "tardy"),
            propensities=(0.5, 0.5), policy="thompson",
        )

    known = [LoggedDecision(f"r{n}", decision(("swift", "tardy")[n % 2]), float(n % 2 == 0)) for n in range(100)]
    assert evaluate(known, always("swift")).snips.value == 1.0
    ```

    `policy` is a function that gives the probability of each provider where a decision was made, or "uniform", or
    "logged".
    `model` says what a provider would give there; by default, the mean of its rewards in the other half of the log.
    `reward` says what an outcome of a log is worth, where that is not its own reward: less what it cost, say.

    Raises:
        NoSupport: the policy does what was never done, or the effective sample size is below `least`.
        InvalidPolicy: what the policy gives are no probabilities.
        FactError: a reward, or what the model says of one, is no number.
    """
    check_number("level", level, 0.5, 0.9999)
    check_number("least", least, 0, float("inf"))
    every = logged_decisions(log, reward) if isinstance(log, FactLog) else _listed(log)
    known = [one for one in every if one.reward is not None]
    judge = _policy(policy)
    if len(known) < 2:
        raise NoSupport(f"{len(known)} of them have an outcome", len(every), 0.0)
    weights, done = _weights(known, judge)
    effective = float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else 0.0
    if effective < least:
        problem = (
            f"it would have done otherwise nearly always: they are worth {effective:.1f} of its own, and "
            f"{least:g} are needed"
        )
        raise NoSupport(problem, len(known), effective)
    return _evaluate(known, weights, done, model, level, len(every))


def _listed(log: Iterable[LoggedDecision]) -> list[LoggedDecision]:
    every = list(log) if isinstance(log, Iterable) else [log]
    for one in every:
        if not isinstance(one, LoggedDecision):
            raise FactError(
                f"what is to be evaluated is a FactLog or a list of LoggedDecision objects, and {shown(one)} is none"
            )
    return every


def _policy(policy: Policy | str) -> Policy:
    if callable(policy):
        return policy
    if policy not in NAMED:
        raise FactError(f"policy {shown(policy)} is neither a function nor one of {', '.join(map(repr, NAMED))}")
    return NAMED[policy]


def _weights(known: Sequence[LoggedDecision], judge: Policy) -> tuple[NDArray[Any], list[Mapping[str, float]]]:
    """Returns how much more often the policy would have done what was done, and what it would have done."""
    import numpy as np

    weights, done, missing = np.zeros(len(known)), [], dict[str, float]()
    for place, one in enumerate(known):
        said = _checked(one, judge(one.decision))
        done.append(said)
        supported = support_of(one.decision)
        for name, share in said.items():
            if share > 0 and name not in supported:
                missing[name] = missing.get(name, 0.0) + share
        weights[place] = said.get(one.decision.provider, 0.0) / max(one.decision.propensity, SUPPORTED)
    if missing:
        names = sorted(missing, key=lambda name: (-missing[name], name))
        share = sum(missing.values()) / len(known)
        listed = ", ".join(repr(name) for name in names[:5])
        problem = f"{share:.0%} of the time it would have taken somebody ({listed}) who could not be taken then"
        raise NoSupport(problem, len(known), 0.0, names)
    return weights, done


def support_of(decision: RouteDecision) -> frozenset[str]:
    """Returns the providers that could have won."""
    if decision.propensities and len(decision.propensities) == len(decision.eligible):
        pairs = zip(decision.eligible, decision.propensities, strict=True)
        return frozenset(name for name, chance in pairs if chance >= SUPPORTED)
    others = decision.eligible if decision.propensity < 1 - SUPPORTED else ()
    return frozenset((*others, decision.provider))


def _checked(one: LoggedDecision, said: Mapping[str, float]) -> Mapping[str, float]:
    if not isinstance(said, Mapping):
        raise InvalidPolicy(one.request, said, "which is no mapping")
    shares = {name: as_float(share) for name, share in said.items()}
    if not all(0 <= share <= 1 + 1e-9 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise InvalidPolicy(one.request, dict(said), "which are no probabilities")
    return shares


def _number(what: str, one: LoggedDecision, said: object) -> float:
    """Returns a reward as a number."""
    number = as_float(said)
    if not abs(number) <= MOST_REWARD:
        raise FactError(
            f"{what} for request {one.request!r} is {shown(said)}, no number from {-MOST_REWARD:g} to {MOST_REWARD:g}"
        )
    return number


def _evaluate(
    known: Sequence[LoggedDecision],
    weights: NDArray[Any],
    done: Sequence[Mapping[str, float]],
    model: Model | None,
    level: float,
    every: int,
) -> Evaluation:
    import numpy as np

    names = sorted({name for said in done for name in said} | {one.decision.provider for one in known})
    places = {name: place for place, name in enumerate(names)}
    chosen = np.array([places[one.decision.provider] for one in known])
    rewards = np.array([_number("the reward", one, one.reward) for one in known])
    if model is None:
        table = crossed_means(chosen, rewards, len(names))
    else:
        foretold = "what the model expects"
        table = np.array([[_number(foretold, one, model(one.decision, name)) for name in names] for one in known])
    shares = np.array([[said.get(name, 0.0) for name in names] for said in done])
    predicted = np.take_along_axis(table, chosen[:, None], axis=1)[:, 0]
    found = estimate(weights, rewards, (shares * table).sum(axis=1), predicted, level)
    plain = estimate(np.ones(len(known)), rewards, rewards, rewards, level)
    ends = (min(0.0, float(rewards.min())), max(1.0, float(rewards.max())))
    return Evaluation(
        _bounded(found.ips, ends), _bounded(found.snips, ends), _bounded(found.doubly_robust, ends),
        _bounded(plain.ips, ends), float(found.effective), float(found.mean_weight), len(known), every - len(known),
    )  # fmt: skip


def _bounded(found: NDArray[Any], ends: tuple[float, float]) -> Estimate:
    """Returns an estimate that lies where rewards can, as the truth does: weights may carry it beyond."""
    least, most = ends
    value, low, high = (min(max(float(one), least), most) for one in found)
    return Estimate(value, low, high)
