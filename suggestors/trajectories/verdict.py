"""Says how a whole trajectory ended, and what it failed of.

There are two questions about success, and each has a name of its own. `succeeded` and `failed` are the rule for
trajectories: success or recovered, and failure; everything here that counts, learns or credits asks these.
`counts_as_success` judges a verdict by itself, where nothing is known of the steps: a recovery counts only if what
came out in the end is good (0.8 or better).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from ...facts.fact import printable
from .outcome import Part

GOOD = 0.8
"""The final quality from which a recovery by itself counts as success."""

ReasoningErrorType = Literal[
    "logical_inconsistency", "factual_error", "hallucination", "circular_reasoning", "non_sequitur",
    "over_generalization", "under_specification", "other",
]  # fmt: skip


Text = Annotated[str, Field(max_length=4_000)]
"""Root causes are kept in what every run begins with, so they are bounded; long logs belong into steps."""


class RootCause(Part):
    """What a failure comes from; made by one of its eight constructors, told apart by `kind`.

    ```python
    from quiesce.suggestors import RootCause

    str(RootCause.tool_failure("search", "timeout"))                  # tool 'search' failed: timeout
    ```
    """

    kind: str

    @staticmethod
    def insufficient_context(missing: str | Iterable[str]) -> InsufficientContext:
        """Something that was needed was not known."""
        return InsufficientContext(missing=(missing,) if isinstance(missing, str) else tuple(missing))

    @staticmethod
    def invalid_input(details: str) -> InvalidInput:
        """What came in was wrong."""
        return InvalidInput(details=details)

    @staticmethod
    def tool_failure(tool: str, error: str) -> ToolFailure:
        """A tool did not do its work."""
        return ToolFailure(tool=tool, error=error)

    @staticmethod
    def reasoning_error(type: ReasoningErrorType, description: str) -> ReasoningError:
        """The thinking was wrong."""
        return ReasoningError(type=type, description=description)

    @staticmethod
    def resource_constraint(resource: str, limit: str | float) -> ResourceConstraint:
        """Something ran out."""
        return ResourceConstraint(resource=resource, limit=limit if isinstance(limit, str) else f"{limit:g}")

    @staticmethod
    def external_failure(service: str, error: str) -> ExternalFailure:
        """Somebody else's service failed."""
        return ExternalFailure(service=service, error=error)

    @staticmethod
    def capability_limit(limitation: str) -> CapabilityLimit:
        """It was more than the model or the program can do."""
        return CapabilityLimit(limitation=limitation)

    @staticmethod
    def unknown(details: str) -> UnknownCause:
        """Nobody knows, or nobody has looked."""
        return UnknownCause(details=details)

    @abstractmethod
    def _told(self) -> str: ...

    def __str__(self) -> str:
        """Describes it on one line."""
        return printable(self._told())


class InsufficientContext(RootCause):
    """Something that was needed was not known."""

    kind: Literal["insufficient_context"] = "insufficient_context"
    missing: Annotated[tuple[Text, ...], Field(max_length=64)]

    def _told(self) -> str:
        return f"context was missing: {', '.join(self.missing) or 'nobody said what'}"


class InvalidInput(RootCause):
    """What came in was wrong."""

    kind: Literal["invalid_input"] = "invalid_input"
    details: Text

    def _told(self) -> str:
        return f"the input was invalid: {self.details}"


class ToolFailure(RootCause):
    """A tool did not do its work."""

    kind: Literal["tool_failure"] = "tool_failure"
    tool: Text
    error: Text

    def _told(self) -> str:
        return f"tool {self.tool!r} failed: {self.error}"


class ReasoningError(RootCause):
    """The thinking was wrong."""

    kind: Literal["reasoning_error"] = "reasoning_error"
    type: ReasoningErrorType
    description: Text

    def _told(self) -> str:
        return f"the reasoning was wrong ({self.type.replace('_', ' ')}): {self.description}"


class ResourceConstraint(RootCause):
    """Something ran out."""

    kind: Literal["resource_constraint"] = "resource_constraint"
    resource: Text
    limit: Text

    def _told(self) -> str:
        return f"{self.resource} ran out at its limit of {self.limit}"


class ExternalFailure(RootCause):
    """Somebody else's service failed."""

    kind: Literal["external_failure"] = "external_failure"
    service: Text
    error: Text

    def _told(self) -> str:
        return f"service {self.service!r} failed: {self.error}"


class CapabilityLimit(RootCause):
    """It was more than the model or the program can do."""

    kind: Literal["capability_limit"] = "capability_limit"
    limitation: Text

    def _told(self) -> str:
        return f"it was beyond what can be done: {self.limitation}"


class UnknownCause(RootCause):
    """Nobody knows."""

    kind: Literal["unknown"] = "unknown"
    details: Text

    def _told(self) -> str:
        return f"the cause is unknown: {self.details}"


