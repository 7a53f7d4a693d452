"""Makes the same works for other libraries, where they are installed, and quotes the figures of those that are not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from itertools import count
from operator import add
from typing import Annotated, Any, TypedDict

import anyio

from measure import Case, timed
from work import EDGES, SEEDS, STAGES, WIDTH
from work_lanes import LANES, seconds
from work_lanes import STAGES as LANE_STAGES

Work = Callable[[], Awaitable[object]]


class Count(TypedDict):
    """The state of LangGraph's chain."""

    n: int


class Sums(TypedDict):
    """The state of LangGraph's fan: what the branches say is added up to a list."""

    n: int
    said: Annotated[list[int], add]


def chain() -> list[Case]:
    return [
        _case("LangGraph, sync, no checkpoints", _langgraph_chain, 3),
        _case("LangGraph, async, no checkpoints", lambda: _langgraph_chain(awaits=True), 3),
        _case("LangGraph, sync, checkpoints in memory", lambda: _langgraph_chain(keeps=True), 3),
        _case("pydantic-graph, async, keeps nothing", _pydantic_graph_chain, 3),
        Case("Converge (Rust), sync", quoted=2.0),
    ]


def fan() -> list[Case]:
    return [
        _case("LangGraph, async, no checkpoints", _langgraph_fan, 3),
        _case("LangGraph, async, checkpoints in memory", lambda: _langgraph_fan(keeps=True), 3),
        Case("Converge (Rust), one after the other", quoted=0.32),
    ]


def mapped() -> list[Case]:
    return [
        _case("CLIPS (C), run, facts asserted before", None, sample=_clips_map(run_only=True)),
        _case("CLIPS (C), assert and run", None, sample=_clips_map(run_only=False)),
        Case("Converge (Rust)", quoted=359.0),
    ]


def closure() -> list[Case]:
    return [_case("CLIPS (C), assert and run", _clips_closure)]


def lanes() -> list[Case]:
    return [_case("LangGraph, async, no checkpoints", _langgraph_lanes)]
