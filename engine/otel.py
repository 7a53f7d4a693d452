"""Shows runs as OpenTelemetry traces: a span for each run and, below it, one for each invocation.

```python
from quiesce.engine.otel import observer

engine = Engine([plan, batch], observers=[observer()])     # pip install quiesce[otel]
```

A run's span is a child of whatever span is current where the run is awaited; the spans that a suggestor makes itself
(by an instrumented HTTP or LLM client, say) are children of its invocation's.
"""

from __future__ import annotations

from contextvars import Token
from dataclasses import dataclass, field

try:
    from opentelemetry import context, trace
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "quiesce.engine.otel needs OpenTelemetry, which is not installed. Write: pip install quiesce[otel]",
        name=error.name,
    ) from error

from ..facts.event import CycleCommitted, Event, GateDecided, GateOpened, RunResumed, RunStarted, RunStopped
from ..facts.fact import Ref, RunId
from .observe import Committed, InvocationEnded, InvocationStarted, Notice, Observer, RunEnded
from .stop import BudgetExhausted, Conflict, InvariantViolated, describe, stop_from_json

_FALLEN_SHORT = (BudgetExhausted, Conflict, InvariantViolated)
"""Stops that make a run's span an error: it settled nothing, and nobody asked it to stop."""

CallId = tuple[str, int, Ref | None]
"""What names an invocation within its run: suggestor, cycle and trigger."""


@dataclass(frozen=True, slots=True)
class _Call:
    """An invocation that is under way: its span, and what makes it the current one no longer."""

    span: trace.Span
    token: Token[context.Context]


@dataclass(slots=True)
class _Open:
    """The spans of a run that have not ended."""

    run: trace.Span
    cycles: int = 0
    """Cycles that were committed and in which somebody ran; where it was resumed, since then."""
    calls: dict[CallId, _Call] = field(default_factory=dict)


def observer(tracer_provider: trace.TracerProvider | None = None) -> Observer:
    """Returns an observer for any number of engines and runs; its spans go to the global provider by default.

    - `quiesce.run`: one run, from its start (or resumption) to its stop, with `quiesce.run` (its id), `quiesce.stop`
      (the kind of stop, as in the log), `quiesce.facts` and `quiesce.cycles`; an event for each cycle and gate. An
      error if it raised, or stopped on a budget, a conflict or an invariant.
    - the suggestor's name: one invocation, with `quiesce.suggestor`, `.cycle`, `.trigger`, `.proposals` and
      `.attempts`. An error if it failed. One that was under way when the run stopped is `quiesce.dropped`.
    """
    return _Tracer(trace.get_tracer("quiesce", tracer_provider=tracer_provider))


class _Tracer:
    """Follows runs by their notices. Notices of one run come one after the other; those of many are mixed."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        self._open: dict[RunId, _Open] = {}

    def __call__(self, notice: Notice) -> None:
        known = self._open.get(notice.run)
        if isinstance(notice, RunEnded):
            self._end(notice)
        elif isinstance(notice, Committed) and isinstance(notice.event, (RunStarted, RunResumed)):
            self._begin(notice.run, notice.event)
        elif known is None:
            pass  # it was not asked to follow this run from its beginning
        elif isinstance(notice, InvocationStarted):
            self._call(known, notice)
        elif isinstance(notice, InvocationEnded):
            _return(known, notice)
        else:
            _commit(known, notice.event)

    def _begin(self, run: RunId, event: RunStarted | RunResumed) -> None:
        if run in self._open:  # two runs of one id, in two logs: whose the next notices are cannot be told
            self._end(RunEnded(run, None))
        known = self._open[run] = _Open(self._tracer.start_span("quiesce.run"))
        known.run.set_attribute("quiesce.run", run)
        if isinstance(event, RunStarted):
            known.run.set_attribute("quiesce.seed", event.seed)
            if event.parent is not None:
                known.run.set_attribute("quiesce.parent", event.parent.run)
        known.run.set_attribute("quiesce.resumed", isinstance(event, RunResumed))

    def _call(self, known: _Open, notice: InvocationStarted) -> None:
        around = trace.set_span_in_context(known.run)
        span = self._tracer.start_span(notice.suggestor, context=around)
        span.set_attribute("quiesce.suggestor", notice.suggestor)
        span.set_attribute("quiesce.cycle", notice.cycle)
        if notice.trigger is not None:
            span.set_attribute("quiesce.trigger", notice.trigger)
        token = context.attach(trace.set_span_in_context(span))
        known.calls[notice.suggestor, notice.cycle, notice.trigger] = _Call(span, token)

    def _end(self, notice: RunEnded) -> None:
        known = self._open.pop(notice.run, None)
        if known is None:
            return
        for call in known.calls.values():
            call.span.set_attribute("quiesce.dropped", True)
            call.span.end()
            if trace.get_current_span() is call.span:  # it was called in the run's own task, which goes on
                context.detach(call.token)
        known.run.set_attribute("quiesce.cycles", known.cycles)
        if notice.error is not None:
            known.run.record_exception(notice.error)
            known.run.set_status(trace.StatusCode.ERROR, f"{type(notice.error).__name__}: {notice.error}")
        known.run.end()


def _return(known: _Open, notice: InvocationEnded) -> None:
    call = known.calls.pop((notice.suggestor, notice.cycle, notice.trigger), None)
    if call is None:
        return
    call.span.set_attribute("quiesce.proposals", notice.proposals)
    call.span.set_attribute("quiesce.attempts", notice.attempts)
    if notice.failed:
        call.span.set_status(trace.StatusCode.ERROR, "it failed: the log has a Failure that says why")
    call.span.end()
    context.detach(call.token)  # in the task in which it was attached: a call begins and ends in one


def _commit(known: _Open, event: Event) -> None:
    match event:
        case CycleCommitted():
            known.cycles += bool(event.ran)
            known.run.add_event(event.kind, {
                "quiesce.cycle": event.cycle, "quiesce.facts": len(event.facts),
                "quiesce.rejections": len(event.rejections), "quiesce.ran": list(event.ran),
                "quiesce.tokens": event.tokens, "quiesce.cost": event.cost,
            })  # fmt: skip
        case GateOpened(parked):
            known.run.add_event(event.kind, {"quiesce.gate": parked.gate, "quiesce.ref": parked.ref})
        case GateDecided(decision):
            known.run.add_event(
                event.kind,
                {"quiesce.gate": decision.gate, "quiesce.ref": decision.ref, "quiesce.approved": decision.approved},
            )
        case RunStopped(data, facts):
            stop = stop_from_json(data)
            known.run.set_attribute("quiesce.stop", data["kind"])
            known.run.set_attribute("quiesce.facts", facts)
            if isinstance(stop, _FALLEN_SHORT):
                known.run.set_status(trace.StatusCode.ERROR, describe(stop))
        case _:
            pass
