"""Watches what providers answer, says when that drifts, and takes those that drift severely out for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from operator import is_
from typing import Any, Final, Literal, get_args

from ...engine import Options, Proposal, propose
from ...facts import Fact, Projection, View
from ..selection.payloads import KnownQuarantine, Quarantine
from .detectors import DETECTORS, detector
from .errors import InvalidDriftSetting, check_count
from .live import LiveRun, Rules, Taken
from .payloads import (
    ChangePoint,
    DriftBaseline,
    DriftVerdict,
    KnownWindow,
    Number,
    ReloadRequest,
    ResponseObservation,
)
from .remember import project
from .seen import window_id
from .settings import Settings
from .thresholds import RECOMMENDED, DriftOptions, DriftThresholds, check_options, thresholds_of
from .watch import NUMBERS, BaselineOptions
from .window import DEFAULT_SIZE, check_size

Action = Literal["off", "warn", "quarantine", "reload"]
BASELINE: Final = BaselineOptions()
MAX_WINDOW: Final = 100_000
"""What a window may hold: a value of its projection has to stand in a payload."""
MAX_REFRESH: Final = 10_000
RUNS: Final = 16
"""Of so many runs it keeps what it has computed, if they go on at the same time."""


class DriftMonitor:
    """A suggestor that judges every `ResponseObservation` in its window, and says when a window's severity changes.

    ```python
    from quiesce.suggestors import DriftMonitor, DriftVerdict, ResponseObservation

    monitor = DriftMonitor("high", window=30)
    observed = Context()
    for place in range(8):
        answer = ResponseObservation(provider="acme", output_tokens=0, has_tool_use=False, request_had_tools=False)
        observed.add(answer, id=f"r{place}")
    found = Engine([monitor]).run_sync(observed).context
    assert found.of(DriftVerdict)["acme#1"].payload.severity == "severe"
    ```

    Windows are kept apart by provider, model and whether the answer was streamed. `thresholds` are the name of a preset
    or `DriftThresholds`; `action` is what follows a severe verdict: nothing is said at all ("off"), nothing follows
    ("warn"), the provider is quarantined for `cooldown` seconds and meanwhile gets one request in `one_in`
    ("quarantine"), or a `ReloadRequest` is said besides ("reload"). Severity none for `recovery` observations (by
    default a whole window) lifts the quarantine. `baseline=None` leaves out all comparison with what was at first.
    `detectors` runs change detectors on numbers, as in `{"latency_ms": "adwin"}`; after `refresh` values they start
    anew. Register `projection` with the log, and windows go on from run to run.

    Raises:
        InvalidDriftSetting: a setting outside its range, or a window too small to be ever judged.
        MissingDetector: a detector of river's, which is not installed.
    """

    reads = (ResponseObservation, KnownWindow, Quarantine, KnownQuarantine)
    writes = (DriftVerdict, DriftBaseline, ChangePoint, Quarantine, ReloadRequest)

    def __init__(
        self,
        thresholds: str | DriftThresholds = "normal",
        window: int = DEFAULT_SIZE,
        *,
        options: DriftOptions = RECOMMENDED,
        baseline: BaselineOptions | None = BASELINE,
        action: Action = "quarantine",
        cooldown: float | timedelta = 300.0,
        one_in: int = 10,
        recovery: int | None = None,
        detectors: Mapping[Number, str] | None = None,
        refresh: int = 1_000,
        name: str = "DriftMonitor",
    ) -> None:
        where = "DriftMonitor"
        thresholds = thresholds_of(where, thresholds)
        check_options(where, options)
        if baseline is not None and not isinstance(baseline, BaselineOptions):
            raise InvalidDriftSetting(where, "baseline", baseline, "a BaselineOptions or None")
        check_size(where, "window", window, thresholds, MAX_WINDOW)
        if action not in get_args(Action):
            raise InvalidDriftSetting(where, "action", action, f"one of {', '.join(get_args(Action))}")
        check_count(where, "one_in", one_in, 0)
        if recovery is not None:
            check_count(where, "recovery", recovery, 1)
        check_count(where, "refresh", refresh, 1, MAX_REFRESH)
        numbers = dict(detectors or {})
        for number, kind in numbers.items():
            if number not in NUMBERS:
                raise InvalidDriftSetting(where, "detectors", number, f"one of {', '.join(NUMBERS)}")
            if kind not in DETECTORS:
                raise InvalidDriftSetting(where, f"detectors[{number!r}]", kind, f"one of {', '.join(DETECTORS)}")
            detector(kind)  # what is missing is told now
        self.name, self.action, self.one_in = name, action, one_in
        self.recovery = window if recovery is None else recovery
        self.cooldown = _seconds(where, cooldown)
        settings = Settings(window, baseline, tuple(sorted(numbers)), refresh if numbers else 0, thresholds, options)
        self.rules = Rules(thresholds, options, settings, numbers)
        rules = f"{settings.text}/{thresholds}/{options}/{action}/{self.cooldown}/{one_in}/{self.recovery}"
        self.options = Options(version=f"2/{sha256(rules.encode()).hexdigest()[:16]}")
        self.projection: Projection[KnownWindow] = project(settings)
        """Carries the windows from run to run: `FactLog.open(…, projections=[monitor.projection])`."""
        self._runs: OrderedDict[str, LiveRun] = OrderedDict()  # a cache: see `_caught_up`

    def accepts(self, view: View) -> bool:
        """Tells whether there is anything to judge."""
        return self.action != "off" and len(view.new(ResponseObservation)) > 0

    def suggest(self, view: View) -> list[Proposal[Any]]:
        """Returns verdicts, quarantines, and what else follows from the new observations."""
        new = list(view.new(ResponseObservation))
        key = view.invocation.rsplit("/", 2)[0]
        run = self._caught_up(self._runs.pop(key, None), view, len(view.all(ResponseObservation)) - len(new))
        standing: dict[str, Quarantine | None] = {}
        said = [proposal for fact in new for proposal in self._say(run, fact, standing, view)]
        self._runs[key] = run
        while len(self._runs) > RUNS:
            self._runs.popitem(last=False)
        return said

    def follow(self, view: View) -> LiveRun:
        """Returns the windows with everything in them that a view shows, computed from nothing else."""
        run = LiveRun(view.all(KnownWindow), self.rules)
        for fact in view.all(ResponseObservation):
            run.go_on(fact)
        return run

    # --- inside -----------------------------------------------------------------------------------------------------

    def _caught_up(self, run: LiveRun | None, view: View, before: int) -> LiveRun:
        """Returns the windows as of the observations before the new ones.

        What was computed for this run goes on if it has taken as many observations, and the last of them is the very
        object that stands in the view: facts stand in one order for ever, so the ones before it are the same too. What
        it began with has to be the very same as well: copies of one context may be under way under one name.
        Otherwise everything is computed again from the view.
        """
        if (
            run is not None
            and run.last is not None
            and run.count == before
            and _are(run.known, view.all(KnownWindow))
            and view.get(ResponseObservation, run.last.id) is run.last
        ):
            return run
        run = LiveRun(view.all(KnownWindow), self.rules)
        if before:
            for fact in view.all(ResponseObservation)[:before]:
                run.go_on(fact)
        return run

    def _say(
        self, run: LiveRun, fact: Fact[ResponseObservation], standing: dict[str, Quarantine | None], view: View
    ) -> Iterator[Proposal[Any]]:
        taken = run.go_on(fact)
        if taken is None:
            return
        live = taken.live
        if taken.verdict is not None:
            yield propose(taken.verdict, id=f"{live.id}#{taken.verdict.number}", because=live.facts)
        if taken.baseline is not None:
            yield propose(taken.baseline, id=live.id, because=live.facts)
        for change in taken.changes:
            yield propose(change, id=f"{live.id}/{change.signal}@{change.at}", because=[fact])
        if self.action in ("quarantine", "reload"):
            yield from self._act(run, taken, standing, view)

    def _act(
        self, run: LiveRun, taken: Taken, standing: dict[str, Quarantine | None], view: View
    ) -> Iterator[Proposal[Any]]:
        """Quarantines who drifts severely and is not out already, and lifts that for who has recovered."""
        live, severity = taken.live, taken.judgement.severity
        if severity == "mild" or (severity == "none" and live.memory.calm < self.recovery):
            return
        provider = live.memory.key[0]
        id = f"drift/{window_id(provider)}"
        if provider not in standing:
            standing[provider] = _latest(view, id)
        latest = standing[provider]
        holds = latest is not None and latest.holds(view.now)
        said: Quarantine | None = None
        if severity == "severe" and not holds:
            number = 1 if latest is None else latest.number + 1
            reason = f"{live.id}: {taken.judgement.reason}"
            said = Quarantine(
                backend=provider, reason=reason, until=view.now + self.cooldown, number=number, one_in=self.one_in
            )
            if self.action == "reload":
                reload = ReloadRequest(provider=provider, reason=reason, number=number)
                yield propose(reload, id=f"{id}#{number}", because=live.facts)
        elif severity == "none" and holds and latest is not None and run.is_well(provider, self.recovery):
            lifted = f"{live.id}: no drift in {live.memory.calm} observations"
            said = latest.model_copy(update={"lifted": lifted})
        if said is not None:
            standing[provider] = said
            yield propose(said, id=id, because=live.facts)


def _are(known: Sequence[Fact[Any]], others: Sequence[Fact[Any]]) -> bool:
    """Tells whether these are the very same facts."""
    return len(known) == len(others) and all(map(is_, known, others))


def _latest(view: View, id: str) -> Quarantine | None:
    """Returns the latest quarantine of this id, of this run or an earlier one."""
    standing, known = view.get(Quarantine, id), view.get(KnownQuarantine, id)
    found = [standing.payload] if standing is not None and isinstance(standing.payload, Quarantine) else []
    if known is not None and isinstance(known.payload, KnownQuarantine):  # else it was redacted
        found.append(Quarantine.model_validate(known.payload.model_dump()))
    return max(found, key=lambda one: (one.number, bool(one.lifted)), default=None)


def _seconds(where: str, cooldown: float | timedelta) -> timedelta:
    seconds = cooldown.total_seconds() if isinstance(cooldown, timedelta) else cooldown
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= 366 * 86_400:
        raise InvalidDriftSetting(where, "cooldown", cooldown, "a number of seconds above 0, at most a year")
    return timedelta(seconds=seconds)
