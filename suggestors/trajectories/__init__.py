"""What an execution did, step by step, how well it went, and what was learned."""

from .analysis import Factor, SeenBefore, Strategy, VerdictAnalysis, analyse, analyse_in
from .credit import Credit, credit
from .distil import distil, pattern_of
from .embedding import InvalidEmbedding
from .errors import BrokenPatterns, TrajectoryClosed, UnknownTrajectory
from .exchange import Import
from .failures import failures_of
from .from_run import trajectory_of
from .identity import display_id, uuid_of
from .learn import PROJECTIONS as TRAJECTORY_PROJECTIONS
from .learn import failure_patterns, known_failures, lesson_books, verdict_tallies
from .ledger import read_trajectories, redact_trajectories
from .memory import Consolidation, Match, PatternMemory
from .offering import LessonOffering
from .outcome import StepOutcome
from .payloads import (
    FailureBook,
    FailurePattern,
    Lesson,
    LessonBook,
    LessonQuery,
    OfferedLesson,
    Pattern,
    Remedy,
    StepFailure,
    StepMetadata,
    Trajectory,
    TrajectoryMetadata,
    TrajectoryStep,
    VerdictTally,
)
from .quality import quality_of
from .recorder import TrajectoryRecorder
from .recording import TrajectoryRecording, record_trajectory
from .recover import recover_trajectories
from .verdict import RootCause, Verdict

__all__ = [
    "TRAJECTORY_PROJECTIONS",
    "BrokenPatterns",
    "Consolidation",
    "Credit",
    "Factor",
    "FailureBook",
    "FailurePattern",
    "Import",
    "InvalidEmbedding",
    "Lesson",
    "LessonBook",
    "LessonOffering",
    "LessonQuery",
    "Match",
    "OfferedLesson",
    "Pattern",
    "PatternMemory",
    "Remedy",
    "RootCause",
    "SeenBefore",
    "StepFailure",
    "StepMetadata",
    "StepOutcome",
    "Strategy",
    "Trajectory",
    "TrajectoryClosed",
    "TrajectoryMetadata",
    "TrajectoryRecorder",
    "TrajectoryRecording",
    "TrajectoryStep",
    "UnknownTrajectory",
    "Verdict",
    "VerdictAnalysis",
    "VerdictTally",
    "analyse",
    "analyse_in",
    "credit",
    "display_id",
    "distil",
    "failure_patterns",
    "failures_of",
    "known_failures",
    "lesson_books",
    "pattern_of",
    "quality_of",
    "read_trajectories",
    "record_trajectory",
    "recover_trajectories",
    "redact_trajectories",
    "trajectory_of",
    "uuid_of",
    "verdict_tallies",
]
