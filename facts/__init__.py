"""What is known: payloads, facts, contexts, and the log that they leave."""

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
from .log import FactLog, Logged, UnknownRun
from .payload import Opaque, Payload
from .read_event import BrokenEvent, UnknownFormat
from .record import Record
from .replay import replay
from .shelf import All
from .stores import Broken, Fenced, JsonLinesStore, MemoryStore, Store
from .trail import Decision, Parked, Rejection, SuggestorPrint, Trail
from .verify import Fault, Verification, verify
from .view import View
from .why import Why

__all__ = [
    "All",
    "Broken",
    "BrokenEvent",
    "Change",
    "ConflictingInput",
    "Contested",
    "Context",
    "ContextCarried",
    "CycleCommitted",
    "Decided",
    "Decision",
    "Diff",
    "Event",
    "Fact",
    "FactError",
    "FactLog",
    "FactsById",
    "Failure",
    "Fault",
    "Fenced",
    "GateDecided",
    "GateOpened",
    "ImmutableFact",
    "InternalError",
    "InvalidConfidence",
    "InvalidId",
    "InvalidPayload",
    "JsonLinesStore",
    "LogError",
    "Logged",
    "Malformed",
    "MemoryStore",
    "Opaque",
    "Parent",
    "Parked",
    "Payload",
    "PayloadDefinitionError",
    "QuiesceError",
    "Record",
    "Ref",
    "Rejected",
    "Rejection",
    "RunId",
    "RunResumed",
    "RunStarted",
    "RunStopped",
    "Store",
    "StoreError",
    "SuggestorPrint",
    "Trail",
    "UndeclaredRead",
    "UnknownFamily",
    "UnknownFormat",
    "UnknownRun",
    "Verification",
    "View",
    "Violated",
    "Why",
    "diff",
    "replay",
    "verify",
]
