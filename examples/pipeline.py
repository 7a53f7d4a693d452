"""A pipeline that settles one context after the other as they come in, several at a time, into one log.

    python examples/pipeline.py

Baskets come as raw JSON from a stream. Each is a run of its own: one holds broken JSON, one an item nobody knows, one
more lines than its budget allows. None of them stops the others: what is wrong with a basket is in its result. At the
end a line is added to a basket that was settled already, and only what that touches is worked out again.
"""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import anyio

from quiesce.engine import Budget, Converged, Engine, InvocationStarted, Proposal, Result, describe, propose, suggestor
from quiesce.facts import Context, Fact, FactLog, Failure, Malformed, Payload, View, verify


class Line(Payload, key="seeds"):
    item: str
    pieces: int = 1


class Amount(Payload, key="evaluations"):
    cents: int


class Total(Payload, key="strategies"):
    """What a basket comes to; revisable: the total of more lines stands."""

    lines: int
    cents: int

    def join(self, other: Self) -> Self:
        return max(self, other, key=lambda total: (total.lines, total.cents))


PRICES = {"tea": 450, "cup": 1200, "pot": 3900}


@suggestor
async def price(line: Fact[Line]) -> Amount:
    await anyio.sleep(0.01)  # plays a request to the catalogue
    return Amount(cents=PRICES[line.payload.item] * line.payload.pieces)


@suggestor(reads=[Amount], writes=[Total])
def add_up(view: View) -> Proposal[Total]:
    amounts = view.all(Amount)
    total = Total(lines=len(amounts), cents=sum(amount.payload.cents for amount in amounts))
    return propose(total, id="basket", because=amounts)


engine = Engine([price, add_up], budget=Budget(facts=30))

BASKETS = {
    "b1": ['{"item": "tea", "pieces": 2}', '{"item": "cup"}'],
    "b2": ['{"item": "tea"}', '{"item": "cup", "pieces"'],  # torn on its way
    "b3": ['{"item": "pot"}', '{"item": "sofa"}'],
    "b4": ['{"item": "tea"}'] * 40,
    "b5": ['{"item": "pot"}', '{"item": "cup", "pieces": 6}', '{"item": "tea", "pieces": 6}'],
}


def context_of(lines: list[str]) -> Context:
    """Returns what came in; what is no fact is kept as a Malformed one."""
    context = Context()
    for number, raw in enumerate(lines, 1):
        context.admit("line", f"l{number}", raw)
    return context


async def arriving() -> AsyncIterator[tuple[str, Context]]:
    """Yields baskets as they come in."""
    for name, lines in BASKETS.items():
        await anyio.sleep(0.005)
        yield name, context_of(lines)


def tell(name: str, result: Result) -> None:
    """Prints what became of a basket."""
    if not isinstance(result.stop, Converged):
        print(f"  {name}  put aside: {describe(result.stop)}")
        return
    total = result.context.of(Total)["basket"].payload
    print(f"  {name}  {total.cents / 100:6.2f} €, lines: {total.lines}")
    for malformed in result.context.of(Malformed).values():
        print(f"      left out {malformed.payload.id}: {malformed.payload.reason}")
    for failure in result.context.of(Failure).values():
        print(f"      left out {failure.payload.trigger}: {failure.payload.error}: {failure.payload.message}")


async def settle_as_they_come(log: FactLog, concurrency: int) -> dict[str, Result]:
    """Runs each basket as soon as it is there, and tells of each as soon as it is settled."""
    results: dict[str, Result] = {}
    slots = anyio.Semaphore(concurrency)

    async def settle(name: str, context: Context) -> None:
        try:
            results[name] = await engine.run(context, log=log, run_id=name, seed=1)
            tell(name, results[name])
        finally:
            slots.release()

    async with anyio.create_task_group() as tasks:
        async for name, context in arriving():
            await slots.acquire()  # the stream is read no faster than baskets are settled
            tasks.start_soon(settle, name, context)
    return results


async def main(path: Path) -> None:
    with FactLog.open(path) as log:
        print("As they come, three at a time:")
        results = await settle_as_they_come(log, concurrency=3)

        print("A batch, with the results in its order:")
        batch = [context_of([line]) for line in BASKETS["b5"]]
        for result in await engine.run_many(batch, concurrency=2, log=log, run_id="batch", seed=1):
            tell(result.run_id, result)

        print("One more line for b1:")
        context, calls = results["b1"].context, Counter[str]()
        context.add(Line(item="pot"), id="l3")

        def count(notice: object) -> None:
            if isinstance(notice, InvocationStarted):
                calls[notice.suggestor] += 1

        tell("b1", await engine.run(context, log=log, run_id="b1-more", seed=1, observers=[count]))
        print(f"      called: {', '.join(f'{name} ×{times}' for name, times in calls.items())}")

        sound = [verify(log, run).ok for run in log.runs()]
        print(f"{len(sound)} runs in one log, {sum(sound)} of them sound")


if __name__ == "__main__":
    build = Path(__file__).resolve().parents[1] / "build"
    build.mkdir(exist_ok=True)
    (build / "pipeline.jsonl").unlink(missing_ok=True)  # what this example left there the last time
    anyio.run(main, build / "pipeline.jsonl")
