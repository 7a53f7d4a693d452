"""Which backends can do what a request needs: maximum matching, explained."""

from .assign import assign
from .eligible import eligible
from .envelope import misses
from .errors import NotForSelection, SelectionError, UnknownBackend
from .known import known_quarantines
from .matching import Matching, match
from .payloads import (
    CAPABILITIES,
    COST_CLASSES,
    KINDS,
    Backend,
    BackendRequirements,
    CostClass,
    KnownQuarantine,
    ProviderAssignment,
    ProviderRequest,
    ProviderRequestError,
    Quarantine,
    quarantined,
)
from .policy import Policy
from .select import ProviderSelection
from .why_not import why_not

__all__ = [
    "CAPABILITIES",
    "COST_CLASSES",
    "KINDS",
    "Backend",
    "BackendRequirements",
    "CostClass",
    "KnownQuarantine",
    "Matching",
    "NotForSelection",
    "Policy",
    "ProviderAssignment",
    "ProviderRequest",
    "ProviderRequestError",
    "ProviderSelection",
    "Quarantine",
    "SelectionError",
    "UnknownBackend",
    "assign",
    "eligible",
    "known_quarantines",
    "match",
    "misses",
    "quarantined",
    "why_not",
]
