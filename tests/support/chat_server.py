"""Serves scripted answers over the OpenAI chat protocol on a real socket: good ones, and every bad one."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Request = dict[str, Any]
"""The body of a request, as JSON data."""


@dataclass(frozen=True)
class Reply:
    """One scripted answer."""

    body: bytes | Callable[[Request], bytes] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    """Only so many bytes of the body are sent before the connection is closed."""
    hangs: bool = False
    """Nothing is sent until the server is closed."""
    drips: bool = False
    """A blank is sent every 10 ms until the client or the server goes away."""

    def cut(self, sent: int) -> Reply:
        """Returns the same, broken off after so many bytes of its body."""
        return Reply(self.body, self.status, self.headers, sent)


def completion(message: Mapping[str, Any], *, finish: str = "stop", tokens: tuple[int, int] = (100, 20)) -> bytes:
    """Returns the body of a chat completion."""
    read, written = tokens
    return json.dumps({
        "id": "chat-1", "object": "chat.completion", "created": 1_700_000_000, "model": "scripted",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}],
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }).encode()  # fmt: skip


def arguments(raw: str, **options: Any) -> Reply:
    """Answers with a call of the first tool that is offered, with these arguments to the letter; else with the text."""

    def body(request: Request) -> bytes:
        tools = request.get("tools") or []
        if not tools:
            return completion({"content": raw}, **options)
        function = {"name": tools[0]["function"]["name"], "arguments": raw}
        return completion(
            {"content": None, "tool_calls": [{"id": "call-1", "type": "function", "function": function}]}, **options
        )

    return Reply(body)


def verdict(
    kind: str = "explicit_rejection", confidence: Any = 0.9, *, is_correction: bool | None = None,
    reasoning: str = "it says so", **options: Any,
) -> Reply:  # fmt: skip
    """Answers with a verdict; without more a correction is every kind but neutral."""
    said = kind != "neutral" if is_correction is None else is_correction
    data = {"is_correction": said, "kind": kind, "confidence": confidence, "reasoning": reasoning}
    return arguments(json.dumps(data), **options)


def text(content: str, **options: Any) -> Reply:
    """Answers with plain text."""
    return Reply(completion({"content": content}, **options))


def refusal(content: str = "I cannot help with that.") -> Reply:
    """Answers with the protocol's refusal."""
    return Reply(completion({"content": None, "refusal": content}))


def error(status: int, message: str = "no", *, code: str | None = None, **headers: str) -> Reply:
    """Answers with an error of the protocol; `retry_after="2"` becomes the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps({"error": {"message": message, "type": code, "code": code}}).encode(), status, named)


HANGS = Reply(hangs=True)
DRIPS = Reply(drips=True)
Script = Iterable[Reply] | Callable[[Request], Reply]


class ChatServer:
    """A server in threads of its own; use it with `with`. Works under tests on asyncio and on trio.

    A script is one reply after the other, the last one again and again, or a function of the request.
    """

    def __init__(self, script: Script) -> None:
        self._lock = threading.Lock()
        self._script: Callable[[Request], Reply] = script if callable(script) else self._next
        self._replies = [] if callable(script) else list(script)
        self.requests: list[Request] = []
        """The bodies of all requests, in the order of arrival."""
        self.headers: list[dict[str, str]] = []
        self.at_once = 0
        """The most requests that were under way together."""
        self._under_way = 0
        self.closing = threading.Event()
        self.arrived = threading.Event()
        """A request has come in."""
        self._sockets: set[socket.socket] = set()
        self.idle = threading.Event()
        """Nobody is connected."""
        self.idle.set()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.chat = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        with self._lock:
            return len(self._sockets)

    @property
    def model(self) -> str:
        """The URL with a model's name, as `FeedbackJudge` takes it."""
        return f"{self.url}#scripted"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        with self._lock:
            sockets = list(self._sockets)
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def take(self, request: Request, headers: dict[str, str]) -> Reply:
        """Notes a request and returns its reply."""
        with self._lock:
            self.requests.append(request)
            self.headers.append(headers)
            self._under_way += 1
            self.at_once = max(self.at_once, self._under_way)
        self.arrived.set()
        return self._script(request)

    def done(self) -> None:
        """Notes that a request was answered."""
        with self._lock:
            self._under_way -= 1

    def connected(self, connection: socket.socket, *, there: bool) -> None:
        """Notes a connection that came or went."""
        with self._lock:
            (self._sockets.add if there else self._sockets.discard)(connection)
            (self.idle.clear if self._sockets else self.idle.set)()

    def _next(self, request: Request) -> Reply:
        with self._lock:
            return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them: nothing of one test is left in the next
    block_on_close = True
    request_queue_size = 128
    chat: ChatServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keeps quiet: clients go away amid answers, which is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.chat.connected(self.connection, there=True)

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        self.server.chat.connected(self.connection, there=False)

    def do_POST(self) -> None:
        chat = self.server.chat
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = chat.take(request, {name.title(): value for name, value in self.headers.items()})
        try:
            self._answer(reply, request)
        finally:
            chat.done()

    def _answer(self, reply: Reply, request: Request) -> None:
        closing = self.server.chat.closing
        if reply.hangs:
            self.close_connection = True
            closing.wait()
            return
        body = reply.body(request) if callable(reply.body) else reply.body
        length = 1_000_000 if reply.drips else len(body)
        head = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        start = (
            f"HTTP/1.1 {reply.status} Scripted\r\nContent-Type: application/json\r\n"
            f"Content-Length: {length}\r\n{head}\r\n"
        )
        if reply.drips or reply.sent is not None:
            self.close_connection = True
        self.wfile.write(start.encode() + body[: reply.sent])  # in one piece: else Nagle makes it wait for 40 ms
        while reply.drips and not closing.wait(0.01):
            self.wfile.write(b" ")

    def log_message(self, format: str, *args: Any) -> None:
        """Writes nothing."""
