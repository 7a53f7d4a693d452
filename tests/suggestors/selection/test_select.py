"""Shows the suggestor in runs: every request answered once, what is no request told of once, and nothing stopped."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import Converged, Engine, InvalidOption, Proposal, Result, propose, suggestor
from quiesce.engine.testing import assert_deterministic
from quiesce.facts import Contested, Context, Fact, FactLog, Failure, Malformed, Payload, Rejected, View, replay
from quiesce.suggestors.selection import select
from quiesce.suggestors.selection.assign import answer, assign
from quiesce.suggestors.selection.known import known_quarantines
from quiesce.suggestors.selection.payloads import (
    Backend,
    BackendRequirements,
    KnownQuarantine,
    ProviderAssignment,
    ProviderRequest,
    ProviderRequestError,
    Quarantine,
)
from quiesce.suggestors.selection.policy import Policy
from quiesce.suggestors.selection.select import ProviderSelection

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Tick(Payload, key="signals", family="selection-tick"):
    n: int


def backend(name: str, *capabilities: str, **said: Any) -> Backend:
    return Backend(**{"name": name, "kind": "llm", "capabilities": frozenset(capabilities), **said})


def asks(*capabilities: str) -> ProviderRequest:
    return ProviderRequest(required_capabilities=capabilities)


def context_of(*backends: Backend, **requests: ProviderRequest) -> Context:
    context = Context()
    for one in backends:
        context.add(one, id=one.name)
    for id, request in requests.items():
        context.add(request, id=id)
    return context


def run(context: Context, policy: Policy | None = None, **options: Any) -> Result:
    return Engine([ProviderSelection(policy)]).run_sync(context, **options)


def answers(result: Result) -> dict[str, ProviderAssignment]:
    return {id: fact.payload for id, fact in result.context.of(ProviderAssignment).items()}


def complaints(context: Context) -> list[Fact[Any]]:
    """Returns what tells of something that went wrong inside."""
    return [fact for cls in (Contested, Failure, Rejected) for fact in context.of(cls).values()]


# --- answers ------------------------------------------------------------------------------------------------------


def test_a_request_gets_an_assignment_of_its_id_that_rests_on_it_and_on_who_is_in_it() -> None:
    context = context_of(backend("a", "code"), backend("b", "vision"), backend("c", "x"), r1=asks("code", "vision"))
    fact = run(context).context.of(ProviderAssignment)["r1"]

    assert (("code", "a"), ("vision", "b")) == fact.payload.assignments
    assert ("provider-request:r1", "backend:a", "backend:b") == fact.because
    assert ("ProviderSelection", 1, 1.0) == (fact.by, fact.cycle, fact.confidence)


def test_the_confidence_is_the_coverage() -> None:
    result = run(context_of(backend("a", "code"), r1=asks("code", "vision", "x"), r2=asks("x"), r3=asks()))
    confidence = {id: fact.confidence for id, fact in result.context.of(ProviderAssignment).items()}

    assert {"r1": 1 / 3, "r2": 0.0, "r3": 1.0} == confidence
    assert confidence == {id: one.coverage_ratio for id, one in answers(result).items()}


def test_without_any_backend_a_request_is_answered_all_the_same() -> None:
    (found,) = answers(run(context_of(r1=asks("code")))).values()

    assert (0.0, ("code",), "no backend is known") == (found.coverage_ratio, found.unmatched, found.reason)


names = st.sampled_from(["code", "vision", "reasoning"])
some_requests = st.lists(
    st.builds(
        ProviderRequest,
        required_capabilities=st.lists(names, max_size=3).map(tuple),
        backend_requirements=st.sampled_from([None, BackendRequirements(max_cost_class="low")]),
    ),
    max_size=5,
)
some_backends = st.lists(
    st.builds(
        backend, st.sampled_from("abc"), names, cost_class=st.sampled_from(["low", "high"]), slots=st.integers(1, 2)
    ),
    max_size=4,
    unique_by=lambda one: one.name,
)
some_quarantines = st.lists(st.sampled_from("abc"), max_size=2, unique=True)
situations = st.tuples(some_backends, some_requests, some_quarantines)


@pytest.mark.slow
@given(situations=st.lists(situations, min_size=1, max_size=4), policy=st.sampled_from([None, Policy()]))
def test_one_suggestor_answers_in_many_runs_as_the_pure_function_does(
    situations: list[tuple[list[Backend], list[ProviderRequest], list[str]]], policy: Policy | None
) -> None:
    """What it keeps from one run is of no consequence in the next."""
    engine = Engine([ProviderSelection(policy)])
    for pool, requests, out in situations:
        context = context_of(*pool, **{f"r{at}": request for at, request in enumerate(requests)})
        for name in out:
            context.add(Quarantine(backend=name, reason="drift"), id=name)
        expected = {
            f"r{at}": assign("", request, pool, policy, out=dict.fromkeys(out, "drift"))
            for at, request in enumerate(requests)
        }

        assert expected == answers(engine.run_sync(context))


async def test_the_answers_do_not_depend_on_who_is_faster() -> None:
    @suggestor
    async def discover(tick: Fact[Tick]) -> list[Backend]:
        return [backend(f"late{tick.payload.n}", "vision")]

    @suggestor(writes=[ProviderRequest])
    async def ask(tick: Fact[Tick]) -> Any:
        return propose(asks("code", "vision"), id=f"late{tick.payload.n}")

    context = context_of(backend("a", "code"), r1=asks("code", "vision"))
    for n in range(3):
        context.add(Tick(n=n))
    await assert_deterministic(Engine([discover, ask, ProviderSelection()]), context, seeds=range(20))


# --- once ---------------------------------------------------------------------------------------------------------


@suggestor(writes=[Backend, ProviderRequest])
def go_on(tick: Fact[Tick]) -> Iterator[Proposal[Any]]:
    """Brings a backend with the first tick, and a request with the second."""
    if tick.payload.n == 0:
        yield propose(backend("late", "vision"), id="late")
    else:
        yield propose(asks("vision"), id="r2")


def test_an_assignment_stands_whatever_comes_later_in_the_run() -> None:
    """A backend that comes later serves later requests; the answer that was given is not taken back."""

    @suggestor(reads=[Backend], writes=[Tick])
    def then(view: View) -> Tick | None:
        return Tick(n=1) if view.get(Backend, "late") else None

    context = context_of(r1=asks("vision"))
    context.add(Tick(n=0))
    result = Engine([ProviderSelection(), go_on, then]).run_sync(context)

    assert {"r1": 0.0, "r2": 1.0} == {id: one.coverage_ratio for id, one in answers(result).items()}
    assert [] == complaints(result.context)


def test_run_again_nothing_is_answered_again() -> None:
    engine = Engine([ProviderSelection()])
    context = context_of(backend("a", "code"), r1=asks("code"))
    context.admit("provider-request", "broken", b"{")
    first = engine.run_sync(context)
    second = engine.run_sync(first.context)

    assert list(first.context) == list(second.context)
    assert first.context.trail.cycle == second.context.trail.cycle


def test_a_run_that_goes_on_answers_what_is_new_and_leaves_what_stands() -> None:
    engine = Engine([ProviderSelection()])
    first = engine.run_sync(context_of(r1=asks("code")))
    context = first.context.copy()
    context.add(backend("a", "code"), id="a")
    context.add(asks("code"), id="r2")
    second = engine.run_sync(context)

    assert first.context.of(ProviderAssignment)["r1"] is second.context.of(ProviderAssignment)["r1"]
    assert 1.0 == answers(second)["r2"].coverage_ratio


def test_under_another_policy_everything_is_shown_again_and_nothing_answered_again() -> None:
    """B 4, B 17: a second assignment under one id was a conflict and the end of the run."""
    pool = [backend("dear", "code", cost_class="high"), backend("cheap", "code", cost_class="low")]
    first = run(context_of(*pool, r1=asks("code")))
    second = run(first.context, Policy())

    assert {"r1": (("code", "dear"),)} == {id: one.assignments for id, one in answers(second).items()}
    assert [] == complaints(second.context)


def test_an_assignment_that_somebody_else_made_stands() -> None:
    context = context_of(backend("a", "code"), r1=asks("code"))
    by_hand = ProviderAssignment(assignments=(("code", "b"),), unmatched=(), coverage_ratio=1.0)
    context.add(by_hand, id="r1")
    result = run(context)

    assert {"r1": by_hand} == answers(result)
    assert [] == complaints(result.context)


def test_a_record_comes_out_as_it_was_and_a_fork_answers_what_it_adds() -> None:
    log, engine = FactLog.open(), Engine([ProviderSelection(Policy())])
    context = context_of(backend("a", "code"), r1=asks("code"), r2=asks("vision"))
    context.admit("provider-request", "broken", b"{")
    engine.run_sync(context, log=log, run_id="r")
    fork = engine.fork_sync(log, "r", add=[(asks("code"), "r3")], run_id="f")

    assert engine.rerun_sync(log, "r").same
    assert ["r1", "r2", "r3"] == list(answers(fork))
    assert [] == complaints(fork.context)


def test_another_policy_is_another_version_for_the_record() -> None:
    log = FactLog.open()
    context = context_of(backend("a", "code"), r1=asks("code"))
    Engine([ProviderSelection()]).run_sync(context, log=log, run_id="r")
    found = Engine([ProviderSelection(Policy())]).rerun_sync(log, "r")

    assert any("'ProviderSelection' has changed" in change for change in found.changes)


@pytest.mark.parametrize("id", ["x", "provider-request:x", "provider-request:provider-request:x", "a/b c:é"])
def test_an_id_is_taken_as_it_is(id: str) -> None:
    """B 1: prefixes were trimmed off, as often as they stood there, so that three requests had one answer."""
    context = context_of(backend("a", "code"))
    ids = sorted({"x", "provider-request:x", id})
    for one in ids:
        context.add(asks("code"), id=one)

    assert ids == sorted(answers(run(context)))


# --- what is no request -------------------------------------------------------------------------------------------

BROKEN = {
    "broken JSON": b'{"required_capabilities": ["code"',
    "no object": b"7",
    "wrong type": b'{"required_capabilities": "code"}',
    "an unknown field": b'{"capabilities": ["code"]}',
    "an empty name": b'{"required_capabilities": [""]}',
    "a number": b'{"required_capabilities": [1]}',
    "NaN": b'{"backend_requirements": {"max_latency_ms": NaN}}',
    "no UTF-8": b'{"required_capabilities": ["\xff"]}',
    "an unknown cost class": b'{"backend_requirements": {"max_cost_class": "dirt cheap"}}',
    "too much": json.dumps({"required_capabilities": ["a"] * 100_001}).encode(),
    "nothing": b"",
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_a_malformed_request_is_told_of_once_and_blocks_nobody(raw: bytes) -> None:
    """M 4, B 11."""
    engine = Engine([ProviderSelection()])
    context = context_of(backend("a", "code"), r1=asks("code"))
    malformed = context.admit("provider-request", "broken", raw)
    result = engine.run_sync(context)
    again = engine.run_sync(result.context)
    again = Engine([ProviderSelection(Policy())]).run_sync(again.context)
    (error,) = again.context.of(ProviderRequestError).values()

    assert isinstance(malformed.payload, Malformed)
    assert "provider-request:broken" == error.id == error.payload.request
    assert malformed.payload.reason == error.payload.reason
    assert error.payload.message.startswith("provider-request:broken was ignored, it is no provider request: ")
    assert (malformed.ref,) == error.because
    assert ["r1"] == list(answers(result))
    assert [] == complaints(again.context)


def test_what_somebody_else_said_of_a_malformed_request_stands() -> None:
    context = Context()
    context.admit("provider-request", "broken", b"{")
    said = ProviderRequestError(request="provider-request:broken", reason="cut off", message="by hand")
    context.add(said, id="provider-request:broken")
    result = run(context)

    assert [said] == [fact.payload for fact in result.context.of(ProviderRequestError).values()]
    assert [] == complaints(result.context)


def test_what_is_malformed_and_no_request_is_not_its_business() -> None:
    context = context_of(r1=asks())
    context.admit("backend", "a", b"{")
    context.admit("who-knows", "a", b"{}")

    assert {} == run(context).context.of(ProviderRequestError)


def test_a_malformed_request_without_an_id_and_one_with_a_bad_one_are_told_of() -> None:
    context = context_of()
    for place, id in enumerate([None, "", "x" * 5_000, "a\nb"]):
        context.admit("provider-request", id, b"{" * (1 + place))
    result = run(context)

    assert sorted(result.context.of(Malformed)) == sorted(result.context.of(ProviderRequestError))
    assert [] == complaints(result.context)


def test_a_request_that_is_mended_is_answered_under_its_id() -> None:
    engine = Engine([ProviderSelection()])
    context = context_of(backend("a", "code"))
    context.admit("provider-request", "r1", b"{")
    context = engine.run_sync(context).context
    context.admit("provider-request", "r1", b'{"required_capabilities": ["code"]}')

    assert 1.0 == answers(engine.run_sync(context))["r1"].coverage_ratio


def nonsense(chance: random.Random, depth: int = 0) -> Any:
    """Returns some JSON value, more often than not one that looks like a field's value."""
    kind = chance.randrange(9 if depth < 3 else 7)
    if kind < 4:
        return chance.choice(["code", "", "llm", "high", "a" * 300, "\u0000", "é\ud800", "provider-request:x", "NaN"])
    if kind == 7:
        return [nonsense(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 8:
        fields = [*Backend.model_fields, *ProviderRequest.model_fields, *BackendRequirements.model_fields, "x"]
        return {chance.choice(fields): nonsense(chance, depth + 1) for _ in range(chance.randrange(6))}
    return [chance.choice([0, 1, -1, 1e308, 10**30, float("nan"), float("inf")]), None, True][kind - 4]


def hostile(chance: random.Random, base: dict[str, Any]) -> bytes:
    """Returns a document that may be valid: with fields of it replaced, cut off, or bytes changed."""
    said = dict(base)
    for name in chance.sample(sorted(base), chance.randrange(3)):
        said[name] = nonsense(chance)
    if chance.random() < 0.1:
        said = nonsense(chance)
    raw = json.dumps(said).encode()
    if chance.random() < 0.2:
        raw = raw[: chance.randrange(len(raw) + 1)]
    if raw and chance.random() < 0.1:
        at = chance.randrange(len(raw))
        raw = raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
    return raw


@pytest.mark.slow
@pytest.mark.parametrize("policy", [None, Policy(latency=1)], ids=["", "policy"])
def test_thousands_of_hostile_documents_stop_nothing(policy: Policy | None) -> None:
    """Whatever became a request is answered, whatever did not is told of; nothing fails inside."""
    chance = random.Random(7)
    whole = json.loads(backend("a", "code", "vision").model_dump_json())
    context = Context()
    for n in range(500):
        context.admit("backend", f"b{n}", hostile(chance, {**whole, "name": f"b{n % 400}"}))
        until = chance.choice([None, "2026-11-21T12:00:00Z", "2026-11-21T12:00:00", "never"])
        context.admit("quarantine", f"q{n}", hostile(chance, {"backend": f"b{n}", "reason": "x", "until": until}))
    needs = json.loads(BackendRequirements.fast_llm().model_dump_json())
    for n in range(10_000):
        asked = {"required_capabilities": [chance.choice(["code", "vision", "x"])] * chance.randrange(3)}
        context.admit("provider-request", f"r{n}", hostile(chance, {**asked, "backend_requirements": chance.choice([None, needs])}))  # fmt: skip  # noqa: E501
    result = run(context, policy)
    ignored = [id for id in result.context.of(Malformed) if id.startswith("provider-request:")]

    assert isinstance(result.stop, Converged)
    assert [] == complaints(result.context)
    assert list(result.context.of(ProviderRequest)) == list(answers(result))
    assert ignored == list(result.context.of(ProviderRequestError))
    assert 2_000 < len(ignored) < 8_000  # there is enough of both


# --- quarantine ---------------------------------------------------------------------------------------------------


def test_a_quarantine_takes_a_backend_out_and_what_rests_on_that_says_so() -> None:
    context = context_of(backend("a", "code"), backend("b", "x"), r1=asks("code"))
    context.add(Quarantine(backend="a", reason="drift", until=NOON + timedelta(hours=1)), id="a-drift")
    fact = run(context, started=NOON).context.of(ProviderAssignment)["r1"]

    assert "no backend has code but a, which is out (drift, until 2026-11-21T13:00:00+00:00)" == fact.payload.reason
    assert ("provider-request:r1", "quarantine:a-drift") == fact.because


@pytest.mark.parametrize(
    ("said", "is_out"),
    [
        ([Quarantine(backend="a", reason="drift", until=NOON)], False),
        ([Quarantine(backend="a", reason="drift", until=NOON + timedelta(seconds=1))], True),
        ([Quarantine(backend="a", reason="drift", lifted="well")], False),
        ([KnownQuarantine(backend="a", reason="drift")], True),
        ([KnownQuarantine(backend="a", reason="drift"), Quarantine(backend="a", reason="drift", lifted="well")], False),
        ([KnownQuarantine(backend="a", reason="drift", lifted="well"), Quarantine(backend="a", reason="drift")], False),
        (
            [KnownQuarantine(backend="a", reason="", lifted="well"), Quarantine(backend="a", reason="", number=2)],
            True,
        ),
        ([Quarantine(backend="somebody else", reason="drift")], False),
    ],
)
def test_a_backend_is_out_by_what_was_said_of_it_last_at_the_time_of_the_run(
    said: list[Quarantine | KnownQuarantine], is_out: bool
) -> None:
    context = context_of(backend("a", "code"), r1=asks("code"))
    for one in said:
        context.add(one, id="a-drift")

    assert is_out == (answers(run(context, started=NOON))["r1"].coverage_ratio == 0)


def test_a_quarantine_in_one_run_keeps_a_backend_out_of_the_next_until_it_is_lifted() -> None:
    log = FactLog.open(projections=[known_quarantines])
    engine = Engine([ProviderSelection()])

    def cover(id: str, *said: Quarantine) -> float:
        context = log.context()
        context.add(backend("a", "code"), id="a")
        context.add(asks("code"), id=id)
        for one in said:
            context.add(one, id="a-drift")
        return answers(engine.run_sync(context, log=log))[id].coverage_ratio

    out = Quarantine(backend="a", reason="drift")
    found = [
        cover("r1"), cover("r2", out), cover("r3"), cover("r4", out.model_copy(update={"lifted": "well"})),
        cover("r5"), cover("r6", out), cover("r7", out.model_copy(update={"number": 2})), cover("r8"),
    ]  # fmt: skip

    assert [1, 0, 0, 1, 1, 1, 0, 0] == found


def test_backends_that_come_and_go_between_requests_of_one_run_are_seen_at_once() -> None:
    """What is kept from call to call is given up when a quarantine is said, lifted, or a backend comes."""

    @suggestor(writes=[Quarantine, Backend, ProviderRequest, Tick])
    def happen(tick: Fact[Tick]) -> Iterator[Any]:
        n = tick.payload.n
        if n == 1:
            yield propose(Quarantine(backend="a", reason="drift"), id="a")
        if n == 3:
            yield propose(backend("b", "code"), id="b")
        if n == 5:
            yield propose(Quarantine(backend="a", reason="drift", lifted="well"), id="a")
        yield propose(asks("code", "code"), id=f"r{n}")
        if n < 6:
            yield Tick(n=n + 1)

    context = context_of(backend("a", "code"))
    context.add(Tick(n=0))
    found = answers(Engine([happen, ProviderSelection()]).run_sync(context))

    assert [0.5, 0.0, 0.0, 0.5, 0.5, 1.0, 1.0] == [one.coverage_ratio for one in found.values()]


def test_what_was_redacted_says_nothing_and_stops_nothing() -> None:
    """A run that goes on from a record in which backends, requests and quarantines were erased."""
    log = FactLog.open()
    context = context_of(backend("a", "code"), backend("b", "code"), r1=asks("code"), r2=asks("x"))
    context.add(Quarantine(backend="b", reason="drift"), id="b")
    Engine([]).run_sync(context, log=log, run_id="r")
    log.redact("r", ["backend:a", "provider-request:r1", "quarantine:b"], reason="asked", by="ana")
    result = run(replay(log, "r"))

    assert ["r2"] == list(answers(result))
    assert [] == complaints(result.context)


# --- whose name, whose id -----------------------------------------------------------------------------------------


def test_of_two_backends_of_one_name_the_one_whose_id_it_is_counts() -> None:
    """And one that was added without an id goes by its name all the same."""
    context = Context()
    context.add(backend("a", "vision"), id="not a")
    context.add(backend("a", "code"), id="a")
    context.add(backend("b", "reasoning"))
    context.add(asks("code", "vision", "reasoning"), id="r1")

    assert (("code", "a"), ("reasoning", "b")) == answers(run(context))["r1"].assignments


# --- what it costs ------------------------------------------------------------------------------------------------


def test_a_cycle_costs_what_its_requests_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """B 3: the pool is looked through once in a run of many cycles, and what asks for the same is answered once."""
    made: list[int] = []
    answered: list[ProviderRequest] = []
    make_ready = select._make_ready

    def count_ready(*given: Any) -> Any:
        made.append(1)
        return make_ready(*given)

    def count_answer(request: ProviderRequest, pool: Any) -> ProviderAssignment:
        answered.append(request)
        return answer(request, pool)

    monkeypatch.setattr(select, "_make_ready", count_ready)
    monkeypatch.setattr(select, "answer", count_answer)

    @suggestor(writes=[ProviderRequest, Tick])
    def stream(tick: Fact[Tick]) -> Iterator[Any]:
        n = tick.payload.n
        yield propose(asks(["code", "vision"][n % 2]), id=f"r{n}")
        if n < 49:
            yield Tick(n=n + 1)

    context = context_of(*(backend(f"b{n}", "code") for n in range(100)))
    context.add(Tick(n=0))
    result = Engine([stream, ProviderSelection()]).run_sync(context)

    assert [f"r{n}" for n in range(50)] == list(answers(result))
    assert 1 == len(made)
    assert [asks("code"), asks("vision")] == answered


def test_only_requests_wake_it() -> None:
    """Backends, quarantines and its own answers do not: a converged context to which those are added stays as it is."""
    engine = Engine([ProviderSelection()])
    context = engine.run_sync(context_of(r1=asks("code"))).context
    context.add(backend("a", "code"), id="a")
    context.add(Quarantine(backend="a", reason="drift"), id="a")
    before = len(context)

    assert before == len(engine.run_sync(context).context)


def test_the_engine_finds_nothing_to_warn_of() -> None:
    assert {"info"} >= {finding.level for finding in Engine([ProviderSelection()]).check()}


def test_kept_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "KEPT_ANSWERS", 3)
    context = context_of(backend("a", "code"), **{f"r{n}": asks("code", f"x{n}") for n in range(10)})
    result = run(context)

    assert {f"r{n}": assign("", asks("code", f"x{n}"), [backend("a", "code")]) for n in range(10)} == answers(result)


def test_what_is_no_policy_is_refused() -> None:
    with pytest.raises(InvalidOption, match=r"ProviderSelection\(policy=…\)=3 is not a Policy or None"):
        ProviderSelection(3)  # type: ignore[arg-type]  # that is the point
