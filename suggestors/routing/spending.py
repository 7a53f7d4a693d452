"""Folds what answers cost into sums for each period and tag: what a budget is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from ...engine import InvalidOption
from ...facts import Fact, Projection, projection
from .forgetting import COST_STEP, grown, in_steps
from .names import posterior_id
from .payloads import Outcome, Spending

Every = Literal["day", "month", "all"]
UNDATED = "undated"
MOST_TOKENS = 10**18


def check_every(every: Every) -> Every:
    """Returns the name of a period, or raises InvalidOption."""
    if every not in ("day", "month", "all"):
        raise InvalidOption("every", every, '"day", "month" or "all"')
    return every


def spending_id(period: str, tag: str | None = None) -> str:
    """Returns the id of what was spent in a period, or in a period under a tag."""
    return posterior_id(period, tag)


def period_of(at: float | datetime | None, every: Every) -> str:
    """Returns the period (in UTC) of a moment: "2026-11-21", "2026-11", "all"; "undated" where it cannot be told.

    ```python
    from quiesce.suggestors.routing.spending import period_of

    assert period_of(1_795_219_200.0, "month") == "2026-11"
    ```
    """
    if every == "all":
        return "all"
    if not isinstance(at, datetime):
        try:
            at = datetime.fromtimestamp(at, UTC) if at is not None else None
        except (ValueError, OverflowError, OSError):  # a year that no calendar has: it counts steps, not seconds
            at = None
    if at is None:
        return UNDATED
    return at.astimezone(UTC).strftime("%Y-%m-%d" if every == "day" else "%Y-%m")


def spending(every: Every = "month", *, name: str = "spending") -> Projection[Spending]:
    """Returns the projection that sums what outcomes have cost, by period, and by period and tag."""
    check_every(every)

    def step(before: Spending | None, fact: Fact[Outcome]) -> Spending:
        return fold_spending(before, fact.payload, every)

    return projection(
        reads=[Outcome], by=lambda fact: tuple(ids_of(fact, every)), version=f"1-{every}", name=name
    )(step)  # fmt: skip


def ids_of(fact: Fact[Any], every: Every) -> Iterator[str]:
    """Yields the ids of the sums that an outcome counts for."""
    outcome = fact.payload
    if outcome.cost or outcome.tokens:
        period = period_of(outcome.at, every)
        yield spending_id(period)
        yield from (spending_id(period, tag) for tag in outcome.tags)


def fold_spending(before: Spending | None, outcome: Outcome, every: Every) -> Spending:
    """Returns a sum with one more outcome in it, a rate limit too if it had a price."""
    known = before or Spending(period=period_of(outcome.at, every))
    return known.model_copy(
        update={
            "cost": grown(known.cost, in_steps(outcome.cost, COST_STEP)),
            "tokens": min(known.tokens + outcome.tokens, MOST_TOKENS),
            "answers": known.answers + 1,
        }
    )
