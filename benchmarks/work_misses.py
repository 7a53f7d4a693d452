"""Puts the regret of Thompson sampling and of MABWiser's policies into the table: what they miss of the best."""

from __future__ import annotations

import shape
import work_regret
from measure import Case, Sample, Section


def misses() -> list[Section]:
    """Returns a section for each world; all policies meet the same streams in it, so each is played once."""
    repetitions = 4 if shape.is_quick else 30
    sections: dict[str, Section] = {}
    for one in work_regret.compare(repetitions):
        if one.world not in sections:
            sections[one.world] = Section(
                f"Regret: {one.world}",
                f"successes missed in {work_regret.STEPS:,} choices beside the best at each time, the mean of "
                f"{repetitions} streams; the lower the better",
                [],
            )
        kind, mean = "ours" if one.policy in work_regret.OURS else "peer", one.final[0]
        sections[one.world].cases.append(
            Case(one.policy, _known(mean), "missed", kind="ours" if kind == "ours" else "peer", once=True)
        )
    return list(sections.values())


def _known(value: float) -> Sample:
    async def sample() -> float:
        return value

    return sample
