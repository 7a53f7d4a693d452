"""A small run with some of everything, for processes that are killed in its midst, and what has to hold afterwards."""

from __future__ import annotations

import os
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self

import anyio
import anyio.lowlevel

from quiesce.engine import (
    Approve,
    AwaitingApproval,
    Committed,
    Engine,
    Gate,
    InvocationStarted,
    Notice,
    Reject,
    Result,
    propose,
    suggestor,
)
from quiesce.facts import Context, Fact, FactLog, Opaque, Payload, RunId, View, replay, verify
from quiesce.facts.event import RunResumed
from support.faults import Fault, python_calls, sqlite_calls
from support.strategies import World, context_of
from support.strategies import engine_of as random_engine_of

RUN = RunId("r")
FIXED: dict[str, Any] = {"run_id": "r", "seed": 7, "started": datetime(2026, 1, 1, tzinfo=UTC)}
LATER = datetime(2026, 1, 2, tzinfo=UTC)
Say = Callable[[Any], None]
Site = tuple[Literal["python", "sqlite"], Fault]
"""Who makes a call, and what happens there."""
WATCHES = {"python": python_calls, "sqlite": sqlite_calls}
LOOKING = {"read", "pread", "mmap"}
"""Calls that change nothing."""
_write, _open, _close = os.write, os.open, os.close  # by names of their own, by which nobody watches them
_truncate, _mkdir = os.truncate, os.mkdir


class Order(Payload, key="seeds", family="crash-order"):
    n: int


class Price(Payload, key="evaluations", family="crash-price"):
    n: int


class Quote(Payload, key="evaluations", family="crash-quote"):
    n: int


class Seen(Payload, key="signals", family="crash-seen"):
    """Revised to the union."""

    names: frozenset[str]

    def join(self, other: Self) -> Self:
        return type(self)(names=self.names | other.names)


class Label(Payload, key="hypotheses", family="crash-label"):
    """Contested."""

    n: int


class Refund(Payload, key="proposals", family="crash-refund"):
    n: int


class Receipt(Payload, key="signals", family="crash-receipt"):
    n: int


def engine_of(side: Path) -> Engine:
    """Returns an engine; its impure suggestors write a line to a side file whenever they are called."""

    def note(suggestor: str, fact: Fact[Any]) -> None:
        write_down(side, suggestor, fact.cycle + 1, fact.ref)

    @suggestor(name="crash-price")
    def price(order: Fact[Order]) -> Price:
        return Price(n=order.payload.n * 10)

    @suggestor(name="crash-quote", pure=False)
    async def quote(order: Fact[Order]) -> Quote:
        note("crash-quote", order)
        await anyio.lowlevel.checkpoint()
        return Quote(n=order.payload.n + 1)

    @suggestor(name="crash-ask", pure=False)
    def ask(price: Fact[Price]) -> Label:
        note("crash-ask", price)
        if price.payload.n == 20:
            raise ValueError("nobody answers")
        return Label(n=1)

    @suggestor(name="crash-label")
    def label(price: Fact[Price]) -> Label:
        return Label(n=2)

    @suggestor(name="crash-see", memo=True, reads=[Quote], writes=[Seen])
    async def see(view: View) -> Any:
        await anyio.lowlevel.checkpoint()
        return [propose(Seen(names=frozenset({one.id})), id="all", because=[one]) for one in view.new(Quote)]

    @suggestor(name="crash-refund")
    def refund(quote: Fact[Quote]) -> Refund | None:
        return Refund(n=quote.payload.n) if quote.payload.n == 2 else None

    @suggestor(name="crash-receipt", pure=False)
    async def receipt(refund: Fact[Refund]) -> Receipt:
        note("crash-receipt", refund)
        return Receipt(n=refund.payload.n)

    return Engine([price, quote, ask, label, see, refund, receipt], gates=[Gate("refunds", families=[Refund])])


def inputs() -> Context:
    """Returns what the run begins with."""
    context = Context()
    context.add(Order(n=1), id="a")
    context.add(Order(n=2), id="b")
    return context


def impure_engine_of(world: World) -> Engine:
    """Returns the engine of a random world, with every suggestor journaled."""
    engine = random_engine_of(world)
    for name, one in engine._suggestors.items():
        engine._suggestors[name] = replace(one, options=replace(one.options, pure=False))
    engine._graphs.clear()
    return engine


# --- the processes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a run is kept."""

    folder: Path
    file: str = "log.db"
    """The name of a file in the folder, or a url."""
    sync: Literal["normal", "full"] = "normal"
    world: World | None = None
    """A random world that runs, instead of the small run."""

    @property
    def side(self) -> Path:
        """A file with a line for every call of an impure suggestor."""
        return self.folder / "calls"

    def open(self) -> FactLog:
        return FactLog.open(self.file if "://" in self.file else self.folder / self.file, sync=self.sync)

    def engine(self) -> Engine:
        return engine_of(self.side) if self.world is None else impure_engine_of(self.world)

    def context(self) -> Context:
        return inputs() if self.world is None else context_of(self.world)


