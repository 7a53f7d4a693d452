"""Fills as many slots as can be filled, earlier slots and preferred backends first; says why no more can be.

The story: a request is a row of *slots*. Slots that ask for the same are one *class*, however many they are, and a
backend has *room* for a number of them; so neither a request that names one capability 100,000 times nor a backend with
a million slots makes the graph any larger. First each slot takes the first backend that has room (`take_first`). Then
Hopcroft and Karp's phases: search layer by layer from the slots that are open to backends with room, and move slots
along shortest ways until no way is left (`search`, `augment`). None of it recurses.

Then nothing can be gained in number, but there may be a choice. A slot that is open can change places with any that it
reaches, and a backend in use with any that has room: so the *last* slots stay open (`prefer_early_slots`) and the
*first* backends are used (`prefer_first_backends`). Sets of slots that can be filled together are the independent sets
of a matroid, and so are sets of backends that can be used together; there the greedy choice is the best one, for any
weights. Which slots stay open thus depends on nothing but the graph, and what the backends cost together is least.

What the last search reached is the explanation: all classes some slot of which could stay open, and the backends that
could serve them, which have less room than that. That set is the same for every maximum matching (Dulmage, Mendelsohn).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

Adjacency = Sequence[Sequence[int]]

LARGE = 100
"""From so many classes on, graphs without repetitions are left to scipy; loading it for fewer would not pay."""


@dataclass(frozen=True, slots=True)
class Matching:
    """Who fills which slot, and what keeps the others open."""

    filled: list[int]
    """By slot, the backend that fills it; -1: none."""
    open: int
    """How many slots are open."""
    short: list[tuple[list[int], list[int]]]
    """Classes that ask for more than the backends beside them have room for, with those backends; all that could serve
    them. Each is connected; together they lack exactly as many as are open."""


def match(slots: Sequence[int], serves: Adjacency, room: Sequence[int]) -> Matching:
    """Returns a maximum matching of slots and backends.

    `slots` names the class of each slot (every class has one), `serves` for each class the backends that can serve it,
    in ascending order; `room` says how many slots each backend may fill. Backends that come first are preferred.

    ```python
    from quiesce.suggestors.selection import match

    match([0, 1], [[0, 1], [0]], room=[1, 1]).filled                # [1, 0]: slot 1 has no other choice
    ```
    """
    if LARGE <= len(serves) == len(slots) and max(room, default=1) == 1 and list(slots) == [*range(len(slots))]:
        return _match_units(serves, len(room))
    work = _Work(slots, serves, room)
    work.take_first()
    short: list[tuple[list[int], list[int]]] = []
    if work.open:
        while work.search():
            work.augment()
        if work.open:
            short = work.find_short()
            work.prefer_early_slots()
    work.prefer_first_backends()
    return Matching(work.fill(), sum(work.open.values()), short)


def _match_units(serves: Adjacency, backends: int) -> Matching:
    from .large import Units

    work = Units(serves, backends)
    short = work.find_short() if work.open else []
    if work.open:
        work.prefer_early_slots()
    work.prefer_first_backends()
    return Matching(work.taker, len(work.open), short)


class _Work:
    """One matching in the making."""

    def __init__(self, slots: Sequence[int], serves: Adjacency, room: Sequence[int]) -> None:
        self.slots = slots
        self.serves = serves
        self.free = list(room)
        self.held: defaultdict[int, dict[int, int]] = defaultdict(dict)
        """By backend: how many slots of which class it fills."""
        self.open: dict[int, int] = {}
        """By class: how many of its slots are open, where any are."""
        self.stay_open: set[int] = set()
        """Positions of the slots that stay open."""
        self.layer: dict[int, int] = {}
        """By class: in how many steps the last search reached it."""
        self.reached: dict[int, int] = {}
        """By backend: the same."""
        self.asked: dict[int, list[int]] = {}
        """By backend that the last search reached: the classes, reached too, that it can serve."""

    def take_first(self) -> None:
        """Gives each slot, in order, the first backend that has room for it."""
        serves, free, held, open = self.serves, self.free, self.held, self.open
        tried = [0] * len(serves)
        for one in self.slots:
            backends, at = serves[one], tried[one]
            end = len(backends)
            while at < end and not free[backends[at]]:
                at += 1
            tried[one] = at
            if at < end:
                backend = backends[at]
                free[backend] -= 1
                mine = held[backend]
                mine[one] = mine.get(one, 0) + 1
            else:
                open[one] = open.get(one, 0) + 1

    def search(self) -> bool:
        """Looks, layer by layer, for backends with room that open slots could reach; tells whether there are any."""
        serves, free, held = self.serves, self.free, self.held
        layer = self.layer = dict.fromkeys(self.open, 0)
        reached: dict[int, int] = {}
        self.reached = reached
        front, depth, found = list(self.open), 0, False
        while front and not found:
            depth += 1
            behind: list[int] = []
            for one in front:
                for backend in serves[one]:
                    if backend not in reached:
                        reached[backend] = depth
                        if free[backend]:
                            found = True
                        else:
                            for other in held[backend]:
                                if other not in layer:
                                    layer[other] = depth
                                    behind.append(other)
            front = behind
        return found

    def augment(self) -> None:
        """Fills open slots along shortest ways until every shortest way is blocked."""
        tried: dict[int, int] = {}
        inside: dict[int, list[int]] = {}
        for start in list(self.open):
            while start in self.open and self._walk(start, tried, inside):
                pass

    def _walk(self, start: int, tried: dict[int, int], inside: dict[int, list[int]]) -> bool:
        """Moves slots along one way from an open slot to a backend with room; false if there is none in this phase.

        `tried` is how far each class has looked through its backends, `inside` what each backend still has to offer:
        what led nowhere once in a phase does so in all of it.
        """
        serves, free, held, layer, reached = self.serves, self.free, self.held, self.layer, self.reached
        classes, through = [start], list[int]()
        while classes:
            one = classes[-1]
            backends, at, depth = serves[one], tried.get(one, 0), layer[one] + 1
            onward = -1
            while at < len(backends):
                backend = backends[at]
                if reached.get(backend) == depth:
                    if free[backend]:
                        tried[one] = at
                        self._shift(classes, [*through, backend])
                        return True
                    others = inside.get(backend)
                    if others is None:
                        others = inside[backend] = [other for other in held[backend] if layer.get(other) == depth]
                    while others and (layer[others[-1]] != depth or others[-1] not in held[backend]):
                        others.pop()
                    if others:
                        onward = others[-1]
                        break
                at += 1
            tried[one] = at
            if onward >= 0:
                through.append(backends[at])
                classes.append(onward)
            else:
                layer[one] = -1  # a dead end
                classes.pop()
                if through:
                    through.pop()
        return False

    def _shift(self, classes: list[int], backends: list[int]) -> None:
        """Lets each class on a way take what the next one has at a backend, and the last take what is free."""
        held = self.held
        last = backends[-1]
        amount = min(self.open[classes[0]], self.free[last])
        for at in range(len(classes) - 1):
            amount = min(amount, held[backends[at]][classes[at + 1]])
        _less(self.open, classes[0], amount)
        self.free[last] -= amount
        for at, (one, backend) in enumerate(zip(classes, backends, strict=True)):
            held[backend][one] = held[backend].get(one, 0) + amount
            if at + 1 < len(classes):
                _less(held[backend], classes[at + 1], amount)

    # --- why no more ------------------------------------------------------------------------------------------------

    def find_short(self) -> list[tuple[list[int], list[int]]]:
        """Returns what the last search reached, which found no room, in connected parts."""
        serves = self.serves
        asked = self.asked = {backend: [] for backend in self.reached}
        for one in self.layer:
            for backend in serves[one]:
                asked[backend].append(one)
        parts = []
        seen: set[int] = set()
        for first in sorted(self.layer):
            if first in seen:
                continue
            seen.add(first)
            classes, backends = [first], dict[int, None]()
            for one in classes:
                for backend in serves[one]:
                    if backend not in backends:
                        backends[backend] = None
                        for other in asked[backend]:
                            if other not in seen:
                                seen.add(other)
                                classes.append(other)
            parts.append((sorted(classes), sorted(backends)))
        return parts

    # --- where there is a choice ------------------------------------------------------------------------------------

    def prefer_early_slots(self) -> None:
        """Has the last slots stay open that can."""
        left = dict(self.open)  # open, and still without a position
        settled: set[int] = set()  # classes that can give up no more
        fills: dict[int, dict[int, None]] | None = None
        for position in range(len(self.slots) - 1, -1, -1):
            one = self.slots[position]
            if one not in self.layer or (one in settled and one not in left):
                continue
            taker = one
            if one not in left:
                fills = fills or self._fills()
                taker = self._give_up(one, left, settled, fills)
                if taker < 0:
                    continue
                self.open[one] = self.open.get(one, 0) + 1
                _less(self.open, taker, 1)
            self.stay_open.add(position)
            _less(left, taker, 1)
            if not left:
                return

    def _fills(self) -> dict[int, dict[int, None]]:
        """Returns by class that was reached the backends that fill some of its slots."""
        fills: dict[int, dict[int, None]] = {one: {} for one in self.layer}
        for backend in self.reached:
            for one in self.held[backend]:
                fills[one][backend] = None
        return fills

    def _give_up(self, one: int, left: dict[int, int], settled: set[int], fills: dict[int, dict[int, None]]) -> int:
        """Opens a slot of a class for the sake of one that is open, by whatever detour; returns whose, or -1.

        If there is none, then neither for any class that the search came by, whatever is decided later.
        """
        asked = self.asked
        came: dict[int, tuple[int, int]] = {one: (-1, -1)}  # class -> from which one it takes over, and where
        front = [one]
        for giver in front:
            for backend in fills[giver]:
                for taker in asked[backend]:
                    if taker in came or taker in settled:
                        continue
                    came[taker] = (giver, backend)
                    if taker in left:
                        self._hand_on(taker, came, fills)
                        return taker
                    front.append(taker)
        settled.update(came)
        return -1

    def _hand_on(self, taker: int, came: dict[int, tuple[int, int]], fills: dict[int, dict[int, None]]) -> None:
        while (way := came[taker])[0] >= 0:
            giver, backend = way
            held = self.held[backend]
            held[taker] = held.get(taker, 0) + 1
            fills[taker][backend] = None
            if held[giver] == 1:
                del fills[giver][backend]
            _less(held, giver, 1)
            taker = giver

    def prefer_first_backends(self) -> None:
        """Has the last backends stay unused that can."""
        first = next((backend for backend, free in enumerate(self.free) if free), len(self.free))
        settled: set[int] = set()  # backends that no earlier one can stand in for
        used = [-backend for backend in self.held]
        heapify(used)
        while used and (backend := -heappop(used)) > first:
            while self.held[backend] and backend not in settled:
                taker = self._stand_in(backend, settled)
                if taker >= 0:
                    heappush(used, -taker)

    def _stand_in(self, backend: int, settled: set[int]) -> int:
        """Lets an earlier backend with room take over from this one, by whatever detour; returns which, or -1."""
        serves, free, held = self.serves, self.free, self.held
        came: dict[int, tuple[int, int]] = {backend: (-1, -1)}  # backend -> from which one it takes over which class
        asked: set[int] = set()
        front = [backend]
        for giver in front:
            for one in held[giver]:
                if one in asked:
                    continue
                asked.add(one)
                for taker in serves[one]:
                    if taker in came or taker in settled:
                        continue
                    came[taker] = (giver, one)
                    if taker < backend and free[taker]:
                        self._take_over(taker, came)
                        return taker
                    front.append(taker)
        settled.update(came)
        return -1

    def _take_over(self, taker: int, came: dict[int, tuple[int, int]]) -> None:
        free, held = self.free, self.held
        way = []
        at = taker
        while (step := came[at])[0] >= 0:
            way.append((step[0], at, step[1]))
            at = step[0]
        amount = min(free[taker], *(held[giver][one] for giver, _, one in way))
        free[taker] -= amount
        free[at] += amount
        for giver, receiver, one in way:
            held[receiver][one] = held[receiver].get(one, 0) + amount
            _less(held[giver], one, amount)

    # --- the answer -------------------------------------------------------------------------------------------------

    def fill(self) -> list[int]:
        """Returns by slot the backend that fills it, the earlier slots of a class by the earlier backends."""
        slots, stay_open = self.slots, self.stay_open
        if len(slots) == len(self.serves):  # mostly: each class has one slot, and there is nothing to deal out
            by_class = [-1] * len(slots)
            for backend, mine in self.held.items():
                for one in mine:
                    by_class[one] = backend
            return [by_class[one] for one in slots]
        takers: dict[int, list[int]] = {}
        for backend in sorted(self.held, reverse=True):
            for one, amount in self.held[backend].items():
                takers.setdefault(one, []).extend([backend] * amount)
        return [-1 if position in stay_open else takers[one].pop() for position, one in enumerate(slots)]


def _less(counts: dict[int, int], key: int, amount: int) -> None:
    """Takes an amount off a count, and the count away with its last."""
    if counts[key] == amount:
        del counts[key]
    else:
        counts[key] -= amount
