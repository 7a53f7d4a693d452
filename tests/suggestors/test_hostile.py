"""Sends the pack what nobody should: 10,000 hostile messages, each of which becomes a fact, and which stop no run.

They are made from sound messages by one or two faults each, so most come near to being valid: that is where parsers and
folds have their holes. What is admitted in spite of its fault reaches the suggestors, which have to live with it: none
may raise, since one that raises answers nobody in that cycle.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from quiesce.engine import Budget, Converged, Engine, propose, suggestor
from quiesce.facts import Contested, Context, Fact, FactLog, Failure, Malformed, verify
from quiesce.suggestors import (
    Backend,
    Feedback,
    Outcome,
    ProviderAssignment,
    ProviderRequest,
    ProvidersPack,
    ResponseObservation,
    RouteDecision,
    Unroutable,
    providers,
)

CASES = int(os.environ.get("SOAK_CASES") or 50_000)
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
SOUND: dict[str, dict[str, Any]] = {
    "provider-request": {
        "required_capabilities": ["text_generation", "reasoning"],
        "backend_requirements": {
            "kind": "llm", "required_capabilities": ["text_generation"], "max_cost_class": "high",
            "max_latency_ms": 2000.0, "region": "eu", "country": "DE", "compliance": ["gdpr"], "min_context_tokens": 10,
            "requires_replay": False, "requires_offline": False,
        },
    },
    "route-request": {
        "providers": ["good", "other"], "features": [0.1, 0.2], "tags": ["tenant-1"], "max_cost": 0.5,
        "min_quality": 0.1,
    },
    "outcome": {
        "request_id": "healthy-0", "provider": "good", "success": True, "reward": 0.5, "latency_ms": 12.0, "tokens": 10,
        "cost": 0.1, "quality": 0.9, "at": 1_767_225_600.0, "tags": ["tenant-1"], "features": [0.5, 0.5],
    },
    "response-observation": {
        "provider": "good", "output_tokens": 120, "has_tool_use": False, "request_had_tools": True,
        "stop_reason": "stop", "is_error": False, "stream": False, "model": "m", "latency_ms": 10.0, "cost": 0.1,
        "score": 0.5,
    },
    "feedback": {
        "user_message": "no, that is wrong", "assistant_response": "It is 42.", "provider": "good",
        "request_id": "healthy-0", "earlier": ["what is it?"],
    },
    "feedback-verdict": {
        "is_correction": True, "kind": "explicit_rejection", "confidence": 0.9, "reasoning": "", "judge": "rules",
        "samples": 1, "provider": "good", "request_id": "healthy-0", "advisory": False,
    },
    "backend": {
        "name": "rogue", "kind": "llm", "capabilities": ["text_generation"], "cost_class": "low", "latency_ms": 10.0,
        "region": "eu", "country": "DE", "compliance": ["gdpr"], "context_tokens": 1000, "slots": 1, "quality": 0.5,
    },
    "quarantine": {
        "backend": "other", "reason": "hand-made", "until": "2026-01-02T00:00:00Z", "number": 1, "lifted": "",
        "one_in": 4,
    },
    # What nobody should say from outside, but may: values of projections, and what suggestors of the pack write.
    "known-quarantine": {"backend": "good", "reason": "?", "until": "2026-01-01T00:00:00Z", "number": 3, "one_in": 2},
    "posterior": {
        "provider": "good", "successes": 3.0, "failures": 1.0, "observations": 4, "cost": 0.2, "last": 5.0,
        "recent": [1.0, 0.0], "recent_at": [1.0, None], "quality_successes": 1.0, "quality_failures": 1.0,
        "quality_observations": 2, "resets": 1, "forgotten": [1.0, 1.0, 0.0, 0.0],
    },
    "evidence-reset": {
        "provider": "good", "posterior": "good", "successes": 3.0, "failures": 1.0, "quality_successes": 1.0,
        "quality_failures": 1.0, "number": 2, "why": "drift-verdict:good#1",
    },
    "linear-evidence": {
        "provider": "good", "dim": 2, "observations": 3, "gram": [1.0, 0.1, 1.0], "moment": [0.5, 0.5], "last": 1.0,
    },
    "spending": {"period": "undated", "cost": 1.0, "tokens": 10, "answers": 2},
    "probe-turn": {"provider": "good", "request_id": "healthy-0", "what": "held"},
    "probe-tally": {"provider": "good", "turns": 4, "held": 3, "probes": 1, "last_probe": 2, "trials": 0},
    "ledger-mark": {"watermark": 17},
    "known-window": {
        "provider": "good", "model": "", "stream": False, "settings": "20/", "total": 30, "watched": 30, "held": 2,
        "recent": "CGQIZA==", "severity": "mild", "number": 2, "since": 20, "counts": [["empty", 1, 2, 3, 4]],
        "life": [["empty", 1, 2]],
        "cuts": [["short", 10.0]], "early": [["output_tokens", [1.0]]], "starts": [["empty", [1, 2]]],
        "alarms": [["empty", 0.5, 1, 2]], "numbers": [["latency_ms", ""]],
    },
    "drift-verdict": {
        "provider": "good", "drifted": True, "severity": "severe", "signals": {"error_rate": 1.0}, "reason": "x",
        "observations": 20, "window": "good", "number": 1, "at": 20,
    },
    "provider-assignment": {
        "assignments": [["text_generation", "good"]], "unmatched": [], "coverage_ratio": 1.0, "reason": "",
    },
    "route-decision": {
        "provider": "good", "alpha": 1.0, "beta": 1.0, "sample": 0.5, "exploit": True, "propensity": 0.5,
        "eligible": ["good", "other"], "policy": "thompson",
    },
    "unroutable": {"reason": "nobody", "decided": False},
    "provider-request-error": {"request": "provider-request:x", "reason": "?", "message": "?"},
    "step-failure": {
        "trajectory": "00000000-0000-7000-8000-000000000000", "step": 1, "action": "call", "error": "timeout",
        "cause": "external_failure", "signature": "call/timeout", "remedy": "call", "worked": True,
    },
    "trajectory": {
        "id": "traj-1", "uuid": "00000000-0000-7000-8000-000000000000", "steps": [], "verdict": {"kind": "success"},
        "quality": 1.0, "latency_ms": 3.0, "started": "2026-01-01T00:00:00Z", "completed": "2026-01-01T00:00:01Z",
        "lessons": ["ask again"], "query_embedding": [0.1, 0.9],
    },
}  # fmt: skip
FROM_OUTSIDE = (
    "provider-request", "route-request", "outcome", "response-observation", "feedback", "feedback-verdict", "backend",
    "quarantine",
)  # fmt: skip
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, -0.0, 1, 2**31, 2**53, 2**63, -(2**63), 10**40, 1e-320, 1e308, -1e308, 0.5, 2.0,
    "", " ", "\x00", "\ud800", "\u202e", "a" * 199, "a" * 200, "a" * 201, "ü" * 200, "\U0001d518" * 100,
    "../../etc/passwd",
    "'; DROP TABLE events; --", "{{7*7}}", "<script>", "nan", "Infinity", "1e999", "true", "null", "\r\n\r\n",
    "2026-01-02", "2026-01-02T00:00:00", "2026-01-02T00:00:00+14:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z",
    "good", "other", "rogue", "good/tag", "good/", "/", "provider-request:x", "healthy-0",
    [], {}, [[]], [None], ["good"] * 3, ["good", "good", "other"], ["x"] * 1000, list(range(300)), {"a": {"b": {}}},
    [1e308] * 8, [0.0] * 8, [-1.0, 1.0], ["tenant-1"] * 50, [str(number) for number in range(100)],
)  # fmt: skip
LITERALS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 400, b"0x10", b"01", b"undefined", b"'a'")
IDS: tuple[str | None, ...] = (
    None, "", " ", "a", "healthy-0", "r:1", "good", "a/b", "\x00", "\n", "x" * 300, "x" * 5000, "\ud800", "ü" * 200,
    "..", "provider-request:r1", "\u202eabc",
)  # fmt: skip
FAMILIES = (*FROM_OUTSIDE * 6, *SOUND, "nobody-knows-it", "")
Fault = Callable[[Random, dict[str, Any], bytes], bytes]


def strange_value(chance: Random, data: dict[str, Any], raw: bytes) -> bytes:
    """A field of another size or meaning, most of them of the same type."""
    held = data
    if chance.random() < 0.3 and isinstance(data.get("backend_requirements"), dict):
        held = data["backend_requirements"] = dict(data["backend_requirements"])
    field = chance.choice(sorted(held) or ["x"])
    alike = [one for one in STRANGE if kind_of(one) == kind_of(held.get(field))]
    held[field] = chance.choice(alike if alike and chance.random() < 0.7 else STRANGE)
    return dumped(data)


def kind_of(value: Any) -> str:
    """Returns what JSON calls a value, with all numbers alike."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def missing_field(chance: Random, data: dict[str, Any], raw: bytes) -> bytes:
    if data:
        del data[chance.choice(sorted(data))]
    return dumped(data)


