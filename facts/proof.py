"""Proves to a stranger that a fact stands in a run, or that a run only grew: with a file, without the log.

Ana proves: she writes down the fact as its event has it (its *leaf*), where it stands among all facts of the run, the
hashes beside the way from there to the root, and the root (RFC 9162; see `merkle.py`). Ben checks: he makes the leaf
of the fields himself and hashes upwards. What he knows then depends on where he has the root from. A root that only the
proof names shows that the proof is made well, no more; one that he had before shows that the fact is in that run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NoReturn

from .chain import leaves_of
from .errors import LogError
from .event import fact_entry, leaf_of_entry
from .fact import RunId
from .merkle import (
    MAX_SIZE,
    ConsistencyProof,
    InclusionProof,
    ProofError,
    consistency_proof,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from .read_event import read_head
from .redact import NotHere

if TYPE_CHECKING:
    from .log import FactLog

FORMAT = 1
FACT, GROWTH = "quiesce-fact", "quiesce-growth"
MAX_PROOF_CHARS = 64 * 2**20
"""The longest text that is looked at as a proof; payloads are 1 MiB unless their class asks for more."""
MAX_TEXT = 64 * 1024

_HEX = re.compile(r"[0-9a-f]{64}")
_LEAF = ("ref", "key", "version", "by", "cycle", "because", "confidence", "digest")


@dataclass(frozen=True, slots=True)
class FactProof:
    """Shows that a fact stands in a run; `to_json` writes it for a file, `check_proof` checks it."""

    run: RunId
    fact: Mapping[str, Any]
    """The fact as its event has it: ref, key, version, by, cycle, because, confidence, digest."""
    payload: str | None
    """Its payload's JSON text, whose SHA-256 the digest is; None where it was left out or redacted."""
    root: str
    event: int
    """The number of the last event of the run when the proof was made."""
    event_digest: str
    """The digest of that event; of a run that stopped it states the root."""
    proof: InclusionProof

    @property
    def leaf(self) -> bytes:
        """The bytes that stand for the fact in the tree."""
        return leaf_of_entry(self.fact, self.fact["because"])

    def to_json(self) -> str:
        """Returns it as one line of JSON."""
        payload = {} if self.payload is None else {"payload": self.payload}
        return _text({
            "proof": FACT, "v": FORMAT, "run": self.run, "fact": dict(self.fact), **payload,
            "index": self.proof.index, "size": self.proof.size, "path": [node.hex() for node in self.proof.path],
            "root": self.root, "event": self.event, "event_digest": self.event_digest,
        })  # fmt: skip

    @classmethod
    def from_json(cls, text: str) -> FactProof:
        """Reads what `to_json` wrote.

        Raises:
            ProofError: it is anything but a well-formed proof.
        """
        found = read_proof(text)
        if not isinstance(found, FactProof):
            raise ProofError("proof of a fact", "it is a proof of growth")
        return found


@dataclass(frozen=True, slots=True)
class GrowthProof:
    """Shows that a run begins with all facts that it had at a smaller size, unchanged and in their order."""

    run: RunId
    old_root: str
    root: str
    event: int
    event_digest: str
    proof: ConsistencyProof

    def to_json(self) -> str:
        """Returns it as one line of JSON."""
        return _text({
            "proof": GROWTH, "v": FORMAT, "run": self.run, "old_size": self.proof.old_size,
            "size": self.proof.new_size, "path": [node.hex() for node in self.proof.path], "old_root": self.old_root,
            "root": self.root, "event": self.event, "event_digest": self.event_digest,
        })  # fmt: skip

    @classmethod
    def from_json(cls, text: str) -> GrowthProof:
        """Reads what `to_json` wrote.

        Raises:
            ProofError: it is anything but a well-formed proof.
        """
        found = read_proof(text)
        if not isinstance(found, GrowthProof):
            raise ProofError("proof of growth", "it is a proof of a fact")
        return found


