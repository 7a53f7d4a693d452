"""Shows a payload in one line, the same line in every process."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from pydantic import BaseModel

from .payload import Opaque


def show(payload: BaseModel | None, limit: int = 100) -> str:
    """Returns a payload as it would be written, at most `limit` characters of it.

    Unlike `repr` it shows sets in order, and what an unknown family holds as its JSON.
    """
    text = _show(payload)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _show(value: Any) -> str:
    if isinstance(value, Opaque):
        return value.raw.decode("utf-8", "replace")
    if isinstance(value, BaseModel):
        fields = ", ".join(f"{name}={_show(field)}" for name, field in value.__dict__.items())
        return f"{type(value).__name__}({fields})"
    if isinstance(value, Set):
        return f"{{{', '.join(sorted(map(_show, value)))}}}"
    return repr(value)
