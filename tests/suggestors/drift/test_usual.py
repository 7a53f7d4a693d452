"""Shows that a collapse is not forgotten, however early it comes: not by the window, the baseline or the quarantine."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import Engine
from quiesce.facts import Context, FactLog
from quiesce.suggestors.drift.live import LiveRun
from quiesce.suggestors.drift.memory import Memory
from quiesce.suggestors.drift.monitor import DriftMonitor
from quiesce.suggestors.drift.payloads import DriftBaseline, DriftVerdict, KnownWindow, ResponseObservation
from quiesce.suggestors.drift.remember import Kept, fold
from quiesce.suggestors.drift.settings import Settings
from quiesce.suggestors.drift.watch import BaselineOptions
from quiesce.suggestors.selection.known import known_quarantines
from quiesce.suggestors.selection.payloads import Quarantine

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def answer(tokens: int = 300, **said: Any) -> ResponseObservation:
    said = {"has_tool_use": False, "request_had_tools": False, "stop_reason": "stop", **said}
    return ResponseObservation(provider="acme", output_tokens=tokens, **said)


def healthy(count: int, seed: int = 0) -> list[ResponseObservation]:
    random = Random(seed)
    return [answer(random.randint(250, 350)) for _ in range(count)]


def collapsed(count: int, seed: int = 1) -> list[ResponseObservation]:
    random = Random(seed)
    return [answer(random.randint(50, 70)) for _ in range(count)]


def run(monitor: DriftMonitor, said: list[ResponseObservation]) -> Context:
    context = Context()
    for place, one in enumerate(said):
        context.add(one, id=f"o{place:04}")
    return Engine([monitor]).run_sync(context, started=NOW).context


def judged(monitor: DriftMonitor, said: list[ResponseObservation]) -> list[tuple[str, str]]:
    """Returns the severity and the reason after each observation."""
    live, context = LiveRun([], monitor.rules), Context()
    found = [live.take(context.add(one, id=f"o{place}")).judgement for place, one in enumerate(said)]
    return [(one.severity, one.reason) for one in found]


def severities(found: Context) -> list[tuple[str, int]]:
    return [(fact.payload.severity, fact.payload.at) for fact in found.of(DriftVerdict).values()]


@pytest.mark.slow
@pytest.mark.parametrize("at", [6, 20, 60, 100, 190, 230])
@pytest.mark.parametrize("settings", [{}, {"window": 8}, {"thresholds": "high"}, {"thresholds": "low", "window": 30}])
def test_a_collapse_is_not_forgotten_however_early_it_comes(at: int, settings: dict[str, Any]) -> None:
    """It used to be forgotten after ten answers, and to become the baseline, if it came within the first 200."""
    found = run(DriftMonitor(**settings), healthy(at) + collapsed(1000 - at))
    ((severity, _),) = severities(found)

    assert "severe" == severity
    assert [(1, "")] == [(one.payload.number, one.payload.lifted) for one in found.of(Quarantine).values()]


def test_a_collapse_in_the_warm_up_is_over_when_it_is_over() -> None:
    """Half of what it was is enough, as for the window; then a clean window lifts the quarantine."""
    found = run(DriftMonitor(), healthy(60) + collapsed(300) + healthy(60))
    (_, first), (_, second) = severities(found)

    assert ["severe", "none"] == [severity for severity, _ in severities(found)]
    assert first <= 67
    assert 360 < second <= 367
    assert "acme: no drift in 20 observations" == found.of(Quarantine)["drift/acme"].payload.lifted


def test_the_reason_names_the_length_that_it_had_before() -> None:
    last = judged(DriftMonitor(), [answer(300)] * 60 + [answer(60)] * 100)[-1]

    assert ("severe", "length_collapse_ratio 0.20 (median 60 after 300)") == last


def test_what_comes_while_it_is_severe_is_no_part_of_the_baseline() -> None:
    """Answers that are short, empty or errors, as many as you like: the baseline is what was healthy."""
    said = healthy(60) + collapsed(100) + healthy(60) + [answer(0)] * 60 + healthy(60)
    said += [answer(0, is_error=True)] * 60 + healthy(100)
    fact = run(DriftMonitor(), said).of(DriftBaseline)["acme"]

    assert 200 == fact.payload.observations
    assert 250 <= fact.payload.cuts["short"] <= 290
    assert fact.payload.rates["empty"] < 0.06
    assert fact.payload.rates["error"] < 0.09
    assert 0.1 < fact.payload.rates["short"] < 0.4


def test_whether_an_answer_is_left_out_does_not_depend_on_the_answer() -> None:
    """What is left out is decided before it comes, so what is left of a stable history is as stable as before."""
    memory = Memory(("acme", "", False), Settings(6, BaselineOptions()))
    for one in [answer(300)] * 6 + [answer(0)] * 3:
        memory.observe(one)
    counted = memory.watched  # the third empty answer makes the window severe, and is counted
    memory.observe(answer(300))

    assert 9 - 1 == counted
    assert counted == memory.watched


def test_without_a_baseline_nothing_is_compared_with_what_was() -> None:
    found = run(DriftMonitor(baseline=None), healthy(60) + collapsed(100))

    assert ["severe", "none"] == [severity for severity, _ in severities(found)]


def test_a_length_that_was_once_unusual_is_not_asked_for() -> None:
    """A burst of long answers that ends is a collapse only while the window shows it: then it is as usual again."""
    found = judged(DriftMonitor(), [answer(300)] * 60 + [answer(2000)] * 20 + [answer(300)] * 40)
    severe = [place for place, (severity, _) in enumerate(found) if severity == "severe"]

    assert severe
    assert max(severe) < 80 + 20


@pytest.mark.parametrize("preset", ["low", "normal", "high"])
def test_false_alarms_on_a_stable_history_end(preset: str) -> None:
    """Lengths of which the middle half spreads over a factor of 2.2: nothing stays severe for long."""
    longest = 0
    for seed in range(10):
        random, streak = Random(seed), 0
        said = [answer(int(random.lognormvariate(5.5, 0.6))) for _ in range(600)]
        for severity, _ in judged(DriftMonitor(preset), said):
            streak = streak + 1 if severity == "severe" else 0
            longest = max(longest, streak)

    assert longest <= {"low": 12, "normal": 25, "high": 80}[preset]


@given(said=st.lists(st.tuples(st.sampled_from([0, 60, 300, 900]), st.integers(1, 15), st.booleans()), max_size=8))
def test_the_fold_through_payloads_remembers_the_same(said: list[tuple[int, int, bool]]) -> None:
    """Step by step through bytes against all at once, whichever comes from what the projection keeps in memory."""
    settings = Settings(8, BaselineOptions(warm_up=30))
    memory, known = Memory(("acme", "", False), settings), None
    for tokens, count, is_error in said:
        for place in range(count):
            one = answer(tokens + place, is_error=is_error)
            memory.observe(one)
            folded = fold(known, one, settings)
            assert folded is not None
            known = KnownWindow.model_validate_json(folded.model_dump_json())

    assert known is None or memory.payload() == known


@given(steps=st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0, 60, 300])), min_size=1, max_size=40))
def test_what_the_fold_keeps_in_memory_changes_nothing(steps: list[tuple[int, int]]) -> None:
    """It goes on from any payload there ever was, as a ledger does after a lost race, and as it would from bytes."""
    settings, kept = Settings(6, BaselineOptions(warm_up=16)), Kept(2)
    known: list[KnownWindow | None] = [None]
    for back, tokens in steps:
        before = known[-1 - back % 3 % len(known)]
        before = None if before is None else KnownWindow.model_validate_json(before.model_dump_json())
        one = answer(tokens, model="abc"[back % 3] if before is None else before.model)
        plain = fold(before, one, settings)
        known.append(fold(before, one, settings, kept))

        assert plain == known[-1]
        assert len(kept._kept) <= 2


def test_what_the_fold_keeps_is_used_by_a_ledger() -> None:
    """Every step goes through bytes there, and the memory is found again all the same."""
    settings, kept, known = Settings(6, BaselineOptions()), Kept(), None
    memories = set()
    for _ in range(20):
        known = fold(known, answer(), settings, kept)
        assert known is not None
        known = KnownWindow.model_validate_json(known.model_dump_json())
        memories |= {id(memory) for _, memory in kept._kept.values()}

    assert 1 == len(memories)


def test_a_collapse_is_remembered_from_run_to_run() -> None:
    """Every batch in a run of its own, by a fresh process: the verdict stays, and nothing lifts the quarantine."""
    said, verdicts = healthy(60) + collapsed(120), list[str]()
    log = FactLog.open(":memory:", projections=[DriftMonitor(cooldown=86_400).projection, known_quarantines])
    for start in range(0, len(said), 9):
        context = log.context()
        for place, one in enumerate(said[start : start + 9]):
            context.add(one, id=f"o{start + place}")
        found = Engine([DriftMonitor(cooldown=86_400)]).run_sync(context, log=log, started=NOW).context
        verdicts += [severity for severity, _ in severities(found)]

    assert ["severe"] == verdicts
    assert "" == log.values(known_quarantines)["drift/acme"].lifted
    assert log.values(DriftMonitor().projection)["acme"].collapsed_from > 250
    assert all(check.ok for check in log.check_projections())


# --- growth -----------------------------------------------------------------------------------------------------------


def test_babbling_is_mild() -> None:
    """Five times as long as before, for no reason."""
    found = run(DriftMonitor(), [answer(300)] * 40 + [answer(1500)] * 10)

    assert [("mild", 46)] == severities(found)
    assert "length_growth_ratio" in found.of(DriftVerdict)["acme#1"].payload.reason


def test_a_length_that_comes_back_has_not_grown() -> None:
    """After a collapse to a fifth, what was usual is no babbling."""
    found = judged(DriftMonitor(), [answer(300)] * 60 + [answer(50)] * 60 + [answer(300)] * 30)

    assert "length_growth_ratio" not in " ".join(reason for _, reason in found)
