"""Lets what several processes learn come together in one file: each adds to it what it learned since it last looked.

A state remembers, for each file that it was loaded from or saved into, what stood there then. When it is saved, the
difference between that and what it knows now is added to what stands there today, and the sum is what both know then.
So nobody's evidence is lost, and none counts twice. Where evidence was decayed meanwhile, what stands in the file is
decayed by the same factor before the difference is added: the outcome is that of sessions one after the other.

Files tell by their *lineage* whether one goes back to the other. In the place of a file that is gone, or that somebody
began anew, all that is known is written, since the difference alone would make no sense there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Generic, Self, TypeVar

from ...engine import InvalidOption
from ...facts.errors import shown
from . import state_file
from .beta import as_float, reward_of
from .state_file import Codec, Found

T = TypeVar("T")
E = TypeVar("E")


@dataclass(slots=True)
class Since(Generic[T]):
    """What has become of a state since it and a file said the same."""

    base: T
    lineage: str = ""
    scale: float = 1.0
    """By what the evidence was decayed."""
    gone: set[str] = field(default_factory=set)
    """The providers that were pruned."""


class SharedState(ABC, Generic[T]):
    """A state that can be saved and loaded; T is all that it knows, as a value that does not change."""

    codec: Codec[T]

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._lock = RLock()
        """Held by whoever changes what is known, or looks at more than one thing of it."""
        self._saving = Lock()
        self._since: dict[str, Since[T]] = {}
        self._problems: tuple[str, ...] = ()

    @abstractmethod
    def _value(self) -> T:
        """Returns what is known, as a value."""

    @abstractmethod
    def _take(self, value: T) -> None:
        """Lets a value be what is known."""

    @abstractmethod
    def _merged(self, theirs: T | None, mine: T, since: Since[T] | None) -> T:
        """Returns `theirs` with what has come to `mine` since then; with no `since`, all of it."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What was wrong with the file that this was loaded from, a sentence each; the same as in the warnings."""
        return self._problems

    def save(self, path: str | Path, *, wait: float = state_file.LOCK_SECONDS) -> None:
        """Adds to a file what was learned since it was loaded from it or saved into it, and learns what others have.

        The file is replaced as a whole or not at all; its folder is made if need be. Others who save into it are
        waited for, `wait` seconds at most.

        Raises:
            StateFileError: it cannot be written. Nothing is lost: save again.
            NewerStateFile: a newer Quiesce has written it.
        """
        where = str(state_file.real(path))
        fresh: list[Since[T]] = []

        def merge(found: Found[T]) -> T:
            with self._lock:
                mine = self._value()
                since = self._since.get(where)
                if since is not None and since.lineage != found.lineage:  # it is gone, or another
                    since = None
                merged = self._merged(found.value, mine, since)
                fresh[:] = [Since(mine)]
                self._since[f"\0{where}"] = fresh[0]  # decayed and pruned like the others while the file is written
                return merged

        def accept(merged: T, lineage: str) -> None:
            with self._lock:
                now = fresh[0]
                self._take(self._merged(merged, self._value(), now))
                self._since[where] = Since(merged, lineage, now.scale, now.gone)

        with self._saving:
            try:
                state_file.save(path, self.codec, merge, accept, wait=wait)
            finally:
                self._since.pop(f"\0{where}", None)

    def _load(self, path: str | Path) -> Self:
        found = state_file.load(path, self.codec)
        self._problems = found.problems
        if found.value is not None:
            self._take(found.value)
            self._since[str(state_file.real(path))] = Since(found.value, found.lineage)
        return self

    def _note_decay(self, factor: float) -> None:
        for since in self._since.values():
            since.scale *= factor

    def _note_gone(self, names: Iterable[str]) -> None:
        gone = set(names)
        for since in self._since.values():
            since.gone |= gone

    def __getstate__(self) -> dict[str, Any]:
        left_out = {"_lock", "_saving", "_panel"}
        with self._lock:
            return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._begin()
        self.__dict__.update(state)


def merged_entries(
    theirs: Mapping[str, E] | None,
    mine: Mapping[str, E],
    since: Since[Any] | None,
    base: Mapping[str, E],
    combine: Callable[[E | None, E | None, E | None, float], E],
) -> dict[str, E]:
    """Returns their entries with what has come to mine since the base; those that either side has pruned are out.

    `combine(their, my, was, scale)` is `their`, decayed, and the difference between `my` and `was`, decayed; None
    stands for what nobody has observed.
    """
    scale, gone = (since.scale, since.gone) if since is not None else (1.0, set[str]())
    merged = {}
    for name in sorted({*(theirs or ()), *mine}):
        their = theirs.get(name) if theirs is not None and name not in gone else None
        my, was = mine.get(name), base.get(name) if name not in gone else None
        if my is None and their is None:
            continue
        is_pruned = theirs is not None and their is None and was is not None  # by somebody else
        if is_pruned and combine(None, my, was, scale) == combine(None, None, None, 1.0):
            continue  # and nothing has come since
        merged[name] = combine(their, my, was, scale)
    return merged


def decay_factor(factor: float, option: str = "decay") -> float:
    """Returns a factor by which evidence is decayed: in (0, 1], and above or below that the nearest that is."""
    number = as_float(factor)
    if number != number:  # noqa: PLR0124  it is NaN
        raise InvalidOption(option, factor, "a number above 0 and at most 1")
    return min(max(number, 2.0**-1022), 1.0)


def gained(success: object, reward: object) -> float:
    """Returns how good an outcome was, from 0 to 1, by the one of the two that was given."""
    if success is None and reward is None:
        neither = "an outcome, and neither is reward=None: one of the two says how it went"
        raise InvalidOption("success", success, f"{neither}. Write: success=True, or reward=0.7")
    if success is None:
        return reward_of(reward)
    if reward is not None:
        both = f"to be given beside success={shown(success)}: one of the two says how it went"
        raise InvalidOption("reward", reward, both)
    return reward_of(success, "success", "True, False or a number from 0 to 1")


def check_name(provider: object) -> str:
    """Returns a provider's name; refuses what cannot be one."""
    if not isinstance(provider, str) or not provider:
        raise InvalidOption("provider", provider, "a name, a text that is not empty")
    return provider


def names_of(providers: Iterable[str]) -> tuple[str, ...]:
    """Returns names, each once, in the order in which they come first."""
    if isinstance(providers, (str, bytes)):
        raise InvalidOption("providers", providers, "a list of names")
    return tuple(dict.fromkeys(map(check_name, providers)))
