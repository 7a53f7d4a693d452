"""Finds notes in memory by what is asked for: their space, their owner, or that facts of some family touch them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, MutableMapping, Set
from typing import Protocol, TypeVar

from .batch import Address


class _HasFamilies(Protocol):
    @property
    def families(self) -> tuple[str, ...]: ...


N = TypeVar("N", bound=_HasFamilies)


class Notebook(MutableMapping[Address, N]):
    """Notes by address. A log may have a million that nobody asks for: no other question costs as much as there are."""

    def __init__(self) -> None:
        self._notes: dict[Address, N] = {}
        self._places: dict[str, dict[str, dict[Address, None]]] = {}
        self._touchable: dict[Address, None] = {}

    def __getitem__(self, address: Address) -> N:
        return self._notes[address]

    def __setitem__(self, address: Address, note: N) -> None:
        if address not in self._notes:
            self._places.setdefault(address.space, {}).setdefault(address.owner, {})[address] = None
        self._notes[address] = note
        if note.families:
            self._touchable[address] = None
        else:
            self._touchable.pop(address, None)

    def __delitem__(self, address: Address) -> None:
        del self._notes[address]
        owners = self._places[address.space]
        del owners[address.owner][address]
        if not owners[address.owner]:
            del owners[address.owner]
        self._touchable.pop(address, None)

    def __iter__(self) -> Iterator[Address]:
        return iter(self._notes)

    def __len__(self) -> int:
        return len(self._notes)

    def find(self, space: str, owner: str | None) -> list[Address]:
        """Returns the addresses of a space, of one owner or of all, in order."""
        owners = self._places.get(space, {})
        if owner is not None:
            return sorted(owners.get(owner, ()))
        return [address for whom in sorted(owners) for address in sorted(owners[whom])]

    def touched(self, families: Set[str]) -> list[Address]:
        """Returns the addresses of those that facts of some families touch."""
        return (
            [one for one in self._touchable if not families.isdisjoint(self._notes[one].families)] if families else []
        )

    def drop(self, owners: Collection[str]) -> None:
        """Takes away what belongs to some owners."""
        for places in self._places.values():
            for address in [address for owner in owners for address in places.get(owner, ())]:
                del self._notes[address]
                self._touchable.pop(address, None)
            for owner in owners:
                places.pop(owner, None)
