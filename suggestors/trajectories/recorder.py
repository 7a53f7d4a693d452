"""Records a trajectory while the work happens: steps with their times, what was learned, how it ended."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Iterable
from threading import get_ident
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from ...engine.clock import Clock, RealClock
from ...engine.options import check_log
from ...facts import FactLog, Leased, QuiesceError, RunId
from ...facts.fact import check_confidence, clean_message
from .embedding import check_embedding
from .errors import TrajectoryClosed, UnknownTrajectory
from .failures import failures_of
from .journal import Journal, read_back, run_of
from .outcome import StepOutcome
from .payloads import (
    RecordedDetail,
    RecordedStep,
    StepMetadata,
    Trajectory,
    TrajectoryBegun,
    TrajectoryMetadata,
    TrajectoryStep,
)
from .verdict import RootCause, Verdict


class TrajectoryRecorder:
    """Builds a trajectory as work happens; several threads may use one.

    ```python
    from quiesce.suggestors import StepOutcome, TrajectoryRecorder, Verdict

    with TrajectoryRecorder([0.1, 0.9], log=log, request_type="lookup") as recorder:
        recorder.start_step()
        recorder.add_step("search", "the question names a place", StepOutcome.success(), 0.9)
        recorder.add_lesson("the index knows places by their old names")
        trajectory = recorder.complete(Verdict.success())
    trajectory.quality                                                # 0.9
    ```

    With a log each step is in it before `add_step` returns. Left by an exception, the block completes it as
    failure(unknown) unless a verdict was given; left without either, as partial, with the share of steps that
    succeeded. `uuid` and `clock` are for tests and for suggestors, whose runs have to replay; see `uuid_of`.
    """

    def __init__(
        self, query_embedding: Iterable[float] | None = None, *, log: FactLog | None = None, uuid: UUID | None = None,
        clock: Clock | None = None, session_id: str | None = None, user_id: str | None = None,
        request_type: str | None = None,
    ) -> None:  # fmt: skip
        embedding = None if query_embedding is None else check_embedding(query_embedding, "the query embedding")
        self._clock = clock if clock is not None else RealClock()
        metadata = TrajectoryMetadata(session_id=session_id, user_id=user_id, request_type=request_type)
        begun = Trajectory.begin(embedding, uuid=uuid, started=self._clock.now(), metadata=metadata)
        journal = None
        if log is not None:
            sweep(check_log(log))
            opening = {"uuid": begun.uuid, "started": begun.started, "query_embedding": embedding, "metadata": metadata}
            self._enlist(log, run_of(begun.uuid))  # first: nobody must take it for abandoned
            journal = Journal.begin(log, TrajectoryBegun.model_validate(opening))
        self._set_up(begun, journal)

    @classmethod
    def resume(cls, log: FactLog, trajectory: Trajectory | UUID | str, *, clock: Clock | None = None) -> Self:
        """Goes on with a trajectory that a crash, or a recorder that was dropped, left unfinished in a log.

        Its latency goes on from the sum of its steps' latencies: nobody knows how long it lay there.

        Raises:
            UnknownTrajectory: the log has none of this UUID, or it is complete.
            Leased: somebody is recording it.
        """
        uuid = trajectory.uuid if isinstance(trajectory, Trajectory) else trajectory
        run = run_of(uuid)
        sweep(check_log(log))
        if run not in log:
            raise UnknownTrajectory(str(uuid), "no recorder has written it to this log")
        if is_live(log, run):
            raise Leased(run, "a recorder of this process", 0.0)
        log.claim(run)
        try:
            known, journal = read_back(log, run)
            if known.is_finished:
                raise UnknownTrajectory(str(uuid), "it is complete")
        except BaseException:  # whatever it was goes on to the caller
            log.release(run)
            raise
        self = cls.__new__(cls)
        self._clock = clock if clock is not None else RealClock()
        self._set_up(known, journal)
        self._began -= sum(step.latency_ms for step in known.steps) / 1_000
        return self

    def _set_up(self, begun: Trajectory, journal: Journal | None) -> None:
        self._lock = threading.RLock()
        self._known, self._journal = begun, journal
        self._steps = list(begun.steps)
        self._lessons = list(begun.lessons)
        self._metadata = begun.metadata
        self._response = begun.response_embedding
        self._dimension = next(
            (len(one) for one in (begun.query_embedding, begun.response_embedding, *(s.embedding for s in begun.steps))
             if one is not None), None,
        )  # fmt: skip
        self._began = self._clock.seconds()
        self._marks: dict[int, float] = {}
        self._given: Verdict | None = None
        self._state = _State(begun.id, os.getpid(), journal)
        weakref.finalize(self, _dropped, self._state)
        if journal is not None:
            _live[id(journal.log.store), journal.run] = self

    def _enlist(self, log: FactLog, run: RunId) -> None:
        """Takes its place among the recorders of this process; the one that has it keeps it."""
        with _enlisting:
            if is_live(log, run):
                raise Leased(run, "a recorder of this process", 0.0)
            _live[id(log.store), run] = self

    # --- steps ------------------------------------------------------------------------------------------------------

    def start_step(self) -> float:
        """Times the next step that this thread adds, from now; returns the moment, for `add_step(started=…)`."""
        with self._lock:
            self._check_open("start_step")
            mark = self._marks[get_ident()] = self._clock.seconds()
            return mark

    def add_step(
        self, action: str, rationale: str, outcome: StepOutcome, confidence: float, *, started: float | None = None,
        embedding: Iterable[float] | None = None, metadata: StepMetadata | None = None,
    ) -> TrajectoryStep:  # fmt: skip
        """Adds a step and returns it; it took the time since `start_step`, or 0 ms without one.

        Where tasks of one thread take steps at once, each hands what its `start_step` returned as `started`.

        Raises:
            FactError: the confidence is not a number from 0 to 1, or the embedding is none. Nothing was added.
            StoreError: the log takes no more. Nothing was added.
        """
        confidence = check_confidence(confidence)
        with self._lock:
            self._check_open("a step")
            mark = started if started is not None else self._marks.get(get_ident())
            took = 0.0 if mark is None else max(0.0, self._clock.seconds() - mark) * 1_000
            step = TrajectoryStep.model_validate({
                "index": len(self._steps), "action": action, "rationale": rationale, "outcome": outcome,
                "confidence": confidence, "latency_ms": took, "timestamp": self._clock.now(),
                "embedding": self._check(embedding, "the embedding of a step"),
                "metadata": metadata if metadata is not None else StepMetadata(),
            })  # fmt: skip
            return self._add(step)

    def add_full_step(self, step: TrajectoryStep) -> TrajectoryStep:
        """Adds a step that was made elsewhere, under the next index; the timer of this thread is cleared."""
        with self._lock:
            self._check_open("a step")
            self._check(step.embedding, "the embedding of a step")
            return self._add(step.model_copy(update={"index": len(self._steps)}))

    def _add(self, step: TrajectoryStep) -> TrajectoryStep:
        if self._journal is not None:
            self._journal.keep(RecordedStep(trajectory=self._known.uuid, step=step), f"{self._known.uuid}/{step.index}")
        self._steps.append(step)
        self._metadata = self._metadata.with_step(step.metadata)
        self._marks.pop(get_ident(), None)
        if self._dimension is None and step.embedding is not None:
            self._dimension = len(step.embedding)
        return step

    # --- beside steps -----------------------------------------------------------------------------------------------

    def set_session(self, session_id: str) -> None:
        """Says in which session it happens."""
        self._set(session_id=session_id)

    def set_user(self, user_id: str) -> None:
        """Says for whom."""
        self._set(user_id=user_id)

    def set_request_type(self, request_type: str) -> None:
        """Says what kind of request it is."""
        self._set(request_type=request_type)

    def set_attribute(self, name: str, value: str) -> None:
        """Says anything else."""
        with self._lock:
            self._set(attributes={**self._metadata.attributes, name: value})

    def add_tag(self, tag: str) -> None:
        """Adds a tag; one that is there already is not repeated."""
        with self._lock:
            self._set(tags=_with(self._metadata.tags, tag))

    def add_tokens(self, input_tokens: int = 0, output_tokens: int = 0) -> None:
        """Adds to the token totals; those in the metadata of steps are counted without it."""
        with self._lock:
            more = StepMetadata(input_tokens=input_tokens, output_tokens=output_tokens)  # refused if it is below 0
            before = self._metadata
            self._set(
                input_tokens=before.input_tokens + more.input_tokens,
                output_tokens=before.output_tokens + more.output_tokens,
            )

    def add_model(self, model: str) -> None:
        """Says that a model was used."""
        with self._lock:
            self._set(models_used=_with(self._metadata.models_used, model))

    def add_tool(self, tool: str) -> None:
        """Says that a tool was invoked."""
        with self._lock:
            self._set(tools_invoked=_with(self._metadata.tools_invoked, tool))

    def add_lesson(self, lesson: str) -> None:
        """Says what was learned; what was said before is not repeated."""
        with self._lock:
            self._check_open("a lesson")
            if lesson not in self._lessons:
                self._detail(RecordedDetail(trajectory=self._known.uuid, lesson=lesson))
                self._lessons.append(lesson)

    def set_response_embedding(self, embedding: Iterable[float]) -> None:
        """Says where the response lies."""
        with self._lock:
            self._check_open("an embedding")
            checked = self._check(embedding, "the response embedding")
            self._detail(RecordedDetail(trajectory=self._known.uuid, response_embedding=checked))
            self._response = checked
            self._dimension = self._dimension if checked is None else len(checked)

    # --- the end ----------------------------------------------------------------------------------------------------

    def give_verdict(self, verdict: Verdict) -> None:
        """Says with which verdict the `with` block is to complete it, whatever happens from here on."""
        with self._lock:
            self._check_open("a verdict")
            self._given = verdict

    def complete(self, verdict: Verdict | None = None, *, brief: bool = False) -> Trajectory:
        """Closes it and returns the trajectory; without a verdict, with the one that was given, or as partial.

        With `brief` it is `Trajectory.brief()`; the log keeps the steps in full where they were journaled.

        Raises:
            TrajectoryClosed: it is complete already.
            StoreError: the log takes no more. It is still open.
            InvalidPayload: it is too large for a log. It is still open; complete it in brief.
        """
        with self._lock:
            self._check_open("another verdict")
            if verdict is None:
                verdict = self._given if self._given is not None else Verdict.partial(self.trajectory.success_rate)
            latency = max(0.0, self._clock.seconds() - self._began) * 1_000
            done = self.trajectory.complete(verdict, at=self._clock.now(), latency_ms=latency)
            done = done.brief() if brief else done
            if self._journal is not None:
                self._journal.conclude(done, failures_of(done))
            self._known = done
            self._state.closed = True
            return done

    @property
    def trajectory(self) -> Trajectory:
        """The trajectory as it is now; unfinished until `complete`."""
        with self._lock:
            if self._known.is_finished:
                return self._known
            return Trajectory.model_validate({
                **dict(self._known), "steps": tuple(self._steps), "lessons": tuple(self._lessons),
                "metadata": self._metadata, "response_embedding": self._response,
            })  # fmt: skip

    @property
    def step_count(self) -> int:
        return len(self._steps)

    @property
    def is_complete(self) -> bool:
        return self._state.closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._state.closed:
                return
            if error is None:
                self.complete()
                return
            details = f"{type(error).__name__}: {clean_message(error)}"
            try:
                self.complete(self._given or Verdict.failure(RootCause.unknown(details)))
            except (QuiesceError, OSError) as second:  # what happened in the block is the more important of the two
                error.add_note(f"trajectory {self._known.id} could not be completed either: {second}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _check_open(self, asked: str) -> None:
        if self._state.closed:
            raise TrajectoryClosed(self._known.id, asked)

    def _check(self, embedding: Iterable[float] | None, what: str) -> tuple[float, ...] | None:
        return None if embedding is None else check_embedding(embedding, what, self._dimension)

    def _set(self, **changes: Any) -> None:
        with self._lock:
            self._check_open(f"a change of {', '.join(changes)}")
            changed = TrajectoryMetadata.model_validate({**dict(self._metadata), **changes})
            if changed != self._metadata:
                self._detail(RecordedDetail(trajectory=self._known.uuid, metadata=changed))
                self._metadata = changed

    def _detail(self, detail: RecordedDetail) -> None:
        if self._journal is not None:
            self._journal.keep(detail, f"{self._known.uuid}/detail-{self._journal.cycle}")


# --- recorders that are gone ------------------------------------------------------------------------------------------


class _State:
    """What outlives a recorder that is dropped: enough to tell of it."""

    __slots__ = ("closed", "id", "journal", "process")

    def __init__(self, id: str, process: int, journal: Journal | None) -> None:
        self.id, self.process, self.journal = id, process, journal
        self.closed = False


_live: weakref.WeakValueDictionary[tuple[int, RunId], TrajectoryRecorder] = weakref.WeakValueDictionary()
"""The recorders of this process that have a log, by the address of its store (which they keep alive) and their run."""
_enlisting = threading.Lock()
_left: deque[tuple[weakref.ref[FactLog], RunId]] = deque()
"""Runs of recorders that were dropped: a finalizer may run anywhere, also inside a commit, so it writes nothing."""


def _dropped(state: _State) -> None:
    if state.closed or state.process != os.getpid():
        return
    where = "It was in memory only, so its steps are lost"
    if state.journal is not None:
        _left.append((weakref.ref(state.journal.log), state.journal.run))
        where = "Its steps are in the log: recover_trajectories(log), TrajectoryRecorder.resume(log, …)"
    warnings.warn(f"trajectory {state.id} was dropped before it was complete. {where}", ResourceWarning, stacklevel=2)


def sweep(log: FactLog) -> None:
    """Gives back the runs of recorders that were dropped in this process, so that others can go on with them."""
    for _ in range(len(_left)):
        try:
            kept, run = _left.popleft()
        except IndexError:  # another thread has taken it
            return
        found = kept()
        if found is log:
            log.release(run)
        elif found is not None:
            _left.append((kept, run))


def is_live(log: FactLog, run: RunId) -> bool:
    """Tells whether a recorder of this process is writing a run."""
    recorder = _live.get((id(log.store), run))
    return recorder is not None and not ("_state" in vars(recorder) and recorder.is_complete)


def _with(known: tuple[str, ...], more: str) -> tuple[str, ...]:
    return known if more in known else (*known, more)
