"""Plans the shipping of orders: payloads, suggestors and the engine that settle_orders.py shows at work.

Prices, stock and the quotes of two carriers are asked for side by side; each answer takes a while. Quotes are *joined*:
who answers later, or with a better price, revises what is known, and the plan with it. A carrier that fails leaves a
Failure, to which `fall_back` reacts. The command line can run it too, with the same orders:

    quiesce run examples/orders.py:engine --input examples/orders.jsonl --live
    quiesce graph examples/orders.py:engine
"""

from collections import Counter
from collections.abc import Iterator
from typing import Self

import anyio

from quiesce.engine import Engine, Proposal, goal, propose, suggestor
from quiesce.facts import Context, Fact, Failure, Payload, View


class Order(Payload, key="seeds"):
    item: str
    pieces: int
    to: str


class Price(Payload, key="evaluations"):
    cents: int


class Stock(Payload, key="evaluations"):
    at: str


class Shortage(Payload, key="signals"):
    missing: int


class Risk(Payload, key="evaluations"):
    score: float


class Quotes(Payload, key="hypotheses"):
    """What each carrier asks; revisable: two of them join to the cheaper quote of each carrier."""

    cents: dict[str, int]

    def join(self, other: Self) -> Self:
        both = {**self.cents, **other.cents}
        return type(self)(cents={name: min(both[name], self.cents.get(name, both[name])) for name in sorted(both)})


class Plan(Payload, key="strategies"):
    """How an order goes out; revisable: a plan gives way to a cheaper one."""

    carrier: str
    cents: int
    start: str

    def join(self, other: Self) -> Self:
        return min(self, other, key=lambda plan: (plan.cents, plan.carrier, plan.start))


class Notice(Payload, key="proposals"):
    text: str


PRICES = {"lamp": 4900, "chair": 8900, "desk": 31900}
SHELVES = {"lamp": 20, "chair": 2, "desk": 5}
calls: Counter[str] = Counter()
"""How often each service was asked, to show that a replay asks none."""


async def ask(service: str, seconds: float) -> None:
    """Stands for a request to a service."""
    calls[service] += 1
    await anyio.sleep(seconds)


@suggestor
async def price(order: Fact[Order]) -> Price:
    await ask("catalogue", 0.06)
    return Price(cents=PRICES[order.payload.item] * order.payload.pieces)


@suggestor
async def check_stock(order: Fact[Order]) -> Stock | Shortage:
    await ask("stock", 0.10)
    missing = order.payload.pieces - SHELVES[order.payload.item]
    return Stock(at="Hamburg") if missing <= 0 else Shortage(missing=missing)


@suggestor
async def look_further(shortage: Fact[Shortage]) -> Stock:
    await ask("stock", 0.24)
    return Stock(at="Lyon" if shortage.payload.missing < 10 else "Taipei")


@suggestor
async def quote_road(order: Fact[Order]) -> Quotes:
    await ask("road", 0.12)
    return Quotes(cents={"road": 1900 + 400 * order.payload.pieces})


@suggestor(retries=1, backoff=0.05)
async def quote_air(order: Fact[Order]) -> Quotes:
    await ask("air", 0.14)
    if order.payload.to == "Oslo":
        raise ConnectionError("air answers 503")
    return Quotes(cents={"air": 2500 + 900 * order.payload.pieces})


@suggestor
async def fall_back(failure: Fact[Failure]) -> Proposal[Quotes] | None:
    if failure.payload.suggestor != "quote_air" or failure.payload.trigger is None:
        return None
    await ask("post", 0.20)
    return propose(Quotes(cents={"post": 2100}), id=failure.payload.trigger.removeprefix("order:"))


@suggestor
async def score(price: Fact[Price]) -> Risk:
    await ask("fraud score", 0.12)
    return Risk(score=0.3 if price.payload.cents > 50_000 else 0.1)


@suggestor(reads=[Price, Stock, Risk, Quotes], writes=[Plan])
def plan(view: View) -> Iterator[Proposal[Plan]]:
    for id in sorted({fact.id for part in (Price, Stock, Risk, Quotes) for fact in view.new(part)}):
        price, stock = view.get(Price, id), view.get(Stock, id)
        risk, quotes = view.get(Risk, id), view.get(Quotes, id)
        if price and stock and risk and quotes:
            fee, carrier = min((cents, name) for name, cents in quotes.payload.cents.items())
            planned = Plan(carrier=carrier, cents=price.payload.cents + fee, start=stock.payload.at)
            sure = 1 - risk.payload.score
            yield propose(planned, id=id, because=[price, stock, risk, quotes], confidence=sure)


@suggestor
async def haggle(plan: Fact[Plan]) -> Quotes | None:
    """Asks again for large orders; the same answer as before is no news, so this ends."""
    if plan.payload.cents < 50_000:
        return None
    await ask(plan.payload.carrier, 0.16)
    return Quotes(cents={plan.payload.carrier: 3900})


@suggestor
async def notify(plan: Fact[Plan]) -> Proposal[Notice]:
    await ask("mail", 0.08)
    chosen = plan.payload
    text = f"{chosen.carrier}, {chosen.cents / 100:.2f} €, from {chosen.start}"
    return propose(Notice(text=text), id=f"{plan.id}-{chosen.cents}")


@goal(reads=[Order, Plan])
def every_order_has_a_plan(view: View) -> bool:
    return {order.id for order in view.all(Order)} == {plan.id for plan in view.all(Plan)}


engine = Engine([price, check_stock, look_further, quote_road, quote_air, fall_back, score, plan, haggle, notify])


def orders() -> Context:
    """Returns three orders: an easy one, one that is not in stock, one for which a carrier fails."""
    context = Context()
    context.add(Order(item="lamp", pieces=2, to="Berlin"), id="o1")
    context.add(Order(item="chair", pieces=6, to="Paris"), id="o2")
    context.add(Order(item="desk", pieces=1, to="Oslo"), id="o3")
    return context
