"""Holds the sliding window to the pure function: whatever happens to it, it says what its observations say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import log2
from random import Random
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.suggestors.drift.errors import InvalidDriftSetting
from quiesce.suggestors.drift.judge import Judgement, detect_drift, figures_of
from quiesce.suggestors.drift.medians import Halves, RunningMedian
from quiesce.suggestors.drift.payloads import ResponseObservation
from quiesce.suggestors.drift.thresholds import PLAIN, RECOMMENDED, SENSITIVITY, DriftThresholds
from quiesce.suggestors.drift.window import DriftWindow, Window

answers = st.builds(
    ResponseObservation,
    provider=st.sampled_from(["acme", "acme", "acme", "bolt"]),
    output_tokens=st.one_of(st.integers(0, 4), st.integers(0, 3000)),
    has_tool_use=st.booleans(),
    request_had_tools=st.booleans(),
    stop_reason=st.sampled_from(["end_turn", "stop", "refusal", None]),
    is_error=st.sampled_from([False, False, True]),
    stream=st.sampled_from([False, False, True]),
    model=st.sampled_from(["", "", "large"]),
)
turns = st.sampled_from(["clear", "clear_all", 6, 6, 8, 8, 31, 31])
steps = st.integers(0, 14).flatmap(lambda chance: answers if chance else turns)  # mostly answers, so that windows fill


def answer(provider: str = "acme", tokens: int = 300, **said: Any) -> ResponseObservation:
    said = {"has_tool_use": False, "request_had_tools": False, "stop_reason": "end_turn", **said}
    return ResponseObservation(provider=provider, output_tokens=tokens, **said)


@given(
    steps=st.lists(steps, min_size=20, max_size=120),
    size=st.integers(10, 25),
    preset=st.sampled_from(["low", "normal", "high"]),
    options=st.sampled_from([PLAIN, RECOMMENDED]),
)
def test_a_window_says_what_the_pure_function_says(steps: list[Any], size: int, preset: str, options: Any) -> None:
    """After every step, for every window, through resizing and clearing."""
    thresholds = SENSITIVITY[preset]
    windows = DriftWindow(size, thresholds, options)
    model: dict[Any, list[ResponseObservation]] = {}
    for step in steps:
        if isinstance(step, ResponseObservation):
            windows.record(step)
            kept = model.setdefault((step.provider, step.model, step.stream), [])
            kept[:] = [*kept, step][-windows.max_size :]
        elif step == "clear":
            windows.clear("acme")
            model = {key: kept for key, kept in model.items() if key[0] != "acme"}
        elif step == "clear_all":
            windows.clear_all()
            model = {}
        elif step >= thresholds.min_window_fill:
            windows.resize(step)
            model = {key: kept[-step:] for key, kept in model.items()}
        for provider, name, stream in model:
            kept = model[provider, name, stream]

            assert kept == windows.get_window(provider, name, stream=stream)
            assert detect_drift(kept, thresholds, options) == windows.judge(provider, name, stream=stream)
        assert len(model) == len(windows)


@given(values=st.lists(st.one_of(st.integers(0, 3), st.integers(0, 10**6)), max_size=300), size=st.integers(1, 40))
def test_the_medians_of_the_halves_slide(values: list[int], size: int) -> None:
    """Against medians that are taken anew each time."""
    halves, kept = Halves(), list[int]()
    for value in values:
        if len(kept) == size:
            halves.popleft()
            del kept[0]
        halves.append(value)
        kept.append(value)
        half = len(kept) // 2

        assert (median(kept[:half]) if half else 0, median(kept[half:])) == halves.medians
        assert len(kept) == len(halves)
    for left in range(len(kept), 0, -1):
        halves.popleft()
        assert left - 1 == len(halves)


class Counted(int):
    """A number that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) < int(other)

    def __neg__(self) -> Counted:
        return Counted(-int(self))


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 256, 4096])
def test_a_step_costs_as_many_comparisons_as_the_size_has_digits(size: int) -> None:
    """O(log w): from 16 to 4096 the size grows 256-fold, the cost of a step threefold; and heaps stay small."""
    random, halves = Random(size), Halves()
    for _ in range(size):
        halves.append(Counted(random.randrange(10**6)))
    Counted.compared, steps = 0, 2 * size + 2000
    for _ in range(steps):
        halves.append(Counted(random.randrange(10**6)))
        halves.popleft()

    assert Counted.compared / steps < 12 * log2(size)
    heaps = (halves._of_earlier._low, halves._of_earlier._high, halves._of_recent._low, halves._of_recent._high)
    assert sum(map(len, heaps)) < 2 * size + 200


