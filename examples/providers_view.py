"""Shows three providers while they are asked: on a terminal, and without one.

examples/providers.py keeps the `Board` of examples/providers_view.py. On a terminal its table is drawn anew with every
second request: what outcomes say about each provider, what users say, what its answers look like, whether it is out.
Above it stays what happened: a verdict, a quarantine, its end. Without a terminal the table is written now and then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from quiesce.engine.cli_show import Screen

BAR = 9
"""Characters of a bar; with them the table fits a terminal of 80."""
RECENT = 30
WRITTEN_EVERY = 60
"""Requests between two tables where there is no terminal."""
STYLES = {"none": "dim", "mild": "yellow", "severe": "red"}


@dataclass
class Standing:
    """What is known about one provider at the moment."""

    mean: float = 0.5
    """How probable an answer is by now; severe drift sets that back."""
    observations: int = 0
    """How often it was asked, from the beginning."""
    quality: float | None = None
    """The mean of its reputation; None: nobody has judged enough of its answers."""
    severity: str = "none"
    out: str = ""
    """Until when it is out, and who tries it meanwhile; empty: it is in."""


@dataclass
class Board:
    """The view: a context that draws, `show` for each request and `tell` for what happened."""

    screen: Screen
    names: Sequence[str]
    total: int
    done: int = 0
    standings: Mapping[str, Standing] = field(default_factory=dict)
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=RECENT))

    def __post_init__(self) -> None:
        self._live = Live(
            console=self.screen, get_renderable=self._drawn, auto_refresh=False, transient=True
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
            self.screen.print(self._table())

    def show(self, number: int, asked: str | None, standings: Mapping[str, Standing]) -> None:
        """Takes in how things stand after a request."""
        self.done, self.standings = number, standings
        if asked is not None:
            self.recent.append(asked)
        if self.screen.is_terminal:
            self._live.update(self._drawn(), refresh=number % 2 == 0 or number == self.total)
        elif number % WRITTEN_EVERY == 0 or number == self.total:
            self.screen.row((f"after {number} requests", "bold"))
            self.screen.print(self._table())

    def tell(self, events: Iterable[Sequence[str | tuple[str, str]]]) -> None:
        """Writes what happened, above the table."""
        for parts in events:
            self.screen.row(*parts)

    def _drawn(self) -> RenderableType:
        return Group(self._table(), self._progress())

    def _progress(self) -> Table:
        line = Table.grid(padding=(0, 1))
        line.add_row(
            Text("requests", "dim"), ProgressBar(self.total, self.done, width=40), Text(f"{self.done}/{self.total}")
        )  # fmt: skip
        return line

    def _table(self) -> Table:
        table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
        for name in ("provider", "answers", "", "asked", "pleases", f"last {RECENT}", "drift", "state"):
            table.add_column(name, no_wrap=True)
        for name in self.names:
            table.add_row(*self._row(name, self.standings.get(name, Standing())))
        return table

    def _row(self, name: str, one: Standing) -> list[Text]:
        share = self.recent.count(name) / max(len(self.recent), 1)
        return [
            Text(name, "bold"), bar(one.mean, "cyan"), Text(f"{one.mean:.0%}"), Text(f"{one.observations:,}"),
            Text("–" if one.quality is None else f"{one.quality:.0%}"), bar(share, "magenta"),
            Text(one.severity, STYLES[one.severity]), Text(f"out {one.out}", "red") if one.out else Text("in", "green"),
        ]  # fmt: skip


def bar(share: float, style: str) -> Text:
    """Returns a share as a bar."""
    full = round(share * BAR)
    return Text("━" * full, style) + Text("─" * (BAR - full), "dim")
