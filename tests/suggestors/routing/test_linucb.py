"""Holds the contextual policies to their formulas, and to the faults that others have."""

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
from quiesce.suggestors.routing.lin_thompson import LinearThompson
from quiesce.suggestors.routing.linear_arm import LinearArm, Sums, unit_features
from quiesce.suggestors.routing.linear_state import LinearState
from quiesce.suggestors.routing.linucb import LinUCB

NAMES = ["ada", "bob", "cyd"]
POLICIES: list[type[LinearState]] = [LinUCB, LinearThompson]
seeds = st.integers(0, 2**32 - 1)


def learned(cls: type[LinearState] = LinUCB, dim: int = 4, updates: int = 60, **options: Any) -> Any:
    """Returns a policy that has learned from some requests: each provider is good in one direction."""
    state, rng = cls(dim, warmup=0, **options), np.random.default_rng(2)
    for turn in range(updates):
        x = rng.standard_normal(dim)
        name = NAMES[turn % 2]
        state.update(name, x, success=bool(x[turn % 2] > 0))
    return state


# --- features


@given(st.lists(st.floats(-1e6, 1e6), max_size=12), st.integers(1, 8))
def test_features_are_the_first_components_scaled_to_length_1(embedding: list[float], dim: int) -> None:
    """None for too short and for zero vectors."""
    found = unit_features(embedding, dim)

    if len(embedding) < dim or not any(embedding[:dim]):
        assert found is None
    else:
        assert found is not None
        assert 1.0 == pytest.approx(float(found @ found))
        assert (np.sign(embedding[:dim]) == np.sign(found)).all() or min(abs(one) for one in embedding[:dim]) < 1e-300


@pytest.mark.parametrize(
    "hostile", [[math.nan, 1.0], [math.inf, 1.0], [1.0, -math.inf], [0.0, 0.0], [1.0], [], None, np.zeros(9)], ids=str
)
def test_hostile_embeddings_have_no_features(hostile: Any) -> None:
    """Such a request is decided without them, and its outcome still counts where it can."""
    state, rng = LinUCB(2, warmup=0), np.random.default_rng(1)
    chosen = state.select(NAMES, hostile, rng)
    assert chosen is not None

    assert unit_features(hostile, 2) is None
    assert "thompson" == chosen.policy
    assert not state.update("ada", hostile, success=True)
    assert (0, Beta(2, 1)) == (state.updates, state.thompson.get_distribution("ada"))
    assert state.predict("ada", hostile) is None


@pytest.mark.parametrize("embedding", [[1e200, 1e200], [5e-324, 5e-324], np.array([3, 3], dtype=np.float32), (1, 1)])
def test_large_and_small_embeddings_have_features(embedding: Any) -> None:
    """The square of 1e200 is no float."""
    assert [0.5**0.5, 0.5**0.5] == pytest.approx(unit_features(embedding, 2))


@pytest.mark.parametrize("wrong", ["ab", ["a", "b"], [[1.0, 2.0]], 5, {"a": 1}, [1j, 2]])
def test_what_is_no_vector_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidOption, match="is not a sequence of numbers"):
        unit_features(wrong, 2)


def test_only_the_components_that_count_need_to_be_numbers() -> None:
    assert [1.0, 0.0] == pytest.approx(unit_features([2.0, 0.0, math.nan], 2))


# --- arms


