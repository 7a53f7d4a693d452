"""A projection for the tests of the command line, which imports it by name."""

from quiesce.facts import Fact, Payload, projection
from support.cli_orders import Plan


class Queued(Payload, key="signals", family="cli-queued"):
    n: int


@projection(reads=[Plan], by=lambda fact: fact.payload.queue)
def queued(before: Queued | None, fact: Fact[Plan]) -> Queued:
    """Counts what each queue was given."""
    return Queued(n=(before.n if before else 0) + 1)
