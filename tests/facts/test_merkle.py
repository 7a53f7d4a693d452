"""Holds the Merkle tree to RFC 9162: its definition, written down once more, and the vectors that CT logs agree on."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.facts import merkle
from quiesce.facts.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    MAX_TEXT_CHARS,
    ConsistencyProof,
    InclusionProof,
    MerkleTree,
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# The definitions of RFC 9162, section 2.1, word for word and without a thought for speed ------------------------------


def mth(d: list[bytes]) -> bytes:
    """MTH(D_n), section 2.1.1."""
    n = len(d)
    if n == 0:
        return sha256().digest()
    if n == 1:
        return sha256(bytes([0x00]) + d[0]).digest()
    k = largest_power_of_two_smaller_than(n)
    return sha256(bytes([0x01]) + mth(d[:k]) + mth(d[k:])).digest()


def path(m: int, d: list[bytes]) -> list[bytes]:
    """PATH(m, D_n), section 2.1.3.1."""
    n = len(d)
    if n == 1:
        return []
    k = largest_power_of_two_smaller_than(n)
    return [*path(m, d[:k]), mth(d[k:])] if m < k else [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m: int, d: list[bytes], b: bool) -> list[bytes]:
    """SUBPROOF(m, D_n, b), section 2.1.4.1."""
    n = len(d)
    if m == n:
        return [] if b else [mth(d)]
    k = largest_power_of_two_smaller_than(n)
    return [*subproof(m, d[:k], b), mth(d[k:])] if m <= k else [*subproof(m - k, d[k:], False), mth(d[:k])]


def way(m: int, n: int) -> list[str]:
    """The turns from leaf m of n up to the root."""
    if n == 1:
        return []
    k = largest_power_of_two_smaller_than(n)
    return [*way(m, k), "right"] if m < k else [*way(m - k, n - k), "left"]


def largest_power_of_two_smaller_than(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


# What the properties draw from ----------------------------------------------------------------------------------------

LEAVES = st.lists(st.binary(max_size=40), max_size=40)
SOME_LEAVES = st.lists(st.binary(max_size=40), min_size=1, max_size=40)
DISTINCT_LEAVES = st.lists(st.binary(max_size=40), min_size=1, max_size=40, unique=True)
SIZES = st.integers(-2, 80) | st.integers(-(2**70), 2**70)
PATHS = st.lists(st.binary(min_size=32, max_size=32) | st.binary(max_size=40), max_size=8).map(tuple)
TEXTS = st.text(
    '{}[]:,."\\-+0123456789eE abcdfINpathndexsizold_w\n\x00é\ud800'
)  # the letters of proofs, and a few that hurt
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
NUMBERED = [b"leaf %d" % number for number in range(34)]


def flip(data: bytes, bit: int) -> bytes:
    """The same bytes with one bit turned over."""
    return (int.from_bytes(data, "big") ^ (1 << bit % (8 * len(data)))).to_bytes(len(data), "big")


def count_hashes(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> int:
    calls = 0

    def counting(data: bytes) -> Any:
        nonlocal calls
        calls += 1
        return sha256(data)

    with monkeypatch.context() as patch:
        patch.setattr(merkle, "sha256", counting)
        work()
    return calls


# The tree -------------------------------------------------------------------------------------------------------------


@given(leaves=LEAVES)
def test_the_root_after_each_append_is_the_one_the_rfc_defines(leaves: list[bytes]) -> None:
    tree = MerkleTree()
    roots = [tree.root()]
    for leaf in leaves:
        tree.append(leaf)
        roots.append(tree.root())

    assert [mth(leaves[:size]) for size in range(len(leaves) + 1)] == roots


@given(batches=st.lists(LEAVES, max_size=5))
def test_leaves_may_come_in_any_batches(batches: list[list[bytes]]) -> None:
    tree = MerkleTree()
    for batch in batches:
        tree.extend(iter(batch))
    leaves = [leaf for batch in batches for leaf in batch]

    assert (len(leaves), mth(leaves)) == (tree.size, tree.root())


@given(leaves=LEAVES)
def test_the_root_of_a_list_is_the_one_the_rfc_defines(leaves: list[bytes]) -> None:
    assert mth(leaves) == root_of(leaves) == root_of(tuple(leaves))


@given(leaf=st.binary(), left=st.binary(min_size=32, max_size=32), right=st.binary(min_size=32, max_size=32))
def test_leaves_and_nodes_are_hashed_with_different_first_bytes(leaf: bytes, left: bytes, right: bytes) -> None:
    expected = sha256(b"\x00" + leaf).digest(), sha256(b"\x01" + left + right).digest()

    assert expected == (leaf_hash(leaf), node_hash(left, right))


@given(left=SOME_LEAVES, right=SOME_LEAVES)
def test_the_children_of_a_node_do_not_pass_for_a_leaf(left: list[bytes], right: list[bytes]) -> None:
    """The second preimage that a tree without domain separation gives away."""
    leaves = left + right
    k = largest_power_of_two_smaller_than(len(leaves))
    forged = root_of(leaves[:k]) + root_of(leaves[k:])

    assert root_of(leaves) != root_of([forged])


@given(leaves=SOME_LEAVES, times=st.integers(1, 8))
def test_repeating_the_last_leaf_changes_the_root(leaves: list[bytes], times: int) -> None:
    assert root_of(leaves) != root_of(leaves + leaves[-1:] * times)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 100, 255, 256, 257])
def test_each_leaf_and_each_node_is_hashed_once(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree of n leaves has n - 1 nodes above them."""
    leaves = [b""] * size
    tree = MerkleTree()
    appending = count_hashes(monkeypatch, lambda: tree.extend(leaves))
    folding = count_hashes(monkeypatch, tree.root)

    assert 2 * size - 1 == appending + folding
    assert folding < size.bit_length()


