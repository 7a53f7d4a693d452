"""Holds everything that is known: what a run starts from and what it ends as."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from .canonical import digest_of, encode
from .errors import ConflictingInput, FactError, shown
from .fact import Fact, Ref, check_confidence, check_id, content_id, make_fact, printable, split_ref
from .family import Family, family_of
from .meet import contested, meet
from .payload import Payload
from .shelf import All, Shelf
from .trail import Rejection, Trail
from .why import Why, explain

P = TypeVar("P", bound=Payload)

INPUT = "input"
"""Who said what came from outside."""
ENGINE = "engine"
"""Who says what the engine itself promotes."""


class Context:
    """Everything that is known, by key, by family and by ref.

    ```python
    context = Context()
    context.add(Ticket(text="refund please"), id="t1")
    context.of(Ticket)["t1"].payload.text          # 'refund please'
    ```

    A context only grows. `copy` costs nothing however much is known, and neither copy sees what is added to the other.
    """

    __slots__ = ("_fresh", "_inputs", "_lost", "_order", "_shared", "_shelves", "_trail")

    def __init__(self) -> None:
        self._shelves: dict[str, Shelf] = {}
        self._order: dict[str, None] = {}  # families as they came, whoever was faster to propose
        self._inputs: list[Fact[Any]] = []  # said since the last run, in order
        self._lost: list[Rejection] = []  # said since the last run, and contested
        self._fresh: set[str] = set()  # the families of what was said
        self._shared = False  # a copy holds the same three, so they are copied before they change
        self._trail = Trail()

    # --- saying -----------------------------------------------------------------------------------------------------

    def add(
        self,
        payload: P,
        id: str | None = None,
        *,
        confidence: float = 1.0,
        because: Iterable[Fact[Any] | str] = (),
        by: str = INPUT,
    ) -> Fact[P]:
        """Adds an input and returns the fact that now stands under its id.

        Without an id a fact is named by the hash of its payload, so saying the same thing twice is saying it once.
        Other content under a known id revises the fact where the class has a `join`; where it has none, what was said
        first stands (with `on_conflict="confidence"`, the more confident of two new inputs) and a `Contested` fact
        names both.

        Raises:
            FactError: the payload, the id, the confidence or a reason is not valid; nothing was added.
            ConflictingInput: the family has `on_conflict="stop"` and the id is known with other content.
        """
        if not isinstance(payload, Payload):
            raise FactError(
                f"context.add takes a Payload, not {type(payload).__name__} {shown(payload)}. "
                f"For raw JSON use context.admit"
            )
        if by is not INPUT:
            _check_speaker(by)
        family = family_of(type(payload))
        sha256 = digest_of(encode(payload, family))
        if id is None:
            id = content_id(sha256)
        else:
            check_id(family.name, id)
        confidence = check_confidence(confidence)
        grounds = self._reasons(because)
        return self._say(make_fact(payload, id, by, self._trail.cycle + 1, confidence, grounds, sha256))

    def admit(self, family: str, id: str | None, raw: bytes | str, *, by: str = INPUT) -> Fact[Any]:
        """Takes raw JSON from outside and returns the fact that it became; never raises for content.

        What is no fact (broken JSON, an unknown family, a schema error, an oversized input, a bad id) becomes a
        `Malformed` fact that keeps the raw bytes and the reason.
        """
        from .admit import admit

        return admit(self, family, id, raw, by)

    # --- asking -----------------------------------------------------------------------------------------------------

    def of(self, cls: type[P]) -> Mapping[str, Fact[P]]:
        """Returns the facts of a payload class by id, in order of promotion."""
        return FactsById(self._shelves.get(family_of(cls).name))

    def find(self, ref: str) -> Fact[Any] | None:
        """Returns the fact of a ref ("plan:t1"), or None if it is not known."""
        family, id = split_ref(ref)
        shelf = self._shelves.get(family)
        return None if shelf is None else shelf.get(id, shelf.size)

    def why(self, ref: Ref | str | Fact[Any]) -> Why:
        """Returns the tree of what a fact rests on; `print` shows it, `.mermaid()` draws it.

        Raises:
            FactError: the fact is not known.
        """
        return explain(self, ref.ref if isinstance(ref, Fact) else str(ref), self._trail)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys under which something is known, sorted."""
        return tuple(sorted({shelf.key for shelf in self._shelves.values() if shelf.size}))

    @property
    def families(self) -> tuple[str, ...]:
        """The families of which something is known, in order of their first fact."""
        return tuple(shelf.family for shelf in self._in_order())

    @property
    def trail(self) -> Trail:
        """How this context came about: the run, what its suggestors have seen, open gates."""
        return self._trail

    @property
    def inputs(self) -> tuple[Fact[Any], ...]:
        """What was added since the last run, in order."""
        return tuple(self._inputs)

    def __getitem__(self, key: str) -> tuple[Fact[Any], ...]:
        """Returns every fact under a key, whatever its family; an empty tuple for a key without facts."""
        return tuple(fact for shelf in self._in_order() if shelf.key == key for fact in _all(shelf))

    def __iter__(self) -> Iterator[Fact[Any]]:
        for shelf in self._in_order():
            yield from _all(shelf)

    def __len__(self) -> int:
        return sum(len(_all(shelf)) for shelf in self._shelves.values())

    def __contains__(self, ref: object) -> bool:
        return self.find(ref.ref if isinstance(ref, Fact) else str(ref)) is not None

    def __eq__(self, other: object) -> bool:
        """Equal contexts know the same facts in the same order, by whom, when and because of what."""
        if not isinstance(other, Context):
            return NotImplemented
        if set(self.families) != set(other.families):
            return False
        return all(_revisions(self._shelves[name]) == _revisions(other._shelves[name]) for name in self.families)

    __hash__ = None  # type: ignore[assignment]  # it can grow

    def __repr__(self) -> str:
        known = ", ".join(f"{shelf.family}: {len(_all(shelf))}" for shelf in self._in_order())
        return f"<Context {known or 'empty'}>"

    # --- branching --------------------------------------------------------------------------------------------------

    def copy(self) -> Context:
        """Returns a context that knows the same and goes its own way, at the cost of its families, not of its facts."""
        other = Context()
        other._shelves = {name: shelf.copy() for name, shelf in self._shelves.items()}
        other._order = dict(self._order)
        other._inputs, other._lost, other._fresh = self._inputs, self._lost, self._fresh
        self._shared = other._shared = True
        other._trail = self._trail.copy()
        return other

    __copy__ = copy

    # --- for the engine and the log ---------------------------------------------------------------------------------

    def _in_order(self) -> list[Shelf]:
        """Returns the shelves on which something stands, in the order in which their first facts were committed."""
        shelves = self._shelves
        return [shelf for family in self._order if (shelf := shelves.get(family)) is not None and shelf.size]

    def _shelf_of(self, family: str, key: str) -> Shelf:
        shelf = self._shelves.get(family)
        if shelf is None:
            shelf = self._shelves[family] = Shelf(family, key)
        return shelf

    def _say(self, said: Fact[P]) -> Fact[P]:
        family = said.payload.__family__
        shelf = self._shelf_of(said.family, said.key)
        known: Fact[P] | None = shelf.get(said.id, shelf.size)
        if known is not None:
            meeting = meet(known, said.payload, said.sha256)
            if meeting.kind == "contested":
                policy = family.on_conflict if isinstance(family, Family) else "contest"
                if policy == "stop":
                    raise ConflictingInput(known.ref, known.by)
                if policy == "confidence" and known.cycle == said.cycle and said.confidence > known.confidence:
                    self._replace(known, said)
                    self._contest(said, known)
                    return said
                self._contest(known, said)
            if meeting.payload is None:
                return known
            joined: Any = meeting.payload
            said = make_fact(
                joined, said.id, said.by, said.cycle, said.confidence, said.because, meeting.sha256
            )  # fmt: skip
        shelf.append(said)
        self._order.setdefault(said.family)
        self._own()
        self._inputs.append(said)
        self._fresh.add(said.family)
        return said

    def _own(self) -> None:
        """Makes what was said since the last run this context's own, before it changes."""
        if self._shared:
            self._inputs, self._lost, self._fresh = list(self._inputs), list(self._lost), set(self._fresh)
            self._shared = False

    def _settle_inputs(self) -> None:
        """Notes that a cycle has taken in what was said."""
        self._inputs, self._lost, self._fresh, self._shared = [], [], set(), False

    def _restage(self) -> None:
        """Puts inputs that no cycle has taken in back on their shelves, to wait for the next run."""
        for fact in self._inputs:
            shelf = self._shelf_of(fact.family, fact.key)
            if shelf.get(fact.id, shelf.size) is not fact:
                shelf.append(fact)

    def _contest(self, known: Fact[Any], lost: Fact[Any]) -> None:
        self._own()
        self._lost.append(
            Rejection(
                known.ref, known.key, known.version, lost.by, lost.cycle, lost.confidence, lost.because, "contested",
                lost.payload, lost.sha256,
            )
        )  # fmt: skip
        self.add(contested(known, lost), because=[known], by=ENGINE)

    def _replace(self, known: Fact[Any], stands: Fact[Any]) -> None:
        """Lets an input take the place of one that no run has seen yet; what this costs grows with the family."""
        old = self._shelves[known.family]
        shelf = self._shelves[known.family] = Shelf(old.family, old.key)
        for fact in old.slice(0, old.size):
            shelf.append(stands if fact is known else fact)
        self._inputs = [stands if fact is known else fact for fact in self._inputs]

    def _reasons(self, because: Iterable[Fact[Any] | str]) -> tuple[Ref, ...]:
        if isinstance(because, str):
            raise FactError(f"because is a text, not a list of facts or refs. Write: because=[{shown(because)}]")
        refs = tuple(reason.ref if isinstance(reason, Fact) else Ref(reason) for reason in because)
        for ref in refs:
            if not isinstance(ref, str) or self.find(ref) is None:
                raise FactError(f"because names {shown(ref)}, which is not known. Add that fact first")
        return refs


class FactsById(Mapping[str, Fact[P]]):
    """The facts of one family by id, in order of promotion."""

    __slots__ = ("_shelf",)

    def __init__(self, shelf: Shelf | None) -> None:
        self._shelf = None if shelf is None else shelf.copy()

    def __getitem__(self, id: str) -> Fact[P]:
        fact = None if self._shelf is None else self._shelf.get(id, self._shelf.size)
        if fact is None:
            raise KeyError(id)
        return fact

    def __iter__(self) -> Iterator[str]:
        return (fact.id for fact in _all(self._shelf)) if self._shelf is not None else iter(())

    def __len__(self) -> int:
        return 0 if self._shelf is None else len(_all(self._shelf))

    def __repr__(self) -> str:
        return repr(dict(self))


def _all(shelf: Shelf) -> All[Any]:
    return All(shelf, 0, shelf.size)


def _revisions(shelf: Shelf) -> list[Fact[Any]]:
    return shelf.slice(0, shelf.size)


def _check_speaker(by: object) -> None:
    if not isinstance(by, str) or not by.strip() or printable(by) != by:
        raise FactError(f"by={shown(by)} does not name who says it. Give a printable text that is not blank")
