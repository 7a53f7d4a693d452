"""Shows what policies weigh, and that a wrong number is refused with the range that is right."""

from __future__ import annotations

from typing import Any

import pytest

from quiesce.engine import InvalidOption
from quiesce.suggestors.selection.payloads import COST_CLASSES, Backend
from quiesce.suggestors.selection.policy import Policy


def backend(**said: Any) -> Backend:
    return Backend(**{"name": "a", "kind": "llm", **said})


def test_cost_classes_go_from_0_to_1_in_equal_steps() -> None:
    scores = [Policy(mean=0).score(backend(cost_class=one)) for one in COST_CLASSES]

    assert pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1]) == scores


@pytest.mark.parametrize(
    ("policy", "said", "score"),
    [
        (Policy(cost=0, latency=2, mean=0), {"latency_ms": 1_500}, 3.0),
        (Policy(cost=0, quality=2, mean=0), {"quality": 0.75}, 0.5),
        (Policy(cost=0, mean=2, means={"a": 0.9}), {}, 0.2),
        (Policy(cost=0, mean=2), {}, 1.0),
        (Policy(cost=0, mean=2, unknown_mean=1), {}, 0.0),
        (Policy(cost=0, mean=0, load=3, loads={"a": 2, "b": 9}), {}, 6.0),
    ],
)
def test_each_weight_counts_what_it_says(policy: Policy, said: dict[str, Any], score: float) -> None:
    assert pytest.approx(score) == policy.score(backend(**said))


@pytest.mark.parametrize("name", ["cost", "latency", "quality", "mean", "load"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "1", None, True])
def test_a_weight_that_is_no_number_from_0_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=rf"Policy\({name}=…\)=.* is not a finite number from 0"):
        Policy(**{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "much"])
def test_a_mean_outside_of_0_and_1_is_refused(value: Any) -> None:
    with pytest.raises(InvalidOption, match=r"Policy\(means=…\)\['a'\]=.* is not a number from 0 to 1"):
        Policy(means={"a": value})
    with pytest.raises(InvalidOption, match=r"Policy\(unknown_mean=…\)=.* is not a number from 0 to 1"):
        Policy(unknown_mean=value)


def test_numbers_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(InvalidOption, match=r"Policy\(loads=…\)=\[1\] is not a mapping"):
        Policy(loads=[1])  # type: ignore[arg-type]  # that is the point


def test_what_the_caller_changes_later_changes_no_policy() -> None:
    means = {"a": 0.9}
    policy = Policy(means=means)
    means["a"] = 0.1

    assert {"a": 0.9} == policy.means


def test_fingerprints_are_those_of_what_is_preferred() -> None:
    assert Policy(means={"a": 1, "b": 0}).fingerprint() == Policy(means={"b": 0.0, "a": 1.0}).fingerprint()
    assert Policy(means={"a": 1}).fingerprint() != Policy(loads={"a": 1}).fingerprint()
    assert Policy(cost=2).fingerprint() != Policy().fingerprint()


def test_the_largest_numbers_are_compared_and_not_choked_on() -> None:
    policy = Policy(cost=0, latency=1e308, mean=0)

    assert policy.score(backend(latency_ms=1e308)) > policy.score(backend(latency_ms=1))
