"""Defines what a suggestor is, in its three forms, and makes one kind of object of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, Literal, Protocol, cast, overload, runtime_checkable

from ..facts import Payload, View
from ..facts.family import Family, family_of
from ..facts.fold import ANY_FAMILY
from ..facts.names import names_around
from ..facts.trail import SuggestorPrint
from .errors import InvalidOption, RegistrationError
from .options import is_number
from .signature import Signature, Slot, read_signature


class _Any:
    """The type of `ANY`."""

    def __repr__(self) -> str:
        return "ANY"


ANY: Final = _Any()
"""`reads=ANY`: the suggestor may read everything. It then waits for everything, which costs concurrency."""

Reads = tuple[type[Payload], ...] | _Any


@runtime_checkable
class SuggestorLike(Protocol):
    """The third form: any object of this shape is a suggestor.

    Contract: *whether* it proposes something new must depend on its view alone. The engine cannot check that; a
    suggestor that breaks it makes runs that cannot be reproduced.
    """

    name: str

    def suggest(self, view: View) -> Any:
        """Returns or yields payloads or proposals, or None; may be async."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a suggestor is called. Times are in seconds."""

    timeout: float | None = None
    """For each attempt."""
    deadline: float | None = None
    """For all attempts and the pauses between them."""
    retries: int = 0
    """Further attempts after one that raised or timed out."""
    backoff: float = 0.1
    """Pause before the first retry; it doubles with each, up to 30 s."""
    limit: int | None = None
    """Invocations of this suggestor at a time."""
    rate: float | None = None
    """Invocations started per second."""
    thread: bool = False
    """The function blocks: run it in a worker thread."""
    serial: bool = False
    """One invocation at a time, in order."""
    version: str = ""
    """Part of its fingerprint: change it when the same input would give another answer."""
    pure: bool = True
    """False: its answers may differ from run to run (a model, a clock). They are journaled: nothing is called twice."""
    memo: bool | float | timedelta = False
    """Reuse what this version of it proposed for the same inputs in any run of the log; a number of seconds or a
    timedelta is for how long."""

    @property
    def memo_seconds(self) -> float | None:
        """For how long its answers are reused; None: for good."""
        if isinstance(self.memo, bool):
            return None
        return self.memo.total_seconds() if isinstance(self.memo, timedelta) else float(self.memo)

    def __post_init__(self) -> None:
        for name in ("timeout", "deadline", "rate"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and value > 0):
                raise InvalidOption(name, value, "a positive number")
        if not isinstance(self.retries, int) or isinstance(self.retries, bool) or self.retries < 0:
            raise InvalidOption("retries", self.retries, "a whole number from 0")
        if not (is_number(self.backoff) and self.backoff >= 0):
            raise InvalidOption("backoff", self.backoff, "a number from 0")
        if self.limit is not None and (
            not isinstance(self.limit, int) or isinstance(self.limit, bool) or self.limit < 1
        ):
            raise InvalidOption("limit", self.limit, "a whole number from 1")
        if not isinstance(self.version, str):
            object.__setattr__(self, "version", str(self.version))
        seconds = self.memo.total_seconds() if isinstance(self.memo, timedelta) else self.memo
        if not isinstance(seconds, bool) and not (is_number(seconds) and seconds > 0):
            raise InvalidOption("memo", self.memo, "True, False, a positive number of seconds or a positive timedelta")
        for name in ("thread", "serial", "pure"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidOption(name, getattr(self, name), "True or False")


@dataclass(frozen=True, slots=True, eq=False)
class Suggestor:
    """One suggestor, whatever form it was written in; calling it calls the function that it was made of."""

    name: str
    call: Callable[..., Any]
    reads: Reads
    writes: tuple[type[Payload], ...]
    slots: tuple[Slot, ...]
    """How the function's parameters are filled."""
    trigger: type[Payload] | None
    """Form 1: the class of fact it is called for, one by one."""
    accepts: Callable[[View], bool] | None
    options: Options
    origin: str
    """Where it is defined, for messages."""
    pack: str | None = None
    place: int = -1
    """Its place in the order of registration."""
    awaits: bool = False
    """Its function is a coroutine function or an async generator function, or runs in a thread."""
    families: Mapping[type[Payload], Family] = field(default_factory=dict)
    """The families that it may write, by class."""
    keeps_id: frozenset[type[Payload]] = frozenset()
    """Form 1: the classes whose single answer takes the id of its trigger."""
    read_names: Mapping[str, str] | None = None
    """Family to class name of what it may read; None for ANY."""
    wakes: tuple[str, ...] | None = None
    """The families whose new facts wake it; None for ANY."""

    @property
    def recorded(self) -> bool:
        """What it answers is kept by its inputs: in the journal of its run, in the memo of the log, or both."""
        return not self.options.pure or self.options.memo is not False

    @property
    def background(self) -> tuple[str, ...] | None:
        """The families that a call looks at besides its trigger; None for all that it may read."""
        if self.trigger is None or any(kind == "view" for _, kind, _ in self.slots):
            return None
        return tuple(family_of(cls).name for _, kind, cls in self.slots if kind != "fact" and cls is not None)

    @overload
    def __call__(self, function: Callable[..., Any], /) -> Suggestor: ...
    @overload
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.call(*args, **kwargs)

    def fingerprint(self) -> SuggestorPrint:
        """Returns what identifies it in a log."""
        reads = (ANY_FAMILY,) if self.read_names is None else tuple(self.read_names)
        writes = tuple(family.name for family in self.families.values())
        return SuggestorPrint(self.name, self.options.version, reads, writes, self.options.pure)


def suggestor(
    function: Callable[..., Any] | None = None,
    /,
    *,
    reads: Iterable[type[Payload]] | _Any | None = None,
    writes: Iterable[type[Payload]] | None = None,
    wakes: Iterable[type[Payload]] | None = None,
    name: str | None = None,
    accepts: Callable[[View], bool] | None = None,
    timeout: float | None = None,
    deadline: float | None = None,
    retries: int = 0,
    backoff: float = 0.1,
    limit: int | None = None,
    rate: float | None = None,
    thread: bool = False,
    serial: bool = False,
    version: str = "",
    pure: bool = True,
    memo: bool | float | timedelta = False,
) -> Suggestor:
    """Makes a suggestor of a function.

    ```python
    @suggestor                                       # once for each new fact
    async def plan(ticket: Fact[Ticket], rules: All[Rule]) -> Plan: ...

    @suggestor(reads=[Ticket], writes=[Plan])        # once for each cycle in which something it reads is new
    def batch(view: View): ...
    ```

    In the first form the class of `Fact[…]` wakes it, `All[…]` is background; a single payload that it returns takes
    the id of its trigger (unless it is of the trigger's own family and cannot be joined), several are named by their
    content. In the second form `wakes` names those of its reads whose new facts wake it, where not all do. The other
    options are those of `Options`.
    """
    options = Options(timeout, deadline, retries, backoff, limit, rate, thread, serial, version, pure, memo)

    def make(target: Callable[..., Any]) -> Suggestor:
        return _from_function(target, reads, writes, wakes, name, accepts, options)

    # With options it is a decorator first; `Suggestor.__call__` says so to type checkers. Overloads of this function
    # would say it better, but mypy gives the list in reads=[…] no context then and refuses it.
    return cast(Suggestor, make) if function is None else make(function)


def as_suggestor(target: Any, pack: str | None = None, place: int = -1) -> Suggestor:
    """Returns the suggestor that a target is, in whatever form it is written, at its place in an engine."""
    if isinstance(target, Suggestor):
        made = target
    elif isinstance(target, type):
        raise RegistrationError(target.__name__, f"it is a class. Register an object of it: {target.__name__}()")
    elif callable(getattr(target, "suggest", None)):
        made = _from_object(target)
    elif inspect.isroutine(target):
        made = _from_function(target, None, None, None, None, None, Options())
    else:
        raise RegistrationError(
            str(getattr(target, "name", None) or f"{target!r:.60}"),
            f"a {type(target).__name__} is no suggestor. "
            f"Use @suggestor, or an object with name, reads, writes and suggest(view)",
        )
    return replace(made, pack=pack, place=place)


def check_families(made: Suggestor, present: Iterable[Suggestor]) -> None:
    """Raises RegistrationError if two versions of a family are written that disagree on what a conflict is.

    Which of the two rules would hold for an id depended on who spoke first.
    """
    for other in present:
        for one in made.families.values():
            for known in other.families.values():
                if one.name == known.name and (one.on_conflict, one.joins) != (known.on_conflict, known.joins):
                    raise RegistrationError(
                        made.name,
                        f"it writes {one.cls.__name__} (version {one.version} of {one.name!r}), "
                        f"suggestor {other.name!r} writes version {known.version}, and they treat conflicts "
                        f"differently ({_rule(one)}, {_rule(known)}). Give both the same on_conflict and join",
                    )


def _rule(family: Family) -> str:
    return "join" if family.joins else f"on_conflict={family.on_conflict!r}"


def _from_function(
    function: Callable[..., Any],
    reads: Iterable[type[Payload]] | _Any | None,
    writes: Iterable[type[Payload]] | None,
    wakes: Iterable[type[Payload]] | None,
    name: str | None,
    accepts: Callable[[View], bool] | None,
    options: Options,
) -> Suggestor:
    if isinstance(function, Suggestor):
        raise RegistrationError(function.name, "it is a suggestor already. Decorate it once")
    name = name if name is not None else getattr(function, "__name__", type(function).__name__)
    signature = read_signature(function, name, names_around(function), returns=writes is None)
    return _make(name, function, signature, reads, writes, wakes, accepts, options, _origin(function))


def _from_object(target: Any) -> Suggestor:
    kind = type(target).__name__
    name = getattr(target, "name", None)
    if not isinstance(name, str):
        raise RegistrationError(kind, f'it has no name. Write: name = "{kind.lower()}" in the class')
    for part in ("reads", "writes"):
        if getattr(target, part, None) is None:
            raise RegistrationError(name, f"it has no {part}. Write: {part} = (…,) in class {kind}")
    options = getattr(target, "options", None) or Options()
    if not isinstance(options, Options):
        raise RegistrationError(name, f"its options are a {type(options).__name__}. Write: options = Options(…)")
    signature = Signature((("view", "view", None),), None)
    accepts = getattr(target, "accepts", None)
    wakes = getattr(target, "wakes", None)
    return _make(
        name, target.suggest, signature, target.reads, target.writes, wakes, accepts, options, _origin(type(target))
    )  # fmt: skip


def _make(
    name: str,
    call: Callable[..., Any],
    signature: Signature,
    reads: Iterable[type[Payload]] | _Any | None,
    writes: Iterable[type[Payload]] | None,
    wakes: Iterable[type[Payload]] | None,
    accepts: Callable[[View], bool] | None,
    options: Options,
    origin: str,
) -> Suggestor:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or "/" in name or len(name) > 200:
        raise RegistrationError(str(name), "a name is a printable text of 1 to 200 characters without '/'")
    if name in ("input", "engine"):
        raise RegistrationError(name, "the name is the engine's own. Give another: @suggestor(name=…)")
    if inspect.iscoroutinefunction(accepts):
        raise RegistrationError(name, "its accepts is async, but is asked while others wait. Make it a plain function")
    kinds = [kind for _, kind, _ in signature.slots]
    if (
        "fact" not in kinds
        and "view" in kinds
        and (beside := [cls for _, _, cls in signature.slots if cls is not None])
    ):
        shown = beside[0].__name__
        raise RegistrationError(
            name, f"beside a View it takes All[{shown}]. Look it up: view.all({shown}), with reads=[{shown}]"
        )
    if "fact" not in kinds and kinds != ["view"] and not (kinds == [] and reads is not None):
        raise RegistrationError(
            name, "it takes neither a Fact[…] nor a View. Write one: (ticket: Fact[Ticket]) or (view: View)"
        )
    if reads is None:
        if "fact" not in kinds:
            raise RegistrationError(name, "nothing says what it reads. Write: @suggestor(reads=[…], writes=[…])")
        reads = signature.reads
    found_reads: Reads = ANY if isinstance(reads, _Any) else _classes(name, "reads", reads)
    if not isinstance(found_reads, _Any):
        found_reads = tuple(dict.fromkeys([*signature.reads, *found_reads]))
    if writes is None:
        if signature.writes is None:
            raise RegistrationError(
                name,
                "nothing says what it writes. Annotate its return (-> Plan) or write @suggestor(writes=[…]); "
                "writes=[] if it only acts",
            )
        writes = signature.writes
    found_writes = _classes(name, "writes", writes)
    trigger = signature.trigger
    read_names = None if isinstance(found_reads, _Any) else {family_of(cls).name: cls.__name__ for cls in found_reads}
    woken_by = _wakes(name, wakes, trigger, read_names)
    families = {cls: family_of(cls) for cls in found_writes}
    return Suggestor(
        name, call, found_reads, found_writes, signature.slots, trigger, accepts, options, origin,
        awaits=_awaits(name, call, options), families=families, keeps_id=_keeps_id(trigger, families),
        read_names=read_names, wakes=woken_by,
    )  # fmt: skip


def _wakes(
    name: str,
    wakes: Iterable[type[Payload]] | None,
    trigger: type[Payload] | None,
    read_names: Mapping[str, str] | None,
) -> tuple[str, ...] | None:
    """Returns the families whose new facts wake it: those that are named, its trigger, or all that it reads."""
    if wakes is None:
        if trigger is not None:
            return (family_of(trigger).name,)
        return None if read_names is None else tuple(read_names)
    if trigger is not None:
        raise RegistrationError(name, f"it is called for each {trigger.__name__}, which wakes it. Remove wakes=[…]")
    found = _classes(name, "wakes", wakes)
    if not found:
        raise RegistrationError(name, "with wakes=[] it would never run. Name those of its reads that wake it")
    for cls in found:
        if read_names is not None and family_of(cls).name not in read_names:
            raise RegistrationError(
                name, f"wakes holds {cls.__name__}, which it does not read. Add it: reads=[…, {cls.__name__}]"
            )
    return tuple(dict.fromkeys(family_of(cls).name for cls in found))


def _awaits(name: str, call: Callable[..., Any], options: Options) -> bool:
    is_async = inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)
    if options.thread and is_async:
        raise RegistrationError(
            name, "it is async already. Remove thread=True, which is for plain functions that block"
        )  # fmt: skip
    if options.thread or is_async:
        return True
    if options.timeout is not None or options.deadline is not None:
        raise RegistrationError(
            name, "a plain function cannot be stopped by a timeout or deadline. Make it async, or add thread=True"
        )
    return options.retries > 0 or options.rate is not None


