"""Wires the providers pack: from a request to who answers it, and from what came of that to the next request.

A request says what it needs. Selection finds who has it, the bridge names the candidates, the router draws one of them,
a suggestor of yours calls it and says what came of it. Outcomes and feedback revise posteriors; observations move
windows, and those may put a provider out. All of it is facts; what outlives the run is kept by projections, and is what
the next run begins with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..engine import Engine, InvalidOption
from ..facts import Context, FactLog, Projection
from .candidates import ProviderCandidates
from .drift.monitor import DriftMonitor
from .drift.payloads import KnownWindow
from .drift.thresholds import DriftThresholds
from .feedback.calibration import judge_calibrations
from .feedback.judge import FeedbackJudge
from .routing.forgetting import Forgetting, Way
from .routing.learning import OutcomeLearning
from .routing.payloads import Posterior
from .routing.router import ThompsonRouter
from .selection.known import known_quarantines
from .selection.payloads import Backend, KnownQuarantine
from .selection.policy import Policy
from .selection.select import ProviderSelection
from .trajectories.learn import failure_patterns, verdict_tallies
from .trajectories.recording import TrajectoryRecording

if TYPE_CHECKING:
    from pydantic_ai.models import Model

PACK: Final = "providers"
"""The name under which `ProvidersPack.engine` registers the suggestors: `engine.run(…, packs=["providers"])`."""


@dataclass(frozen=True, slots=True)
class ProvidersPack:
    """The suggestors that govern providers, the projections that they learn by, and the backends that there are.

    It is made by `providers(…)`, and is the list of its suggestors: `Engine([*pack, call])`.
    """

    backends: tuple[Backend, ...]
    suggestors: tuple[Any, ...]
    """In the order in which they are registered."""
    projections: tuple[Projection[Any], ...]
    """What the log has to keep, so that what is learned outlives a run."""
    posteriors: Projection[Posterior]
    """What is known of each provider: `log.values(pack.posteriors)`. It is one of the projections."""
    quarantines: Projection[KnownQuarantine]
    """Who was put out, and let in again; one of the projections."""
    windows: Projection[KnownWindow] | None
    """What the latest answers were like; one of the projections, unless drift is left out."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self.suggestors)

    def __len__(self) -> int:
        return len(self.suggestors)

    def open(self, url: str | Path = ":memory:", **options: Any) -> FactLog:
        """Opens a log with the projections of the pack; takes the options of `FactLog.open`."""
        more = tuple(options.pop("projections", ()))
        return FactLog.open(url, projections=(*self.projections, *more), **options)

    def context(self, log: FactLog) -> Context:
        """Returns a new context with what the log has learned and with the backends; add requests to it.

        Raises:
            ProjectionError: the log was not opened with the projections of the pack.
        """
        log.values(self.posteriors)  # raises where it is missing: a run would begin as if nothing were known
        context = log.context()
        for backend in self.backends:
            context.add(backend, id=backend.name)
        return context

    def engine(self, *suggestors: Any, record: FactLog | None = None, **options: Any) -> Engine:
        """Returns an engine of the pack and suggestors of yours; takes the options of `Engine`.

        With `record` the trajectory of every run that ends is kept in that log, as a run of its own.
        """
        observers = tuple(options.pop("observers", ()))
        recording = () if record is None else (TrajectoryRecording(record),)
        engine = Engine(observers=(*observers, *recording), **options)
        for one in self.suggestors:
            engine.register(one, pack=PACK)
        for one in suggestors:
            engine.register(one)
        return engine


