"""Keeps the latest observations of each window, and its figures with them, so that judging never counts again."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from threading import Lock

from .errors import InvalidDriftSetting, check_count
from .judge import NORMAL, Figures, Judgement, judge
from .medians import Halves
from .payloads import ResponseObservation
from .seen import ERROR, HAD_TOOLS, ODD_AS_SAID, ODD_AT_ALL, USED_TOOL, Seen, WindowKey, check_observation, see
from .thresholds import PLAIN, DriftOptions, DriftThresholds, check_options, thresholds_of

DEFAULT_SIZE = 20


class Window:
    """The latest observations of one window with their figures; `record` costs O(log n), `figures` nothing."""

    __slots__ = ("_eligible", "_empty", "_halves", "_odd", "_odd_at_all", "_ok", "_silent", "seen", "size")

    def __init__(self, size: int = DEFAULT_SIZE, seen: Iterable[Seen] = ()) -> None:
        self.size = size
        self.seen: deque[Seen] = deque()
        self._ok = self._empty = self._eligible = self._silent = self._odd = self._odd_at_all = 0
        self.seen.extend(seen)
        while len(self.seen) > size:
            self.seen.popleft()
        for one in self.seen:
            self._count(one, 1)
        self._halves = Halves.of([tokens for tokens, flags in self.seen if not flags & ERROR])

    def __len__(self) -> int:
        return len(self.seen)

    def record(self, seen: Seen) -> None:
        """Takes in the newest, and lets the oldest go when there are more than `size`."""
        if len(self.seen) >= self.size:
            self.drop()
        self.seen.append(seen)
        self._count(seen, 1)
        if not seen[1] & ERROR:
            self._halves.append(seen[0])

    def drop(self) -> None:
        """Lets the oldest go."""
        seen = self.seen.popleft()
        self._count(seen, -1)
        if not seen[1] & ERROR:
            self._halves.popleft()

    def figures(self) -> Figures:
        """Returns what it comes down to; the same as `figures_of` its observations."""
        earlier, recent = self._halves.medians
        return Figures(
            len(self.seen), self._ok, self._empty, self._eligible, self._silent, self._odd, self._odd_at_all, earlier,
            recent,
        )  # fmt: skip

    def _count(self, seen: Seen, by: int) -> None:
        tokens, flags = seen
        if flags & ERROR:
            return
        self._ok += by
        if not tokens:
            self._empty += by
        if flags & HAD_TOOLS:
            self._eligible += by
            if not flags & USED_TOOL:
                self._silent += by
        if flags & ODD_AS_SAID:
            self._odd += by
        if flags & ODD_AT_ALL:
            self._odd_at_all += by


class DriftWindow:
    """The latest observations of every provider, model and way of answering, judged as they come.

    ```python
    from quiesce.suggestors import DriftWindow, ResponseObservation

    windows = DriftWindow(max_size=20)
    for _ in range(10):
        empty = ResponseObservation(provider="acme", output_tokens=0, has_tool_use=False, request_had_tools=False)
        windows.record(empty)
    assert windows.judge("acme").severity == "severe"
    ```

    A window is that of a provider, a model and either streamed or whole answers; `provider` alone names the one without
    a model. `judge` gives what `detect_drift` gives for `get_window`, at O(log n) for each observation recorded. Any
    number of threads may use it. Of more than `max_windows`, the one that was longest without an observation goes.

    `thresholds` are the name of a preset or `DriftThresholds`.

    Raises:
        InvalidDriftSetting: a size below `min_window_fill`, which would never judge anything; thresholds or options
            that are none.
    """

    def __init__(
        self,
        max_size: int = DEFAULT_SIZE,
        thresholds: str | DriftThresholds = NORMAL,
        options: DriftOptions = PLAIN,
        *,
        max_windows: int = 10_000,
    ) -> None:
        thresholds = thresholds_of("DriftWindow", thresholds)
        check_options("DriftWindow", options)
        check_size("DriftWindow", "max_size", max_size, thresholds)
        check_count("DriftWindow", "max_windows", max_windows, 1)
        self.max_size, self.max_windows = max_size, max_windows
        self.thresholds, self.options = thresholds, options
        self._windows: OrderedDict[WindowKey, tuple[Window, deque[ResponseObservation]]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._windows)

    def record(self, observation: ResponseObservation) -> None:
        """Adds an observation to its window.

        Raises:
            InvalidDriftSetting: it is none; nothing is added.
        """
        if not isinstance(observation, ResponseObservation):
            check_observation("DriftWindow.record", observation)
        key = (observation.provider, observation.model, observation.stream)
        with self._lock:
            found = self._windows.get(key)
            if found is None:
                found = self._windows[key] = (Window(self.max_size), deque(maxlen=self.max_size))
                if len(self._windows) > self.max_windows:
                    self._windows.popitem(last=False)
            else:
                self._windows.move_to_end(key)
            found[0].record(see(observation))
            found[1].append(observation)

    def judge(self, provider: str, model: str = "", *, stream: bool = False) -> Judgement:
        """Returns what a window says; nothing about one that is not known."""
        with self._lock:
            found = self._windows.get((provider, model, stream))
            figures = None if found is None else found[0].figures()
        return Judgement() if figures is None else judge(figures, self.thresholds, self.options)

    def get_window(self, provider: str, model: str = "", *, stream: bool = False) -> list[ResponseObservation]:
        """Returns the observations of a window, oldest first."""
        with self._lock:
            found = self._windows.get((provider, model, stream))
            return [] if found is None else list(found[1])

    def names(self) -> list[WindowKey]:
        """Returns which windows there are: provider, model and whether streamed."""
        with self._lock:
            return list(self._windows)

    def clear(self, provider: str) -> None:
        """Forgets all windows of a provider."""
        with self._lock:
            for key in [key for key in self._windows if key[0] == provider]:
                del self._windows[key]

    def clear_all(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._windows.clear()

    def resize(self, max_size: int) -> None:
        """Changes the size of all windows, those that are there included: they keep their latest."""
        check_size("DriftWindow", "max_size", max_size, self.thresholds)
        with self._lock:
            self.max_size = max_size
            for key, (window, kept) in self._windows.items():
                window.size = max_size
                while len(window) > max_size:
                    window.drop()
                self._windows[key] = (window, deque(kept, maxlen=max_size))


def check_size(where: str, name: str, size: object, thresholds: DriftThresholds, most: int = 10_000_000) -> None:
    """Raises InvalidDriftSetting unless a window of this size can ever be full enough to be judged."""
    least = thresholds.min_window_fill
    try:
        check_count(where, name, size, least, most)
    except InvalidDriftSetting as error:
        because = f" ({least} is min_window_fill: below it nothing is ever judged)"
        raise InvalidDriftSetting(where, name, size, error.allowed + because) from None
