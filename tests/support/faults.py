"""Makes the Nth call to the system fail, or kills the process there: before it, in the midst of it, or after it.

```python
with python_calls(Fault("write", 3, "ENOSPC")) as calls:      # os.write, os.fsync, os.replace, …
    work()
assert calls.hit                                              # else the work makes fewer calls of that name
with sqlite_calls() as calls:                                 # the calls that SQLite makes; no fault: a dry run
    work()
calls.counts["pwrite"]
ended = in_child(work, "some", "arguments", fault=Fault("pwrite", 3, "kill-torn"), watch=sqlite_calls)
ended.said                                                    # what `work` told before it was killed
```

SQLite's calls are met where it makes them: it lets its table of system calls be changed. `sync` is not in that table
and is met one step above, as SQLite's own wish to sync a file; `failing_fsync` makes the kernel itself refuse.
"""

from __future__ import annotations

import ctypes
import errno
import multiprocessing
import os
import platform
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Literal

How = Literal["ENOSPC", "EIO", "kill-before", "kill-torn", "kill-after"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at one call."""

    call: str
    """"open", "write", "pwrite", "ftruncate", "unlink", "replace", "sync", …: those that a dry run counts."""
    nth: int
    """Which of them, from 1."""
    how: How
    """"kill-torn": half of the bytes are written; where there are none to write, it is "kill-before"."""
    lasting: bool = False
    """Every later call of that name fails too, as on a disk that stays full."""


@dataclass(slots=True)
class Calls:
    """What was called while somebody watched."""

    fault: Fault | None = None
    counts: Counter[str] = field(default_factory=Counter)
    hit: bool = False
    """The fault has happened."""
    before: Callable[[str, Callable[[], Any] | None], None] | None = None
    """Is told of every call before it is made, with what would make half of it, where it writes."""

    def meet(
        self, name: str, call: Callable[[], Any], half: Callable[[], Any] | None, fail: Callable[[int], Any]
    ) -> Any:
        """Makes a call, or lets happen in its place what is to happen."""
        self.counts[name] += 1
        if self.before is not None:
            self.before(name, half)
        fault = self.fault
        if fault is None or fault.call != name:
            return call()
        nth = self.counts[name]
        if nth != fault.nth and not (fault.lasting and nth > fault.nth):
            return call()
        self.hit = True
        try:
            if fault.how == "kill-after":
                call()  # may fail, as the opening of a new file that is there already
            elif fault.how == "kill-torn" and half is not None:
                half()
        finally:
            if fault.how.startswith("kill"):
                os.kill(os.getpid(), signal.SIGKILL)
        return fail(getattr(errno, fault.how))


Watch = Callable[[Fault | None], AbstractContextManager[Calls]]


# --- calls of Python ------------------------------------------------------------------------------------------------

PYTHON_CALLS = (
    "open", "write", "pwrite", "writev", "fsync", "fdatasync", "ftruncate", "truncate", "replace", "rename", "link",
    "unlink", "remove", "mkdir", "fchmod", "posix_fallocate",
)  # fmt: skip


@contextmanager
def python_calls(fault: Fault | None = None) -> Iterator[Calls]:
    """Watches the functions of `os` that change files; what calls them by another name is not seen."""
    calls = Calls(fault)
    kept = {name: getattr(os, name) for name in PYTHON_CALLS if hasattr(os, name)}

    def watched(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            half = None
            if name in {"write", "pwrite"}:
                half = lambda: original(args[0], args[1][: len(args[1]) // 2], *args[2:])  # noqa: E731

            def fail(code: int) -> Any:
                raise OSError(code, os.strerror(code))

            return calls.meet(name, lambda: original(*args, **named), half, fail)

        return call

    try:
        for name, original in kept.items():
            setattr(os, name, watched(name, original))
        yield calls
    finally:
        for name, original in kept.items():
            setattr(os, name, original)


# --- calls of SQLite ------------------------------------------------------------------------------------------------

_INT, _LONG, _POINTER, _TEXT = ctypes.c_int, ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_char_p
_SHAPES: dict[str, tuple[Any, ...]] = {
    "open": (_INT, _POINTER, _INT, _INT),
    "write": (_LONG, _INT, _POINTER, ctypes.c_size_t),
    "pwrite": (_LONG, _INT, _POINTER, ctypes.c_size_t, ctypes.c_int64),
    "read": (_LONG, _INT, _POINTER, ctypes.c_size_t),
    "pread": (_LONG, _INT, _POINTER, ctypes.c_size_t, ctypes.c_int64),
    "ftruncate": (_INT, _INT, ctypes.c_int64),
    "fallocate": (_INT, _INT, ctypes.c_int64, ctypes.c_int64),
    "fchmod": (_INT, _INT, _INT),
    "unlink": (_INT, _POINTER),
    "openDirectory": (_INT, _POINTER, _POINTER),
    "mmap": (_POINTER, _POINTER, ctypes.c_size_t, _INT, _INT, _INT, ctypes.c_int64),
}  # fmt: skip
"""What each system call of SQLite gives back and takes; names that end in 64 are the same calls.

Texts are handed on as the pointers that they are: SQLite keeps some of them.
"""
_SQLITE_IOERR_FSYNC = 10 | 4 << 8


class _Vfs(ctypes.Structure):
    """SQLite's `sqlite3_vfs`, as far as it is needed."""

    _fields_ = (
        ("version", _INT), ("file_size", _INT), ("path_size", _INT), ("next", _POINTER), ("name", _TEXT),
        ("data", _POINTER), ("open", _POINTER), ("others", _POINTER * 12),
        ("set_call", ctypes.CFUNCTYPE(_INT, _POINTER, _TEXT, _POINTER)),
        ("get_call", ctypes.CFUNCTYPE(_POINTER, _POINTER, _TEXT)),
    )  # fmt: skip


_Open = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _POINTER, _INT, _POINTER, use_errno=True)
_Sync = ctypes.CFUNCTYPE(_INT, _POINTER, _INT, use_errno=True)
_METHODS, _SYNC = 19, 5  # `sqlite3_io_methods`: so many words, and which of them says how to sync
_forever: list[Any] = []  # what SQLite may still point to when nobody watches any more


