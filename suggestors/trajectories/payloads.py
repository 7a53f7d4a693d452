"""Says what a trajectory is, what is journaled while one is recorded, and what is learned from those that are over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from ...facts import FactError, Payload
from ...facts.errors import shown
from .embedding import Embedding
from .errors import TrajectoryClosed
from .identity import display_id, new_uuid
from .outcome import AnyStepOutcome
from .quality import mean_confidence, quality_of, success_rate
from .verdict import AnyVerdict, Verdict

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
MOST_TOKENS = 10**30
Total = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
"""A sum of counts: what is added up may not grow beyond what can be written."""
MOST_COUNTED = 2**53
"""So often can something be counted: a float still tells it from one more. Who claims more is not believed."""
Times = Annotated[int, Field(ge=1, le=MOST_COUNTED)]
Milliseconds = Annotated[float, Field(ge=0, le=1e15)]
LessonText = Annotated[str, Field(max_length=4_000)]
Moment = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]
"""A point in time, kept in UTC; one without a zone is refused."""

LARGE = 64 * 1024 * 1024
"""Bytes that a whole trajectory may take: each embedding of 1,536 numbers takes 30,000."""


class StepMetadata(Payload):
    """What a step was done with."""

    tool: str | None = None
    input_tokens: Count = 0
    output_tokens: Count = 0
    model: str | None = None
    tags: tuple[str, ...] = ()
    attributes: dict[str, str] = Field(default_factory=dict)

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class TrajectoryStep(Payload):
    """One step: what was done, why, how it went and how sure that is."""

    index: Count
    """From 0."""
    action: str
    rationale: str
    outcome: AnyStepOutcome
    confidence: Share
    latency_ms: Milliseconds = 0.0
    timestamp: Moment
    """When it ended."""
    embedding: Embedding | None = None
    """Of its context."""
    metadata: StepMetadata = StepMetadata()

    @property
    def quality(self) -> float:
        """The score of its outcome × its confidence."""
        return self.outcome.score * self.confidence


class TrajectoryMetadata(Payload):
    """Whom a trajectory was for and what it took."""

    session_id: str | None = None
    user_id: str | None = None
    request_type: str | None = None
    input_tokens: Total = 0
    output_tokens: Total = 0
    models_used: tuple[str, ...] = ()
    """Without repeats, in order of first use."""
    tools_invoked: tuple[str, ...] = ()
    """The same."""
    tags: tuple[str, ...] = ()
    attributes: dict[str, str] = Field(default_factory=dict)

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def with_step(self, step: StepMetadata) -> TrajectoryMetadata:
        """Returns it with what a step took: its tokens, its model and its tool."""
        if not (step.input_tokens or step.output_tokens or step.model is not None or step.tool is not None):
            return self
        models, tools = self.models_used, self.tools_invoked
        return self.model_copy(update={
            "input_tokens": min(MOST_TOKENS, self.input_tokens + step.input_tokens),
            "output_tokens": min(MOST_TOKENS, self.output_tokens + step.output_tokens),
            "models_used": models if step.model is None or step.model in models else (*models, step.model),
            "tools_invoked": tools if step.tool is None or step.tool in tools else (*tools, step.tool),
        })  # fmt: skip


class Trajectory(Payload, key="evaluations", max_bytes=LARGE):
    """What an execution did, step by step, how it ended and what was learned; its fact has the UUID as its id.

    It succeeded when its verdict is success or recovered, and failed when that is failure; see `verdict` for the other
    rule, which judges a verdict by itself.
    """

    id: str
    """For people: unique within a process, and in the order in which it made them."""
    uuid: UUID
    """For programs: unique, and ordered by time."""
    query_embedding: Embedding | None = None
    response_embedding: Embedding | None = None
    steps: tuple[TrajectoryStep, ...] = ()
    verdict: AnyVerdict
    quality: Share = 0.0
    """The mean quality of its steps × the factor of its verdict; 0 until it is complete."""
    latency_ms: Milliseconds = 0.0
    """From its start to its end, on a clock that only moves forward."""
    started: Moment
    completed: Moment | None = None
    """None: it is unfinished."""
    metadata: TrajectoryMetadata = TrajectoryMetadata()
    lessons: tuple[LessonText, ...] = ()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for place, step in enumerate(self.steps):
            if step.index != place:
                raise ValueError(f"step {place} says that its index is {step.index}; they count from 0 without gaps")
        known = [self.query_embedding, self.response_embedding, *(step.embedding for step in self.steps)]
        lengths = sorted({len(one) for one in known if one is not None})
        if len(lengths) > 1:
            raise ValueError(
                f"its embeddings have different dimensions ({', '.join(map(str, lengths))}); they are compared with "
                f"one another, so use one model for all"
            )
        if self.completed is None and self.quality != 0:
            raise ValueError("it has a quality and is not completed; the quality of an unfinished one is 0")
        return self

    @classmethod
    def begin(
        cls, query_embedding: Iterable[float] | None = None, *, uuid: UUID | None = None,
        started: datetime | None = None, metadata: TrajectoryMetadata | None = None,
    ) -> Trajectory:  # fmt: skip
        """Returns a new trajectory: unfinished, partial(0), with quality 0."""
        uuid = uuid if uuid is not None else new_uuid()
        return cls(
            id=display_id(uuid), uuid=uuid, verdict=Verdict.partial(0.0),
            query_embedding=None if query_embedding is None else tuple(query_embedding),
            started=started if started is not None else datetime.now(UTC),
            metadata=metadata if metadata is not None else TrajectoryMetadata(),
        )  # fmt: skip

    def complete(self, verdict: Verdict, *, at: datetime, latency_ms: float) -> Trajectory:
        """Returns it with its verdict and the quality that follows.

        Raises:
            TrajectoryClosed: it is complete already.
            FactError: the verdict is none.
        """
        if self.completed is not None:
            raise TrajectoryClosed(self.id, "another verdict")
        if not isinstance(verdict, Verdict):
            raise FactError(f"{shown(verdict)} is no verdict. Write: Verdict.success(), Verdict.failure(…), …")
        return type(self).model_validate({
            **dict(self), "verdict": verdict, "completed": at, "latency_ms": latency_ms,
            "quality": quality_of(self.steps, verdict),
        })  # fmt: skip

    def brief(self) -> Trajectory:
        """Returns it without what takes most room in its steps: rationales, embeddings, tags and attributes.

        Quality, failures, lessons and what models are credited with stay the same.
        """
        steps = tuple(
            step.model_copy(update={
                "rationale": "", "embedding": None,
                "metadata": step.metadata.model_copy(update={"tags": (), "attributes": {}}),
            })
            for step in self.steps
        )  # fmt: skip
        return self.model_copy(update={"steps": steps})

    @property
    def is_finished(self) -> bool:
        return self.completed is not None

    @property
    def succeeded(self) -> bool:
        """Its verdict is success, or recovered."""
        return self.verdict.succeeded

    @property
    def failed(self) -> bool:
        """Its verdict is failure."""
        return self.verdict.failed

    @property
    def step_count(self) -> int:
        return len(self.steps)

    @property
    def success_rate(self) -> float:
        """The share of its steps that did all they were to do; 0 for none."""
        return success_rate(self.steps)

    @property
    def mean_confidence(self) -> float:
        """Of its steps; 0 for none."""
        return mean_confidence(self.steps)

    @property
    def total_tokens(self) -> int:
        """Input and output tokens."""
        return self.metadata.total_tokens


def check_trajectory(given: Trajectory) -> Trajectory:
    """Returns a trajectory; refuses what is none."""
    if not isinstance(given, Trajectory):
        raise FactError(
            f"{shown(given)} is no Trajectory. Write: trajectory_of(log, run), or recorder.complete(…) for one of "
            f"your own; of a fact, give its payload"
        )
    return given


# --- what is journaled while a trajectory is recorded -----------------------------------------------------------------


class TrajectoryBegun(Payload, key="seeds", max_bytes=LARGE):
    """A recorder with a log has begun; its id is the trajectory's UUID."""

    uuid: UUID
    started: Moment
    query_embedding: Embedding | None = None
    metadata: TrajectoryMetadata = TrajectoryMetadata()


