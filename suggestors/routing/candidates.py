"""Finds who can answer a request now, who is held back in quarantine, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...facts import Fact, View
from ..readable import look_up, readable
from ..selection.payloads import Backend, KnownQuarantine, Quarantine, quarantined
from .names import posterior_id
from .payloads import Posterior, ProbeTally, RouteRequest
from .probing import is_due, is_on_trial


@dataclass(slots=True)
class Candidates:
    """Who comes into question for one request."""

    eligible: list[str] = field(default_factory=list)
    due: list[str] = field(default_factory=list)
    """In quarantine, and may be probed with this request."""
    held: list[str] = field(default_factory=list)
    """In quarantine, and probed from time to time: those that are due among them."""
    returning: list[str] = field(default_factory=list)
    """Eligible, and on trial."""
    refused: dict[str, list[str]] = field(default_factory=dict)
    """Why the others are not, with their names."""

    def refuse(self, why: str, name: str) -> None:
        """Notes why somebody cannot answer."""
        self.refused.setdefault(why, []).append(name)

    @property
    def reason(self) -> str:
        """Why nobody can."""
        if not self.refused:
            return "it names no candidate, and no backend is known"
        return "; ".join(f"{_some(names)}: {why}" for why, names in self.refused.items())


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"{name:.60}" for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


class Pool:
    """Who there is in one wake-up of the router, and who is out."""

    def __init__(self, view: View, trials: int) -> None:
        self.view = view
        self.trials = trials
        self.backends: dict[str, Fact[Backend]] = {
            fact.payload.name: fact for fact in readable(view.all(Backend), Backend)
        }
        standing = readable(view.all(Quarantine), Quarantine)
        carried = readable(view.all(KnownQuarantine), KnownQuarantine)
        self.out: Mapping[str, Fact[Quarantine] | Fact[KnownQuarantine]] = quarantined(standing, carried, view.now)
        self.numbers = _numbers([*standing, *carried])
        self.tallies: dict[str, ProbeTally | None] = {}
        """As they are now: the turns of this wake-up are in them."""

    def tally(self, name: str) -> ProbeTally | None:
        """Returns the count of a provider's turns."""
        if name not in self.tallies:
            fact = look_up(self.view, ProbeTally, posterior_id(name))
            self.tallies[name] = None if fact is None else fact.payload
        return self.tallies[name]

    def posterior(self, name: str, tag: str | None = None) -> Fact[Posterior] | None:
        """Returns what is known of a provider, or of a provider under a tag."""
        return look_up(self.view, Posterior, posterior_id(name, tag))

    def candidates(self, request: RouteRequest, left: float | None) -> Candidates:
        """Returns who can answer a request, each once; `left` is what may still be spent."""
        found = Candidates()
        for name in dict.fromkeys(request.providers or self.backends):
            why = self._refusal(name, request, left)
            if why is not None:
                found.refuse(why, name)
            elif name in self.out:
                quarantine = self.out[name].payload
                found.refuse("in quarantine", name)
                if quarantine.one_in:
                    found.held.append(name)
                    if is_due(self.tally(name), quarantine.one_in):
                        found.due.append(name)
            else:
                found.eligible.append(name)
                if self._is_back(name):
                    found.returning.append(name)
        return found

    def _is_back(self, name: str) -> bool:
        tally, number = self.tally(name), self.numbers.get(name, 0)
        was_out = number > 0 or (tally is not None and tally.held > 0)
        return was_out and is_on_trial(tally, number, self.trials)

    def _refusal(self, name: str, request: RouteRequest, left: float | None) -> str | None:
        backend = self.backends.get(name)
        if request.min_quality > (backend.payload.quality if backend else 0.0):
            return f"of lower quality than {request.min_quality:g}"
        if request.max_cost is None and left is None:
            return None
        fact = self.posterior(name)
        cost = fact.payload.mean_cost if fact is not None else 0.0
        if request.max_cost is not None and cost > request.max_cost:
            return f"answers cost more than {request.max_cost:g}"
        if left is not None and (left <= 0 or cost > left):
            return "the budget is spent"
        return None


def _numbers(quarantines: Iterable[Fact[Quarantine] | Fact[KnownQuarantine]]) -> dict[str, int]:
    """Returns how many quarantines of each backend there have been, those that hold among them."""
    latest: dict[str, tuple[str, int]] = {}
    for fact in quarantines:
        _, number = latest.get(fact.id, ("", 0))
        latest[fact.id] = (fact.payload.backend, max(number, fact.payload.number))
    found: dict[str, int] = {}
    for backend, number in latest.values():
        found[backend] = found.get(backend, 0) + number
    return found


def refs_of(facts: Sequence[Fact[Any] | None]) -> list[Fact[Any]]:
    """Returns the facts that there are, each once."""
    return list({fact.ref: fact for fact in facts if fact is not None}.values())
