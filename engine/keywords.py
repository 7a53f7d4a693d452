"""Names the options that `run_sync`, `stream` and their like hand on, so that type checkers know them too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict

from ..facts import FactLog
from .budget import Budget
from .cancel import CancelSwitch
from .goal import Goal
from .observe import Observer


class RunOptions(TypedDict, total=False):
    """The options of `Engine.run`."""

    log: FactLog | None
    budget: Budget | None
    packs: Iterable[str] | None
    goals: Iterable[Goal]
    stop_when_met: bool
    run_id: str | None
    seed: int | None
    started: datetime | None
    observers: Iterable[Observer]
    cancel: CancelSwitch | None


class ResumeOptions(TypedDict, total=False):
    """The options of `Engine.resume`."""

    log: FactLog | None
    budget: Budget | None
    packs: Iterable[str] | None
    goals: Iterable[Goal] | None
    stop_when_met: bool | None
    accept_changes: bool
    now: datetime | None
    observers: Iterable[Observer]
    cancel: CancelSwitch | None


class RecoverOptions(TypedDict, total=False):
    """The options of `Engine.recover`."""

    goals: Iterable[Goal]
    accept_changes: bool
    concurrency: int
    observers: Iterable[Observer]


class RerunOptions(TypedDict, total=False):
    """The options of `Engine.rerun`."""

    goals: Iterable[Goal]


class ForkOptions(TypedDict, total=False):
    """The options of `Engine.fork`."""

    at: int | None
    add: Iterable[Any]
    replace: Mapping[str, Any] | None
    run_id: str | None
    seed: int | None
    started: datetime | None
    budget: Budget | None
    packs: Iterable[str] | None
    goals: Iterable[Goal]
    stop_when_met: bool | None
    observers: Iterable[Observer]
    cancel: CancelSwitch | None
