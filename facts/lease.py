"""Lets one process at a time write to a run: leases that expire, are renewed while their run goes on, and are fenced.

A lease is a note beside the run. Its stamp is checked inside the transaction of every append, so a writer whose run
was taken over writes nothing, however late it wakes up. Its time is only a courtesy to others: until then they leave
the run alone.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from .errors import StoreError
from .fact import RunId
from .seal import unseal
from .stores import Address, Fenced

if TYPE_CHECKING:
    from .holding import Leases

SECONDS = 30.0
"""How long a lease holds without being renewed; the default of `FactLog.open`."""
BUSY = 0.1
"""After how many seconds a log that was busy is asked again."""
SPACE = "lease"


class Leased(StoreError):
    """Another process is writing to a run."""

    def __init__(self, run: str, holder: str, left: float) -> None:
        self.run, self.holder, self.left = run, holder, left
        super().__init__(
            f"run {run} is being written by {holder}, whose lease holds for another {max(0.0, left):.0f} s. "
            f"Nothing was changed. Wait until it has ended; if it hangs, end it: then its run can be taken over"
        )


class TakenOver(Fenced):
    """Another process took a run over while this one stood still."""

    def __init__(self, run: str, epoch: int, holder: str) -> None:
        self.run, self.epoch, self.holder = run, epoch, holder
        StoreError.__init__(
            self,
            f"run {run}: {holder} while this process, which held it in epoch {epoch}, stood still. "
            f"Nothing was written. The log has the run as the other process left it",
        )


@dataclass(slots=True, eq=False)
class Lease:
    """The right to write to one run, held by this process."""

    run: RunId
    epoch: int
    """How many have held the run, this one included."""
    stamp: int
    seconds: float
    token: str
    """Which log object of this process holds it."""
    before: int | None = None
    """The stamp of the lease in whose place it comes; None if there is none."""
    written: bool = False
    """It stands in the store; a new run's lease is written with its first events."""
    renewed: float = field(default_factory=monotonic)

    @property
    def address(self) -> Address:
        return address_of(self.run)

    def was_renewed(self) -> None:
        """Notes that it was renewed just now."""
        self.renewed = monotonic()

    def is_due(self) -> bool:
        """Tells whether it is to be renewed."""
        return monotonic() - self.renewed > self.seconds / 3

    def to_bytes(self, now: float, *, over: bool = False) -> bytes:
        """Returns the note that says who holds the run until when; or, if it is over, that nobody does."""
        until = 0.0 if over else now + self.seconds
        value = {"epoch": self.epoch, "until": until, "log": self.token, **_myself()}
        return json.dumps(value, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a run, as its lease says."""

    epoch: int
    until: float
    where: str
    log: str
    process: tuple[str, str, int, str]

    @classmethod
    def read(cls, run: str, raw: bytes) -> Self:
        """Returns what a lease says.

        Raises:
            StoreError: it cannot be read.
        """
        try:
            data: dict[str, Any] = json.loads(raw)
            process = (str(data["machine"]), str(data["space"]), int(data["pid"]), str(data["begun"]))
            return cls(int(data["epoch"]), float(data["until"]), _describe(data), str(data["log"]), process)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise StoreError(f"run {run}: its lease cannot be read: {error!r}") from error

    def is_over(self, now: float, run: RunId) -> bool:
        """Tells whether the run may be taken over: the time is up, or who held it is certainly no more."""
        return self.until <= now or self._is_dead(run)

    def _is_dead(self, run: RunId) -> bool:
        me = _myself()
        machine, space, pid, begun = self.process
        if (machine, space) != (me["machine"], me["space"]) or not machine:
            return False  # elsewhere: only time can tell
        if (pid, begun) == (me["pid"], me["begun"]):
            return not any(held.token == self.log and run in held.by_run for held in _all_held())
        return _begun(pid) != begun


def read_holder(run: RunId, value: bytes) -> Holder | None:
    """Returns who holds a run, from its lease as a store has it; None, and a warning, if the lease is damaged.

    Such a run may be taken over: whoever holds it is fenced by the stamp, which is no part of what is damaged.
    """
    try:
        return Holder.read(run, unseal(address_of(run), value))
    except StoreError as error:
        logging.getLogger("quiesce").warning("the lease of run %s counts as over: %s", run, error)
        return None


def address_of(run: RunId) -> Address:
    """Returns where the lease of a run stands."""
    return Address(SPACE, run, "")


def unowned() -> bytes:
    """Returns the lease of an unfinished run that nobody is writing to."""
    value = {"epoch": 0, "until": 0.0, "log": "", "host": "", "machine": "", "space": "", "pid": 0, "begun": ""}
    return json.dumps(value, separators=(",", ":")).encode()


_stamps = count(secrets.randbits(62))
"""Begun anew in each process, so far from those of all others that they never meet."""


def stamp() -> int:
    """Returns a number that no other change of a note has."""
    return next(_stamps)


def describe_myself() -> str:
    """Returns which process this is, in words."""
    return _describe(_myself())


def _describe(process: Mapping[str, Any]) -> str:
    return f"process {process['pid']} on {process['host']}" if process["pid"] else "nobody"


def _myself() -> dict[str, Any]:
    pid = os.getpid()
    return {**_machine(), "pid": pid, "begun": _begun(pid)}


@cache
def _machine() -> dict[str, str]:
    """Returns what tells this machine since it was last started, and this space of process numbers, from all others."""
    machine = space = ""
    with suppress(OSError):
        machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    return {"host": socket.gethostname(), "machine": machine, "space": space}


def _begun(pid: int) -> str:
    """Returns when a process began, in ticks since the machine did; empty if there is none, or a zombie of one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = stat[stat.rindex(")") + 2 :].split()
    return "" if state in "ZX" else rest[18]


# --- renewing -----------------------------------------------------------------------------------------------------

_held: WeakSet[Leases] = WeakSet()
"""The leases of every log of this process."""
_changing = threading.Lock()
"""Held while it is added to or gone through."""
_wake = threading.Event()
_renewing = threading.Lock()
"""Held while leases are renewed, and while this process forks: no child inherits a log that its thread had locked."""
_thread: threading.Thread | None = None


def watch(held: Leases) -> None:
    """Sees to it that a log's leases are renewed until it has none."""
    global _thread  # noqa: PLW0603  one thread for all logs of a process
    with _changing:
        _held.add(held)
    if _thread is None or not _thread.is_alive():
        _thread = threading.Thread(target=_renew_all, name="quiesce-leases", daemon=True)
        _thread.start()
    if held.seconds < SECONDS:
        _wake.set()


def tell_not_renewed(lease: Lease, error: Exception) -> None:
    """Notes that a lease could not be renewed or given back; whoever writes to its run next is told by an error."""
    logging.getLogger("quiesce").warning("lease of run %s not written: %s", lease.run, error)


def _renew_all() -> None:
    while True:
        with _renewing:
            pause = min([SECONDS / 3, *map(_renew, _all_held())])
        _wake.wait(pause)
        _wake.clear()


def _all_held() -> list[Leases]:
    with _changing:
        return list(_held)


def _renew(held: Leases) -> float:
    """Renews the leases of a log, in a function of its own so that the thread does not keep the log alive."""
    try:
        if held.lock.acquire(blocking=False):  # a log that is busy for long must not keep others waiting
            try:
                held.renew()
            finally:
                held.lock.release()
            return held.seconds / 3
    except Exception:  # the thread of all logs lives on, whatever the store of one raises
        logging.getLogger("quiesce").exception("leases not renewed")
    return min(BUSY, held.seconds / 3)


def _forget() -> None:
    """Leaves what a child process inherits to the process that it comes from: its thread, and its leases."""
    global _thread, _wake, _held, _changing, _stamps  # noqa: PLW0603  a child has none of what its parent had
    _thread, _wake, _held, _changing = None, threading.Event(), WeakSet(), threading.Lock()
    _stamps = count(secrets.randbits(62))
    _renewing.release()


os.register_at_fork(before=_renewing.acquire, after_in_parent=_renewing.release, after_in_child=_forget)