@contextmanager
def sqlite_calls(fault: Fault | None = None) -> Iterator[Calls]:
    """Watches the system calls of the SQLite that `sqlite3` uses, on files that are opened meanwhile."""
    import _sqlite3

    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = _POINTER
    address = library.sqlite3_vfs_find(None)
    vfs = _Vfs.from_address(address)
    calls = Calls(fault)
    for shaped, shape in _SHAPES.items():
        for name in (shaped, f"{shaped}64"):
            original = vfs.get_call(address, name.encode())
            if original:
                watched = _watched_call(calls, shaped, ctypes.CFUNCTYPE(*shape, use_errno=True), original)
                _forever.append(watched)
                vfs.set_call(address, name.encode(), ctypes.cast(watched, _POINTER))
    opened = vfs.open
    watched_open = _watched_open(calls, _Open(opened))
    _forever.append(watched_open)
    vfs.open = ctypes.cast(watched_open, _POINTER)
    try:
        yield calls
    finally:
        calls.fault = None
        vfs.open = opened
        vfs.set_call(address, None, None)  # all as they were


def _watched_call(calls: Calls, name: str, shape: Any, original: int) -> Any:
    function = shape(original)

    def call(*args: Any) -> Any:
        def half() -> Any:
            return function(*args[:2], args[2] // 2, *args[3:])

        def fail(code: int) -> int:
            ctypes.set_errno(code)
            return ctypes.c_size_t(-1).value if name == "mmap" else -1

        done = calls.meet(name, lambda: function(*args), half if name in {"write", "pwrite"} else None, fail)
        return done or 0

    return shape(call)


def _watched_open(calls: Calls, original: Any) -> Any:
    """Returns what opens a file and has it tell when it is to be synced."""

    def watched_sync(sync: Any) -> Any:
        return _Sync(
            lambda file, flags: calls.meet("sync", lambda: sync(file, flags), None, lambda _: _SQLITE_IOERR_FSYNC)
        )

    def call(vfs: int, name: int, file: int, flags: int, out: int) -> int:
        done: int = original(vfs, name, file, flags, out)
        pointer = ctypes.c_void_p.from_address(file)
        if pointer.value:
            methods = (_POINTER * _METHODS)()
            ctypes.memmove(methods, pointer.value, ctypes.sizeof(methods))
            sync = watched_sync(_Sync(methods[_SYNC] or 0))
            methods[_SYNC] = ctypes.cast(sync, _POINTER).value
            _forever.append((methods, sync))
            pointer.value = ctypes.addressof(methods)
        return done

    return _Open(call)


# --- the kernel itself ----------------------------------------------------------------------------------------------


def failing_fsync(work: Callable[[], object]) -> None:
    """Does some work in a thread in which the kernel answers EIO whenever a file is to be synced."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            _refuse_sync()
            work()
        except BaseException as error:  # noqa: BLE001  raised below, where there is somebody to see it
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for error in failed:
        raise error


def _refuse_sync() -> None:
    """Lets fsync and fdatasync fail in this thread from now on: there is no way back."""
    numbers = {"x86_64": (74, 75), "aarch64": (82, 83)}[platform.machine()]
    load, jump, end = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | errno.EIO
    steps = [
        (load, 0, 0, 0),
        (jump, 2, 0, numbers[0]),
        (jump, 1, 0, numbers[1]),
        (end, 0, 0, allow),
        (end, 0, 0, refuse),
    ]

    class Step(ctypes.Structure):
        _fields_ = (
            ("code", ctypes.c_uint16),
            ("then", ctypes.c_uint8),
            ("else_", ctypes.c_uint8),
            ("k", ctypes.c_uint32),
        )

    class Program(ctypes.Structure):
        _fields_ = (("count", ctypes.c_ushort), ("steps", ctypes.POINTER(Step)))

    program = Program(len(steps), (Step * len(steps))(*(Step(*step) for step in steps)))
    control = ctypes.CDLL(None, use_errno=True).prctl
    set_no_new_privileges, set_seccomp, filtering = 38, 22, 2
    for args in ((set_no_new_privileges, 1, 0, 0, 0), (set_seccomp, filtering, ctypes.byref(program), 0, 0)):
        if control(*args) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"this kernel takes no filter of system calls: {os.strerror(code)}")


# --- processes ------------------------------------------------------------------------------------------------------

Say = Callable[[Any], None]


@dataclass(slots=True)
class Ended:
    """How a child process ended."""

    said: list[Any] = field(default_factory=list)
    """What it told, in order; all of it, also if it was killed."""
    killed: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    """The calls that it made, if it came to its end."""
    error: str = ""
    """What it raised."""


def in_child(
    work: Callable[..., object], *args: Any, fault: Fault | None = None, watch: Watch | None = None
) -> Ended:  # fmt: skip
    """Calls `work(say, *args)` in a process of its own and waits for its end; `work` must be importable by its name."""
    return start_child(work, *args, fault=fault, watch=watch).wait()


@dataclass(slots=True)
class Child:
    """A process that is under way."""

    process: Any
    told: Connection
    ended: Ended = field(default_factory=Ended)

    def hear(self) -> Any:
        """Returns the next thing that it tells; raises EOFError if it ends before."""
        kind, value = self.told.recv()
        if kind == "said":
            self.ended.said.append(value)
            return value
        self._take(kind, value)
        raise EOFError(self.ended.error)

    def kill(self) -> None:
        """Kills it on the spot."""
        os.kill(self.process.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        """Returns how it ended."""
        try:
            while True:
                self.hear()
        except EOFError:
            pass
        self.process.join()
        self.told.close()
        self.ended.killed = self.process.exitcode == -signal.SIGKILL
        if self.process.exitcode not in (0, -signal.SIGKILL) and not self.ended.error:
            self.ended.error = f"it ended with code {self.process.exitcode}"
        self.process.close()
        return self.ended

    def _take(self, kind: str, value: Any) -> None:
        if kind == "counts":
            self.ended.counts = value
        else:
            self.ended.error = value


def start_child(
    work: Callable[..., object],
    *args: Any,
    fault: Fault | None = None,
    watch: Watch | None = None,
    preload: Sequence[str] = ("quiesce.facts", "quiesce.facts.stores.sqlite", "support.faults"),
) -> Child:
    """Starts `work(say, *args)` in a process of its own, forked from one that has loaded the library and no more."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preload])
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(tell, work, args, fault, watch), daemon=True)
    process.start()
    tell.close()
    return Child(process, told)


def _run(tell: Connection, work: Callable[..., object], args: Any, fault: Fault | None, watch: Watch | None) -> None:
    def say(value: Any) -> None:
        tell.send(("said", value))

    try:
        if watch is None:
            work(say, *args)
            return
        with watch(fault) as calls:
            work(say, *args)
        tell.send(("counts", calls.counts))
    except BaseException:  # noqa: BLE001  the parent raises it
        tell.send(("error", traceback.format_exc()))