def providers(
    backends: Iterable[Backend] = (),
    *,
    policy: Policy | None = None,
    forgetting: Forgetting | Way | None = None,
    sensitivity: str | DriftThresholds | None = "normal",
    judge: Model | str | FeedbackJudge | None = None,
    router: ThompsonRouter | None = None,
    learning: OutcomeLearning | None = None,
    monitor: DriftMonitor | None = None,
) -> ProvidersPack:
    """Returns the whole pack, wired: selection, routing, learning, drift and feedback.

    ```python
    from quiesce.suggestors import Backend, ProviderRequest, RouteDecision, providers

    pack = providers([Backend(name="mini", kind="llm", capabilities={"code"})])
    log = pack.open()                                        # or pack.open("runs.db")
    context = pack.context(log)
    context.add(ProviderRequest(required_capabilities=("code",)), id="r1")
    result = pack.engine().run_sync(context, log=log)        # with the suggestor that calls: pack.engine(call)
    assert "mini" == result.context.of(RouteDecision)["r1"].payload.provider
    ```

    Args:
        backends: Who can be asked; every context of the pack begins with them. More can be added to a context.
        policy: What selection prefers among those that can do the same.
        forgetting: How evidence ages: "none", "reset" (severe drift takes a provider back to the prior), "discount",
            "window", or a `Forgetting`. By default as the router is told to, and "reset" where that is not given.
        sensitivity: Of the drift monitor: "low", "normal", "high" or `DriftThresholds`; None leaves drift out.
        judge: Who judges feedback that rules leave open: a model of pydantic-ai or its name, or a `FeedbackJudge`.
            By default rules alone.
        router: In place of the router with default options; its forgetting has to be that of the learning.
        learning: In place of the learning that fits the router; brings its own forgetting.
        monitor: In place of the drift monitor with default options; brings its own thresholds.

    Raises:
        InvalidOption: what is in `backends` is no `Backend`, or two go by one name; or the parts do not fit.
    """
    pool = _check_backends(backends)
    learns = learning if learning is not None else _learning_for(router, forgetting)
    routes = router if router is not None else ThompsonRouter(forgetting=learns.forgetting, every=learns.every)
    _check_fit(routes, learns)
    watches = monitor if monitor is not None else None if sensitivity is None else DriftMonitor(sensitivity)
    judges = judge if isinstance(judge, FeedbackJudge) else FeedbackJudge(judge)
    drift = () if watches is None else (watches,)
    return ProvidersPack(
        backends=pool,
        suggestors=(ProviderSelection(policy), ProviderCandidates(), routes, learns, *drift, judges),
        projections=(
            *learns.projections, *routes.projections, *(one.projection for one in drift), known_quarantines,
            judge_calibrations, failure_patterns, verdict_tallies,
        ),
        posteriors=learns.projection, quarantines=known_quarantines,
        windows=None if watches is None else watches.projection,
    )  # fmt: skip


def _learning_for(router: ThompsonRouter | None, forgetting: Forgetting | Way | None) -> OutcomeLearning:
    """Returns the learning that keeps what a router goes by."""
    if router is None:
        return OutcomeLearning("reset" if forgetting is None else forgetting)
    way = router.forgetting if forgetting is None else forgetting
    return OutcomeLearning(way, dim=router.dim or None, every=router.every)


def _check_fit(router: ThompsonRouter, learning: OutcomeLearning) -> None:
    """Raises InvalidOption where a router would look for what the learning beside it does not keep."""
    option = "providers(router=…)"
    if router.forgetting != learning.forgetting:
        wanted = f"the forgetting of the learning. Write: ThompsonRouter(forgetting={learning.forgetting!r})"
        raise InvalidOption(option, router.forgetting, wanted)
    if router.has_budget and router.every != learning.every:  # it would find nothing spent, and never stop
        wanted = f"the period that the learning sums costs by. Write: ThompsonRouter(every={learning.every!r})"
        raise InvalidOption(option, router.every, wanted)
    if router.policy != "thompson" and router.dim != learning.dim:  # it would never leave its warm-up
        wanted = f"the features that the learning keeps. Write: OutcomeLearning(dim={router.dim})"
        raise InvalidOption(option, router.dim, wanted)


def _check_backends(backends: Iterable[Backend]) -> tuple[Backend, ...]:
    option = "providers(backends)"
    if isinstance(backends, (Backend, str)) or not isinstance(backends, Iterable):
        raise InvalidOption(option, backends, "a list of Backend objects. Write: providers([Backend(…)])")
    pool = tuple(backends)
    for place, one in enumerate(pool):
        if not isinstance(one, Backend):
            raise InvalidOption(option, one, "a Backend. Write: Backend(name=…, kind=…, capabilities={…})")
        if one.name in (other.name for other in pool[:place]):
            raise InvalidOption(option, one.name, "named once: two backends go by this name, and ids are names")
    return pool
