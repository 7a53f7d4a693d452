"""Says how one step went: five kinds of outcome, each with what it has to tell, and its score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A frozen piece of a payload: nothing unknown in it, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StepOutcome(Part):
    """How a step went; made by one of its five constructors, told apart by `kind`.

    ```python
    from quiesce.suggestors import StepOutcome

    StepOutcome.partial(achieved="3 of 5 pages", missing="2 pages").score             # 0.6
    ```
    """

    score: ClassVar[float] = 0.0
    kind: str

    @staticmethod
    def success() -> StepSucceeded:
        """It did what it was to do: 1.0."""
        return StepSucceeded()

    @staticmethod
    def partial(achieved: str, missing: str) -> StepPartial:
        """It did some of it: 0.6."""
        return StepPartial(achieved=achieved, missing=missing)

    @staticmethod
    def failure(error: str) -> StepFailed:
        """It did nothing of it: 0.0."""
        return StepFailed(error=error)

    @staticmethod
    def skipped(reason: str) -> StepSkipped:
        """It was not to be done after all: 0.3."""
        return StepSkipped(reason=reason)

    @staticmethod
    def needs_retry(reason: str, suggestions: Iterable[str] = ()) -> StepNeedsRetry:
        """It is to be done again, in another way perhaps: 0.2."""
        return StepNeedsRetry(reason=reason, suggestions=tuple(suggestions))

    @property
    def is_success(self) -> bool:
        """It did all that it was to do."""
        return self.kind == "success"

    @property
    def is_failure(self) -> bool:
        """It did nothing of it; what needs another try is neither."""
        return self.kind == "failure"

    @property
    def problem(self) -> str | None:
        """What went wrong, for a failure and for what needs another try; None for the others."""
        return None


class StepSucceeded(StepOutcome):
    """It did what it was to do."""

    score: ClassVar[float] = 1.0
    kind: Literal["success"] = "success"


class StepPartial(StepOutcome):
    """It did some of it."""

    score: ClassVar[float] = 0.6
    kind: Literal["partial"] = "partial"
    achieved: str
    missing: str


class StepFailed(StepOutcome):
    """It did nothing of it."""

    kind: Literal["failure"] = "failure"
    error: str

    @property
    def problem(self) -> str:
        return self.error


class StepSkipped(StepOutcome):
    """It was not to be done after all."""

    score: ClassVar[float] = 0.3
    kind: Literal["skipped"] = "skipped"
    reason: str


class StepNeedsRetry(StepOutcome):
    """It is to be done again."""

    score: ClassVar[float] = 0.2
    kind: Literal["needs_retry"] = "needs_retry"
    reason: str
    suggestions: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        return self.reason


AnyStepOutcome = Annotated[
    StepSucceeded | StepPartial | StepFailed | StepSkipped | StepNeedsRetry, Field(discriminator="kind")
]
