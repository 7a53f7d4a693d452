"""Tells whether one backend satisfies the whole of what is required, and if not, everything that it misses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from .payloads import Backend, BackendRequirements, ProviderRequest
from .policy import RANKS


def misses(request: ProviderRequest, backend: Backend) -> list[str]:
    """Returns what keeps a backend from doing all of a request by itself; nothing if it can.

    ```python
    from quiesce.suggestors import Backend, ProviderRequest
    from quiesce.suggestors.selection import misses

    request = ProviderRequest(required_capabilities=("code", "vision"))
    misses(request, Backend(name="a", kind="llm", capabilities={"code"}))              # ['lacks vision']
    ```
    """
    return list(Envelope(request).misses(backend))


class Envelope:
    """What a request asks of a backend that is to do all of it, made once to look at many backends."""

    __slots__ = ("_repeated", "_wanted", "capabilities", "needs", "wanted")

    def __init__(self, request: ProviderRequest) -> None:
        needs = request.backend_requirements
        self.needs = needs
        own = needs.required_capabilities if needs is not None else ()
        self.capabilities = own or request.required_capabilities
        """Those of the requirements, if they name any, else those of the request."""
        self.wanted = tuple(dict.fromkeys(self.capabilities))
        """Each of them once."""
        self._wanted = frozenset(self.wanted)
        self._repeated: list[tuple[str, int]] = []
        if needs is None and len(self.wanted) < len(self.capabilities):
            self._repeated = [(one, times) for one, times in Counter(self.capabilities).items() if times > 1]

    @property
    def is_empty(self) -> bool:
        """Nothing is asked for: any backend would do, and none as well."""
        return not self.capabilities and (self.needs is None or self.needs == _NOTHING)

    def admits(self, backend: Backend) -> bool:
        """Tells whether a backend can do all of it."""
        return next(self.misses(backend), None) is None

    def misses(self, backend: Backend) -> Iterator[str]:
        """Yields what a backend misses, as the end of a sentence about it."""
        needs = self.needs
        if needs is not None and needs.kind is not None and backend.kind != needs.kind:
            yield f"is of kind {backend.kind!r}, not {needs.kind!r}"
        if not self._wanted <= backend.capabilities:
            yield f"lacks {self._lacking(backend)}"
        for capability, times in self._repeated:
            if times > backend.slots and capability in backend.capabilities:
                yield f"fills {backend.slots:,} of {times:,} slots that ask for {capability} independently"
        if needs is not None:
            yield from _bounds(needs, backend)
            yield from _places(needs, backend)

    def _lacking(self, backend: Backend) -> str:
        """Lists some of what is lacking and counts the rest: there may be thousands, of each of a thousand backends."""
        has = backend.capabilities
        count = len(self._wanted) - len(self._wanted & has)
        some: list[str] = []
        for one in self.wanted:
            if len(some) > LISTED:
                break
            if one not in has:
                some.append(one)
        return listed(some, count)


def _bounds(needs: BackendRequirements, backend: Backend) -> Iterator[str]:
    if RANKS[backend.cost_class] > RANKS[needs.max_cost_class]:
        yield f"costs {backend.cost_class}, at most {needs.max_cost_class} is asked"
    if 0 < needs.max_latency_ms < backend.latency_ms:
        yield f"takes {backend.latency_ms:,.15g} ms, at most {needs.max_latency_ms:,.15g} is asked"
    if backend.context_tokens < needs.min_context_tokens:
        yield f"takes {backend.context_tokens:,} tokens of context, {needs.min_context_tokens:,} are asked"
    if needs.requires_replay and not backend.supports_replay:
        yield "does not support replay"
    if needs.requires_offline and backend.requires_network:
        yield "requires the network"


def _places(needs: BackendRequirements, backend: Backend) -> Iterator[str]:
    """Compares without regard to case: nobody means different laws by "eu" and "EU"."""
    if needs.region and _plain(needs.region) != _plain(backend.region):
        yield _elsewhere("region", needs.region, backend.region)
    if needs.country and _plain(needs.country) != _plain(backend.country):
        yield _elsewhere("country", needs.country, backend.country)
    if needs.compliance:
        has = set(map(_plain, backend.compliance))
        lacking = [one for one in needs.compliance if _plain(one) not in has]
        if lacking:
            yield f"does not comply with {listed(lacking)}"


def _elsewhere(what: str, asked: str, found: str) -> str:
    return f"is in {what} {found!r}, not {asked!r}" if found else f"names no {what}, {asked!r} is asked"


def _plain(name: str) -> str:
    return name.strip().casefold()


_NOTHING = BackendRequirements()
LISTED = 10
"""How many names a sentence tells before it counts."""


def listed(names: Iterable[str], count: int | None = None, link: str = "and") -> str:
    """Returns names as part of a sentence; of many the first, and how many more there are (of `count` in all)."""
    named = list(names if count is None else islice(names, LISTED))
    count = len(named) if count is None else count
    if count > LISTED:
        return f"{', '.join(named[:LISTED])} {link} {count - LISTED:,} more"
    return f" {link} ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
