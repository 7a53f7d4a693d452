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
from .fact import Fact, Ref, RunId
from .log import FactLog, Logged, UnknownRun
from .payload import Opaque, Payload
from .read_event import BrokenEvent, UnknownFormat
from .record import Record
from .replay import replay
from .shelf import All
from .stores import Broken, Fenced, Store
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
    "Decided",
    "Diff",
    "Fact",
    "FactError",
    "FactLog",
    "FactsById",
    "Failure",
    "Fault",
    "Fenced",
    "ImmutableFact",
    "InternalError",
    "InvalidConfidence",
    "InvalidId",
    "InvalidPayload",
    "LogError",
    "Logged",
    "Malformed",
    "Opaque",
    "Payload",
    "PayloadDefinitionError",
    "QuiesceError",
    "Record",
    "Ref",
    "Rejected",
    "RunId",
    "Store",
    "StoreError",
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
