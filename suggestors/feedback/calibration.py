"""Compares a judge with people: agreement, kappa, sensitivity, specificity, and what its confidence is worth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from math import sqrt

from ...facts import Fact, projection
from .payloads import Bin, FeedbackVerdict, JudgeCalibration, JudgeFailure, Kind, Label

BINS = 10


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the counts of a judge say. A rate of nothing is None."""

    counts: JudgeCalibration

    @property
    def n(self) -> int:
        """Labelled feedback that the judge has judged."""
        counts = self.counts
        return counts.true_positive + counts.false_positive + counts.false_negative + counts.true_negative

    @property
    def coverage(self) -> float | None:
        """The share of labelled feedback that could be judged."""
        return _share(self.n, self.n + self.counts.missing)

    @property
    def agreement(self) -> float | None:
        """How often judge and person say the same about whether it is a correction."""
        return _share(self.counts.true_positive + self.counts.true_negative, self.n)

    @property
    def sensitivity(self) -> float | None:
        """The share of what people call corrections that the judge finds."""
        return _share(self.counts.true_positive, self.counts.true_positive + self.counts.false_negative)

    @property
    def specificity(self) -> float | None:
        """The share of what people call none that the judge leaves alone."""
        return _share(self.counts.true_negative, self.counts.true_negative + self.counts.false_positive)

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa: agreement beyond what chance would give. None where one of them always says the same."""
        if self.n == 0 or (chance := self._chance()) == 1.0:
            return None
        return ((self.agreement or 0.0) - chance) / (1 - chance)

    @property
    def kappa_error(self) -> float | None:
        """The standard error of kappa for large n (Fleiss, Cohen and Everitt 1969)."""
        kappa = self.kappa
        if kappa is None:
            return None
        cells, chance = self._cells(), self._chance()
        judge = (cells[0][0] + cells[0][1], cells[1][0] + cells[1][1])
        person = (cells[0][0] + cells[1][0], cells[0][1] + cells[1][1])
        same = sum(cells[i][i] * (1 - (judge[i] + person[i]) * (1 - kappa)) ** 2 for i in (0, 1))
        other = sum(cells[i][1 - i] * (person[i] + judge[1 - i]) ** 2 for i in (0, 1)) * (1 - kappa) ** 2
        variance = same + other - (kappa - chance * (1 - kappa)) ** 2
        return sqrt(max(0.0, variance) / self.n) / (1 - chance)

    @property
    def ece(self) -> float | None:
        """The expected calibration error: how far confidence and the share of right verdicts lie apart, on average."""
        if self.n == 0:
            return None
        return sum(abs(one.confidence - one.right) for one in self.counts.bins) / self.n

    def believed(self, confidence: float) -> float:
        """Returns how often the judge is right where it is that sure, rising with confidence (isotonic regression)."""
        known = [(place, one.n, one.right / one.n) for place, one in enumerate(self.counts.bins) if one.n]
        if not known:
            return confidence
        pools: list[tuple[int, int, float]] = []  # the last bin, the weight and the level of each step
        for place, weight, level in known:
            last, summed, mean = place, weight, level
            while pools and pools[-1][2] >= mean:
                _, before, lower = pools.pop()
                mean = (lower * before + mean * summed) / (before + summed)
                summed += before
            pools.append((last, summed, mean))
        at = bin_of(confidence)
        return next((level for last, _, level in pools if at <= last), pools[-1][2])

    def _cells(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Returns the shares of what (the judge says, the person says)."""
        counts, n = self.counts, self.n
        return (
            (counts.true_positive / n, counts.false_positive / n),
            (counts.false_negative / n, counts.true_negative / n),
        )

    def _chance(self) -> float:
        counts, n = self.counts, self.n
        judge, person = counts.true_positive + counts.false_positive, counts.true_positive + counts.false_negative
        return (judge * person + (n - judge) * (n - person)) / n**2

    def __str__(self) -> str:
        counts = self.counts
        rows = [
            f"judge {counts.judge}: {self.n} judged of {self.n + counts.missing} labelled",
            "                    person: correction   person: none",
            f"judge: correction   {counts.true_positive:18}   {counts.false_positive:12}",
            f"judge: none         {counts.false_negative:18}   {counts.true_negative:12}",
            (
                f"agreement {_shown(self.agreement)}   kappa {_shown(self.kappa)} ± {_shown(self.kappa_error)}   "
                f"sensitivity {_shown(self.sensitivity)}   specificity {_shown(self.specificity)}   "
                f"ECE {_shown(self.ece)}"
            ),
            "confidence      n   mean   right",
        ]
        for place, one in enumerate(counts.bins):
            if one.n:
                tenth = f"{place / BINS:.1f} to {(place + 1) / BINS:.1f}"
                rows.append(f"{tenth}  {one.n:5}   {one.confidence / one.n:.2f}    {one.right / one.n:.2f}")
        return "\n".join(rows)


