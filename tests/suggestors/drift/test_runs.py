"""Shows that verdicts do not depend on how observations come: in one run or many, in batches, after a restart."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quiesce.engine import Engine, propose, suggestor
from quiesce.facts import Context, Fact, FactLog, Payload, View, replay, verify
from quiesce.suggestors.drift.live import LiveRun
from quiesce.suggestors.drift.memory import Memory
from quiesce.suggestors.drift.monitor import DriftMonitor
from quiesce.suggestors.drift.payloads import ChangePoint, DriftBaseline, DriftVerdict, KnownWindow, ResponseObservation
from quiesce.suggestors.drift.watch import WATCHES, BaselineOptions
from quiesce.suggestors.selection.known import known_quarantines
from quiesce.suggestors.selection.payloads import Quarantine

NOW = datetime(2026, 11, 1, tzinfo=UTC)
BASELINE = BaselineOptions(warm_up=16, alpha=0.9, effect=0.0, watch=WATCHES, recovery=4)
SAID = (DriftVerdict, DriftBaseline, ChangePoint, Quarantine)

# Stretches of good and bad answers, so that there is something to be found.
stretches = st.lists(
    st.tuples(
        st.sampled_from(["good", "empty", "short", "errors", "odd"]),
        st.integers(1, 12),
        st.sampled_from(["acme", "acme", "bolt"]),
        st.booleans(),
    ),
    max_size=8,
)


def observation(kind: str, provider: str, stream: bool, place: int) -> ResponseObservation:
    tokens = {"empty": 0, "short": 40 + place % 9, "errors": 0}.get(kind, 300 + place * 37 % 100)
    return ResponseObservation(
        provider=provider, output_tokens=tokens, has_tool_use=place % 2 == 0, request_had_tools=place % 3 == 0,
        stop_reason="refusal" if kind == "odd" else "stop", is_error=kind == "errors", stream=stream,
        latency_ms=100.0 + place * 17 % 50 + (300 if kind == "short" else 0), cost=0.01,
    )  # fmt: skip


def spread(said: Sequence[tuple[str, int, str, bool]]) -> list[ResponseObservation]:
    kinds = [(kind, provider, stream) for kind, count, provider, stream in said for _ in range(count)]
    return [observation(*each, place) for place, each in enumerate(kinds)]


def monitor() -> DriftMonitor:
    return DriftMonitor(
        window=8, baseline=BASELINE, cooldown=86_400, recovery=4, detectors={"latency_ms": "e"}, refresh=30
    )  # fmt: skip


class Feed(Payload, key="seeds", family="drift-feed"):
    """Batches of observations, each of which is said in a cycle of its own."""

    first: int
    cuts: tuple[int, ...]


def lived(observations: Sequence[ResponseObservation], runs: Sequence[Sequence[int]]) -> tuple[list[Any], FactLog]:
    """Returns what was said in some runs; each is the numbers of observations that its cycles bring."""
    watch, said, place = monitor(), list[Any](), 0
    log = FactLog.open(":memory:", projections=[watch.projection, known_quarantines])

    @suggestor(reads=[Feed], writes=[Feed, ResponseObservation])
    def feed(view: View) -> Any:
        for fact in view.new(Feed):
            now, *rest = fact.payload.cuts or (0,)
            for number in range(fact.payload.first, fact.payload.first + now):
                yield propose(observations[number], id=f"o{number}")
            if rest:
                yield propose(Feed(first=fact.payload.first + now, cuts=tuple(rest)), id=f"{fact.id}+")

    for number, cuts in enumerate(runs):
        context = log.context()
        context.add(Feed(first=place, cuts=tuple(cuts)), id="f")
        place += sum(cuts)
        # Another monitor of the same settings each time: a restarted process.
        result = Engine([feed, monitor()]).run_sync(context, log=log, run_id=f"r{number}", started=NOW)
        for kind in SAID:
            said += result.context.of(kind).values()
    return said, log


def told(said: Sequence[Fact[Any]]) -> list[Any]:
    """Returns verdicts, baselines and changes by ref, and the last of each quarantine."""
    return sorted({fact.ref: fact.payload for fact in said}.items(), key=itemgetter(0))


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(said=stretches, data=st.data())
def test_verdicts_do_not_depend_on_how_observations_are_split(said: Any, data: st.DataObject) -> None:
    """All in one batch; in cycles of one run; in runs, each by a fresh process: the same words, and the same ledger."""
    observations = spread(said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(observations)), max_size=8)))
    sizes = [end - start for start, end in zip([0, *cuts], [*cuts, len(observations)], strict=True)]
    grouped = data.draw(st.integers(1, 3))
    whole, first = lived(observations, [[len(observations)]])
    batches, second = lived(observations, [sizes])
    runs, third = lived(observations, [sizes[at : at + grouped] for at in range(0, len(sizes), grouped)])

    assert told(whole) == told(batches) == told(runs)
    windows = [dict(log.values(monitor().projection)) for log in (first, second, third)]
    assert windows[0] == windows[1] == windows[2]
    for log in (first, second, third):
        assert all(check.ok for check in log.check_projections())


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(said=stretches, data=st.data())
def test_what_a_run_knows_is_what_the_ledger_knows(said: Any, data: st.DataObject) -> None:
    """The same fold serves both: the windows of a run, and the values of the projection once it is committed."""
    observations = spread(said)
    cut = data.draw(st.integers(0, len(observations)))
    watch = monitor()
    log = FactLog.open(":memory:", projections=[watch.projection])
    for part in (observations[:cut], observations[cut:]):
        context = log.context()
        known = context.of(KnownWindow)
        for place, one in enumerate(part):
            context.add(one, id=f"o{place}")
        found = Engine([watch]).run_sync(context, log=log).context
        live = LiveRun(known.values(), watch.rules)
        for fact in found.of(ResponseObservation).values():
            live.take(fact)

        assert live.payloads() == dict(log.values(watch.projection))


def test_a_monitor_that_serves_several_runs_at_once_says_what_one_of_its_own_says() -> None:
    """What it keeps is only what it can prove to belong to the run; contexts that branch see what is theirs."""
    shared, observations = monitor(), spread([("good", 12, "acme", False), ("errors", 6, "acme", False)])
    base = Context()
    for place, one in enumerate(observations[:10]):
        base.add(one, id=f"o{place}")
    engine = Engine([shared])
    first = engine.run_sync(base, run_id="same", started=NOW).context
    branches = []
    for ending in (observations[10:], observations[10:][::-1], observations[:3]):
        branch, other = first.copy(), Context()
        for place, one in enumerate([*observations[:10], *ending]):
            if place >= 10:
                branch.add(one, id=f"o{place}")
            other.add(one, id=f"o{place}")
        alone = Engine([monitor()]).run_sync(other, run_id="same", started=NOW).context
        branches.append((engine.run_sync(branch, run_id="same", started=NOW).context, alone))

    for found, alone in branches:
        assert [told(list(found.of(kind).values())) for kind in SAID] == [
            told(list(alone.of(kind).values())) for kind in SAID
        ]


def test_what_it_has_computed_is_used_only_as_far_as_it_is_proved() -> None:
    """A run that goes on: what is new is taken, and nothing twice."""
    watch, context = monitor(), Context()
    engine = Engine([watch])
    for place in range(50):
        context.add(observation("good", "acme", False, place), id=f"o{place}")
        context = engine.run_sync(context, run_id=f"r{place}", started=NOW).context
    last = next(reversed(watch._runs.values()))

    assert 50 == last.count
    assert 50 == last.payloads()["acme"].total


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [[700], [430, 270], [100] * 7, [401, 1, 298]])
def test_change_detectors_start_anew_at_the_same_place_however_the_runs_are_cut(cuts: list[int]) -> None:
    """After 400 values they know nothing, so the rise at 450 falls into a warm-up; the fall at 650 is found."""
    watch = DriftMonitor(baseline=None, detectors={"latency_ms": "e"}, refresh=400)
    log, place, found = FactLog.open(":memory:", projections=[watch.projection]), 0, list[str]()
    for cut in cuts:
        context = log.context()
        for number in range(place, place + cut):
            slow = 300 if 450 <= number < 650 else -90 if number >= 650 else 0
            one = observation("good", "acme", False, number)
            said = one.model_copy(update={"latency_ms": 100.0 + number * 17 % 50 + slow})
            context.add(said, id=f"o{number}")
        place += cut
        monitor = DriftMonitor(baseline=None, detectors={"latency_ms": "e"}, refresh=400)
        found += Engine([monitor]).run_sync(context, log=log).context.of(ChangePoint)

    assert ["acme/latency_ms@654"] == found


@pytest.mark.parametrize("other", ["another history as long", "the same history, longer"])
def test_what_another_process_did_meanwhile_is_not_overlooked(other: str) -> None:
    """The same run id and as many observations, or the very observation that it took last: both have to be right."""
    shared, elsewhere = monitor(), Engine([monitor()])
    base = Context()
    for place in range(10):
        base.add(observation("good", "acme", False, place), id=f"o{place}")
    engine = Engine([shared])
    known = engine.run_sync(base, run_id="same", started=NOW).context
    if other == "another history as long":
        found = Context()
        for place in range(10):
            found.add(observation("errors" if place > 4 else "good", "acme", False, place), id=f"o{place}")
    else:
        found = known.copy()
        for place in range(10, 15):
            found.add(observation("errors", "acme", False, place), id=f"o{place}")
    found = elsewhere.run_sync(found, run_id="elsewhere", started=NOW).context
    found.add(observation("good", "acme", False, 15), id="o15")
    again = engine.run_sync(found, run_id="same", started=NOW).context
    whole, live = Context(), LiveRun([], shared.rules)
    for fact in again.of(ResponseObservation).values():
        live.take(whole.add(fact.payload, id=fact.id))

    assert live.payloads() == shared._runs["same"].payloads()
    assert "severe" in {fact.payload.severity for fact in again.of(DriftVerdict).values()}


def test_copies_of_one_context_that_began_with_other_knowledge_are_told_apart() -> None:
    """They share the very observations, and as many windows were known to each; only what was known differs."""
    shared, elsewhere = monitor(), Engine([monitor()])
    base = Context()
    for place in range(10):
        base.add(observation("good", "acme", False, place), id=f"o{place}")
    good, bad = base.copy(), base.copy()
    for context, kind in ((good, "good"), (bad, "errors")):
        memory = Memory(("acme", "", False), shared.rules.settings)
        for place in range(20):
            memory.observe(observation(kind, "acme", False, place))
        context.add(memory.payload(), id="acme")
    Engine([shared]).run_sync(good, run_id="same", started=NOW)
    found = elsewhere.run_sync(bad, run_id="elsewhere", started=NOW).context
    found.add(observation("errors", "acme", False, 10), id="o10")
    again = Engine([shared]).run_sync(found, run_id="same", started=NOW).context
    live = LiveRun([*again.of(KnownWindow).values()], shared.rules)
    for fact in again.of(ResponseObservation).values():
        live.take(fact)

    assert live.payloads() == shared._runs["same"].payloads()


def test_a_run_replays_and_reruns_to_the_same_verdicts() -> None:
    """No decision is taken again from anything but what the run knew."""
    watch = monitor()
    log = FactLog.open(":memory:", projections=[watch.projection, known_quarantines])
    engine = Engine([watch])
    for number in range(3):
        context = log.context()
        for place, one in enumerate(spread([("good", 8, "acme", False), ("errors", 5, "acme", False)])):
            context.add(one, id=f"o{place}")
        found = engine.run_sync(context, log=log, run_id=f"r{number}").context
        again = replay(log, f"r{number}")

        assert told(list(again.of(DriftVerdict).values())) == told(list(found.of(DriftVerdict).values()))
        assert engine.rerun_sync(log, f"r{number}").parting is None
        assert verify(log, f"r{number}").ok
        assert found.of(DriftVerdict)


async def test_it_says_the_same_on_every_event_loop() -> None:
    """And in whichever of several runs at the same time."""
    engine = Engine([monitor()])
    contexts = []
    for seed in range(4):
        context = Context()
        for place, one in enumerate(spread([("good", 9 + seed, "acme", False), ("empty", 8, "acme", False)])):
            context.add(one, id=f"o{place}")
        contexts.append(context)
    found = [result.context for result in await engine.run_many(contexts)]

    assert 4 == len(found)
    assert all("severe" == next(iter(each.of(DriftVerdict).values())).payload.severity for each in found)


WRITER = """
import sys
from quiesce.engine import Engine
from quiesce.facts import FactLog
from quiesce.suggestors.drift.monitor import DriftMonitor
from quiesce.suggestors.drift.payloads import ResponseObservation
from quiesce.suggestors.selection.known import known_quarantines

