"""Holds proofs to their promise: they convince who has the root, and nobody is convinced by anything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.facts import FactLog, MemoryStore, RunId, replay
from quiesce.facts.event import CycleCommitted, RunStarted, RunStopped
from quiesce.facts.merkle import EMPTY_ROOT, ProofError
from quiesce.facts.proof import MAX_PROOF_CHARS, CheckedProof, FactProof, GrowthProof, check_proof
from quiesce.facts.redact import NotHere
from support.histories import write_history
from support.payloads import note_fact, started, written_log
from support.strategies import World, worlds

RUN = RunId("r")


def log_of(count: int) -> FactLog:
    """Returns a run of so many facts, three in each cycle."""
    log = FactLog(MemoryStore())
    facts = [note_fact(f"n{n}", f"text {n}", n // 3) for n in range(count)]
    cycles = [CycleCommitted(cycle, ("x",), facts[3 * cycle : 3 * cycle + 3]) for cycle in range(-(-count // 3))]
    log.append(RUN, [started(), *cycles, RunStopped({"kind": "converged"}, count)])
    return log


# --- properties -------------------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(world=worlds())
def test_every_fact_of_every_run_is_proved_to_a_stranger(world: World) -> None:
    """With the text and the root that the run's last event states; the leaf is the entry of the fact in its event."""
    log = FactLog.open()
    write_history(log, world)
    for run in log.runs():
        root, size = log.root_of(run), len(_own(log, run))
        for ref in dict.fromkeys(entry["ref"] for entry in _own(log, run)):
            proof = log.prove(run, ref)
            checked = check_proof(proof.to_json(), root=root, size=size)
            last = [entry for entry in _own(log, run) if entry["ref"] == ref][-1]

            assert (True, True, None) == (checked.ok, checked.trusted, checked.problem)
            assert last == json.loads(proof.leaf)
            assert proof == FactProof.from_json(proof.to_json()) == checked.proof
            assert proof.payload is not None
            assert last["digest"] == sha256(proof.payload.encode()).hexdigest()


def _own(log: FactLog, run: str) -> list[dict[str, Any]]:
    """Returns the facts in the events of a run, as their texts have them."""
    entries: list[dict[str, Any]] = []
    for record in log.records(run):
        because: Any = []
        for entry in json.loads(record.raw).get("facts", ()):
            because = because if entry["because"] == "same" else entry["because"]
            entries.append({**entry, "because": because})
    return entries


@given(count=st.integers(0, 40), data=st.data())
def test_a_run_is_proved_to_have_grown(count: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, count))
    log, before = log_of(count), log_of(size)
    proof = log.prove_growth("r", size)
    checked = check_proof(proof.to_json(), root=before.root_of(RUN), size=size)

    assert (True, True) == (checked.ok, checked.trusted)
    assert proof == GrowthProof.from_json(proof.to_json())
    assert (before.root_of(RUN), log.root_of(RUN)) == (proof.old_root, proof.root)


TEXT = log_of(11).prove("r", "facts-note:n6").to_json()
GROWN = log_of(11).prove_growth("r", 6).to_json()


@given(
    place=st.integers(0, len(TEXT) - 1),
    char=st.sampled_from('0123456789abcdefx"{}[],: \\n'),
    text=st.sampled_from([TEXT, GROWN]),
)
def test_a_changed_character_is_refused_or_does_not_hold(place: int, char: str, text: str) -> None:
    """Only the run's name, the number and the digest of its last event are no part of what the root covers."""
    place %= len(text)
    changed = text[:place] + char + text[place + 1 :]
    root = json.loads(text).get("old_root", json.loads(text)["root"])
    try:
        checked = check_proof(changed, root=root)
    except ProofError:
        return
    kept, now = json.loads(text), json.loads(changed)
    free = ("run", "event", "event_digest")
    same = {**kept, **dict.fromkeys(free)} == {**now, **dict.fromkeys(free)}

    assert same == checked.ok


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data(), value=JSON, text=st.sampled_from([TEXT, GROWN]))
def test_anything_in_the_place_of_a_member_is_a_proof_error_or_does_not_hold(
    data: st.DataObject, value: Any, text: str
) -> None:
    whole = json.loads(text)
    inside = data.draw(st.sampled_from([whole, whole.get("fact", whole)]))
    name = data.draw(st.sampled_from(sorted(inside)))
    before, inside[name] = inside[name], value
    try:
        checked = check_proof(json.dumps(whole))
    except ProofError:
        return

    assert checked.problem is not None or name in ("run", "event", "payload") or value == before