def unknown_field(chance: Random, data: dict[str, Any], raw: bytes) -> bytes:
    data[chance.choice(["extra", "__class__", "__proto__", "", "join", "model_config"])] = chance.choice(STRANGE)
    return dumped(data)


def odd_literal(chance: Random, data: dict[str, Any], raw: bytes) -> bytes:
    """A number or word that JSON does not have, or that no float holds."""
    field = chance.choice(sorted(data) or ["x"])
    return dumped({**data, field: "@here@"}).replace(b'"@here@"', chance.choice(LITERALS), 1)


def same_key_twice(chance: Random, data: dict[str, Any], raw: bytes) -> bytes:
    field = chance.choice(sorted(data) or ["x"])
    return raw[:-1] + b"," + dumped({field: chance.choice(STRANGE)})[1:]


def cut_off(chance: Random, data: dict[str, Any], raw: bytes) -> bytes:
    return raw[: chance.randrange(len(raw) + 1)]


def flipped(chance: Random, data: dict[str, Any], raw: bytes) -> bytes:
    """Some bytes are others."""
    changed = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def noise(chance: Random, data: dict[str, Any], raw: bytes) -> bytes:
    return chance.randbytes(chance.randrange(200))


def other_shape(chance: Random, data: dict[str, Any], raw: bytes) -> bytes:
    return chance.choice(
        [b"[]", b"[" + raw + b"]", b"null", b"3", b'"text"', raw + raw, b"\xef\xbb\xbf" + raw, raw + b"\x00"]
    )


