"""Says what is to be routed, what was decided and why, and what came of it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...facts import Payload
from ..selection.payloads import Milliseconds, Name, Share

Positive = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Tags = Annotated[tuple[Name, ...], Field(max_length=64)]
MOST_OUTCOMES = 2.0**32
"""Up to so many, sums of rewards in steps of 2⁻²⁰ are exact; evidence stops growing here."""
MOST_COUNT = 2**53
"""Counts are divided by as if they were no higher: a hostile one can be too large for a float."""
MOST_COST = 2.0**62
"""Sums of costs stop growing here: a hostile one must not make a sum that no fact can hold."""
Features = Annotated[tuple[float, ...], Field(max_length=4096)]


class RouteRequest(Payload, key="seeds"):
    """One request that one provider is to answer."""

    providers: tuple[Name, ...] = ()
    """The candidates; empty: every backend that is available."""
    features: Features | None = None
    """What the request is like, for contextual policies."""
    tags: Tags = ()
    """Its task or tenant: evidence is kept for each, shrunk toward that of all."""
    max_cost: Positive | None = None
    """What an answer may cost at most, by what the provider's answers have cost."""
    min_quality: Share = 0.0
    """The lowest declared quality of a backend that may answer."""


class RouteDecision(Payload, key="strategies"):
    """Who answers; its id is the request's."""

    provider: str
    alpha: float
    beta: float
    """The parameters of the winner's Beta: what the draw was made with, under a policy that draws from it."""
    sample: float
    """What won: the draw, or the score, with the price of the expected cost taken off."""
    exploit: bool
    """The winner's mean was at least every candidate's."""
    propensity: Share
    """How probable it was that this one wins, everything counted: policy, probes, floors."""
    eligible: tuple[str, ...]
    """Who could have won."""
    policy: str
    watermark: int = 0
    """Up to which position of the ledger outcomes are in what the run began with; 0: none."""
    observations: int = 0
    """How many outcomes the winner's posterior has counted."""
    tags: tuple[str, ...] = ()
    features: tuple[float, ...] | None = None
    propensities: tuple[float, ...] = ()
    """Of each that is eligible, in that order."""
    cost: Positive = 0.0
    """What the winner's answers have cost on average."""
    probe: bool = False
    """The winner is in quarantine and was tried to find out whether it is well again."""
    held: tuple[str, ...] = ()
    """Candidates in quarantine that may be probed: the request counts as one of `one_in` for each of them."""
    returning: tuple[str, ...] = ()
    """Candidates that are back from quarantine and still on trial."""


class Unroutable(Payload, key="diagnostics"):
    """A request has no eligible provider for now; its id is the request's. It is decided once one comes."""

    reason: str
    decided: bool = False
    """Somebody has come."""

    def join(self, other: Unroutable) -> Unroutable:
        """The one that says that it is decided."""
        return max(self, other, key=lambda one: (one.decided, one.reason))


class Outcome(Payload, key="signals"):
    """What came of a decision. Give it the id of the request, so that what is said twice counts once."""

    request_id: str
    provider: Name
    success: bool | None = None
    """Whether it answered. Leave both this and `reward` out for what says nothing about it, as a rate limit."""
    reward: Share | None = None
    """How well, where that is known; it goes before `success`."""
    latency_ms: Milliseconds | None = None
    tokens: int = Field(default=0, ge=0)
    cost: Positive = 0.0
    quality: Share | None = None
    """How good what it said was: a judgement of the content, as opposed to whether it answered."""
    at: float | None = None
    """When it ended, in seconds since the epoch (or any count that grows): evidence ages by it."""
    tags: Tags = ()
    features: Features | None = None
    """Those of the request, so that contextual policies learn from the outcome alone."""

    @property
    def gained(self) -> float | None:
        """Its reward in [0, 1]; None if it says nothing about its provider."""
        if self.reward is not None:
            return self.reward
        return None if self.success is None else float(self.success)


class UnknownRequest(Payload, key="diagnostics"):
    """An outcome names a request that this run does not know; its id is the outcome's.

    It counts for its provider all the same: outcomes may come in a later run than their decision.
    """

    request_id: str
    provider: str


class EvidenceReset(Payload, key="signals"):
    """What had been learned of a provider (under a tag) by then is to count no more.

    It states totals, not a moment. So it does not matter in which order outcomes and resets are folded, nor how many
    processes have noticed the same drift. Its id is the posterior's.
    """

    provider: Name
    posterior: str = Field(min_length=1, max_length=512)
    """The id of the posterior: `posterior_id(provider)`, or `posterior_id(provider, tag)`."""
    successes: Positive = 0.0
    failures: Positive = 0.0
    quality_successes: Positive = 0.0
    quality_failures: Positive = 0.0
    """What to forget, counted from the beginning: earlier resets are in it."""
    number: int = Field(default=1, ge=1)
    """Which of the resets of this posterior it is."""
    why: str = ""
    """The ref of the verdict that it rests on."""

    def join(self, other: EvidenceReset) -> EvidenceReset:
        """Both: what either forgets."""
        later = max(self, other, key=lambda one: (one.number, one.why, one.provider, one.posterior))
        return later.model_copy(
            update={
                "successes": max(self.successes, other.successes),
                "failures": max(self.failures, other.failures),
                "quality_successes": max(self.quality_successes, other.quality_successes),
                "quality_failures": max(self.quality_failures, other.quality_failures),
            }
        )


