"""Carries quarantines over from run to run."""

from __future__ import annotations

from ...facts import Fact, projection
from .payloads import KnownQuarantine, Quarantine


@projection(reads=[Quarantine], by=lambda fact: fact.id)
def known_quarantines(before: KnownQuarantine | None, fact: Fact[Quarantine]) -> KnownQuarantine:
    """Keeps of each quarantine what was said last, by its number and not by who came last.

    It is the join that revises the fact within a run, so the ledger and the run agree, in whatever order processes
    commit. A quarantine that was lifted or has expired stays: were it gone, one of a lower number that another process
    commits later would hold again, and the next one under the id would not know which number it is.
    """
    said = KnownQuarantine(**fact.payload.__dict__)
    return said if before is None else before.join(said)
