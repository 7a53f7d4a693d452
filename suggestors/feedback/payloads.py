"""Says what a user answered, what a judge made of it, where no judgement could be had, and what people say of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...engine import InvalidOption
from ...facts import Fact, Payload
from ..selection.payloads import Share

Kind = Literal["explicit_rejection", "alternative_request", "repetition", "self_correction", "neutral"]
KINDS: tuple[Kind, ...] = ("explicit_rejection", "alternative_request", "repetition", "self_correction", "neutral")
FailureKind = Literal[
    "unparsable", "timeout", "refusal", "rate_limit", "server", "unreachable", "disagreement", "other"
]  # fmt: skip


class Feedback(Payload, key="seeds"):
    """A user's latest message, and the answer that it follows."""

    user_message: str
    assistant_response: str
    provider: str | None = None
    """Whose answer it was: what is judged is credited to it, and to nobody else."""
    request_id: str | None = None
    earlier: tuple[str, ...] = ()
    """The user's earlier messages, oldest first, against which repetition is seen."""


def check_feedback(given: Feedback) -> Feedback:
    """Returns a feedback; refuses what is none."""
    if not isinstance(given, Feedback):
        raise InvalidOption("feedback", given, "a Feedback. Write: Feedback(user_message=…, assistant_response=…)")
    return given


class FeedbackVerdict(Payload, key="evaluations"):
    """What a judge says about a feedback; its id is the feedback's."""

    is_correction: bool
    kind: Kind
    confidence: Share
    reasoning: str = ""
    """For tracing."""
    judge: str = ""
    """Who said it: "rules", or the model and the version of its instructions."""
    samples: int = 1
    """How many judgements it is made of."""
    agreed: int = 1
    """How many of them said so."""
    interval: tuple[Share, Share] | None = None
    """Where the share of judgements that say so lies, at 95%; None where one was asked."""
    below_threshold: bool = False
    """It was a correction, too unsure to act on: `confidence` is how sure of the correction the judge was."""
    provider: str | None = None
    """Of the feedback."""
    request_id: str | None = None
    advisory: bool = False
    """The judge agrees too little with people: nothing may be learned from this."""


class JudgeFailure(Payload, key="diagnostics"):
    """A judgement that could not be had; its id is the feedback's. It is never taken for a neutral one."""

    kind: FailureKind
    message: str
    judge: str
    attempts: int = 1
    """Calls of the model that were made for it."""
    provider: str | None = None
    request_id: str | None = None


class Label(Payload, key="seeds", family="feedback-label"):
    """What a person says about a feedback; its id is the feedback's."""

    is_correction: bool
    kind: Kind | None = None
    by: str = ""
    """Who said it."""
    said: FeedbackVerdict | JudgeFailure | None = None
    """What the judge had said: what it is measured by."""

    @classmethod
    def of(
        cls, judged: Fact[FeedbackVerdict] | Fact[JudgeFailure], is_correction: bool, *, kind: Kind | None = None,
        by: str = "",
    ) -> Label:  # fmt: skip
        """Returns a label of what a judge said; add it to a context under the id of that fact."""
        return cls(is_correction=is_correction, kind=kind, by=by, said=judged.payload)


class Bin(Payload):
    """The judgements whose confidence lay in one tenth."""

    n: int = Field(default=0, ge=0)
    confidence: float = Field(default=0.0, ge=0)
    """The sum of their confidences."""
    right: int = Field(default=0, ge=0)


class JudgeCalibration(Payload, key="evaluations"):
    """How a judge compares with people; its id is the judge's name. Questions are answered by `Calibration`."""

    judge: str
    true_positive: int = Field(default=0, ge=0)
    false_positive: int = Field(default=0, ge=0)
    false_negative: int = Field(default=0, ge=0)
    true_negative: int = Field(default=0, ge=0)
    missing: int = Field(default=0, ge=0)
    """Labelled feedback of which the judge had nothing to say: it counts in no rate, and stands beside each."""
    kinds: tuple[tuple[Kind, Kind, int], ...] = ()
    """(what the judge said, what the person said, how often), where the person named a kind."""
    bins: tuple[Bin, ...] = (Bin(),) * 10
    """By confidence, [0, 0.1) to [0.9, 1]."""