def test_what_leaves_and_comes_again_counts_again() -> None:
    """Values that are gone from the midst of a heap and come back do not pile up."""
    bag = RunningMedian()
    for value in range(100):
        bag.add(value)
    for _ in range(1000):
        bag.remove(0)
        bag.add(0)

    assert (49.5, 100) == (bag.median, len(bag))
    assert len(bag._low) + len(bag._high) == 100


@given(seen=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 63)), max_size=60))
def test_the_figures_are_those_of_what_is_in_the_window(seen: list[tuple[int, int]]) -> None:
    window = Window(15, seen)

    assert figures_of(seen[-15:]) == window.figures()


def test_windows_are_kept_apart_by_provider_model_and_stream() -> None:
    """Verdicts of different models, and of streamed and whole answers, were mixed."""
    windows = DriftWindow(10)
    for _ in range(10):
        windows.record(answer(tokens=0))
        windows.record(answer(model="large"))
        windows.record(answer(stream=True))
        windows.record(answer("bolt"))
    keys = windows.names()
    found = [windows.judge(provider, model, stream=stream).severity for provider, model, stream in keys]

    assert [("acme", "", False), ("acme", "large", False), ("acme", "", True), ("bolt", "", False)] == keys
    assert ["severe", "none", "none", "none"] == found


def test_an_unknown_window_says_nothing() -> None:
    assert Judgement() == DriftWindow().judge("nobody")
    assert [] == DriftWindow().get_window("nobody")


def test_a_new_size_holds_for_windows_that_are_there() -> None:
    """The original went on with the old size."""
    windows = DriftWindow(20)
    for tokens in range(20):
        windows.record(answer(tokens=tokens))
    windows.resize(8)
    shrunk = [one.output_tokens for one in windows.get_window("acme")]
    assert detect_drift(windows.get_window("acme")) == windows.judge("acme")
    windows.resize(30)
    for tokens in range(20, 50):
        windows.record(answer(tokens=tokens))

    assert list(range(12, 20)) == shrunk
    assert list(range(20, 50)) == [one.output_tokens for one in windows.get_window("acme")]


@pytest.mark.parametrize(("size", "fill"), [(5, 6), (0, 1), (-1, 1), (19, 20), (True, 1), (6.0, 6)])
def test_a_window_that_could_never_be_judged_is_refused(size: Any, fill: int) -> None:
    """A size below the minimum fill was accepted, and then nothing was ever found."""
    thresholds = DriftThresholds(min_window_fill=fill)
    with pytest.raises(InvalidDriftSetting, match=f"max_size=.* is not a whole number from {fill}"):
        DriftWindow(size, thresholds)
    windows = DriftWindow(max(fill, 20), thresholds)
    with pytest.raises(InvalidDriftSetting):
        windows.resize(size)


def test_names_without_end_do_not_fill_the_memory() -> None:
    windows = DriftWindow(max_windows=3)
    for place in range(10):
        windows.record(answer(f"p{place}"))
        windows.record(answer("steady"))

    assert 10 == len(windows.get_window("steady"))
    assert ["p8", "p9", "steady"] == sorted(key[0] for key in windows.names())


def test_threads_may_share_it() -> None:
    """Whatever the order, the figures are those of what is kept."""
    windows = DriftWindow(50)

    def use(tokens: int) -> str:
        windows.record(answer(tokens=tokens))
        return windows.judge("acme").severity

    with ThreadPoolExecutor(4) as threads:
        assert 2000 == len(list(threads.map(use, range(2000))))

    assert 50 == len(windows.get_window("acme"))
    assert detect_drift(windows.get_window("acme")) == windows.judge("acme")


@given(values=st.lists(st.integers(0, 9), max_size=40), more=st.lists(st.integers(0, 9), max_size=40))
def test_halves_made_at_once_are_those_made_step_by_step(values: list[int], more: list[int]) -> None:
    """And stay so while values come and go."""
    at_once, step_by_step = Halves.of(values), Halves()
    for value in values:
        step_by_step.append(value)
    for value in more:
        assert step_by_step.medians == at_once.medians
        for queue in (at_once, step_by_step):
            queue.append(value)
            if len(queue) > 12:
                queue.popleft()

    assert step_by_step.medians == at_once.medians
    assert len(step_by_step) == len(at_once)
