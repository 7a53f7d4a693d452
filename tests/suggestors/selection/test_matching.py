"""Holds the matching to brute force, to networkx and to scipy, and its explanation to Hall's theorem."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator

import networkx
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from quiesce.suggestors.selection import matching
from quiesce.suggestors.selection.matching import Matching, match

Graph = tuple[list[int], list[list[int]], list[int]]


@st.composite
def graphs(draw: st.DrawFn, classes: int = 4, backends: int = 4, slots: int = 5) -> Graph:
    """Slots by class, who can serve which class, and how many slots each backend has room for."""
    count = draw(st.integers(0, backends))
    asked = draw(st.lists(st.integers(0, classes - 1), max_size=slots))
    numbers: dict[int, int] = {}
    named = [numbers.setdefault(one, len(numbers)) for one in asked]
    serves = [sorted(draw(st.sets(st.integers(0, count - 1)) if count else st.just(set()))) for _ in numbers]
    return named, serves, draw(st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=count, max_size=count))


def all_matchings(graph: Graph) -> Iterator[tuple[int, ...]]:
    """Yields every way to fill slots, full or not."""
    slots, serves, room = graph

    def fill(position: int, free: list[int], filled: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if position == len(slots):
            yield filled
            return
        yield from fill(position + 1, free, (*filled, -1))
        for backend in serves[slots[position]]:
            if free[backend]:
                left = [one - (at == backend) for at, one in enumerate(free)]
                yield from fill(position + 1, left, (*filled, backend))

    yield from fill(0, room, ())


def best_matchings(graph: Graph) -> list[tuple[int, ...]]:
    """Returns every matching of the largest size."""
    known = list(all_matchings(graph))
    most = max(size(one) for one in known)
    return [one for one in known if size(one) == most]


def size(filled: tuple[int, ...]) -> int:
    return sum(backend >= 0 for backend in filled)


def use(filled: tuple[int, ...], room: list[int]) -> list[bool]:
    """Returns place by place of all backends whether it is used, the first places of each first."""
    return [place < filled.count(backend) for backend, places in enumerate(room) for place in range(places)]


@pytest.mark.slow
@pytest.mark.parametrize("large", [0, 10**9], ids=["with scipy", "alone"])
@given(graph=graphs())
def test_a_matching_is_the_best_by_brute_force(large: int, graph: Graph) -> None:
    """As many slots as can be; of those the first ones that can be; by the first backends that can."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "LARGE", large)
        found = match(*graph)
    best = best_matchings(graph)
    filled = tuple(found.filled)

    assert filled in best
    assert len(graph[0]) - size(filled) == found.open
    assert max([backend >= 0 for backend in one] for one in best) == [backend >= 0 for backend in filled]
    assert max(use(one, graph[2]) for one in best) == use(filled, graph[2])


@given(graph=graphs())
def test_what_is_short_is_a_hall_violator_and_names_all_that_could_stay_open(graph: Graph) -> None:
    """Each part asks for more than all its backends have room for; together they lack exactly what is open."""
    slots, serves, room = graph
    found = match(*graph)
    asked = Counter(slots)
    lacking = []
    for classes, backends in found.short:
        assert backends == sorted({backend for one in classes for backend in serves[one]})
        lacking.append(sum(asked[one] for one in classes) - sum(room[backend] for backend in backends))
    could_stay_open = {
        slots[at] for filled in best_matchings(graph) for at, backend in enumerate(filled) if backend < 0
    }  # fmt: skip

    assert all(lack > 0 for lack in lacking)
    assert sum(lacking) == found.open
    assert could_stay_open == {one for classes, _ in found.short for one in classes}


@pytest.mark.slow
@given(graph=graphs(), data=st.data())
def test_what_stays_open_and_why_do_not_depend_on_the_order_of_backends(graph: Graph, data: st.DataObject) -> None:
    slots, serves, room = graph
    order = data.draw(st.permutations(range(len(room))))
    place = {backend: at for at, backend in enumerate(order)}
    turned = match(slots, [sorted(place[one] for one in some) for some in serves], [room[one] for one in order])
    found = match(*graph)
    turned_back = [(classes, sorted(order[one] for one in backends)) for classes, backends in turned.short]

    assert [one < 0 for one in found.filled] == [one < 0 for one in turned.filled]
    assert found.short == turned_back


