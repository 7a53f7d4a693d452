"""Makes the choice among the candidates of one request: evidence, draw, and whatever is mixed in.

The draw is the policy's; a probe, a floor for those who are back from quarantine and a share for everyone come before
it. How probable each candidate was is computed from the same numbers, so it is right whatever is mixed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...facts import Fact, View
from ..readable import look_up
from .arms import mean_of
from .candidates import Candidates, Pool, refs_of
from .chances import blended
from .context import Line, direction
from .forgetting import evidence
from .names import posterior_id
from .payloads import LinearEvidence, Posterior, RouteRequest
from .policy import Chances, Scores, linear_thompson, linucb, thompson

if TYPE_CHECKING:
    from .router import ThompsonRouter


class Choice:
    """The choice among the candidates of one request."""

    def __init__(
        self,
        router: ThompsonRouter,
        view: View,
        pool: Pool,
        chances: Chances,
        request: RouteRequest,
        found: Candidates,
    ) -> None:
        self.router, self.request, self.found = router, request, found
        self.rng = view.rng
        self.names = [*found.eligible, *found.due]
        whole = [pool.posterior(name) for name in self.names]
        tags = tuple(dict.fromkeys(request.tags))
        tagged = [[pool.posterior(name, tag) for tag in tags] for name in self.names]
        lines = self._lines(view)
        self.rests_on: list[Fact[Any]] = refs_of([*whole, *(fact for each in tagged for fact in each), *lines])
        self.known: list[Posterior | None] = [None if fact is None else fact.payload for fact in whole]
        # The latest moment that any of them knows of: how old the rest is can be told by it without asking a clock.
        self.now = max((each.last for each in self.known if each is not None and each.last is not None), default=None)
        self.params = [
            router.weighing.parameters(
                evidence(of_all, router.forgetting, self.now),
                [evidence(None if fact is None else fact.payload, router.forgetting, self.now) for fact in under],
            )
            for of_all, under in zip(self.known, tagged, strict=True)
        ]
        self.costs = [0.0 if each is None else each.mean_cost for each in self.known]
        self.observations = [0 if each is None else each.observations for each in self.known]
        # What all have to pay takes no part in the choice: beside a price of 1e17 a float cannot tell two draws apart.
        self.base = min((router.price * cost for cost in self.costs[: len(found.eligible)]), default=0.0)
        self.policy, self.scores = self._score(lines, chances)

    def choose(self) -> tuple[int, list[float]]:
        """Returns the place of the winner, and how probable it was that each would win."""
        found, router, count = self.found, self.router, len(self.found.eligible)
        probing = 0.0 if not found.due else router.probe_chance if count else 1.0
        shares = [(1 - probing) * share for share in self._shares()]
        shares += [probing / len(found.due) for _ in found.due]
        total = sum(shares)
        shares = [min(share / total, 1.0) for share in shares]
        return self._winner(probing), shares

    def _shares(self) -> list[float]:
        """Returns how probable it is that each who is eligible wins where nobody is probed."""
        found, router = self.found, self.router
        if not found.eligible:
            return []
        returning = [found.eligible.index(name) for name in found.returning]
        return blended(
            self.scores.chances[: len(found.eligible)], eligible=len(found.eligible), returning=returning,
            floor=router.floor, explore=router.explore,
        )  # fmt: skip

    @property
    def samples(self) -> tuple[float, ...]:
        """What each scored; who may be probed scores what is expected of him, since nothing was drawn."""
        scored = [*self.scores.scores, *self._expected_of_due()]
        return tuple([score - self.base for score in scored])

    @property
    def means(self) -> tuple[float, ...]:
        """What each is expected to score, beside what all have to pay."""
        return (*self.scores.means, *self._expected_of_due())

    def _expected_of_due(self) -> list[float]:
        price, count = self.router.price, len(self.found.eligible)
        return [
            mean_of(*params) - (price * cost - self.base)
            for params, cost in zip(self.params[count:], self.costs[count:], strict=True)
        ]  # fmt: skip

    def _winner(self, probing: float) -> int:
        """Draws who wins; chance is only asked where something depends on it."""
        found, router, rng = self.found, self.router, self.rng
        count = len(found.eligible)
        if probing and (probing >= 1 or rng.random() < probing):
            return count + int(rng.integers(len(found.due)))
        if found.returning and router.floor and rng.random() < router.floor:
            return found.eligible.index(found.returning[int(rng.integers(len(found.returning)))])
        if router.explore and rng.random() < router.explore:
            return int(rng.integers(count))
        scores = self.scores.scores
        high = max(scores)
        best = [place for place, score in enumerate(scores) if score == high]
        # None of those who score the same is favoured by where it stands: that is what its propensity says.
        return best[0] if len(best) == 1 else best[int(rng.integers(len(best)))]

    def _score(self, lines: Sequence[Fact[LinearEvidence] | None], chances: Chances) -> tuple[str, Scores]:
        """Returns the policy that was used, and its scores for those who are eligible.

        Who is probed takes no part: a provider in quarantine is tried because of that, not because of a draw.
        """
        router, count = self.router, len(self.found.eligible)
        params, prices = self.params[:count], [router.price * cost - self.base for cost in self.costs[:count]]
        vector = direction(self.request.features, router.dim) if router.dim else None
        observed = sum(fact.payload.observations for fact in lines if fact is not None)
        if not count:
            return "probe", Scores((), (), ())
        if router.policy == "thompson" or vector is None or observed < router.warmup:
            return "thompson", thompson(params, prices, self.rng, chances)
        fitted = [self._line(fact, vector) for fact in lines[:count]]
        if router.policy == "linucb":
            return router.policy, linucb(fitted, prices, router.width, self.names[:count])
        return router.policy, linear_thompson(fitted, prices, router.width, self.rng, chances)

    def _line(self, fact: Fact[LinearEvidence] | None, vector: Sequence[float]) -> Line:
        known = None if fact is None else fact.payload
        weight = 1.0
        if known is not None and known.last is not None and self.now is not None:
            weight = self.router.forgetting.weight(self.now - known.last)
        return Line(known, vector, weight)

    def _lines(self, view: View) -> list[Fact[LinearEvidence] | None]:
        if self.router.policy == "thompson":
            return [None for _ in self.names]
        return [look_up(view, LinearEvidence, posterior_id(name)) for name in self.names]
