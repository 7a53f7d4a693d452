"""Takes what a suggestor returned apart: into facts that wait to be promoted, and what is refused at once.

All that can be judged without knowing what others say is judged here, next to the call: the address, the id, the size,
the reasons. What passes is a *draft*: a fact that only has to meet what is known. So promotion has little to do, and a
suggestor in a thread encodes and hashes its answers there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Set
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Self, cast

from ..facts import Fact, FactError, Failure, Opaque, Payload, View
from ..facts.canonical import encode
from ..facts.fact import Ref, check_confidence, check_id, content_id, make_fact, printable
from .errors import Nonsense
from .proposal import Proposal
from .suggestor import Suggestor


@dataclass(frozen=True, slots=True)
class Refusal:
    """A proposal that is not as proposals must be; whatever of it can be written is kept."""

    ref: Ref
    key: str
    version: int
    because: tuple[Ref, ...]
    grounded: bool
    """What it rests on is known."""
    reason: str
    payload: Payload | Opaque | None
    """None where it cannot be written at all; the reason says why."""
    sha256: bytes | None

    @classmethod
    def of(cls, payload: Payload, id: str | None, because: tuple[Ref, ...], grounded: bool, reason: str) -> Self:
        """Returns the refusal of a payload, with as much of it as can be written."""
        family = type(payload).__family__
        kept, digest = None, None
        if family is not None:
            try:
                digest = sha256(encode(payload, family)).digest()
                kept = payload
            except FactError:
                kept = None  # it cannot be written: the reason says why
        id = id if id is not None else content_id(digest) if digest else ""
        ref = Ref(f"{family.name if family else type(payload).__name__}:{printable(id)[:600]}")
        key, version = (family.key, family.version) if family is not None else ("", 0)
        because = tuple(Ref(_clean(ref)) for ref in because)
        return cls(ref, key, version, because, grounded, _clean(reason), kept, digest)


@dataclass(frozen=True, slots=True)
class Lapse:
    """A call that failed, in the place of its proposals."""

    failure: Failure
    because: tuple[Ref, ...]


Answer = Fact[Any] | Refusal | Lapse
"""A draft, a refusal or a lapse."""


@dataclass(slots=True)
class Outcome:
    """What one invocation came to, or several of one suggestor one after the other."""

    answers: list[Answer]
    failed: bool = False
    tokens: int = 0
    costs: list[float] = field(default_factory=list)
    """One for each proposal that reports any; added up in the end, since a sum of floats depends on its order."""
    seconds: float = 0.0
    attempts: int = 1
    of_this_run: bool = False
    """It may depend on the run's time, chance or key."""


@dataclass(slots=True, eq=False)
class Invocation:
    """One call that is due: a suggestor, its view, and in the per-fact form its trigger."""

    suggestor: Suggestor
    cycle: int
    index: int
    """Its place among the invocations of this suggestor in this cycle."""
    view: View
    trigger: Fact[Any] | None
    attempts: int = 0
    """How often it has been called."""
    inputs: str = ""
    """A digest of all that it is shown, for what is recorded of it."""


def collect(invocation: Invocation, result: Any) -> Outcome:
    """Returns what is in the answer of a suggestor.

    Raises:
        Nonsense: it is nothing that a suggestor may return.
    """
    outcome = Outcome([])
    if result is None:
        return outcome
    if isinstance(result, (Payload, Proposal)):
        _take(outcome, invocation, result, (), alone=True)
        return outcome
    if isinstance(result, (str, bytes, Mapping)) or not isinstance(result, Iterable):
        if isinstance(result, Coroutine):
            result.close()  # else Python warns of a coroutine that was never awaited, far from here
        raise Nonsense(invocation.suggestor.name, result)
    if isinstance(result, Set):
        result = sorted(result, key=_content)  # a set has no order of its own: it differs from process to process
    before: tuple[Ref, ...] = ()
    for item in result:
        if item is not None:
            before = _take(outcome, invocation, item, before)
    return outcome


