"""Takes what a model answered for what it is worth: a verdict of five kinds with a confidence, or nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isnan
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from .payloads import FailureKind, Kind

LONGEST_REASONING = 500


class Unjudged(Exception):
    """A judgement could not be had, and why; caught by whoever asked."""

    def __init__(self, kind: FailureKind, message: str, *, again: bool = True, after: float | None = None) -> None:
        self.kind, self.message, self.again, self.after = kind, message, again, after
        super().__init__(message)


class Answer(BaseModel):
    """A verdict about the user's latest message."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    is_correction: bool
    """True if the message rejects or corrects the answer."""
    kind: Kind
    confidence: float
    """From 0 to 1."""
    reasoning: str = ""
    """One sentence."""

    @field_validator("confidence", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        """A number, or a text that is nothing but one: "8/10" and "high" are not taken for what they may mean."""
        if isinstance(value, bool):
            raise ValueError("True and False are no confidence")  # noqa: TRY004  pydantic catches it
        if value is None:
            raise ValueError("there is no confidence")
        return value

    @field_validator("confidence", mode="after")
    @classmethod
    def _clamped(cls, value: float) -> float:
        return clamp(value)

    @field_validator("reasoning", mode="after")
    @classmethod
    def _short(cls, value: str) -> str:
        plain = value.encode("utf-8", "replace").decode()
        return plain if len(plain) <= LONGEST_REASONING else plain[: LONGEST_REASONING - 1] + "…"


def clamp(confidence: float) -> float:
    """Returns a confidence in [0, 1]; NaN counts as 0."""
    return 0.0 if isnan(confidence) else min(max(confidence, 0.0) + 0.0, 1.0)  # -0.0 becomes 0.0


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object of JSON; one that says two things about one name says nothing."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for name, value in pairs:
            if repr(found[name]) != repr(value):
                raise ValueError(f"it says two things about {name!r:.40}")
    return found


def read_answer(raw: str | bytes | Mapping[str, Any]) -> Answer:
    """Returns the verdict that a model gave as JSON.

    Raises:
        Unjudged: it is no JSON, lacks something, is of no known kind, or contradicts itself.
    """
    try:
        if not isinstance(raw, Mapping):
            # Not pydantic's reader: Python's knows NaN and Infinity, which models write.
            raw = json.loads(raw, object_pairs_hook=_once)
        answer = Answer.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'the answer'}: {one['msg']}" for one in error.errors(include_url=False)
        )
        raise Unjudged("unparsable", f"the answer does not fit its form: {problems:.300}") from error
    except (ValueError, RecursionError) as error:
        raise Unjudged("unparsable", f"the answer is no JSON: {error!s:.200}") from error
    if answer.is_correction == (answer.kind == "neutral"):
        said = "a correction of kind neutral" if answer.is_correction else f"no correction, but {answer.kind}"
        raise Unjudged("unparsable", f"the answer contradicts itself: it says {said}")
    return answer
