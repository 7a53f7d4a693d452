"""Finds out from a function's annotations what it reads, what it writes and how it is called."""

from __future__ import annotations

import inspect
import types
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ..facts import All, Fact, Payload, View
from .errors import RegistrationError
from .proposal import Proposal

Slot = tuple[str, Literal["fact", "all", "view"], type[Payload] | None]
"""A parameter: its name, what it is given, and of which class."""

_SEVERAL = (
    list, tuple, set, frozenset, Iterable, Iterator, Generator, AbstractSequence, AsyncIterable, AsyncIterator,
    AsyncGenerator,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signature:
    """What the annotations of a suggestor say."""

    slots: tuple[Slot, ...]
    writes: tuple[type[Payload], ...] | None
    """None if the return annotation is missing."""

    @property
    def trigger(self) -> type[Payload] | None:
        """The class of the `Fact[…]` parameter: the function is called once for each new fact of it."""
        return next((cls for _, kind, cls in self.slots if kind == "fact"), None)

    @property
    def reads(self) -> tuple[type[Payload], ...]:
        """Every class that a parameter asks for, in order."""
        return tuple(dict.fromkeys(cls for _, _, cls in self.slots if cls is not None))


def read_signature(
    function: Callable[..., Any], name: str, names: Mapping[str, Any] | None = None, *, returns: bool = True
) -> Signature:
    """Returns what a function's annotations say; `names` are the local names of the place that defines it.

    The return annotation is not looked at where `returns` is false: what the suggestor writes is said elsewhere.

    Raises:
        RegistrationError: a parameter is of no kind that the engine can fill, or an annotation is no payload.
    """
    try:
        hints = get_type_hints(function, localns=dict(names or {}), include_extras=False)
    except NameError as error:
        raise RegistrationError(
            name, f"its annotation {error.name!r} cannot be resolved. Import it where the suggestor is defined"
        ) from error
    except (TypeError, AttributeError, SyntaxError) as error:
        raise RegistrationError(name, f"its annotations cannot be read: {error}") from error
    slots = [
        _slot(name, parameter, hints.get(parameter.name, inspect.Parameter.empty))
        for parameter in inspect.signature(function).parameters.values()
    ]
    triggers = [slot for slot in slots if slot[1] == "fact"]
    if len(triggers) > 1:
        raise RegistrationError(
            name,
            f"it has {len(triggers)} Fact[…] parameters, but is called for one fact at a time. "
            f"Keep one and take the others as All[…], or look them up in a View",
        )
    writes = _writes(name, hints["return"]) if returns and "return" in hints else None
    return Signature(tuple(slots), writes)


def _slot(name: str, parameter: inspect.Parameter, hint: Any) -> Slot:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise RegistrationError(name, f"its parameter *{parameter.name} cannot be filled. Name each parameter")
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        raise RegistrationError(name, f"its parameter {parameter.name!r} is taken by name only. Remove the * before it")
    if hint is View or (hint is inspect.Parameter.empty and parameter.name == "view"):
        return parameter.name, "view", None
    origin = get_origin(hint)
    if origin in (Fact, All):
        cls, *more = get_args(hint)
        if more:
            raise RegistrationError(name, f"its annotations cannot be read: {_name(hint)} holds more than one class")
        return parameter.name, "fact" if origin is Fact else "all", _payload(name, parameter.name, cls)
    if isinstance(hint, type) and issubclass(hint, Payload):
        raise RegistrationError(
            name,
            f"its parameter {parameter.name!r} is a {hint.__name__}. Write {parameter.name}: Fact[{hint.__name__}]",
        )
    shown = "nothing" if hint is inspect.Parameter.empty else _name(hint)
    raise RegistrationError(
        name,
        f"its parameter {parameter.name!r} is annotated with {shown}. "
        f"Annotate it Fact[…] (called for each new one), All[…] (every one) or View, with a payload class inside",
    )


def _writes(name: str, hint: Any) -> tuple[type[Payload], ...]:
    """Returns every payload class in a return annotation."""
    if hint is None or hint is type(None):
        return ()
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        found = [cls for part in get_args(hint) for cls in _writes(name, part)]
        return tuple(dict.fromkeys(found))
    if origin is Annotated:
        return _writes(name, get_args(hint)[0])
    if origin is Proposal:
        return _writes(name, get_args(hint)[0])
    if origin in _SEVERAL:
        parts = get_args(hint)
        wanted = parts[:1] if origin in (Generator, AsyncGenerator) else [part for part in parts if part is not ...]
        return tuple(dict.fromkeys(cls for part in wanted for cls in _writes(name, part)))
    return (_payload(name, "return", hint),)


def _payload(name: str, where: str, cls: Any) -> type[Payload]:
    if not (isinstance(cls, type) and issubclass(cls, Payload)):
        raise RegistrationError(name, f"{_name(cls)} ({where!r}) is no payload class. Derive it from Payload")
    if cls.__family__ is None:
        raise RegistrationError(
            name, f'{_name(cls)} ({where!r}) has no key. Write: class {cls.__name__}(Payload, key="seeds")'
        )
    return cls


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
