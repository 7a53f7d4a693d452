"""Makes what a payload holds unchangeable, so that a fact cannot be altered through its lists."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Never, NoReturn, TypeVar

from pydantic import BaseModel

from .errors import ImmutableFact

MAX_DEPTH = 64
"""How many containers may stand in one another; deeper ones are refused before Python's own limit is met."""

_Model = TypeVar("_Model", bound=BaseModel)
_SCALARS = frozenset({str, int, float, bool, type(None), bytes, complex})
_SOUND = _SCALARS - {float}


def _refuse(self: object, *_args: Never, **_kwargs: Never) -> NoReturn:
    raise ImmutableFact(f"a {type(self).__mro__[1].__name__} inside a fact cannot be changed")


class FrozenList(list[Any]):
    """A list inside a fact: reads like a list, refuses to change."""

    __slots__ = ()
    append = extend = insert = remove = pop = clear = sort = reverse = _refuse  # type: ignore[assignment]  # that is the point
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse  # type: ignore[assignment]  # that is the point

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenList, (list(self),)


class FrozenDict(dict[Any, Any]):
    """A dict inside a fact: reads like a dict, refuses to change."""

    __slots__ = ()
    update = setdefault = pop = popitem = clear = _refuse  # type: ignore[assignment]  # that is the point
    __setitem__ = __delitem__ = __ior__ = _refuse  # type: ignore[assignment]  # that is the point

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)


class FrozenSet(set[Any]):
    """A set inside a fact: reads like a set, refuses to change."""

    __slots__ = ()
    add = remove = discard = pop = clear = update = _refuse  # type: ignore[assignment]  # that is the point
    difference_update = intersection_update = symmetric_difference_update = _refuse  # type: ignore[assignment]  # that is the point
    __ior__ = __iand__ = __ixor__ = __isub__ = _refuse  # type: ignore[assignment]  # that is the point

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenSet, (set(self),)


def freeze(value: Any, depth: int = 0) -> Any:
    """Returns the value with every list, dict and set in it replaced by one that refuses to change.

    Frozen pydantic models and frozen dataclasses are changed in place, before they become facts. What is not finite
    or nested too deeply is a ValueError.
    """
    kind = type(value)
    if kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{value!r} is not a finite number")
        return value
    if kind in _SCALARS:
        return value
    if depth >= MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if kind is FrozenList or kind is FrozenDict:  # taken over from another fact: only its depth is of interest
        for item in value if kind is FrozenList else value.values():
            if type(item) not in _SCALARS:
                freeze(item, depth + 1)
        return value
    if isinstance(value, BaseModel):
        if not is_frozen(kind):
            raise ValueError(
                f"holds a {kind.__name__}, whose fields can be changed. "
                f"Write: class {kind.__name__}(BaseModel, frozen=True)"
            )
        return freeze_model(value, depth)
    if isinstance(value, dict):
        return FrozenDict({
            key if type(key) is str else freeze(key, depth + 1): freeze(item, depth + 1) for key, item in value.items()
        })  # fmt: skip
    if isinstance(value, list):
        return FrozenList([freeze(item, depth + 1) for item in value])
    if kind is tuple:
        return tuple([freeze(item, depth + 1) for item in value])
    if isinstance(value, (set, frozenset)):
        for item in value:  # what can stand in a set cannot be changed, but can be deep or NaN
            if type(item) not in _SOUND:
                freeze(item, depth + 1)
        return value if isinstance(value, (FrozenSet, frozenset)) else FrozenSet(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if not is_frozen(type(value)):
            raise ValueError(f"holds a {kind.__name__}, whose fields can be changed. Write: @dataclass(frozen=True)")
        for field in dataclasses.fields(value):
            object.__setattr__(value, field.name, freeze(getattr(value, field.name), depth + 1))
        return value
    if kind.__hash__ is None or isinstance(value, Iterator):
        raise ValueError(f"holds a {kind.__name__}, which can be changed. Give a list, tuple, dict or set")
    return value


def is_frozen(cls: type) -> bool:
    """Tells whether the fields of a pydantic model or a dataclass cannot be set."""
    if issubclass(cls, BaseModel):
        return bool(cls.model_config.get("frozen"))
    return bool(cls.__dataclass_params__.frozen)  # type: ignore[attr-defined]  # every dataclass has them


def freeze_model(model: _Model, depth: int = 0) -> _Model:
    """Freezes the fields of a pydantic model in place and returns the model."""
    fields = model.__dict__
    for name, value in fields.items():
        frozen = freeze(value, depth + 1)
        if frozen is not value:
            fields[name] = frozen
    return model
