"""Starts processes that write to a store, so that a test can let them race or kill them.

A process finds the test class by its file and name, and opens the store as the class does. What it has done it says on
a line of its standard output, right after `commit` returned.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..errors import StoreError
from ..fact import RunId
from ..stores import Address, Batch, Put, Store
from .samples import RUN, address_of, new_stamp, record_of

OTHER = RunId("other")
COUNTER = address_of("counter")
PROGRAM = "from quiesce.facts.testing.writers import main; main()"


class Writer:
    """A process that writes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def _out(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def wait_until_ready(self) -> None:
        """Returns when it has opened the store."""
        assert "ready\n" == self._out.readline(), "the other process could not open the store; it says why above"

    def go(self) -> None:
        """Lets it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def said(self) -> Iterator[int]:
        """Yields the numbers of what was acknowledged, as it comes, until the process ends."""
        for line in self._out:
            if line.endswith("\n"):  # else it was killed while it wrote this
                yield int(line)

    def kill(self) -> None:
        """Ends it where it stands: SIGKILL."""
        self._process.kill()


@contextmanager
def writers(contract: object, place: Path, *tasks: Sequence[object]) -> Iterator[list[Writer]]:
    """Gives processes that have opened the store of a contract, one for each task; ends them afterwards.

    The class of the contract has to stand at the top of a file that can be imported by itself.
    """
    cls = type(contract)
    file = inspect.getfile(cls)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    processes: list[subprocess.Popen[str]] = []
    try:
        for task in tasks:
            told = json.dumps([file, cls.__qualname__, str(place), *task])
            command = [sys.executable, "-c", PROGRAM, told]
            pipe = subprocess.PIPE
            processes.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment))
        found = list(map(Writer, processes))
        for writer in found:
            writer.wait_until_ready()
        yield found
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def race(store: Store, name: str, total: int, say: Callable[[int], None]) -> None:
    """Appends to one run until it has so many events, each with a note that counts them, against whoever else does."""
    while (seq := store.length(RUN)) < total:
        note = store.note(COUNTER)
        batch = Batch.of(RUN, seq, [record_of(RUN, seq, name)])
        batch.expects = {COUNTER: None if note is None else note.stamp}
        counted = 0 if note is None else int(note.value)
        batch.puts = {COUNTER: Put(b"%d" % (counted + 1), new_stamp())}
        try:
            store.commit(batch)
        except StoreError:  # the other was first, or holds the store
            continue
        say(seq)


def keep_on(store: Store, say: Callable[[int], None]) -> None:
    """Appends to two runs at once, with a note that counts, until it is killed."""
    seq = store.length(RUN)
    while True:
        store.commit(batch_of(seq))
        say(seq)
        seq += 1


def batch_of(seq: int) -> Batch:
    """Returns what `keep_on` commits: one event for each of two runs, with payloads, and two notes."""
    text = f"{seq} " * 200
    return Batch(
        ends={RUN: seq, OTHER: seq},
        records={run: [record_of(run, seq, str(seq), [text])] for run in (RUN, OTHER)},
        puts={COUNTER: Put(b"%d" % (seq + 1), seq + 1), Address("memo", OTHER, str(seq)): Put(text.encode(), seq + 1)},
    )


def main() -> None:
    """Does a task in a process of its own."""
    file, name, place, task, *more = json.loads(sys.argv[1])
    contract: Any = _load(file)
    for part in name.split("."):
        contract = getattr(contract, part)
    store: Store = contract().open(Path(place))
    say: Callable[[object], None] = lambda said: _say(f"{said}\n")  # noqa: E731
    say("ready")
    sys.stdin.readline()
    if task == "race":
        name, total = more
        race(store, name, total, say)
        store.close()
    else:
        keep_on(store, say)


def _load(file: str) -> object:
    spec = importlib.util.spec_from_file_location("contract_of_a_store", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _say(text: str) -> None:
    os.write(1, text.encode())  # at once, in one piece