@given(text=st.text(max_size=60) | JSON.map(json.dumps))
def test_nonsense_is_a_proof_error(text: str) -> None:
    with pytest.raises(ProofError):
        check_proof(text)


# --- examples ---------------------------------------------------------------------------------------------------------


def test_a_proof_without_a_root_says_that_it_only_agrees_with_itself() -> None:
    checked = check_proof(TEXT)
    root = log_of(11).root_of(RUN)

    assert (True, False) == (checked.ok, checked.trusted)
    assert str(checked) == (
        f"facts-note:n6 is fact 7 of 11, in run 'r', if its root is {root}: that is what the proof itself says, so it "
        f"shows only that the proof agrees with itself. Give the root of that run as you have it from elsewhere"
    )
    told = "facts-note:n6 is fact 7 of 11, under the root that was given; the proof calls the run 'r', "
    assert f"{told}which no root can confirm" == str(check_proof(TEXT, root=root))
    assert "a log of 11 facts begins with the 6 that it had, unchanged, in run 'r'" in str(check_proof(GROWN))


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        (lambda: check_proof(TEXT, root="0" * 64), "it is about a run whose root is "),
        (lambda: check_proof(TEXT, size=12), "it is about a run of 11 facts, not 12"),
        (lambda: check_proof(GROWN, size=7), "it is about a run of 6 facts, not 7"),
        (lambda: check_proof(TEXT.replace("text 6", "text 7")), "its payload is not the one that the fact names"),
        (lambda: check_proof(TEXT.replace('"by":"', '"by":"x')), "the fact and the hashes beside it do not lead to"),
        (lambda: check_proof(TEXT.replace('"index":6', '"index":7')), "the fact and the hashes beside it do not"),
        (lambda: check_proof(GROWN.replace(json.loads(GROWN)["old_root"], "0" * 64)), "its hashes do not lead from"),
    ],
)
def test_a_proof_that_does_not_hold_says_what_is_wrong(check: Callable[[], CheckedProof], problem: str) -> None:
    checked = check()
    with pytest.raises(ProofError, match="Do not rely on it"):
        checked.unwrap()

    assert str(checked).startswith(f"the proof does not hold: {problem}")


DATA = json.loads(TEXT)
HOSTILE: list[tuple[Any, str]] = [
    (b"{}", "it is a bytes, not a text"),
    ("x" * (MAX_PROOF_CHARS + 1), "over the limit of"),
    ("[" * 100_000, "it is not JSON that can be read"),
    ("[]", "it is not a JSON object"),
    ('{"proof":"quiesce-fact","proof":"quiesce-fact"}', "a member stands there twice"),
    (TEXT.replace('"ref":', '"ref":"x","ref":'), "a member stands there twice"),
    (TEXT.replace('"confidence":1.0', '"confidence":NaN'), "NaN is no JSON"),
    (json.dumps({**DATA, "more": 1}), "it has 'more', which no proof has"),
    (json.dumps({name: value for name, value in DATA.items() if name != "root"}), "it lacks root"),
    (json.dumps({**DATA, "fact": {**DATA["fact"], "more": 1}}), "fact has 'more', which no proof has"),
    (json.dumps({**DATA, "fact": {}}), "fact lacks because, by, confidence, cycle, digest, key, ref, version"),
    (json.dumps({**DATA, "fact": [1]}), "its fact is [1], not an object"),
    (json.dumps({**DATA, "event": True}), "its event is True, not a whole number"),
    (json.dumps({**DATA, "size": True}), "size is True, not a whole number"),
    (json.dumps({**DATA, "index": 11}), "there is no leaf 11 in a tree of 11"),
    (json.dumps({**DATA, "path": ["0" * 64] * 300}), "its path holds 300 hashes; no tree is that high"),
    (json.dumps({**DATA, "path": [1]}), "path[0] is 1, not 64 lower-case hex digits"),
    (json.dumps({**DATA, "root": "A" * 64}), "not 64 lower-case hex digits"),
    (json.dumps({**DATA, "run": "\ud800"}), "its run is '\\ud800', not a text"),
    (json.dumps({**DATA, "payload": 3}), "its payload is 3, not a text"),
    (
        json.dumps({**DATA, "fact": {**DATA["fact"], "because": "same"}}),
        "its fact.because is 'same', not a list of texts",
    ),
    (
        json.dumps({**DATA, "fact": {**DATA["fact"], "confidence": 1}}),
        "its fact.confidence is 1, not a number from 0.0",
    ),
    (json.dumps({**DATA, "fact": {**DATA["fact"], "cycle": True}}), "its fact.cycle is True, not a whole number"),
    (json.dumps({**DATA, "v": 2}), "it has version 2; this build reads 1"),
    (json.dumps({**DATA, "proof": "other"}), "its proof is 'other', not quiesce-fact or quiesce-growth"),
]


