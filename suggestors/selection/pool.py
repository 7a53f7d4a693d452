"""Keeps backends so that requests are answered at the cost of the request: who has what, the preferred ones first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...facts.canonical import encode
from ...facts.family import family_of
from .payloads import Backend
from .policy import Policy


class Pool:
    """The backends that may be asked, in the order in which they are preferred, and those that are out for now."""

    __slots__ = ("backends", "holders", "out", "policy", "room")

    def __init__(
        self, backends: Iterable[Backend], policy: Policy | None = None, out: Mapping[str, str] | None = None
    ) -> None:
        known = each_once(backends)
        if policy is not None:
            known.sort(key=policy.score)  # equals stay in the order of the pool
        self.policy = policy
        self.backends = known if not out else [one for one in known if one.name not in out]
        """Those that are available; of two the first is preferred."""
        self.out = {} if not out else {one.name: (one, out[one.name]) for one in known if one.name in out}
        """By name: who is out, and why."""
        self.room = [one.slots for one in self.backends]
        self.holders: dict[str, list[int]] = {}
        """By capability: the places of the backends that have it, ascending."""
        holders = self.holders
        for place, backend in enumerate(self.backends):
            for capability in backend.capabilities:
                found = holders.get(capability)
                if found is None:
                    holders[capability] = [place]
                else:
                    found.append(place)


def each_once(backends: Iterable[Backend]) -> list[Backend]:
    """Returns the backends, each name once in its first place.

    Of two that go by one name and differ, the one whose JSON text is the smaller counts, wherever it stands: so what
    can be matched does not depend on the order of the pool.
    """
    known = list(backends)
    found: dict[str, Backend] = {}
    for one in known:
        other = found.setdefault(one.name, one)
        if other is not one and other != one:
            found[one.name] = min(other, one, key=_text)
    return known if len(found) == len(known) else list(found.values())


def _text(backend: Backend) -> bytes:
    return encode(backend, family_of(Backend))