AnyRootCause = Annotated[
    InsufficientContext | InvalidInput | ToolFailure | ReasoningError | ResourceConstraint | ExternalFailure
    | CapabilityLimit | UnknownCause,
    Field(discriminator="kind"),
]  # fmt: skip


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number from 0 to 1 is wanted, not True or False")  # noqa: TRY004  pydantic wants ValueErrors
    return value


def _clamp(value: float) -> float:
    if not math.isfinite(value):  # a NaN would survive min and max
        raise ValueError("a finite number is wanted")
    return min(1.0, max(0.0, value))


Clamped = Annotated[float, BeforeValidator(_refuse_bool), AfterValidator(_clamp)]
"""A number that is brought into [0, 1]; NaN and infinity are refused."""


class Verdict(Part):
    """How a trajectory ended; made by one of its four constructors, told apart by `kind`.

    ```python
    from quiesce.suggestors import RootCause, Verdict

    verdict = Verdict.recovered_via_reflection(RootCause.tool_failure("search", "timeout"), 2, 0.7)
    verdict.succeeded, verdict.counts_as_success                      # (True, False)
    ```
    """

    kind: str

    @staticmethod
    def success() -> VerdictSuccess:
        """It did what was asked."""
        return VerdictSuccess()

    @staticmethod
    def failure(root_cause: RootCause) -> VerdictFailure:
        """It did not, because of this."""
        return VerdictFailure.model_validate({"root_cause": root_cause})

    @staticmethod
    def partial(completion_ratio: float) -> VerdictPartial:
        """It did this share of what was asked; what is below 0 or above 1 is brought there."""
        return VerdictPartial(completion_ratio=completion_ratio)

    @staticmethod
    def recovered_via_reflection(
        original_failure: RootCause, attempts: int, final_quality: float
    ) -> VerdictRecovered:  # fmt: skip
        """It failed of this, thought again so many times, and came out so well."""
        said = {"original_failure": original_failure, "attempts": attempts, "final_quality": final_quality}
        return VerdictRecovered.model_validate(said)

    @property
    @abstractmethod
    def score(self) -> float:
        """What the verdict by itself is worth, from 0 to 1."""

    @property
    @abstractmethod
    def factor(self) -> float:
        """What the mean quality of the steps is multiplied by."""

    @property
    @abstractmethod
    def without_steps(self) -> float:
        """The quality of a trajectory that has no steps."""

    @property
    def cause(self) -> RootCause | None:
        """What it failed of, at first or in the end."""
        return None

    @property
    def succeeded(self) -> bool:
        """The rule for trajectories: success, or recovered however well."""
        return self.kind in ("success", "recovered_via_reflection")

    @property
    def failed(self) -> bool:
        """The rule for trajectories: failure, and nothing else."""
        return self.kind == "failure"

    @property
    def counts_as_success(self) -> bool:
        """The verdict by itself: success, or recovered with a final quality of 0.8 or better."""
        return self.kind == "success"


class VerdictSuccess(Verdict):
    """It did what was asked."""

    kind: Literal["success"] = "success"

    @property
    def score(self) -> float:
        return 1.0

    @property
    def factor(self) -> float:
        return 1.0

    @property
    def without_steps(self) -> float:
        return 1.0


class VerdictFailure(Verdict):
    """It did not do what was asked."""

    kind: Literal["failure"] = "failure"
    root_cause: AnyRootCause

    @property
    def score(self) -> float:
        return 0.0

    @property
    def factor(self) -> float:
        return 0.3

    @property
    def without_steps(self) -> float:
        return 0.0

    @property
    def cause(self) -> RootCause:
        return self.root_cause


class VerdictPartial(Verdict):
    """It did some of what was asked."""

    kind: Literal["partial"] = "partial"
    completion_ratio: Clamped

    @property
    def score(self) -> float:
        return self.completion_ratio * 0.5 + 0.25

    @property
    def factor(self) -> float:
        return 0.5 + 0.5 * self.completion_ratio

    @property
    def without_steps(self) -> float:
        return self.completion_ratio


class VerdictRecovered(Verdict):
    """It failed at first, thought again, and came through."""

    kind: Literal["recovered_via_reflection"] = "recovered_via_reflection"
    original_failure: AnyRootCause
    attempts: int = Field(ge=1)
    final_quality: Clamped

    @property
    def score(self) -> float:
        return self.final_quality

    @property
    def factor(self) -> float:
        return self.final_quality

    @property
    def without_steps(self) -> float:
        return self.final_quality

    @property
    def cause(self) -> RootCause:
        return self.original_failure

    @property
    def counts_as_success(self) -> bool:
        return self.final_quality >= GOOD


AnyVerdict = Annotated[VerdictSuccess | VerdictFailure | VerdictPartial | VerdictRecovered, Field(discriminator="kind")]
