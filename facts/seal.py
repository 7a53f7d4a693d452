"""Seals notes, so that one whose bytes or address changed in a store is found out when it is read."""

from __future__ import annotations

from hashlib import sha256

from .errors import StoreError
from .stores import Address

SEAL_BYTES = 16


class BrokenNote(StoreError):
    """A note in a store is not what was written."""

    def __init__(self, address: Address) -> None:
        self.address = address
        where = f" of {address.owner}" if address.owner else ""
        super().__init__(
            f"the {address.space} note {address.key!r:.80}{where} is damaged: it does not match its digest. "
            f"The events of the log are not touched by it; quiesce verify checks them"
        )


def seal(address: Address, body: bytes) -> bytes:
    """Returns a note's body behind its seal."""
    return _seal(address, body) + body


def unseal(address: Address, value: bytes) -> bytes:
    """Returns the body of a sealed note.

    Raises:
        BrokenNote: it is not what was sealed, or was sealed for another address.
    """
    body = value[SEAL_BYTES:]
    if _seal(address, body) != value[:SEAL_BYTES]:
        raise BrokenNote(address)
    return body


def _seal(address: Address, body: bytes) -> bytes:
    name = "\x00".join(address).encode("utf-8", "surrogatepass")
    return sha256(b"%d:%b%b" % (len(name), name, body)).digest()[:SEAL_BYTES]