def _keeps_id(trigger: type[Payload] | None, families: Mapping[type[Payload], Family]) -> frozenset[type[Payload]]:
    """Not the trigger's own family, unless it joins: the trigger has that id, and every answer would contest it."""
    if trigger is None:
        return frozenset()
    own = family_of(trigger).name
    return frozenset(cls for cls, family in families.items() if family.name != own or family.joins)


def _classes(name: str, what: Literal["reads", "writes", "wakes"], classes: Any) -> tuple[type[Payload], ...]:
    if isinstance(classes, type) or not isinstance(classes, Iterable):
        shown = classes.__name__ if isinstance(classes, type) else repr(classes)
        raise RegistrationError(name, f"{what}={shown} is not a list. Write: {what}=[{shown}]")
    found = tuple(classes)
    for cls in found:
        if not (isinstance(cls, type) and issubclass(cls, Payload)) or cls.__family__ is None:
            shown = cls.__name__ if isinstance(cls, type) else repr(cls)
            raise RegistrationError(
                name, f'{what} holds {shown}, which is no payload class with a key. Write: class …(Payload, key="…")'
            )
    return found


def _origin(target: Any) -> str:
    code = getattr(inspect.unwrap(target) if callable(target) else target, "__code__", None)
    where = f" (line {code.co_firstlineno})" if code is not None else ""
    return f"{target.__module__}.{target.__qualname__}{where}"