def deep(chance: Random, data: dict[str, Any], raw: bytes) -> bytes:
    depth = chance.choice([50, 500, 5000])
    return dumped({**data, chance.choice(sorted(data) or ["x"]): "@"}).replace(b'"@"', b"[" * depth + b"]" * depth, 1)


def large(chance: Random, data: dict[str, Any], raw: bytes) -> bytes:
    field = chance.choice(sorted(data) or ["x"])
    return dumped({**data, field: chance.choice(["é" * 50_000, ["a"] * 20_000, "x" * 1_100_000])})


def nothing_wrong(chance: Random, data: dict[str, Any], raw: bytes) -> bytes:
    """Sound by itself: what may be wrong is its id, its family, or that it comes at all."""
    return raw


FAULTS: dict[Fault, int] = {
    strange_value: 40, missing_field: 8, unknown_field: 4, odd_literal: 6, same_key_twice: 8, cut_off: 4, flipped: 8,
    noise: 2, other_shape: 3, deep: 1, large: 1, nothing_wrong: 15,
}  # fmt: skip


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def message(chance: Random) -> tuple[str, str | None, bytes]:
    """Returns a family, an id and bytes with at least one thing wrong about most of them."""
    family = chance.choice(FAMILIES)
    data = dict(SOUND.get(family) or SOUND[chance.choice(sorted(SOUND))])
    fault = chance.choices(list(FAULTS), list(FAULTS.values()))[0]
    if chance.random() < 0.2:
        strange_value(chance, data, b"")
    raw = fault(chance, data, dumped(data))
    return family, chance.choice(IDS) if chance.random() < 0.15 else f"m{chance.randrange(200)}", raw