@given(seeds, st.integers(1, 12), st.integers(0, 200))
def test_rank_one_updates_keep_the_inverse(seed: int, dim: int, updates: int) -> None:
    """After many updates and decays, A⁻¹, θ and what is predicted are those of numpy's inverse."""
    arm, rng = LinearArm(dim), np.random.default_rng(seed)
    a, b = np.eye(dim), np.zeros(dim)
    for _ in range(updates):
        if rng.random() < 0.05:
            factor = rng.uniform(0.5, 1)
            arm.decay(factor)
            a, b = np.eye(dim) + factor * (a - np.eye(dim)), b * factor
        x, reward = rng.standard_normal(dim), rng.random()
        arm.update(x, reward)
        a, b = a + np.outer(x, x), b + reward * x
    inverse = np.linalg.inv(a)
    x = rng.standard_normal(dim)
    mean, spread = arm.predict(x)

    assert a == pytest.approx(arm.a)
    assert inverse == pytest.approx(arm.inverse, abs=1e-8)
    assert inverse @ b == pytest.approx(arm.theta, abs=1e-8)
    assert (inverse @ b @ x, math.sqrt(x @ inverse @ x)) == pytest.approx((mean, spread), abs=1e-7)


def test_many_updates_in_one_direction_keep_the_inverse() -> None:
    """100,000 of them, all nearly the same: the hardest that there is for such a formula."""
    arm, rng = LinearArm(6), np.random.default_rng(3)
    base = rng.standard_normal(6)
    for noise in rng.standard_normal((20_000, 6)) * 1e-4:
        arm.update(base + noise, 0.5)

    assert np.linalg.inv(arm.a) == pytest.approx(arm.inverse, abs=1e-8)


def test_an_inverse_that_has_drifted_is_made_anew() -> None:
    arm = LinearArm(3)
    for x in np.eye(3):
        arm.update(x, 1.0)
    arm.inverse += 1e-3  # as if rounding had added up
    arm.theta += 1e-3
    arm.update(np.ones(3), 1.0)

    assert np.linalg.inv(arm.a) == pytest.approx(arm.inverse, abs=1e-12)
    assert arm.inverse @ arm.b == pytest.approx(arm.theta, abs=1e-12)


def test_decay_leads_back_to_a_fresh_arm() -> None:
    arm = LinearArm.of(learned()._arms["ada"].sums)
    for _ in range(2_000):
        arm.decay(0.95)

    assert np.eye(4) == pytest.approx(arm.a)
    assert np.zeros(4) == pytest.approx(arm.theta, abs=1e-12)


# --- choosing


@given(seeds, st.floats(0, 5))
def test_linucb_chooses_what_its_formula_says(seed: int, alpha: float) -> None:
    """θᵀx + alpha √(xᵀA⁻¹x), reckoned from all that was seen; a provider without outcomes is a fresh arm."""
    rng = np.random.default_rng(seed)
    state = LinUCB(3, alpha=alpha, warmup=0)
    seen: dict[str, list[tuple[Any, float]]] = {name: [] for name in NAMES}
    for _ in range(20):
        name, x, reward = NAMES[rng.integers(2)], rng.standard_normal(3), float(rng.random())
        state.update(name, x, reward=reward)
        seen[name].append((x / np.linalg.norm(x), reward))
    x = rng.standard_normal(3)
    unit, scores, means = x / np.linalg.norm(x), {}, {}
    for name in NAMES:
        inverse = np.linalg.inv(np.eye(3) + sum((np.outer(v, v) for v, _ in seen[name]), np.zeros((3, 3))))
        means[name] = float(unit @ inverse @ sum((r * v for v, r in seen[name]), np.zeros(3)))
        scores[name] = means[name] + alpha * math.sqrt(unit @ inverse @ unit)
    chosen = state.select(NAMES, x, rng)
    assert chosen is not None

    assert max(scores.values()) == pytest.approx(chosen.score)
    assert scores[chosen.provider] == pytest.approx(chosen.score)
    assert chosen.exploit is (means[chosen.provider] >= max(means.values()) - 1e-12)
    assert means[chosen.provider] == pytest.approx(chosen.mean)
    assert "linucb" == chosen.policy


