"""Engines for the tests of the command line over durable logs: gates, and suggestors that can be killed."""

import os

import anyio

from quiesce.engine import Engine, Gate, goal, suggestor
from quiesce.facts import Fact, View
from support.cli_orders import Plan, Ticket


@suggestor(version="2")
def plan(ticket: Fact[Ticket]) -> Plan:
    """Sends every ticket to billing."""
    return Plan(queue="billing")


@suggestor(name="plan", version="3")
def later(ticket: Fact[Ticket]) -> Plan:
    """The same after an upgrade of the code."""
    return Plan(queue="accounts")


@suggestor(name="held")
async def held(ticket: Fact[Ticket]) -> Plan:
    """Waits where nobody will ever wake it, unless QUIESCE_TEST_GO is set."""
    if "QUIESCE_TEST_GO" not in os.environ:
        print("called", flush=True)  # noqa: T201  # the test waits for it
        await anyio.sleep_forever()
    return Plan(queue="held")


@goal(reads=[Plan])
def planned(view: View) -> bool:
    """There is a plan."""
    return len(view.all(Plan)) > 0


ask = [Gate("plans", families=[Plan])]
gated = Engine([plan], gates=ask)
upgraded = Engine([later], gates=ask)
free = Engine([plan])
killed = Engine([held])
