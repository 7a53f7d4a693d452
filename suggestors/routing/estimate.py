"""Estimates what a policy would have earned, from weights and rewards alone: plain arrays, any number of logs at once.

`w` is how much more (or less) often the policy would have done what was done. Three estimates:

- IPS, the mean of w·r: unbiased, and wide where weights are large.
- SNIPS, the sum of w·r over the sum of w: a little biased, far steadier.
- Doubly robust: the mean of what a model expects of the policy, put right by w times what the model missed. It is
  unbiased if the propensities are right, whatever the model, and the narrower the better the model.

Their intervals are those of means (of a ratio for SNIPS), with the quantile of Student's t at the effective sample
size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Estimates:
    """Value, lower and upper end of each estimate; the last axis of what they were made of is gone."""

    ips: NDArray[Any]
    snips: NDArray[Any]
    doubly_robust: NDArray[Any]
    effective: NDArray[Any]
    """The effective sample size, (Σw)²/Σw²: how many decisions that were the policy's own this is worth."""
    mean_weight: NDArray[Any]
    """Near 1 if the propensities are right."""


def estimate(
    weights: NDArray[Any], rewards: NDArray[Any], expected: NDArray[Any], predicted: NDArray[Any], level: float = 0.95
) -> Estimates:
    """Returns the estimates over the last axis.

    `expected` is what a model expects of the policy at each decision, `predicted` what it expects of what was done.
    """
    import numpy as np
    from scipy.special import stdtrit

    count = weights.shape[-1]
    total, squares = weights.sum(-1), (weights**2).sum(-1)
    effective = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
    quantile = np.asarray(stdtrit(np.maximum(effective - 1, 1.0), (1 + level) / 2))

    def around(value: NDArray[Any], error: NDArray[Any]) -> NDArray[Any]:
        reach = quantile * error
        return np.stack([value, value - reach, value + reach])

    def mean(parts: NDArray[Any]) -> NDArray[Any]:
        return around(parts.mean(-1), parts.std(-1, ddof=1) / np.sqrt(count))

    gained = weights * rewards
    ratio = np.divide(gained.sum(-1), total, out=np.zeros_like(total), where=total > 0)
    missed = (weights**2 * (rewards - ratio[..., None]) ** 2).sum(-1)
    error = np.divide(np.sqrt(missed), total, out=np.zeros_like(total), where=total > 0)
    return Estimates(
        mean(gained),
        around(ratio, error),
        mean(expected + weights * (rewards - predicted)),
        effective,
        total / count,
    )


def crossed_means(
    chosen: NDArray[Any], rewards: NDArray[Any], arms: int
) -> NDArray[Any]:  # fmt: skip
    """Returns what each arm is expected to give at each decision, by the mean of its rewards among the other half.

    Even decisions are judged by the odd ones and the other way round, so no reward is predicted from itself. An arm
    that the other half hardly knows is expected to give what all of it gave on average.
    """
    import numpy as np

    model = np.zeros((*chosen.shape, arms))
    for half in (0, 1):
        known, gave = chosen[..., half::2], rewards[..., half::2]
        taken = known[..., None] == np.arange(arms)
        average = gave.mean(-1, keepdims=True) if gave.shape[-1] else np.full((*gave.shape[:-1], 1), 0.5)
        sums, counts = (taken * gave[..., None]).sum(-2), taken.sum(-2)
        model[..., 1 - half :: 2, :] = ((sums + average) / (counts + 1))[..., None, :]
    return model
