"""Explains why a fact is not there, from the log alone.

Everything that can keep a fact away leaves something in the log: a contest that it lost, a refusal, a decision, an
open gate, a failure, a stop. Where there is nothing of the kind, those who could have said it are asked for: did they
run, on what, and what did they say instead; and where one never ran, why there was nothing for it to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Any

from .bulk import building
from .context import Context
from .diagnostics import Contested, Decided, Failure, Malformed, Rejected, Violated
from .fact import Fact, Ref, RunId, split_ref
from .family import family_of
from .fold import ANY_FAMILY
from .log import FactLog
from .missing import (
    BadInput,
    CycleRefused,
    Declined,
    Failed,
    Finding,
    Known,
    Later,
    Lost,
    NeverRan,
    NotCalled,
    NotYet,
    NoWriter,
    RanOtherwise,
    Redacted,
    Refused,
    Similar,
    SomeKnown,
    Stopped,
    Unfinished,
    Waiting,
)
from .payload import Opaque, Payload
from .replay import replay
from .show import show
from .tombstone import Tombstone
from .traces import Traces
from .trail import Decision, Rejection, SuggestorPrint

FEW = 5
"""How many of a kind are told."""
MANY = 2_000
"""How many refs of a family are compared with one that may be mistyped."""
DEPTH = 12
"""How many families, each missing because of the next, are explained one below the other."""

_BY_ENGINE = frozenset(family_of(cls).name for cls in (Failure, Contested, Rejected, Violated, Decided, Malformed))


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Why a fact is not known, or that it is: findings, those first that explain most."""

    run: RunId
    ref: Ref
    """A ref; or a family, where it was asked why there is nothing of it."""
    at: int | None
    """The cycle at whose end it was looked for; None for the end of the run."""
    known: bool
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """Yields the explanation, a line each."""
        when = f"run {self.run}" if self.at is None else f"run {self.run} at the end of cycle {self.at}"
        if self.known or split_ref(self.ref)[1]:
            yield f"{self.ref} is {'' if self.known else 'not '}known in {when}"
        else:
            yield f"nothing of {self.ref} is known in {when}"
        for finding in self.findings:
            first, *more = finding.lines()
            yield f"- {first}"
            yield from (f"  {line}" for line in more)

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON data."""
        return {
            "run": self.run, "ref": self.ref, "at": self.at, "known": self.known,
            "findings": [finding.to_json() for finding in self.findings],
        }  # fmt: skip


def why_not(log: FactLog, run: RunId | str, ref: Ref | str, at: int | None = None) -> WhyNot:
    """Returns why a fact is not known at the end of a run, or of its cycle `at`; or that it is.

    ```python
    print(why_not(log, result.run_id, "receipt:t9"))
    ```

    No suggestor runs, and no payload class has to be registered. A family instead of a ref asks why there is nothing
    of it.

    Raises:
        LogError: the log holds no such run or cycle, or an event cannot be read.
    """
    context = replay(log, run, at)
    with building():
        traces = Traces.read(log, RunId(str(run)), str(ref), at)
    return _Search(log, RunId(str(run)), at, context, traces).about(Ref(str(ref)))


class _Search:
    """Looks for all that explains why something is not known."""

    def __init__(self, log: FactLog, run: RunId, at: int | None, context: Context, traces: Traces) -> None:
        self.log, self.run, self.at, self.context, self.traces = log, run, at, context, traces
        self.explained: set[str] = set()
        """Families and refs that are explained already, so that a circle of them ends."""

    def about(self, ref: Ref, depth: int = 0) -> WhyNot:
        """Returns the explanation of a ref or a family."""
        self.explained.add(ref)
        family, id = split_ref(ref)
        fact = self.context.find(ref) if id else None
        shelf = self.context._shelves.get(family)
        known = fact is not None if id else shelf is not None and shelf.size > 0
        findings: list[Finding] = [*self._known(family, fact, id)]
        findings += self._proposed(family, ref if id else None)
        if not known:
            findings += self._bad_inputs(family, id)
            findings += self._similar(family, id)
            findings += self._writers(family, id, depth)
        return WhyNot(self.run, ref, self.at, known, tuple(findings))

    # --- the fact itself --------------------------------------------------------------------------------------------

    def _known(self, family: str, fact: Fact[Any] | None, id: str) -> Iterator[Finding]:
        if fact is not None:
            yield Known(fact.ref, fact.by, self.traces.since.get(fact.ref, fact.cycle), fact.cycle)
            if _is_gone(fact.payload):
                yield Redacted(fact.ref, fact.digest, _note(fact.payload))
        elif not id and (shelf := self.context._shelves.get(family)) is not None and shelf.size:
            refs = dict.fromkeys(one.ref for one in shelf.slice(0, shelf.size))
            yield SomeKnown(family, len(refs), tuple(islice(refs, FEW)))
        elif self.traces.later is not None and id:
            yield Later(self.traces.later)

    def _proposed(self, family: str, ref: Ref | None) -> list[Finding]:
        """Returns what became of every proposal of a ref, or of a family that nothing is known of."""
        told: set[str] = set()
        found: list[Finding] = [
            self._rejected(lost, told) for lost in self.traces.rejections if _is_about(lost.ref, family, ref)
        ]
        found += [
            self._declined(decision)
            for decision in self.traces.decisions
            if not decision.approved and decision.gate not in told and _is_about(decision.ref, family, ref)
        ]
        found += [
            Waiting(
                parked.ref, parked.gate, parked.policy, parked.by, parked.cycle, parked.opened, parked.expires,
                parked.default,
            )
            for parked in self.context.trail.gates.values()
            if _is_about(parked.ref, family, ref)
        ]  # fmt: skip
        kinds = (Lost, Refused, Declined, Waiting, CycleRefused)
        return [one for kind in kinds for one in islice((one for one in found if type(one) is kind), FEW)]

    def _rejected(self, lost: Rejection, told: set[str]) -> Finding:
        stands = self.context.find(lost.ref)
        if lost.reason == "contested" and stands is not None:
            since = self.traces.since.get(lost.ref, stands.cycle)
            return Lost(lost.ref, lost.by, lost.cycle, _show(lost.payload), _show(stands.payload), stands.by, since)
        if lost.reason == "declined":
            for decision in self.traces.decisions:
                parked = self.traces.parked.get(decision.gate)
                if not decision.approved and parked is not None and parked.sha256 == lost.sha256:
                    told.add(decision.gate)
                    return self._declined(decision)
        for fact in self.context.of(Violated).values():
            said = fact.payload
            if isinstance(said, Violated) and said.cycle == lost.cycle and lost.reason.startswith("refused: invariant"):
                return CycleRefused(lost.ref, lost.by, lost.cycle, said.invariant, said.reason)
        return Refused(lost.ref, lost.by, lost.cycle, lost.reason)

    def _declined(self, decision: Decision) -> Declined:
        parked = self.traces.parked.get(decision.gate)
        by = parked.by if parked is not None else ""
        return Declined(decision.ref, decision.gate, decision.by, decision.at, decision.reason, by)

    def _bad_inputs(self, family: str, id: str) -> Iterator[Finding]:
        fitting = (
            BadInput(fact.ref, fact.cycle, fact.payload.reason)
            for fact in self.context.of(Malformed).values()
            if isinstance(fact.payload, Malformed) and fact.payload.family == family and id in ("", fact.payload.id)
        )
        return islice(fitting, FEW)

    def _similar(self, family: str, id: str) -> Iterator[Finding]:
        shelves = self.context._shelves
        found: list[Ref] = []
        if id:
            shelf = shelves.get(family)
            if shelf is not None:
                ids = [fact.id for fact in shelf.slice(0, min(shelf.size, MANY))]
                found += [Ref(f"{family}:{close}") for close in _close(id, ids)]
        if family not in (families := self._families()):
            found += [Ref(f"{close}:{id}" if id else close) for close in _close(family, families)]
            found += [Ref(f"{name}:{id}") for name in families if id and self.context.find(f"{name}:{id}") is not None]
        if found:
            yield Similar(tuple(dict.fromkeys(found))[:FEW])

    # --- those who could have said it -------------------------------------------------------------------------------

    def _writers(self, family: str, id: str, depth: int) -> Iterator[Finding]:
        self.explained.add(family)
        writers = [known for known in self.traces.prints.values() if family in known.writes]
        if not writers:
            written = sorted({name for known in self.traces.prints.values() for name in known.writes})
            yield NoWriter(family, tuple(written), family in _BY_ENGINE)
        for known in writers:
            yield from self._failures(known.name)
        late = tuple(known.name for known in writers if self._has_news(known))
        end = list(self._end(late)) if late or not depth else []
        for known in writers:
            if known.name not in self.traces.ran:
                finding = self._never_ran(known, depth)
                if not (end and known.name in late and isinstance(finding, NotCalled)):  # how it ended says it better
                    yield finding
        for known in writers:
            if known.name in self.traces.ran:
                yield self._ran(known, family, id, depth)
        yield from end

    def _end(self, late: tuple[str, ...]) -> Iterator[Finding]:
        """Yields how the run ended, or that it did not, where more might have come of it."""
        stop, cycle = self.traces.stop, self.context.trail.cycle
        if self.traces.went_on:
            yield NotYet(cycle, late)
        elif stop is None:
            yield Unfinished(cycle, self._holder())
        elif stop.stop.get("kind") != "converged":
            yield Stopped(stop.stop, () if stop.stop.get("kind") == "awaiting_approval" else late)

    def _never_ran(self, known: SuggestorPrint, depth: int) -> Finding:
        shelves = self.context._shelves
        reads = [name for name in known.reads if name != ANY_FAMILY]
        missing = tuple(name for name in reads if name not in shelves or not shelves[name].size)
        if not missing:
            return NotCalled(known.name, known.reads)
        because = tuple(
            self.about(Ref(name), depth + 1)
            for name in missing
            if depth < DEPTH and name not in self.explained  # asked one by one: the one before may have led to it
        )
        return NeverRan(known.name, missing, tuple(name for name in reads if name not in missing), because)

    def _ran(self, known: SuggestorPrint, family: str, id: str, depth: int) -> Finding:
        shelf = self.context._shelves.get(family)
        said = [] if shelf is None else [fact.ref for fact in shelf.slice(0, shelf.size) if fact.by == known.name]
        refs = tuple(dict.fromkeys(said))
        unread = self._unread(known, [split_ref(ref)[1] for ref in refs[:FEW]], id) if depth < DEPTH else ()
        because = tuple(self.about(ref, depth + 1) for ref in unread if ref not in self.explained)
        return RanOtherwise(known.name, tuple(self.traces.ran[known.name]), family, refs[:FEW], len(refs), because)

    def _unread(self, known: SuggestorPrint, said: Sequence[str], id: str) -> Iterator[Ref]:
        """Yields what a suggestor would have needed if it names what it says by the id of what it reads."""
        for name in known.reads:
            ref = Ref(f"{name}:{id}")
            if id and ref not in self.context and any(f"{name}:{other}" in self.context for other in said):
                yield ref

    def _failures(self, suggestor: str) -> Iterator[Finding]:
        failures = (
            (fact.ref, fact.payload)
            for fact in self.context.of(Failure).values()
            if isinstance(fact.payload, Failure) and fact.payload.suggestor == suggestor
        )
        for ref, said in islice(failures, FEW):
            yield Failed(suggestor, said.cycle, said.trigger, said.error, said.message, ref)

    def _has_news(self, known: SuggestorPrint) -> bool:
        """Tells whether something that a suggestor reads is known and it has not seen it."""
        shelves = self.context._shelves
        seen = self.context.trail.seen.get(known.name)
        sizes = seen.sizes if seen is not None and seen.version == known.version else {}
        reads: Iterable[str] = shelves if ANY_FAMILY in known.reads else known.reads
        return any(name in shelves and shelves[name].size > sizes.get(name, 0) for name in reads)

    def _families(self) -> list[str]:
        """Returns every family of which something is known or that a suggestor names, sorted."""
        named = {name for known in self.traces.prints.values() for name in (*known.reads, *known.writes)}
        named |= {split_ref(lost.ref)[0] for lost in self.traces.rejections}
        return sorted({name for name, shelf in self.context._shelves.items() if shelf.size} | named - {ANY_FAMILY})

    def _holder(self) -> str | None:
        holder = self.log.holder(self.run)
        return None if holder is None or holder.is_over(self.log.store.now(), self.run) else holder.where


def _is_about(said: Ref, family: str, ref: Ref | None) -> bool:
    return said == ref or (ref is None and split_ref(said)[0] == family)


def _close(word: str, words: Iterable[str]) -> Sequence[str]:
    """Returns the words that are nearly a word, those first that differ in case only."""
    known = list(dict.fromkeys(words))
    same = [other for other in known if other.casefold() == word.casefold() and other != word]
    return list(dict.fromkeys([*same, *get_close_matches(word, known, n=3, cutoff=0.75)]))


def _show(payload: Payload | Opaque | None) -> str:
    if payload is None:
        return "something that cannot be written"
    return "a payload that is gone" if _is_gone(payload) else show(payload)


def _is_gone(payload: Payload | Opaque) -> bool:
    return isinstance(payload, Opaque) and not payload.raw


def _note(payload: Opaque) -> str:
    try:
        return str(Tombstone.read(payload.tombstone)) if payload.tombstone else ""
    except ValueError:
        return ""
