"""Seals a growing log under 32 bytes, by which a stranger can check what it holds without reading it.

Ana keeps the log. She drops each fact's digest as a *leaf* into a tree; whenever two neighbouring subtrees of the same
height are complete, one hash takes their place. What has no partner yet waits on the *frontier*, one hash for each bit
of the size, and folding the frontier from right to left gives the *root*, which she publishes with the size.

Ben was given one fact. Ana hands him the siblings on the way from its leaf to the root (an *inclusion proof*); he
hashes upwards and must arrive at the published root. Cleo remembers the root of last week. Ana hands her the subtrees
from which both last week's root and today's can be built (a *consistency proof*): so nothing that Cleo knew was
changed, taken out or put in between.

All of it follows RFC 9162, section 2.1: leaves and nodes are hashed with different first bytes, so that no node passes
for a leaf, and a subtree without a partner is never paired with itself, so that no two logs share a root. The sizes in
a proof are claims of its sender: Ben and Cleo compare them with the sizes that were published with the roots.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from reprlib import repr as shorten
from typing import Any

from .errors import LogError

EMPTY_ROOT = sha256(b"").digest()
HASH_BYTES = 32
MAX_SIZE = 2**64 - 1
"""The most leaves a proof may speak of: the tree size of RFC 9162 is an unsigned integer of 64 bits."""
MAX_TEXT_CHARS = 8192
"""The longest text that is parsed as a proof; the longest proof, of 65 hashes, takes about 4500 characters."""

_LEAF = b"\x00"
_NODE = b"\x01"
_HEX = re.compile(r"[0-9a-f]{64}")


class ProofError(LogError, ValueError):
    """A proof cannot be read, or cannot be made of what was given."""

    def __init__(self, proof: str, problem: str, advice: str = "Nothing was checked; ask its sender again") -> None:
        self.proof, self.problem, self.advice = proof, problem, advice
        super().__init__(f"{proof}: {problem}. {advice}")


def leaf_hash(leaf: bytes) -> bytes:
    """Returns the hash that stands for a leaf."""
    return sha256(_LEAF + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Returns the hash that stands for two neighbouring subtrees."""
    return sha256(_NODE + left + right).digest()


class MerkleTree:
    """Knows the root of all leaves appended so far, in memory that grows with the logarithm of their number.

    It keeps the frontier only: proofs are made from the leaves, by `inclusion_proof` and `consistency_proof`.

    >>> tree = MerkleTree()
    >>> tree.extend([b"one", b"two", b"three"])
    >>> tree.root() == root_of([b"one", b"two", b"three"])
    True
    """

    __slots__ = ("_frontier", "_size")

    def __init__(self) -> None:
        self._frontier: list[bytes] = []  # roots of complete subtrees, largest first: one for each 1 bit of the size
        self._size = 0

    @classmethod
    def of(cls, size: int, frontier: Sequence[bytes]) -> MerkleTree:
        """Returns the tree of so many leaves that has this frontier.

        Raises:
            ValueError: no tree of that size has so many hashes there.
        """
        if size < 0 or len(frontier) != size.bit_count() or not _are_hashes(tuple(frontier)):
            raise ValueError(f"the frontier of a tree of {size} leaves is not {len(frontier)} hashes")
        tree = cls()
        tree._frontier, tree._size = list(frontier), size
        return tree

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    @property
    def frontier(self) -> tuple[bytes, ...]:
        """The roots of its complete subtrees, the largest first: all that it takes to go on."""
        return tuple(self._frontier)

    def append(self, leaf: bytes) -> None:
        """Adds one leaf at the end, for two hashes on average."""
        node = sha256(_LEAF + leaf).digest()  # not leaf_hash and node_hash: a call each, and every fact comes by here
        frontier, size = self._frontier, self._size
        self._size = size + 1
        while size & 1:
            node = sha256(_NODE + frontier.pop() + node).digest()
            size >>= 1
        frontier.append(node)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Adds leaves at the end, in their order."""
        append = self.append
        for leaf in leaves:
            append(leaf)

    def copy(self) -> MerkleTree:
        """Returns a tree of the same leaves that goes its own way."""
        other = MerkleTree()
        other._frontier, other._size = list(self._frontier), self._size
        return other

    def root(self) -> bytes:
        """Returns the root of the leaves so far, for at most one hash per bit of the size."""
        if not self._frontier:
            return EMPTY_ROOT
        *lefts, node = self._frontier
        for left in reversed(lefts):
            node = node_hash(left, node)
        return node


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Returns the root of a tree of these leaves: MTH in the RFC."""
    tree = MerkleTree()
    tree.extend(leaves)
    return tree.root()


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Shows which leaf is at one place of a tree, to whoever knows the tree's size and root."""

    index: int  # the leaf's place, from 0
    size: int  # leaves in the tree
    path: tuple[bytes, ...]  # siblings of the leaf and of the nodes above it, from the bottom up

    def to_json(self) -> str:
        """Returns the proof as one line of JSON."""
        return _write({"index": self.index, "size": self.size}, self.path)

    @classmethod
    def from_json(cls, text: str) -> InclusionProof:
        """Reads what `to_json` wrote; anything but a well-formed proof raises ProofError."""
        index, size, path = _read("inclusion proof", text, "index", "size")
        if index >= size:
            raise ProofError("inclusion proof", f"there is no leaf {index} in a tree of {size}")
        _check_length("inclusion proof", path, len(_sides(index, size - 1)))
        return cls(index, size, path)


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """Shows that one tree begins with all leaves of another, to whoever knows the sizes and roots of both."""

    old_size: int  # leaves in the older tree
    new_size: int  # leaves in the newer tree; at least old_size
    path: tuple[bytes, ...]  # subtrees that both roots can be built from, from the bottom up

    def to_json(self) -> str:
        """Returns the proof as one line of JSON."""
        return _write({"old_size": self.old_size, "new_size": self.new_size}, self.path)

    @classmethod
    def from_json(cls, text: str) -> ConsistencyProof:
        """Reads what `to_json` wrote; anything but a well-formed proof raises ProofError."""
        old_size, new_size, path = _read("consistency proof", text, "old_size", "new_size")
        if old_size > new_size:
            raise ProofError("consistency proof", f"a tree of {old_size} leaves cannot grow to {new_size}")
        _check_length("consistency proof", path, _consistency_length(old_size, new_size))
        return cls(old_size, new_size, path)


