"""Helps users test what they write: the joins of their payloads, and stores of their own.

`StoreContract` needs pytest and Hypothesis; `check_join` needs neither.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .joins import NotAJoin, check_join

if TYPE_CHECKING:
    from .contract import Clause, StoreContract

__all__ = ["Clause", "NotAJoin", "StoreContract", "check_join"]


def __getattr__(name: str) -> object:
    """Imports the contract of stores when somebody asks for it, and lets pytest explain its assertions."""
    if name not in ("Clause", "StoreContract"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import hypothesis  # noqa: F401
        import pytest
    except ImportError as error:
        raise ImportError(
            f"{__name__}.{name} needs pytest and Hypothesis: pip install pytest hypothesis", name=error.name
        ) from error
    for module in ("contract", "model", "samples", "writers"):
        if f"{__name__}.{module}" not in sys.modules:
            pytest.register_assert_rewrite(f"{__name__}.{module}")
    from . import contract

    return getattr(contract, name)
