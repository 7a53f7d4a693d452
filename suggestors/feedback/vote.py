"""Makes one verdict of several judgements: what most say, how sure that is, or that they disagree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import fsum, sqrt

from .payloads import KINDS, FailureKind, FeedbackVerdict
from .verdict import Answer, Unjudged


def decide(answers: Sequence[Answer], threshold: float, *, asked: int, agreement: float = 0.5) -> FeedbackVerdict:
    """Returns the verdict that judgements come to.

    More than `agreement` of the answers have to be on one side (a correction or not), and more than half of those that
    were asked have to have answered. The confidence is the mean of what each gives that side. A correction below the
    threshold is none; its confidence is kept.

    Raises:
        Unjudged: they disagree, or too few answered.
    """
    if 2 * len(answers) <= asked:
        raise Unjudged("other", f"{len(answers)} of {asked} judgements could be had")
    corrections = sum(answer.is_correction for answer in answers)
    is_correction = 2 * corrections > len(answers)
    agreed = corrections if is_correction else len(answers) - corrections
    if len(answers) > 1 and agreed <= agreement * len(answers):
        raise Unjudged(
            "disagreement", f"{corrections} of {len(answers)} judgements say that it is a correction, the others not"
        )
    kinds = Counter(answer.kind for answer in answers if answer.is_correction == is_correction)
    kind = max(KINDS, key=lambda one: (kinds[one], -KINDS.index(one)))
    sure = [one.confidence if one.is_correction == is_correction else 1 - one.confidence for one in answers]
    confidence = sure[0] if len(sure) == 1 else min(1.0, round(fsum(sure) / len(sure), 12))  # three times 0.6 is 0.6
    below = is_correction and confidence < threshold
    reasoning = next(one.reasoning for one in answers if one.kind == kind)
    return FeedbackVerdict(
        is_correction=is_correction and not below, kind="neutral" if below else kind, confidence=confidence,
        reasoning=reasoning, samples=len(answers), agreed=agreed, below_threshold=below,
        interval=None if len(answers) == 1 else wilson(agreed, len(answers)),
    )  # fmt: skip


def most_frequent(problems: Sequence[Unjudged]) -> Unjudged:
    """Returns the failure that stands for several: the most frequent kind, with its first message."""
    kinds: Counter[FailureKind] = Counter(problem.kind for problem in problems)
    kind = kinds.most_common(1)[0][0]
    return next(problem for problem in problems if problem.kind == kind)


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Returns Wilson's interval for a share; (0, 1) where nothing was counted."""
    if n == 0:
        return 0.0, 1.0
    share, square = hits / n, z * z
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = z * sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return (max(0.0, middle - half) if hits else 0.0), (min(1.0, middle + half) if hits < n else 1.0)