monitor = DriftMonitor(window=12)
log = FactLog.open(sys.argv[1], projections=[monitor.projection, known_quarantines])
for number in range(15):
    context = log.context()
    for place in range(3):
        context.add(
            ResponseObservation(
                provider="acme", output_tokens=100 * int(sys.argv[2]) + number, has_tool_use=False,
                request_had_tools=False, stop_reason="stop", is_error=number > 7,
            ),
            id=f"{sys.argv[2]}-{number}-{place}",
        )
    Engine([monitor]).run_sync(context, log=log)
log.close()
"""


@pytest.mark.slow
def test_four_processes_fill_one_window(tmp_path: Path) -> None:
    """Every observation counts once, and the window is that of the ledger's order, whoever asks."""
    place = str(tmp_path / "log.db")
    watch = DriftMonitor(window=12)
    FactLog.open(place, projections=[watch.projection, known_quarantines]).close()
    started = [subprocess.Popen([sys.executable, "-c", WRITER, place, str(n)]) for n in range(4)]
    codes = [process.wait(timeout=100) for process in started]
    log = FactLog.open(place, projections=[watch.projection, known_quarantines])
    window = log.values(watch.projection)["acme"]

    assert [0] * 4 == codes
    assert (180, 12) == (window.total, window.held)
    assert all(check.ok for check in log.check_projections())
    assert "severe" == window.severity
    assert log.values(known_quarantines)["drift/acme"].number >= 1
    log.close()


@pytest.mark.slow
def test_a_window_of_thousands_is_not_written_with_every_observation() -> None:
    """What a run logs grows with its observations and verdicts, not with its window: that stands in it once."""
    watch = DriftMonitor(window=1_500)
    log = FactLog.open(":memory:", projections=[watch.projection])
    engine = Engine([watch])
    sizes = []
    for count in (1_500, 1, 101):
        context = log.context()
        for place in range(count):
            context.add(observation("good", "acme", False, place), id=f"o{place}")
        run = engine.run_sync(context, log=log).run_id
        sizes.append(len(log.export(run)))
    one, hundred = sizes[1], sizes[2]

    assert one < 12_000
    assert one > 6_000
    assert (hundred - one) / 100 < 1_000
