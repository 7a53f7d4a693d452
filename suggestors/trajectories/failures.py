"""Finds what failed in a trajectory, and what was done about it: one `StepFailure` for each failure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ...facts.fact import printable
from .payloads import StepFailure, Trajectory, TrajectoryStep
from .verdict import ToolFailure

ACTION, ERROR = 500, 4_000
"""Characters of an action and an error that are kept of a failure; the trajectory has all of them."""
_SIGNATURE_BYTES = 400
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_NUMBER = re.compile(r"\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b(?:[-.:][0-9a-f]+\b)*")


def signature_of(action: str, error: str) -> str:
    """Returns what two failures have in common that are the same: the action, and the error without its particulars.

    Numbers, hexadecimal digits and quoted texts become "#", letters are made small, spaces one.
    """
    plain = _NUMBER.sub("#", _QUOTED.sub("#", error[:ERROR].lower()))
    text = f"{' '.join(action.split())[:100]}: {' '.join(plain.split())}"
    return printable(text).encode("utf-8", "replace")[:_SIGNATURE_BYTES].decode("utf-8", "ignore").strip()


def failures_of(trajectory: Trajectory) -> tuple[StepFailure, ...]:
    """Returns a failure for each step that failed or asked for another try, in order.

    A trajectory that failed without such a step has one that is of no step: what its verdict says.
    """
    cause = trajectory.verdict.cause
    kind: Any = cause.kind if cause is not None else ""
    found = []
    for place, step in enumerate(trajectory.steps):
        problem = step.outcome.problem
        if problem is None:
            continue
        following = trajectory.steps[place + 1] if place + 1 < len(trajectory.steps) else None
        found.append(StepFailure(
            trajectory=trajectory.uuid, step=place, action=step.action[:ACTION], error=problem[:ERROR], cause=kind,
            signature=signature_of(step.action, problem),
            remedy=None if following is None else following.action[:ACTION], worked=_worked(trajectory, following),
        ))  # fmt: skip
    if not found and trajectory.failed:
        action = (_last_action(trajectory.steps) if not isinstance(cause, ToolFailure) else cause.tool)[:ACTION]
        error = str(cause)[:ERROR]
        signature = signature_of(action, error)
        found.append(StepFailure(
            trajectory=trajectory.uuid, action=action, error=error, cause=kind, signature=signature
        ))  # fmt: skip
    return tuple(found)


def _worked(trajectory: Trajectory, following: TrajectoryStep | None) -> bool:
    return following is not None and following.outcome.is_success and trajectory.succeeded


def _last_action(steps: Sequence[TrajectoryStep]) -> str:
    return steps[-1].action if steps else ""
