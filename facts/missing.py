"""Names what can be said of a fact that is not there: one small value for each reason, and one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from .fact import Ref
from .fold import ANY_FAMILY

if TYPE_CHECKING:
    from .why_not import WhyNot


class _Finding:
    """What all reasons have in common."""

    __slots__ = ()
    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON data."""
        named = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]  # all below are
        return {"kind": self.kind, **{name: _plain(value) for name, value in named.items()}}

    def lines(self) -> Iterator[str]:
        """Yields its sentence, and under it what explains it further."""
        yield str(self)


@dataclass(frozen=True, slots=True)
class Known(_Finding):
    """It is there."""

    kind: ClassVar[str] = "known"
    ref: Ref
    by: str
    since: int
    """The cycle in which it was first promoted."""
    cycle: int
    """The cycle of its last revision."""

    def __str__(self) -> str:
        revised = f", revised last in cycle {self.cycle}" if self.cycle != self.since else ""
        return f"it is known since cycle {self.since}{revised}, said by {self.by}. What it rests on: why({self.ref!r})"


@dataclass(frozen=True, slots=True)
class SomeKnown(_Finding):
    """A family was asked for, and facts of it are there."""

    kind: ClassVar[str] = "some_known"
    family: str
    count: int
    refs: tuple[Ref, ...]
    """The first of them."""

    def __str__(self) -> str:
        return f"{_count(self.count, 'fact')} of it {_is(self.count)} known: {_list(self.refs, self.count)}"


@dataclass(frozen=True, slots=True)
class Redacted(_Finding):
    """It is there, but its payload was taken away."""

    kind: ClassVar[str] = "redacted"
    ref: Ref
    digest: str
    """Of the payload that it had."""
    note: str
    """Why, by whom and when, where the log says so."""

    def __str__(self) -> str:
        why = f": {self.note}" if self.note else ""
        return f"its payload is gone{why}. Its digest, {self.digest[:12]}…, and all else of it still stand"


@dataclass(frozen=True, slots=True)
class Later(_Finding):
    """It became known after the cycle that was asked for."""

    kind: ClassVar[str] = "later"
    cycle: int

    def __str__(self) -> str:
        return f"it became known later, in cycle {self.cycle}"


@dataclass(frozen=True, slots=True)
class Lost(_Finding):
    """It was proposed with other content than what stands under its id."""

    kind: ClassVar[str] = "lost"
    ref: Ref
    by: str
    cycle: int
    payload: str
    stands: str
    stands_by: str
    stands_since: int

    def __str__(self) -> str:
        return (
            f"{self.by} proposed {self.ref} as {self.payload} in cycle {self.cycle}, and lost: {self.stands} "
            f"by {self.stands_by} stands since cycle {self.stands_since}"
        )


@dataclass(frozen=True, slots=True)
class Refused(_Finding):
    """It was proposed, and the engine refused it."""

    kind: ClassVar[str] = "refused"
    ref: Ref
    by: str
    cycle: int
    reason: str

    def __str__(self) -> str:
        return f"{self.by} proposed {self.ref} in cycle {self.cycle}, and it was refused: {self.reason}"


@dataclass(frozen=True, slots=True)
class CycleRefused(_Finding):
    """It was proposed in a cycle that an invariant refused as a whole."""

    kind: ClassVar[str] = "cycle_refused"
    ref: Ref
    by: str
    cycle: int
    invariant: str
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.by} proposed {self.ref} in cycle {self.cycle}, but invariant {self.invariant!r} refused "
            f"the whole cycle: {self.reason}"
        )


@dataclass(frozen=True, slots=True)
class Declined(_Finding):
    """A person, or an expiry, rejected it."""

    kind: ClassVar[str] = "declined"
    ref: Ref
    """What was decided on: the same content may have been proposed under another id since."""
    gate: str
    by: str
    at: str
    reason: str
    proposed_by: str

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ", without a reason"
        proposed = f"proposed by {self.proposed_by}, " if self.proposed_by else ""
        return f"{self.ref}, {proposed}was rejected by {self.by} at {self.at} (gate {self.gate}){why}"


@dataclass(frozen=True, slots=True)
class Waiting(_Finding):
    """It waits at an open gate."""

    kind: ClassVar[str] = "waiting"
    ref: Ref
    gate: str
    policy: str
    by: str
    cycle: int
    opened: str
    expires: str | None
    default: str | None

    def __str__(self) -> str:
        until = f" It takes its default, {self.default}, when resumed after {self.expires}." if self.expires else ""
        return (
            f"{self.ref}, proposed by {self.by}, waits since cycle {self.cycle} ({self.opened}) at gate {self.gate} "
            f"({self.policy}).{until} Decide it: engine.resume(run, [Approve({self.gate!r}, by=…)], log=log), "
            f"or Reject(…)"
        )


@dataclass(frozen=True, slots=True)
class BadInput(_Finding):
    """It came from outside and could not be a fact."""

    kind: ClassVar[str] = "bad_input"
    ref: Ref
    """The diagnostic that keeps what came."""
    cycle: int
    reason: str

    def __str__(self) -> str:
        return f"it came from outside in cycle {self.cycle} and is no fact: {self.reason}. {self.ref} keeps its bytes"


@dataclass(frozen=True, slots=True)
class Failed(_Finding):
    """A suggestor that could have said it failed."""

    kind: ClassVar[str] = "failed"
    suggestor: str
    cycle: int
    trigger: str | None
    error: str
    message: str
    ref: Ref
    """The diagnostic that tells of it."""

    def __str__(self) -> str:
        about = f" for {self.trigger}" if self.trigger else ""
        return f"{self.suggestor} failed{about} in cycle {self.cycle}: {self.error}: {self.message}"


