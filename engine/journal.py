"""Writes what an invocation came to as JSON, and reads it back: for journals, memos and reruns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

from ..facts import Fact, FactError, Failure, LogError, Opaque, Payload, QuiesceError
from ..facts.canonical import decode, encode, payload_bytes
from ..facts.fact import Ref, check_confidence, check_id, make_fact
from ..facts.family import family_of
from .answer import Answer, Invocation, Lapse, Outcome, Refusal
from .suggestor import Suggestor

FORMAT = 1


class BrokenEntry(LogError):
    """What was recorded of an invocation cannot be used."""

    def __init__(self, suggestor: str, problem: str) -> None:
        self.suggestor, self.problem = suggestor, problem
        super().__init__(
            f"what was recorded of a call of {suggestor!r} cannot be used: {problem}. "
            f"Import the module with its payload classes as they were; a suggestor of another version is called anew"
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """What was recorded of one invocation."""

    suggestor: str
    version: str
    inputs: str
    """A digest of all that it was shown."""
    cycle: int
    until: float | None
    """When it is too old to be used in other runs, in seconds since 1970."""
    data: Mapping[str, Any]

    @classmethod
    def read(cls, raw: bytes) -> Self:
        """Returns what `write_entry` wrote.

        Raises:
            BrokenEntry: the bytes are something else.
        """
        try:
            data = json.loads(raw)
            if data["v"] != FORMAT:
                raise BrokenEntry(str(data["suggestor"]), f"it has format version {data['v']}, not {FORMAT}")
            until = None if data["until"] is None else float(data["until"])
            return cls(data["suggestor"], data["version"], data["inputs"], int(data["cycle"]), until, data["outcome"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BrokenEntry("?", f"it cannot be read: {error!r:.200}") from error

    def outcome(self, suggestor: Suggestor, cycle: int) -> Outcome:
        """Returns it as the outcome of an invocation of the suggestor in a cycle.

        Raises:
            BrokenEntry: a payload does not fit its class any more.
        """
        try:
            answers = [_read_answer(one, suggestor, cycle) for one in self.data["answers"]]
            return Outcome(
                answers, bool(self.data["failed"]), int(self.data["tokens"]), list(map(float, self.data["costs"])),
                attempts=0,
            )  # fmt: skip
        except BrokenEntry:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, QuiesceError) as error:
            raise BrokenEntry(suggestor.name, f"{error}") from error


def write_entry(invocation: Invocation, outcome: Outcome, until: float | None = None) -> bytes:
    """Returns what an invocation came to as JSON."""
    suggestor = invocation.suggestor
    return json.dumps({
        "v": FORMAT, "suggestor": suggestor.name, "version": suggestor.options.version, "inputs": invocation.inputs,
        "cycle": invocation.cycle, "until": until,
        "outcome": {
            "failed": outcome.failed, "tokens": outcome.tokens, "costs": outcome.costs,
            "answers": [_answer_data(answer) for answer in outcome.answers],
        },
    }, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")  # fmt: skip


def _answer_data(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Lapse):
        return {"kind": "lapse", "because": list(answer.because), **_payload_data(answer.failure)}
    data = {
        "kind": "refusal" if isinstance(answer, Refusal) else "draft", "because": list(answer.because),
        **(_payload_data(answer.payload) if answer.payload is not None else {}),
    }  # fmt: skip
    if isinstance(answer, Refusal):
        return {
            **data, "ref": answer.ref, "key": answer.key, "version": answer.version, "grounded": answer.grounded,
            "reason": answer.reason,
        }  # fmt: skip
    return {**data, "id": answer.id, "confidence": answer.confidence}


def _payload_data(payload: Payload | Opaque) -> dict[str, Any]:
    raw, address = payload_bytes(payload), payload.__family__
    if address is None:
        raise BrokenEntry("?", f"{type(payload).__name__} has no family")
    return {
        "family": address.name, "key": address.key, "version": address.version, "digest": sha256(raw).hexdigest(),
        "body": raw.decode("utf-8", "surrogatepass"),
    }  # fmt: skip


def _read_answer(data: Mapping[str, Any], suggestor: Suggestor, cycle: int) -> Answer:
    because = tuple(Ref(str(ref)) for ref in data["because"])
    if data["kind"] == "lapse":
        payload, _ = _read_payload(data, suggestor)
        if not isinstance(payload, Failure):
            raise BrokenEntry(suggestor.name, "a failure is of another family")
        failure = payload.model_copy(update={"cycle": cycle}) if payload.cycle != cycle else payload
        return Lapse(failure, because)
    said: Payload | Opaque | None = None
    digest: bytes | None = None
    if "body" in data:
        said, digest = _read_payload(data, suggestor)
    if data["kind"] == "refusal":
        ref, grounded, reason = Ref(str(data["ref"])), bool(data["grounded"]), str(data["reason"])
        return Refusal(ref, str(data["key"]), int(data["version"]), because, grounded, reason, said, digest)
    if said is None or digest is None or isinstance(said, Opaque):
        raise BrokenEntry(suggestor.name, f"family {data.get('family')!r} is not registered")
    family = family_of(type(said))
    if type(said) not in suggestor.families:
        raise BrokenEntry(suggestor.name, f"it proposed a {type(said).__name__}, which it no longer writes")
    check_id(family.name, data["id"])
    confidence = check_confidence(data["confidence"])
    draft: Fact[Any] = make_fact(said, data["id"], suggestor.name, cycle, confidence, because, digest)
    return draft


def _read_payload(data: Mapping[str, Any], suggestor: Suggestor) -> tuple[Payload | Opaque, bytes]:
    raw = str(data["body"]).encode("utf-8", "surrogatepass")
    if sha256(raw).hexdigest() != data["digest"]:
        raise BrokenEntry(suggestor.name, f"a payload of {data['family']!r} does not match its digest")
    payload = decode(str(data["family"]), str(data["key"]), int(data["version"]), raw)
    if isinstance(payload, Opaque):
        return payload, sha256(raw).digest()
    try:
        return payload, sha256(encode(payload, family_of(type(payload)))).digest()  # another version has another text
    except FactError as error:
        raise BrokenEntry(suggestor.name, str(error)) from error
