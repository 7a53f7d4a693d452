"""Answers provider requests in a run: with an assignment each, and with a diagnostic for what is no request."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_
from typing import Any

from ...engine import InvalidOption, Proposal, Suggestor, propose, suggestor
from ...facts import Fact, Malformed, View
from ...facts.family import family_of
from .assign import answer
from .envelope import Envelope
from .payloads import (
    Backend,
    KnownQuarantine,
    ProviderAssignment,
    ProviderRequest,
    ProviderRequestError,
    Quarantine,
    quarantined,
)
from .policy import Policy
from .pool import Pool

REQUESTS = family_of(ProviderRequest).name
LONGEST_REASON = 2_000
KEPT_ANSWERS = 10_000
"""How many answers are kept for requests that ask for the same; behind them it begins anew."""

Withdrawal = Fact[Quarantine] | Fact[KnownQuarantine]


def ProviderSelection(policy: Policy | None = None) -> Suggestor:  # noqa: N802  it stands where a class would stand
    """Returns the suggestor that answers each `ProviderRequest` with a `ProviderAssignment` of its id.

    ```python
    from quiesce.suggestors import Backend, ProviderAssignment, ProviderRequest, ProviderSelection

    context = Context()
    context.add(Backend(name="mini", kind="llm", capabilities={"code"}), id="mini")
    context.add(ProviderRequest(required_capabilities=("code",)), id="r1")
    result = Engine([ProviderSelection()]).run_sync(context)
    result.context.of(ProviderAssignment)["r1"].payload.assignments        # (('code', 'mini'),)
    ```

    A request is answered at once, from the backends that are known by then and not in quarantine, and once: an
    assignment that is known stands, whatever comes later. What was admitted as a request and cannot be read becomes
    a `ProviderRequestError`. Only new requests wake it, so a cycle costs what they cost.
    """
    if policy is not None and not isinstance(policy, Policy):
        raise InvalidOption("ProviderSelection(policy=…)", policy, "a Policy or None")
    selection = _Selection(policy)
    made: Suggestor = suggestor(
        reads=[
            ProviderRequest,
            Malformed,
            Backend,
            Quarantine,
            KnownQuarantine,
            ProviderAssignment,
            ProviderRequestError,
        ],
        writes=[ProviderAssignment, ProviderRequestError],
        # Backends and quarantines change no answer that stands, and its own answers are none of its business.
        wakes=[ProviderRequest, Malformed],
        name="ProviderSelection",
        version="1" if policy is None else f"1 {policy.fingerprint()}",
    )(selection.suggest)
    return made


@dataclass(slots=True)
class _Ready:
    """What requests are answered from, made of the facts that a view shows; it holds for just these facts."""

    backends: Sequence[Fact[Backend]]
    out: Mapping[str, Withdrawal]
    pool: Pool
    facts: Mapping[str, Fact[Backend]]
    """By name, the backends that count."""
    answers: dict[bytes, tuple[ProviderAssignment, tuple[Fact[Any], ...]]] = field(default_factory=dict)
    """By the digest of a request: its answer, and what this rests on beside the request."""


class _Selection:
    """Answers requests under one policy."""

    def __init__(self, policy: Policy | None) -> None:
        self.policy = policy
        self._ready: _Ready | None = None  # a shortcut: used only while a view shows the very facts it is made of

    def suggest(self, view: View) -> list[Proposal[Any]]:
        """Returns what there is to say about the requests that are new."""
        said: list[Proposal[Any]] = [
            _diagnose(fact)
            for fact in view.new(Malformed)
            if fact.payload.family == REQUESTS and view.get(ProviderRequestError, fact.id) is None
        ]
        requests: Sequence[Fact[ProviderRequest]] = view.new(ProviderRequest)
        if view.all(ProviderAssignment):
            requests = [fact for fact in requests if view.get(ProviderAssignment, fact.id) is None]
        if requests:
            ready = self._prepare(view)
            for fact in requests:
                if not isinstance(fact.payload, ProviderRequest):  # it was redacted, or is of a newer version
                    continue
                known = ready.answers.get(fact.sha256)
                if known is None:
                    known = _keep_answer(ready, fact)
                found, grounds = known
                said.append(Proposal(found, fact.id, (fact, *grounds), found.coverage_ratio))
        return said

    def _prepare(self, view: View) -> _Ready:
        """Returns what requests are answered from, that of the last call if the facts are the same."""
        backends = view.all(Backend).facts()
        standing, carried = view.all(Quarantine), view.all(KnownQuarantine)
        out = quarantined(standing, carried, view.now) if standing or carried else {}
        ready = self._ready
        if ready is None or not _same(ready.backends, backends) or not _same(ready.out.values(), out.values()):
            ready = self._ready = _make_ready(backends, out, self.policy)
        return ready


def _same(one: Collection[object], other: Collection[object]) -> bool:
    """Tells whether these are the very same facts: comparing what they say would take longer than to begin anew."""
    return len(one) == len(other) and all(map(is_, one, other))


def _make_ready(backends: Sequence[Fact[Backend]], out: Mapping[str, Withdrawal], policy: Policy | None) -> _Ready:
    facts: dict[str, Fact[Backend]] = {}
    for fact in backends:
        if not isinstance(fact.payload, Backend):  # it was redacted, or is of a newer version
            continue
        name = fact.payload.name
        if name not in facts or (fact.id == name and facts[name].id != name):
            facts[name] = fact  # a backend's id is its name: who says so goes before who does not
    whys = {name: _why_out(fact.payload) for name, fact in out.items()}
    pool = Pool([fact.payload for fact in facts.values()], policy, whys)
    return _Ready(backends, out, pool, facts)


def _why_out(said: Quarantine | KnownQuarantine) -> str:
    return said.reason if said.until is None else f"{said.reason}, until {said.until.isoformat()}"


def _keep_answer(
    ready: _Ready, request: Fact[ProviderRequest]
) -> tuple[ProviderAssignment, tuple[Fact[Any], ...]]:  # fmt: skip
    """Returns the answer to a request with what it rests on, and keeps it for those that ask for the same."""
    found = answer(request.payload, ready.pool)
    grounds: list[Fact[Any]] = [ready.facts[name] for name in dict.fromkeys(name for _, name in found.assignments)]
    if found.coverage_ratio < 1:
        wanted = frozenset(Envelope(request.payload).wanted)
        grounds += [
            ready.out[name]
            for name, (backend, _) in ready.pool.out.items()
            if not wanted or not wanted.isdisjoint(backend.capabilities)
        ]
    if len(ready.answers) >= KEPT_ANSWERS:
        ready.answers.clear()
    ready.answers[request.sha256] = kept = (found, tuple(grounds))
    return kept


def _diagnose(malformed: Fact[Malformed]) -> Proposal[ProviderRequestError]:
    """Returns what is said of a request that cannot be read; the id of what was admitted is its full ref already."""
    ref, reason = malformed.id, malformed.payload.reason[:LONGEST_REASON]
    message = f"{ref} was ignored, it is no provider request: {reason}. Mend it and admit it again; others are answered"
    return propose(ProviderRequestError(request=ref, reason=reason, message=message), id=ref, because=[malformed])
