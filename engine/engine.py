"""The engine: suggestors, what must hold, what is gated, and the ways to run them over a context."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import anyio
import sniffio

from ..facts import Context, FactLog, RunId, StoreError
from ..facts.event import ContextCarried, Event, Parent, RunResumed, RunStarted
from ..facts.shelf import Shelved
from ..facts.view import Moment
from .budget import Budget
from .clock import Clock, RealClock
from .commit import append, conclude
from .errors import DuplicateName, EngineError, InLoop, InvalidOption, UnknownPack
from .executor import Executor, Tasks
from .gate import Approve, Gate, Reject, decide
from .goal import Goal
from .graph import Graph
from .invariant import Invariant
from .observe import Committed, Observer, Speaker, Teller
from .promote import Promoter
from .result import Result
from .run import Plan, Run
from .settle import settle
from .stop import Cancelled
from .suggestor import Suggestor, as_suggestor

if TYPE_CHECKING:
    import networkx

    from .check import Finding

ExecutorFactory = Callable[[Clock, Teller | None], Executor]


class Engine:
    """Runs suggestors over contexts until nothing new is proposed.

    ```python
    engine = Engine([plan, batch])
    result = await engine.run(context)             # engine.run_sync(context) outside async code
    ```

    An engine holds no state of any run: one engine may run many contexts, one after the other or side by side.
    `lookahead` bounds how many cycles ahead of the slowest one may work (0: a barrier after each cycle; the log is
    the same); `limit` is how many invocations may be under way at a time.
    """

    def __init__(
        self,
        suggestors: Iterable[Any] = (),
        *,
        invariants: Iterable[Invariant] = (),
        gates: Iterable[Gate] = (),
        budget: Budget | None = None,
        lookahead: int | None = None,
        limit: int = 100,
        observers: Iterable[Observer] = (),
        clock: Clock | None = None,
    ) -> None:
        if lookahead is not None and not _is_whole(lookahead, 0):
            raise InvalidOption("lookahead", lookahead, "a whole number from 0, or None for no bound")
        if not _is_whole(limit, 1):
            raise InvalidOption("limit", limit, "a whole number from 1")
        self.invariants = _each("invariants", invariants, Invariant)
        self.gates = _each("gates", gates, Gate)
        self.budget = budget if budget is not None else Budget()
        self.lookahead, self.limit = lookahead, limit
        self.observers = tuple(observers)
        self.clock: Clock = clock if clock is not None else RealClock()
        self._suggestors: dict[str, Suggestor] = {}
        self._graphs: dict[tuple[str, ...] | None, Graph] = {}
        self._executor: ExecutorFactory = lambda clock, teller: Tasks(clock, self.limit, teller)
        for one in suggestors:
            self.register(one)

    # --- suggestors -------------------------------------------------------------------------------------------------

    def register(self, suggestor: Any, *, pack: str | None = None) -> Suggestor:
        """Adds a suggestor, behind those that are registered already; its place decides the order of promotion.

        Raises:
            RegistrationError: it is none, declares too little, or its name is taken.
        """
        made = as_suggestor(suggestor, pack, len(self._suggestors))
        present = self._suggestors.get(made.name)
        if present is not None:
            raise DuplicateName(made.name, present.origin, made.origin)
        self._suggestors[made.name] = made
        self._graphs.clear()
        return made

    @property
    def suggestors(self) -> tuple[Suggestor, ...]:
        """The suggestors in the order of their registration."""
        return tuple(self._suggestors.values())

    @property
    def packs(self) -> tuple[str, ...]:
        """The names of the packs that suggestors were registered with, sorted."""
        return tuple(sorted({one.pack for one in self.suggestors if one.pack is not None}))

    def graph(self) -> networkx.MultiDiGraph[str]:
        """Returns who writes what and who reads it; its nodes are suggestors and families."""
        from .draw import as_networkx

        return as_networkx(self.suggestors)

    def mermaid(self) -> str:
        """Returns the graph in mermaid's notation."""
        from .draw import to_mermaid

        return to_mermaid(self.graph())

    def dot(self) -> str:
        """Returns the graph in Graphviz's notation."""
        from .draw import to_dot

        return to_dot(self.graph())

    def check(self, inputs: Iterable[type[Any]] = ()) -> list[Finding]:
        """Lints the graph before any run: facts that nobody writes, writes that nobody reads, loops without a join.

        `inputs` names the payload classes that come from outside.
        """
        from .check import check

        return check(self.suggestors, tuple(inputs))

    # --- running ----------------------------------------------------------------------------------------------------

    async def run(
        self,
        context: Context | None = None,
        *,
        log: FactLog | None = None,
        budget: Budget | None = None,
        packs: Iterable[str] | None = None,
        goals: Iterable[Goal] = (),
        stop_when_met: bool = False,
        run_id: str | None = None,
        seed: int | None = None,
        started: datetime | None = None,
        observers: Iterable[Observer] = (),
        cancel: CancelSwitch | None = None,
    ) -> Result:
        """Runs until the context is quiescent or something stops it; the context that is given is not changed.

        Everything is optional. The same context, engine, `run_id`, `seed` and `started` give the same log, byte for
        byte, as long as the suggestors are pure. A context that came out of a run goes on from there: only what was
        added since, and suggestors that it has not met, are woken.

        Args:
            context: What is known at the start.
            log: Where events are kept; a log in memory by default.
            budget: Bounds; the engine's own by default.
            packs: Only suggestors of these packs, and those without a pack, take part.
            goals: Predicates whose outcomes stand in the result.
            stop_when_met: End the run once the required goals are met.
            run_id: The run's name in the log; random by default.
            seed: What `view.rng` depends on; random by default, and recorded.
            started: The run's logical time; now by default, and recorded.
            observers: Called with every notice, besides the engine's own.
            cancel: A switch that calls the run off from outside.
        """
        plan = self._plan(budget, packs, goals, stop_when_met, observers)
        moment = Moment(_run_id(run_id), _seed(seed), _zoned(started) if started is not None else self.clock.now())
        kept = log if log is not None else FactLog.open()
        base = context if context is not None else Context()
        if not isinstance(base, Context):
            raise EngineError(f"engine.run takes a Context, not a {type(base).__name__}. Write: context.add(payload)")
        run = self._begin(plan, base, kept, moment)
        return await self._settle(run, cancel)

    def run_sync(self, context: Context | None = None, **options: Any) -> Result:
        """Runs from code that is not async; takes the options of `run`."""
        try:
            sniffio.current_async_library()
        except sniffio.AsyncLibraryNotFoundError:
            return anyio.run(partial(self.run, context, **options))
        raise InLoop

    async def run_many(
        self, contexts: Iterable[Context] | AsyncIterable[Context], *, concurrency: int = 8, **options: Any
    ) -> list[Result]:
        """Runs many contexts side by side and returns their results in the order of the contexts.

        At most `concurrency` are under way; a stream of contexts is read no faster than that. Takes the options of
        `run`, except that each run has an id of its own (`run_id` is a prefix here). A run that stops early is a result
        like the others; an exception (misuse, a store that fails) calls the others off.
        """
        if not _is_whole(concurrency, 1):
            raise InvalidOption("concurrency", concurrency, "a whole number from 1")
        prefix = options.pop("run_id", None)
        results: dict[int, Result] = {}
        failures: list[Exception] = []
        slots = anyio.Semaphore(concurrency)

        async def one(place: int, context: Context) -> None:
            try:
                name = f"{prefix}-{place}" if prefix is not None else None
                results[place] = await self.run(context, run_id=name, **options)
            except Exception as error:  # noqa: BLE001  raised below as it is, not in a group of one
                fail(error)
            finally:
                slots.release()

        def fail(error: Exception) -> None:
            failures.append(error)
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            place = 0
            try:
                async for context in _as_stream(contexts):
                    await slots.acquire()
                    tasks.start_soon(one, place, context)
                    place += 1
            except Exception as error:  # noqa: BLE001  the stream's own, raised below as it is
                fail(error)
        if failures:
            raise failures[0]
        return [results[place] for place in sorted(results)]

    def stream(self, context: Context | None = None, **options: Any) -> Stream:
        """Returns the events of a run as they are committed; takes the options of `run`.

        ```python
        stream = engine.stream(context)
        async with stream as events:                      # leaving the block early calls the run off
            async for committed in events:
                print(committed.event)
        stream.result.stop
        ```

        `async for committed in engine.stream(context)` does too, where the loop is not left early.
        """
        return Stream(partial(self.run, context), options)

    async def resume(
        self,
        run: Result | str,
        decisions: Iterable[Approve | Reject] = (),
        *,
        log: FactLog | None = None,
        budget: Budget | None = None,
        packs: Iterable[str] | None = None,
        goals: Iterable[Goal] = (),
        stop_when_met: bool = False,
        now: datetime | None = None,
        observers: Iterable[Observer] = (),
        cancel: CancelSwitch | None = None,
    ) -> Result:
        """Goes on with a run that stopped: decides gates, takes in what was added meanwhile, and settles again.

        `run` is its result, whose context may have been added to, or its id in a `log`. Gates that have expired by
        `now` take their defaults.

        Raises:
            GateError: a gate is unknown or already decided; nothing was changed.
        """
        if isinstance(decisions, (Approve, Reject)):
            raise InvalidOption("decisions", decisions, "a list of Approve(…) and Reject(…)")
        context, kept, name = self._reopen(run, log)
        plan = self._plan(budget, packs, goals, stop_when_met, observers)
        first = kept.started(name)
        moment = Moment(name, first.seed, _zoned(now) if now is not None else self.clock.now())
        chosen = tuple(decide(context.trail, list(decisions), moment.now))
        resumed = self._new_run(plan, context, kept, moment)
        prints = plan.graph.prints
        append(resumed, [RunResumed(moment.now.isoformat(), prints, _settings(plan))])
        return await self._settle(resumed, cancel, chosen)

    def _reopen(self, run: Result | str, log: FactLog | None) -> tuple[Context, FactLog, RunId]:
        from ..facts import replay

        if isinstance(run, Result):
            kept, ours = log if log is not None else run.log, run.context.trail.seq
            if (theirs := kept.length(run.run_id)) not in (0, ours):
                raise EngineError(
                    f"run {run.run_id} has gone on since this result: it was at event {ours}, the log is at {theirs}. "
                    f"Nothing was changed; resume its latest result, or resume it by its id: "
                    f"engine.resume({run.run_id!r}, log=log)"
                )
            return run.context.copy(), kept, run.run_id
        if log is None:
            raise EngineError(f"to resume run {run!r} by its id its log is needed. Write: engine.resume(run, log=log)")
        return replay(log, run), log, RunId(run)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _variant(self, executor: ExecutorFactory, lookahead: int | None) -> Engine:
        """Returns an engine with the same suggestors in which each goes through an executor, the sync ones too."""
        variant = Engine(
            invariants=self.invariants, gates=self.gates, budget=self.budget, lookahead=lookahead, limit=self.limit,
            observers=self.observers, clock=self.clock,
        )  # fmt: skip
        variant._suggestors = {name: replace(one, awaits=True) for name, one in self._suggestors.items()}
        variant._executor = executor
        return variant

    def _plan(
        self, budget: Budget | None, packs: Iterable[str] | None, goals: Iterable[Goal], stop_when_met: bool,
        observers: Iterable[Observer],
    ) -> Plan:  # fmt: skip
        if isinstance(packs, str):
            raise InvalidOption("packs", packs, f"a set of names. Write: packs={{{packs!r}}}")
        chosen = None if packs is None else tuple(sorted(set(packs)))
        return Plan(
            self._graph(chosen), budget if budget is not None else self.budget, self.lookahead, self.invariants,
            self.gates, chosen, _each("goals", goals, Goal), stop_when_met, (*self.observers, *observers), self.clock,
        )  # fmt: skip

    def _graph(self, packs: tuple[str, ...] | None) -> Graph:
        found = self._graphs.get(packs)
        if found is None:
            for pack in packs or ():
                if pack not in self.packs:
                    raise UnknownPack(pack, self.packs)
            found = Graph([one for one in self.suggestors if packs is None or one.pack is None or one.pack in packs])
            self._graphs[packs] = found
        return found

    def _begin(self, plan: Plan, base: Context, log: FactLog, moment: Moment) -> Run:
        """Returns a run whose beginning is in the log."""
        if moment.run in log:
            raise EngineError(f"run {moment.run!r} is in this log already. Give another run_id, or resume that run")
        context = base.copy()
        trail = context._trail
        before = trail.run
        parent = _parent(base, log) if before is not None else None
        run = self._new_run(plan, context, log, moment)
        prints = plan.graph.prints
        events: list[Event] = [
            RunStarted(moment.now.isoformat(), moment.seed, prints, _settings(plan), parent)
        ]  # fmt: skip
        carried = _carried(context) if before is not None and parent is None else None
        trail.prints = {} if carried is not None else trail.prints
        append(run, events)
        if carried is not None:
            log.append(run.id, [carried])
            trail.seq += 1
            trail.prints = {known.name: known for known in carried.suggestors} | trail.prints
        return run

    def _new_run(self, plan: Plan, context: Context, log: FactLog, moment: Moment) -> Run:
        versions = {one.name: one.options.version for one in plan.graph.suggestors}
        seen = {
            name: seen for name, seen in context._trail.seen.items() if versions.get(name, seen.version) == seen.version
        }
        promoter = Promoter(context, plan.gates, moment, plan.graph.places)
        speaker = Speaker(moment.run)
        teller = Teller(moment.run, plan.observers) if plan.observers else None
        executor = self._executor(plan.clock, teller)
        began_at = plan.clock.seconds()
        return Run(moment.run, plan, context, log, moment, executor, promoter, speaker, teller, began_at, seen=seen)

    async def _settle(self, run: Run, cancel: CancelSwitch | None, decisions: tuple[Any, ...] = ()) -> Result:
        if cancel is not None:
            cancel._attach(run)
        try:
            stop = await settle(run, decisions)
        except StoreError:
            raise  # the log takes no more
        except BaseException as error:  # whatever ends the run in its midst: the log says so, and stays readable
            run.abandon()
            is_cancelled = isinstance(error, anyio.get_cancelled_exc_class())
            why = "its task was cancelled" if is_cancelled else f"{type(error).__name__}: {error}"
            conclude(run, Cancelled(why), tell_others=False)
            raise
        finally:
            if cancel is not None:
                cancel._detach(run)
        return Result(run.id, run.context, run.log, stop, dict(run.goals))


