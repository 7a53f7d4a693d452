"""Stands between a client and a PostgreSQL server, counts the messages, and cuts the connection at one of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal, NamedTuple


class Message(NamedTuple):
    """One message of the protocol."""

    side: Literal["client", "server"]
    kind: str
    """Its letter; empty for the first one of a connection, which has none."""


class Proxy:
    """A proxy on loopback; each connection has two threads that end with it."""

    def __init__(self, port: int) -> None:
        self.messages: list[Message] = []
        self.cuts = 0
        self.down = False
        """Every connection is closed as soon as it is made, as if there were no server."""
        self._target = port
        self._cut_at: tuple[int, str] | None = None
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def cut_at(self, number: int, when: Literal["before", "after"]) -> None:
        """Cuts the connection at a message, counted from 0 from now on, before or after passing it on; once."""
        with self._lock:
            self.messages.clear()
            self.cuts = 0
            self._cut_at = (number, when)

    def cut_all(self) -> None:
        """Cuts every connection now."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(pair)

    def clear(self) -> None:
        """Forgets the messages that were counted, and where to cut."""
        with self._lock:
            self.messages.clear()
            self._cut_at = None

    @property
    def trips(self) -> int:
        """How many times the client has spoken after the server, or first: the round trips."""
        with self._lock:
            sides = [message.side for message in self.messages]
        return sum(side == "client" and before != "client" for before, side in zip(["", *sides], sides, strict=False))

    def close(self) -> None:
        """Ends all connections and their threads."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()
        for thread in self._threads:
            thread.join(10)

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            if self.down:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # the server is being restarted
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            for one, other, side in ((client, server, "client"), (server, client, "server")):
                thread = threading.Thread(target=self._pump, args=(pair, one, other, side), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pump(
        self,
        pair: tuple[socket.socket, socket.socket],
        source: socket.socket,
        sink: socket.socket,
        side: Literal["client", "server"],
    ) -> None:
        with suppress(OSError):
            for message, data in read_messages(source, side):
                with self._lock:
                    number = len(self.messages)
                    self.messages.append(message)
                    when = self._cut_at[1] if self._cut_at is not None and self._cut_at[0] == number else None
                    if when:
                        self.cuts += 1
                        self._cut_at = None
                if when != "before":
                    sink.sendall(data)
                if when:
                    break
        self._end(pair)

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for end in pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def read_messages(source: socket.socket, side: Literal["client", "server"]) -> Iterator[tuple[Message, bytes]]:
    """Yields the messages that one side sends, until it ends."""
    data = b""
    first = side == "client"  # what a client says first has no letter
    while chunk := source.recv(1 << 16):
        data += chunk
        while True:
            head = 0 if first else 1
            if len(data) < head + 4:
                break
            length = head + int.from_bytes(data[head : head + 4], "big")
            if len(data) < length:
                break
            yield Message(side, data[:head].decode("latin-1")), data[:length]
            data, first = data[length:], False