class RecordedStep(Payload, key="signals", max_bytes=LARGE):
    """A step as it was recorded, before its trajectory is complete; its id is "UUID/index"."""

    trajectory: UUID
    step: TrajectoryStep


class RecordedDetail(Payload, key="signals", max_bytes=LARGE):
    """What a recorder was told beside steps; its id is "UUID/detail-number"."""

    trajectory: UUID
    metadata: TrajectoryMetadata | None = None
    """All of it, as it is from now on."""
    lesson: LessonText | None = None
    response_embedding: Embedding | None = None


# --- what is learned --------------------------------------------------------------------------------------------------


ActionText = Annotated[str, Field(max_length=500)]
CauseKind = Literal[
    "", "insufficient_context", "invalid_input", "tool_failure", "reasoning_error", "resource_constraint",
    "external_failure", "capability_limit", "unknown",
]  # fmt: skip


class StepFailure(Payload, key="diagnostics"):
    """A step that failed or asked for another try, and what was done about it; written beside its trajectory."""

    trajectory: UUID
    step: int | None = None
    """None: no step failed, and the trajectory did."""
    action: ActionText
    error: Annotated[str, Field(max_length=4_000)]
    cause: CauseKind
    """The kind of the root cause; empty where the verdict names none."""
    signature: Annotated[str, Field(max_length=1_000)]
    """The action, and the error without what differs from time to time: equal ones are the same failure again."""
    remedy: ActionText | None = None
    """The action that came next; None if nothing did."""
    worked: bool = False
    """The next step succeeded, and so did the trajectory in the end."""


