"""Engines for the tests of the command line, which imports them by name."""

import anyio

from quiesce.engine import Budget, Engine, Gate, Violation, invariant, propose, suggestor
from quiesce.engine.proposal import Proposal
from quiesce.facts import Fact, Payload, View


class Ticket(Payload, key="seeds", family="cli-ticket"):
    text: str


class Plan(Payload, key="strategies", family="cli-plan"):
    queue: str


class Count(Payload, key="signals", family="cli-count"):
    n: int


class Verdict(Payload, key="evaluations", family="cli-verdict", on_conflict="stop"):
    fair: bool


@suggestor(version="2")
def plan(ticket: Fact[Ticket]) -> Proposal[Plan]:
    """Sends a ticket to a queue."""
    queue = "billing" if "refund" in ticket.payload.text else "other"
    return propose(Plan(queue=queue), id=ticket.id, confidence=0.75)


@suggestor
def rival(ticket: Fact[Ticket]) -> Plan:
    """Sends every ticket to one queue."""
    return Plan(queue="rival")


@suggestor
def count(before: Fact[Count]) -> Count:
    """Never settles."""
    return Count(n=before.payload.n + 1)


@suggestor
def fair(ticket: Fact[Ticket]) -> Verdict:
    """Judges."""
    return Verdict(fair=True)


@suggestor
def unfair(ticket: Fact[Ticket]) -> Verdict:
    """Contradicts."""
    return Verdict(fair=False)


@suggestor(reads=[], writes=[Ticket])
def noisy() -> Ticket:
    """Prints."""
    print("noise from a suggestor")  # noqa: T201  # what a user's code does
    return Ticket(text="noisy")


@suggestor
async def endless(ticket: Fact[Ticket]) -> Plan:
    """Never ends."""
    print("called", flush=True)  # noqa: T201  # the test waits for it
    await anyio.sleep_forever()
    return Plan(queue="never")


@suggestor
async def slow(ticket: Fact[Ticket]) -> Plan:
    """Takes long enough to be seen at work."""
    await anyio.sleep(0.3)
    return Plan(queue="slow")


@invariant(reads=[Plan], on="cycle")
def no_plans(view: View) -> Violation | None:
    """Does not hold once there is a plan."""
    return Violation("there is a plan") if view.all(Plan) else None


engine = Engine([plan])
contested = Engine([plan, rival])
gated = Engine([plan], gates=[Gate("plans", families=[Plan])])
counting = Engine([count], budget=Budget(cycles=3))
judging = Engine([fair, unfair])
strict = Engine([plan], invariants=[no_plans])
loud = Engine([noisy])
waiting = Engine([endless])
sluggish = Engine([slow])
packed = Engine()
packed.register(plan, pack="plans")
packed.register(rival, pack="rivals")


def make() -> Engine:
    """Makes an engine."""
    return Engine([plan])


def make_nothing() -> None:
    """Makes none."""


def make_trouble() -> Engine:
    """Raises."""
    raise ValueError("no engine today")


async def make_later() -> Engine:
    """Makes one where nobody can wait for it."""
    return Engine([plan])