def test_ties_go_to_the_lesser_name_whatever_the_order() -> None:
    state, rng = LinUCB(2, warmup=0), np.random.default_rng(1)
    before = rng.bit_generator.state

    for order in (["cyd", "ada", "bob"], ["bob", "cyd", "ada", "ada"]):
        chosen = state.select(order, [1.0, 2.0], rng)
        assert chosen is not None
        assert ("ada", 1.0, 0.0, 1.0, True) == chosen[:5]
    assert before == rng.bit_generator.state


@pytest.mark.parametrize("cls", POLICIES)
def test_without_candidates_nobody_is_chosen(cls: type[LinearState]) -> None:
    rng = np.random.default_rng(1)

    assert cls(2, warmup=0).select([], [1.0, 2.0], rng) is None
    assert cls(2, warmup=9).select([], None, rng) is None


@pytest.mark.parametrize("cls", POLICIES)
def test_a_warm_up_is_decided_by_thompson_sampling_that_learns_from_every_outcome(cls: type[LinearState]) -> None:
    """A fallback that never learned would choose at random for ever; and failures teach, too."""
    state, rng = cls(2, warmup=20), np.random.default_rng(6)
    x = [1.0, 0.5]
    policies = []
    for _ in range(25):
        chosen = state.select(["good", "bad"], x, rng)
        assert chosen is not None
        policies.append(chosen.policy)
        state.update(chosen.provider, x, success=chosen.provider == "good")

    assert ["thompson"] * 20 + [state.policy] * 5 == policies
    good, bad = (state.thompson.get_distribution(name) for name in ("good", "bad"))
    assert 25 == good.alpha - 1 + bad.beta - 1
    assert bad.beta > 1
    without = state.select(["good", "bad"], None, rng)
    assert without is not None
    assert "thompson" == without.policy


@pytest.mark.slow
def test_linear_thompson_draws_from_the_posterior_of_what_is_earned() -> None:
    """20,000 draws: shares within 4 standard errors (1.5 %) of drawing θ itself."""
    state = learned(LinearThompson, v=0.4)
    x = unit_features([1.0, -0.3, 0.2, 0.6], 4)
    assert x is not None
    rng = np.random.default_rng(8)
    chosen = [state.select(["ada", "bob"], x, rng) for _ in range(20_000)]
    scores = []
    for name in ("ada", "bob"):
        arm = state._arms[name]
        thetas = rng.multivariate_normal(arm.theta, 0.4**2 * np.linalg.inv(arm.a), 20_000)
        scores.append(thetas @ x)

    expected = float(np.mean(scores[0] > scores[1]))
    assert expected == pytest.approx(sum(one.provider == "ada" for one in chosen) / 20_000, abs=0.02)


def test_linear_thompson_asks_for_one_normal_variate_of_each_candidate() -> None:
    state = learned(LinearThompson, v=2.0)
    rng, bare = np.random.default_rng(4), np.random.default_rng(4)
    chosen = state.select(["bob", "ada", "bob", "cyd"], [1.0, 2.0, 3.0, 4.0], rng)
    normal = bare.standard_normal(3)
    known = [state.predict(name, [1.0, 2.0, 3.0, 4.0]) for name in ("bob", "ada", "cyd")]

    scores = [mean + 2.0 * spread * drawn for (mean, spread), drawn in zip(known, normal, strict=True)]
    assert (["bob", "ada", "cyd"][int(np.argmax(scores))], max(scores)) == chosen[:2]
    assert bare.bit_generator.state == rng.bit_generator.state


@pytest.mark.slow
@pytest.mark.parametrize("cls", POLICIES)
def test_it_learns_who_is_good_at_what(cls: type[LinearState]) -> None:
    """20 seeds, 600 requests, each provider good at one kind: the last 200 are decided rightly, nine of ten."""
    right = 0
    for seed in range(20):
        state, rng = cls(3, warmup=30), np.random.default_rng(seed)
        for turn in range(600):
            kind = int(rng.integers(2))
            x = np.eye(3)[kind] + 0.2 * rng.standard_normal(3)
            chosen = state.select(["code", "prose"], x, rng)
            assert chosen is not None
            fits = chosen.provider == ("code", "prose")[kind]
            state.update(chosen.provider, x, success=bool(rng.random() < (0.9 if fits else 0.3)))
            right += fits and turn >= 400

    assert right / (20 * 200) > 0.9