class LedgerMark(Payload, key="signals"):
    """Up to which position of the ledger outcomes are in the posteriors that a run began with; its id is "ledger"."""

    watermark: Count

    def join(self, other: LedgerMark) -> LedgerMark:
        """The further one."""
        return max(self, other, key=lambda mark: mark.watermark)


class Posterior(Payload, key="signals"):
    """What outcomes say about a provider, or a provider under one tag; its id is `posterior_id(provider, tag)`."""

    provider: str
    successes: float = 0.0
    failures: float = 0.0
    """Sums of r and of 1 - r; what has aged counts less, what was reset not at all."""
    observations: Count = 0
    """How many outcomes were counted, aged or not: it never falls."""
    cost: Positive = 0.0
    """Summed; the mean is what an answer costs."""
    last: float | None = None
    """`at` of the latest outcome."""
    recent: tuple[float, ...] = ()
    """The latest rewards, for a sliding window."""
    recent_at: tuple[float | None, ...] = ()
    """When they came; None where that was not said."""
    quality_successes: float = 0.0
    quality_failures: float = 0.0
    quality_observations: Count = 0
    """The same for the quality of what was said: its reputation."""
    resets: Count = 0
    """How often drift has taken its evidence back to the prior."""
    forgotten: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """What resets have taken away so far: successes, failures, and those of quality."""

    @property
    def mean(self) -> float:
        """The mean of its Beta with the prior (1, 1)."""
        successes, failures = (min(max(one, 0.0), MOST_OUTCOMES) for one in (self.successes, self.failures))
        return (1 + successes) / (2 + successes + failures)

    @property
    def mean_cost(self) -> float:
        """What an answer has cost on average; 0 as long as there is none."""
        return min(self.cost, MOST_COST) / min(self.observations, MOST_COUNT) if self.observations else 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.recent) != len(self.recent_at):
            raise ValueError(f"recent holds {len(self.recent)} rewards and recent_at {len(self.recent_at)} moments")
        return self

    def join(self, other: Posterior) -> Posterior:
        """The one that has seen more."""
        return max(self, other, key=Posterior._rank)

    def _rank(self) -> tuple[int, int, int, str]:
        return (self.observations, self.quality_observations, self.resets, self.model_dump_json())


class LinearEvidence(Payload, key="signals"):
    """What outcomes with features say about a provider, for contextual policies; its id is `posterior_id(provider)`.

    Ridge regression needs A = I + Σ x·xᵀ and b = Σ r·x: these are the sums.
    """

    provider: str
    dim: int = Field(ge=1, le=1024)
    observations: Count = 0
    gram: tuple[float, ...] = ()
    """Σ x·xᵀ: the upper triangle, row by row."""
    moment: tuple[float, ...] = ()
    """Σ r·x."""
    last: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        size = self.dim * (self.dim + 1) // 2
        if len(self.gram) not in (0, size) or len(self.moment) not in (0, self.dim):
            raise ValueError(f"for dim={self.dim}, gram holds {size} numbers and moment {self.dim}")
        return self

    def join(self, other: LinearEvidence) -> LinearEvidence:
        """The one that has seen more."""
        return max(self, other, key=lambda one: (one.observations, one.model_dump_json()))


class Spending(Payload, key="signals"):
    """What answers have cost in one period and under one tag; its id is `spending_id(period, tag)`."""

    period: str
    """A day (2026-11-21), a month (2026-11), or "all"; "undated" for outcomes that do not say when they ended."""
    cost: Positive = 0.0
    tokens: Count = 0
    answers: Count = 0

    def join(self, other: Spending) -> Spending:
        """The one that has seen more."""
        return max(self, other, key=lambda one: (one.answers, one.cost, one.tokens, one.model_dump_json()))


Turn = Literal["held", "probe", "trial"]


class ProbeTurn(Payload, key="signals"):
    """A request met a provider that is in quarantine, or just back from it; its id names both."""

    provider: Name
    request_id: str
    what: Turn
    number: Count = 0
    """How many quarantines of the provider there had been."""
    """In quarantine and left out, in quarantine and tried, or back from it and chosen."""


class ProbeTally(Payload, key="signals"):
    """How often a provider in quarantine could have been probed, was, and has been tried since it is back.

    Its id is `posterior_id(provider)`.
    """

    provider: str
    turns: Count = 0
    """How many turns were counted: it never falls."""
    held: Count = 0
    """Requests for which it was a candidate and in quarantine, those among them that it got."""
    probes: Count = 0
    last_probe: Count = 0
    """How many requests had been held when it was probed last."""
    number: Count = 0
    """How many quarantines of it there had been at its latest turn."""
    trials: Count = 0
    """Requests that it got since it is back from the last of them."""

    @property
    def since(self) -> int:
        """How many requests were held since it was probed last, or since the first."""
        return self.held - self.last_probe

    def join(self, other: ProbeTally) -> ProbeTally:
        """The one that has seen more."""
        return max(self, other, key=lambda one: (one.turns, one.model_dump_json()))