@pytest.mark.parametrize("size", [30, 300, 1500])
@pytest.mark.parametrize("degree", [1, 2, 5])
def test_large_matchings_are_as_large_as_those_of_networkx_and_scipy(size: int, degree: int) -> None:
    """Sparse graphs are the hard ones: many slots stay open, and ways to others are long."""
    serves = random_graph(size, size, degree, seed=size + degree)
    found = match(list(range(size)), serves, [1] * size)

    check(found, list(range(size)), serves, [1] * size)
    assert sum(one >= 0 for one in scipy_matching(serves, size)) == size - found.open
    graph = networkx.Graph((("slot", at), ("backend", one)) for at, some in enumerate(serves) for one in some)
    top = [("slot", at) for at, some in enumerate(serves) if some]
    assert len(networkx.bipartite.hopcroft_karp_matching(graph, top)) // 2 == size - found.open


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_with_scipy_and_alone_the_same_slots_stay_open_for_the_same_reason(
    degree: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same backends are used; only who of them fills which slot may differ."""
    serves = random_graph(150 + 20 * seed, 200, degree, seed)
    found = []
    for large in (0, 10**9):
        monkeypatch.setattr(matching, "LARGE", large)
        found.append(match(list(range(len(serves))), serves, [1] * 200))
    one, other = found

    assert (one.open, one.short) == (other.open, other.short)
    assert [at for at, by in enumerate(one.filled) if by < 0] == [at for at, by in enumerate(other.filled) if by < 0]
    assert set(one.filled) == set(other.filled)


@pytest.mark.parametrize("large", [0, 10**9], ids=["with scipy", "alone"])
def test_what_is_short_for_reasons_of_its_own_is_told_apart(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though a slot that lacks nothing could take the backends of both."""
    monkeypatch.setattr(matching, "LARGE", large)
    found = match([0, 1, 2, 3, 4, 5], [[0], [0], [1], [1], [0, 1, 2], []], [1, 1, 1])

    assert [([0, 1], [0]), ([2, 3], [1]), ([5], [])] == found.short
    assert [0, -1, 1, -1, 2, -1] == found.filled


def random_graph(classes: int, backends: int, degree: int, seed: int) -> list[list[int]]:
    chance = random.Random(seed)
    return [sorted(chance.sample(range(backends), degree)) for _ in range(classes)]


def scipy_matching(serves: list[list[int]], backends: int) -> list[int]:
    ends = numpy.cumsum([0, *map(len, serves)])
    targets = [one for some in serves for one in some]
    graph = csr_array((numpy.ones(len(targets)), targets, ends), shape=(len(serves), backends))
    found: list[int] = maximum_bipartite_matching(graph, perm_type="column").tolist()
    return found


def check(found: Matching, slots: list[int], serves: list[list[int]], room: list[int]) -> None:
    """Checks that a matching is one, and by Hall's theorem that there is none larger."""
    used = Counter(backend for backend in found.filled if backend >= 0)
    asked = Counter(slots)
    lacking = [sum(asked[one] for one in part) - sum(room[one] for one in beside) for part, beside in found.short]

    assert all(backend < 0 or backend in serves[one] for one, backend in zip(slots, found.filled, strict=True))
    assert all(count <= room[backend] for backend, count in used.items())
    assert sum(lacking) == found.open == found.filled.count(-1)


@pytest.mark.parametrize("large", [0, 10**9], ids=["with scipy", "alone"])
def test_many_slots_of_few_classes_and_backends_with_room_are_dealt_out(
    large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeated capabilities and rooms of any size."""
    monkeypatch.setattr(matching, "LARGE", large)
    for seed in range(30):
        chance = random.Random(seed)
        serves = random_graph(20, 15, 3, seed)
        room = [chance.choice([1, 1, 2, 7]) for _ in range(15)]
        slots = [*range(20), *(chance.randrange(20) for _ in range(40))]

        check(match(slots, serves, room), slots, serves, room)


def test_a_long_chain_of_moves_needs_no_recursion() -> None:
    """Each slot has to move by one for the last to find room: as deep as the request is long (B 19)."""
    length = 3 * sys.getrecursionlimit()
    serves = [[at, at + 1] for at in range(length)]
    serves.append([0])
    found = match(list(range(length + 1)), serves, [1] * (length + 1))

    assert [*range(1, length + 1), 0] == found.filled


@pytest.mark.parametrize("large", [0, 10**9], ids=["with scipy", "alone"])
def test_a_million_slots_of_a_backend_cost_nothing(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is a number: nothing is laid out slot by slot."""
    monkeypatch.setattr(matching, "LARGE", large)
    found = match([0] * 1_000 + [1] * 1_000, [[0, 1], [0]], [1_000_000, 1_000_000])

    assert [0] * 2_000 == found.filled


def test_a_hundred_thousand_slots_for_one_capability_are_one_class() -> None:
    """With each slot a node of its own and a thousand backends there would be a hundred million edges."""
    found = match([0] * 100_000, [list(range(1_000))], [1] * 1_000)

    assert [*range(1_000), *[-1] * 99_000] == found.filled
    assert [([0], list(range(1_000)))] == found.short


def test_the_same_input_gives_the_same_matching() -> None:
    serves = random_graph(300, 280, 3, seed=3)

    assert match(list(range(300)), serves, [1] * 280) == match(list(range(300)), serves, [1] * 280)


@pytest.mark.parametrize("large", [0, 10**9], ids=["with scipy", "alone"])
def test_classes_may_be_numbered_in_any_order(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "LARGE", large)

    assert [0, -1, 1] == match([2, 0, 1], [[0], [1], [0]], [1, 1]).filled


def test_nothing_is_asked_for() -> None:
    assert Matching([], 0, []) == match([], [], [1, 2])