@dataclass(frozen=True, slots=True)
class CheckedProof:
    """What checking a proof showed."""

    proof: FactProof | GrowthProof
    problem: str | None
    """Why it does not hold; None if it does."""
    trusted: bool
    """It was checked against a root that the checker had from elsewhere."""

    @property
    def ok(self) -> bool:
        """The proof holds; what that shows depends on `trusted`."""
        return self.problem is None

    def __str__(self) -> str:
        proof = self.proof
        if self.problem is not None:
            return f"the proof does not hold: {self.problem}"
        if isinstance(proof, FactProof):
            said = "" if proof.payload is not None else ", whose payload is not in the proof,"
            what = f"{proof.fact['ref']}{said} is fact {proof.proof.index + 1} of {proof.proof.size}"
            under = "under the root that was given"
        else:
            old, new = proof.proof.old_size, proof.proof.new_size
            what, under = f"a log of {new} facts begins with the {old} that it had, unchanged", "whose root was given"
        if self.trusted:
            return f"{what}, {under}; the proof calls the run {proof.run!r}, which no root can confirm"
        return (
            f"{what}, in run {proof.run!r}, if its root is {proof.root}: that is what the proof itself says, so it "
            f"shows only that the proof agrees with itself. Give the root of that run as you have it from elsewhere"
        )

    def unwrap(self) -> CheckedProof:
        """Returns itself if the proof holds, else raises ProofError."""
        if self.problem is not None:
            raise ProofError(_name(self.proof), self.problem, "Do not rely on it; ask its sender again")
        return self


# --- making -----------------------------------------------------------------------------------------------------------


def prove(log: FactLog, run: RunId | str, ref: str, with_payload: bool) -> FactProof:
    """Proves a fact; see `FactLog.prove`."""
    name = RunId(str(run))
    leaves: list[bytes] = []
    found: tuple[int, dict[str, Any], bytes | None] | None = None
    end, digest = 0, ""
    for seq, at, data, payloads in _events(log, name):
        end, digest = seq, at
        because: Any = ()
        for place, entry in enumerate(data.get("facts", ()), len(leaves)):
            because = because if entry["because"] == "same" else entry["because"]
            if entry["ref"] == ref:
                found = (
                    place,
                    {**{part: entry[part] for part in _LEAF}, "because": list(because)},
                    payloads.get(entry["digest"]),
                )
        leaves.extend(leaves_of(data))
    if found is None:
        raise NotHere(name, ref, _find_above(log, name, ref))
    place, fact, raw = found
    fact["confidence"] = float(fact["confidence"])
    payload = raw.decode("utf-8", "replace") if raw is not None and with_payload else None
    if payload is not None and sha256(payload.encode()).hexdigest() != fact["digest"]:
        raise LogError(f"run {name}: the payload of {ref} is not what its digest was made of. See quiesce verify")
    return FactProof(name, fact, payload, root_of(leaves).hex(), end, digest, inclusion_proof(leaves, place))


def prove_growth(log: FactLog, run: RunId | str, size: int) -> GrowthProof:
    """Proves that a run grew; see `FactLog.prove_growth`."""
    name = RunId(str(run))
    leaves: list[bytes] = []
    end, digest = 0, ""
    for seq, at, data, _ in _events(log, name):
        end, digest = seq, at
        leaves.extend(leaves_of(data))
    if isinstance(size, bool) or not isinstance(size, int):
        raise ProofError("proof of growth", f"size={size!r:.80} is not a whole number", "Give how many facts it had")
    proof = consistency_proof(leaves, size)
    return GrowthProof(name, root_of(leaves[:size]).hex(), root_of(leaves).hex(), end, digest, proof)


def _events(log: FactLog, run: RunId) -> Any:
    """Yields number, digest, JSON object and payloads of each event, a snapshot as one."""
    reading = log.read(run)
    if (found := reading.snapshot) is not None:
        yield reading.start - 1, found.digest, {"facts": found.entries()}, found.payloads
    for seq, record in enumerate(reading.records, reading.start):
        yield seq, record.digest, read_head(record.raw, run, seq), record.payloads