# Inclusion ------------------------------------------------------------------------------------------------------------


@given(leaves=SOME_LEAVES, data=st.data())
def test_an_inclusion_proof_is_the_path_that_the_rfc_defines(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))

    assert InclusionProof(index, len(leaves), tuple(path(index, leaves))) == inclusion_proof(leaves, index)


def test_each_leaf_of_each_tree_is_proved_to_be_in_it() -> None:
    for size in range(1, len(NUMBERED)):
        leaves, root = NUMBERED[:size], mth(NUMBERED[:size])
        verdicts = [verify_inclusion(leaf, inclusion_proof(leaves, at), root) for at, leaf in enumerate(leaves)]

        assert [True] * size == verdicts


@given(leaves=SOME_LEAVES, bit=st.integers(0), data=st.data())
def test_a_flipped_bit_anywhere_spoils_an_inclusion_proof(leaves: list[bytes], bit: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    leaf, proof, root = leaves[index], inclusion_proof(leaves, index), root_of(leaves)
    spoiled = [verify_inclusion(leaf, proof, flip(root, bit))]
    spoiled += [verify_inclusion(flip(leaf, bit), proof, root)] if leaf else []
    for at, hash in enumerate(proof.path):
        bent = (*proof.path[:at], flip(hash, bit), *proof.path[at + 1 :])
        spoiled.append(verify_inclusion(leaf, replace(proof, path=bent), root))

    assert [False] * len(spoiled) == spoiled


@given(leaves=SOME_LEAVES, other=st.binary(max_size=40), data=st.data())
def test_another_leaf_does_not_pass_with_the_proof_of_one(
    leaves: list[bytes], other: bytes, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    verdict = verify_inclusion(other, inclusion_proof(leaves, index), root_of(leaves))

    assert (other == leaves[index]) == verdict


@given(leaves=DISTINCT_LEAVES, data=st.data())
def test_a_leaf_does_not_pass_at_another_index(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    other = data.draw(st.integers(-3, len(leaves) + 3))
    moved = replace(inclusion_proof(leaves, index), index=other)

    assert (other == index) == verify_inclusion(leaves[index], moved, root_of(leaves))


@given(leaves=DISTINCT_LEAVES, other=st.integers(-3, 50), size=st.integers(-3, 50), data=st.data())
def test_another_size_passes_only_where_the_way_to_the_root_is_the_same(
    leaves: list[bytes], other: int, size: int, data: st.DataObject
) -> None:
    """Why a verifier compares the size: where the ways agree, the RFC's verification cannot tell sizes apart."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    claimed = replace(inclusion_proof(leaves, index), index=other, size=size)
    expected = 0 <= other < size and way(other, size) == way(index, len(leaves))

    assert expected == verify_inclusion(leaves[index], claimed, root_of(leaves))


def test_the_last_of_three_leaves_passes_as_the_last_of_two_unless_sizes_are_compared() -> None:
    leaves = [b"one", b"two", b"three"]
    claimed = replace(inclusion_proof(leaves, 2), index=1, size=2)

    assert verify_inclusion(b"three", claimed, root_of(leaves))


@given(leaves=SOME_LEAVES, cut=st.integers(1, 8), extra=PATHS.filter(bool), data=st.data())
def test_a_shorter_or_longer_inclusion_path_is_refused(
    leaves: list[bytes], cut: int, extra: tuple[bytes, ...], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof, root = inclusion_proof(leaves, index), root_of(leaves)
    wrong = [
        (*proof.path, *extra),
        (*extra, *proof.path),
        *([proof.path[:-cut], proof.path[cut:]] if proof.path else []),
    ]
    verdicts = [verify_inclusion(leaves[index], replace(proof, path=hashes), root) for hashes in wrong]

    assert [False] * len(wrong) == verdicts


@given(leaf=st.binary(), index=SIZES, size=SIZES, hashes=PATHS, root=st.binary(max_size=40))
def test_an_invented_inclusion_proof_is_refused_without_an_error(
    leaf: bytes, index: int, size: int, hashes: tuple[bytes, ...], root: bytes
) -> None:
    is_true = (index, size, hashes, root) == (0, 1, (), leaf_hash(leaf))

    assert is_true == verify_inclusion(leaf, InclusionProof(index, size, hashes), root)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 100, 256, 257])
def test_an_inclusion_proof_hashes_each_subtree_beside_its_path_once(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All hashes of the tree but the leaf's own and those of the nodes above it."""
    leaves, index = [b""] * size, size // 3
    hashes = count_hashes(monkeypatch, lambda: inclusion_proof(leaves, index))

    assert 2 * size - 1 - 1 - len(way(index, size)) == hashes


@pytest.mark.parametrize(
    ("size", "index", "message"),
    [
        (0, 0, "inclusion proof: there is no leaf 0 in a tree of 0. Append leaves first"),
        (8, 8, "inclusion proof: there is no leaf 8 in a tree of 8. Ask for an index from 0 to 7"),
        (8, -1, "inclusion proof: there is no leaf -1 in a tree of 8. Ask for an index from 0 to 7"),
    ],
)
def test_no_inclusion_proof_is_made_for_a_leaf_that_is_not_there(size: int, index: int, message: str) -> None:
    with pytest.raises(ProofError) as caught:
        inclusion_proof(NUMBERED[:size], index)

    assert message == str(caught.value)


# Consistency ----------------------------------------------------------------------------------------------------------


@given(leaves=SOME_LEAVES, data=st.data())
def test_a_consistency_proof_is_the_one_that_the_rfc_defines(leaves: list[bytes], data: st.DataObject) -> None:
    old_size = data.draw(st.integers(1, len(leaves)))
    expected = ConsistencyProof(old_size, len(leaves), tuple(subproof(old_size, leaves, True)))

    assert expected == consistency_proof(leaves, old_size)


@pytest.mark.parametrize("new_size", range(len(NUMBERED)))
def test_each_tree_is_proved_to_have_grown_from_each_smaller_one(new_size: int) -> None:
    leaves, new_root = NUMBERED[:new_size], mth(NUMBERED[:new_size])
    verdicts = [
        verify_consistency(consistency_proof(leaves, old_size), mth(leaves[:old_size]), new_root)
        for old_size in range(new_size + 1)
    ]

    assert [True] * (new_size + 1) == verdicts


@given(leaves=SOME_LEAVES, bit=st.integers(0), data=st.data())
def test_a_flipped_bit_anywhere_spoils_a_consistency_proof(leaves: list[bytes], bit: int, data: st.DataObject) -> None:
    old_size = data.draw(st.integers(1, len(leaves)))
    proof, old_root, new_root = consistency_proof(leaves, old_size), root_of(leaves[:old_size]), root_of(leaves)
    spoiled = [
        verify_consistency(proof, flip(old_root, bit), new_root),
        verify_consistency(proof, old_root, flip(new_root, bit)),
    ]
    for at, hash in enumerate(proof.path):
        bent = (*proof.path[:at], flip(hash, bit), *proof.path[at + 1 :])
        spoiled.append(verify_consistency(replace(proof, path=bent), old_root, new_root))

    assert [False] * len(spoiled) == spoiled


@given(leaves=SOME_LEAVES, other=st.binary(max_size=40), data=st.data())
def test_a_log_whose_past_was_rewritten_does_not_pass_as_grown(
    leaves: list[bytes], other: bytes, data: st.DataObject
) -> None:
    """Whichever old leaf is replaced, even the sender's own best proof does not help."""
    old_size = data.draw(st.integers(1, len(leaves)))
    at = data.draw(st.integers(0, old_size - 1))
    rewritten = [*leaves[:at], other, *leaves[at + 1 :]]
    verdict = verify_consistency(consistency_proof(rewritten, old_size), root_of(leaves[:old_size]), root_of(rewritten))

    assert (other == leaves[at]) == verdict


@given(leaves=SOME_LEAVES, cut=st.integers(1, 8), extra=PATHS.filter(bool), data=st.data())
def test_a_shorter_or_longer_consistency_path_is_refused(
    leaves: list[bytes], cut: int, extra: tuple[bytes, ...], data: st.DataObject
) -> None:
    old_size = data.draw(st.integers(0, len(leaves)))
    proof, roots = consistency_proof(leaves, old_size), (root_of(leaves[:old_size]), root_of(leaves))
    wrong = [
        (*proof.path, *extra),
        (*extra, *proof.path),
        *([proof.path[:-cut], proof.path[cut:]] if proof.path else []),
    ]
    verdicts = [verify_consistency(replace(proof, path=hashes), *roots) for hashes in wrong]

    assert [False] * len(wrong) == verdicts


@given(old_size=SIZES, new_size=SIZES, hashes=PATHS, old_root=st.binary(max_size=40), data=st.data())
def test_an_invented_consistency_proof_is_refused_without_an_error(
    old_size: int, new_size: int, hashes: tuple[bytes, ...], old_root: bytes, data: st.DataObject
) -> None:
    new_root = data.draw(st.just(old_root) | st.binary(max_size=40))
    same = old_size == new_size > 0 and old_root == new_root
    from_nothing = old_size == 0 <= new_size and old_root == EMPTY_ROOT and (new_size > 0 or new_root == EMPTY_ROOT)
    expected = not hashes and (same or from_nothing)

    assert expected == verify_consistency(ConsistencyProof(old_size, new_size, hashes), old_root, new_root)


@pytest.mark.parametrize(
    ("sizes", "roots"),
    [
        ((0, 0), (leaf_hash(b""), leaf_hash(b""))),
        ((0, 0), (EMPTY_ROOT, leaf_hash(b""))),
        ((0, 5), (leaf_hash(b""), leaf_hash(b""))),
        ((5, 5), (EMPTY_ROOT, leaf_hash(b""))),
    ],
)
def test_a_proof_without_a_path_says_nothing_about_other_roots(
    sizes: tuple[int, int], roots: tuple[bytes, bytes]
) -> None:
    assert not verify_consistency(ConsistencyProof(*sizes, ()), *roots)


def test_a_hash_of_another_length_is_refused_even_where_the_bytes_add_up() -> None:
    """Hashes of free length would let a forger move the border between the left and the right side."""
    leaves, below, last = NUMBERED[:3], root_of(NUMBERED[:2]), leaf_hash(NUMBERED[2])[:-1]
    short = InclusionProof(0, 3, (leaf_hash(leaves[1]), last))
    empty = ConsistencyProof(2, 3, (b"",))

    assert not verify_inclusion(leaves[0], short, node_hash(below, last))
    assert not verify_consistency(empty, below, node_hash(below, b""))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 100, 256, 257])
def test_a_consistency_proof_takes_less_than_two_hashes_for_a_leaf(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    leaves = [b""] * size
    works = [partial(consistency_proof, leaves, old_size) for old_size in range(0, size + 1, 7)]
    hashes = [count_hashes(monkeypatch, work) for work in works]

    assert max(hashes) < 2 * size


@pytest.mark.parametrize("old_size", [-1, 9])
def test_no_consistency_proof_is_made_for_a_size_the_tree_did_not_grow_from(old_size: int) -> None:
    with pytest.raises(ProofError) as caught:
        consistency_proof(NUMBERED[:8], old_size)
    message = f"consistency proof: a tree of 8 leaves did not grow from {old_size}. Ask for an old size from 0 to 8"

    assert message == str(caught.value)


# Text -----------------------------------------------------------------------------------------------------------------


@given(leaves=SOME_LEAVES, data=st.data())
def test_a_proof_comes_back_from_its_text(leaves: list[bytes], data: st.DataObject) -> None:
    inclusion = inclusion_proof(leaves, data.draw(st.integers(0, len(leaves) - 1)))
    consistency = consistency_proof(leaves, data.draw(st.integers(0, len(leaves))))

    assert inclusion == InclusionProof.from_json(inclusion.to_json())
    assert consistency == ConsistencyProof.from_json(consistency.to_json())


def test_the_text_of_a_proof_is_one_line_of_json() -> None:
    left, right = leaf_hash(b"one").hex(), leaf_hash(b"two").hex()
    expected = f'{{"index":1,"size":2,"path":["{left}"]}}', f'{{"old_size":1,"new_size":2,"path":["{right}"]}}'
    leaves = [b"one", b"two"]

    assert expected == (inclusion_proof(leaves, 1).to_json(), consistency_proof(leaves, 1).to_json())


def test_the_longest_proof_can_be_read() -> None:
    """Also when somebody has laid it out over lines."""
    inclusion = InclusionProof(MAX_SIZE - 2**63, MAX_SIZE, (bytes(32),) * 64)
    consistency = ConsistencyProof(2**62 + 1, MAX_SIZE, (bytes(32),) * 65)
    indented = [json.dumps(json.loads(proof.to_json()), indent=4) for proof in (inclusion, consistency)]

    assert [inclusion, consistency] == [InclusionProof.from_json(indented[0]), ConsistencyProof.from_json(indented[1])]


@given(text=TEXTS | JSON.map(json.dumps))
def test_a_text_that_is_no_proof_raises_nothing_but_a_proof_error(text: str) -> None:
    for cls in (InclusionProof, ConsistencyProof):
        with pytest.raises(ProofError):
            cls.from_json(text)


@given(field=st.sampled_from(["index", "size", "path"]), value=JSON)
def test_a_proof_with_one_field_of_anything_is_read_only_if_it_is_well_formed(field: str, value: object) -> None:
    text = json.dumps({**json.loads(inclusion_proof(NUMBERED[:8], 3).to_json()), field: value})
    try:
        proof = InclusionProof.from_json(text)
    except ProofError:
        return

    assert json.loads(text) == json.loads(proof.to_json())
    assert len(way(proof.index, proof.size)) == len(proof.path)


SEAL = "ab" * 32
HOSTILE: list[tuple[Any, str]] = [
    (b"{}", "is a bytes, not a text"),
    ("", "is not JSON that can be read (Expecting value: line 1 column 1 (char 0))"),
    (" " * (MAX_TEXT_CHARS + 1), "takes 8193 characters, over the limit of 8192"),
    ("[1]", "is [1], not a JSON object"),
    ("{}", "must have the fields index, size, path and no other, but has nothing"),
    ('{"index":0,"size":1}', "must have the fields index, size, path and no other, but has 'index', 'size'"),
    (
        '{"index":0,"size":1,"path":[],"x":0}',
        "must have the fields index, size, path and no other, but has 'index', 'path', 'size', 'x'",
    ),
    (
        '{"index":0,"index":1,"size":1,"path":[]}',
        "is not JSON that can be read (the field 'index' stands there twice)",
    ),
    ('{"index":true,"size":2,"path":[]}', f"index is True, not a whole number from 0 to {MAX_SIZE}"),
    ('{"index":0.0,"size":2,"path":[]}', f"index is 0.0, not a whole number from 0 to {MAX_SIZE}"),
    ('{"index":-1,"size":2,"path":[]}', f"index is -1, not a whole number from 0 to {MAX_SIZE}"),
    ('{"index":"0","size":2,"path":[]}', f"index is '0', not a whole number from 0 to {MAX_SIZE}"),
    ('{"index":0,"size":NaN,"path":[]}', f"size is nan, not a whole number from 0 to {MAX_SIZE}"),
    (
        f'{{"index":0,"size":{MAX_SIZE + 1},"path":[]}}',
        f"size is {MAX_SIZE + 1}, not a whole number from 0 to {MAX_SIZE}",
    ),
    ('{"index":0,"size":0,"path":[]}', "there is no leaf 0 in a tree of 0"),
    ('{"index":2,"size":2,"path":[]}', "there is no leaf 2 in a tree of 2"),
    ('{"index":0,"size":1,"path":"ab"}', "path is 'ab', not a list"),
    ('{"index":0,"size":2,"path":[null]}', "path[0] is None, not 64 lower-case hex digits"),
    (
        f'{{"index":0,"size":3,"path":["{SEAL}","{SEAL.upper()}"]}}',
        "path[1] is 'ABABABABABAB...BABABABABABAB', not 64 lower-case hex digits",
    ),
    (
        f'{{"index":0,"size":2,"path":["{SEAL}\\n"]}}',
        "path[0] is 'abababababab...bababababab\\n', not 64 lower-case hex digits",
    ),
    (f'{{"index":0,"size":1,"path":["{SEAL}"]}}', "path holds 1 hashes, but for these sizes it takes 0"),
    ('{"index":7,"size":8,"path":[]}', "path holds 0 hashes, but for these sizes it takes 3"),
]


@pytest.mark.parametrize(("text", "problem"), HOSTILE)
def test_a_hostile_inclusion_proof_is_refused_with_what_is_wrong(text: Any, problem: str) -> None:
    with pytest.raises(ProofError) as caught:
        InclusionProof.from_json(text)

    assert f"inclusion proof: {problem}. Nothing was checked; ask its sender again" == str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '{"index":0,"size":1,"path":[]}',
            "must have the fields old_size, new_size, path and no other, but has 'index', 'path', 'size'",
        ),
        ('{"old_size":3,"new_size":2,"path":[]}', "a tree of 3 leaves cannot grow to 2"),
        (f'{{"old_size":0,"new_size":2,"path":["{SEAL}"]}}', "path holds 1 hashes, but for these sizes it takes 0"),
        (f'{{"old_size":2,"new_size":2,"path":["{SEAL}"]}}', "path holds 1 hashes, but for these sizes it takes 0"),
        ('{"old_size":3,"new_size":5,"path":[]}', "path holds 0 hashes, but for these sizes it takes 4"),
    ],
)
def test_a_hostile_consistency_proof_is_refused_with_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(ProofError) as caught:
        ConsistencyProof.from_json(text)

    assert f"consistency proof: {problem}. Nothing was checked; ask its sender again" == str(caught.value)


