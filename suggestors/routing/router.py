"""Decides who answers: one draw for each candidate, the largest wins, and the decision says how probable that was.

It keeps nothing to itself. What is known comes from its view, chance from the view's generator. So a decision is drawn
again as it was whenever its run is replayed, and what it says is enough to ask later what another policy had earned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...engine import InvalidOption, Options, Proposal, propose
from ...facts import Fact, Projection, View
from ..readable import look_up, readable
from ..selection.payloads import Backend, KnownQuarantine, Quarantine
from .arms import Weighing, check_count, check_number
from .candidates import Candidates, Pool, refs_of
from .choice import Choice
from .forgetting import Forgetting, Way, forgetting_of
from .linear_arm import check_dim
from .names import posterior_id, probe_id
from .payloads import (
    LedgerMark,
    LinearEvidence,
    Posterior,
    ProbeTally,
    ProbeTurn,
    RouteDecision,
    RouteRequest,
    Spending,
    Turn,
    Unroutable,
)
from .policy import POLICIES, Chances, Policy
from .probing import fold_turn, probe_tallies
from .spending import UNDATED, Every, check_every, period_of, spending_id
from .watermark import watermark

LETS_IN = (Backend, Quarantine, KnownQuarantine)
"""What may let somebody answer a request that nobody could answer before."""
SAYS_COSTS = (Posterior, Spending)
"""The same, where costs keep somebody out."""


class ThompsonRouter:
    """Decides each request once, as soon as somebody can answer it.

    ```python
    from quiesce.suggestors import RouteDecision, RouteRequest, ThompsonRouter

    context = Context()
    context.add(RouteRequest(providers=("swift", "tardy")), id="r1")
    result = Engine([ThompsonRouter()]).run_sync(context)
    assert result.context.of(RouteDecision)["r1"].payload.propensity == 0.5
    ```

    `policy` is "thompson", or "linear-thompson" or "linucb" with `dim` features: those choose by the request's features
    once `warmup` outcomes with features are known of its candidates, and by Thompson sampling until then and for
    requests without features. `width` is how far LinUCB goes above its prediction, and the deviation of linear
    Thompson sampling.

    `forgetting` has to be that of the `OutcomeLearning` beside it. `strength`, `min_observations`, `quality_weight` and
    `prior` are those of `Weighing`.

    `price` is how much reward one unit of cost is worth: the expected cost of a provider, times this, is taken off its
    draw. `budget` is what may be spent in a period of `every`, `tag_budgets` the same for requests under a tag: who is
    expected to cost more than what is left is not eligible.

    `explore` is the probability of choosing anyone who is eligible, and `floor` that of choosing somebody who is back
    from quarantine and has had fewer than `trials` requests since. A provider in quarantine that may be probed with
    one request in `one_in` gets that request with `probe_chance`.
    """

    reads = (
        RouteRequest, Backend, Quarantine, KnownQuarantine, Posterior, LinearEvidence, Spending, ProbeTally, LedgerMark,
        Unroutable, RouteDecision,
    )  # fmt: skip
    wakes = reads[:-1]
    """Not its own decisions: it looks only whether one is there, which may have been made by hand."""
    writes = (RouteDecision, Unroutable, ProbeTurn, ProbeTally)
    options = Options(version="1")  # not its settings: a changed version would be shown all requests once more

    def __init__(
        self,
        policy: Policy = "thompson",
        *,
        forgetting: Forgetting | Way = "none",
        prior: tuple[float, float] = (1.0, 1.0),
        strength: float = 20.0,
        min_observations: int = 5,
        quality_weight: float = 0.3,
        price: float = 0.0,
        budget: float | None = None,
        tag_budgets: Mapping[str, float] | None = None,
        every: Every = "month",
        explore: float = 0.0,
        floor: float = 0.1,
        trials: int = 10,
        probe_chance: float = 0.5,
        dim: int | None = None,
        warmup: int = 20,
        width: float = 1.0,
        name: str = "ThompsonRouter",
    ) -> None:
        if policy not in POLICIES:
            raise InvalidOption("policy", policy, f"one of {', '.join(POLICIES)}")
        if policy != "thompson" and dim is None:
            raise InvalidOption("dim", dim, f"given, and policy {policy!r} chooses by so many features")
        self.name, self.policy = name, policy
        self.dim = 0 if dim is None else check_dim(dim)
        self.forgetting = forgetting_of(forgetting)
        self.weighing = Weighing(prior, strength, min_observations, quality_weight)
        self.price = check_number("price", price, 0, 1e9)
        self.budget = None if budget is None else check_number("budget", budget, 0, 1e15)
        self.tag_budgets = {
            tag: check_number("tag_budgets", each, 0, 1e15) for tag, each in (tag_budgets or {}).items()
        }
        self.every = check_every(every)
        self.explore = check_number("explore", explore, 0, 1)
        self.floor = check_number("floor", floor, 0, 1)
        self.trials = check_count("trials", trials, 0)
        self.probe_chance = check_number("probe_chance", probe_chance, 0, 1)
        self.warmup = check_count("warmup", warmup, 0)
        self.width = check_number("width", width, 0, 1e6)
        self.projection: Projection[ProbeTally] = probe_tallies()

    @property
    def has_budget(self) -> bool:
        """Whether what was spent keeps anybody out."""
        return self.budget is not None or bool(self.tag_budgets)

    @property
    def projections(self) -> tuple[Projection[Any], ...]:
        """What the log is to keep of it."""
        return (self.projection,)

    def accepts(self, view: View) -> bool:
        """Tells whether there is a request to decide, or one that waits and something that may help it."""
        if len(view.new(RouteRequest)):
            return True
        return any(len(view.new(cls)) for cls in (*LETS_IN, *SAYS_COSTS)) and any(_unanswered(view))

    def suggest(self, view: View) -> Iterator[Proposal[Any]]:
        """Yields a decision for each request that waits for one."""
        sitting = _Sitting(self, view)
        for request, again in self._waiting(view):
            yield from sitting.decide(request, again)
        yield from sitting.tallies()

    def _waiting(self, view: View) -> Iterator[tuple[Fact[RouteRequest], bool]]:
        """Yields the requests that are undecided: the new ones, and with True those that nobody could answer before."""
        new = view.new(RouteRequest)
        undecided = (one for one in readable(new, RouteRequest) if view.get(RouteDecision, one.id) is None)
        yield from ((request, False) for request in undecided)
        seen = {request.id for request in new}
        # Whoever waits costs something each time it is looked at, so that is done where something may have changed.
        anyone = self.has_budget or any(len(view.new(cls)) for cls in LETS_IN) or _has_lapsed(view)
        if anyone or any(len(view.new(cls)) for cls in SAYS_COSTS):
            for id in _unanswered(view):
                waiting = look_up(view, RouteRequest, id)
                if waiting is not None and id not in seen and (anyone or waiting.payload.max_cost is not None):
                    yield waiting, True


def _unanswered(view: View) -> Iterator[str]:
    """Yields the ids of requests that nobody could answer yet."""
    return (one.id for one in readable(view.all(Unroutable), Unroutable) if not one.payload.decided)


def _has_lapsed(view: View) -> bool:
    """Tells whether a quarantine has ended by itself: no new fact says so."""
    known = [*readable(view.all(Quarantine), Quarantine), *readable(view.all(KnownQuarantine), KnownQuarantine)]
    return any(one.payload.until is not None and one.payload.until <= view.now for one in known)


class _Sitting:
    """One wake-up of a router: what several requests share is looked up once."""

    def __init__(self, router: ThompsonRouter, view: View) -> None:
        self.router, self.view = router, view
        self.pool = Pool(view, router.trials)
        self.chances = Chances()
        self.turned: dict[str, list[Fact[Any]]] = {}
        """Whose count has changed, because of which requests."""

    def decide(self, request: Fact[RouteRequest], again: bool) -> Iterator[Proposal[Any]]:
        """Yields the decision on a request, with the turns that it was for providers in quarantine.

        A request that nobody could answer before has had its turns.
        """
        found = self.pool.candidates(request.payload, self._left(request.payload))
        if again:
            found.held, found.due = [], []
        unroutable = look_up(self.view, Unroutable, request.id)
        if not found.eligible and not found.due:
            yield from self._turns(request, found, None)
            if unroutable is None:
                yield propose(Unroutable(reason=found.reason), id=request.id, because=[request])
            return
        draw = Choice(self.router, self.view, self.pool, self.chances, request.payload, found)
        winner, propensities = draw.choose()
        name = draw.names[winner]
        decision = RouteDecision(
            provider=name,
            alpha=draw.params[winner][0],
            beta=draw.params[winner][1],
            sample=draw.samples[winner],
            exploit=draw.means[winner] >= max(draw.means),
            propensity=propensities[winner],
            eligible=tuple(draw.names),
            policy=draw.policy,
            watermark=watermark(self.view, draw.rests_on),
            observations=draw.observations[winner],
            tags=request.payload.tags,
            features=request.payload.features,
            propensities=tuple(propensities),
            cost=draw.costs[winner],
            probe=name in found.due,
            held=tuple(found.held),
            returning=tuple(found.returning),
        )
        out = [self.pool.out[name]] if name in found.due else []
        yield propose(decision, id=request.id, because=refs_of([request, *out, *draw.rests_on]))
        if unroutable is not None:
            decided = Unroutable(reason=unroutable.payload.reason, decided=True)
            yield propose(decided, id=request.id, because=[request, unroutable])
        yield from self._turns(request, found, name)

    def tallies(self) -> Iterator[Proposal[ProbeTally]]:
        """Yields the counts that have changed."""
        for name, because in self.turned.items():
            tally = self.pool.tally(name)
            if tally is not None:
                yield propose(tally, id=posterior_id(name), because=because)

    def _turns(self, request: Fact[RouteRequest], found: Candidates, winner: str | None) -> Iterator[Proposal[Any]]:
        for name in (*found.held, *(name for name in found.returning if name == winner)):
            what: Turn = "trial" if name in found.returning else "probe" if name == winner else "held"
            number = self.pool.numbers.get(name, 0)
            turn = ProbeTurn(provider=name, request_id=request.id, what=what, number=number)
            self.pool.tallies[name] = fold_turn(self.pool.tally(name), turn)
            self.turned.setdefault(name, []).append(request)
            yield propose(turn, id=probe_id(request.id, name, what), because=[request])

    def _left(self, request: RouteRequest) -> float | None:
        """Returns what may still be spent on a request; None: any amount."""
        router = self.router
        left = [] if router.budget is None else [router.budget - self._spent(None)]
        left += [limit - self._spent(tag) for tag, limit in router.tag_budgets.items() if tag in request.tags]
        return min(left, default=None)

    def _spent(self, tag: str | None) -> float:
        now = period_of(self.view.now, self.router.every)
        periods = (now,) if now == "all" else (now, UNDATED)
        found = [look_up(self.view, Spending, spending_id(period, tag)) for period in periods]
        return sum(fact.payload.cost for fact in found if fact is not None)
