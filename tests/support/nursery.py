"""Forks child processes from one warm process without threads, so that a test can have hundreds of them killed.

```python
nursery = Nursery("support.crashing")                      # is imported there, and its `warm()` called, once
child = nursery.call(live, "log.db", "full")               # live(say, "log.db", "full") in a process of its own
child.said, child.killed, child.error
```
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Say = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Child:
    """How a child process ended."""

    said: Sequence[Any]
    """What it told, in order; all of it, also if it was killed."""
    killed: bool
    error: str
    """What it raised, or how else it failed."""

    def unwrap(self) -> Sequence[Any]:
        """Returns what it told, if it came to its end."""
        assert not self.error, self.error
        assert not self.killed
        return self.said


class Nursery:
    """A process that forks others. `call` waits for one to end."""

    def __init__(self, *modules: str) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "support.nursery", *modules],
            cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        atexit.register(self.close)

    def call(self, work: Callable[..., object], *args: Any, kill_at: tuple[int, float] | None = None) -> Child:
        """Calls `work(say, *args)` in a process of its own.

        With `kill_at` it is killed once it has told so many things, and so many seconds have passed since.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        _send(self._server.stdin.fileno(), (work.__module__, work.__qualname__, args, kill_at))
        said, code, error = _receive(self._server.stdout.fileno())
        if code not in (0, -signal.SIGKILL) and not error:
            error = f"it ended with code {code}"
        return Child(said, code == -signal.SIGKILL, error)

    def close(self) -> None:
        """Ends it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(30)
        self._server.stdout.close()


def _send(file: int, value: Any) -> None:
    raw = pickle.dumps(value)
    data = struct.pack("!I", len(raw)) + raw
    while data:
        data = data[_write(file, data) :]


def _receive(file: int) -> Any:
    (length,) = struct.unpack("!I", _read(file, 4))
    return pickle.loads(_read(file, length))


def _read(file: int, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = os.read(file, length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


_write = os.write  # by a name of its own: nobody who watches `os.write` sees it


def _serve() -> None:
    orders, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    while True:
        try:
            order = _receive(orders)
        except EOFError:
            return
        _send(answers, _raise(orders, answers, *order))


def _raise(
    orders: int, answers: int, module: str, name: str, args: Sequence[Any], kill_at: tuple[int, float] | None
) -> tuple[list[Any], int, str]:  # fmt: skip
    """Returns what a child said, how it ended, and what it raised."""
    hear, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        for one in (hear, orders, answers):
            os.close(one)
        _live(tell, module, name, args)
    os.close(tell)
    said: list[Any] = []
    error = ""
    while True:
        if kill_at is not None and len(said) >= kill_at[0]:
            time.sleep(kill_at[1])
            os.kill(pid, signal.SIGKILL)
            kill_at = None
        try:
            kind, value = _receive(hear)
        except EOFError:
            break
        if kind == "said":
            said.append(value)
        else:
            error = value
    os.close(hear)
    return said, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), error


def _live(tell: int, module: str, name: str, args: Sequence[Any]) -> None:
    code = 1
    try:
        getattr(importlib.import_module(module), name)(lambda value: _send(tell, ("said", value)), *args)
        code = 0
    except BaseException:  # noqa: BLE001  the test raises it
        _send(tell, ("error", traceback.format_exc()))
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.modules["support.nursery"] = sys.modules["__main__"]
    for _name in sys.argv[1:]:
        importlib.import_module(_name).warm()
    gc.freeze()
    _serve()
