"""Puts into words why slots stay open: what is asked for more often than there is room, and who came near."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .envelope import Envelope, listed
from .payloads import Backend
from .pool import Pool

PARTS = 10
"""How many reasons are told; the others are counted."""
NEAREST = 3
"""How many backends are told of that came near."""


def explain_short(
    capabilities: Sequence[str], classes: Sequence[str], short: Sequence[tuple[list[int], list[int]]], pool: Pool
) -> str:
    """Returns why slots stay open, as sentences that do not depend on the order of the pool.

    Each part is a Hall violator: capabilities whose slots are more than all backends together that have any of them
    can fill.
    """
    if not pool.backends and not pool.out:
        return "no backend is known"
    asked = Counter(capabilities)
    nobody = [classes[one] for part, backends in short if not backends for one in part]
    told = [_nobody(nobody, asked, pool)] if nobody else []
    told += [
        _too_few([classes[one] for one in part], asked, [pool.backends[place] for place in backends], pool)
        for part, backends in short
        if backends
    ]
    return _joined(told)


def explain_nobody(envelope: Envelope, pool: Pool) -> str:
    """Returns why no backend satisfies the whole of a request, and what those miss that come nearest."""
    if not pool.backends and not pool.out:
        return "no backend is known"
    missed = [(one.name, list(envelope.misses(one))) for one in pool.backends]
    missed += [(name, [is_out(why), *envelope.misses(one)]) for name, (one, why) in pool.out.items()]
    near = sorted((len(what), name, what) for name, what in missed)
    told = [f"{name} {listed(what)}" for _, name, what in near[:NEAREST]]
    if len(near) > NEAREST:
        told.append(f"{len(near) - NEAREST:,} more miss as much or more")
    who = f"no backend has {listed(envelope.wanted)} and" if envelope.wanted else "no backend"
    return f"{who} meets every requirement: {'; '.join(told)}"


def is_out(why: str) -> str:
    """Returns what is said of a backend that is out."""
    return f"is out ({why})" if why else "is out"


def _nobody(capabilities: list[str], asked: Counter[str], pool: Pool) -> str:
    told = f"no backend has {_labels(capabilities, asked, 'or')}"
    aside = _out_for(capabilities, pool)
    return f"{told} but {aside}" if aside else told


def _too_few(capabilities: list[str], asked: Counter[str], backends: list[Backend], pool: Pool) -> str:
    wanted = sum(asked[one] for one in capabilities)
    named = sorted([one.name for one in backends])
    room = {one.name: one.slots for one in backends if one.slots > 1}
    who = listed((f"{name} ({room[name]:,} slots)" if name in room else name for name in named), len(named))
    what = "slots of backends" if room else "backends"
    need = "needs" if len(capabilities) == 1 else "need"
    have = "has" if len(named) == 1 else "have"
    told = f"{_labels(capabilities, asked)} {need} {wanted:,} {what}, only {who} {have} "
    told += "it" if len(capabilities) == 1 else "any of them"
    aside = _out_for(capabilities, pool)
    return f"{told}, beside {aside}" if aside else told


def _out_for(capabilities: list[str], pool: Pool) -> str:
    """Returns who has any of some capabilities and is out."""
    any_of = frozenset(capabilities)
    found = sorted(name for name, (one, _) in pool.out.items() if not one.capabilities.isdisjoint(any_of))
    if not found:
        return ""
    return listed((f"{name}, which {is_out(pool.out[name][1])}" for name in found), len(found))


def _labels(capabilities: Sequence[str], asked: Counter[str], link: str = "and") -> str:
    labels = (one if asked[one] == 1 else f"{one} ×{asked[one]:,}" for one in capabilities)
    return listed(labels, len(capabilities), link)


def _joined(told: list[str]) -> str:
    more = len(told) - PARTS
    return "; ".join([*told[:PARTS], f"and {more:,} more of the kind"] if more > 0 else told)