class CancelSwitch:
    """Calls runs off from outside: `switch.cancel("the operator said so")`.

    A run that is called off returns what it has, with the stop `Cancelled`; what was under way is dropped. Use it from
    the event loop's own thread.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._runs: list[Run] = []

    def cancel(self, reason: str = "no reason given") -> None:
        """Calls off every run that was given this switch, and any that will be."""
        self.reason = reason
        for run in self._runs:
            run.cancelled = reason
            run.executor.wake()

    def _attach(self, run: Run) -> None:
        self._runs.append(run)
        if self.reason is not None:
            run.cancelled = self.reason

    def _detach(self, run: Run) -> None:
        self._runs.remove(run)


class Stream:
    """The events of one run, as they are committed. Made by `Engine.stream`."""

    def __init__(self, start: Callable[..., Awaitable[Result]], options: dict[str, Any]) -> None:
        self._start, self._options = start, options
        self._result: Result | None = None
        self._scope = self._open()

    @property
    def result(self) -> Result:
        """The result, once the run has ended."""
        if self._result is None:
            raise EngineError("the run has not ended; read its events to the end first")
        return self._result

    async def __aenter__(self) -> AsyncIterator[Committed]:
        return await self._scope.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._scope.__aexit__(*error)

    async def __aiter__(self) -> AsyncIterator[Committed]:
        async with self._scope as events:
            async for committed in events:
                yield committed

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[AsyncIterator[Committed]]:
        send, receive = anyio.create_memory_object_stream[Committed](inf)

        def observe(notice: Any) -> None:
            if isinstance(notice, Committed):
                send.send_nowait(notice)

        failures: list[Exception] = []  # of the run or of its reader; raised as they are, not in a group of one

        async def work() -> None:
            with send:
                observers = (*self._options.get("observers", ()), observe)
                try:
                    self._result = await self._start(**{**self._options, "observers": observers})
                except Exception as error:  # noqa: BLE001  see above
                    failures.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            with receive:
                try:
                    yield receive
                except Exception as error:  # noqa: BLE001  see above
                    failures.append(error)
            tasks.cancel_scope.cancel()
        if failures:
            raise failures[0]


def _settings(plan: Plan) -> dict[str, Any]:
    """Returns what the log keeps of a run's settings: all that can change what is committed."""
    return {
        "budget": plan.budget.to_json(),
        "gates": [gate.to_json() for gate in plan.gates],
        "goals": [goal.name for goal in plan.goals],
        "packs": None if plan.packs is None else list(plan.packs),
        "invariants": [{"name": known.name, "on": known.on} for known in plan.invariants],
        "stop_when_met": plan.stop_when_met,
    }