@pytest.mark.parametrize("text", ["[" * MAX_TEXT_CHARS, '{"index":' * 900, "9" * 5000, '{"index":' + "9" * 5000 + "}"])
def test_a_nesting_or_a_number_without_end_is_refused(text: str) -> None:
    with pytest.raises(ProofError, match=r"^inclusion proof: is not JSON that can be read \("):
        InclusionProof.from_json(text)


def test_a_proof_error_is_a_value_error_that_survives_pickling() -> None:
    error = ProofError("inclusion proof", "there is no leaf 8 in a tree of 8")
    copy = pickle.loads(pickle.dumps(error))

    assert (str(error), error.problem) == (str(copy), copy.problem)
    assert isinstance(copy, ValueError)


# The vectors that implementations of certificate transparency share ---------------------------------------------------

CT_LEAVES = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    bytes(range(0x50, 0x58)),
    bytes(range(0x60, 0x70)),
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAF_0, LEAF_1 = CT_ROOTS[1], "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
LEAF_4, LEAF_6 = (
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
)
NODE_01, NODE_23 = CT_ROOTS[2], "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
NODE_45, NODE_67 = (
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
)
NODE_0123, NODE_4567 = CT_ROOTS[4], "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"


@pytest.mark.parametrize("size", range(9))
def test_the_published_roots_are_met(size: int) -> None:
    leaves = CT_LEAVES[:size]

    assert CT_ROOTS[size] == mth(leaves).hex() == root_of(leaves).hex()


