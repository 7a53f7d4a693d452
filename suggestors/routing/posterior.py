"""Folds what came of decisions into posteriors: the same function for a run and for the ledger.

An outcome counts for the provider that it names, once for the provider and once under each of its tags, whenever it
comes. An outcome that says neither `success` nor `reward` (a rate limit) says nothing about its provider. What users
say of an answer is evidence of its quality, which is kept apart: an answer can come in time and be wrong. It counts
for the provider that the verdict names and for nobody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...facts import Fact, Projection, projection
from ...facts.fact import MAX_ID_BYTES
from ..feedback.payloads import FeedbackVerdict
from .forgetting import COST_STEP, REWARD_STEP, Evidence, Forgetting, Way, evidence, forgetting_of, grown, in_steps
from .names import posterior_id
from .payloads import MOST_OUTCOMES, EvidenceReset, Outcome, Posterior

AGAINST = ("explicit_rejection", "alternative_request", "repetition")
"""Kinds of feedback that speak against the answer; who corrects himself says nothing about it."""
UNSURE = 0.5
"""A judgement that is as likely wrong as right says nothing."""


def posteriors(forgetting: Forgetting | Way = "none", *, name: str = "posteriors") -> Projection[Posterior]:
    """Returns the projection that keeps a posterior for each provider, and for each provider under each tag.

    ```python
    from quiesce.suggestors import Outcome, posteriors

    learned = posteriors()
    log = FactLog.open(projections=[learned])
    context = Context()
    context.add(Outcome(request_id="r1", provider="swift", success=True), id="r1")
    Engine([]).run_sync(context, log=log)
    assert log.values(learned)["swift"].mean == 2 / 3
    ```
    """
    how = forgetting_of(forgetting)

    def step(before: Posterior | None, fact: Fact[Any]) -> Posterior | None:
        return fold(before, fact.payload, how)

    make = projection(
        reads=[Outcome, FeedbackVerdict, EvidenceReset],
        by=lambda fact: tuple(ids_of(fact.payload, how)),
        version=version_of(how),
        name=name,
    )
    return make(step)


def version_of(forgetting: Forgetting) -> str:
    """Returns a version that differs where the fold gives other values."""
    match forgetting.way:
        case "discount":
            return f"1-discount-{forgetting.half_life!r}-{forgetting.steps!r}"
        case "window":
            return f"1-window-{forgetting.size}"
        case way:
            return f"1-{way}"


def ids_of(payload: object, forgetting: Forgetting) -> Iterator[str]:
    """Yields the ids of the posteriors that a payload counts for."""
    match payload:
        case Outcome(provider=provider, tags=tags) if payload.gained is not None or payload.quality is not None:
            yield posterior_id(provider)
            yield from (posterior_id(provider, tag) for tag in tags)
        case FeedbackVerdict(provider=str(provider)) if 0 < len(provider) <= 200 and judged(payload) is not None:
            yield posterior_id(provider)
        case EvidenceReset(posterior=id) if forgetting.way == "reset" and _names(id, payload.provider):
            yield id
        case _:
            return


def fold(before: Posterior | None, payload: object, forgetting: Forgetting) -> Posterior | None:
    """Returns a posterior with one more thing in it."""
    match payload:
        case Outcome():
            return _with_outcome(before or Posterior(provider=payload.provider), payload, forgetting)
        case FeedbackVerdict(provider=str(provider)):
            return _with_quality(before or Posterior(provider=provider), judged(payload))
        case EvidenceReset():
            return _without(before or Posterior(provider=payload.provider), payload)
        case _:
            return before


def judged(verdict: FeedbackVerdict) -> float | None:
    """Returns the quality of an answer by what a user said next, 0 or 1; None if it says nothing about it."""
    if verdict.advisory or verdict.below_threshold or verdict.confidence <= UNSURE:
        return None
    if verdict.is_correction and verdict.kind not in AGAINST:
        return None
    return 0.0 if verdict.is_correction else 1.0


def reset_of(id: str, posterior: Posterior, why: str) -> EvidenceReset | None:
    """Returns the reset that takes a posterior back to the prior; None if it is there."""
    if evidence(posterior, Forgetting("reset")) == Evidence():
        return None
    sums = (posterior.successes, posterior.failures, posterior.quality_successes, posterior.quality_failures)
    totals = [max(now + gone, 0.0) for now, gone in zip(sums, posterior.forgotten, strict=True)]
    return EvidenceReset(
        provider=posterior.provider, posterior=id, successes=totals[0], failures=totals[1],
        quality_successes=totals[2], quality_failures=totals[3],
        number=posterior.resets + 1, why=why,
    )  # fmt: skip


def _with_outcome(before: Posterior, outcome: Outcome, forgetting: Forgetting) -> Posterior:
    gained = outcome.gained
    if gained is not None:
        reward = in_steps(gained, REWARD_STEP)
        before = _counted(before, reward, outcome.at, forgetting).model_copy(
            update={
                "observations": before.observations + 1,
                "cost": grown(before.cost, in_steps(outcome.cost, COST_STEP)),
                "last": _later(before.last, outcome.at),
            }
        )
    return _with_quality(before, outcome.quality)


def _counted(before: Posterior, reward: float, at: float | None, forgetting: Forgetting) -> Posterior:
    """Returns a posterior with one more reward in its sums."""
    if forgetting.way == "window":
        return _slid(before, reward, at, forgetting.size)
    old = new = 1.0
    if forgetting.way == "discount":
        if at is None:
            old = forgetting.weight(None)
        elif before.last is not None:
            old, new = forgetting.weight(at - before.last), forgetting.weight(before.last - at)
    return before.model_copy(
        update={
            "successes": min(before.successes * old + reward * new, MOST_OUTCOMES),
            "failures": min(before.failures * old + (1 - reward) * new, MOST_OUTCOMES),
        }
    )


def _slid(before: Posterior, reward: float, at: float | None, size: int) -> Posterior:
    """Returns a posterior whose window has moved on: sorted by time, so that the order of arrival is no matter."""
    rewards, times = list(before.recent), list(before.recent_at)
    place = len(rewards)
    while place and at is not None:
        other = times[place - 1]
        if other is None or (other, rewards[place - 1]) <= (at, reward):
            break
        place -= 1
    rewards.insert(place, reward)
    times.insert(place, at)
    rewards, times = rewards[-size:], times[-size:]
    total = sum(rewards)
    return before.model_copy(
        update={
            "successes": total, "failures": len(rewards) - total, "recent": tuple(rewards), "recent_at": tuple(times)
        }
    )  # fmt: skip


def _with_quality(before: Posterior, quality: float | None) -> Posterior:
    if quality is None:
        return before
    counted = in_steps(quality, REWARD_STEP)
    return before.model_copy(
        update={
            "quality_successes": min(before.quality_successes + counted, MOST_OUTCOMES),
            "quality_failures": min(before.quality_failures + 1 - counted, MOST_OUTCOMES),
            "quality_observations": before.quality_observations + 1,
        }
    )


def _without(before: Posterior, reset: EvidenceReset) -> Posterior:
    """Returns a posterior without what a reset forgets; of several resets, the one that forgets most holds."""
    said = (reset.successes, reset.failures, reset.quality_successes, reset.quality_failures)
    forgotten = tuple(
        max(known, min(in_steps(new, REWARD_STEP), MOST_OUTCOMES))
        for known, new in zip(before.forgotten, said, strict=True)
    )
    sums = (before.successes, before.failures, before.quality_successes, before.quality_failures)
    left = [
        now + known - gone for now, known, gone in zip(sums, before.forgotten, forgotten, strict=True)
    ]  # fmt: skip
    return before.model_copy(
        update={
            "successes": left[0], "failures": left[1], "quality_successes": left[2], "quality_failures": left[3],
            "forgotten": forgotten, "resets": max(before.resets, reset.number),
        }
    )  # fmt: skip


def _names(id: str, provider: str) -> bool:
    """Tells whether an id is that of a posterior of a provider: one that is not would damage another's."""
    whole = posterior_id(provider)
    tag = id.removeprefix(f"{whole}/")
    return id == whole or (tag != id and id.isprintable() and len(id.encode()) <= MAX_ID_BYTES and "/" not in tag)


def _later(one: float | None, other: float | None) -> float | None:
    return one if other is None else other if one is None else max(one, other)
