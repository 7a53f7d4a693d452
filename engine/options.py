"""Checks what the caller of a run chose, and chooses what he left open."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from math import isnan
from typing import Any, TypeGuard

from ..facts import FactLog, RunId
from .errors import InvalidOption


def each(option: str, values: Iterable[Any], kind: type) -> tuple[Any, ...]:
    found = tuple(values)
    for value in found:
        if not isinstance(value, kind):
            raise InvalidOption(option, value, f"a list of {kind.__name__} objects; use the decorator of that name")
    return found


def is_number(value: object) -> TypeGuard[float]:
    """Tells whether a value is a number that a float can stand for: no truth value, not NaN, no integer beyond all."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and not isnan(value)
    except OverflowError:
        return False


def is_whole(value: object, least: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_log(given: FactLog) -> FactLog:
    if not isinstance(given, FactLog):
        place = given if isinstance(given, str) else "runs.db"
        raise InvalidOption("log", given, f'a FactLog. Write: log=FactLog.open("{place}")')
    return given


def run_id_or_random(given: str | None) -> RunId:
    if given is None:
        return RunId(secrets.token_hex(6))
    if not isinstance(given, str) or not given.strip() or not given.isprintable() or len(given) > 200:
        raise InvalidOption("run_id", given, "a printable text of 1 to 200 characters")
    return RunId(given)


def seed_or_random(given: int | None) -> int:
    if given is None:
        return secrets.randbits(63)
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 2**63:
        raise InvalidOption("seed", given, "a whole number from 0 to 2**63 - 1")
    return given


def with_zone(time: datetime) -> datetime:
    if not isinstance(time, datetime):
        raise InvalidOption("started", time, "a datetime")
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
