"""Keeps Python's cycle collector from scanning, again and again, what is being built to stay.

Reading a hundred thousand facts makes half a million objects of which none is garbage; the collector looks at all of
them each time their number has grown by a quarter, which more than doubles the time. So it is paused while the library
itself builds facts in bulk, never while a suggestor runs.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_depth = 0
_was_enabled = False


@contextmanager
def building() -> Iterator[None]:
    """Pauses the cycle collector for a block; nests, and is safe in several threads."""
    global _depth, _was_enabled  # noqa: PLW0603  the collector is one for the whole process
    with _lock:
        _depth += 1
        if _depth == 1:
            _was_enabled = gc.isenabled()
            gc.disable()
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0 and _was_enabled:
                gc.enable()
