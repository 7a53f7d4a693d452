"""Governs three providers over 300 requests, then asks the log what happened: what `make run` runs.

    make run
    .venv/bin/python examples/providers.py                   # or with fewer requests: … examples/providers.py 60

Three simulated providers answer on this machine over real HTTP (simulated.py). Each request is a run: selection finds
who can do it, the router draws who does, `call` asks (providers_call.py), users say what they think, and what was
learned is what the next run begins with. One provider decays and one has outages: see how that is noticed, how they are
kept out, probed and let in again. At the end the log alone tells the story: why one decision was made, the same
decisions once more, with nobody asked, and a picture of it all.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import anyio
from providers_call import Question, caller
from providers_picture import Moment, draw
from providers_view import Board, Standing
from simulated import Town, running

from quiesce.engine import Engine
from quiesce.engine.cli_show import Screen, show_why
from quiesce.facts import Context, FactLog, Payload, replay, verify
from quiesce.suggestors import (
    Backend,
    DriftMonitor,
    DriftVerdict,
    KnownQuarantine,
    Posterior,
    ProviderRequest,
    ProvidersPack,
    Quarantine,
    RouteDecision,
    providers,
)
from quiesce.suggestors.selection import quarantined

REQUESTS = 300
SEED = 7
HERE = Path(__file__).resolve().parent
STARTED = datetime(2026, 1, 1, 9, tzinfo=UTC)
EVERY = timedelta(seconds=20)
"""How far apart the requests are, as the runs see it: by this clock quarantines come to their half-open date."""
NAMES = ("steady", "waning", "shaky")

Part = str | tuple[str, str]


def backends() -> list[Backend]:
    """Returns who can be asked."""
    does = frozenset({"text_generation", "tool_use"})
    return [Backend(name=name, kind="llm", capabilities=does, cost_class="low", latency_ms=300) for name in NAMES]


def main(screen: Screen, requests: int = REQUESTS) -> int:
    """Returns the exit code."""
    place = new_log()
    pack = providers(backends(), monitor=DriftMonitor("normal", window=12, one_in=5))
    with running(SEED) as town:
        engine = pack.engine(caller(town.urls))
        title(screen, f"{requests} requests to three providers")
        with pack.open(place) as log:
            try:
                anyio.run(ask_all, screen, pack, engine, log, requests)
            except KeyboardInterrupt:
                screen.whole(("interrupted: ", "yellow"), f"{len(list(log.runs()))} requests are in {near(place)}")
                return 130
            learned = dict(log.values(pack.posteriors))
        with pack.open(place) as log:  # as another process would, tomorrow
            story = story_of(log)
            title(screen, "Why one of them was decided as it was")
            explain_one(screen, log, story)
            title(screen, "Once more, from the log alone")
            sound = look_back(screen, pack, engine, log, town, learned)
    title(screen, "The picture")
    show_picture(screen, story, place)
    return 0 if sound else 1


# --- 300 requests -----------------------------------------------------------------------------------------------------


async def ask_all(screen: Screen, pack: ProvidersPack, engine: Engine, log: FactLog, requests: int) -> None:
    """Runs one request after the other; each begins with what those before it have left."""
    chance, watch = Random(SEED), Watch()
    with Board(screen, NAMES, requests) as board:
        for number in range(1, requests + 1):
            run, now = f"r{number}", STARTED + number * EVERY
            context = pack.context(log)
            need(context, run, chance)
            result = await engine.run(context, log=log, run_id=run, seed=number, started=now)
            board.tell(watch.news(result.context, number))
            decision = result.context.of(RouteDecision).get(run)
            board.show(
                number,
                decision.payload.provider if decision is not None else None,
                {name: watch.standing(result.context, name, now) for name in NAMES},
            )


def need(context: Context, id: str, chance: Random) -> None:
    """Adds what a user wants to know, and what it takes to answer it."""
    question = Question(a=chance.randrange(10, 100), b=chance.randrange(10, 100), with_tool=chance.random() < 0.4)
    context.add(question, id=id)
    context.add(ProviderRequest(required_capabilities=("text_generation",)), id=id)


class Watch:
    """Follows what the runs find out, for the view."""

    def __init__(self) -> None:
        self.severity: dict[str, str] = dict.fromkeys(NAMES, "none")

    def news(self, context: Context, number: int) -> Iterator[Sequence[Part]]:
        """Yields what a run found out about providers, as lines."""
        for verdict in (fact.payload for fact in context.of(DriftVerdict).values()):
            self.severity[verdict.provider] = verdict.severity
            style = {"none": "green", "mild": "yellow", "severe": "red"}[verdict.severity]
            yield told(number, verdict.provider, (verdict.severity, style), verdict.reason or "nothing odd any more")
        for out in (fact.payload for fact in context.of(Quarantine).values()):
            if out.lifted:
                yield told(number, out.backend, ("let in", "green"), out.lifted)
            else:
                yield told(number, out.backend, ("put out", "red"), f"until {when_in(out)}")

    def standing(self, context: Context, name: str, now: datetime) -> Standing:
        """Returns how a provider stands at the end of a run."""
        fact, held = context.of(Posterior).get(name), out_of(context, now).get(name)
        one = fact.payload if fact is not None else Posterior(provider=name)
        judged = one.quality_successes + one.quality_failures
        return Standing(
            mean=one.mean, observations=one.observations, severity=self.severity[name],
            quality=(1 + one.quality_successes) / (2 + judged) if judged else None,
            out=when_in(held) if held is not None else "",
        )  # fmt: skip


def told(number: int, name: str, what: tuple[str, str], about: str) -> Sequence[Part]:
    """Returns one line of news."""
    return (f"r{number:<4}", "dim"), (f"{name:8}", "bold"), (f"{what[0]:8}", what[1]), about


def out_of(context: Context, now: datetime) -> dict[str, Quarantine | KnownQuarantine]:
    """Returns who is out at a moment."""
    held = quarantined(context.of(Quarantine).values(), context.of(KnownQuarantine).values(), now)
    return {name: fact.payload for name, fact in held.items()}


def when_in(out: Quarantine | KnownQuarantine) -> str:
    """Returns until when a provider is out, and that one request in so many tries it meanwhile."""
    until = f"{out.until:%H:%M}" if out.until is not None else "it is lifted"
    return f"{until}, 1 in {out.one_in}" if out.one_in else until


# --- looking back -----------------------------------------------------------------------------------------------------


def story_of(log: FactLog) -> list[Moment]:
    """Returns what each run knew and decided."""
    return [moment_of(number, replay(log, run)) for number, run in enumerate(log.runs(), 1)]


def moment_of(number: int, context: Context) -> Moment:
    """Returns what a run knew and what it decided, from its replay."""
    decision = next(iter(context.of(RouteDecision).values()), None)
    known = {name: fact.payload for name, fact in context.of(Posterior).items() if name in NAMES}
    return Moment(
        decision.payload.provider if decision is not None else None,
        {name: (1 + one.successes, 1 + one.failures) for name, one in known.items()},
        frozenset(out_of(context, STARTED + number * EVERY)),
        probe=decision is not None and decision.payload.probe,
    )


def explain_one(screen: Screen, log: FactLog, story: Sequence[Moment]) -> None:
    """Shows why somebody was asked who was out: with what was known when that was decided, and no later."""
    number = next((place for place, moment in enumerate(story, 1) if moment.probe), len(story))
    decision = replay(log, f"r{number}").of(RouteDecision)[f"r{number}"]
    show_why(screen, replay(log, f"r{number}", at=decision.cycle).why(decision))


def look_back(
    screen: Screen, pack: ProvidersPack, engine: Engine, log: FactLog, town: Town, learned: Mapping[str, Payload]
) -> bool:
    """Replays, reruns and verifies every request, and tells whether all is as it was."""
    asked, runs = town.requests, list(log.runs())
    decided = sum(engine.rerun_sync(log, run).same for run in runs)
    tell(
        screen, decided == len(runs), f"{decided} of {len(runs)} requests were decided once more, and come out the same"
    )
    silent = town.requests == asked
    tell(screen, silent, f"the providers had {asked} requests to settle, {town.requests - asked} to decide again")
    sound = sum(verify(log, run).ok for run in runs)
    tell(screen, sound == len(runs), f"{sound} of {len(runs)} runs are sound: no byte of the log was changed")
    same = dict(log.values(pack.posteriors)) == learned and all(check.ok for check in log.check_projections())
    tell(screen, same, "after a restart the posteriors are the same, and a fold from scratch gives them, too")
    return decided == len(runs) == sound and silent and same


def tell(screen: Screen, holds: bool, text: str) -> None:
    """Writes what was found."""
    screen.row(("yes  ", "green") if holds else ("NO   ", "red"), text)


def show_picture(screen: Screen, story: Sequence[Moment], place: Path) -> None:
    """Draws the picture where matplotlib is there, and says so where it is not."""
    try:
        paths = draw(story, NAMES, place)
    except ImportError as error:
        screen.whole(f'no picture: {error}. It takes the extra "plot": pip install "quiesce[plot]"')
        return
    for path in paths:
        screen.whole(str(near(path)))


def how_many(words: Sequence[str]) -> int:
    """Returns how many requests the command line asks for."""
    if not words:
        return REQUESTS
    if len(words) > 1 or not words[0].isdecimal() or int(words[0]) == 0:
        sys.exit(f"providers.py: {' '.join(words)!r} is no number of requests from 1. Write: examples/providers.py 60")
    return int(words[0])


def title(screen: Screen, text: str) -> None:
    """Writes a heading."""
    screen.row()
    screen.row((text, "bold underline"))


def new_log() -> Path:
    """Returns where the log goes, without what an earlier run left there."""
    path = near(HERE.parent / "build" / "providers.db")
    path.parent.mkdir(exist_ok=True)
    for ending in ("", "-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)
    return path


def near(path: Path) -> Path:
    """Returns a path as seen from here, where that is shorter."""
    return min(Path(os.path.relpath(path)), path, key=lambda way: len(str(way)))


if __name__ == "__main__":
    try:
        sys.exit(main(Screen(), how_many(sys.argv[1:])))
    except BrokenPipeError:  # whoever read this stopped reading: `make run | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
