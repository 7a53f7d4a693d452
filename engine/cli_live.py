"""Shows a run while it settles: each cycle as it is committed, and below it who is being called now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import monotonic
from types import TracebackType
from typing import Any, Self

from rich.live import Live
from rich.text import Text

from ..facts import Fact
from ..facts.event import CycleCommitted, Event, GateDecided, GateOpened
from ..facts.fact import Ref, printable
from ..facts.trail import Rejection
from .cli_show import Screen, shown
from .observe import Committed, InvocationEnded, InvocationStarted, Notice, RunEnded

MOST_FACTS = 12
"""Facts of one cycle that are shown, and as many rejections."""
MOST_RUNNING = 6
"""Suggestors that are named while they are called."""

Part = str | tuple[str, str]


class LiveView:
    """An observer that writes cycles as they come; on a terminal it also keeps a line about who is running now.

    Where the output goes into a pipe that is closed meanwhile, it falls silent: whoever stops reading ends no run.
    """

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.cycle = 0
        self.facts = 0
        self.closed = False
        self._began = monotonic()
        self._running: dict[tuple[str, int, Ref | None], float] = {}
        self._live = Live(
            screen=False, console=screen, get_renderable=self._now, transient=True, refresh_per_second=8
        )  # fmt: skip

    def __enter__(self) -> Self:
        if self.screen.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.screen.is_terminal:
            self._live.stop()

    def __call__(self, notice: Notice) -> None:
        """Takes a notice of the run."""
        match notice:
            case InvocationStarted(_, suggestor, cycle, trigger):
                self._running[suggestor, cycle, trigger] = monotonic()
            case InvocationEnded(_, suggestor, cycle, trigger):
                self._running.pop((suggestor, cycle, trigger), None)
            case Committed(_, _, event):
                self._show(event)
            case RunEnded():  # that is told by others
                pass

    def _show(self, event: Event) -> None:
        for parts in self._lines(event) if not self.closed else ():
            try:
                self.screen.row(*parts)
            except BrokenPipeError:
                self.closed = True
                return

    def _lines(self, event: Event) -> Iterator[Sequence[Part]]:
        match event:
            case CycleCommitted():
                self.cycle = event.cycle
                self.facts += len(event.facts)
                yield from _cycle(event)
            case GateOpened(parked):
                yield (
                    "  ",
                    ("waits   ", "yellow"),
                    (printable(parked.ref), "bold"),
                    f"  at gate {printable(parked.gate)}",
                )
            case GateDecided(decision):
                verb = "approved" if decision.approved else "rejected"
                yield "  ", (f"{verb}  ", "yellow"), (printable(decision.ref), "bold"), f"  by {printable(decision.by)}"
            case _:  # where a run begins and ends is told by others
                return

    def _now(self) -> Text:
        """Returns the line about this moment."""
        now = monotonic()
        calls: dict[str, list[float]] = {}
        for (suggestor, _, _), began in list(self._running.items()):  # copied: it is drawn in a thread of its own
            calls.setdefault(suggestor, []).append(now - began)
        named = [
            f"{printable(name)}{f' ×{len(times)}' if len(times) > 1 else ''} {max(times):.1f} s"
            for name, times in list(calls.items())[:MOST_RUNNING]
        ]
        more = [f"{len(calls) - MOST_RUNNING} more"] if len(calls) > MOST_RUNNING else []
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"cycle {self.cycle} · {self.facts:,} facts · {now - self._began:.1f} s", "bold")
        text.append("  running  ", "dim")
        return text.append(", ".join([*named, *more]) or "nobody", "cyan")


def _cycle(event: CycleCommitted) -> Iterator[Sequence[Part]]:
    counts = [f"{len(event.facts):,} fact{'' if len(event.facts) == 1 else 's'}"]
    if event.rejections:
        counts.append(f"{len(event.rejections):,} rejected")
    yield (f"cycle {event.cycle}", "bold"), (f"  {', '.join(counts)}", "dim")
    named = [fact.by for fact in event.facts[:MOST_FACTS]] + [lost.by for lost in event.rejections[:MOST_FACTS]]
    width = min(24, max((len(printable(name)) for name in named), default=0))
    for fact in event.facts[:MOST_FACTS]:
        yield _said(fact, width)
    if len(event.facts) > MOST_FACTS:
        yield ((f"  … and {len(event.facts) - MOST_FACTS:,} more facts", "dim"),)
    for rejection in event.rejections[:MOST_FACTS]:
        yield _refused(rejection, width)
    if len(event.rejections) > MOST_FACTS:
        yield ((f"  … and {len(event.rejections) - MOST_FACTS:,} more rejected", "dim"),)


def _said(fact: Fact[Any], width: int) -> Sequence[Part]:
    style = "red" if fact.key == "diagnostics" else "dim" if fact.by == "input" else "cyan"
    because = f"  because {printable(', '.join(fact.because[:3]))}" if fact.because else ""
    more = " …" if len(fact.because) > 3 else ""
    return (
        "  ", (f"{printable(fact.by):{width}}", style), "  ", (printable(fact.ref), "bold"), f"  {shown(fact.payload)}",
        (because + more, "dim"),
    )  # fmt: skip


def _refused(rejection: Rejection, width: int) -> Sequence[Part]:
    by, ref, reason = printable(rejection.by), printable(rejection.ref), printable(rejection.reason)
    return (
        "  ",
        (f"{by:{width}}", "red"),
        "  ",
        (f"× {ref}", "bold"),
        f"  {shown(rejection.payload)}",
        (f"  {reason}", "red"),
    )
