"""Holds Thompson sampling to its seven lines, and to the faults that others have."""

from __future__ import annotations

import copy
import math
import pickle
import random
import re
from collections.abc import Callable, Sequence
from itertools import permutations
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import InvalidOption
from quiesce.suggestors.routing.beta import Beta
from quiesce.suggestors.routing.draws import draw_log_odds
from quiesce.suggestors.routing.linucb import LinUCB
from quiesce.suggestors.routing.panel import Selection
from quiesce.suggestors.routing.propensity import propensities
from quiesce.suggestors.routing.reputation import Reputation
from quiesce.suggestors.routing.thompson import ThompsonState

NAMES = ["ada", "bob", "cyd", "dan", "eve"]
names = st.sampled_from(NAMES)
outcomes = st.lists(st.tuples(names, st.one_of(st.booleans(), st.floats(0, 1))), max_size=40)
seeds = st.integers(0, 2**32 - 1)


def state_of(outcomes: Sequence[tuple[str, bool | float]], prior: Beta = Beta()) -> ThompsonState:  # noqa: B008
    """Returns a state that has counted some outcomes."""
    state = ThompsonState(prior)
    for name, outcome in outcomes:
        if isinstance(outcome, bool):
            state.update(name, outcome)
        else:
            state.update(name, reward=outcome)
    return state


def holding(**known: tuple[float, float]) -> ThompsonState:
    """Returns a state with these parameters."""
    state = ThompsonState()
    state._take(known)
    return state


class Drawn:
    """A generator whose beta variates are given, and whose whole numbers come from a real one."""

    def __init__(self, *samples: float) -> None:
        self.samples, self.asked = list(samples), 0
        self.real = np.random.default_rng(3)

    def beta(self, alpha: Any, beta: Any, size: Any = None) -> Any:
        return np.broadcast_to(np.array(self.samples), np.shape(alpha) if size is None else size)

    def integers(self, high: int) -> int:
        self.asked += 1
        return int(self.real.integers(high))


# --- 1. one distribution for each provider


@given(outcomes)
def test_alpha_and_beta_are_the_prior_and_what_was_earned_and_missed(outcomes: list[tuple[str, bool | float]]) -> None:
    """A success adds 1 to alpha, a failure 1 to beta, a reward r adds r and 1 - r."""
    state = state_of(outcomes)

    for name in NAMES:
        rewards = [float(outcome) for other, outcome in outcomes if other == name]
        known = state.get_distribution(name)
        assert 1 + sum(rewards) == pytest.approx(known.alpha)
        assert 1 + len(rewards) - sum(rewards) == pytest.approx(known.beta)


def test_the_prior_can_be_chosen() -> None:
    state = state_of([("ada", True)], Beta(2, 5))

    assert (Beta(3, 5), Beta(2, 5)) == (state.get_distribution("ada"), state.get_distribution("bob"))


@pytest.mark.parametrize("wrong", [(1, 1), None, 1.0, "uniform"])
def test_a_prior_that_is_no_distribution_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidOption, match="is not a Beta"):
        ThompsonState(wrong)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan, math.inf, "1", None, [1]])
def test_a_reward_that_is_none_is_refused_and_counts_nothing(wrong: Any) -> None:
    state = state_of([("ada", True)])
    with pytest.raises(InvalidOption):
        state.update("ada", reward=wrong)
    if wrong is not None:
        with pytest.raises(InvalidOption):
            state.update("ada", wrong)

    assert [("ada", 2.0, 1.0)] == state.provider_stats()


def test_an_outcome_says_one_thing() -> None:
    state = ThompsonState()
    wrong: list[dict[str, Any]] = [{}, {"success": True, "reward": 0.5}, {"success": False, "reward": 0.0}]
    for both in wrong:
        with pytest.raises(InvalidOption, match="one of the two"):
            state.update("ada", **both)

    assert [] == state.provider_stats()