def _parent(base: Context, log: FactLog) -> Parent | None:
    """Returns the point from which a context's run goes on, if it is in this log; None if it has to be carried."""
    trail = base.trail
    if trail.run is None or trail.run not in log:
        return None
    return log.point(trail.run, trail.seq)


def _carried(context: Context) -> ContextCarried:
    trail = context._trail
    shelves = [shelf.copy(shelf.size_at(trail.cycle)) for shelf in context._shelves.values()]
    return ContextCarried(
        trail.cycle, Shelved(shelves), tuple(trail.prints.values()), dict(trail.seen), tuple(trail.gates.values()),
        tuple(trail.decided.values()), tuple(sorted(trail.declined)),
        tuple(lost for losers in trail.losers.values() for lost in losers),
    )  # fmt: skip


def _each(option: str, values: Iterable[Any], kind: type) -> tuple[Any, ...]:
    found = tuple(values)
    for value in found:
        if not isinstance(value, kind):
            raise InvalidOption(option, value, f"a list of {kind.__name__} objects; use the decorator of that name")
    return found


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _run_id(given: str | None) -> RunId:
    if given is None:
        return RunId(secrets.token_hex(6))
    if not isinstance(given, str) or not given.strip() or not given.isprintable() or len(given) > 200:
        raise InvalidOption("run_id", given, "a printable text of 1 to 200 characters")
    return RunId(given)


def _seed(given: int | None) -> int:
    if given is None:
        return secrets.randbits(63)
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 2**63:
        raise InvalidOption("seed", given, "a whole number from 0 to 2**63 - 1")
    return given


def _zoned(time: datetime) -> datetime:
    if not isinstance(time, datetime):
        raise InvalidOption("started", time, "a datetime")
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


async def _as_stream(contexts: Iterable[Context] | AsyncIterable[Context]) -> AsyncIterator[Context]:
    if isinstance(contexts, AsyncIterable):
        async for context in contexts:
            yield context
    else:
        for context in contexts:
            yield context
