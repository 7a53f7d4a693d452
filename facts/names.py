"""Finds the names by which an annotation can be read that stands inside a function."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any


def names_around(function: Any) -> Mapping[str, Any]:
    """Returns the local names of the functions that a function is being defined in, so that classes of theirs resolve.

    Not those of whoever happens to call them: a name means what it means where it is written.
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    names: dict[str, Any] = {}
    frame: FrameType | None = sys._getframe(1)
    while code is not None and frame is not None:
        around = frame.f_code
        if around.co_filename == code.co_filename and code.co_qualname.startswith(f"{around.co_qualname}."):
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names