@pytest.mark.parametrize("wrong", ["", None, 7, b"ada", ("ada",)])
def test_a_provider_without_a_name_is_refused(wrong: Any) -> None:
    state = ThompsonState()
    calls: list[Callable[[], object]] = [
        lambda: state.update(wrong, True),
        lambda: state.select([wrong], np.random.default_rng(1)),
    ]
    for call in calls:
        with pytest.raises(InvalidOption, match="not a name"):
            call()

    assert [] == state.provider_stats()


# --- 2. one draw from each, the largest wins


@given(outcomes, st.lists(names, min_size=1, max_size=8), seeds)
def test_each_candidate_draws_once_in_the_given_order_and_the_largest_wins(
    outcomes: list[tuple[str, bool | float]], candidates: list[str], seed: int
) -> None:
    """Told by asking numpy for the same variates; a name that stands twice draws where it stands first."""
    state = state_of(outcomes)
    rng, bare = np.random.default_rng(seed), np.random.default_rng(seed)
    chosen = state.select(candidates, rng)
    assert chosen is not None
    order = list(dict.fromkeys(candidates))
    known = [state.get_distribution(name) for name in order]
    samples = bare.beta([one.alpha for one in known], [one.beta for one in known])
    place = int(samples.argmax())

    assert (order[place], known[place].alpha, known[place].beta, samples[place]) == chosen[:4]
    assert rng.bit_generator.state == bare.bit_generator.state


@given(outcomes, st.lists(names, min_size=1), seeds)
def test_a_choice_exploits_where_no_mean_is_greater(
    outcomes: list[tuple[str, bool | float]], candidates: list[str], seed: int
) -> None:
    state = state_of(outcomes)
    chosen = state.select(candidates, np.random.default_rng(seed))
    assert chosen is not None
    means = {name: state.get_distribution(name).mean for name in candidates}

    assert chosen.exploit is (means[chosen.provider] >= max(means.values()))


def test_whether_a_choice_exploits_follows_the_outcomes() -> None:
    """Also those that come after the candidates were laid out."""
    state, low_and_high = ThompsonState(), Drawn(0.1, 0.9)
    found = []
    for _ in range(3):
        chosen = state.select(["ada", "bob"], low_and_high)  # type: ignore[arg-type]
        assert chosen is not None
        found.append((chosen.provider, chosen.exploit))
        state.update("ada" if len(found) == 1 else "bob", success=True)

    assert [("bob", True), ("bob", False), ("bob", True)] == found


def test_all_candidates_exploit_where_all_are_equal() -> None:
    state, rng = ThompsonState(), np.random.default_rng(2)

    assert all(choice.exploit for choice in (state.select(NAMES, rng) for _ in range(20)) if choice)


def test_without_candidates_nobody_is_chosen_and_nothing_is_drawn() -> None:
    rng = np.random.default_rng(4)
    before = rng.bit_generator.state
    state = ThompsonState()

    assert [None] * 3 == [state.select([], rng), state.select_with_priors((), {}, rng), state.select_many(5, [], rng)]
    assert before == rng.bit_generator.state


def test_choosing_does_not_make_a_provider_known() -> None:
    """Else the state would grow by every name that anybody ever asked for."""
    state, rng = state_of([("ada", True)]), np.random.default_rng(1)
    state.select(NAMES, rng)
    state.select_with_priors(NAMES, {"bob": (3, 4)}, rng)
    state.select_many(5, NAMES, rng)
    state.get_distribution("cyd")

    assert [("ada", 2.0, 1.0)] == state.provider_stats()


@pytest.mark.parametrize("wrong", ["ada", b"ada"])
def test_a_text_is_no_list_of_candidates(wrong: Any) -> None:
    """It would be a list of letters. Also where the choice before was among nobody."""
    state, rng = ThompsonState(), np.random.default_rng(1)
    state.select([], rng)
    for call in (
        lambda: state.select(wrong, rng),
        lambda: state.select_many(3, wrong, rng),
        lambda: state.select_with_priors(wrong, {}, rng),
        lambda: state.prune(wrong),
    ):
        with pytest.raises(InvalidOption):
            call()


