"""Holds the traces of runs to it that every span ends, under the right parent, and says what happened."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, Tracer, get_current_span

from quiesce.engine import (
    Approve,
    Budget,
    CancelSwitch,
    Committed,
    Engine,
    Gate,
    InvocationEnded,
    InvocationStarted,
    Notice,
    Observer,
    RunEnded,
    suggestor,
)
from quiesce.engine.otel import observer
from quiesce.engine.testing import Turns
from quiesce.facts import Context, Fact, FactLog, Payload, StoreError
from quiesce.facts.event import CycleCommitted, RunStarted
from support.runs import run_while
from support.strategies import World, context_of, engine_of, worlds


class Ticket(Payload, key="seeds", family="otel-ticket"):
    text: str = ""


class Plan(Payload, key="strategies", family="otel-plan"):
    queue: str = ""


class Review(Payload, key="evaluations", family="otel-review"):
    verdict: str = ""


class Step(Payload, key="signals", family="otel-step"):
    number: int = 0


@suggestor
def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue=ticket.id)


@suggestor(retries=1, backoff=0)
async def review(plan: Fact[Plan]) -> Review:
    await anyio.lowlevel.checkpoint()
    raise ValueError("not today")


@suggestor
async def never(plan: Fact[Plan]) -> Review:
    await anyio.sleep_forever()
    raise AssertionError


@suggestor
def step_on(step: Fact[Step]) -> list[Step]:
    return [Step(number=step.payload.number + 1)]


class Traces:
    """A provider that keeps every span in memory, an observer that uses it, and a watch over what was never ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.started = 0
        self.provider.add_span_processor(_Count(self))
        self.observer: Observer = observer(self.provider)
        self.tracer: Tracer = self.provider.get_tracer("test")

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """Returns what has ended, by when it started; the whole of it only if nothing is left open."""
        spans = sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        assert self.started == len(spans), "spans were left open"
        return [span for span in spans if name in (None, span.name)]

    def run(self) -> ReadableSpan:
        """Returns the span of the only run."""
        [span] = self.spans("quiesce.run")
        return span


class _Count(SimpleSpanProcessor):
    def __init__(self, traces: Traces) -> None:
        super().__init__(InMemorySpanExporter())
        self.traces = traces

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.traces.started += 1


@pytest.fixture
def traces() -> Traces:
    """Returns a provider with its observer."""
    return Traces()