def inclusion_proof(leaves: Sequence[bytes], index: int) -> InclusionProof:
    """Makes the proof that a leaf is where it is, for less than two hashes per leaf (RFC 9162, 2.1.3.1)."""
    size = len(leaves)
    if not 0 <= index < size:
        advice = f"Ask for an index from 0 to {size - 1}" if size else "Append leaves first"
        raise ProofError("inclusion proof", f"there is no leaf {index} in a tree of {size}", advice)
    path = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(root_of(leaves[middle:end]))
            end = middle
        else:
            path.append(root_of(leaves[start:middle]))
            start = middle
    return InclusionProof(index, size, tuple(reversed(path)))


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> ConsistencyProof:
    """Makes the proof that a tree grew from its first leaves, for less than two hashes per leaf (RFC 9162, 2.1.4.1)."""
    size = len(leaves)
    if not 0 <= old_size <= size:
        problem = f"a tree of {size} leaves did not grow from {old_size}"
        raise ProofError("consistency proof", problem, f"Ask for an old size from 0 to {size}")
    if old_size == 0:
        return ConsistencyProof(0, size, ())  # every tree grew from the empty one, whose root is known
    path = []
    start, end = 0, size
    while end > old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append(root_of(leaves[middle:end]))
            end = middle
        else:
            path.append(root_of(leaves[start:middle]))
            start = middle
    if start:  # else this last subtree is the whole old tree, and the verifier has its root
        path.append(root_of(leaves[start:end]))
    return ConsistencyProof(old_size, size, tuple(reversed(path)))


def verify_inclusion(leaf: bytes, proof: InclusionProof, root: bytes) -> bool:
    """Tells whether a leaf is where the proof says, in the tree of this root (RFC 9162, 2.1.3.2).

    The proof's size must be the one that was published with the root: compare it yourself. With another size, the proof
    for the last of three leaves passes as one for the last of two.
    """
    if not 0 <= proof.index < proof.size:
        return False
    sides = _sides(proof.index, proof.size - 1)
    if len(proof.path) != len(sides) or not _are_hashes(proof.path):
        return False
    node = leaf_hash(leaf)
    for sibling, is_left in zip(proof.path, sides, strict=True):
        node = node_hash(sibling, node) if is_left else node_hash(node, sibling)
    return node == root


