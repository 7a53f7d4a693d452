"""Does the same works with other libraries, where they are installed; quotes the figures of one that is no library.

Each work is done in a process of its own (`python peers.py chain "LangGraph, sync"`: a size in, a figure out), so that
what a peer keeps in memory does not slow down the kernel, nor the other way round.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from contextlib import AsyncExitStack

import anyio
import peers_durable
import peers_graphs
import peers_rules
import shape
from measure import Case, NotMeasured, Sample
from peer import Peer

WORKS: dict[str, dict[str, Peer]] = {
    "chain": peers_graphs.CHAIN,
    "fan": peers_graphs.FAN,
    "lanes": peers_graphs.LANES,
    "map": peers_rules.MAP,
    "closure": peers_rules.CLOSURE,
    "known": peers_rules.KNOWN,
    "durable": peers_durable.CHAIN,
    "bytes": peers_durable.BYTES,
    "replay": peers_durable.HISTORY,
}

QUOTED = {
    "chain": ("Converge 3.9.3 (Rust), sync", {20: 0.09, 100: 0.66, 200: 2.0}),
    "fan": ("Converge 3.9.3 (Rust), one after the other", {100: 0.32}),
    "map": ("Converge 3.9.3 (Rust)", {10_000: 359.0}),
}
"""Measured once, on a machine of the same size, from a release build; it cannot be measured here."""


def cases(section: str, until: AsyncExitStack) -> list[Case]:
    """Returns the peers of a section; their processes live until the stack is left."""
    found = [case for name, peer in WORKS.get(section, {}).items() for case in _start(section, name, peer, until)]
    name, figures = QUOTED.get(section, ("", {}))
    return found + [Case(name, quoted=figure, size=size, kind="peer") for size, figure in figures.items()]


def _start(section: str, name: str, peer: Peer, until: AsyncExitStack) -> list[Case]:
    most = (peer.quick_up_to if shape.is_quick else None) or peer.up_to
    sizes = [size for size in sizes_of(section) if most is None or size <= most]
    command = [sys.executable, __file__, section, name, *(["--quick"] if shape.is_quick else [])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until.enter_context(process)
    if process.stdin is None or process.stdout is None:
        raise AssertionError("asked for pipes")
    said = process.stdout.readline().strip()
    if said != "ready":
        return [Case(name, missing=said or "did not start", kind="peer")]
    asked, answered = process.stdin, process.stdout

    def sample_of(size: int) -> Sample:
        async def sample() -> float:
            if section == "durable":
                os.sync()  # what others have written is on the disk: nobody pays for them
            asked.write(f"{size}\n")
            asked.flush()
            answer = answered.readline().strip()
            try:
                return float(answer)
            except ValueError:
                raise NotMeasured(answer or "ended before it answered") from None

        return sample

    return [
        Case(
            name, sample_of(size), peer.unit, peer.target, peer.against, size=size, kind="peer", once=peer.once,
        )
        for size in sizes
    ]  # fmt: skip


def sizes_of(section: str) -> tuple[int, ...]:
    """Returns the sizes that a section is measured at."""
    return {
        "chain": shape.STAGES,
        "fan": shape.WIDTHS,
        "lanes": shape.LANES,
        "map": shape.SEEDS,
        "closure": shape.EDGES,
        "known": shape.KNOWN,
        "durable": shape.STAGES,
        "bytes": shape.STAGES,
        "replay": shape.LOGGED,
    }[section]


async def serve(section: str, name: str) -> None:
    """Does the work once for each size that comes in."""
    peer = WORKS[section][name]
    known: dict[int, Sample] = {}
    print("ready" if _is_there(peer) else "not installed", flush=True)
    for line in sys.stdin:
        size = int(line)
        try:
            if size not in known:
                known[size] = peer.make(size)
            print(await known[size](), flush=True)
        except Exception as problem:  # noqa: BLE001  whatever it is: it stands in the table, and the others go on
            print(f"failed: {type(problem).__name__}: {problem}".replace("\n", " ")[:120], flush=True)


def _is_there(peer: Peer) -> bool:
    """Prepares the smallest work there is."""
    try:
        peer.make(2)
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of libraries that are not ours
    if "--quick" in sys.argv:
        shape.shrink()
    anyio.run(serve, sys.argv[1], sys.argv[2])
