"""Holds reputations to their formulas, to being no evidence of availability, and to the faults that others have."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import InvalidOption
from quiesce.suggestors.routing.beta import Beta
from quiesce.suggestors.routing.reputation import Reputation
from quiesce.suggestors.routing.thompson import ThompsonState

judgements = st.lists(st.booleans(), max_size=30)


def reputation_of(judged: list[bool], **options: Any) -> Reputation:
    """Returns reputations in which "ada" was judged so."""
    reputation = Reputation(**options)
    for good in judged:
        reputation.update("ada", success=good)
    return reputation


@given(judgements)
def test_it_counts_what_was_judged(judged: list[bool]) -> None:
    reputation = reputation_of(judged)
    good, bad = 1 + sum(judged), 1 + len(judged) - sum(judged)

    assert Beta(good, bad) == reputation.get_distribution("ada")
    expected = [("ada", good, bad, good / (good + bad), len(judged))] if judged else []
    assert expected == reputation.provider_stats()


@given(judgements, st.integers(0, 12))
def test_it_says_nothing_below_the_threshold(judged: list[bool], least: int) -> None:
    """No mean, no shift; from the threshold on, both."""
    reputation = reputation_of(judged, min_observations=least, weight=0.5)
    shifted = reputation.shift("ada", (3.0, 4.0))

    if len(judged) < least or not judged:
        assert (3.0, 4.0) == shifted
        assert reputation.reputation_mean("ada") is None
    else:
        good = sum(judged)
        assert (3.0 + 0.5 * good, 4.0 + 0.5 * (len(judged) - good)) == shifted
        assert (1 + good) / (2 + len(judged)) == reputation.reputation_mean("ada")


@given(judgements, st.floats(0, 1), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_a_shift_adds_the_weighted_part_beyond_the_prior(
    judged: list[bool], weight: float, alpha: float, beta: float
) -> None:
    """Never by multiplying: no score can turn around by a factor below zero."""
    reputation = reputation_of(judged, min_observations=1, weight=weight)
    known = reputation.get_distribution("ada")
    expected = (max(alpha + weight * (known.alpha - 1), 1e-6), max(beta + weight * (known.beta - 1), 1e-6))

    assert expected == pytest.approx(reputation.shift("ada", Beta(alpha, beta)))
    assert reputation.shift("bob", (alpha, beta)) == (alpha, beta)


def test_shifted_parameters_are_at_least_the_floor(tmp_path: Path) -> None:
    """What a file says may lie below the prior."""
    path = tmp_path / "reputation.json"
    path.write_text('{"models": {"ada": {"alpha": 0.5, "beta": 0.5, "observations": 9}}}')

    assert (1e-6, 1e-6) == Reputation.load(path, weight=1.0).shift("ada", (0.1, 0.5))


def test_a_better_reputation_never_makes_a_choice_less_probable() -> None:
    """With negative factors it would; the more good judgements, the greater the mean that a draw is made with."""
    means = []
    for good in range(5, 50, 5):
        alpha, beta = reputation_of([True] * good + [False] * 5, weight=1.0).shift("ada", (1.0, 30.0))
        means.append(alpha / (alpha + beta))

    assert sorted(means) == means


@given(judgements, st.floats(0.01, 1), st.integers(1, 5))
def test_decay_is_toward_the_prior_and_observations_are_rounded_down(
    judged: list[bool], factor: float, sessions: int
) -> None:
    reputation = reputation_of(judged, decay=factor)
    known, count = reputation.get_distribution("ada"), len(judged)
    alpha, beta = known.alpha, known.beta
    for _ in range(sessions):
        reputation.decay()
        alpha, beta, count = 1 + (alpha - 1) * factor, 1 + (beta - 1) * factor, math.floor(count * factor)

    assert Beta(alpha, beta) == reputation.get_distribution("ada")
    assert [count] * bool(judged) == [known.observations for known in reputation.provider_stats()]


def test_a_session_takes_a_twentieth_away() -> None:
    reputation = reputation_of([True] * 20)
    reputation.decay()

    assert [("ada", 20.0, 1.0, 20 / 21, 19)] == reputation.provider_stats()


@pytest.mark.parametrize(
    ("given", "used"), [(1.5, 1.0), (0.0, 2.0**-1022), (-3, 2.0**-1022), (0.5, 0.5), (math.inf, 1.0)]
)
def test_a_factor_of_decay_is_brought_into_its_range(given: float, used: float) -> None:
    assert used == Reputation(decay=given).decay_factor


@pytest.mark.parametrize(
    "wrong",
    [
        {"decay": math.nan}, {"decay": "0.9"}, {"weight": -0.1}, {"weight": 1.1}, {"weight": math.nan},
        {"min_observations": -1}, {"min_observations": 2.5}, {"min_observations": True}, {"closes_below": 6},
        {"closes_below": -1},
    ],
    ids=str,
)  # fmt: skip
def test_options_out_of_range_are_refused_with_the_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=r"is not a (whole )?number"):
        Reputation(**wrong)


def test_every_way_to_make_one_has_the_same_settings(tmp_path: Path) -> None:
    """A file that is not there is no reason for a factor of 0."""
    assert Reputation() == Reputation.load(tmp_path / "none.json")
    assert 0.95 == Reputation.load(tmp_path / "none.json").decay_factor


def test_settings_are_what_the_program_says_and_not_what_a_file_says(tmp_path: Path) -> None:
    """Else a session would be decayed by the factor of the one before."""
    path = tmp_path / "reputation.json"
    path.write_text(
        '{"models": {"ada": {"alpha": 11, "beta": 1, "observations": 10}}, "decay_factor": 0.1, "min_observations": 99}'
    )
    reputation = Reputation.load(path, decay=0.5)
    assert 11 / 12 == reputation.reputation_mean("ada")
    reputation.decay()

    assert Beta(6, 1) == reputation.get_distribution("ada")


def test_a_gate_need_not_flap() -> None:
    """One judgement a session, at the threshold: by default it counts in turns, with `closes_below` it goes on."""

    def sessions(**options: Any) -> list[bool]:
        reputation, said = reputation_of([True] * 5, **options), []
        for _ in range(6):
            reputation.decay()
            said.append(reputation.reputation_mean("ada") is not None)
            reputation.update("ada", success=True)
            said.append(reputation.reputation_mean("ada") is not None)
        return said

    assert [False, True] * 6 == sessions()
    assert [True, True] * 6 == sessions(closes_below=3)


def test_a_gate_that_is_open_stays_so_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "reputation.json"
    reputation = reputation_of([True] * 5, closes_below=3)
    reputation.decay()
    reputation.save(path)

    assert Reputation.load(path, closes_below=3).reputation_mean("ada") is not None
    assert Reputation.load(path).reputation_mean("ada") is None


def test_it_shifts_a_choice_and_leaves_availability_as_it_was() -> None:
    """Both answer always; what one of them says is wrong. 400 choices: under a tenth go there."""
    state, reputation, rng = ThompsonState(), Reputation(weight=1.0), np.random.default_rng(4)
    for _ in range(10):
        for name in ("glib", "sound"):
            state.update(name, success=True)
            reputation.update(name, success=name == "sound")
    before = state.provider_stats()
    overrides = reputation.overrides(["glib", "sound", "new"], state)
    chosen = [state.select_with_priors(["glib", "sound"], overrides, rng) for _ in range(400)]

    assert {"glib": (11.0, 11.0), "sound": (21.0, 1.0)} == overrides
    assert before == state.provider_stats()
    assert sum(one is not None and one.provider == "glib" for one in chosen) < 40


def test_a_shift_takes_what_another_one_made() -> None:
    """Several reasons to shift a draw come one after the other; none drops what was there before."""
    drift, quality = reputation_of([False] * 6, weight=0.5), reputation_of([True] * 6, weight=1.0)

    assert (9.0, 7.0) == quality.shift("ada", drift.shift("ada", (3.0, 4.0)))


def test_a_judgement_is_of_the_provider_that_it_names() -> None:
    """Not of the one that was used last."""
    reputation = reputation_of([True, True])
    reputation.update("bob", success=False)

    assert [("ada", 3.0, 1.0), ("bob", 1.0, 2.0)] == [known[:3] for known in reputation.provider_stats()]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan, "good", None])
def test_a_judgement_that_is_none_is_refused_and_counts_nothing(wrong: Any) -> None:
    reputation = Reputation()
    with pytest.raises(InvalidOption):
        reputation.update("ada", reward=wrong)

    assert [] == reputation.provider_stats()


def test_pruning_keeps_who_is_known_and_hands_back_the_rest() -> None:
    reputation = reputation_of([True] * 6)
    reputation.update("bob", reward=0.5)

    assert {"ada": Beta(7, 1)} == reputation.prune(["bob", "zoe"])
    assert ["bob"] == [known.provider for known in reputation.provider_stats()]
    assert reputation.reputation_mean("ada") is None


def test_a_file_of_zeph_is_read_and_ours_is_one_that_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "reputation.json"
    path.write_text(
        '{"models":{"ada":{"alpha":7.5,"beta":2.0,"observations":6}},"decay_factor":0.95,"min_observations":5}'
    )
    reputation = Reputation.load(path)
    assert [("ada", 7.5, 2.0, 7.5 / 9.5, 6)] == reputation.provider_stats()
    reputation.save(path)

    entry = json.loads(path.read_text())["models"]["ada"]
    assert (7.5, 2.0, 6) == (entry["alpha"], entry["beta"], entry["observations"])
    assert reputation == Reputation.load(path)


def test_sessions_of_several_processes_decay_one_after_the_other(tmp_path: Path) -> None:
    """Two load, decay and learn at once: it is as if one had done so after the other, and never below the prior."""
    path = tmp_path / "reputation.json"
    reputation_of([True] * 20 + [False] * 10).save(path)
    one, other = (Reputation.load(path, decay=0.5) for _ in range(2))
    for each in (one, other):
        each.decay()
        each.update("ada", success=True)
        each.save(path)

    assert Beta(1 + (20 / 2 + 1) / 2 + 1, 1 + 10 / 4) == Reputation.load(path).get_distribution("ada")
    many = [Reputation.load(path, decay=0.1) for _ in range(30)]
    for each in many:
        each.decay()
        each.save(path)
    left = Reputation.load(path).get_distribution("ada")
    assert 1.0 <= left.alpha < 1.0 + 1e-9
    assert 1.0 <= left.beta < 1.0 + 1e-9
