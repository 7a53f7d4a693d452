"""Decides which proposals become facts, in registration order, whoever was faster.

Promotion is the one way to become known: people's gates are asked, and a draft that meets a known fact of its id is
the same, a revision or contested. It takes values and changes shelves; it awaits nothing and asks no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from ..facts import Contested, Context, Fact, FactError, Opaque, Payload, Rejected
from ..facts.canonical import digest_of, encode
from ..facts.context import ENGINE
from ..facts.fact import Ref, content_id, make_fact
from ..facts.family import family_of
from ..facts.meet import contested, meet
from ..facts.trail import Parked, Rejection
from ..facts.view import Moment
from .answer import Lapse, Refusal
from .cycle import Cycle, Place, place_of
from .gate import Gate
from .stop import Conflict
from .suggestor import Suggestor


class Promoter:
    """Promotes the proposals of a run into its context."""

    __slots__ = ("context", "gates", "moment", "parked", "suggestors")

    def __init__(
        self, context: Context, gates: Sequence[Gate], moment: Moment, suggestors: Mapping[int, Suggestor]
    ) -> None:
        self.context = context
        self.gates = gates
        self.moment = moment
        self.suggestors = suggestors
        self.parked: dict[str, Parked] = dict(context._trail.gates)
        """Open gates, those of cycles that are not committed yet among them."""

    def promote_family(self, cycle: Cycle, family: str) -> bool:
        """Promotes what a cycle proposes for one family; true if something is new in it."""
        before = len(cycle.facts)
        cycle.early.add(family)
        chosen = [
            (place_of(place, turn), answer)
            for place in sorted(cycle.ended)
            for turn, answer in enumerate(cycle.ended[place])
            if answer.__class__ is Fact and answer.payload.__family__.name == family
        ]
        if chosen and chosen[0][1].payload.__family__.on_conflict == "confidence":
            chosen = _surest_first(chosen)
        for at, draft in chosen:
            self._promote(cycle, at, draft)
        return len(cycle.facts) > before

    def promote_rest(self, cycle: Cycle) -> None:
        """Promotes all that a complete cycle proposes and that was not promoted early, then the diagnostics."""
        weighed: list[tuple[Place, Fact[Any]]] = []
        early = cycle.early
        promote = self._promote if self.gates or self.context._trail.declined else self._keep
        for place in sorted(cycle.ended):
            for at, answer in enumerate(cycle.ended[place], place_of(place, 0)):
                if isinstance(answer, Fact):
                    family = answer.payload.__family__
                    if family.name in early:
                        continue
                    if family.on_conflict == "confidence":
                        weighed.append((at, answer))
                    else:
                        promote(cycle, at, answer)
                elif isinstance(answer, Lapse):
                    cycle.notes.append((at, answer.failure, answer.because))
                else:
                    self._reject(cycle, at, self.suggestors[place].name, answer)
        if weighed:
            for at, draft in _surest_first(weighed):
                promote(cycle, at, draft)
        if early or weighed:
            cycle.facts = [fact for _, fact in sorted(zip(cycle.places, cycle.facts, strict=True), key=_place)]
            cycle.rejections.sort(key=_place)
            cycle.parked.sort(key=_place)
        if cycle.contests or cycle.notes:
            self.promote_notes(cycle)

    def promote_notes(self, cycle: Cycle) -> None:
        """Promotes the diagnostics of a complete cycle, behind everything else in it.

        A contest that was told of before is not told of again. Whether it was is only certain now: while a family is
        promoted early, diagnostics of earlier cycles may still be missing.
        """
        told: set[str] = set()
        for at, note, lost in sorted(cycle.contests, key=_place):
            id = content_id(digest_of(encode(note, family_of(Contested))))
            if id not in told and self.context.find(f"{_CONTESTED}:{id}") is None:
                told.add(id)
                cycle.notes.append((at, note, (lost.ref,)))
                cycle.rejections.append((at, lost))
        if cycle.contests:
            cycle.rejections.sort(key=_place)
        cycle.contests.clear()
        cycle.notes.sort(key=_place)
        for at, payload, because in cycle.notes:
            self.say(cycle, at, payload, because)
        cycle.notes.clear()

    def say(self, cycle: Cycle, at: Place, payload: Payload, because: tuple[Ref, ...], id: str | None = None) -> None:
        """Promotes something that the engine itself says."""
        family = family_of(type(payload))
        digest = digest_of(encode(payload, family))
        id = id if id is not None else content_id(digest)
        shelf = self.context._shelf_of(family.name, family.key)
        if shelf.get(id, shelf.size) is None:
            fact = make_fact(payload, id, ENGINE, cycle.number, 1.0, because, digest)
            shelf.append(fact)
            cycle.facts.append(fact)
            cycle.places.append(at)
            cycle.fresh.add(family.name)

    def promote_approved(
        self, cycle: Cycle, at: Place, parked: Parked, because: tuple[Ref, ...], decided: Set[str]
    ) -> None:
        """Promotes a proposal that was parked and has been approved, unless another gate holds it too."""
        draft = parked.as_fact(cycle.number, because)
        if not self._gated(cycle, at, draft, decided):
            self._keep(cycle, at, draft)

    def _promote(self, cycle: Cycle, at: Place, draft: Fact[Any]) -> None:
        if not ((self.gates or self.context._trail.declined) and self._gated(cycle, at, draft)):
            self._keep(cycle, at, draft)

    def _keep(self, cycle: Cycle, at: Place, draft: Fact[Any]) -> None:
        """Promotes a draft, or finds out that it says nothing new, revises or contests."""
        family = draft.payload.__family__
        name = family.name
        shelf = self.context._shelves.get(name)
        if shelf is None:
            shelf = self.context._shelf_of(name, family.key)
        known = shelf.offer(draft)
        if known is not None:
            if known.sha256 == draft.sha256:
                return
            found = self._join(cycle, at, known, draft)
            if found is None:
                return
            draft = found
            shelf.append(draft)
        cycle.facts.append(draft)
        cycle.places.append(at)
        cycle.fresh.add(name)

    def _join(self, cycle: Cycle, at: Place, known: Fact[Any], draft: Fact[Any]) -> Fact[Any] | None:
        """Returns the revision of a known fact that a draft makes; None if it makes none."""
        try:
            meeting = meet(known, draft.payload, draft.sha256)
        except FactError as error:
            self._refuse(cycle, at, draft, str(error))
            return None
        if meeting.kind == "contested":
            self._contest(cycle, at, known, draft)
        if meeting.payload is None:
            return None
        return make_fact(
            meeting.payload, draft.id, draft.by, cycle.number, draft.confidence, draft.because, meeting.sha256
        )  # fmt: skip

    def _gated(self, cycle: Cycle, at: Place, draft: Fact[Any], decided: Set[str] = frozenset()) -> bool:
        """Tells whether a person decides on a draft, or has refused it; parks it if nobody has been asked yet."""
        trail = self.context._trail
        family, digest = draft.family, draft.sha256
        shelf = self.context._shelves.get(family)
        known = shelf.get(draft.id, shelf.size) if shelf is not None else None
        if known is not None and known.sha256 == digest:
            return False  # known already: there is nothing to decide
        if (family, digest) in trail.declined:
            self._refuse(cycle, at, draft, "declined", tell=False)
            return True
        for gate in self.gates:
            if not isinstance(draft.payload, Opaque) and gate.holds(draft.payload, draft.confidence):
                name = gate.id_for(family, draft.id, digest)
                decision = trail.decided.get(name)
                if name in decided or (decision is not None and decision.approved):
                    continue
                if name not in self.parked:
                    self.parked[name] = self._park(gate, name, draft)
                    cycle.parked.append((at, self.parked[name]))
                return True
        return False

    def _park(self, gate: Gate, name: str, draft: Fact[Any]) -> Parked:
        now = self.moment.now
        return Parked(
            name, gate.name, draft.family, draft.id, draft.by, draft.cycle, draft.confidence, draft.because,
            draft.payload, draft.sha256, now.isoformat(), gate.expiry(now), gate.default,
        )  # fmt: skip

    def _contest(self, cycle: Cycle, at: Place, known: Fact[Any], draft: Fact[Any]) -> None:
        cycle.contests.append((at, contested(known, draft), refuse(draft, "contested")))
        family = draft.payload.__family__
        if family.on_conflict == "stop":
            cycle.conflicts.append((at, Conflict(known.ref, known.by, draft.by)))

    def _refuse(self, cycle: Cycle, at: Place, draft: Fact[Any], reason: str, tell: bool = True) -> None:
        cycle.rejections.append((at, refuse(draft, reason)))
        if tell:
            note = Rejected(ref=draft.ref, suggestor=draft.by, cycle=cycle.number, reason=reason)
            cycle.notes.append((at, note, ()))

    def _reject(self, cycle: Cycle, at: Place, by: str, refusal: Refusal) -> None:
        """Refuses what is not even a draft."""
        ref, reason, because = refusal.ref, refusal.reason, refusal.because
        lost = Rejection(
            ref, refusal.key, refusal.version, by, cycle.number, 0.0, because, reason, refusal.payload, refusal.sha256
        )  # fmt: skip
        cycle.rejections.append((at, lost))
        note = Rejected(ref=ref, suggestor=by, cycle=cycle.number, reason=reason)
        cycle.notes.append((at, note, because if refusal.grounded else ()))


def refuse(draft: Fact[Any], reason: str) -> Rejection:
    """Returns what the log keeps of a draft that does not become a fact."""
    return Rejection(
        draft.ref, draft.key, draft.version, draft.by, draft.cycle, draft.confidence, draft.because, reason,
        draft.payload, draft.sha256,
    )  # fmt: skip


_CONTESTED = family_of(Contested).name


def _surest_first(chosen: list[tuple[Place, Fact[Any]]]) -> list[tuple[Place, Fact[Any]]]:
    """Returns the surest draft of each id, the first of equals, in order; then those that will meet them."""
    best: dict[tuple[str, str], tuple[Place, Fact[Any]]] = {}
    for at, draft in chosen:
        name = (draft.family, draft.id)
        if name not in best or draft.confidence > best[name][1].confidence:
            best[name] = (at, draft)
    winners = {at for at, _ in best.values()}
    return sorted(chosen, key=lambda one: (one[0] not in winners, one[0]))


def _place(item: tuple[Any, ...]) -> Any:
    return item[0]