def _find_above(log: FactLog, run: RunId, ref: str) -> RunId | None:
    """Returns the run, of those that a run goes on from, in which a fact stands."""
    seen = {run}
    while (parent := log.started(run).parent) is not None and parent.run in log and parent.run not in seen:
        run = parent.run
        seen.add(run)
        for _, _, data, _ in _events(log, run):
            if any(entry.get("ref") == ref for entry in data.get("facts", ())):
                return run
    return None


# --- checking ---------------------------------------------------------------------------------------------------------


def check_proof(text: str, *, root: str | None = None, size: int | None = None) -> CheckedProof:
    """Checks a proof with nothing but its text and, if there is one, a root from elsewhere.

    ```python
    proof = log.prove(result.run_id, "plan:t1")
    check_proof(proof.to_json(), root=log.root_of(result.run_id)).ok      # True
    ```

    For a proof that a run grew, `root` and `size` are those of before.

    Raises:
        ProofError: the text is no well-formed proof, or the root is no hash.
    """
    proof = read_proof(text)
    name = _name(proof)
    if root is not None and not _is_hash(root):
        raise ProofError(name, f"the root to check against, {root!r:.80}, is not 64 lower-case hex digits", "Mend it")
    if size is not None and (type(size) is not int or not 0 <= size <= MAX_SIZE):
        raise ProofError(name, f"the size to check against, {size!r:.80}, is not a whole number", "Mend it")
    problem = _check_fact(proof) if isinstance(proof, FactProof) else _check_growth(proof)
    known_root = proof.root if isinstance(proof, FactProof) else proof.old_root
    known_size = proof.proof.size if isinstance(proof, FactProof) else proof.proof.old_size
    if problem is None and root is not None and root != known_root:
        problem = f"it is about a run whose root is {known_root}, not {root}"
    if problem is None and size is not None and size != known_size:
        problem = f"it is about a run of {known_size} facts, not {size}"
    return CheckedProof(proof, problem, root is not None)


def read_proof(text: str) -> FactProof | GrowthProof:
    """Returns the proof in a text, without checking whether it holds.

    Raises:
        ProofError: it is anything but a well-formed proof.
    """
    fields = _Fields(_parse(text))
    kind = fields.one_of("proof", FACT, GROWTH)
    if fields.number("v") != FORMAT:
        raise ProofError("proof", f"it has version {fields.data['v']}; this build reads {FORMAT}", "Upgrade quiesce")
    return _read_fact(fields) if kind == FACT else _read_growth(fields)


def _check_fact(proof: FactProof) -> str | None:
    if proof.payload is not None and sha256(proof.payload.encode()).hexdigest() != proof.fact["digest"]:
        return "its payload is not the one that the fact names by its digest"
    if not verify_inclusion(proof.leaf, proof.proof, bytes.fromhex(proof.root)):
        return f"the fact and the hashes beside it do not lead to the root {proof.root}"
    return None


def _check_growth(proof: GrowthProof) -> str | None:
    if not verify_consistency(proof.proof, bytes.fromhex(proof.old_root), bytes.fromhex(proof.root)):
        return f"its hashes do not lead from the root {proof.old_root} to the root {proof.root}"
    return None


def _read_fact(fields: _Fields) -> FactProof:
    members = {"proof", "v", "run", "fact", "index", "size", "path", "root", "event", "event_digest"}
    fields.only(members | ({"payload"} if "payload" in fields.data else set()))
    fact = _Fields(fields.object("fact"), "fact.")
    fact.only(set(_LEAF))
    confidence = fact.data["confidence"]
    if type(confidence) is not float or not 0 <= confidence <= 1:
        fact.refuse("confidence", "a number from 0.0 to 1.0")
    entry = fact_entry(
        fact.text("ref"), fact.text("key"), fact.number("version"), fact.text("by"), fact.number("cycle"),
        fact.texts("because"), confidence, fact.hash("digest"),
    )  # fmt: skip
    payload = fields.text("payload", MAX_PROOF_CHARS) if "payload" in fields.data else None
    tree = {name: fields.data[name] for name in ("index", "size", "path")}
    return FactProof(
        RunId(fields.text("run")), entry, payload, fields.hash("root"), fields.number("event"),
        fields.hash("event_digest"), InclusionProof.from_json(_tree_text(tree)),
    )  # fmt: skip


