"""Writes for machines: facts, runs, explanations and differences as JSON data."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..facts import Change, Context, Diff, Fact, FactLog, LogError, Opaque, Payload, RunId, Verification, Why
from ..facts.canonical import payload_bytes
from ..facts.tombstone import Tombstone
from ..facts.trail import Parked
from .result import Result
from .stop import describe, stop_to_json

if TYPE_CHECKING:
    from networkx import MultiDiGraph

    from .check import Finding

GONE = None
"""What stands for a payload that was redacted."""


def write(*documents: Any) -> None:
    """Writes documents to stdout, a line each."""
    for document in documents:
        sys.stdout.write(f"{json.dumps(document, allow_nan=False)}\n")


def payload_data(payload: Payload | Opaque | None) -> Any:
    """Returns a payload as JSON data, whether its class is known here or not."""
    if payload is None or (isinstance(payload, Opaque) and not payload.raw):
        return GONE
    raw = payload_bytes(payload)
    try:
        data = json.loads(raw)
        json.dumps(data, allow_nan=False)
    except (ValueError, RecursionError):  # a number or a depth that Python's JSON cannot carry: its text, then
        return raw.decode(errors="backslashreplace")
    return data


def redacted_data(payload: Payload | Opaque | None) -> dict[str, str] | None:
    """Returns why a payload was redacted, by whom and when; None where it was not, or nobody has said so."""
    if not isinstance(payload, Opaque) or not payload.tombstone:
        return None
    try:
        found = Tombstone.read(payload.tombstone)
    except ValueError:
        return None
    return {"reason": found.reason, "by": found.by, "at": found.at}


def in_order(context: Context) -> list[Fact[Any]]:
    """Returns the facts by family, families by their first cycle and name: an order that no timing changes."""
    families: dict[str, list[Fact[Any]]] = {}
    for fact in context:
        families.setdefault(fact.family, []).append(fact)
    order = sorted(families, key=lambda family: (min(fact.cycle for fact in families[family]), family))
    return [fact for family in order for fact in families[family]]


def fact_data(fact: Fact[Any]) -> dict[str, Any]:
    """Returns a fact as JSON data."""
    return {
        "key": fact.key, "ref": fact.ref, "family": fact.family, "id": fact.id, "version": fact.version,
        "payload": payload_data(fact.payload), "by": fact.by, "cycle": fact.cycle, "confidence": fact.confidence,
        "because": list(fact.because), "digest": fact.digest, "redacted": redacted_data(fact.payload),
    }  # fmt: skip


def facts_data(facts: Iterable[Fact[Any]]) -> list[dict[str, Any]]:
    """Returns facts as JSON data, in their order."""
    return [fact_data(fact) for fact in facts]


def run_data(result: Result, lines: int, malformed: Sequence[int], log: str | None) -> dict[str, Any]:
    """Returns the end of a run as JSON data."""
    return {
        "run": result.run_id, "stop": stop_to_json(result.stop), "why": describe(result.stop), "cycles": result.cycles,
        "log": log, "input": {"lines": lines, "malformed": list(malformed)},
        "facts": facts_data(in_order(result.context)),
        "gates": [gate_data(parked) for parked in result.gates.values()],
        "goals": {name: {"outcome": type(one).__name__.lower(), **asdict(one)} for name, one in result.goals.items()},
    }  # fmt: skip


def end_data(result: Result) -> dict[str, Any]:
    """Returns how a run ended as JSON data, without its facts."""
    return {
        "stop": stop_to_json(result.stop), "why": describe(result.stop), "cycles": result.cycles,
        "facts": len(result.context),
    }  # fmt: skip


def replay_data(run: str, context: Context, stop: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns what a run knew at the end of a cycle as JSON data."""
    return {"run": run, "cycle": context.trail.cycle, "stop": stop, "facts": facts_data(in_order(context))}


def gate_data(parked: Parked) -> dict[str, Any]:
    """Returns an open gate as JSON data."""
    return {
        "gate": parked.gate, "policy": parked.policy, "ref": parked.ref, "payload": payload_data(parked.payload),
        "by": parked.by, "cycle": parked.cycle, "confidence": parked.confidence, "because": list(parked.because),
        "opened": parked.opened, "expires": parked.expires, "default": parked.default,
    }  # fmt: skip


def why_data(run: str, why: Why) -> dict[str, Any]:
    """Returns an explanation as JSON data: every fact of the tree once."""
    return {"run": run, "ref": why.ref, "facts": [_told(one) for one in why.walk() if not one.told]}


def diff_data(found: Diff) -> dict[str, Any]:
    """Returns the difference between two runs as JSON data."""
    return {
        "left": found.left, "right": found.right, "left_at": found.left_at, "right_at": found.right_at,
        "same": not found, "cycle": found.cycle,
        "only_left": facts_data(found.only_left), "only_right": facts_data(found.only_right),
        "changed": [_change_data(change) for change in found.changed],
        "stops": [dict(stop) if stop is not None else None for stop in found.stops],
    }  # fmt: skip


def verification_data(found: Verification) -> dict[str, Any]:
    """Returns what checking a run found as JSON data."""
    fault = {"event": found.fault.event, "problem": found.fault.problem} if found.fault else None
    return {
        "run": found.run, "ok": found.ok, "events": found.events, "facts": found.facts, "root": found.root,
        "cycle": found.cycle, "finished": found.finished, "gone": list(found.gone), "fault": fault,
    }  # fmt: skip


def graph_data(graph: MultiDiGraph[str]) -> dict[str, Any]:
    """Returns a graph as JSON data: its nodes and its edges with all that is known of them."""
    return {
        "nodes": [{"id": name, **_plain(known)} for name, known in graph.nodes(data=True)],
        "edges": [
            {"source": source, "target": target, **_plain(known)} for source, target, known in graph.edges(data=True)
        ],
    }


def findings_data(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Returns what checking an engine found as JSON data."""
    return [asdict(one) for one in findings]


def about_run(log: FactLog, run: RunId) -> dict[str, Any]:
    """Returns what a list of runs tells about one; of a damaged run, what is wrong with it."""
    about = {"run": run, "started": None, "parent": None, "events": log.store.length(run), "facts": None}
    try:
        started, stopped = log.started(run), log.stopped(run)
    except LogError as error:
        return {**about, "stop": None, "fault": str(error)}
    parent = started.parent.run if started.parent else None
    facts, stop = (stopped.promoted, stopped.stop) if stopped is not None else (None, None)
    return {**about, "started": started.started, "parent": parent, "facts": facts, "stop": stop, "fault": None}


def stop_data(log: FactLog, run: str) -> Mapping[str, Any] | None:
    """Returns how a run stopped, as its log says; None if it has not."""
    stopped = log.stopped(run)
    return None if stopped is None else stopped.stop


def _told(why: Why) -> dict[str, Any]:
    if why.fact is None:
        return {"ref": why.ref, "known": False}
    losers = [{"by": lost.by, "reason": lost.reason, "payload": payload_data(lost.payload)} for lost in why.losers]
    return {"known": True, **fact_data(why.fact), "suggestor_version": why.version, "losers": losers}


def _change_data(change: Change) -> dict[str, Any]:
    left, right = fact_data(change.left), fact_data(change.right)
    return {"ref": change.ref, "fields": list(change.fields), "left": left, "right": right}


def _plain(known: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a node's or an edge's data as far as JSON has words for it; classes by their family."""
    return {str(name): _plain_value(value) for name, value in known.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, type) and issubclass(value, Payload):
        return value.__name__
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain_value(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