# --- options, forgetting, files


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (LinUCB, {"dim": 0}), (LinUCB, {"dim": 257}), (LinUCB, {"dim": 2.0}), (LinUCB, {"dim": True}),
        (LinUCB, {"alpha": -0.1}), (LinUCB, {"alpha": math.nan}), (LinUCB, {"alpha": math.inf}),
        (LinUCB, {"warmup": -1}), (LinUCB, {"warmup": 1.5}), (LinUCB, {"decay": math.nan}),
        (LinearThompson, {"v": -1}), (LinearThompson, {"v": math.nan}),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused_with_the_range(cls: type[LinearState], wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=r"is not a (whole |finite )?number"):
        cls(**wrong)


def test_a_factor_of_decay_is_brought_into_its_range() -> None:
    assert (1.0, 2.0**-1022) == (LinUCB(decay=7).decay_factor, LinUCB(decay=0).decay_factor)


def test_decay_reaches_arms_and_fallback() -> None:
    state = learned(decay=0.5)
    before = state._value()
    state.decay()
    after = state._value()

    assert before.arms["ada"].seen * 0.5 == pytest.approx(after.arms["ada"].seen)
    assert before.arms["ada"].earned * 0.5 == pytest.approx(after.arms["ada"].earned)
    assert 1 + (before.distributions["ada"][0] - 1) / 2 == after.distributions["ada"][0]


def test_pruning_reaches_arms_and_fallback() -> None:
    state = learned()
    gone = state.prune(["bob"])

    assert ["ada"] == list(gone)
    assert ["bob"] == [known.provider for known in state.provider_stats()]
    assert Beta() == state.thompson.get_distribution("ada")
    assert (0.0, 1.0) == state.predict("ada", [1.0, 0.0, 0.0, 0.0])


def test_stats_tell_pulls_and_mean_reward() -> None:
    state = LinUCB(2, warmup=0)
    for reward in (1.0, 0.5):
        state.update("bob", [1.0, 1.0], reward=reward)
    state.update("ada", [1.0, 1.0], success=False)

    assert [("ada", 1, 0.0), ("bob", 2, 0.75)] == state.provider_stats()


@pytest.mark.parametrize("cls", POLICIES)
def test_what_is_saved_is_loaded(cls: type[LinearState], tmp_path: Path) -> None:
    path = tmp_path / "deep" / "bandit.json"
    state = learned(cls)
    state.save(path)
    loaded = cls.load(path, 4, warmup=0)
    rng, other = np.random.default_rng(1), np.random.default_rng(1)

    assert state == loaded
    assert [state.select(NAMES, [1, 2, 3, 4], rng)] == [loaded.select(NAMES, [1, 2, 3, 4], other)]
    assert () == loaded.problems


def test_either_policy_loads_what_the_other_has_saved(tmp_path: Path) -> None:
    path = tmp_path / "bandit.json"
    state = learned(LinUCB)
    state.save(path)

    assert state._value() == LinearThompson.load(path, 4)._value()


def test_several_processes_learn_together(tmp_path: Path) -> None:
    """Each adds its sums to the file: the end is as if one had seen all."""
    path, rng = tmp_path / "bandit.json", np.random.default_rng(5)
    learned().save(path)
    whole = learned()
    states = [LinUCB.load(path, 4, warmup=0) for _ in range(3)]
    for turn in range(30):
        x, name = rng.standard_normal(4), NAMES[turn % 3]
        for each in (states[turn % 3], whole):
            each.update(name, x, reward=0.5)
        if turn % 4 == 3:
            states[turn % 3].save(path)
    for each in states:
        each.save(path)
    end = LinUCB.load(path, 4, warmup=0)._value()

    assert (whole.updates, whole._value().distributions) == (end.updates, end.distributions)
    for name, sums in whole._value().arms.items():
        assert sums.seen == pytest.approx(end.arms[name].seen)
        assert sums.earned == pytest.approx(end.arms[name].earned)
        assert (sums.pulls, sums.reward) == (end.arms[name].pulls, end.arms[name].reward)


