"""Says what another library is asked to do, for all modules that have peers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from measure import Sample, Target

Work = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Peer:
    """A work of a section, done by another library in a process of its own."""

    make: Callable[[int], Sample]
    """Prepares a work of a size. An ImportError says that the library is not there."""
    target: Target | None = None
    against: str | None = None
    """Which case of ours it is compared with; by default the first of the section."""
    up_to: int | None = None
    """The largest size that it is asked for; what is larger would take too long."""
    quick_up_to: int | None = None
    """The same for `--quick`."""
    unit: str = "ms"
    once: bool = False


def check(is_right: bool) -> None:
    """Makes sure that a peer did the work."""
    if not is_right:
        raise AssertionError("a peer gave another result than Quiesce does")


TEN = Target(10, on="ratio", kind="at least")
THREE = Target(3, on="ratio", kind="at least")