@pytest.mark.parametrize("make", [list, tuple, iter, dict.fromkeys], ids=["list", "tuple", "iterator", "dict"])
def test_candidates_come_in_any_form(make: Callable[[list[str]], Any]) -> None:
    state = state_of([("ada", True)])
    chosen = [state.select(given, np.random.default_rng(9)) for given in (make(NAMES), NAMES, make(NAMES))]

    assert chosen[0] == chosen[1] == chosen[2]


def test_what_was_laid_out_for_one_choice_follows_what_comes_after() -> None:
    """The layout of the candidates is kept between choices; every way to change a state has to reach it."""
    state, fresh = ThompsonState(), np.random.default_rng
    changes: list[Callable[[], object]] = [
        lambda: state.update("ada", True),
        lambda: state.update("zoe", True),
        lambda: state.update("bob", reward=0.25),
        lambda: state.decay(0.5),
        lambda: state.prune(["ada", "zoe"]),
        lambda: state.update("cyd", False),
        lambda: state._take({"dan": (1e-3, 7.0)}),
        lambda: state.update("dan", True),
        lambda: state._take({"dan": (0.5, 1e9)}),
        lambda: state.update("dan", False),
    ]
    for place, change in enumerate(changes):
        change()
        for candidates in (NAMES, NAMES[::-1], NAMES):
            anew = ThompsonState()
            anew._take(state._value())
            assert anew.select(candidates, fresh(place)) == state.select(candidates, fresh(place))


# --- ties, and draws that floats cannot tell apart


def test_of_equal_samples_none_is_favoured_by_its_place() -> None:
    """4,000 ties among three: the shares are within 4 standard errors (3 %) of a third."""
    state, drawn = ThompsonState(), Drawn(0.5, 0.2, 0.5, 0.5)
    counts = dict.fromkeys(NAMES[:4], 0)
    for _ in range(4_000):
        chosen = state.select(NAMES[:4], drawn)  # type: ignore[arg-type]
        assert chosen is not None
        counts[chosen.provider] += 1

    assert (0, 4_000) == (counts["bob"], drawn.asked)
    assert all(abs(counts[name] / 4_000 - 1 / 3) < 0.03 for name in ("ada", "cyd", "dan"))
    many = state.select_many(4_000, NAMES[:4], drawn)  # type: ignore[arg-type]
    assert many is not None
    assert all(abs(many.counts()[name] / 4_000 - 1 / 3) < 0.03 for name in ("ada", "cyd", "dan"))


def test_the_order_of_names_favours_nobody() -> None:
    """Three that are equal, in all orders, 60,000 draws: shares within 4 standard errors (0.8 %) of a third."""
    state, rng = ThompsonState(), np.random.default_rng(6)
    counts = dict.fromkeys(NAMES[:3], 0)
    for order in permutations(NAMES[:3]):
        many = state.select_many(10_000, order, rng)
        assert many is not None
        for name, times in many.counts().items():
            counts[name] += times

    assert all(abs(times / 60_000 - 1 / 3) < 0.008 for times in counts.values())