def test_a_file_of_zeph_is_read(tmp_path: Path) -> None:
    """It has single precision and no distributions to fall back on."""
    path = tmp_path / "bandit.json"
    arm = {"a_matrix": [1.36, 0.48, 0.48, 1.6400001], "b_vector": [0.6, 0.8], "n": 1, "total_reward": 1.0}
    path.write_text(json.dumps({"arms": {"ada": arm}, "dim": 2, "total_updates": 7}))
    state = LinUCB.load(path, 2)

    assert (7, [("ada", 1, 1.0)], ()) == (state.updates, state.provider_stats(), state.problems)
    assert 0.5 == pytest.approx(state.predict("ada", [0.6, 0.8])[0], abs=1e-6)  # type: ignore[index]


GOOD = {"a_matrix": [2.0, 0.0, 0.0, 1.0], "b_vector": [1.0, 0.0], "n": 1, "total_reward": 1.0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"a_matrix": [1.0] * 3}, {"a_matrix": "no"}, {"a_matrix": [[2, 0], [0, 1]]}, {"a_matrix": [math.nan, 0, 0, 1]},
        {"a_matrix": [math.inf, 0, 0, 1]}, {"a_matrix": [0.0, 0, 0, 0]}, {"a_matrix": [1, 5, 5, 1]},
        {"a_matrix": [True, 0, 0, 1]}, {"a_matrix": [-4.0, 0, 0, 1]}, {"b_vector": [1.0]}, {"b_vector": [math.nan, 0]},
        {"b_vector": None}, {"b_vector": ["1", "0"]}, {"n": -1}, {"n": 1.5}, {"n": True}, {"n": "1"}, {"n": 10**30},
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_arm_is_left_out_and_the_others_stay(wrong: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "bandit.json"
    path.write_text(json.dumps({"arms": {"bad": {**GOOD, **wrong}, "ok": GOOD}, "dim": 2, "total_updates": 2}))
    state = LinUCB.load(path, 2, warmup=0)

    assert ["ok"] == [known.provider for known in state.provider_stats()]
    assert 1 == len(state.problems)
    assert "arms['bad']" in state.problems[0]
    assert state.select(["ok", "bad"], [1.0, 1.0], np.random.default_rng(1)) is not None


def test_huge_numbers_in_a_file_are_brought_into_range(tmp_path: Path) -> None:
    path = tmp_path / "bandit.json"
    arm = {**GOOD, "a_matrix": [1e300, 0, 0, 1.0], "b_vector": [-1e300, 0]}
    path.write_text(json.dumps({"arms": {"ada": arm}, "dim": 2, "total_updates": 1}))
    state = LinUCB.load(path, 2, warmup=0)

    assert (-1.0, 1e-9**0.5) == pytest.approx(state.predict("ada", [1.0, 0.0]))


def test_a_file_for_other_features_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "bandit.json"
    learned(dim=4).save(path)
    before = path.read_bytes()
    state = LinUCB.load(path, 8)

    assert [] == state.provider_stats()
    assert "it is for 4 features, not 8" in state.problems[0]
    assert [before] == [other.read_bytes() for other in tmp_path.iterdir()]


def test_sums_are_compared_as_a_whole() -> None:
    one = Sums(np.eye(2), np.zeros(2), 1, 0.5)

    assert one == Sums(np.eye(2), np.zeros(2), 1, 0.5)
    assert one != Sums(np.eye(2), np.ones(2), 1, 0.5)
    assert one != "sums"
