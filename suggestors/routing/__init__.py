"""Which provider answers a request: learned online, explored by sampling, explainable afterwards."""

from .arms import Weighing
from .beta import Beta
from .chances import beta_chances, normal_chances
from .context import linear_evidence
from .decided import LoggedDecision, logged_decisions
from .estimate import estimate
from .evaluate import Estimate, Evaluation, always, evaluate, uniform
from .forgetting import Evidence, Forgetting, evidence
from .learning import OutcomeLearning
from .lin_thompson import LinearThompson
from .linear_arm import LinearArm, unit_features
from .linear_state import LinearSelection, LinearStats
from .linucb import LinUCB
from .names import posterior_id
from .panel import Selection, Selections
from .payloads import (
    EvidenceReset,
    LedgerMark,
    LinearEvidence,
    Outcome,
    Posterior,
    ProbeTally,
    ProbeTurn,
    RouteDecision,
    RouteRequest,
    Spending,
    UnknownRequest,
    Unroutable,
)
from .posterior import fold as fold_posterior
from .posterior import posteriors, reset_of
from .probing import probe_tallies
from .propensity import propensities, win_probability
from .reputation import Reputation, ReputationStats
from .router import ThompsonRouter
from .simulate import World, delayed, drifting, failing, play, stationary
from .spending import spending, spending_id
from .state_file import NewerStateFile, StateFileError
from .support import InvalidPolicy, NoSupport
from .thompson import ProviderStats, ThompsonState

__all__ = [
    "Beta",
    "Estimate",
    "Evaluation",
    "Evidence",
    "EvidenceReset",
    "Forgetting",
    "InvalidPolicy",
    "LedgerMark",
    "LinUCB",
    "LinearArm",
    "LinearEvidence",
    "LinearSelection",
    "LinearStats",
    "LinearThompson",
    "LoggedDecision",
    "NewerStateFile",
    "NoSupport",
    "Outcome",
    "OutcomeLearning",
    "Posterior",
    "ProbeTally",
    "ProbeTurn",
    "ProviderStats",
    "Reputation",
    "ReputationStats",
    "RouteDecision",
    "RouteRequest",
    "Selection",
    "Selections",
    "Spending",
    "StateFileError",
    "ThompsonRouter",
    "ThompsonState",
    "UnknownRequest",
    "Unroutable",
    "Weighing",
    "World",
    "always",
    "beta_chances",
    "delayed",
    "drifting",
    "estimate",
    "evaluate",
    "evidence",
    "failing",
    "fold_posterior",
    "linear_evidence",
    "logged_decisions",
    "normal_chances",
    "play",
    "posterior_id",
    "posteriors",
    "probe_tallies",
    "propensities",
    "reset_of",
    "spending",
    "spending_id",
    "stationary",
    "uniform",
    "unit_features",
    "win_probability",
]
