"""What the examples in docstrings lean on: a few payloads and suggestors, a context, a run and its log."""

from datetime import timedelta
from typing import Self

import anyio

from quiesce.engine import Approve, Engine, Gate, Reject, Violation, goal, invariant, propose, suggestor
from quiesce.engine.testing import FakeClock, Turns
from quiesce.facts import All, Context, Fact, FactLog, Payload, View, check_proof, diff, projection, replay, why_not
from quiesce.facts.testing import check_join

__all__ = [
    "All", "Approve", "FakeClock", "Gate", "Reject", "View", "Violation", "check_join", "check_proof", "diff", "goal",
    "invariant", "projection", "propose", "replay", "timedelta", "why_not",
]  # fmt: skip


class Ticket(Payload, key="seeds"):
    text: str


class Rule(Payload, key="constraints"):
    word: str
    queue: str


class Plan(Payload, key="strategies"):
    queue: str


class Refund(Payload, key="proposals"):
    cents: int


class Receipt(Payload, key="signals"):
    cents: int


class Order(Payload, key="seeds"):
    item: str


class Price(Payload, key="evaluations"):
    cents: int


class Stock(Payload, key="evaluations"):
    pieces: int


class Tags(Payload, key="hypotheses"):
    names: set[str]

    def join(self, other: Self) -> Self:
        return type(self)(names=self.names | other.names)


@suggestor
def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue="billing" if "refund" in ticket.payload.text else "support")


@suggestor
def batch(refund: Fact[Refund]) -> Receipt:
    return Receipt(cents=refund.payload.cents)


@suggestor
def refund(plan: Fact[Plan]) -> Refund | None:
    return Refund(cents=100) if plan.payload.queue == "billing" else None


@suggestor
async def stock(order: Fact[Order]) -> Stock:
    await turns.take("stock")
    return Stock(pieces=len(order.payload.item))


@suggestor(timeout=10, retries=1)
async def slow(ticket: Fact[Ticket]) -> Plan:
    await anyio.sleep_forever()
    raise AssertionError


turns = Turns()
context = Context()
ticket = context.add(Ticket(text="refund please"), id="t1")
context.add(Order(item="tea"), id="o1")
engine = Engine([plan, refund, batch])
log = FactLog.open()
result = engine.run_sync(context, log=log)
