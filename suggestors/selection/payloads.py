"""Says what is asked for and who is there: requests, backends, quarantines, assignments."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field

from ...facts import Fact, Payload

CostClass = Literal["free", "very_low", "low", "medium", "high", "very_high"]
COST_CLASSES: tuple[CostClass, ...] = ("free", "very_low", "low", "medium", "high", "very_high")
"""From the cheapest to the dearest."""

CAPABILITIES: tuple[str, ...] = (
    "text_generation", "reasoning", "code", "vision", "tool_use", "structured_output", "embedding", "web_search",
    "full_text_search", "vector_search", "access_control", "constraint_solving",
)  # fmt: skip
"""Names that everybody means the same by. The set is open: any other text names a capability too."""
KINDS: tuple[str, ...] = ("llm", "policy", "optimization", "analytics", "search", "storage")
"""Well-known kinds of backends; an open set like the capabilities."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
Capabilities = Annotated[tuple[Name, ...], Field(max_length=100_000)]
Milliseconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Backend(Payload, key="constraints"):
    """Who can be asked, and what it can do; its id is its name."""

    name: Name
    kind: Name
    """llm, policy, optimization, analytics, search, storage, … An open set."""
    capabilities: frozenset[Name] = frozenset()
    supports_replay: bool = False
    requires_network: bool = True
    cost_class: CostClass = "medium"
    latency_ms: Milliseconds = 0.0
    """Typical."""
    region: str = ""
    country: str = ""
    compliance: frozenset[Name] = frozenset()
    context_tokens: int = Field(default=0, ge=0)
    slots: int = Field(default=1, ge=1, le=1_000_000)
    """How many slots of one request it may fill."""
    quality: Share = 0.5


class BackendRequirements(Payload):
    """The envelope that one backend has to satisfy as a whole.

    The ready-made ones take changes: `BackendRequirements.fast_llm(region="eu")`.
    """

    kind: Name | None = None
    required_capabilities: Capabilities = ()
    """Empty: those of the request."""
    max_cost_class: CostClass = "very_high"
    max_latency_ms: Milliseconds = 0.0
    """0: no bound."""
    region: str = ""
    country: str = ""
    compliance: tuple[Name, ...] = ()
    """All of them; a set may be given. Kept sorted: a field of a set makes each request seven times as dear to hash."""
    min_context_tokens: int = Field(default=0, ge=0)
    requires_replay: bool = False
    requires_offline: bool = False
    """The backend must not require the network."""

    def model_post_init(self, _context: Any, /) -> None:
        """Brings the marks of compliance into their one order."""
        if self.compliance:
            self.__dict__["compliance"] = tuple(sorted(set(self.compliance)))

    @classmethod
    def fast_llm(cls, **changes: Any) -> Self:
        """A language model for text, at most low in cost and 2,000 ms."""
        return cls._made(changes, "llm", "text_generation", max_cost_class="low", max_latency_ms=2_000)

    @classmethod
    def reasoning_llm(cls, **changes: Any) -> Self:
        """A language model that reasons, at most high in cost and 30,000 ms."""
        return cls._made(
            changes, "llm", "text_generation", "reasoning", max_cost_class="high", max_latency_ms=30_000
        )  # fmt: skip

    @classmethod
    def access_policy(cls, **changes: Any) -> Self:
        """A policy engine that decides on access within 100 ms."""
        return cls._made(changes, "policy", "access_control", max_latency_ms=100)

    @classmethod
    def constraint_solver(cls, **changes: Any) -> Self:
        """An optimizer that solves constraints."""
        return cls._made(changes, "optimization", "constraint_solving")

    @classmethod
    def embedding_pipeline(cls, **changes: Any) -> Self:
        """A backend of analytics that embeds."""
        return cls._made(changes, "analytics", "embedding")

    @classmethod
    def vector_search(cls, **changes: Any) -> Self:
        """A search by vectors."""
        return cls._made(changes, "search", "vector_search")

    @classmethod
    def _made(cls, changes: dict[str, Any], kind: str, *capabilities: str, **bounds: Any) -> Self:
        return cls.model_validate({"kind": kind, "required_capabilities": capabilities, **bounds, **changes})


class ProviderRequest(Payload, key="seeds"):
    """What somebody needs done; a capability that is named twice asks for two independent backends."""

    required_capabilities: Capabilities = ()
    backend_requirements: BackendRequirements | None = None


class ProviderAssignment(Payload, key="strategies", max_bytes=2**28):
    """Who fills which slot of a request; its id is the request's, its confidence the coverage."""

    assignments: tuple[tuple[str, str], ...]
    """(capability, backend), by the position of the slot."""
    unmatched: tuple[str, ...]
    coverage_ratio: Share
    reason: str = ""
    """Why what is unmatched is unmatched."""


class ProviderRequestError(Payload, key="diagnostics"):
    """A request that cannot be read was ignored; its id is the request's full ref."""

    request: str
    reason: str
    message: str


class _Withdrawal(Payload):
    backend: Name
    reason: str
    until: AwareDatetime | None = None
    """It holds before this moment and no longer; None: until it is lifted."""
    number: int = Field(default=1, ge=1)
    """Which of the quarantines under this id it is: a higher one says more."""
    lifted: str = ""
    """Why it was lifted; empty: it holds."""
    one_in: int = Field(default=0, ge=0)
    """Meanwhile the backend may get one request in so many, to find out whether it is well again; 0: none."""

    def join(self, other: Self) -> Self:
        """The later one, and a lifted one over the same that holds."""
        return max(self, other, key=_Withdrawal._rank)

    def _rank(self) -> tuple[int, bool, str]:
        return (self.number, bool(self.lifted), self.model_dump_json())

    def holds(self, now: datetime) -> bool:
        """Tells whether the backend is out at that moment."""
        return not self.lifted and (self.until is None or now < self.until)


class Quarantine(_Withdrawal, key="constraints"):
    """A backend is out; say it again under the same id with a higher number, or as lifted."""


class KnownQuarantine(_Withdrawal, key="constraints"):
    """A quarantine of an earlier run: what the projection `known_quarantines` has of it, under the same id."""


def quarantined(
    standing: Iterable[Fact[Quarantine]], known: Iterable[Fact[KnownQuarantine]], now: datetime
) -> dict[str, Fact[Quarantine] | Fact[KnownQuarantine]]:
    """Returns by backend the quarantine that keeps it out at that moment; of several the first by id.

    What was redacted, or is of a version that cannot be read here, says nothing.
    """
    latest: dict[str, Fact[Quarantine] | Fact[KnownQuarantine]] = {
        fact.id: fact for fact in known if isinstance(fact.payload, KnownQuarantine)
    }
    for fact in standing:
        if not isinstance(fact.payload, Quarantine):
            continue
        before = latest.get(fact.id)
        if before is None or fact.payload._rank() >= before.payload._rank():
            latest[fact.id] = fact
    held = (latest[id] for id in sorted(latest) if latest[id].payload.holds(now))
    found: dict[str, Fact[Quarantine] | Fact[KnownQuarantine]] = {}
    for each in held:
        found.setdefault(each.payload.backend, each)
    return found
