"""Reads from a fact of a projection up to which position of the ledger facts are in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ...facts import Fact, View
from ..readable import look_up
from .payloads import LedgerMark

LEDGER = "ledger"
"""The id of the `LedgerMark` of a run."""

_BY = re.compile(r"projection \S+@(\d{1,18})")


def watermark_of(fact: Fact[Any]) -> int:
    """Returns the position that a fact's provenance names ("projection posteriors@6"); 0 if it names none."""
    match = _BY.fullmatch(fact.by)
    return int(match[1]) if match else 0


def watermark(view: View, posteriors: Iterable[Fact[Any]]) -> int:
    """Returns the position of the ledger that the posteriors of a run rest on, revised or not; 0: none."""
    mark = look_up(view, LedgerMark, LEDGER)
    return max([mark.payload.watermark if mark else 0, *map(watermark_of, posteriors)])
