"""Folds outcomes with features into sums from which a reward can be predicted: what contextual policies choose by.

The features of a request (an embedding, say) are cut to their first `dim` components and scaled to length 1. Components
are counted in steps of 2⁻¹⁶ and rewards in steps of 2⁻²⁰, so the sums are exact: the order of outcomes is no matter.
Discounted sums are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, isfinite
from typing import Any

from ...facts import Fact, Projection, projection
from .forgetting import REWARD_STEP, Forgetting, Way, forgetting_of, in_steps
from .linear_arm import check_dim
from .names import posterior_id
from .payloads import LinearEvidence, Outcome

FEATURE_STEP = 2.0**-16


def direction(features: Sequence[float] | None, dim: int) -> tuple[float, ...] | None:
    """Returns the first `dim` features scaled to length 1; None if there are too few, or all of them are 0.

    ```python
    from quiesce.suggestors.routing.context import direction

    assert direction([3.0, 4.0, 9.0], 2) == (39322 / 2**16, 52429 / 2**16)           # 0.6 and 0.8, nearly
    ```
    """
    if features is None or len(features) < dim:
        return None
    part = features[:dim]
    largest = max(map(abs, part))
    if not 0 < largest < float("inf"):
        return None
    scaled = [one / largest for one in part]  # before they are squared: 1e200 squared is too much for a float
    length = hypot(*scaled)
    if not isfinite(length):
        return None
    return tuple(round(one / length / FEATURE_STEP) * FEATURE_STEP for one in scaled)


def linear_evidence(
    dim: int, forgetting: Forgetting | Way = "none", *, name: str = "linear_evidence"
) -> Projection[LinearEvidence]:
    """Returns the projection that keeps, for each provider, what contextual policies need.

    Only `discount` makes it forget: a window of matrices would be too much to keep, and a reset states sums of rewards.
    """
    check_dim(dim)
    how = forgetting_of(forgetting)

    def ids(fact: Fact[Any]) -> str | None:
        outcome = fact.payload
        known = outcome.gained is not None and direction(outcome.features, dim) is not None
        return posterior_id(outcome.provider) if known else None

    def step(before: LinearEvidence | None, fact: Fact[Outcome]) -> LinearEvidence:
        return fold_linear(before, fact.payload, dim, how)

    aged = f"-discount-{how.half_life!r}-{how.steps!r}" if how.way == "discount" else ""
    return projection(reads=[Outcome], by=ids, version=f"1-{dim}{aged}", name=name)(step)


def fold_linear(before: LinearEvidence | None, outcome: Outcome, dim: int, forgetting: Forgetting) -> LinearEvidence:
    """Returns the sums with one more outcome in them."""
    known = before if before is not None and before.dim == dim else LinearEvidence(provider=outcome.provider, dim=dim)
    vector, gained = direction(outcome.features, dim), outcome.gained
    if vector is None or gained is None:
        return known
    reward = in_steps(gained, REWARD_STEP)
    old = new = 1.0
    if forgetting.way == "discount":
        if outcome.at is None:
            old = forgetting.weight(None)
        elif known.last is not None:
            old, new = forgetting.weight(outcome.at - known.last), forgetting.weight(known.last - outcome.at)
    products = [one * other for place, one in enumerate(vector) for other in vector[place:]]
    gram = known.gram or (0.0,) * len(products)
    moment = known.moment or (0.0,) * dim
    last = known.last if outcome.at is None else outcome.at if known.last is None else max(known.last, outcome.at)
    return LinearEvidence(
        provider=known.provider,
        dim=dim,
        observations=known.observations + 1,
        gram=tuple(total * old + more * new for total, more in zip(gram, products, strict=True)),
        moment=tuple(total * old + reward * more * new for total, more in zip(moment, vector, strict=True)),
        last=last,
    )


class Line:
    """A ridge regression on such sums: what reward a request can expect of a provider, and how surely."""

    __slots__ = ("mean", "spread")

    def __init__(self, evidence: LinearEvidence | None, vector: Sequence[float], weight: float = 1.0) -> None:
        import numpy as np

        dim = len(vector)
        x = np.array(vector)
        if evidence is None or evidence.dim != dim or not evidence.observations:
            self.mean, self.spread = 0.0, float(x @ x) ** 0.5
            return
        a = np.zeros((dim, dim))
        a[np.triu_indices(dim)] = evidence.gram or 0.0
        a = np.eye(dim) + weight * (a + np.triu(a, 1).T)
        try:
            solved = np.linalg.solve(a, np.column_stack([x, weight * np.array(evidence.moment or np.zeros(dim))]))
        except np.linalg.LinAlgError:
            solved = np.full((dim, 2), np.nan)
        if not np.isfinite(solved).all():  # no sums of outcomes: somebody has put them there
            self.mean, self.spread = 0.0, float(x @ x) ** 0.5
            return
        self.mean = float(x @ solved[:, 1])
        """θᵀx, with θ = A⁻¹b."""
        self.spread = max(float(x @ solved[:, 0]), 0.0) ** 0.5
        """√(xᵀA⁻¹x)."""
