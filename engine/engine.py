"""The engine: suggestors, what must hold, what is gated, and the ways to run them over a context."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import anyio

from ..facts import Context, FactLog, RunId, StoreError
from ..facts.event import RunResumed
from ..facts.view import Moment
from .begin import ExecutorFactory, Had, begin, claim, giving_back, go_on, settings_of
from .budget import Budget
from .cancel import CancelSwitch
from .changes import check_cast
from .clock import Clock, RealClock
from .commit import conclude
from .errors import DuplicateName, EngineError, InLoop, InvalidOption, UnknownPack
from .executor import Tasks
from .gate import Approve, Gate, Reject, decide
from .goal import Goal
from .graph import Graph
from .invariant import Invariant
from .journal import BrokenEntry
from .keywords import ForkOptions, RecoverOptions, RerunOptions, ResumeOptions, RunOptions
from .observe import Observer, RunEnded, tell_end
from .options import check_log, each, is_whole, run_id_or_random, seed_or_random, with_zone
from .result import Result
from .run import Plan, Run
from .settle import settle
from .side_by_side import side_by_side
from .stop import Cancelled
from .stream import Stream
from .suggestor import Suggestor, as_suggestor, check_families

if TYPE_CHECKING:
    import networkx

    from .check import Finding
    from .recover import Recovery
    from .rerun import Rerun


T = TypeVar("T")


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
        if lookahead is not None and not is_whole(lookahead, 0):
            raise InvalidOption("lookahead", lookahead, "a whole number from 0, or None for no bound")
        if not is_whole(limit, 1):
            raise InvalidOption("limit", limit, "a whole number from 1")
        self.invariants = each("invariants", invariants, Invariant)
        self.gates = each("gates", gates, Gate)
        self.budget = budget if budget is not None else Budget()
        self.lookahead, self.limit = lookahead, limit
        self.observers = tuple(observers)
        self.clock: Clock = clock if clock is not None else RealClock()
        self._suggestors: dict[str, Suggestor] = {}
        self._graphs: dict[tuple[str, ...] | None, Graph] = {}
        self._executor: ExecutorFactory = lambda clock, teller: Tasks(clock, self.limit, teller)
        if isinstance(suggestors, Suggestor) or not isinstance(suggestors, Iterable):
            raise InvalidOption("suggestors", suggestors, "a list. Write: Engine([…])")
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
        check_families(made, self._suggestors.values())
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
        moment = Moment(
            run_id_or_random(run_id),
            seed_or_random(seed),
            with_zone(started) if started is not None else self.clock.now(),
        )
        kept = check_log(log) if log is not None else FactLog.open()
        base = context if context is not None else Context()
        if not isinstance(base, Context):
            raise EngineError(f"engine.run takes a Context, not a {type(base).__name__}. Write: context.add(payload)")
        run = begin(plan, base, kept, moment, self._executor)
        return await self._settle(run, cancel)

    def run_sync(self, context: Context | None = None, **options: Unpack[RunOptions]) -> Result:
        """Runs from code that is not async; takes the options of `run`."""
        return _run_here(partial(self.run, context, **options), "run")

    def resume_sync(
        self, run: Result | str, decisions: Iterable[Approve | Reject] = (), **options: Unpack[ResumeOptions]
    ) -> Result:
        """Resumes from code that is not async; takes the options of `resume`."""
        return _run_here(partial(self.resume, run, decisions, **options), "resume")

    async def run_many(
        self,
        contexts: Iterable[Context] | AsyncIterable[Context],
        *,
        concurrency: int = 8,
        **options: Unpack[RunOptions],
    ) -> list[Result]:
        """Runs many contexts side by side and returns their results in the order of the contexts.

        At most `concurrency` are under way; a stream of contexts is read no faster than that. Takes the options of
        `run`, except that each run has an id of its own (`run_id` is a prefix here). A run that stops early is a result
        like the others; an exception (misuse, a store that fails) calls the others off.
        """
        prefix = options.get("run_id")
        results: dict[int, Result] = {}

        async def one(numbered: tuple[int, Context]) -> None:
            place, context = numbered
            name = f"{prefix}-{place}" if prefix is not None else None
            own: RunOptions = {**options, "run_id": name}
            results[place] = await self.run(context, **own)

        await side_by_side(_numbered(contexts), one, concurrency)
        return [results[place] for place in sorted(results)]

    def stream(self, context: Context | None = None, **options: Unpack[RunOptions]) -> Stream:
        """Returns the events of a run as they are committed; takes the options of `run`.

        ```python
        stream = engine.stream(context)
        async with stream as events:                      # leaving the block early calls the run off
            async for committed in events:
                print(committed.event)
        stream.result.stop
        ```
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
        goals: Iterable[Goal] | None = None,
        stop_when_met: bool | None = None,
        accept_changes: bool = False,
        now: datetime | None = None,
        observers: Iterable[Observer] = (),
        cancel: CancelSwitch | None = None,
    ) -> Result:
        """Goes on with a run that stopped: decides gates, takes in what was added meanwhile, and settles again.

        `run` is its result, whose context may have been added to, or its id in a `log`. Gates that have expired by
        `now` take their defaults. Budget, packs and goals are those that the run had, unless others are given.

        Raises:
            GateError: a gate is unknown or already decided; nothing was changed.
            ChangedSuggestors: suggestors, gates or invariants are not those that the run was made with. Go on all the
                same with `accept_changes=True`; a suggestor of another version is called again for all that it reads.
            EngineError: the run had goals that are not at hand here; `goals=[]` goes on without.
        """
        if isinstance(decisions, (Approve, Reject)):
            raise InvalidOption("decisions", decisions, "a list of Approve(…) and Reject(…)")
        context, kept, name = self._reopen(run, log)
        had = Had.of(context.trail.settings)
        plan = self._plan(
            budget if budget is not None else had.budget,
            packs if packs is not None else had.packs,
            goals if goals is not None else had.find_goals(run.asked if isinstance(run, Result) else ()),
            stop_when_met if stop_when_met is not None else had.stop_when_met,
            observers,
        )
        if not accept_changes:
            check_cast(name, context.trail, plan, self.suggestors)
        first = kept.started(name)
        moment = Moment(name, first.seed, with_zone(now) if now is not None else self.clock.now())
        chosen = tuple(decide(context.trail, list(decisions), moment.now))
        claim(kept, name, context.trail.seq)
        with giving_back(kept, name):
            resumed = go_on(plan, context, kept, moment, self._executor)
        resumed.opening = (RunResumed(moment.now.isoformat(), plan.graph.prints, settings_of(plan)),)
        return await self._settle(resumed, cancel, chosen)

    async def recover(
        self,
        log: FactLog,
        runs: Iterable[str] | None = None,
        *,
        goals: Iterable[Goal] = (),
        accept_changes: bool = False,
        concurrency: int = 8,
        observers: Iterable[Observer] = (),
    ) -> Recovery:
        """Finishes the runs that a crash left unfinished, or some of them, each from its last commit.

        The log of each ends as that of a run that was never interrupted: same run id, seed, time, budget and packs;
        what impure suggestors had answered is taken from the journal. A run whose process is alive is left alone, and
        so is one whose suggestors, gates or goals are not at hand; `Recovery.skipped` says why.

        Raises:
            StoreError: the log takes no more. What was finished by then is in the log.
        """
        from .recover import recover

        return await recover(
            self, log, runs, goals=goals, accept_changes=accept_changes, concurrency=concurrency, observers=observers
        )

    def recover_sync(
        self, log: FactLog, runs: Iterable[str] | None = None, **options: Unpack[RecoverOptions]
    ) -> Recovery:
        """Recovers from code that is not async; takes the options of `recover`."""
        return _run_here(partial(self.recover, log, runs, **options), "recover")

    async def rerun(self, log: FactLog, run: Result | str, *, goals: Iterable[Goal] = ()) -> Rerun:
        """Runs a recorded run again, with what it was given, and tells where it parts from its record.

        Nothing is written to the log, and nobody impure is called: what such suggestors answered is taken from the
        journal, found by name, version and what they are shown. An answer that is missing there is a parting too. Where
        the record was called off, or ran out of time, only what it has is compared.

        Raises:
            LogError: the log holds no such run, it cannot be read, or was compacted.
        """
        from .rerun import rerun

        return await rerun(self, log, run, goals=goals)

    def rerun_sync(self, log: FactLog, run: Result | str, **options: Unpack[RerunOptions]) -> Rerun:
        """Reruns from code that is not async; takes the options of `rerun`."""
        return _run_here(partial(self.rerun, log, run, **options), "rerun")

    async def fork(
        self,
        log: FactLog,
        run: Result | str,
        *,
        at: int | None = None,
        add: Iterable[Any] = (),
        replace: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        seed: int | None = None,
        started: datetime | None = None,
        budget: Budget | None = None,
        packs: Iterable[str] | None = None,
        goals: Iterable[Goal] = (),
        stop_when_met: bool | None = None,
        observers: Iterable[Observer] = (),
        cancel: CancelSwitch | None = None,
    ) -> Result:
        """Asks "what if": runs on from the end of a run, or of its cycle `at`, as a run of its own in the same log.

        ```python
        await engine.fork(log, result.run_id, at=1, add=[Plan(queue="billing")], replace={"refund": None})
        ```

        The run it leaves from is not changed, whether it has stopped, waits for people or is under way; the fork
        repeats none of its facts. Suggestors are called as in any run. Seed, logical time, budget and packs are those
        of that run at that point, unless others are given; the budget counts from the fork on. Open gates stay open
        and are decided in each of the two by itself; what was decided holds where it was.

        - `log`: where the run is, and the fork will be. `run`: the id of the run to leave from, or its result.
        - `at`: a cycle: 0 is after the inputs, before any suggestor; -1 from nothing, with `add` alone. By default the
          end of the run.
        - `add`: inputs: payloads, (payload, id) or facts. Other content under a known id is contested or joined, as
          ever; to change an input, begin from nothing.
        - `replace`: suggestors by the name of the one whose place they take; None leaves one out. A replacement may
          have another name and version. It counts as having seen what the one before it had seen by then, so it
          answers only what is new; facts of families that only it reads are new to it.
        - The others are as for `run`.

        Raises:
            LogError: the log holds no such run or cycle.
            UnknownSuggestor: `replace` names one that the engine does not have.
        """
        from .fork import fork

        return await fork(
            self, log, run, at=at, add=add, replace=replace, run_id=run_id, seed=seed, started=started, budget=budget,
            packs=packs, goals=goals, stop_when_met=stop_when_met, observers=observers, cancel=cancel,
        )  # fmt: skip

    def fork_sync(self, log: FactLog, run: Result | str, **options: Unpack[ForkOptions]) -> Result:
        """Forks from code that is not async; takes the options of `fork`."""
        return _run_here(partial(self.fork, log, run, **options), "fork")

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
            trail, point = run.context.trail, kept.point(run.run_id, ours)
            if point is None or (trail.home is not kept.store and point.digest != trail.digest):
                raise EngineError(f"run {run.run_id} in this log is not the one of this result. Nothing was changed")
            return run.context.copy(), kept, run.run_id
        if log is None:
            raise EngineError(f"to resume run {run!r} by its id its log is needed. Write: engine.resume(run, log=log)")
        return replay(check_log(log), run), log, RunId(run)

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
        if budget is not None and not isinstance(budget, Budget):
            raise InvalidOption("budget", budget, "a Budget. Write: budget=Budget(facts=…)")
        if isinstance(packs, str):
            raise InvalidOption("packs", packs, f"a set of names. Write: packs={{{packs!r}}}")
        chosen = None if packs is None else tuple(sorted(set(packs)))
        return Plan(
            self._graph(chosen), budget if budget is not None else self.budget, self.lookahead, self.invariants,
            self.gates, chosen, each("goals", goals, Goal), stop_when_met, (*self.observers, *observers), self.clock,
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

    async def _settle(self, run: Run, cancel: CancelSwitch | None, decisions: tuple[Any, ...] = ()) -> Result:
        if cancel is not None:
            cancel._attach(run)
        raised: BaseException | None = None
        try:
            stop = await settle(run, decisions)
        except (StoreError, BrokenEntry) as error:
            raised = error
            raise  # the log takes no more, or answers in it cannot be read here: elsewhere the run may be gone on with
        except BaseException as error:  # whatever ends the run in its midst: the log says so, and stays readable
            raised = error
            run.abandon()
            is_cancelled = isinstance(error, anyio.get_cancelled_exc_class())
            why = "its task was cancelled" if is_cancelled else f"{type(error).__name__}: {error}"
            conclude(run, Cancelled(why), tell_others=False)
            raise
        finally:
            if cancel is not None:
                cancel._detach(run)
            run.log.release(run.id)
            tell_end(run.plan.observers, RunEnded(run.id, raised))
        return Result(run.id, run.context, run.log, stop, dict(run.goals), run.plan.goals)


async def _numbered(contexts: Iterable[Context] | AsyncIterable[Context]) -> AsyncIterator[tuple[int, Context]]:
    place = 0
    if isinstance(contexts, AsyncIterable):
        async for context in contexts:
            yield place, context
            place += 1
    else:
        for place, context in enumerate(contexts):
            yield place, context


def _run_here(work: Callable[[], Awaitable[T]], name: str) -> T:
    with suppress(RuntimeError):  # there is no loop, so this is the place to make one
        anyio.get_current_task()
        raise InLoop(name)
    return anyio.run(work)