@dataclass(frozen=True, slots=True)
class Stopped(_Finding):
    """The run ended before all who could have said it were heard."""

    kind: ClassVar[str] = "stopped"
    stop: Mapping[str, Any]
    suggestors: tuple[str, ...]
    """Those who had something new to see, of those who could have said it."""

    def __str__(self) -> str:
        before = f" before {', '.join(self.suggestors)} saw all that was new" if self.suggestors else ""
        return f"the run stopped{before}; {describe_stop(self.stop)}"


@dataclass(frozen=True, slots=True)
class NotYet(_Finding):
    """The run went on after the cycle that was asked for."""

    kind: ClassVar[str] = "not_yet"
    cycle: int
    suggestors: tuple[str, ...]
    """Those who had something new to see, of those who could have said it."""

    def __str__(self) -> str:
        late = f", and {', '.join(self.suggestors)} had not seen all that was new" if self.suggestors else ""
        return f"the run went on after cycle {self.cycle}{late}"


@dataclass(frozen=True, slots=True)
class Unfinished(_Finding):
    """The run has not stopped."""

    kind: ClassVar[str] = "unfinished"
    cycle: int
    """The last that is in the log."""
    holder: str | None
    """Who is at work on it, as far as the log can tell."""

    def __str__(self) -> str:
        who = f"it is under way in {self.holder}" if self.holder else "go on with it: engine.recover(log)"
        return f"the run is not finished: its log ends with cycle {self.cycle}; {who}"


@dataclass(frozen=True, slots=True)
class NeverRan(_Finding):
    """A suggestor that could have said it was never called, and something that it reads is not known."""

    kind: ClassVar[str] = "never_ran"
    suggestor: str
    missing: tuple[str, ...]
    """Families that it reads and of which nothing is known."""
    known: tuple[str, ...]
    """The others that it reads."""
    because: tuple[WhyNot, ...]
    """Why nothing is known of those; a family is explained once."""

    def __str__(self) -> str:
        also = f"; it also reads {', '.join(self.known)}" if self.known else ""
        return f"{self.suggestor} was never called: nothing is known of {', '.join(self.missing)}{also}"

    def lines(self) -> Iterator[str]:
        yield str(self)
        yield from _below(self.because)


@dataclass(frozen=True, slots=True)
class NotCalled(_Finding):
    """A suggestor that could have said it was never called, though something of all that it reads is known."""

    kind: ClassVar[str] = "not_called"
    suggestor: str
    reads: tuple[str, ...]

    def __str__(self) -> str:
        named = "everything" if self.reads == (ANY_FAMILY,) else ", ".join(self.reads)
        reads = f"it reads {named}, and of each something is known" if named else "it reads nothing"
        return f"{self.suggestor} was never called: {reads}. It did not accept that, or it is not what wakes it"


@dataclass(frozen=True, slots=True)
class RanOtherwise(_Finding):
    """A suggestor that could have said it was called, and said something else, or nothing."""

    kind: ClassVar[str] = "ran_otherwise"
    suggestor: str
    cycles: tuple[int, ...]
    family: str
    refs: tuple[Ref, ...]
    """The first of what it said under this family and stands."""
    count: int
    """How many there are."""
    because: tuple[WhyNot, ...] = ()
    """Where it names what it says by the id of what it reads: why there is nothing of that id to read."""

    def lines(self) -> Iterator[str]:
        yield str(self)
        yield from _below(self.because)

    def __str__(self) -> str:
        said = f"said {_list(self.refs, self.count)}" if self.refs else f"said nothing of {self.family} that stands"
        cycles = _list(tuple(map(str, self.cycles[:8])), len(self.cycles))
        when = f"in cycle{'s' if len(self.cycles) > 1 else ''} {cycles}" if cycles else "before this log begins"
        return f"{self.suggestor} was called {when} and {said}"


@dataclass(frozen=True, slots=True)
class NoWriter(_Finding):
    """Nobody who took part says facts of its family."""

    kind: ClassVar[str] = "no_writer"
    family: str
    written: tuple[str, ...]
    """The families that suggestors write."""
    by_engine: bool
    """It is one that the engine itself writes."""

    def __str__(self) -> str:
        if self.by_engine:
            return f"{self.family} is what the engine itself says when there is cause; there was none"
        written = f"they write {', '.join(self.written)}" if self.written else "nobody took part who writes anything"
        return f"no suggestor of the run writes {self.family}, so it has to come from outside ({written})"


@dataclass(frozen=True, slots=True)
class Similar(_Finding):
    """There are refs that are nearly the same."""

    kind: ClassVar[str] = "similar"
    refs: tuple[Ref, ...]

    def __str__(self) -> str:
        return f"did you mean {' or '.join(self.refs)}?"


Finding = (
    Known | SomeKnown | Redacted | Later | Lost | Refused | CycleRefused | Declined | Waiting | BadInput | Failed
    | Stopped | NotYet | Unfinished | NeverRan | NotCalled | RanOtherwise | NoWriter | Similar
)  # fmt: skip


def describe_stop(stop: Mapping[str, Any]) -> str:
    """Returns the stop of a log in words: its kind, and its fields as they are."""
    kind = str(stop.get("kind", "for no reason that is recorded")).replace("_", " ")
    told = [f"{name} {_shown(value)}" for name, value in stop.items() if name != "kind" and value not in (None, [], "")]
    return f"{kind}: {', '.join(told)}" if told else kind


def _below(because: Sequence[WhyNot]) -> Iterator[str]:
    for why in because:
        yield from (f"  {line}" for line in why.lines())


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _list(items: Sequence[str], count: int) -> str:
    more = count - len(items)
    return ", ".join(items) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.to_json() if hasattr(value, "to_json") else value
