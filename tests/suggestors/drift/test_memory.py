"""Shows that what is known of a window passes through its payload unchanged, and that nobody's garbage gets in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.suggestors.drift.memory import Memory
from quiesce.suggestors.drift.payloads import DriftVerdict, KnownWindow, ResponseObservation
from quiesce.suggestors.drift.remember import fold, project
from quiesce.suggestors.drift.seen import key_of, see
from quiesce.suggestors.drift.settings import Settings
from quiesce.suggestors.drift.sound import is_sound
from quiesce.suggestors.drift.watch import WATCHES, BaselineOptions

SMALL = Settings(10, BaselineOptions(warm_up=16, watch=WATCHES, alpha=0.5, recovery=5), ("cost", "latency_ms"), 7)
PLAIN = Settings(6, None)

observations = st.builds(
    ResponseObservation,
    provider=st.just("acme"),
    output_tokens=st.one_of(st.integers(0, 2), st.integers(200, 400)),
    has_tool_use=st.booleans(),
    request_had_tools=st.booleans(),
    stop_reason=st.sampled_from(["stop", "length", "refusal"]),
    is_error=st.sampled_from([False, False, True]),
    latency_ms=st.one_of(st.none(), st.floats(0, 1e9)),
    cost=st.one_of(st.none(), st.floats(0, 1)),
    score=st.one_of(st.none(), st.floats(-1, 1)),
)


def verdict(severity: Any, number: int, at: int) -> DriftVerdict:
    return DriftVerdict(
        provider="acme", drifted=severity != "none", severity=severity, signals={}, reason="", observations=6,
        window="acme", number=number, at=at,
    )  # fmt: skip


def answer(**said: Any) -> ResponseObservation:
    said = {"output_tokens": 300, "has_tool_use": False, "request_had_tools": False, "stop_reason": "stop", **said}
    return ResponseObservation(provider="acme", **said)


@given(said=st.lists(observations, min_size=1, max_size=80), settings=st.sampled_from([SMALL, PLAIN]))
def test_a_fold_through_payloads_is_a_fold_in_memory(said: list[ResponseObservation], settings: Settings) -> None:
    """Step by step through bytes, as a ledger does it, against all at once, as a run does it."""
    memory = Memory(key_of(said[0]), settings)
    known: KnownWindow | None = None
    for one in said:
        memory.observe(one)
        folded = fold(known, one, settings)
        assert folded is not None
        known = KnownWindow.model_validate_json(folded.model_dump_json())

    assert memory.payload() == known
    assert [see(one) for one in said[-settings.size :]] == memory.recent()
    assert is_sound(memory.payload(), settings)


@given(said=st.lists(observations, min_size=1, max_size=60), data=st.data())
def test_what_stands_in_a_payload_goes_on_as_if_nothing_had_happened(
    said: list[ResponseObservation], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(said)))
    whole, memory = Memory(key_of(said[0]), SMALL), Memory(key_of(said[0]), SMALL)
    for place, one in enumerate(said):
        if place == cut:
            memory = Memory.of(memory.payload(), SMALL)
        whole.observe(one)
        memory.observe(one)

    assert whole.payload() == memory.payload()


def test_a_verdict_is_remembered() -> None:
    """Where the next run goes on numbering, and since when a window is calm."""
    known = fold(None, answer(), PLAIN)
    known = fold(known, verdict("mild", 3, 1), PLAIN)
    known = fold(known, answer(), PLAIN)
    assert known is not None

    assert ("mild", 3, 1, 2) == (known.severity, known.number, known.since, known.total)
    assert 0 == Memory.of(known, PLAIN).calm
    known = fold(known, verdict("none", 4, 2), PLAIN)
    assert known is not None
    assert 1 == Memory.of(known, PLAIN).calm


def test_a_verdict_on_what_nobody_has_seen_is_left_alone() -> None:
    assert fold(None, verdict("severe", 1, 6), PLAIN) is None


@pytest.mark.parametrize("window", ["", " ", "a\nb", "x" * 600])
def test_a_verdict_of_somebody_else_stops_no_projection(window: str) -> None:
    """Its window need not be a name at all."""
    from quiesce.facts import Context

    projection = project(PLAIN)
    fact = Context().add(verdict("mild", 1, 1).model_copy(update={"window": window}), id="v")

    assert () == projection.ids_of(fact)


def test_other_settings_keep_the_window_and_begin_the_baseline_anew() -> None:
    """A new size, other thresholds for the baseline: what is known of the latest answers stays."""
    memory = Memory(("acme", "", False), SMALL)
    for place in range(30):
        memory.observe(answer(output_tokens=place))
    other = Settings(6, BaselineOptions(warm_up=20))
    found = Memory.of(memory.payload(), other)

    assert list(range(24, 30)) == [tokens for tokens, _ in found.recent()]
    assert (30, 0) == (found.total, found.watched)
    assert not found.is_frozen
    assert is_sound(found.payload(), other)


@pytest.mark.parametrize(
    "garbage",
    [
        {"recent": b"\x01"}, {"recent": b"\x00\xff\xff"}, {"held": 3}, {"held": 99}, {"total": 1},
        {"counts": ()}, {"counts": (("error", 5, 2, 0, 0),)}, {"life": (("error", -1, 2),)}, {"settings": "mine"},
        {"starts": (("error", (10**9, 3)),)}, {"starts": (("error", (0, 0, 8)),)}, {"starts": (("nobody", ()),)},
        {"alarms": (("nobody", 1.0, 0, 0),)}, {"numbers": (("cost", b"abc"), ("latency_ms", b""))}, {"numbers": ()},
        {"early": (("mood", (1.0,)),)}, {"cuts": (("mood", 1.0),)},
        {"usual": -1.0}, {"usual": float("nan")}, {"collapsed_from": -1.0}, {"collapsed_from": float("inf")},
    ],
)  # fmt: skip
def test_garbage_is_known_as_such(garbage: dict[str, Any]) -> None:
    """Anybody may say a `KnownWindow`; what does not fit is not gone on from, and what can be read of it is kept."""
    memory = Memory(("acme", "", False), SMALL)
    for _ in range(40):
        memory.observe(answer())
    known = memory.payload().model_copy(update=garbage)

    assert is_sound(memory.payload(), SMALL)
    assert not is_sound(known, SMALL)
    rest = Memory.of(known, SMALL, whole=False)
    rest.observe(answer())
    assert is_sound(rest.payload(), SMALL)


def test_what_is_carried_stays_small() -> None:
    """About four bytes for an observation beside a kilobyte of figures, however long the history is."""
    settings = {size: Settings(size, BaselineOptions()) for size in (20, 10_000)}
    sizes = {}
    for size, each in settings.items():
        memory = Memory(("acme", "", False), each)
        for place in range(12_000):
            memory.observe(answer(output_tokens=place % 2000))
        sizes[size] = len(memory.payload().model_dump_json())

    assert sizes[20] < 3_000
    assert sizes[10_000] < 45_000


# --- the baseline -----------------------------------------------------------------------------------------------------


def warm(**settings: Any) -> Memory:
    memory = Memory(("acme", "", False), Settings(20, BaselineOptions(**settings)))
    for place in range(memory.settings.baseline.warm_up if memory.settings.baseline else 0):
        memory.observe(
            answer(output_tokens=200 + place * 37 % 100, latency_ms=100 + place * 37 % 50, score=0.9, cost=0.01)
        )
    return memory


def test_the_baseline_is_frozen_after_the_warm_up() -> None:
    """Quartiles of its first quarter, and how often they are passed in the rest."""
    memory = warm(watch=WATCHES)
    baseline = memory.baseline()

    assert memory.is_frozen
    assert {"short": 222.0, "long": 274.0, "slow": 137.0, "dear": 0.01, "poor": 0.9} == baseline.cuts
    assert {"empty", "short", "long", "odd", "truncated", "slow", "dear", "poor", "error"} == baseline.rates.keys()
    assert 200 == baseline.observations
    for _ in range(50):
        memory.observe(answer(output_tokens=0))
    assert baseline.rates == memory.baseline().rates


@pytest.mark.parametrize(
    ("name", "decayed"),
    [
        ("empty", {"output_tokens": 0}), ("short", {"output_tokens": 150}), ("long", {"output_tokens": 900}),
        ("odd", {"stop_reason": "refusal"}), ("truncated", {"stop_reason": "length"}), ("slow", {"latency_ms": 400}),
        ("dear", {"cost": 0.5}), ("poor", {"score": 0.1}), ("error", {"is_error": True}),
    ],
)  # fmt: skip
def test_everything_that_can_be_watched_is_found_and_is_over_when_it_is_over(
    name: str, decayed: dict[str, Any]
) -> None:
    memory = warm(watch=WATCHES)
    fine = {"output_tokens": 250, "latency_ms": 120, "score": 0.95, "cost": 0.005}
    for _ in range(40):
        memory.observe(answer(**{**fine, **decayed}))
    found = set(memory.alarms)
    for _ in range(40):
        memory.observe(answer(**fine))

    assert name in found
    assert {} == memory.alarms


def test_who_never_uses_tools_has_a_baseline_of_silence() -> None:
    memory = Memory(("acme", "", False), Settings(20, BaselineOptions()))
    for _ in range(400):
        memory.observe(answer(request_had_tools=True))

    assert 1.0 == memory.rate_at_first("silent")
    assert {} == memory.alarms


def test_the_latency_of_an_error_does_not_count() -> None:
    """A refused connection is fast; a timeout is slow; neither says how long answers take."""
    memory = warm(watch=("slow",))
    for _ in range(100):
        memory.observe(answer(is_error=True, latency_ms=60_000))

    assert {} == memory.alarms
    assert (0, 0) == memory.payload().counts[0][3:]


def test_tiny_answers_are_not_watched_for_their_length() -> None:
    memory = Memory(("acme", "", False), Settings(20, BaselineOptions()))
    for place in range(400):
        memory.observe(answer(output_tokens=9 if place < 200 else 1))

    assert {} == memory.cuts
    assert {} == memory.alarms


@pytest.mark.slow
def test_the_largest_settings_fit_into_a_payload() -> None:
    """A window of 100,000 of the longest answers, quartiles of 25,000 numbers, detectors of 10,000 values."""
    from quiesce.suggestors.drift.monitor import MAX_REFRESH, MAX_WINDOW
    from quiesce.suggestors.drift.watch import NUMBERS

    numbers = tuple(sorted(NUMBERS))
    settings = Settings(MAX_WINDOW, BaselineOptions(warm_up=100_000, watch=WATCHES), numbers, MAX_REFRESH)
    memory = Memory(("x" * 200, "x" * 200, True), settings)
    long = answer(output_tokens=2**53, latency_ms=0.1 + 1e5 / 3, cost=0.1 + 1e-9 / 3, score=-0.1 - 1e-9 / 3)
    for _ in range(24_999):
        memory.observe(long)
    memory.packed, memory.held = memory.packed * 4, memory.held * 4
    projection = project(settings)

    assert len(projection.encode(memory.payload())) < 4 * 1024 * 1024
