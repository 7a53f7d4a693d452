"""Throws garbage at drift detection: each piece becomes a diagnostic or a fact, and none stops a run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import Converged, Engine
from quiesce.facts import Context, FactLog, Failure, Malformed
from quiesce.suggestors.drift.memory import Memory
from quiesce.suggestors.drift.monitor import DriftMonitor
from quiesce.suggestors.drift.payloads import DriftVerdict, ResponseObservation
from quiesce.suggestors.selection.known import known_quarantines
from quiesce.suggestors.selection.payloads import KnownQuarantine, Quarantine

FIELDS = (
    "provider", "output_tokens", "has_tool_use", "request_had_tools", "stop_reason", "is_error", "stream", "model",
    "latency_ms", "cost", "score", "mood",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1e308, -1e308, 10**40, 10**400, "", " ", "a", "stop", "ä" * 200, "x" * 300, "a/b#1",
    "\x00", "\u2028", [], {}, [1], "NaN", 0.5, "acme", "acme", 300,
)  # fmt: skip
GOOD: dict[str, Any] = {"provider": "acme", "output_tokens": 100, "has_tool_use": False, "request_had_tools": False}


def garbage(random: Random) -> bytes:
    """Returns an observation in which some fields are something else, or missing, or the whole text is cut."""
    said: dict[str, Any] = dict(GOOD)
    for _ in range(random.randrange(4)):
        field = random.choice(FIELDS)
        if random.random() < 0.2:
            said.pop(field, None)
        else:
            said[field] = random.choice(VALUES)
    raw = json.dumps(said).replace('"NaN"', random.choice(["NaN", "Infinity", '"NaN"'])).encode()
    return raw[: random.randrange(len(raw))] if random.random() < 0.1 else raw


@pytest.mark.slow
def test_ten_thousand_garbled_observations_stop_nothing() -> None:
    """In a hundred runs of one ledger: what is an observation counts, what is none is kept as a diagnostic."""
    random, monitor = Random(7), DriftMonitor(window=10)
    log = FactLog.open(":memory:", projections=[monitor.projection, known_quarantines])
    engine, counted, refused = Engine([monitor]), 0, 0
    for run in range(20):
        context = log.context()
        for place in range(500):
            context.admit("response-observation", f"{run}-{place}", garbage(random))
        result = engine.run_sync(context, log=log)
        counted += len(result.context.of(ResponseObservation))
        refused += len(result.context.of(Malformed))

        assert isinstance(result.stop, Converged)
        assert not result.context.of(Failure)
    values = log.values(monitor.projection)

    assert 10_000 == counted + refused
    assert counted == sum(window.total for window in values.values())
    assert refused > 1_000 < counted
    assert all(check.ok for check in log.check_projections())


@settings(max_examples=60)
@given(
    window=st.fixed_dictionaries(
        {
            "recent": st.binary(max_size=40),
            "held": st.integers(-3, 30),
            "total": st.integers(-3, 10**18),
            "watched": st.integers(-3, 10**18),
            "since": st.integers(-3, 10**18),
            "number": st.integers(-3, 10**18),
            "severity": st.sampled_from(["none", "mild", "severe"]),
            "provider": st.sampled_from(["acme", "", "x" * 1000]),
        }
    )
)
def test_a_window_that_somebody_made_up_stops_nothing(window: dict[str, Any]) -> None:
    """Anybody may add a `KnownWindow` to a context; with or without the settings of the monitor."""
    monitor = DriftMonitor(window=10)
    whole = Memory(("acme", "", False), monitor.rules.settings).payload()
    context = Context()
    context.add(whole.model_copy(update=window), id="acme")
    for place in range(12):
        context.add(ResponseObservation(**GOOD | {"is_error": True}), id=f"o{place}")
    result = Engine([monitor]).run_sync(context)

    assert isinstance(result.stop, Converged)
    assert not result.context.of(Failure)
    assert any(fact.payload.severity == "severe" for fact in result.context.of(DriftVerdict).values()) or (
        window["severity"] == "severe"
    )


def test_a_quarantine_that_somebody_made_up_under_our_id_is_respected() -> None:
    """Whoever says a higher number says more."""
    context = Context()
    context.add(KnownQuarantine(backend="acme", reason="mine", number=7, lifted="well"), id="drift/acme")
    for place in range(12):
        context.add(ResponseObservation(**GOOD | {"is_error": True}), id=f"o{place}")
    found = Engine([DriftMonitor()]).run_sync(context, started=datetime(2026, 1, 1, tzinfo=UTC)).context

    assert 8 == found.of(Quarantine)["drift/acme"].payload.number


@pytest.mark.parametrize("name", [" ", "ä" * 200, "😀" * 200, "a\nb", "\x00", "a" * 200, "drift/acme", "x#1"])
def test_whatever_a_provider_is_called_it_can_be_quarantined(name: str) -> None:
    """A blank, 800 bytes, a line break: its facts have ids all the same."""
    context = Context()
    for place in range(8):
        context.add(
            ResponseObservation(**GOOD | {"is_error": True, "provider": name, "model": name * 3}), id=f"o{place}"
        )
    result = Engine([DriftMonitor()]).run_sync(context)

    assert not result.context.of(Failure)
    assert [name] == [fact.payload.backend for fact in result.context.of(Quarantine).values()]


def test_known_windows_of_two_monitors_do_not_mix() -> None:
    """Another size: the window goes on with what is left, the baseline begins anew."""
    small, large = DriftMonitor(window=8), DriftMonitor(window=30)
    log = FactLog.open(":memory:", projections=[small.projection])
    for monitor in (small, large):
        context = log.context()
        for place in range(7):
            context.add(ResponseObservation(**GOOD | {"is_error": True}), id=f"o{place}")
        result = Engine([monitor]).run_sync(context, log=log)

        assert not result.context.of(Failure)
    assert [8] == [window.held for window in log.values(small.projection).values()]
    assert ["8"] == [window.settings.split("/")[0] for window in log.values(small.projection).values()]


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("redacted", [range(8), range(4, 8), [7]])
def test_a_fork_goes_on_where_observations_were_redacted(carried: bool, redacted: list[int]) -> None:
    """What is redacted counts nowhere, and no verdict takes the number of one that was said about it."""

    def bad(tokens: int) -> ResponseObservation:
        return ResponseObservation(**{**GOOD, "output_tokens": tokens, "stop_reason": "stop"})

    monitor = DriftMonitor("high", window=8)
    log = FactLog.open(":memory:", projections=[monitor.projection] if carried else [])
    context = log.context()
    for place in range(8):
        context.add(bad(0), id=f"o{place}")
    before = Engine([monitor]).run_sync(context, log=log, run_id="r").context
    log.redact("r", [f"response-observation:o{place}" for place in redacted], reason="asked for", by="ana")
    add: list[Any] = [(bad(100), f"n{place}") for place in range(20)] + [(bad(0), f"m{place}") for place in range(9)]
    found = Engine([DriftMonitor("high", window=8)]).fork_sync(log, "r", add=add).context
    said = {id: fact.payload for id, fact in found.of(DriftVerdict).items()}

    assert [] == list(found.of(Failure).values())
    assert "acme#1" in before.of(DriftVerdict)
    assert before.of(DriftVerdict)["acme#1"].payload == said["acme#1"]
    assert "severe" == list(said.values())[-1].severity
    assert [f"acme#{each.number}" for each in said.values()] == list(said)
    assert len(said) > 1