def calibrate(labelled: Iterable[tuple[FeedbackVerdict | JudgeFailure, Label]], judge: str = "") -> Calibration:
    """Returns how verdicts compare with what people say of the same feedback.

    ```python
    from quiesce.suggestors import FeedbackVerdict, Label
    from quiesce.suggestors.feedback import calibrate

    said = FeedbackVerdict(is_correction=True, kind="repetition", confidence=0.9)
    found = calibrate([(said, Label(is_correction=True)), (said, Label(is_correction=False))])
    assert 0.5 == found.agreement
    ```
    """
    counts = JudgeCalibration(judge=judge)
    for said, label in labelled:
        counts = count(counts, said, label)
    return Calibration(counts)


def count(counts: JudgeCalibration, said: FeedbackVerdict | JudgeFailure, label: Label) -> JudgeCalibration:
    """Returns the counts with one more label."""
    if isinstance(said, JudgeFailure):
        return counts.model_copy(update={"missing": counts.missing + 1})
    cell = {
        (True, True): "true_positive", (True, False): "false_positive", (False, True): "false_negative",
        (False, False): "true_negative",
    }[said.is_correction, label.is_correction]  # fmt: skip
    right = said.is_correction == label.is_correction
    sure = (
        1 - said.confidence if said.below_threshold else said.confidence
    )  # of what it says, not of what it left unsaid
    bins = list(counts.bins)
    before = bins[bin_of(sure)]
    bins[bin_of(sure)] = Bin(n=before.n + 1, confidence=before.confidence + sure, right=before.right + right)
    changed: dict[str, object] = {cell: getattr(counts, cell) + 1, "bins": tuple(bins)}
    if label.kind is not None:
        changed["kinds"] = _with_kind(counts, said.kind, label.kind)
    return counts.model_copy(update=changed)


def bin_of(confidence: float) -> int:
    """Returns which tenth a confidence lies in; 1 lies in the last."""
    return min(int(confidence * BINS), BINS - 1)


@projection(reads=[Label], by=lambda fact: None if fact.payload.said is None else id_of(fact.payload.said.judge))
def judge_calibrations(before: JudgeCalibration | None, fact: Fact[Label]) -> JudgeCalibration | None:
    """Keeps the counts of each judge over all labels that say what it had said."""
    label = fact.payload
    if label.said is None:
        return before
    return count(before or JudgeCalibration(judge=label.said.judge), label.said, label)


def id_of(judge: str) -> str | None:
    """Returns the id of a judge's counts: its name, or where that is no id, a digest of it; None for nobody's name.

    Anybody can write a label, and a name that is no id must not keep all others from being counted.
    """
    if not judge.strip():
        return None
    if judge.isprintable() and len(judge.encode("utf-8", "surrogatepass")) <= 500 and not judge.startswith("%"):
        return judge
    return "%" + sha256(judge.encode("utf-8", "surrogatepass")).hexdigest()


def is_trusted(counts: JudgeCalibration | None, min_kappa: float, min_labels: int) -> bool:
    """Tells whether people have been found to agree with a judge: with enough labels, and at least that far."""
    if counts is None:
        return False
    known = Calibration(counts)
    return known.n >= min_labels and known.kappa is not None and known.kappa >= min_kappa


def _with_kind(counts: JudgeCalibration, said: Kind, meant: Kind) -> tuple[tuple[Kind, Kind, int], ...]:
    cells = {(one, other): n for one, other, n in counts.kinds}
    cells[said, meant] = cells.get((said, meant), 0) + 1
    return tuple((one, other, n) for (one, other), n in sorted(cells.items()))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