@pytest.mark.parametrize(
    "known",
    [
        ((1e-6, 1e-6), (1e-6, 1e-6), (1e-6, 3e-6)),
        ((5, 1e-6), (2, 2e-6), (9, 1e-5)),  # every draw is 1.0 as a float
        ((1e-6, 5), (3e-6, 5), (1e-6, 1)),  # every draw is 0.0
        ((0.3, 0.1), (0.2, 0.2), (1, 1)),
        ((1e12, 1), (1e12, 2), (2e12, 2)),
    ],
)
def test_draws_that_floats_cannot_tell_apart_are_told_apart(known: tuple[tuple[float, float], ...]) -> None:
    """40,000 selections, one by one and at once: shares within 4.5 standard errors (1.2 %) of the propensities."""
    rng = np.random.default_rng(8)
    state = holding(**dict(zip(NAMES, known, strict=False)))
    candidates = NAMES[: len(known)]
    expected = propensities(known)
    many = state.select_many(40_000, candidates, rng)
    assert many is not None

    assert expected == pytest.approx([many.counts()[name] / 40_000 for name in candidates], abs=0.012)
    chosen = [state.select(candidates, rng) for _ in range(4_000)]
    shares = [sum(one is not None and one.provider == name for one in chosen) / 4_000 for name in candidates]
    assert expected == pytest.approx(shares, abs=0.036)
    assert all(one is not None and 0.0 <= one.sample <= 1.0 for one in chosen)


@pytest.mark.slow
def test_log_odds_follow_the_distribution() -> None:
    """Kolmogorov and Smirnov's test, on what is drawn in the place of numpy's variates; seeds are fixed."""
    from scipy import stats
    from scipy.special import expit

    rng = np.random.default_rng(12)
    for alpha, beta in ((0.3, 0.4), (0.9, 12.0), (3.0, 0.2), (40.0, 7.0)):
        drawn = expit(draw_log_odds(np.array([alpha]), np.array([beta]), rng, 20_000)[:, 0])
        assert stats.kstest(drawn, stats.beta(alpha, beta).cdf).pvalue > 0.001


def test_parameters_are_raised_before_a_draw_and_what_was_used_is_told() -> None:
    chosen = ThompsonState().select_with_priors(["ada"], {"ada": (-3.0, 0.0)}, np.random.default_rng(1))
    assert chosen is not None

    assert ("ada", 1e-6, 1e-6, True) == (chosen.provider, chosen.alpha, chosen.beta, chosen.exploit)


# --- 3. other parameters for one draw


@given(outcomes, st.dictionaries(names, st.tuples(st.floats(-2, 50), st.floats(-2, 50))), seeds)
def test_overrides_hold_for_one_draw_alone(
    outcomes: list[tuple[str, bool | float]], overrides: dict[str, tuple[float, float]], seed: int
) -> None:
    """It is as if they were what is stored; and what is stored stays as it was."""
    state, same = state_of(outcomes), state_of(outcomes)
    used = {
        name: (max(alpha, 1e-6), max(beta, 1e-6))
        for name in NAMES
        for alpha, beta in [
            overrides.get(name, (state.get_distribution(name).alpha, state.get_distribution(name).beta))
        ]
    }
    chosen = state.select_with_priors(NAMES, overrides, np.random.default_rng(seed))
    assert chosen is not None

    assert holding(**used).select(NAMES, np.random.default_rng(seed)) == chosen
    assert used[chosen.provider] == (chosen.alpha, chosen.beta)
    assert same == state
    assert same.select(NAMES, np.random.default_rng(seed)) == state.select(NAMES, np.random.default_rng(seed))


def test_an_override_may_be_a_distribution_and_one_for_somebody_else_is_ignored() -> None:
    state, rng = ThompsonState(), np.random.default_rng(1)
    chosen = state.select_with_priors(["ada"], {"ada": Beta(7, 2), "zoe": (9, 9)}, rng)

    assert chosen is not None
    assert ("ada", 7.0, 2.0) == chosen[:3]
    assert [] == state.provider_stats()


@pytest.mark.parametrize("wrong", [(math.nan, 1), (1, math.inf), (1,), (1, 2, 3), 5, None, "ab", ("1", 2), (True, 1)])
def test_an_override_that_is_none_is_refused_and_named(wrong: Any) -> None:
    with pytest.raises(InvalidOption, match=r"overrides\['ada'\]"):
        ThompsonState().select_with_priors(["ada"], {"ada": wrong}, np.random.default_rng(1))


# --- 4. looking and forgetting


