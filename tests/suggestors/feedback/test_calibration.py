"""Shows that the figures of a judge are those that people's labels give, and that ledger and pure fold agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import Engine
from quiesce.facts import Context, FactLog
from quiesce.suggestors.feedback.calibration import (
    Calibration,
    bin_of,
    calibrate,
    count,
    is_trusted,
    judge_calibrations,
)
from quiesce.suggestors.feedback.judge import FeedbackJudge
from quiesce.suggestors.feedback.payloads import (
    Feedback,
    FeedbackVerdict,
    JudgeCalibration,
    JudgeFailure,
    Kind,
    Label,
)


def said(is_correction: bool, confidence: float = 0.9, below: bool = False) -> FeedbackVerdict:
    kind: Kind = "repetition" if is_correction else "neutral"
    return FeedbackVerdict(
        is_correction=is_correction, kind=kind, confidence=confidence, judge="j", below_threshold=below
    )


FAILED = JudgeFailure(kind="timeout", message="", judge="j")
pairs = st.lists(
    st.tuples(
        st.builds(said, st.booleans(), st.floats(0, 1)) | st.just(FAILED), st.builds(Label, is_correction=st.booleans())
    ),
    max_size=40,
)  # fmt: skip


def cells(tp: int, fp: int, fn: int, tn: int) -> Calibration:
    return Calibration(
        JudgeCalibration(judge="j", true_positive=tp, false_positive=fp, false_negative=fn, true_negative=tn)
    )


def test_kappa_and_its_error_are_those_of_the_textbook() -> None:
    """Twenty, five, ten, fifteen: kappa is 0.4, which is how textbooks introduce it."""
    found = cells(20, 5, 10, 15)

    assert [0.7, 2 / 3, 0.75] == [found.agreement, found.sensitivity, found.specificity]
    assert pytest.approx(0.4) == found.kappa
    assert pytest.approx(0.1270, abs=5e-4) == found.kappa_error


@settings(max_examples=40)
@given(pairs=pairs)
def test_rates_are_shares_and_what_is_missing_stays_visible(pairs: list[Any]) -> None:
    found = calibrate(pairs, "j")
    judged = [pair for pair in pairs if isinstance(pair[0], FeedbackVerdict)]

    assert (len(judged), len(pairs) - len(judged)) == (found.n, found.counts.missing)
    assert len(judged) == sum(one.n for one in found.counts.bins)
    for rate in (found.agreement, found.sensitivity, found.specificity, found.coverage, found.ece):
        assert rate is None or 0 <= rate <= 1 + 1e-9
    assert found.kappa is None or -1 <= found.kappa <= 1
    assert found.coverage is None or found.coverage == len(judged) / len(pairs)
    assert "judge j: " in str(found)


@settings(max_examples=40)
@given(pairs=pairs, data=st.data())
def test_the_order_of_labels_changes_no_figure(pairs: list[Any], data: st.DataObject) -> None:
    one, two = calibrate(pairs), calibrate(data.draw(st.permutations(pairs)))

    assert (one.kappa, one.agreement) == (two.kappa, two.agreement)
    assert one.ece is None or one.ece == pytest.approx(two.ece)


def test_where_one_side_always_says_the_same_there_is_no_kappa() -> None:
    assert cells(10, 0, 0, 0).kappa is None
    assert 0.0 == cells(10, 5, 0, 0).kappa
    assert 1.0 == cells(10, 0, 0, 7).kappa
    assert (None, None, None) == (cells(0, 0, 0, 0).kappa, cells(0, 0, 0, 0).ece, cells(0, 0, 0, 0).agreement)


def test_the_error_of_kappa_is_that_of_repeated_sampling() -> None:
    """4,000 samples of 300: the standard deviation of kappa is what the formula says, within 5%."""
    rng = np.random.default_rng(11)
    drawn = rng.multinomial(300, [0.35, 0.10, 0.08, 0.47], 4_000)
    found = [cells(*map(int, row)) for row in drawn]
    kappas = np.array([one.kappa for one in found], dtype=float)
    errors = np.array([one.kappa_error for one in found], dtype=float)

    assert abs(kappas.std() / errors.mean() - 1) < 0.05
    truth = cells(3_500, 1_000, 800, 4_700).kappa
    assert truth is not None
    assert abs(float(np.mean(np.abs(kappas - truth) <= 1.96 * errors)) - 0.95) < 0.015


def test_the_calibration_error_is_that_of_its_confidence() -> None:
    """A judge that is right as often as it is sure has nearly none; one that is sure and right by half has half."""
    rng = np.random.default_rng(3)
    sure = rng.uniform(0.5, 1.0, 20_000)
    right = rng.uniform(size=sure.size) < sure
    honest = calibrate((said(True, float(c)), Label(is_correction=bool(r))) for c, r in zip(sure, right, strict=True))
    boastful = calibrate((said(True, 1.0), Label(is_correction=n % 2 == 0)) for n in range(100))

    assert honest.ece is not None
    assert honest.ece < 0.015
    assert 0.5 == boastful.ece


def test_what_the_threshold_turned_over_is_as_sure_as_what_is_left() -> None:
    """A correction of 0.4 that counts as none is a "none" of 0.6."""
    found = calibrate([(said(False, 0.4, below=True), Label(is_correction=False))])

    assert [0, 0, 0, 0, 0, 0, 1, 0, 0, 0] == [one.n for one in found.counts.bins]
    assert pytest.approx(0.4) == found.ece


@settings(max_examples=40)
@given(shares=st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=80))
def test_what_to_believe_rises_with_confidence(shares: list[tuple[int, bool]]) -> None:
    found = calibrate((said(True, (tenth + 0.5) / 10), Label(is_correction=right)) for tenth, right in shares)
    believed = [found.believed((tenth + 0.5) / 10) for tenth in range(10)]

    assert sorted(believed) == believed
    assert all(0 <= one <= 1 for one in believed)
    mean = sum(right for _, right in shares) / len(shares)
    assert pytest.approx(mean) == sum(found.believed((tenth + 0.5) / 10) for tenth, _ in shares) / len(shares)
    assert 0.3 == Calibration(JudgeCalibration(judge="new")).believed(0.3)


def test_tenths() -> None:
    assert [0, 0, 1, 9, 9] == [bin_of(c) for c in (0.0, 0.09, 0.1, 0.9, 1.0)]


def test_trust_takes_enough_labels_and_enough_agreement() -> None:
    good = cells(30, 1, 1, 30).counts

    assert is_trusted(good, 0.9, 30)
    assert not is_trusted(good, 0.95, 30)
    assert not is_trusted(good, 0.9, 63)
    assert not is_trusted(cells(60, 0, 0, 0).counts, 0.1, 30)
    assert not is_trusted(None, -1.0, 1)


def test_labels_of_all_runs_are_what_the_projection_knows(tmp_path: Any) -> None:
    """The ledger's counts are the pure fold of the same labels, and come into the next run by themselves."""
    log = FactLog.open(str(tmp_path / "log.db"), projections=[judge_calibrations])
    judge = FeedbackJudge()
    told, expected = (
        ["No, that's wrong.", "Thanks!", "As I already said, by train"],
        JudgeCalibration(judge=judge.judge),
    )
    for place, message in enumerate(told):
        context = Context()
        context.add(Feedback(user_message=message, assistant_response="At nine."), id=f"f{place}")
        fact = Engine([judge]).run_sync(context, log=log).context.of(FeedbackVerdict)[f"f{place}"]
        label = Label.of(fact, is_correction=place == 0, kind="neutral" if place else "explicit_rejection", by="ana")
        labels = Context()
        labels.add(label, id=fact.id)
        labels.add(Label(is_correction=True), id="of nothing")
        Engine([]).run_sync(labels, log=log)
        expected = count(expected, fact.payload, label)
    known = log.values(judge_calibrations)
    trusting = FeedbackJudge(min_kappa=0.9, min_labels=3)
    context = log.context()
    context.add(Feedback(user_message="That's wrong.", assistant_response="At ten."), id="next")
    last = Engine([trusting]).run_sync(context, log=log).context.of(FeedbackVerdict)["next"]

    assert {judge.judge: expected} == dict(known.items())
    assert (1, 1, 0, 1) == (
        expected.true_positive,
        expected.false_positive,
        expected.false_negative,
        expected.true_negative,
    )
    assert (
        ("explicit_rejection", "explicit_rejection", 1),
        ("neutral", "neutral", 1),
        ("repetition", "neutral", 1),
    ) == expected.kinds
    assert last.payload.advisory
    assert all(check.ok for check in log.check_projections())
    log.close()


def test_a_failure_that_was_labelled_counts_as_missing() -> None:
    counts = judge_calibrations(None, label_fact(Label(is_correction=True, said=FAILED)))

    assert counts == JudgeCalibration(judge="j", missing=1)
    assert counts == judge_calibrations(counts, label_fact(Label(is_correction=True)))


def label_fact(label: Label) -> Any:
    context = Context()
    return context.add(label, id="f")


@settings(max_examples=40)
@given(names=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.just("x" * 900), min_size=1))
def test_no_name_of_a_judge_keeps_others_from_being_counted(names: list[str]) -> None:
    """A label comes from anybody; a fold that raised would stand still, and every run after it."""
    log = FactLog.open(projections=[judge_calibrations])
    context = Context()
    for place, name in enumerate([*names, "good"]):
        said = FeedbackVerdict(is_correction=True, kind="repetition", confidence=1.0, judge=name)
        context.add(Label(is_correction=True, said=said), id=str(place))
    Engine([]).run_sync(context, log=log)
    known = log.values(judge_calibrations)

    assert 1 + names.count("good") == known["good"].true_positive
    assert {name for name in (*names, "good") if name.strip()} == {counts.judge for counts in known.values()}
