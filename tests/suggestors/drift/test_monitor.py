"""Shows the suggestor at work: verdicts when the severity changes, quarantines, probes, recovery, from run to run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from quiesce.engine import Engine
from quiesce.facts import Context, Fact, FactLog, Payload, View
from quiesce.suggestors.drift.errors import InvalidDriftSetting, MissingDetector
from quiesce.suggestors.drift.judge import Judgement
from quiesce.suggestors.drift.live import LiveRun
from quiesce.suggestors.drift.monitor import DriftMonitor
from quiesce.suggestors.drift.payloads import (
    ChangePoint,
    DriftBaseline,
    DriftVerdict,
    KnownWindow,
    ReloadRequest,
    ResponseObservation,
)
from quiesce.suggestors.drift.thresholds import DriftThresholds
from quiesce.suggestors.drift.watch import BaselineOptions
from quiesce.suggestors.selection.known import known_quarantines
from quiesce.suggestors.selection.payloads import KnownQuarantine, Quarantine, quarantined

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def answer(provider: str = "acme", tokens: int = 300, **said: Any) -> ResponseObservation:
    said = {"has_tool_use": False, "request_had_tools": False, "stop_reason": "stop", **said}
    return ResponseObservation(provider=provider, output_tokens=tokens, **said)


def error(provider: str = "acme", **said: Any) -> ResponseObservation:
    return answer(provider, 0, is_error=True, **said)


class Life:
    """One ledger, run after run, a minute apart."""

    def __init__(self, monitor: DriftMonitor, *others: Any) -> None:
        self.monitor, self.engine = monitor, Engine([monitor, *others])
        self.log = FactLog.open(":memory:", projections=[monitor.projection, known_quarantines])
        self.count = self.runs = 0
        self.facts: list[Fact[Any]] = []

    def run(self, *said: ResponseObservation, minutes: float = 1) -> Context:
        """Runs over some observations, so many minutes after the first run."""
        context = self.log.context()
        for one in said:
            context.add(one, id=f"o{self.count}")
            self.count += 1
        self.runs += 1
        started = NOW + timedelta(minutes=minutes)
        result = self.engine.run_sync(context, log=self.log, run_id=f"r{self.runs}", started=started)
        assert "converged" in str(result), result
        found = result.context
        for kind in (DriftVerdict, DriftBaseline, ChangePoint, ReloadRequest, Quarantine):
            self.facts += found.of(kind).values()
        return found

    def said(self, kind: type[Payload]) -> list[tuple[str, Any]]:
        """Returns what was said of a class in all runs: ids and payloads."""
        return [(fact.id, fact.payload) for fact in self.facts if isinstance(fact.payload, kind)]


def severities(context: Context) -> dict[str, str]:
    return {id: fact.payload.severity for id, fact in context.of(DriftVerdict).items()}


def run(monitor: DriftMonitor, said: Iterable[ResponseObservation]) -> Context:
    context = Context()
    for place, one in enumerate(said):
        context.add(one, id=f"o{place}")
    return Engine([monitor]).run_sync(context, started=NOW).context


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_a_verdict_is_written_when_the_severity_changes_and_only_then() -> None:
    """Errors come and go: none, mild, severe, mild, none; every step once, numbered."""
    found = run(DriftMonitor(window=10, baseline=None), [answer()] * 10 + [error()] * 6 + [answer()] * 10)

    assert {"acme#1": "mild", "acme#2": "severe", "acme#3": "mild", "acme#4": "none"} == severities(found)
    ats = [fact.payload.at for fact in found.of(DriftVerdict).values()]
    assert [13, 15, 22, 24] == ats


def test_a_verdict_rests_on_the_observations_in_its_window() -> None:
    found = run(DriftMonitor(window=8), [answer()] * 10 + [error()] * 4)
    last = found.of(DriftVerdict)["acme#2"]

    assert [f"response-observation:o{place}" for place in range(6, 14)] == list(last.because)
    assert 8 == last.payload.observations
    assert "error_rate 0.50" == last.payload.reason


def test_healthy_answers_lead_to_no_verdict() -> None:
    """Not even a first one that says so."""
    assert {} == severities(run(DriftMonitor(), [answer(tokens=200 + place) for place in range(50)]))


def test_providers_models_and_streams_do_not_share_a_window() -> None:
    """One global last verdict was a race, and one window for all a mixture."""
    mixed = [
        one
        for _ in range(10)
        for one in (error(), answer(model="large"), answer(stream=True), answer("bolt"), answer("acme/large"))
    ]
    found = run(DriftMonitor("normal", 10), mixed)

    assert {"acme#1": "severe"} == severities(found)


def test_verdicts_of_one_batch_follow_each_other() -> None:
    """Two providers drift in the same cycle; neither hides the other."""
    found = run(DriftMonitor(), [one for _ in range(10) for one in (error("acme"), answer("bolt", 0))])

    assert {"acme#1": "severe", "bolt#1": "severe"} == severities(found)
    assert {"drift/acme", "drift/bolt"} == set(found.of(Quarantine))


def test_all_errors_are_severe_by_default() -> None:
    verdict = run(DriftMonitor(), [error()] * 6).of(DriftVerdict)["acme#1"].payload

    assert ("severe", "error_rate 1.00") == (verdict.severity, verdict.reason)


@pytest.mark.parametrize("stop", ["stop", "length", "tool_calls", "STOP", "COMPLETE"])
def test_no_vendor_is_odd_by_default(stop: str) -> None:
    assert {} == severities(run(DriftMonitor(), [answer(stop_reason=stop)] * 20))


# --- actions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("off", set()),
        ("warn", {"drift-verdict:acme#1"}),
        ("quarantine", {"drift-verdict:acme#1", "quarantine:drift/acme"}),
        ("reload", {"drift-verdict:acme#1", "quarantine:drift/acme", "reload-request:drift/acme#1"}),
    ],
)
def test_there_are_four_levels_of_action(action: Any, said: set[str]) -> None:
    found = run(DriftMonitor(action=action), [error()] * 6)
    kinds = (DriftVerdict, Quarantine, ReloadRequest)

    assert said == {fact.ref for kind in kinds for fact in found.of(kind).values()}


def test_a_severe_verdict_quarantines_the_provider_for_the_cooldown() -> None:
    """An explicit ban that routing obeys, and not a few synthetic failures that fade."""
    found = run(DriftMonitor(cooldown=120, one_in=5), [error(model="large")] * 6)
    said = found.of(Quarantine)["drift/acme"]

    assert Quarantine(
        backend="acme", reason="acme/large: error_rate 1.00", until=NOW + timedelta(seconds=120), number=1, one_in=5
    ) == said.payload  # fmt: skip
    assert {"acme"} == quarantined([said], [], NOW).keys()
    assert [f"response-observation:o{place}" for place in range(6)] == list(said.because)


def test_a_quarantine_that_holds_is_neither_shortened_nor_said_again() -> None:
    """Further failures meanwhile change nothing; a mark that was renewed could become shorter."""
    life = Life(DriftMonitor(cooldown=600))
    life.run(*[error()] * 6)
    first = life.said(Quarantine)
    for minute in range(2, 10):
        life.run(error(), minutes=minute)

    assert 1 == len(life.said(DriftVerdict))
    assert first == life.said(Quarantine)


def test_one_that_has_run_out_is_renewed_with_a_higher_number_while_it_lasts() -> None:
    life = Life(DriftMonitor(cooldown=600))
    life.run(*[error()] * 6)
    life.run(error(), minutes=10.9)
    life.run(error(), minutes=11)
    numbers = [(said.number, said.until) for _, said in life.said(Quarantine)]

    assert [(1, NOW + timedelta(minutes=11)), (2, NOW + timedelta(minutes=21))] == numbers
    assert {"drift/acme"} == {id for id, _ in life.said(Quarantine)}


def test_a_whole_window_without_drift_lifts_the_quarantine() -> None:
    """One success hides no flapping backend: the window has to be clean, and to stay so for as long."""
    life = Life(DriftMonitor(window=10, cooldown=86_400))
    life.run(*[error()] * 10)
    for _ in range(40):
        life.run(answer())
        if len(life.said(Quarantine)) > 1:
            break
    (_, first), (_, last) = life.said(Quarantine)
    verdicts = [(said.severity, said.at) for _, said in life.said(DriftVerdict)]

    assert [("severe", 6), ("mild", 16), ("none", 18)] == verdicts
    assert "acme: no drift in 10 observations" == last.lifted
    assert (first.number, first.until) == (last.number, last.until)
    assert 27 == life.count
    assert {} == quarantined([], life.log.context().of(KnownQuarantine).values(), NOW)


def test_a_quarantine_whose_windows_nobody_remembers_takes_a_whole_window_too() -> None:
    """Only the quarantine was carried over, not the window: what is not known is not well."""
    context = Context()
    context.add(KnownQuarantine(backend="acme", reason="earlier", one_in=10), id="drift/acme")
    for place in range(19):
        context.add(answer(), id=f"o{place}")
    engine = Engine([DriftMonitor()])
    before = engine.run_sync(context, started=NOW).context
    again = before.copy()
    again.add(answer(), id="o19")
    after = engine.run_sync(again, started=NOW).context

    assert [] == list(before.of(Quarantine))
    assert "acme: no drift in 20 observations" == after.of(Quarantine)["drift/acme"].payload.lifted


def test_flapping_lifts_nothing() -> None:
    """Recovered for less than a window, worse again, recovered: it stays out."""
    life = Life(DriftMonitor(window=10, cooldown=86_400, baseline=None))
    for _ in range(5):
        life.run(*[error()] * 5, *[answer()] * 12)

    assert [""] == [said.lifted for _, said in life.said(Quarantine)]


def test_the_next_drift_after_a_recovery_has_a_higher_number() -> None:
    life = Life(DriftMonitor(window=8, cooldown=86_400, recovery=3, baseline=None))
    for _ in range(2):
        life.run(*[error()] * 8)
        life.run(*[answer()] * 20)
    said = [(one.number, bool(one.lifted)) for _, one in life.said(Quarantine)]

    assert [(1, False), (1, True), (2, False), (2, True)] == said


def test_a_provider_is_well_when_all_its_windows_are() -> None:
    """A small model that is fine does not bring the large one back."""
    life = Life(DriftMonitor(window=6, cooldown=86_400, baseline=None))
    life.run(*[error(model="large")] * 6, *[answer(model="small")] * 30)
    life.run(*[answer(model="small")] * 30)
    before = life.said(Quarantine)
    life.run(*[answer(model="large")] * 12)

    assert [""] == [said.lifted for _, said in before]
    assert "acme/large: no drift in 6 observations" == life.said(Quarantine)[-1][1].lifted


def test_drift_and_recovery_in_one_batch_are_both_told() -> None:
    """The quarantine is revised within the very cycle."""
    found = run(DriftMonitor(window=6, recovery=6, baseline=None), [error()] * 6 + [answer()] * 30)

    assert ["severe", "mild", "none"] == list(severities(found).values())
    assert "acme: no drift in 6 observations" == found.of(Quarantine)["drift/acme"].payload.lifted


def test_quarantines_of_others_are_left_alone() -> None:
    """A person's own ban under another id is neither renewed nor lifted."""
    context = Context()
    context.add(Quarantine(backend="acme", reason="by hand"), id="by-hand")
    for place in range(40):
        context.add(answer(), id=f"o{place}")
    found = Engine([DriftMonitor()]).run_sync(context).context

    assert {"by-hand": ""} == {id: fact.payload.lifted for id, fact in found.of(Quarantine).items()}