class Remedy(Payload):
    """What was done after a failure, how often, and how often it worked."""

    action: ActionText
    tried: Annotated[int, Field(ge=1)]
    worked: Count


class FailurePattern(Payload):
    """A failure that was seen, perhaps many times."""

    signature: str
    action: str
    error: str
    """As it was first seen."""
    seen: Annotated[int, Field(ge=1)]
    causes: dict[str, int] = Field(default_factory=dict)
    remedies: tuple[Remedy, ...] = ()
    """By action."""
    forgotten: Count = 0
    """Tries of remedies that are not listed: of more than 32 the least tried are only counted."""


class FailureBook(Payload, key="hypotheses"):
    """Failures that were seen; a value of the projection `failure_patterns`, which deals them out over a few books."""

    patterns: tuple[FailurePattern, ...]
    """By signature."""
    forgotten: Count = 0
    """How often those were seen that are not listed: where a book is full, the least seen makes room."""


class VerdictTally(Payload, key="signals"):
    """How many trajectories ended in one way; a value of the projection `verdict_tallies`, by the kind of verdict."""

    count: Annotated[int, Field(ge=1)]
    quality: Annotated[float, Field(ge=0)]
    """Summed."""
    steps: Annotated[int, Field(ge=0)] = 0
    tokens: Annotated[int, Field(ge=0)] = 0

    @property
    def mean_quality(self) -> float:
        return self.quality / self.count


class Lesson(Payload):
    """One lesson, and in how many trajectories it was learned."""

    text: str
    seen: Times = 1


class Pattern(Payload):
    """What is left of a trajectory, or of several that were much the same: no steps, no ids of people, every lesson."""

    id: UUID
    """Of the first trajectory in it."""
    embedding: Embedding
    """Of length 1."""
    verdict: AnyVerdict
    quality: Share
    """The mean over the trajectories."""
    lessons: tuple[Lesson, ...] = ()
    weight: Times = 1
    """How many trajectories are in it."""
    category: Annotated[str, Field(max_length=200)] = "general"
    last: Moment
    """When the latest of them was completed."""


class LessonBook(Payload, key="hypotheses", max_bytes=LARGE):
    """Patterns that point in much the same direction; a value of the projection `lesson_books`."""

    patterns: tuple[Pattern, ...]
    forgotten: Annotated[int, Field(ge=0)] = 0
    """How many lessons made room: a book of a million characters keeps those that were learned most often."""


class LessonQuery(Payload, key="seeds"):
    """What is about to be done, so that lessons of similar trajectories can be offered."""

    embedding: Embedding
    category: str | None = None
    """Only patterns of this category, where it is given."""


class OfferedLesson(Payload, key="hypotheses"):
    """A lesson of a similar past trajectory; its confidence is the similarity."""

    text: str
    similarity: float
    """The highest among the patterns that have it, rounded to 6 places."""
    pattern: UUID
    verdict: str
    """The kind of verdict that the pattern ended in."""
    quality: Share
    seen: Annotated[int, Field(ge=1)]
    """In how many trajectories of these patterns it was learned."""