def tickets(*ids: str) -> Context:
    context = Context()
    for id in ids:
        context.add(Ticket(text=id), id=id)
    return context


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Returns the attributes without their prefix."""
    return {name.removeprefix("quiesce."): value for name, value in (span.attributes or {}).items()}


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def status(span: ReadableSpan) -> tuple[StatusCode, str | None]:
    return span.status.status_code, span.status.description


# --- every run --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=50)
@given(worlds())
async def test_every_invocation_has_a_span_below_its_run(world: World) -> None:
    """Of any run, however it stops: as many spans as notices, all of them ended, none of them current afterwards."""
    traces, told = Traces(), list[Notice]()
    made = engine_of(world)
    outer = get_current_span()
    result = await made.run(context_of(world), observers=[traces.observer, told.append], run_id="r")
    run = traces.run()
    spans = [span for span in traces.spans() if span is not run]

    assert [one.suggestor for one in told if isinstance(one, InvocationStarted)] == [span.name for span in spans]
    assert {span_id(run)} >= {parent_of(span) for span in spans}
    ended = [one for one in told if isinstance(one, InvocationEnded)]
    assert len(ended) == sum("dropped" not in attributes(span) for span in spans)
    cycles = [one.event for one in told if isinstance(one, Committed) and isinstance(one.event, CycleCommitted)]
    assert [cycle.cycle for cycle in cycles] == [
        (event.attributes or {})["quiesce.cycle"] for event in run.events if event.name == "cycle_committed"
    ]
    assert (result.cycles, outer) == (attributes(run)["cycles"], get_current_span())


@pytest.mark.slow
@settings(max_examples=25)
@given(worlds())
async def test_tracing_changes_nothing_in_the_log(world: World) -> None:
    async def log_of(*observers: Observer) -> bytes:
        made = await engine_of(world, pauses=[1, 0, 2]).run(
            context_of(world), run_id="r", seed=1, started=datetime(2026, 1, 1, tzinfo=UTC), observers=observers
        )
        return made.log.to_bytes(made.run_id)

    assert await log_of() == await log_of(Traces().observer)


# --- what a trace says ------------------------------------------------------------------------------------------------


async def test_a_run_and_its_invocations_say_what_they_did(traces: Traces) -> None:
    result = await Engine([plan, review], observers=[traces.observer]).run(tickets("t1"), run_id="r1", seed=7)
    run, one, two = traces.spans()

    assert {"run": "r1", "seed": 7, "resumed": False, "stop": "converged", "facts": 3, "cycles": 2} == attributes(run)
    assert (StatusCode.UNSET, None) == status(run)
    assert ["plan", "review"] == [one.name, two.name]
    assert {
        "suggestor": "plan", "cycle": 1, "trigger": "otel-ticket:t1", "proposals": 1, "attempts": 1,
    } == attributes(one)  # fmt: skip
    assert {
        "suggestor": "review", "cycle": 2, "trigger": "otel-plan:t1", "proposals": 0, "attempts": 2,
    } == attributes(two)  # fmt: skip
    assert (StatusCode.ERROR, "it failed: the log has a Failure that says why") == status(two)
    assert 2 == result.cycles


def test_cycles_are_events_of_the_run(traces: Traces) -> None:
    Engine([plan], observers=[traces.observer]).run_sync(tickets("t1", "t2"))

    assert [
        {"quiesce.cycle": 0, "quiesce.facts": 2, "quiesce.rejections": 0, "quiesce.ran": (), "quiesce.tokens": 0,
         "quiesce.cost": 0.0},
        {"quiesce.cycle": 1, "quiesce.facts": 2, "quiesce.rejections": 0, "quiesce.ran": ("plan",),
         "quiesce.tokens": 0, "quiesce.cost": 0.0},
    ] == [dict(event.attributes or {}) for event in traces.run().events]  # fmt: skip


def test_a_run_is_a_child_of_the_span_that_awaits_it(traces: Traces) -> None:
    with traces.tracer.start_as_current_span("request"):
        Engine([plan], observers=[traces.observer]).run_sync(tickets("t1"))
    request, run, call = traces.spans()

    assert [None, span_id(request), span_id(run)] == [parent_of(span) for span in (request, run, call)]


@pytest.mark.parametrize("form", ["sync", "alone", "beside", "thread"])
async def test_spans_of_a_suggestor_are_children_of_its_invocation(form: str, traces: Traces) -> None:
    """Wherever it is called: where the run stands, in a task of its own, in a thread."""

    def ask(ticket: Fact[Ticket]) -> Plan:
        with traces.tracer.start_as_current_span("http"):
            return Plan(queue=ticket.id)

    async def ask_later(ticket: Fact[Ticket]) -> Plan:
        await anyio.lowlevel.checkpoint()
        return ask(ticket)

    many = tickets("t1", "t2") if form == "beside" else tickets("t1")
    chosen: Callable[..., Any] = ask if form in ("sync", "thread") else ask_later
    made = suggestor(name="ask", thread=form == "thread")(chosen)
    await Engine([made], observers=[traces.observer]).run(many)
    calls, inner = traces.spans("ask"), traces.spans("http")

    assert len(many) == len(inner)
    assert {span_id(call) for call in calls} == {parent_of(span) for span in inner}


@pytest.mark.parametrize(
    ("options", "stop", "described"),
    [
        ({"budget": Budget(cycles=2)}, "budget_exhausted", "stopped at 2 of 2 cycles; still proposing: step_on"),
        ({"cancel": CancelSwitch()}, "cancelled", None),
    ],
)
def test_a_run_that_falls_short_is_an_error(options: Any, stop: str, described: str | None, traces: Traces) -> None:
    """One that somebody called off is not."""
    if "cancel" in options:
        options["cancel"].cancel("enough")
    context = Context()
    context.add(Step())
    Engine([step_on], observers=[traces.observer]).run_sync(context, **options)
    code, description = status(traces.run())

    assert stop == attributes(traces.run())["stop"]
    assert (StatusCode.ERROR if described else StatusCode.UNSET) is code
    assert (description or "").startswith(described or "")


async def test_a_resumed_run_is_a_span_of_its_own(traces: Traces) -> None:
    """The gate is an event of both."""
    engine = Engine([plan], gates=[Gate("all", [Plan])], observers=[traces.observer])
    result = await engine.run(tickets("t1"), run_id="r")
    [gate] = result.gates
    await engine.resume(result, [Approve(gate, by="ana")])
    first, second = traces.spans("quiesce.run")

    assert ["awaiting_approval", "converged"] == [attributes(span)["stop"] for span in (first, second)]
    assert [("r", False), ("r", True)] == [
        (attributes(span)["run"], attributes(span)["resumed"]) for span in (first, second)
    ]
    assert {"quiesce.gate": gate, "quiesce.ref": "otel-plan:t1"} == dict(first.events[-1].attributes or {})
    decided = next(event for event in second.events if event.name == "gate_decided")
    assert {"quiesce.gate": gate, "quiesce.ref": "otel-plan:t1", "quiesce.approved": True} == dict(
        decided.attributes or {}
    )


# --- many runs, and runs that end in their midst ----------------------------------------------------------------------


async def test_runs_side_by_side_keep_their_invocations_apart(traces: Traces) -> None:
    engine = Engine([plan, review], observers=[traces.observer])
    await engine.run_many([tickets(f"t{n}") for n in range(8)], run_id="r")
    runs = {span_id(span): attributes(span)["run"] for span in traces.spans("quiesce.run")}
    triggers = {(runs[parent_of(span) or 0], attributes(span)["trigger"]) for span in traces.spans("review")}

    assert {(f"r-{n}", f"otel-plan:t{n}") for n in range(8)} == triggers


async def test_two_runs_of_one_id_leave_nothing_open(traces: Traces) -> None:
    """In two logs, at one time: whose a notice is cannot be told, but every span ends."""
    engine = Engine([plan, review], observers=[traces.observer])
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(lambda: engine.run(tickets("t1"), run_id="same"))

    assert 2 == len(traces.spans("quiesce.run"))


@pytest.mark.parametrize("beside", [(), (review,)], ids=["alone", "beside others"])
async def test_a_run_that_is_called_off_leaves_nothing_open(beside: tuple[Any, ...], traces: Traces) -> None:
    """Nor does what was under way stay the current span of whoever called the run."""
    turns, switch, outer = Turns(), CancelSwitch(), list[Any]()
    engine = Engine([plan, never, *beside], observers=[traces.observer, turns])

    async def cancel() -> None:
        await turns.started("never")
        switch.cancel()

    await run_while(
        cancel, engine, tickets("t1"), cancel=switch, observers=[lambda _: outer.append(get_current_span())]
    )
    [dropped] = traces.spans("never")

    assert ("cancelled", True) == (attributes(traces.run())["stop"], attributes(dropped)["dropped"])
    assert outer[0] is outer[-1]


@pytest.mark.parametrize("beside", [(), (review,)], ids=["alone", "beside others"])
async def test_a_cancelled_task_leaves_nothing_open(beside: tuple[Any, ...], traces: Traces) -> None:
    engine = Engine([plan, never, *beside], observers=[traces.observer])
    before = get_current_span()
    with anyio.move_on_after(0.01) as scope:
        await engine.run(tickets("t1"))
    code, description = status(traces.run())

    assert (True, before) == (scope.cancelled_caught, get_current_span())
    assert (StatusCode.ERROR, True) == (code, "Cancelled" in str(description))
    assert attributes(traces.spans("never")[0])["dropped"]


async def test_a_run_whose_log_takes_no_more_leaves_nothing_open(traces: Traces) -> None:
    log = FactLog.open()

    def break_log(notice: Notice) -> None:
        if isinstance(notice, InvocationEnded):
            log.append = refuse  # type: ignore[method-assign]  # a disk that is full from now on

    def refuse(*_: Any, **__: Any) -> None:
        raise StoreError("the disk is full")

    with pytest.raises(StoreError):
        await Engine([plan, review], observers=[traces.observer, break_log]).run(tickets("t1"), log=log)
    code, description = status(traces.run())

    assert (StatusCode.ERROR, True) == (code, "the disk is full" in str(description))
    assert ["exception"] == [event.name for event in traces.run().events if event.name == "exception"]


async def test_the_end_is_told_to_all_even_if_one_of_them_raises(traces: Traces) -> None:
    """What ended the run is what comes out."""

    def raise_at_all(notice: Notice) -> None:
        if not isinstance(notice, Committed) or not isinstance(notice.event, RunStarted):
            raise ZeroDivisionError(type(notice).__name__)

    with pytest.raises(ZeroDivisionError, match=r"^Committed$"):
        await Engine([plan], observers=[raise_at_all, traces.observer]).run(tickets("t1"))

    assert StatusCode.ERROR is traces.run().status.status_code


async def test_an_observer_that_comes_too_late_makes_no_spans(traces: Traces) -> None:
    """It follows the runs whose beginning it was told."""
    for notice in (InvocationStarted("r", "s", 1, None), RunEnded("r", None)):  # type: ignore[arg-type]  # a RunId
        traces.observer(notice)

    assert [] == traces.spans()


# --- without the extra ------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
sys.modules["opentelemetry"] = None
import quiesce.engine
try:
    import quiesce.engine.otel
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.mark.slow
def test_without_opentelemetry_the_module_says_what_to_install() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    assert (
        "quiesce.engine.otel needs OpenTelemetry, which is not installed. Write: pip install quiesce[otel]\n"
    ) == told.stdout