async def do_all(say: Say, log: FactLog, place: Place) -> None:
    """Runs, and goes on with it."""
    _tell(say, log)
    engine, observers = place.engine(), [_listener(say, place)]
    await engine.run(place.context(), log=log, observers=observers, **FIXED)
    await _go_on(engine, log, place, observers)


async def do_rest(say: Say, log: FactLog, place: Place) -> None:
    """Does whatever of that is left to do."""
    _tell(say, log)
    engine, observers = place.engine(), [_listener(say, place)]
    if RUN not in log:
        await engine.run(place.context(), log=log, observers=observers, **FIXED)
    (await engine.recover(log, observers=observers)).unwrap()
    await _go_on(engine, log, place, observers)


def live(say: Say, place: Place, site: Site | None = None, images: Path | None = None) -> None:
    """Does it all, telling what was acknowledged. Is killed at a call, or takes an image of the files before each."""
    with _watching(say, place, site, images), place.open() as log:
        anyio.run(lambda: do_all(say, log, place))


def finish(say: Say, place: Place, site: Site | None = None, images: Path | None = None) -> None:
    """Does what another process has left to do, in the same manner."""
    with _watching(say, place, site, images), place.open() as log:
        anyio.run(lambda: do_rest(say, log, place))


def forget(say: Say, place: Place, what: str, site: Site | None = None) -> None:
    """Takes something out of the log of a run that has ended: by compacting, redacting or dropping it."""
    with _watching(say, place, site, None), place.open() as log:
        if what == "compact":
            log.compact(RUN)
        elif what == "redact":
            log.redact(RUN, ["crash-order:a"], reason="erasure request", by="ana")
        else:
            log.retain(count=0)


def check_forgotten(say: Say, place: Place, what: str, states: Sequence[Any]) -> None:
    """Checks that what a killed process left is as before or as after, whole; tells which. Then does it again."""
    with place.open() as log:
        check_sound(log)
        say(list(states).index(state_of(log)))
    forget(lambda _: None, place, what)
    with place.open() as log:
        check_sound(log)
        assert states[-1] == state_of(log)
    assert {path.name for path in place.folder.iterdir()} <= {"calls", place.file}


def state_of(log: FactLog) -> Any:
    """Returns what a log has of the run, and what is gone."""
    if RUN not in log:
        return None
    records = [(record.digest, sorted(record.payloads), sorted(record.gone)) for record in log.store.read(RUN)]
    facts = [(fact.ref, isinstance(fact.payload, Opaque), fact.digest) for fact in replay(log, RUN)]
    return log.store.first(RUN), records, facts


def check(say: Say, place: Place, told: Iterable[Any], whole: bytes, ends: set[int]) -> None:
    """Opens what a killed process left, checks it, finishes the run, and checks that."""
    with place.open() as log:
        check_left(log, list(told), whole, ends)
        check_end(log, place, whole)
    with place.open() as log:
        assert whole == log.to_bytes(RUN)


def check_images(
    say: Say, place: Place, images: Iterable[tuple[str, Any]], whole: bytes, ends: set[int], every: int = 1
) -> None:
    """Checks every image as if it was what a killed process left, and tells what is wrong.

    Where several images come to the same once they are opened, the run is finished from the first, and from one of
    `every` so many others.
    """
    known: Counter[Any] = Counter()
    for name, told in images:
        left = replace(place, folder=place.folder / "images" / name, sync="normal")
        try:
            with left.open() as log:
                state = (*check_left(log, list(told), whole, ends), calls_in(left.side).total())
                known[state] += 1
                if known[state] % every == 1 % every:
                    check_end(log, left, whole)
        except Exception:  # noqa: BLE001  all of them are to be seen
            say((name, traceback.format_exc()))


def check_left(log: FactLog, told: list[Any], whole: bytes, ends: set[int]) -> tuple[Any, ...]:
    """Checks what a killed process left: all that it was told to be kept is there, and nothing by half.

    Returns what was left, in short.
    """
    check_sound(log)
    length = log.length(RUN)
    committed = [seq for kind, seq in told if kind == "committed"]
    assert length >= max(committed, default=-1) + 1, "an acknowledged event is lost"
    assert length in {0, *ends}, f"{length} events: part of a batch"
    assert not length or whole.startswith(log.to_bytes(RUN))
    kept = {key for kind, keys in told if kind == "kept" for key in keys}
    journaled = [address.key for address, _ in log.notes("journal", RUN)]
    assert kept <= set(journaled), "an acknowledged answer is lost"
    return length, tuple(journaled), len(list(log.notes("lease")))


def check_end(log: FactLog, place: Place, whole: bytes) -> None:
    """Finishes the run and checks that it ended as one that was never killed, with no journaled call made again."""
    journaled = {address.key for address, _ in log.notes("journal", RUN)}
    before = calls_in(place.side)
    anyio.run(lambda: do_rest(lambda _: None, log, place))
    after = calls_in(place.side)
    assert whole == log.to_bytes(RUN)
    assert [] == log.unfinished()
    assert [] == list(log.store.notes("lease"))
    check_sound(log)
    assert not [key for key in journaled if before[key] != after[key]], "a journaled call was made again"
    assert all(count - before[key] <= 1 for key, count in after.items())


