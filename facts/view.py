"""Shows a suggestor the facts that it declared, as of the end of the previous cycle, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar, overload

from .errors import FactError, UndeclaredRead
from .fact import Fact, Ref, RunId
from .family import family_of
from .payload import Payload
from .shelf import All, Shelf

if TYPE_CHECKING:
    from numpy.random import Generator

P = TypeVar("P", bound=Payload)


class Moment:
    """What every view of a run has in common: the run's id, seed and logical time."""

    __slots__ = ("now", "run", "seed")

    def __init__(self, run: RunId, seed: int, now: datetime) -> None:
        self.run, self.seed, self.now = run, seed, now


class View:
    """The facts of the declared reads as of the end of the previous cycle.

    A view never changes: it shows the same facts however late its suggestor looks. What it hands out through `new` and
    `get` is noted, since a proposal that names no reasons rests on that; `all` is background and is not noted.
    """

    __slots__ = (
        "_handed", "_moment", "_reads", "_rng", "_shelves", "_since", "_trigger", "cycle", "of_this_run", "suggestor",
    )  # fmt: skip

    def __init__(
        self,
        shelves: Mapping[str, Shelf],
        cycle: int,
        suggestor: str,
        reads: Mapping[str, str] | None,
        since: Mapping[str, int],
        moment: Moment,
        trigger: Ref | None = None,
    ) -> None:
        self._shelves = shelves
        self._reads = reads  # family -> class name, for messages; None: everything may be read
        self._since = since
        self._moment = moment
        self._trigger = trigger
        self._handed: list[Fact[Any]] = []
        self._rng: Generator | None = None
        self.suggestor = suggestor
        self.cycle = cycle
        """The cycle in which the suggestor runs; it sees facts of earlier cycles only."""
        self.of_this_run = False
        """It was asked for something that another run would not have: its time, chance or key (for the engine)."""

    def new(self, cls: type[P]) -> Sequence[Fact[P]]:
        """Returns the facts of a family that are new, or newly revised, since this suggestor last ran."""
        shelf = self._shelf(cls)
        if shelf is None:
            return All(None)
        return _Noted(shelf, self._since.get(shelf.family, 0), shelf.size_at(self.cycle - 1), self._handed)

    def all(self, cls: type[P]) -> All[P]:
        """Returns every fact of a family."""
        shelf = self._shelf(cls)
        return All(None) if shelf is None else All(shelf, 0, shelf.size_at(self.cycle - 1))

    def get(self, cls: type[P], id: str) -> Fact[P] | None:
        """Returns one fact, or None if it is not known."""
        shelf = self._shelf(cls)
        fact = None if shelf is None else shelf.get(id, shelf.size_at(self.cycle - 1))
        if fact is not None:
            self._handed.append(fact)
        return fact

    def find(self, ref: str) -> Fact[Any] | None:
        """Returns the fact of a declared family by its ref, or None if it is not known."""
        family, _, id = ref.partition(":")
        if self._reads is not None and family not in self._reads:
            raise UndeclaredRead(self.suggestor, self.cycle, f"{family!r}", tuple(self._reads.values()))
        shelf = self._shelves.get(family)
        fact = None if shelf is None else shelf.get(id, shelf.size_at(self.cycle - 1))
        if fact is not None:
            self._handed.append(fact)
        return fact

    def families(self) -> tuple[str, ...]:
        """Returns the families of which something is known, among those that may be read, sorted."""
        return tuple(
            sorted(
                family
                for family, shelf in list(self._shelves.items())
                if (self._reads is None or family in self._reads) and shelf.size_at(self.cycle - 1)
            )
        )

    def new_facts(self) -> list[Fact[Any]]:
        """Returns what is new in every family that may be read, for suggestors that read anything."""
        found: list[Fact[Any]] = []
        for family in self.families():
            shelf = self._shelves[family]
            start, end = self._since.get(family, 0), shelf.size_at(self.cycle - 1)
            found.extend(_Noted(shelf, start, end, self._handed))
        return found

    @property
    def now(self) -> datetime:
        """The run's logical time: the same however often the run is replayed."""
        self.of_this_run = True
        return self._moment.now

    @property
    def invocation(self) -> str:
        """A key for this very call, the same in every attempt and every replay: an idempotency key for the outside."""
        self.of_this_run = True
        return f"{self._moment.run}/{self.name}"

    @property
    def rng(self) -> Generator:
        """A numpy Generator that depends only on the run's seed and this invocation."""
        self.of_this_run = True
        if self._rng is None:
            from numpy.random import PCG64, Generator, SeedSequence

            words = int.from_bytes(sha256(self.name.encode()).digest()[:16])
            self._rng = Generator(PCG64(SeedSequence([self._moment.seed, words])))
        return self._rng

    @property
    def name(self) -> str:
        """What tells this call from all others of its run."""
        name = f"{self.suggestor}/{self.cycle}"
        return name if self._trigger is None else f"{name}/{self._trigger}"

    def _shelf(self, cls: type[P]) -> Shelf | None:
        if not (isinstance(cls, type) and issubclass(cls, Payload)):
            raise FactError(f"a view is asked for a payload class, not for {cls!r}")
        name = family_of(cls).name
        if self._reads is not None and name not in self._reads:
            raise UndeclaredRead(self.suggestor, self.cycle, cls.__name__, tuple(self._reads.values()))
        return self._shelves.get(name)

    def again(self) -> View:
        """Returns the same view afresh, for another attempt: nothing handed out, nothing drawn (for the engine)."""
        return View(
            self._shelves, self.cycle, self.suggestor, self._reads, self._since, self._moment, self._trigger
        )  # fmt: skip

    def ground(self, because: Iterable[Fact[Any] | str]) -> tuple[tuple[Ref, ...], str | None]:
        """Returns the refs of what a proposal rests on, and what is wrong with one of them (for the engine)."""
        refs: list[Any] = []
        problem: str | None = None
        reads, shelves, last = self._reads, self._shelves, self.cycle - 1
        for reason in because:
            if isinstance(reason, Fact):
                ref = reason._ref
                refs.append(reason.ref if ref is None else ref)
                if reason.cycle <= last:
                    family = reason.payload.__family__.name
                    if reads is None or family in reads:
                        shelf = shelves.get(family)
                        if shelf is not None:
                            store = shelf._store
                            position = store.index.get(reason.id)
                            if position is not None and position < shelf.size and store.facts[position] is reason:
                                continue  # nearly always: it was handed out by this very view
            else:
                refs.append(str(reason))
            problem = problem or self._problem_with(refs[-1])
        return tuple(refs), problem

    def _problem_with(self, ref: str) -> str | None:
        """Returns what is wrong with a ref as a reason, or None."""
        family, _, id = ref.partition(":")
        if self._reads is not None and family not in self._reads:
            return f"rests on {ref!r:.100}, whose family {self.suggestor!r} does not declare in its reads"
        shelf = self._shelves.get(family)
        if shelf is None or shelf.get(id, shelf.size_at(self.cycle - 1)) is None:
            return f"rests on {ref!r:.100}, which is not known"
        return None

    def digest(self, trigger: Fact[Any] | None, background: Iterable[str] | None = None) -> str:
        """Returns a digest of all that a call is shown: the same in every run in which it is shown the same.

        `background` names the families that it may look at; by default, all that may be read (for the engine).
        """
        whole = sha256()
        if trigger is not None:
            whole.update(b"%b%a %b\x00" % (trigger.sha256, trigger.confidence, trigger.ref.encode()))
        if background is None:
            background = self._reads if self._reads is not None else list(self._shelves)
        for name in sorted(background):
            shelf = self._shelves.get(name)
            size = 0 if shelf is None else shelf.size_at(self.cycle - 1)
            if shelf is None or not size:
                continue
            since = self._since.get(name, 0) if trigger is None else 0
            whole.update(b"%b\x00%b%b" % (name.encode(), shelf.digest(since), shelf.digest(size)))
        return whole.hexdigest()

    def take_handed(self) -> tuple[Ref, ...]:
        """Returns the refs of what was handed out since the last call, each once (for the engine)."""
        handed = tuple(dict.fromkeys([fact.ref for fact in self._handed]))
        self._handed.clear()
        return handed


class _Noted(All[P]):
    """A sequence that notes which of its facts were looked at."""

    __slots__ = ("_handed",)

    def __init__(self, shelf: Shelf, start: int, end: int, handed: list[Fact[Any]]) -> None:
        super().__init__(shelf, start, end)
        self._handed = handed

    def __iter__(self) -> Iterator[Fact[P]]:
        note = self._handed.append
        for fact in self.facts():
            note(fact)
            yield fact

    @overload
    def __getitem__(self, at: int) -> Fact[P]: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Fact[P]]: ...
    def __getitem__(self, at: int | slice) -> Fact[P] | Sequence[Fact[P]]:
        found = self.facts()[at]
        self._handed.extend([found] if isinstance(found, Fact) else found)
        return found