async def collect_async(invocation: Invocation, result: AsyncIterator[Any]) -> Outcome:
    """Returns what an async generator yields."""
    outcome = Outcome([])
    before: tuple[Ref, ...] = ()
    async with aclosing(cast(Any, result)):  # a generator, whatever its annotation says
        async for item in result:
            if item is not None:
                before = _take(outcome, invocation, item, before)
    return outcome


def collect_each(suggestor: Suggestor, cycle: int, trigger: Fact[Any], payload: Payload) -> Answer | None:
    """Returns the draft of a plain payload that answers one trigger; None where the long way is needed."""
    family = suggestor.families.get(payload.__class__)
    if family is None:
        return None
    try:
        digest = sha256(encode(payload, family)).digest()
    except FactError:
        return None
    id = trigger.id if payload.__class__ in suggestor.keeps_id else content_id(digest)
    return make_fact(payload, id, suggestor.name, cycle, 1.0, (trigger.ref,), digest)


def _take(
    outcome: Outcome, invocation: Invocation, item: Any, before: tuple[Ref, ...], alone: bool = False
) -> tuple[Ref, ...]:
    """Adds one thing that a suggestor returned or yielded, and returns what it rests on."""
    suggestor, trigger = invocation.suggestor, invocation.trigger
    problem: str | None = None
    grounded = True
    payload, id, confidence, because = item, None, 1.0, None
    if item.__class__ is Proposal:
        payload, id, because, confidence = item.payload, item.id, item.because, item.confidence
        outcome.tokens += item.tokens
        if item.cost:
            outcome.costs.append(item.cost)
    family = suggestor.families.get(payload.__class__)
    if because is not None:
        grounds, problem = invocation.view.ground(because)
        grounded = problem is None
    else:
        grounds = (trigger.ref,) if trigger is not None else invocation.view.take_handed() or before
    if id is None and alone and trigger is not None and (family is None or payload.__class__ in suggestor.keeps_id):
        id = trigger.id
    if family is None:
        if not isinstance(payload, Payload):
            raise Nonsense(suggestor.name, item)
        problem = _undeclared(suggestor, payload)
    elif problem is None:
        try:
            digest = sha256(encode(payload, family)).digest()
            if id is not None:
                check_id(family.name, id)
            if confidence.__class__ is not float or not 0.0 <= confidence <= 1.0:
                confidence = check_confidence(confidence)
            named = content_id(digest) if id is None else id
            draft = make_fact(payload, named, suggestor.name, invocation.cycle, confidence, grounds, digest)
            outcome.answers.append(draft)
            return grounds
        except FactError as error:
            problem = str(error)
    outcome.answers.append(Refusal.of(payload, id, grounds, grounded, problem))
    return grounds


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _content(item: Any) -> tuple[str, bytes, str, str]:
    """Returns what the members of a set are ordered by."""
    payload = item.payload if isinstance(item, Proposal) else item
    if not isinstance(payload, Payload) or payload.__family__ is None:
        return type(payload).__name__, b"", "", ""
    try:
        raw = encode(payload, payload.__family__)
    except FactError:
        raw = b""  # it will be refused, in whatever place
    if not isinstance(item, Proposal):
        return type(payload).__name__, raw, "", ""
    because = None if item.because is None else [getattr(one, "ref", one) for one in item.because]
    return type(payload).__name__, raw, str(item.id), f"{item.confidence!r} {because} {item.tokens} {item.cost!r}"


def _undeclared(suggestor: Suggestor, payload: Payload) -> str:
    cls = type(payload).__name__
    if type(payload).__family__ is None:
        return f'proposed a {cls}, which has no key. Write: class {cls}(Payload, key="…")'
    declared = [declared.__name__ for declared in suggestor.families]
    return (
        f"proposed a {cls}, but declares writes=[{', '.join(declared)}]. Add it: writes=[{', '.join([*declared, cls])}]"
    )