# --- baselines --------------------------------------------------------------------------------------------------------

QUICK = BaselineOptions(warm_up=100)


def test_the_baseline_is_a_fact_after_the_warm_up() -> None:
    found = run(DriftMonitor(baseline=QUICK), [answer(tokens=200 + place * 37 % 100) for place in range(150)])
    fact = found.of(DriftBaseline)["acme"]

    assert (100, 0.0) == (fact.payload.observations, fact.payload.rates["error"])
    assert 200 < fact.payload.cuts["short"] < 240
    assert 20 == len(fact.because)


def test_gradual_decay_is_seen_though_no_window_differs_from_itself() -> None:
    """A token less with every answer: the halves of a window never differ by half; the baseline does."""
    said = [answer(tokens=400 + place * 37 % 100 - max(0, place - 200) // 2) for place in range(700)]
    alone = run(DriftMonitor(baseline=None), said)
    found = run(DriftMonitor(), said)

    assert {} == severities(alone)
    assert {"acme#1": "severe"} == severities(found)
    verdict = found.of(DriftVerdict)["acme#1"].payload
    assert verdict.reason.startswith("short_against_baseline ")
    assert verdict.at < 350


def test_a_collapse_is_not_forgotten_when_the_window_has_turned_over() -> None:
    """The original fired for ten answers and then took the collapse for normal."""
    said = [answer(tokens=400 + place * 37 % 100) for place in range(300)] + [answer(tokens=60)] * 400
    forgotten = list(severities(run(DriftMonitor(baseline=None), said)).values())
    found = list(severities(run(DriftMonitor(), said)).values())

    assert ["severe", "none"] == forgotten
    assert "severe" == found[-1]


def test_a_provider_that_is_bad_from_the_start_is_seen_beside_the_others() -> None:
    """A third of its answers are errors: below the threshold of 0.4 and far above everybody else's."""
    said = []
    for place in range(400):
        said += [answer("bolt"), answer("core"), error("acme") if place % 3 == 2 else answer("acme")]
    alone = run(DriftMonitor("low", baseline=None), said)
    found = run(DriftMonitor("low", baseline=QUICK), said)
    verdict = found.of(DriftVerdict)["acme#1"].payload

    assert {} == severities(alone)
    assert verdict.reason.startswith("error_against_pool 0.3")
    assert verdict.at < 250
    assert {"acme"} == {fact.payload.provider for fact in found.of(DriftVerdict).values()}


def test_the_pool_is_carried_over() -> None:
    """What the others were at first is known from earlier runs; a newcomer is held against it from its first answer."""
    life = Life(DriftMonitor("low", baseline=QUICK))
    life.run(*[answer(name) for _ in range(150) for name in ("bolt", "core")])
    life.run(*[error() if place % 3 == 2 else answer() for place in range(150)])
    (_, verdict), *_ = life.said(DriftVerdict)

    assert verdict.reason.startswith("error_against_pool 0.3")


def test_like_providers_are_not_held_against_each_other() -> None:
    """All of them fail now and then."""
    said = [error(name) if place % 12 == 5 else answer(name) for place in range(500) for name in ("a", "b", "c", "d")]

    assert {} == severities(run(DriftMonitor(baseline=QUICK), said))


@pytest.mark.slow
def test_baselines_and_the_pool_together_hold_their_bound() -> None:
    """36 windows in 12 pools, alike and stable: at alpha = 0.05 at most 1.8 are expected to be ever reported.

    Nothing but the evidence keeps them from it: the effect is 0 and the window's own rules are off. 8 or more of 36
    have a probability of 0.0004.
    """
    monitor = DriftMonitor(DriftThresholds(1, 0, 1, 1, 1), baseline=BaselineOptions(warm_up=100, alpha=0.05, effect=0))
    reported = set()
    for seed in range(12):
        random, context, live = Random(seed), Context(), LiveRun([], monitor.rules)
        for place in range(1_200):
            name = "abc"[place % 3]
            failed, tokens = random.random() < 0.1, int(random.lognormvariate(5.5, 0.6))
            taken = live.take(context.add(answer(name, tokens, is_error=failed), id=f"o{place}"))
            if taken.verdict is not None:
                reported.add((seed, name))

    assert len(reported) < 8


def test_who_hardly_ever_uses_tools_is_not_silent() -> None:
    """Text where tools were offered is legitimate: after its warm-up, silence is judged by what is usual."""
    said = [answer(request_had_tools=True, has_tool_use=place % 10 == 0) for place in range(300)]
    found = run(DriftMonitor(baseline=QUICK), said)
    verdicts = [fact.payload for fact in found.of(DriftVerdict).values()]

    assert "mild" == verdicts[0].severity
    assert "none" == verdicts[-1].severity
    assert all(verdict.at <= 102 for verdict in verdicts)


def test_one_thing_that_is_wrong_in_two_ways_is_still_one_thing() -> None:
    """Too many errors for the threshold, and more than at first: one mild signal, not two."""
    monitor = DriftMonitor(DriftThresholds(error_rate=0.4), baseline=QUICK)
    context, live, judged = Context(), LiveRun([], monitor.rules), list[Judgement]()
    for place in range(200):
        said = error() if place >= 100 and place % 2 else answer()
        judged.append(live.take(context.add(said, id=f"o{place}")).judgement)

    assert "error_rate 0.50, error_against_baseline 0.5" == judged[-1].reason[:43]
    assert "mild" == judged[-1].severity


# --- change detectors -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["e", "adwin", "kswin"])
def test_change_detectors_watch_any_number(name: str) -> None:
    said = [answer(latency_ms=100 + place * 37 % 20 + (200 if place >= 300 else 0)) for place in range(400)]
    found = run(DriftMonitor(detectors={"latency_ms": name}), said).of(ChangePoint)
    first = next(iter(found.values()))

    assert {("latency_ms", name)} == {(one.payload.signal, one.payload.detector) for one in found.values()}
    assert 300 <= first.payload.at < 370
    assert f"acme/latency_ms@{first.payload.at}" == first.id
    assert {} == severities(run(DriftMonitor(detectors={"latency_ms": name}), said))


# --- construction and the world ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"window": 5}, "DriftMonitor: window=5 is not a whole number from 6 to 100000"),
        ({"thresholds": "low", "window": 9}, "window=9 is not a whole number from 10"),
        ({"window": 100_001}, "window=100001 is not a whole number from 6 to 100000"),
        ({"thresholds": "medium"}, "thresholds='medium' is not one of low, normal, high"),
        ({"action": "promote"}, "action='promote' is not one of off, warn, quarantine, reload"),
        ({"cooldown": 0}, "cooldown=0 is not a number of seconds above 0, at most a year"),
        ({"cooldown": float("nan")}, "cooldown=nan is not a number of seconds above 0"),
        ({"cooldown": timedelta(days=9_999)}, "is not a number of seconds above 0, at most a year"),
        ({"one_in": -1}, "one_in=-1 is not a whole number from 0"),
        ({"recovery": 0}, "recovery=0 is not a whole number from 1"),
        ({"refresh": 0}, "refresh=0 is not a whole number from 1"),
        ({"detectors": {"mood": "adwin"}}, "detectors='mood' is not one of output_tokens, latency_ms, cost, score"),
        ({"detectors": {"cost": "cusum"}}, "detectors['cost']='cusum' is not one of e, adwin, page-hinkley, kswin"),
    ],
)
def test_a_monitor_that_cannot_work_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidDriftSetting) as caught:
        DriftMonitor(**settings)

    assert text in str(caught.value)