@suggestor(name="hostile-call", reads=[], writes=[Outcome, ResponseObservation, Feedback])
def call(decision: Fact[RouteDecision]) -> Any:
    """Plays the provider: whoever is named answers."""
    named = decision.payload.provider[:200] or "nobody"
    yield propose(Outcome(request_id=decision.id, provider=named, success=True), id=decision.id)
    seen = ResponseObservation(provider=named, output_tokens=90, has_tool_use=False, request_had_tools=False)
    yield propose(seen, id=decision.id)
    yield propose(Feedback(user_message="thanks", assistant_response="It is 42.", provider=named), id=decision.id)


def pack_of() -> ProvidersPack:
    doing = frozenset({"text_generation"})
    return providers([Backend(name=name, kind="llm", capabilities=doing) for name in ("good", "other")])


def is_accounted_for(context: Context, said: Fact[Any], family: str, raw: bytes) -> bool:
    """Tells whether a message became a fact of its family, or a diagnostic that keeps it."""
    if context.find(said.ref) is not said:
        return False
    if any(fact.payload.ref == said.ref for fact in context.of(Contested).values()):
        return True  # something else was said under its id; both are kept
    if isinstance(said.payload, Malformed):
        return said.payload.raw == raw and bool(said.payload.reason)
    return said.family == family


def send(pack: ProvidersPack, engine: Engine, log: FactLog, seed: int, size: int) -> Counter[str]:
    """Admits so many messages beside a healthy request, runs, and checks what came of it."""
    chance = Random(seed)
    context = pack.context(log)
    healthy = f"healthy-{seed}"
    context.add(ProviderRequest(required_capabilities=("text_generation",)), id=healthy)
    kinds: Counter[str] = Counter()
    for _ in range(size):
        family, id, raw = message(chance)
        said = context.admit(family, id, raw, by="the world")
        kinds["malformed" if isinstance(said.payload, Malformed) else "fact"] += 1

        assert is_accounted_for(context, said, family, raw), (family, id, raw[:300])
    result = engine.run_sync(context, log=log, run_id=f"run-{seed}", seed=seed, started=STARTED)
    failures = [
        f"{fact.payload.suggestor}: {fact.payload.error}: {fact.payload.message}"
        for fact in result.context.of(Failure).values()
    ]

    assert [] == failures, seed
    assert isinstance(result.stop, Converged), (seed, result.stop)
    assert healthy in result.context.of(ProviderAssignment), seed
    assert healthy in {*result.context.of(RouteDecision), *result.context.of(Unroutable)}, seed
    return kinds


def storm(messages: int, size: int, first: int = 0) -> Counter[str]:
    """Sends so many messages in runs of `size` into one log, and checks the log and what was learned from it."""
    pack = pack_of()
    engine = pack.engine(call, budget=Budget(cycles=500))
    kinds: Counter[str] = Counter()
    with pack.open(":memory:") as log:
        for seed in range(first, first + messages // size):
            kinds += send(pack, engine, log, seed, size)

        assert [] == [str(check) for check in log.check_projections() if not check.ok]
        assert all(verify(log, run).ok for run in list(log.runs())[:: max(1, messages // size // 10)])
    return kinds


@pytest.mark.slow
def test_ten_thousand_hostile_messages_stop_no_run() -> None:
    """Each becomes a diagnostic or a fact; no suggestor of the pack fails; healthy requests are answered."""
    kinds = storm(10_000, 200)

    assert 10_000 == sum(kinds.values())
    assert min(kinds["malformed"], kinds["fact"]) > 2_000


@pytest.mark.soak
def test_hostile_messages_for_long() -> None:
    """Other ones every time, and in runs of other sizes."""
    first = int.from_bytes(os.urandom(4))
    for size in (1, 20, 1_000):
        messages = max(CASES // 3, size)

        assert messages // size * size == sum(storm(messages, size, first).values())


def test_the_messages_that_are_made_worse_are_sound_to_begin_with() -> None:
    """Otherwise nobody would see what their faults lead to."""
    said = {family: Context().admit(family, "m", dumped(data)) for family, data in SOUND.items()}

    assert {} == {family: fact.payload for family, fact in said.items() if isinstance(fact.payload, Malformed)}