@given(outcomes)
def test_stats_are_sorted_by_name_and_list_who_had_outcomes(outcomes: list[tuple[str, bool | float]]) -> None:
    state = state_of(outcomes)
    stats = state.provider_stats()

    assert sorted({name for name, _ in outcomes}) == [known.provider for known in stats]
    assert [state.get_distribution(known.provider) for known in stats] == [known.distribution for known in stats]


@given(outcomes, st.sets(names))
def test_pruning_keeps_who_is_known_and_hands_back_the_rest(
    outcomes: list[tuple[str, bool | float]], kept: set[str]
) -> None:
    """What it forgets it returns: somebody who is away for a day need not be lost."""
    state, before = state_of(outcomes), state_of(outcomes)
    gone = state.prune(kept)

    had = {known.provider: known.distribution for known in before.provider_stats()}
    assert {name: one for name, one in had.items() if name not in kept} == gone
    assert {name: one for name, one in had.items() if name in kept} == {
        known.provider: known.distribution for known in state.provider_stats()
    }


def test_decay_brings_what_is_known_nearer_to_the_prior() -> None:
    """Old evidence need not rule for ever."""
    state = state_of([("ada", True)] * 10 + [("bob", False)] * 4)
    state.decay(0.5)

    assert (Beta(6, 1), Beta(1, 3)) == (state.get_distribution("ada"), state.get_distribution("bob"))
    state.decay(2.0)
    assert Beta(6, 1) == state.get_distribution("ada")
    state.decay(0.0)
    assert Beta(1, 1) == state.get_distribution("ada")
    with pytest.raises(InvalidOption):
        state.decay(math.nan)


# --- 6. the same generator, the same choice


def test_the_same_generator_and_outcomes_replay_the_same_choices() -> None:
    """And copies of a state do not share draws, since it has none of its own."""

    def play(state: ThompsonState, seed: int) -> list[Selection | None]:
        rng, chosen = np.random.default_rng(seed), []
        for turn in range(50):
            chosen.append(state.select(NAMES, rng))
            assert chosen[-1] is not None
            state.update(chosen[-1].provider, success=turn % 3 == 0)
        return chosen

    first = ThompsonState()
    copies = [copy.deepcopy(first), pickle.loads(pickle.dumps(first))]

    assert play(first, 1) == play(copies[0], 1)
    assert play(copies[1], 2) != play(ThompsonState(), 1)


def test_a_copy_is_a_state_of_its_own() -> None:
    state = state_of([("ada", True)])
    state.select(NAMES, np.random.default_rng(1))
    for other in (copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert state == other
        other.update("ada", False)
        assert state != other


def test_no_outcome_is_lost_between_threads() -> None:
    """Eight threads, 2,000 outcomes each, on the same two providers, while others choose."""
    state = ThompsonState()

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for turn in range(2_000):
            state.update(NAMES[turn % 2], success=turn % 4 < 2)
            if turn % 10 == 0:
                assert state.select(NAMES, rng) is not None

    threads = [Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [("ada", 4_001.0, 4_001.0), ("bob", 4_001.0, 4_001.0)] == state.provider_stats()


# --- 7. many at once


@given(outcomes, st.lists(names, min_size=1), st.integers(0, 30), seeds)
def test_many_at_once_are_as_many_one_by_one(
    outcomes: list[tuple[str, bool | float]], candidates: list[str], n: int, seed: int
) -> None:
    """The same choices, the same samples, from the same variates."""
    state = state_of(outcomes)
    one, other = np.random.default_rng(seed), np.random.default_rng(seed)
    many = state.select_many(n, candidates, one)
    assert many is not None

    assert [state.select(candidates, other) for _ in range(n)] == list(many) == many[:]
    assert one.bit_generator.state == other.bit_generator.state
    assert {name: sum(each.provider == name for each in many) for name in candidates} == many.counts()


def test_rows_beyond_a_block_are_drawn_in_the_same_order() -> None:
    """Draws are made in blocks of half a million: where one ends makes no difference."""
    state = state_of([("ada", True), ("bob", False)])
    one, other = np.random.default_rng(7), np.random.default_rng(7)
    many = state.select_many(200_000, NAMES, one)
    assert many is not None
    known = [state.get_distribution(name) for name in NAMES]
    bare = other.beta([each.alpha for each in known], [each.beta for each in known], size=(200_000, 5))

    assert (bare.argmax(axis=1) == many.winners).all()
    assert (bare.max(axis=1) == many.samples).all()


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "3", None])
def test_a_number_of_requests_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidOption, match="is not a whole number from 0"):
        ThompsonState().select_many(wrong, NAMES, np.random.default_rng(1))