def test_a_missing_extra_is_told_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "river", None)
    with pytest.raises(MissingDetector, match="quiesce\\[drift\\]"):
        DriftMonitor(detectors={"cost": "adwin"})


def test_the_graph_of_a_monitor_has_no_loop_without_an_end() -> None:
    """It reads the quarantines that it writes; they have a join."""
    assert {"joined-loop": "info"} == {
        one.code: one.level for one in Engine([DriftMonitor()]).check() if "loop" in one.code
    }


def test_another_monitor_of_another_name_may_stand_beside_it() -> None:
    """A quick one that warns, a slow one that acts; the second says nothing that the first has said differently."""
    quick = DriftMonitor("high", 10, name="quick", action="warn", baseline=None)
    context = Context()
    for place in range(6):
        context.add(error(), id=f"o{place}")
    found = Engine([quick]).run_sync(context).context

    assert {"acme#1": "severe"} == severities(found)
    assert "quick" == found.of(DriftVerdict)["acme#1"].by


def test_what_follows_looks_at_windows_from_a_view_alone() -> None:
    """Public for those who want to look: the windows of a run, computed from nothing but its facts."""
    monitor, views = DriftMonitor(), list[View]()
    life = Life(monitor)
    life.run(*[answer(tokens=n) for n in range(7)])

    class Look:
        name = "look"
        reads = (ResponseObservation, KnownWindow)
        writes = ()

        def suggest(self, view: View) -> None:
            views.append(view)

    engine = Engine([Look()])
    context = life.log.context()
    context.add(answer(tokens=99), id="later")
    engine.run_sync(context)

    assert [[*range(7), 99]] == [
        [tokens for tokens, _ in live.memory.recent()] for live in monitor.follow(views[0])._live.values()
    ]
