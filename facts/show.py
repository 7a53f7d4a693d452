"""Shows a payload in one line, the same line in every process."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel

from .payload import Opaque


def show(payload: BaseModel | None, limit: int = 100) -> str:
    """Returns a payload as it would be written, at most `limit` characters of it.

    Unlike `repr` it shows sets in order, and what an unknown family holds as its JSON.
    """
    text = show_value(payload)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def show_value(value: Any) -> str:
    """Returns a value as Python would write it, except that sets are in order, however deep they stand."""
    if isinstance(value, Opaque):
        return value.raw.decode("utf-8", "replace")
    if isinstance(value, BaseModel):
        return f"{type(value).__name__}({_fields(value.__dict__)})"
    if isinstance(value, Set):
        return f"{{{', '.join(sorted(map(show_value, value)))}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(show_value, value))}]"
    if type(value) is tuple:
        return f"({', '.join(map(show_value, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{show_value(key)}: {show_value(item)}' for key, item in value.items())}}}"
    if is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__name__}({_fields({one.name: getattr(value, one.name) for one in fields(value)})})"
    return repr(value)


def _fields(named: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={show_value(value)}" for name, value in named.items())
