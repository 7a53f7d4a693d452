"""Keeps the medians of the earlier and the recent half of a sliding window, at O(log n) for each step.

Told as a story: the values stand in a queue. The *earlier* half and the *recent* half each keep a median: two heaps,
the lower values in one and the higher in the other, whose tops are the middle. Whoever leaves a heap from its midst is
only noted as *gone*, and dropped once it comes to the top, or when half of a heap is gone. When a value joins or leaves
the queue, at most one other changes its half.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush


class RunningMedian:
    """The median of a changing bag of whole numbers; `add` and `remove` cost O(log n), amortised.

    ```python
    from quiesce.suggestors.drift.medians import RunningMedian

    bag = RunningMedian()
    for value in (5, 1, 9, 9):
        bag.add(value)
    bag.remove(1)
    assert bag.median == 9
    ```
    """

    __slots__ = ("_gone_high", "_gone_low", "_high", "_low", "_n_high", "_n_low")

    def __init__(self) -> None:
        self._low: list[int] = []  # negated, so that the top is the highest
        self._high: list[int] = []
        self._gone_low: dict[int, int] = {}  # negated too: how often an entry of the heap no longer counts
        self._gone_high: dict[int, int] = {}
        self._n_low = self._n_high = 0  # how many count; n_low is n_high or one more

    @classmethod
    def of(cls, values: Iterable[int]) -> RunningMedian:
        """Returns the bag of some values, at once."""
        bag, ordered = cls(), sorted(values)
        middle = (len(ordered) + 1) // 2
        bag._low = [-value for value in reversed(ordered[:middle])]  # what is sorted is a heap
        bag._high = ordered[middle:]
        bag._n_low, bag._n_high = middle, len(ordered) - middle
        return bag

    def __len__(self) -> int:
        return self._n_low + self._n_high

    @property
    def median(self) -> float:
        """The value in the middle, or the mean of the two; 0 for an empty bag."""
        if self._n_low > self._n_high:
            return float(-self._low[0])
        return (self._high[0] - self._low[0]) / 2 if self._n_low else 0.0

    def add(self, value: int) -> None:
        """Takes a value in."""
        if not self._n_low or value <= -self._low[0]:
            _enter(self._low, self._gone_low, -value)
            self._n_low += 1
        else:
            _enter(self._high, self._gone_high, value)
            self._n_high += 1
        self._level()

    def remove(self, value: int) -> None:
        """Takes out one of the values, which must be there."""
        if value <= -self._low[0]:
            _leave(self._low, self._gone_low, -value)
            self._n_low -= 1
            if len(self._low) > 2 * self._n_low + 32:
                self._low = _without(self._low, self._gone_low)
        else:
            _leave(self._high, self._gone_high, value)
            self._n_high -= 1
            if len(self._high) > 2 * self._n_high + 32:
                self._high = _without(self._high, self._gone_high)
        self._level()

    def _level(self) -> None:
        if self._n_low > self._n_high + 1:
            value = heappop(self._low)
            _clear_top(self._low, self._gone_low)
            _enter(self._high, self._gone_high, -value)
            self._n_low -= 1
            self._n_high += 1
        elif self._n_low < self._n_high:
            value = heappop(self._high)
            _clear_top(self._high, self._gone_high)
            _enter(self._low, self._gone_low, -value)
            self._n_high -= 1
            self._n_low += 1


def _enter(heap: list[int], gone: dict[int, int], entry: int) -> None:
    count = gone.get(entry)
    if count is None:
        heappush(heap, entry)
    elif count == 1:  # the same value left before and is still in the heap: it counts again
        del gone[entry]
    else:
        gone[entry] = count - 1


def _leave(heap: list[int], gone: dict[int, int], entry: int) -> None:
    if heap[0] == entry:
        heappop(heap)
        _clear_top(heap, gone)
    else:
        gone[entry] = gone.get(entry, 0) + 1


def _clear_top(heap: list[int], gone: dict[int, int]) -> None:
    """Drops what is gone from the top, so that the top counts."""
    while gone and heap:
        count = gone.get(heap[0])
        if count is None:
            return
        if count == 1:
            del gone[heap[0]]
        else:
            gone[heap[0]] = count - 1
        heappop(heap)


def _without(heap: list[int], gone: dict[int, int]) -> list[int]:
    """Returns the heap without what is gone."""
    kept = []
    for entry in heap:
        count = gone.get(entry)
        if count is None:
            kept.append(entry)
        elif count == 1:
            del gone[entry]
        else:
            gone[entry] = count - 1
    heapify(kept)
    return kept


class Halves:
    """A queue of whole numbers split at n // 2, with the median of each half; each step costs O(log n), amortised."""

    __slots__ = ("_earlier", "_of_earlier", "_of_recent", "_recent")

    def __init__(self) -> None:
        self._earlier: deque[int] = deque()
        self._recent: deque[int] = deque()
        self._of_earlier = RunningMedian()
        self._of_recent = RunningMedian()

    @classmethod
    def of(cls, values: Sequence[int]) -> Halves:
        """Returns the queue of some values, at once."""
        queue, middle = cls(), len(values) // 2
        queue._earlier, queue._recent = deque(values[:middle]), deque(values[middle:])
        queue._of_earlier, queue._of_recent = RunningMedian.of(queue._earlier), RunningMedian.of(queue._recent)
        return queue

    def __len__(self) -> int:
        return len(self._earlier) + len(self._recent)

    @property
    def medians(self) -> tuple[float, float]:
        """The medians of the earlier and the recent half; the middle one of an odd number counts as recent."""
        return self._of_earlier.median, self._of_recent.median

    def append(self, value: int) -> None:
        """Adds the newest."""
        self._recent.append(value)
        self._of_recent.add(value)
        if len(self._recent) > len(self._earlier) + 1:
            middle = self._recent.popleft()
            self._of_recent.remove(middle)
            self._earlier.append(middle)
            self._of_earlier.add(middle)

    def popleft(self) -> None:
        """Takes out the oldest."""
        if self._earlier:
            self._of_earlier.remove(self._earlier.popleft())
        else:
            self._of_recent.remove(self._recent.popleft())
            return
        if len(self._recent) > len(self._earlier) + 1:
            middle = self._recent.popleft()
            self._of_recent.remove(middle)
            self._earlier.append(middle)
            self._of_earlier.add(middle)