@pytest.mark.parametrize("known", [((1, 1), (2, 1), (3, 2)), ((30, 10), (28, 11), (2, 2), (1, 1)), ((1, 9), (1, 9))])
def test_shares_of_many_selections_are_the_propensities(known: tuple[tuple[float, float], ...]) -> None:
    """200,000 selections: within 4.5 standard errors, which are at most 0.12 %."""
    candidates = NAMES[: len(known)]
    state = holding(**dict(zip(candidates, known, strict=True)))
    many = state.select_many(200_000, candidates, np.random.default_rng(21))
    assert many is not None

    assert propensities(known) == pytest.approx([many.counts()[name] / 200_000 for name in candidates], abs=0.005)


# --- what it is for


@pytest.mark.slow
def test_it_finds_the_better_provider_and_stays_open() -> None:
    """200 seeds, 400 requests, 0.9 against 0.6: 92 % or more go to the better one (the worst seed: over 60 %)."""
    shares = []
    for seed in range(200):
        rng, state, good = np.random.default_rng(seed), ThompsonState(), 0
        luck = rng.random(400)
        for turn in range(400):
            chosen = state.select(("weak", "strong"), rng)
            assert chosen is not None
            state.update(chosen.provider, success=bool(luck[turn] < (0.9 if chosen.provider == "strong" else 0.6)))
            good += chosen.provider == "strong"
        shares.append(good / 400)

    assert np.mean(shares) > 0.92
    assert min(shares) > 0.6


@pytest.mark.parametrize(
    "wrong",
    [random.Random(1), np.random.RandomState(1), np.random, None, 1],
    ids=["random", "state", "module", "nothing", "seed"],
)
def test_what_is_no_numpy_generator_is_refused_with_what_to_write(wrong: Any) -> None:
    bandit = LinUCB(2, warmup=0)
    calls: list[Callable[[], object]] = [
        lambda: ThompsonState().select(["ada"], wrong),
        lambda: ThompsonState().select_with_priors(["ada"], {}, wrong),
        lambda: ThompsonState().select_many(3, ["ada"], wrong),
        lambda: bandit.select(["ada"], [1.0, 0.0], wrong),
        lambda: Beta(1, 2).sample(wrong),
    ]
    for call in calls:
        with pytest.raises(InvalidOption, match=r"a numpy Generator\. Write: numpy\.random\.default_rng\(") as caught:
            call()
        assert "rng" == caught.value.option


@pytest.mark.parametrize(
    "update",
    [
        lambda **said: ThompsonState().update("ada", **said),
        lambda **said: Reputation().update("ada", **said),
        lambda **said: LinUCB(2).update("ada", None, **said),
    ],
    ids=["state", "reputation", "linear"],
)
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "success=None is not an outcome, and neither is reward=None: one of the two says how it went"),
        ({"success": True, "reward": 1.0}, "reward=1.0 is not to be given beside success=True: one of the two"),
        ({"success": "yes"}, "success='yes' is not True, False or a number from 0 to 1"),
        ({"reward": "much"}, "reward='much' is not a number from 0 to 1"),
    ],
)
def test_a_refused_outcome_is_told_by_what_was_written(
    update: Callable[..., object], said: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidOption, match=re.escape(told)):
        update(**said)