def verify_consistency(proof: ConsistencyProof, old_root: bytes, new_root: bytes) -> bool:
    """Tells whether the tree of the new root begins with all leaves of the tree of the old root (RFC 9162, 2.1.4.2).

    The proof's sizes must be those that were published with the roots: compare them yourself. Two cases are left out
    by the RFC: a tree of the same size must have the same root, and from the empty tree every tree can grow.
    """
    old_size, new_size, path = proof.old_size, proof.new_size, proof.path
    if not 0 <= old_size <= new_size:
        return False
    if len(path) != _consistency_length(old_size, new_size) or not _are_hashes(path):
        return False
    if old_size == new_size:
        return old_root == new_root and (old_size > 0 or old_root == EMPTY_ROOT)
    if old_size == 0:
        return old_root == EMPTY_ROOT
    if _is_power_of_two(old_size):
        path = (old_root, *path)  # the old tree is one of the subtrees, so the proof need not repeat its root
    old = new = path[0]
    for sibling, is_left in zip(path[1:], _boundary_sides(old_size, new_size), strict=True):
        if is_left:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
        else:
            new = node_hash(new, sibling)
    return old == old_root and new == new_root


def _split(size: int) -> int:
    """Returns the largest power of two below a size of two or more: the leaves that go to the left."""
    return 1 << (size - 1).bit_length() - 1


def _sides(place: int, last: int) -> list[bool]:
    """Tells for each sibling on the way from a place up to the root whether it is on the left."""
    sides = []
    while last:
        is_left = bool(place & 1) or place == last
        sides.append(is_left)
        while is_left and place and not place & 1:  # no partner at this height: the node moves up as it is
            place, last = place >> 1, last >> 1
        place, last = place >> 1, last >> 1
    return sides


def _boundary_sides(old_size: int, new_size: int) -> list[bool]:
    """Tells the same for the way from the last complete subtree of the old tree, where `0 < old_size < new_size`."""
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    return _sides(place, last)


def _consistency_length(old_size: int, new_size: int) -> int:
    if old_size in (0, new_size):
        return 0
    return len(_boundary_sides(old_size, new_size)) + (not _is_power_of_two(old_size))


def _is_power_of_two(size: int) -> bool:
    return size & (size - 1) == 0


def _are_hashes(path: tuple[bytes, ...]) -> bool:
    """Tells whether each is as long as a hash: others could move the border between left and right."""
    return all(len(hash) == HASH_BYTES for hash in path)


def _write(sizes: dict[str, int], path: tuple[bytes, ...]) -> str:
    return json.dumps({**sizes, "path": [hash.hex() for hash in path]}, separators=(",", ":"))


def _read(proof: str, text: str, *numbers: str) -> tuple[int, int, tuple[bytes, ...]]:
    """Returns two numbers and the path; trusts nothing about the text."""
    fields = _read_object(proof, text)
    if fields.keys() != {*numbers, "path"}:
        found = ", ".join(shorten(name) for name in sorted(fields)[:5]) or "nothing"
        raise ProofError(proof, f"must have the fields {', '.join(numbers)}, path and no other, but has {found}")
    small, large = (_read_number(proof, name, fields[name]) for name in numbers)
    return small, large, _read_path(proof, fields["path"])


def _read_object(proof: str, text: str) -> dict[str, Any]:
    if not isinstance(text, str):
        raise ProofError(proof, f"is a {type(text).__name__}, not a text")
    if len(text) > MAX_TEXT_CHARS:
        raise ProofError(proof, f"takes {len(text)} characters, over the limit of {MAX_TEXT_CHARS}")
    try:
        fields = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:  # bad syntax, a repeated field, a number or a nesting without end
        raise ProofError(proof, f"is not JSON that can be read ({error})") from error
    if not isinstance(fields, dict):
        raise ProofError(proof, f"is {shorten(fields)}, not a JSON object")
    return fields


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object of its fields; of two with one name another reader might take the other one."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"the field {shorten(name)} stands there twice")
        fields[name] = value
    return fields


def _read_number(proof: str, name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_SIZE:  # not isinstance: true is an int to Python
        raise ProofError(proof, f"{name} is {shorten(value)}, not a whole number from 0 to {MAX_SIZE}")
    return value


def _read_path(proof: str, value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list):
        raise ProofError(proof, f"path is {shorten(value)}, not a list")
    for place, item in enumerate(value):
        if not isinstance(item, str) or not _HEX.fullmatch(item):  # not fromhex alone: it takes capitals and spaces
            raise ProofError(proof, f"path[{place}] is {shorten(item)}, not 64 lower-case hex digits")
    return tuple(bytes.fromhex(item) for item in value)


def _check_length(proof: str, path: tuple[bytes, ...], length: int) -> None:
    if len(path) != length:
        raise ProofError(proof, f"path holds {len(path)} hashes, but for these sizes it takes {length}")
