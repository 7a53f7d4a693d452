"""Settles three orders before your eyes, then replays the run from its log.

    .venv/bin/python examples/settle_orders.py

The payloads, the suggestors and the engine are in orders.py. Here is how a program runs them, looks into what came out,
and goes back to it. Nothing needs the network: short sleeps play the services.
"""

import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from orders import calls, engine, every_order_has_a_plan, orders

from quiesce.engine import Result, describe
from quiesce.engine.cli_json import in_order
from quiesce.engine.cli_live import LiveView
from quiesce.engine.cli_load import tell_interrupted
from quiesce.engine.cli_show import Screen, show_facts, show_goals, show_verification, show_why, shown, stop_style
from quiesce.facts import FactLog, replay, verify

HERE = Path(__file__).resolve().parent
RUN = "orders"
STARTED = datetime(2026, 1, 1, 9, tzinfo=UTC)  # with the id and the seed: every run leaves the same log, byte for byte


def main(screen: Screen) -> int:
    """Returns the exit code."""
    path = new_log()
    again = command(path)
    with FactLog.open(path) as log:
        title(screen, "Settling three orders")
        try:
            result = settle(screen, log)
        except KeyboardInterrupt:
            screen.whole((tell_interrupted(log, RUN, again), "yellow"))
            return 130

    title(screen, "What is known now")
    show_facts(screen, in_order(result.context), rows=0)
    show_goals(screen, result.goals)
    screen.whole("run ", (RUN, "bold"), "  ", (describe(result.stop), stop_style(result.stop)))

    title(screen, "Why order o3 goes by post")
    show_why(screen, result.why("plan:o3"))

    title(screen, "Replayed from the log alone")
    screen.whole(("$ ", "dim"), again)
    return 0 if look_back(screen, result, path) else 1


def settle(screen: Screen, log: FactLog) -> Result:
    """Runs the engine; the live view is one of its observers."""
    with LiveView(screen) as view:
        return engine.run_sync(
            orders(), log=log, run_id=RUN, seed=1, started=STARTED, goals=[every_order_has_a_plan], observers=[view]
        )


def look_back(screen: Screen, settled: Result, path: Path) -> bool:
    """Opens the log as another process would, replays and verifies the run, and tells whether all is as it was."""
    asked = calls.total()
    with FactLog.open(path) as log:
        for cycle in range(settled.cycles + 1):
            then = replay(log, RUN, at=cycle)
            plan = then.find("plan:o2")
            about = shown(plan.payload) if plan else "not there yet"
            screen.row(f"at={cycle}  ", (f"{len(then):2} facts  ", "dim"), ("plan:o2  ", "bold"), about)
        equal = replay(log, RUN) == settled.context
        found = verify(log, RUN)
    verdict = ("equal", "green") if equal else ("different", "red")
    screen.row(verdict, "  the context replayed and the context settled")
    screen.row(("asked", "green"), f"  services {asked} times to settle, {calls.total() - asked} times to replay")
    show_verification(screen, found, str(path))
    return equal and found.ok


def title(screen: Screen, text: str) -> None:
    """Writes a heading."""
    screen.row()
    screen.row((text, "bold underline"))


def new_log() -> Path:
    """Returns where the log goes, without what an earlier run left there."""
    path = near(HERE.parent / "build" / "orders.jsonl")
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    return path


def command(path: Path) -> str:
    """Returns the command that replays the run, to be pasted into this shell."""
    tool = Path(sys.executable).with_name("quiesce")
    words = [near(tool) if tool.exists() else "quiesce", "replay", RUN, "--log", path]
    return shlex.join(map(str, words))


def near(path: Path) -> Path:
    """Returns a path as seen from here, where that is shorter."""
    return min(Path(os.path.relpath(path)), path, key=lambda way: len(str(way)))


if __name__ == "__main__":
    try:
        sys.exit(main(Screen()))
    except BrokenPipeError:  # whoever read this stopped reading: `make run | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