def check_sound(log: FactLog) -> None:
    """Checks that nothing is wrong with a log."""
    assert [] == list(log.store.check())
    for run in log.runs():
        verify(log, run).unwrap()


def reference(place: Place) -> tuple[bytes, set[int]]:
    """Returns the log of a run that nobody kills, and where its appends end."""
    said: list[Any] = []
    with TemporaryDirectory() as folder, FactLog.open() as log:
        anyio.run(lambda: do_all(said.append, log, replace(place, folder=Path(folder))))
        return log.to_bytes(RUN), {length for kind, length in said if kind == "appended"}


def calls_in(side: Path) -> Counter[str]:
    """Returns how often each call of an impure suggestor was made."""
    return Counter(side.read_text().splitlines()) if side.exists() else Counter()


def warm() -> None:
    """Lets everything be loaded that a run loads late; starts no thread."""
    with TemporaryDirectory() as folder:
        reference(Place(Path(folder)))
        for name in ("log.db", "log.jsonl"):
            with FactLog.open(Path(folder) / name) as log:
                check_sound(log)


# --- inside ---------------------------------------------------------------------------------------------------------


async def _go_on(engine: Engine, log: FactLog, place: Place, observers: list[Any]) -> None:
    """Decides what waits, with one more input, as another process would that knows nothing but the log; once."""
    context = replay(log, RUN)
    gates = list(context.trail.gates)
    if not gates or any(isinstance(logged.event, RunResumed) for logged in log.events(RUN)):
        return
    decisions = [Reject(gate, by="bo") if at % 2 else Approve(gate, by="ana") for at, gate in enumerate(gates)]
    context.add(Order(n=3), id="c")
    paused = Result(RUN, context, log, AwaitingApproval(tuple(gates)), {}, ())
    await engine.resume(paused, decisions, now=LATER, observers=observers)


def _tell(say: Say, log: FactLog) -> None:
    """Lets a log tell which notes it has kept, and where its appends end."""
    keep, append = log.keep, log.append

    def kept(notes: Any, *, run: RunId | None = None) -> None:
        keep(notes, run=run)
        say(("kept", [address.key for address in notes]))

    def appended(run: RunId, events: Any, *args: Any, **named: Any) -> None:
        append(run, events, *args, **named)
        say(("appended", log.length(run)))

    log.keep, log.append = kept, appended  # type: ignore[method-assign]


def _listener(say: Say, place: Place) -> Callable[[Notice], None]:
    """Returns an observer that tells what was committed; where a world runs, it writes down who is called."""

    def heard(notice: Notice) -> None:
        if isinstance(notice, Committed):
            say(("committed", notice.seq))
        elif isinstance(notice, InvocationStarted) and place.world is not None:
            write_down(place.side, notice.suggestor, notice.cycle, notice.trigger)

    return heard


def write_down(side: Path, suggestor: str, cycle: int, trigger: str | None) -> None:
    """Adds a line to the side file: the key that the answer will have in the journal."""
    file = _open(side, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    _write(file, "/".join([suggestor, str(cycle), *([trigger] if trigger else [])]).encode() + b"\n")
    _close(file)


@contextmanager
def _watching(say: Say, place: Place, site: Site | None, images: Path | None) -> Iterator[None]:
    with ExitStack() as stack:
        watched = {
            name: stack.enter_context(watch(site[1] if site is not None and site[0] == name else None))
            for name, watch in WATCHES.items()
        }
        if images is not None:
            camera = _Camera(say, place, images)
            for calls in watched.values():
                calls.before = camera.take
        yield
        for calls in watched.values():
            calls.before = None
        say(("calls", {(name, call): count for name, calls in watched.items() for call, count in calls.counts.items()}))


class _Camera:
    """Takes an image of the files before each call that changes them, and of each write in its midst.

    That is what SIGKILL would leave there: the kernel has what was written, and nothing else.
    """

    def __init__(self, say: Say, place: Place, images: Path) -> None:
        self.say, self.place, self.images = say, place, images
        self.number = 0

    def take(self, call: str, half: Callable[[], Any] | None) -> None:
        if call in LOOKING:
            return
        self._keep(call)
        if half is not None:
            sizes = {path: path.stat().st_size for path in self._files()}
            half()
            self._keep(f"{call} torn")
            for path, size in sizes.items():
                if path.suffix == ".jsonl":  # what is written there goes to its end
                    _truncate(path, size)

    def _files(self) -> list[Path]:
        return [path for path in self.place.folder.iterdir() if path.is_file()]

    def _keep(self, what: str) -> None:
        self.number += 1
        folder = self.images / str(self.number)
        _mkdir(folder)
        for path in self._files():
            shutil.copyfile(path, folder / path.name)
        self.say(("image", (str(self.number), what)))
