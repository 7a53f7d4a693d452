"""Measures drift detection: what an observation costs, how often it alarms for nothing, and how soon for something.

`python benchmarks/work_drift.py` prints both tables; `speed` or `alarms` only one; `--quick` takes a tenth of the time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from math import log, log1p
from random import Random
from statistics import median
from time import process_time
from typing import Any

import anyio
from measure import Case, Sample, Section, Target, measure

from quiesce.facts import Context, Fact
from quiesce.suggestors.drift.calibrate import calibrate
from quiesce.suggestors.drift.detectors import Detector, detector
from quiesce.suggestors.drift.judge import detect_drift
from quiesce.suggestors.drift.live import LiveRun
from quiesce.suggestors.drift.monitor import DriftMonitor
from quiesce.suggestors.drift.payloads import ResponseObservation
from quiesce.suggestors.drift.thresholds import RECOMMENDED, SENSITIVITY, DriftThresholds
from quiesce.suggestors.drift.window import DriftWindow

STEPS = 2_000
SIZES = (20, 1_000, 10_000)

Decay = Callable[[int], dict[str, float]]
"""What is other than healthy at a place."""

# --- what is observed -------------------------------------------------------------------------------------------------


def observe(random: Random, count: int, decay: Decay | None = None) -> list[ResponseObservation]:
    """Returns answers of a healthy provider, or of one that decays: 2 % errors, lengths spread over a decade."""
    found = []
    for place in range(count):
        how = {"errors": 0.02, "empty": 0.002, "factor": 1.0, **(decay(place) if decay else {})}
        tokens = int(random.lognormvariate(5.5, 0.6) * how["factor"]) * (random.random() >= how["empty"])
        has_tools = random.random() < 0.5
        found.append(
            ResponseObservation(
                provider="acme", output_tokens=tokens, has_tool_use=has_tools and random.random() < 0.6,
                request_had_tools=has_tools, stop_reason="stop" if random.random() < 0.99 else "content_filter",
                is_error=random.random() < how["errors"],
            )
        )  # fmt: skip
    return found


# --- what an observation costs ----------------------------------------------------------------------------------------


def each(step: Callable[[Any], object], items: Sequence[Any], times: int = STEPS) -> Sample:
    """Returns a sample in microseconds of CPU time: the mean of so many steps, going on where the last one ended."""
    turn = cycle(items)

    async def sample() -> float:
        start = process_time()
        for _ in range(times):
            step(next(turn))
        return (process_time() - start) / times * 1e6

    return sample


def speed() -> Section:
    """One observation recorded and judged, beside river's detectors, which see one number each."""
    observations = observe(Random(1), 4_000)
    numbers = [log1p(one.output_tokens) for one in observations]
    cases = []
    for size in SIZES:
        windows = DriftWindow(size, options=RECOMMENDED)
        for one in observe(Random(2), size):
            windows.record(one)

        step = partial(_record_and_judge, windows)
        target = Target({20: 15.0, 10_000: 30.0}[size]) if size != 1_000 else None
        cases.append(Case(f"recorded and judged, window of {size:,}", each(step, observations), "µs", target))
    for name in ("adwin", "page-hinkley", "e"):
        made = _detectors(name)[2]
        cases.append(Case(f"one number, {name}", each(made.update, numbers), "µs"))
    for size in (20, 10_000):
        live = LiveRun([], DriftMonitor(window=size).rules)
        context = Context()
        facts = [context.add(one, id=f"o{place}") for place, one in enumerate(observations)]
        for fact in facts:
            live.take(fact)
        cases.append(Case(f"in the suggestor, baseline and all, window of {size:,}", each(live.take, facts), "µs"))
    for size in SIZES:
        pure = partial(_judge, observe(Random(3), size))
        cases.append(Case(f"the pure function, window of {size:,}", each(pure, [0], max(3, 20_000 // size)), "µs"))
    note = f"mean of {STEPS:,} observations; river's and ours below them see one number, the others five signals"
    return Section("An observation", note, cases)


def _record_and_judge(windows: DriftWindow, one: ResponseObservation) -> None:
    windows.record(one)
    windows.judge("acme")


def _judge(known: list[ResponseObservation], _turn: int) -> None:
    detect_drift(known)


# --- alarms -----------------------------------------------------------------------------------------------------------

Watch = Callable[[ResponseObservation], bool]
"""Takes in an observation and tells whether an alarm begins with it."""


def _windows(thresholds: DriftThresholds) -> Watch:
    windows, was = DriftWindow(20, thresholds, RECOMMENDED), False

    def watch(one: ResponseObservation) -> bool:
        nonlocal was
        windows.record(one)
        before, was = was, windows.judge("acme").drifted
        return was and not before

    return watch


def _monitor(alone: bool) -> Watch:
    """The suggestor's judgement; `alone`: only what is found against the baseline."""
    thresholds = DriftThresholds(1, 0, 1, 1, 1, 6) if alone else SENSITIVITY["normal"]
    live, was, context, count = LiveRun([], DriftMonitor(thresholds).rules), False, Context(), 0

    def watch(one: ResponseObservation) -> bool:
        nonlocal was, count
        count += 1
        fact: Fact[ResponseObservation] = context.add(one, id=f"o{count}")
        before, was = was, live.take(fact).judgement.drifted
        return was and not before

    return watch


def _detectors(name: str) -> list[Detector]:
    return [detector(name) for _ in range(3)]


def _numbers(name: str, only_length: bool = False) -> Watch:
    """Three detectors of one kind: on errors, on empty answers, on the logarithm of the length."""
    errors, empty, length = _detectors(name)

    def watch(one: ResponseObservation) -> bool:
        if only_length:
            return not one.is_error and length.update(log1p(one.output_tokens))
        found = errors.update(float(one.is_error))
        if one.is_error:
            return found
        return any((found, empty.update(float(not one.output_tokens)), length.update(log1p(one.output_tokens))))

    return watch


def watches() -> dict[str, tuple[Callable[[], Watch], float]]:
    """Returns who is compared, each with the share of the work that it can be asked to do in the time there is."""
    calibrated = calibrate(observe(Random(77), 5_000), false_alarms_per=10_000).thresholds
    presets = {f"preset {name}": (partial(_windows, limits), 1.0) for name, limits in SENSITIVITY.items()}
    return {
        **presets,
        "calibrated, 1 in 10,000": (lambda: _windows(calibrated), 1.0),
        "baseline alone": (lambda: _monitor(alone=True), 1.0),
        "suggestor: normal and baseline": (lambda: _monitor(alone=False), 1.0),
        "e": (lambda: _numbers("e"), 1.0),
        "ADWIN": (lambda: _numbers("adwin"), 1.0),
        "Page–Hinkley": (lambda: _numbers("page-hinkley"), 1.0),
        "KSWIN, lengths only": (lambda: _numbers("kswin", only_length=True), 0.1),
    }


HEALTHY, LATER = 400, 1_000
DRIFTS: dict[str, Decay] = {
    "errors 2 → 40 %": lambda n: {"errors": 0.4} if n >= HEALTHY else {},
    "empty 0 → 30 %": lambda n: {"empty": 0.3} if n >= HEALTHY else {},
    "length × 0.3": lambda n: {"factor": 0.3} if n >= HEALTHY else {},
    "length × 0.3 over 500": lambda n: {"factor": 1 - 0.7 * min(1, max(0, n - HEALTHY) / 500)},
}


def alarms(lives: int, stable: int) -> list[list[str]]:
    """Returns the table: alarms on what is stable, then for each drift how soon it is found."""
    rows = []
    for name, (make, share) in watches().items():
        count = max(2_000, int(stable * share))
        watch = make()
        found = sum(watch(one) for one in observe(Random(11), count))
        rate = found / count
        row = [name, f"{100_000 * rate:,.0f}"]
        for decay in DRIFTS.values():
            delays = [_delay(make(), seed, decay) for seed in range(max(5, int(lives * share)))]
            row.append(f"{median(delays):.0f}" if median(delays) < LATER else f"> {LATER:,}")
        row.append(f"{log(2) / rate:,.0f}" if found else "never")
        rows.append(row)
    return rows


def _delay(watch: Watch, seed: int, decay: Decay) -> float:
    """Returns how many observations after a change began an alarm did."""
    said = observe(Random(1_000 + seed), HEALTHY + LATER, decay)
    found = [place for place, one in enumerate(said) if watch(one) and place >= HEALTHY]
    return found[0] - HEALTHY + 1 if found else float("inf")


def main() -> None:
    """Prints what was asked for."""
    quick, asked = "--quick" in sys.argv, [one for one in sys.argv[1:] if not one.startswith("-")]
    if not asked or "speed" in asked:
        section = speed()
        rows = anyio.run(measure, section, 3 if quick else 7)
        print(f"{section.title}: {section.note}\n\n| | µs | lowest–highest | target |\n|---|---:|---:|---:|")
        for row in rows:
            limit = "" if row.case.target is None else f"< {row.case.target.limit:g}"
            spread = f"{min(row.samples):.3g}–{max(row.samples):.3g}"
            print(f"| {row.case.name} | {median(row.samples):.3g} | {spread} | {limit} |")
        print(flush=True)
    if not asked or "alarms" in asked:
        lives, stable = (5, 10_000) if quick else (21, 100_000)
        heads = ["", "alarms in 100,000 stable", *DRIFTS, "at random"]
        print(f"Alarms, and the median delay in observations over {lives} lives that are healthy for {HEALTHY} first\n")
        print(f"| {' | '.join(heads)} |\n|---|{'---:|' * (len(heads) - 1)}")
        for cells in alarms(lives, stable):
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
