"""Names trajectories: UUIDs that are ordered by time and survive restarts, and short ids for people.

The layout is that of version 7 of RFC 9562: 48 bits of milliseconds, 12 bits that count within a millisecond, 62 bits
of chance. So two processes, or one before and after a restart, do not meet.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from uuid import UUID

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # without those that people mix up


class Uuids:
    """Gives out UUIDs, each greater than all before it, whatever the clock does; several threads may ask.

    ```python
    from quiesce.suggestors.trajectories.identity import Uuids

    uuids = Uuids()
    uuids.next() < uuids.next()                                       # True
    ```
    """

    def __init__(
        self, milliseconds: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        chance: Callable[[int], int] = secrets.randbits,
    ) -> None:  # fmt: skip
        self._milliseconds, self._chance = milliseconds, chance
        self._lock = threading.Lock()
        self._last = (-1, 0)

    def next(self) -> UUID:
        """Returns a UUID that nobody else has."""
        with self._lock:
            now, (last, count) = max(0, self._milliseconds()), self._last
            if now > last:
                last, count = now, self._chance(11)  # half of the numbers are left for those of the same millisecond
            elif count < 0xFFF:
                count += 1
            else:
                last, count = last + 1, 0
            self._last = last, count
            return _compose(last, count, self._chance(62))


_uuids = Uuids()


def new_uuid() -> UUID:
    """Returns a UUID that nobody else has, greater than all that this process had before."""
    return _uuids.next()


def uuid_of(moment: datetime, name: str) -> UUID:
    """Returns the one UUID that belongs to a moment and a name: the same in every replay.

    Inside a run, `uuid_of(view.now, view.invocation)` names what this very call records.
    """
    chance = int.from_bytes(sha256(name.encode("utf-8", "backslashreplace")).digest()[:10])
    milliseconds = max(0, int(moment.timestamp() * 1_000))
    return _compose(milliseconds, chance & 0xFFF, chance >> 12)


def display_id(uuid: UUID) -> str:
    """Returns the short id that people see: as texts, they are in the order in which a process gave them out."""
    number = ((uuid.int >> 80) << 12) | ((uuid.int >> 64) & 0xFFF)
    return "traj-" + "".join(_DIGITS[(number >> shift) & 31] for shift in range(55, -5, -5))


def _compose(milliseconds: int, count: int, chance: int) -> UUID:
    number = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | (count & 0xFFF) << 64 | 0b10 << 62
    return UUID(int=number | chance & (1 << 62) - 1)
