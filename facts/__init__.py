"""What is known: payloads, facts, contexts, and the log that they leave."""

from typing import TYPE_CHECKING

from .compact import Compaction, Shortened, is_compacted
from .context import Context, FactsById
from .diagnostics import Contested, Decided, Failure, Malformed, Rejected, Violated
from .diff import Change, Diff, diff
from .errors import (
    ConflictingInput,
    FactError,
    ImmutableFact,
    InternalError,
    InvalidConfidence,
    InvalidId,
    InvalidPayload,
    LogError,
    PayloadDefinitionError,
    QuiesceError,
    StoreError,
    UndeclaredRead,
    UnknownFamily,
)
from .event import (
    Compacted,
    ContextCarried,
    CycleCommitted,
    Event,
    GateDecided,
    GateOpened,
    Parent,
    RunResumed,
    RunStarted,
    RunStopped,
)
from .fact import Fact, Ref, RunId
from .folding import ProjectionOutdated
from .forget import Forgotten
from .learned import ProjectionCheck, Values
from .lease import Holder, Leased, TakenOver
from .ledger import ProjectionBehind
from .log import FactLog, Logged, UnknownRun
from .merkle import ProofError
from .payload import Opaque, Payload
from .projection import FoldFailed, Projection, ProjectionError, projection
from .proof import CheckedProof, FactProof, GrowthProof, check_proof
from .read_event import BrokenEvent, UnknownFormat
from .record import Record
from .redact import NotHere, Redaction
from .replay import replay
from .retain import Dropped, Retention
from .seal import BrokenNote
from .shelf import All
from .snapshot import BrokenSnapshot, CutOff
from .standing import BrokenProjection
from .stores import Address, Batch, Broken, Fenced, JsonLinesStore, MemoryStore, Note, Put, Stale, Store
from .tombstone import Tombstone
from .trail import Decision, Parked, Rejection, SuggestorPrint, Trail
from .verify import Fault, Verification, verify
from .view import View
from .why import Why
from .why_not import WhyNot, why_not

if TYPE_CHECKING:
    from .stores import SqliteStore

__all__ = [
    "Address",
    "All",
    "Batch",
    "Broken",
    "BrokenEvent",
    "BrokenNote",
    "BrokenProjection",
    "BrokenSnapshot",
    "Change",
    "CheckedProof",
    "Compacted",
    "Compaction",
    "ConflictingInput",
    "Contested",
    "Context",
    "ContextCarried",
    "CutOff",
    "CycleCommitted",
    "Decided",
    "Decision",
    "Diff",
    "Dropped",
    "Event",
    "Fact",
    "FactError",
    "FactLog",
    "FactProof",
    "FactsById",
    "Failure",
    "Fault",
    "Fenced",
    "FoldFailed",
    "Forgotten",
    "GateDecided",
    "GateOpened",
    "GrowthProof",
    "Holder",
    "ImmutableFact",
    "InternalError",
    "InvalidConfidence",
    "InvalidId",
    "InvalidPayload",
    "JsonLinesStore",
    "Leased",
    "LogError",
    "Logged",
    "Malformed",
    "MemoryStore",
    "NotHere",
    "Note",
    "Opaque",
    "Parent",
    "Parked",
    "Payload",
    "PayloadDefinitionError",
    "Projection",
    "ProjectionBehind",
    "ProjectionCheck",
    "ProjectionError",
    "ProjectionOutdated",
    "ProofError",
    "Put",
    "QuiesceError",
    "Record",
    "Redaction",
    "Ref",
    "Rejected",
    "Rejection",
    "Retention",
    "RunId",
    "RunResumed",
    "RunStarted",
    "RunStopped",
    "Shortened",
    "SqliteStore",
    "Stale",
    "Store",
    "StoreError",
    "SuggestorPrint",
    "TakenOver",
    "Tombstone",
    "Trail",
    "UndeclaredRead",
    "UnknownFamily",
    "UnknownFormat",
    "UnknownRun",
    "Values",
    "Verification",
    "View",
    "Violated",
    "Why",
    "WhyNot",
    "check_proof",
    "diff",
    "is_compacted",
    "projection",
    "replay",
    "verify",
    "why_not",
]

if not TYPE_CHECKING:  # type checkers would take any name for granted

    def __getattr__(name: str) -> object:
        if name != "SqliteStore":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .stores import SqliteStore  # it loads sqlite3, which takes a while and which not every log needs

        return SqliteStore