@pytest.mark.parametrize(("text", "problem"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_input_is_refused_by_name(text: Any, problem: str) -> None:
    with pytest.raises(ProofError) as caught:
        check_proof(text)

    assert problem in str(caught.value)


def test_a_proof_of_one_kind_is_not_read_as_the_other() -> None:
    with pytest.raises(ProofError, match="it is a proof of growth"):
        FactProof.from_json(GROWN)
    with pytest.raises(ProofError, match="it is a proof of a fact"):
        GrowthProof.from_json(TEXT)


@pytest.mark.parametrize("options", [{"root": "abc"}, {"root": "A" * 64}, {"size": -1}, {"size": True}])
def test_what_to_check_against_has_to_be_a_root_and_a_size(options: dict[str, Any]) -> None:
    with pytest.raises(ProofError, match="to check against"):
        check_proof(TEXT, **options)


@pytest.mark.parametrize("size", [-1, 12, True, "6"])
def test_a_run_never_had_more_facts_than_it_has(size: Any) -> None:
    with pytest.raises(ProofError):
        log_of(11).prove_growth("r", size)


def test_the_last_event_states_the_root() -> None:
    log = written_log()
    proof, stopped = log.prove("r", "facts-note:a"), log.stopped("r")
    events = list(log.events("r"))

    assert stopped is not None
    assert (stopped.root, events[-1].seq, events[-1].digest) == (proof.root, proof.event, proof.event_digest)


def test_a_payload_can_be_left_out() -> None:
    log = log_of(3)
    proof = log.prove("r", "facts-note:n1", payload=False)

    assert (None, False) == (proof.payload, "payload" in json.loads(proof.to_json()))
    assert "facts-note:n1, whose payload is not in the proof, is fact 2 of 3" in str(check_proof(proof.to_json()))


def test_a_fact_of_a_parent_is_proved_in_the_run_in_which_it_stands() -> None:
    log = log_of(4)
    begun = RunStarted("", 1, (), {}, log.point(RUN, 4))
    cycle = CycleCommitted(2, (), [note_fact("c", "c", 2)])
    log.append(RunId("c"), [begun, cycle, RunStopped({"kind": "converged"}, 1)])
    with pytest.raises(NotHere) as caught:
        log.prove("c", "facts-note:n0")

    assert ("c", "facts-note:n0", "r") == (caught.value.run, caught.value.ref, caught.value.stands_in)
    assert check_proof(log.prove("c", "facts-note:c").to_json(), root=log.root_of(RunId("c")), size=1).ok
    with pytest.raises(NotHere, match="Neither have the runs"):
        log.prove("c", "facts-note:nobody")
    assert 5 == len(replay(log, "c"))


def test_growth_from_nothing_is_proved_by_the_root_of_nothing() -> None:
    assert check_proof(log_of(2).prove_growth("r", 0).to_json(), root=EMPTY_ROOT.hex(), size=0).ok