def _read_growth(fields: _Fields) -> GrowthProof:
    fields.only({"proof", "v", "run", "old_size", "size", "path", "old_root", "root", "event", "event_digest"})
    tree = {"old_size": fields.data["old_size"], "new_size": fields.data["size"], "path": fields.data["path"]}
    return GrowthProof(
        RunId(fields.text("run")), fields.hash("old_root"), fields.hash("root"), fields.number("event"),
        fields.hash("event_digest"), ConsistencyProof.from_json(_tree_text(tree)),
    )  # fmt: skip


class _Fields:
    """The members of a JSON object from outside."""

    def __init__(self, data: dict[str, Any], where: str = "") -> None:
        self.data, self.where = data, where

    def only(self, names: set[str]) -> None:
        """Refuses an object that lacks a member or has another."""
        if self.data.keys() != names:
            lacking, more = sorted(names - self.data.keys()), sorted(self.data.keys() - names)
            said = [f"lacks {', '.join(lacking)}"] if lacking else []
            said += [f"has {', '.join(map(repr, more[:5])):.200}, which no proof has"] if more else []
            raise ProofError("proof", f"{self.where.removesuffix('.') or 'it'} {' and '.join(said)}")

    def refuse(self, name: str, wanted: str) -> NoReturn:
        """Says what a member is not."""
        raise ProofError("proof", f"its {self.where}{name} is {self.data.get(name)!r:.80}, not {wanted}")

    def one_of(self, name: str, *known: str) -> str:
        value = self.data.get(name)
        if not isinstance(value, str) or value not in known:
            self.refuse(name, " or ".join(known))
        return value

    def text(self, name: str, limit: int = MAX_TEXT) -> str:
        value = self.data.get(name)
        if not isinstance(value, str) or len(value) > limit or not _is_text(value):
            self.refuse(name, f"a text of at most {limit} characters")
        return value

    def texts(self, name: str) -> list[str]:
        value = self.data.get(name)
        if not isinstance(value, list) or not all(isinstance(one, str) and _is_text(one) for one in value):
            self.refuse(name, "a list of texts")
        return list(value)

    def number(self, name: str) -> int:
        value = self.data.get(name)
        if type(value) is not int or not 0 <= value <= MAX_SIZE:  # not isinstance: true is an int to Python
            self.refuse(name, f"a whole number from 0 to {MAX_SIZE}")
        return value

    def hash(self, name: str) -> str:
        value = self.data.get(name)
        if not _is_hash(value):
            self.refuse(name, "64 lower-case hex digits")
        return str(value)

    def object(self, name: str) -> dict[str, Any]:
        value = self.data.get(name)
        if not isinstance(value, dict):
            self.refuse(name, "an object")
        return dict(value)


def _parse(text: str) -> dict[str, Any]:
    if not isinstance(text, str):
        raise ProofError("proof", f"it is a {type(text).__name__}, not a text")
    if len(text) > MAX_PROOF_CHARS:
        raise ProofError("proof", f"it takes {len(text)} characters, over the limit of {MAX_PROOF_CHARS}")
    try:
        data = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProofError("proof", f"it is not JSON that can be read ({error!s:.200})") from error
    if not isinstance(data, dict):
        raise ProofError("proof", "it is not a JSON object")
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):  # of two with one name another reader might take the other one
        raise ValueError("a member stands there twice")
    return data


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _tree_text(tree: Mapping[str, Any]) -> str:
    path = tree["path"]
    if isinstance(path, list) and len(path) > 200:
        raise ProofError("proof", f"its path holds {len(path)} hashes; no tree is that high")
    return json.dumps(tree)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(proof: FactProof | GrowthProof) -> str:
    return "proof of a fact" if isinstance(proof, FactProof) else "proof of growth"


def _text(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