@pytest.mark.parametrize(
    ("index", "size", "hashes"),
    [
        (0, 1, []),
        (0, 8, [LEAF_1, NODE_23, NODE_4567]),
        (5, 8, [LEAF_4, NODE_67, NODE_0123]),
        (2, 3, [NODE_01]),
        (1, 5, [LEAF_0, NODE_23, LEAF_4]),
    ],
)
def test_the_published_inclusion_proofs_are_met(index: int, size: int, hashes: list[str]) -> None:
    proof = inclusion_proof(CT_LEAVES[:size], index)

    assert InclusionProof(index, size, tuple(map(bytes.fromhex, hashes))) == proof
    assert verify_inclusion(CT_LEAVES[index], proof, bytes.fromhex(CT_ROOTS[size]))


@pytest.mark.parametrize(
    ("old_size", "new_size", "hashes"),
    [
        (1, 1, []),
        (1, 8, [LEAF_1, NODE_23, NODE_4567]),
        (6, 8, [NODE_45, NODE_67, NODE_0123]),
        (2, 5, [NODE_23, LEAF_4]),
        (6, 7, [NODE_45, LEAF_6, NODE_0123]),
    ],
)
def test_the_published_consistency_proofs_are_met(old_size: int, new_size: int, hashes: list[str]) -> None:
    proof = consistency_proof(CT_LEAVES[:new_size], old_size)
    roots = bytes.fromhex(CT_ROOTS[old_size]), bytes.fromhex(CT_ROOTS[new_size])

    assert ConsistencyProof(old_size, new_size, tuple(map(bytes.fromhex, hashes))) == proof
    assert verify_consistency(proof, *roots)
