"""Lets a log live through anything in any order, and compares it with what has to be true of it after each step."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quiesce.engine import Approve, AwaitingApproval, Converged, NotJournaled, NotKept, Reject, Result
from quiesce.facts import Context, FactLog, LogError, RunId, StoreError, replay, verify
from support.machine import STARTED, Disk, Mortal, Secret, engine

CASES = int(os.environ.get("SOAK_CASES") or 2_000)
SECRETS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), min_size=1, max_size=3)
PLACE = st.integers(0, 1 << 16)


@dataclass
class Known:
    """What is known of a run."""

    context: Context
    """As it was returned; as it was replayed, once something of it was redacted."""
    digests: dict[int, str] = field(default_factory=dict)
    """Of every event that was ever seen."""
    crashed: bool = False
    texts: dict[str, set[str]] = field(default_factory=dict)
    """What was said under each ref, by the run and by those that it goes on from: what redacting has to erase."""


class LogMachine(RuleBasedStateMachine):
    """One log, and what is known of it."""

    kind = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.temporary = TemporaryDirectory()
        self.disk = Disk(self.kind, Path(self.temporary.name))
        self.log = self.disk.open()
        self.runs: dict[str, Known] = {}
        self.gone: list[bytes] = []
        self.count = 0
        self.now = STARTED

    def teardown(self) -> None:
        self.log.close()
        self.temporary.cleanup()

    # --- helpers ----------------------------------------------------------------------------------------------------

    def pick(self, place: int, *, crashed: bool = False, waiting: bool = False) -> str | None:
        """Returns one of the runs that are as asked for."""
        found = [
            name
            for name, known in self.runs.items()
            if known.crashed == crashed and (not waiting or known.context.trail.gates)
        ]
        return found[place % len(found)] if found else None

    def say(self, context: Context, secrets: list[tuple[str, int]], texts: dict[str, set[str]]) -> Context:
        """Adds secrets to a context; no two have the same text."""
        for id, n in secrets:
            self.count += 1
            text = f"secret<{self.count}>"
            context.add(Secret(n=n, text=text), id=id)
            texts.setdefault(f"machine-secret:{id}", set()).add(text)
        return context

    def texts_of(self, name: str) -> dict[str, set[str]]:
        return {ref: set(said) for ref, said in self.runs[name].texts.items()}

    def name(self) -> str:
        self.count += 1
        return f"run-{self.count}"

    def fixed(self, name: str) -> dict[str, Any]:
        return {"run_id": name, "seed": 7, "started": STARTED, "log": self.log}

    def later(self) -> dict[str, Any]:
        self.now += timedelta(seconds=1)
        return {"now": self.now}

    def learn(self, name: str, result: Result, texts: dict[str, set[str]]) -> None:
        """Takes in how a run ended."""
        assert isinstance(result.stop, (Converged, AwaitingApproval))
        assert name == result.run_id
        known = self.runs.setdefault(name, Known(result.context))
        known.context, known.crashed, known.texts = result.context, False, texts

    def result_of(self, name: str, context: Context) -> Result:
        return Result(RunId(name), context, self.log, Converged(0), {}, ())

    def crash(self, name: str, after: int, keeps_last: bool, work: Any) -> bool:
        """Lets the process die in the midst of something; tells whether it did."""
        store = self.log.store
        assert isinstance(store, Mortal)
        store.left, store.keeps_last = after, keeps_last
        try:
            anyio.run(work)
        except (NotKept, NotJournaled, StoreError):
            assert store.died
        store.left = None
        if not store.died:
            return False
        before = len(self.log.store.runs())
        self.disk.crash()
        self.log = self.disk.open()
        assert before == len(self.log.store.runs())
        if self.kind != "memory":
            store.under.close()
        return True

    # --- what happens -----------------------------------------------------------------------------------------------

    @initialize(secrets=SECRETS)
    def first(self, secrets: list[tuple[str, int]]) -> None:
        self.begin(secrets)

    @rule(secrets=SECRETS)
    def begin(self, secrets: list[tuple[str, int]]) -> None:
        """A new run."""
        name, texts = self.name(), dict[str, set[str]]()
        context = self.say(Context(), secrets, texts)
        self.learn(name, anyio.run(lambda: engine.run(context, **self.fixed(name))), texts)

    @rule(secrets=SECRETS, place=PLACE, live=st.booleans())
    def run_on(self, secrets: list[tuple[str, int]], place: int, live: bool) -> None:
        """A run of its own that goes on from what another has come to."""
        parent = self.pick(place)
        if parent is None:
            return
        name, texts = self.name(), self.texts_of(parent)
        base = self.runs[parent].context.copy() if live else replay(self.log, parent)
        context = self.say(base, secrets, texts)
        self.learn(name, anyio.run(lambda: engine.run(context, **self.fixed(name))), texts)

    @rule(secrets=SECRETS, place=PLACE)
    def resume(self, secrets: list[tuple[str, int]], place: int) -> None:
        """More inputs for the same run."""
        name = self.pick(place)
        if name is None:
            return
        texts = self.texts_of(name)
        context = self.say(replay(self.log, name), secrets, texts)
        result = self.result_of(name, context)
        self.learn(name, anyio.run(lambda: engine.resume(result, **self.later())), texts)

    @rule(place=PLACE, approved=st.lists(st.booleans(), min_size=1, max_size=3))
    def decide(self, place: int, approved: list[bool]) -> None:
        """Opens gates, or closes them for good."""
        name = self.pick(place, waiting=True)
        if name is None:
            return
        gates = list(self.runs[name].context.trail.gates)
        chosen = [
            Approve(gate, by="ana") if yes else Reject(gate, by="bo", reason="no")
            for gate, yes in zip(gates, approved, strict=False)
        ]
        texts = self.texts_of(name)
        self.learn(name, anyio.run(lambda: engine.resume(name, chosen, log=self.log, **self.later())), texts)

    @rule(secrets=SECRETS, after=st.integers(0, 9), keeps_last=st.booleans())
    def crash_at_the_beginning(self, secrets: list[tuple[str, int]], after: int, keeps_last: bool) -> None:
        """A process dies in the midst of a new run."""
        name, texts = self.name(), dict[str, set[str]]()
        context = self.say(Context(), secrets, texts)
        results: list[Result] = []

        async def work() -> None:
            results.append(await engine.run(context, **self.fixed(name)))

        if not self.crash(name, after, keeps_last, work):
            self.learn(name, results[0], texts)
        elif name in self.log:
            stopped = self.log.stopped(name) is not None
            self.runs[name] = Known(replay(self.log, name), crashed=not stopped, texts=texts)

    @rule(secrets=SECRETS, place=PLACE, after=st.integers(0, 9), keeps_last=st.booleans())
    def crash_later(self, secrets: list[tuple[str, int]], place: int, after: int, keeps_last: bool) -> None:
        """A process dies in the midst of a run that it goes on with."""
        name = self.pick(place)
        if name is None:
            return
        texts = self.texts_of(name)
        length = self.log.length(name)
        context = self.say(replay(self.log, name), secrets, texts)
        result, results = self.result_of(name, context), list[Result]()

        async def work() -> None:
            results.append(await engine.resume(result, **self.later()))

        if not self.crash(name, after, keeps_last, work):
            self.learn(name, results[0], texts)
        elif self.log.length(name) > length:
            known = self.runs[name]
            known.context, known.texts = replay(self.log, name), texts
            known.crashed = self.log.stopped(name) is None

    @rule()
    def reopen(self) -> None:
        """The log is closed and opened again."""
        if self.kind != "memory":  # it ends with its store
            self.log.close()
        self.log = self.disk.open()

    @precondition(lambda self: any(known.crashed for known in self.runs.values()))
    @rule()
    def recover(self) -> None:
        """Somebody finishes what was left; new runs end as those that never crashed."""
        recovery = anyio.run(lambda: engine.recover(self.log)).unwrap()

        assert {name for name, known in self.runs.items() if known.crashed} == set(recovery.results)
        for name, result in recovery.results.items():
            self.learn(name, result, self.runs[name].texts)

    @rule(place=PLACE, secrets=SECRETS, at=st.none() | st.integers(0, 8))
    def fork(self, place: int, secrets: list[tuple[str, int]], at: int | None) -> None:
        """What if: nothing of it is seen in the run that it leaves from."""
        parent = self.pick(place)
        if parent is None:
            return
        last = self.runs[parent].context.trail.cycle
        at = None if at is None else min(at, last)
        name, texts = self.name(), self.texts_of(parent) if at is None else {}
        added = self.say(Context(), secrets, texts)
        add = list(added.inputs)
        try:
            result = anyio.run(lambda: engine.fork(self.log, parent, at=at, add=add, **self.fixed_fork(name)))
        except LogError as error:
            if at is None or "compact" not in str(error):
                raise
            return
        self.learn(name, result, texts)

    def fixed_fork(self, name: str) -> dict[str, Any]:
        return {"run_id": name, "started": STARTED}

    @rule(place=PLACE)
    def redact(self, place: int) -> None:
        """What was said under a ref is erased wherever it stands."""
        name = self.pick(place)
        if name is None or any(known.crashed for known in self.runs.values()):
            return
        refs = sorted({fact.ref for fact in replay(self.log, name).of(Secret).values()})
        refs = [ref for ref in refs if self._is_own(name, ref)]
        if not refs:
            return
        ref = refs[place % len(refs)]
        self.log.redact(name, [ref], reason="erasure request", by="ana", everywhere=True)
        self.gone += [text.encode() for text in self.runs[name].texts.get(ref, ())]
        for other, known in self.runs.items():
            known.context = replay(self.log, other)

    def _is_own(self, name: str, ref: str) -> bool:
        try:
            self.log.redact(name, [ref], reason="a try", by="ana", everywhere=True, dry_run=True)
        except LogError:
            return False
        return True

    @rule(place=PLACE, alone=st.booleans())
    def compact(self, place: int, alone: bool) -> None:
        """A snapshot takes the place of events; `reads` compares what can be read before and after."""
        name = self.pick(place)
        before = {run: self.reads(run) for run in self.runs}
        if alone and name is not None:
            self.log.compact(name)
        else:
            self.log.compact(keep=place % 3)

        assert before == {run: self.reads(run) for run in self.runs}

    def reads(self, name: str) -> Any:
        context = replay(self.log, name)
        why = {fact.ref: str(context.why(fact.ref)) for fact in context}
        trail = context.trail
        return (
            list(context), why, dict(trail.gates), dict(trail.decided), dict(trail.seen), trail.cycle, trail.seq,
            trail.digest, trail.tokens, trail.facts, verify(self.log, name).root,
        )  # fmt: skip

    @rule(count=st.integers(1, 6))
    def retain(self, count: int) -> None:
        """Old runs go, whole; none that is unfinished, waits, or that another goes on from."""
        done = self.log.retain(count=count)
        for one in done.runs:
            known = self.runs.pop(one.run)
            assert not known.crashed
            assert not known.context.trail.gates

    @rule(place=PLACE)
    def move(self, place: int) -> None:
        """A run, with those that it goes on from, is exported and loaded elsewhere: it reads the same there."""
        name = self.pick(place)
        if name is None:
            return
        chain, text = [RunId(name)], ""
        while (parent := self.log.started(chain[-1]).parent) is not None:
            chain.append(parent.run)
        text = "".join(self.log.export(run) for run in reversed(chain))
        with FactLog.open() as other:
            other.load(text)

            assert replay(self.log, name) == replay(other, name)
            assert self.log.to_bytes(name) == other.to_bytes(name)
            assert verify(other, name).ok

    @rule()
    def rebuild(self) -> None:
        """What was learned is learned again, to the same end."""
        before: dict[str, Any] = dict(self.log.values("seen"))
        self.log.rebuild()

        assert before == dict(self.log.values("seen"))

    # --- what is true after each step -------------------------------------------------------------------------------

    @invariant()
    def the_log_is_what_the_runs_came_to(self) -> None:
        assert set(self.runs) == set(self.log.runs())
        for name, known in self.runs.items():
            assert known.context == replay(self.log, name), name
            assert dict(known.context.trail.gates) == dict(replay(self.log, name).trail.gates)
            assert verify(self.log, name).ok

    @invariant()
    def what_was_seen_never_changes(self) -> None:
        for name, known in self.runs.items():
            first = self.log.store.first(RunId(name))
            digests = {seq: record.digest for seq, record in enumerate(self.log.store.read(RunId(name)), first)}
            assert all(digests[seq] == digest for seq, digest in known.digests.items() if seq >= first)
            assert self.log.length(name) == max(known.digests.keys() | digests.keys()) + 1
            known.digests |= digests

    @invariant()
    def unfinished_are_those_that_crashed(self) -> None:
        assert {name for name, known in self.runs.items() if known.crashed} == set(self.log.unfinished())

    @invariant()
    def what_was_redacted_is_nowhere(self) -> None:
        assert not [text for text in self.gone if self.disk.holds(text, self.log)]

    @invariant()
    def nothing_is_wrong_with_the_store_or_what_was_learned(self) -> None:
        assert [] == list(self.log.store.check())
        with suppress(KeyError):
            assert all(check.ok for check in self.log.check_projections())


class SqliteMachine(LogMachine):
    kind = "sqlite"


class JsonLinesMachine(LogMachine):
    kind = "jsonl"


MACHINES = {"memory": LogMachine, "sqlite": SqliteMachine, "jsonl": JsonLinesMachine}


def run_machine(kind: str, examples: int, steps: int) -> None:
    case = MACHINES[kind].TestCase
    case.settings = settings(
        max_examples=examples, stateful_step_count=steps, suppress_health_check=list(HealthCheck), deadline=None
    )
    case().runTest()


@pytest.mark.slow
@pytest.mark.parametrize("kind", MACHINES)
def test_a_log_lives_through_anything(kind: str) -> None:
    """Runs, crashes, recoveries, forks, decisions, redactions, compactions, moves: whatever the order."""
    run_machine(kind, 25 if kind == "memory" else 8, 20)


@pytest.mark.soak
@pytest.mark.parametrize("kind", MACHINES)
def test_a_log_lives_through_anything_at_length(kind: str) -> None:
    run_machine(kind, CASES, 50)
