"""The loop: brings a run from its input to its stop, cycle by cycle.

The reference is a sequence of cycles with a barrier: wake who reads what is new, call them all, promote what they
propose in registration order, commit, and again. Here nobody waits for the barrier: `Ahead` starts whoever
can no longer be affected by those who are still running. What is committed, and in which order, stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import Any

import anyio
import anyio.lowlevel

from ..facts import Fact
from ..facts.event import GateDecided
from ..facts.fact import Ref, split_ref
from ..facts.shelf import All
from ..facts.trail import Decision
from .ahead import Ahead
from .answer import Answer, Invocation, Outcome
from .commit import ask_goals, check_convergence, commit, conclude, exhausted, fold_opening
from .cycle import FIRST, Cycle
from .executor import Ended
from .gate import as_payload, decided_ref, first_expiry
from .invoke import call_facts_inline, call_inline, failed
from .run import Run
from .stop import AwaitingApproval, Cancelled, Converged, Stop
from .suggestor import Suggestor
from .wake import wake, wake_first

BREATH = 0.005
"""Seconds of sync work after which the event loop gets a turn."""


async def settle(run: Run, decisions: tuple[Decision, ...] = ()) -> Stop:
    """Advances a run until it is quiet or something stops it, and writes why."""
    fold_opening(run)
    stop = _open(run, decisions)
    if stop is None and run.plan.graph.all_sync:
        stop = await _Loop(run).turn()
    elif stop is None:
        async with run.executor:
            stop = await _Loop(run).turn()
    run.abandon()
    run.context._restage()
    return conclude(run, stop)


def _open(run: Run, decisions: tuple[Decision, ...]) -> Stop | None:
    """Commits what came from outside since the last cycle: inputs, and what people have decided."""
    context, trail = run.context, run.context._trail
    run.head = trail.cycle + 1
    if not (context._inputs or context._lost or decisions) and trail.cycle >= 0:
        return None
    cycle = Cycle(run.head)
    cycle.facts, cycle.fresh = context._inputs, set(context._fresh)
    if decisions or run.plan.invariants:  # there may be more to come; else a million inputs need no copying
        cycle.facts = list(cycle.facts)
    cycle.places = [FIRST] * len(cycle.facts)
    cycle.rejections.extend((FIRST, lost) for lost in context._lost)
    decided = {decision.gate for decision in decisions if decision.approved}
    for at, decision in enumerate(decisions):
        parked = trail.gates[decision.gate]
        run.promoter.parked.pop(decision.gate, None)
        ref = decided_ref(decision)
        if context.find(ref) is not None:  # the same question was decided in an earlier run
            ref = Ref(f"{ref}@{run.id}")
        run.promoter.say(cycle, at, as_payload(decision), _known(run, parked.because), id=split_ref(ref)[1])
        if decision.approved:
            run.promoter.promote_approved(cycle, at, parked, (ref,), decided)
    run.promoter.promote_notes(cycle)
    stop = commit(run, cycle, [GateDecided(decision) for decision in decisions])
    if trail.cycle == cycle.number:  # else nothing was committed, and the inputs still wait
        context._settle_inputs()
    return stop


def _known(run: Run, refs: tuple[Ref, ...]) -> tuple[Ref, ...]:
    return tuple(ref for ref in refs if run.context.find(ref) is not None)


class _Loop:
    """The loop of one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.ahead = Ahead(run) if run.plan.lookahead != 0 and not run.plan.graph.all_sync else None
        self.groups: dict[tuple[int, int], list[Outcome | None]] = {}
        self.left: dict[tuple[int, int], int] = {}
        self.breath = perf_counter()
        self.refused: dict[tuple[int, int], Outcome] = {}
        """Failures of those whose `accepts` raised."""

    async def turn(self) -> Stop:
        """Runs until something stops it."""
        run = self.run
        if (stop := ask_goals(run, run.head - 1)) is not None:
            return stop
        first = wake_first(run, run.head) if run.fresh is None else wake(run, sorted(run.fresh), run.head)
        self._note(first, run.head)
        while True:
            if run.cancelled is not None:
                return Cancelled(run.cancelled)
            if run.until is not None and run.head > run.until:
                return Cancelled("the record ends here")
            head = run.cycles.get(run.head)
            if head is None:
                return self._stop_quiet()
            if head.pending:
                if (stop := self._find_spent()) is not None:
                    return stop
                woken = [head.pending[place] for place in sorted(head.pending)]
                head.pending.clear()
                if run.plan.graph.all_sync:
                    for suggestor in woken:
                        self._call_here(suggestor, run.head)
                else:
                    await self._start([(suggestor, run.head) for suggestor in woken])
            elif not head.open:
                if (stop := self._close(head)) is not None:
                    return stop
            elif self.ahead is not None and (startable := self.ahead.find_startable()):
                await self._start(startable)
            elif not await self._wait():
                return self._stop_late()
            if perf_counter() - self.breath > BREATH:
                await anyio.lowlevel.checkpoint()
                self.breath = perf_counter()

    # --- calling ----------------------------------------------------------------------------------------------------

    async def _start(self, started: list[tuple[Suggestor, int]]) -> None:
        """Starts those that await, then calls the others one after the other."""
        here: list[tuple[Suggestor, int]] = []
        submitted = False
        for suggestor, cycle in started:
            if suggestor.awaits:
                submitted = self._submit(suggestor, cycle) or submitted
            else:
                here.append((suggestor, cycle))
        if here and submitted:
            await self.run.executor.kick()
        for suggestor, cycle in here:
            self._call_here(suggestor, cycle)

    def _submit(self, suggestor: Suggestor, cycle: int) -> bool:
        invocations = self._invocations(suggestor, cycle)
        if not invocations:
            self._end(suggestor, cycle, self._failure_of(suggestor, cycle))
            return False
        outcomes = self._known(suggestor, cycle, invocations)
        left = outcomes.count(None)
        if not left:
            self._end(suggestor, cycle, [outcome for outcome in outcomes if outcome is not None])
            return False
        group = (suggestor.place, cycle)
        self.groups[group], self.left[group] = outcomes, left
        for invocation, outcome in zip(invocations, outcomes, strict=True):
            if outcome is None:
                self.run.executor.submit(invocation)
        return True

    def _known(self, suggestor: Suggestor, cycle: int, invocations: list[Invocation]) -> list[Outcome | None]:
        """Returns what was recorded of invocations before; None for those that have to be called."""
        recorder = self.run.recorder
        if recorder is None or not suggestor.recorded:
            return [None] * len(invocations)
        outcomes = [recorder.find(invocation) for invocation in invocations]
        recorder.keep_reused()
        if (reused := len(outcomes) - outcomes.count(None)) > 0:
            self.run.cycles[cycle].reused[suggestor.name] = reused
        return outcomes

    def _record(self, ended: list[Ended]) -> None:
        """Records what was answered, before anything is made of it."""
        recorder = self.run.recorder
        if recorder is None:
            return
        kept = [one for one in ended if one[0].suggestor.recorded]
        if kept:
            recorder.keep(kept)
            for invocation, outcome in kept:
                self.run.cycles[invocation.cycle].notes_beside.update(recorder.memo(invocation, outcome))

    def _call_here(self, suggestor: Suggestor, cycle: int) -> None:
        start = perf_counter()
        teller = self.run.teller
        plain = suggestor.trigger is not None and len(suggestor.slots) == 1 and suggestor.accepts is None
        if plain and teller is None and not suggestor.recorded:
            triggers = self._triggers(suggestor, cycle)
            if triggers:
                seen = self.run.seen.get(suggestor.name)
                self._see(suggestor, cycle)
                outcomes = [
                    call_facts_inline(suggestor, cycle, triggers, partial(self.run.view_since, seen, suggestor, cycle))
                ]
            else:
                outcomes = []
        else:
            outcomes = []
            invocations = self._invocations(suggestor, cycle)
            for invocation, known in zip(invocations, self._known(suggestor, cycle, invocations), strict=True):
                if known is not None:
                    outcomes.append(known)
                    continue
                if teller is not None:
                    teller.began(invocation)
                outcome = call_inline(invocation)
                outcomes.append(outcome)
                self._record([(invocation, outcome)])
                if teller is not None:
                    teller.ended(invocation, outcome)
            outcomes += self._failure_of(suggestor, cycle)
        if outcomes:
            self.run.cycles[cycle].took[suggestor.name] = (perf_counter() - start, len(outcomes))
        self._end(suggestor, cycle, outcomes)

    def _invocations(self, suggestor: Suggestor, cycle: int) -> list[Invocation]:
        """Returns the calls that are due of a suggestor in a cycle; none if it does not accept."""
        run = self.run
        if suggestor.accepts is not None and not self._accepts(suggestor, cycle):
            return []
        if suggestor.trigger is None:
            invocations = [Invocation(suggestor, cycle, 0, run.view(suggestor, cycle), None)]
        else:
            invocations = [
                Invocation(suggestor, cycle, index, run.view(suggestor, cycle, trigger), trigger)
                for index, trigger in enumerate(self._triggers(suggestor, cycle))
            ]
        if invocations:
            self._see(suggestor, cycle)
        return invocations

    def _failure_of(self, suggestor: Suggestor, cycle: int) -> list[Outcome]:
        failure = self.refused.pop((suggestor.place, cycle), None)
        return [] if failure is None else [failure]

    def _accepts(self, suggestor: Suggestor, cycle: int) -> bool:
        """Asks a suggestor whether it wants its view; if that raises, it has failed as if it had been called."""
        if suggestor.accepts is None:
            return True
        view = self.run.view(suggestor, cycle)
        try:
            return bool(suggestor.accepts(view))
        except Exception as error:  # noqa: BLE001  a user's function: its failure is a fact, not the end of the run
            self.refused[suggestor.place, cycle] = failed(Invocation(suggestor, cycle, 0, view, None), error)
            self._see(suggestor, cycle)
            return False

    def _triggers(self, suggestor: Suggestor, cycle: int) -> Sequence[Fact[Any]]:
        """Returns the facts for which a per-fact suggestor is due."""
        family = (suggestor.wakes or ("",))[0]
        shelf = self.run.context._shelves.get(family)
        if shelf is None:
            return ()
        seen = self.run.seen.get(suggestor.name)
        start = seen.sizes.get(family, 0) if seen is not None else 0
        end = shelf.size_at(cycle - 1)
        if not shelf.revised:
            return shelf.slice(start, end)
        return All(shelf, start, end).facts()

    def _see(self, suggestor: Suggestor, cycle: int) -> None:
        seen = self.run.watermark(suggestor, cycle)
        self.run.seen[suggestor.name] = seen
        self.run.cycles[cycle].seen[suggestor.name] = seen

    # --- taking in --------------------------------------------------------------------------------------------------

    async def _wait(self) -> bool:
        """Takes in what ends next; false if the time of the run is up."""
        run = self.run
        seconds = run.plan.budget.seconds
        if seconds is None:
            ended = await run.executor.wait()
        else:
            left = seconds - (run.plan.clock.seconds() - run.began)
            ended = []
            with run.plan.clock.timeout(max(0.0, left)) as timer:
                ended = await run.executor.wait()
            if timer.cancelled_caught:
                return False
        self._record(ended)
        for one in ended:
            self._take(one)
        return True

    def _take(self, ended: Ended) -> None:
        invocation, outcome = ended
        suggestor, cycle = invocation.suggestor, invocation.cycle
        group = (suggestor.place, cycle)
        self.groups[group][invocation.index] = outcome
        took = self.run.cycles[cycle].took
        seconds, attempts = took.get(suggestor.name, (0.0, 0))
        took[suggestor.name] = (seconds + outcome.seconds, attempts + outcome.attempts)
        self.left[group] -= 1
        if not self.left[group]:
            del self.left[group]
            self._end(suggestor, cycle, [outcome for outcome in self.groups.pop(group) if outcome is not None])

    def _end(self, suggestor: Suggestor, number: int, outcomes: list[Outcome]) -> None:
        cycle = self.run.cycles[number]
        cycle.open -= 1
        answers: Sequence[Answer]
        if len(outcomes) == 1:
            answers = outcomes[0].answers
        else:
            answers = [answer for outcome in outcomes for answer in outcome.answers]
        cycle.ended[suggestor.place] = answers
        for outcome in outcomes:
            cycle.tokens += outcome.tokens
            cycle.costs += outcome.costs
        if self.ahead is not None:
            families = suggestor.families
            classes = {answer.payload.__class__ for answer in answers if isinstance(answer, Fact)}
            self.ahead.ended(suggestor, number, {families[cls].name for cls in classes})

    def _note(self, woken: list[Suggestor], cycle: int) -> None:
        if self.ahead is not None:
            for suggestor in woken:
                self.ahead.woken(suggestor, cycle)

    # --- committing -------------------------------------------------------------------------------------------------

    def _close(self, cycle: Cycle) -> Stop | None:
        """Promotes what is left of a complete cycle, commits it, and wakes who reads what is new."""
        run = self.run
        run.promoter.promote_rest(cycle)
        stop = commit(run, cycle)
        if stop is not None:
            return stop
        del run.cycles[cycle.number]
        self._note(wake(run, [family for family in _in_order(cycle) if family not in cycle.early], run.head), run.head)
        if self.ahead is not None:
            run.ahead = sum(len(other.facts) for other in run.cycles.values())
            self.ahead.committed(cycle.number)
        return None

    def _find_spent(self) -> Stop | None:
        """Returns the stop for a run that has used its cycles and still has somebody to call."""
        budget, trail = self.run.plan.budget, self.run.context._trail
        if budget.cycles is not None and trail.cycles >= budget.cycles:
            return exhausted(self.run, "cycles", budget.cycles, trail.cycles)
        return None

    def _stop_late(self) -> Stop:
        run = self.run
        limit = run.plan.budget.seconds or 0.0
        return exhausted(run, "seconds", limit, run.plan.clock.seconds() - run.began)

    def _stop_quiet(self) -> Stop:
        """Returns why a run in which nobody is woken ends."""
        run = self.run
        gates = run.context._trail.gates
        if gates:
            return AwaitingApproval(tuple(gates), first_expiry(gates))
        return check_convergence(run) or Converged(run.context._trail.cycles)


def _in_order(cycle: Cycle) -> list[str]:
    return sorted(cycle.fresh)
