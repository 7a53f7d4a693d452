"""Counts the requests that meet a provider in quarantine, so that it is probed at most once in so many of them."""

from __future__ import annotations

from ...facts import Fact, Projection, projection
from .names import posterior_id
from .payloads import ProbeTally, ProbeTurn


def probe_tallies(*, name: str = "probe_tallies") -> Projection[ProbeTally]:
    """Returns the projection that keeps the count for each provider, over all runs."""

    def step(before: ProbeTally | None, fact: Fact[ProbeTurn]) -> ProbeTally:
        return fold_turn(before, fact.payload)

    return projection(reads=[ProbeTurn], by=lambda fact: posterior_id(fact.payload.provider), name=name)(step)


def fold_turn(before: ProbeTally | None, turn: ProbeTurn) -> ProbeTally:
    """Returns a count with one more turn in it."""
    known = before or ProbeTally(provider=turn.provider)
    held, probes, last = known.held, known.probes, known.last_probe
    trials = known.trials if turn.number <= known.number else 0
    match turn.what:
        case "held":
            held, trials = held + 1, 0
        case "probe":
            held, probes, trials = held + 1, probes + 1, 0
            last = held
        case "trial":
            trials += 1
    number = max(turn.number, known.number)
    return ProbeTally(
        provider=known.provider, turns=known.turns + 1, held=held, probes=probes, last_probe=last, number=number,
        trials=trials,
    )  # fmt: skip


def is_due(tally: ProbeTally | None, one_in: int) -> bool:
    """Tells whether one of the last `one_in` requests, this one among them, may be a probe.

    So of any `one_in` requests in a row at most one is.
    """
    return one_in > 0 and (0 if tally is None else tally.since) + 1 >= one_in


def is_on_trial(tally: ProbeTally | None, number: int, trials: int) -> bool:
    """Tells whether a provider that is back from its last quarantine has had fewer tries than it is to have."""
    return (0 if tally is None or tally.number < number else tally.trials) < trials
