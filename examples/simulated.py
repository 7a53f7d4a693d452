"""Three simulated providers behind real HTTP servers on this machine, which speak the OpenAI chat protocol.

examples/providers.py asks them while `running` of examples/simulated.py keeps them up. "steady" answers fairly well,
always. "waning" is the best of the three until it decays: its answers shrink, come empty, end oddly and leave the tools
alone; later it recovers. "shaky" is good while it is there, and has outages at moments that the seed decides: 500s, and
429s while it comes back.

What a server answers depends on the seed, on how many requests all three have had, and on what is asked: asked again in
the same order, they answer the same.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from random import Random
from threading import Lock, Thread
from time import sleep
from typing import Any

LONGEST_BODY = 1_000_000
SENTENCES = (
    "Both numbers are whole, so nothing has to be rounded.",
    "The tens are added first and the ones after them.",
    "What is carried over goes to the tens.",
    "The sum can be checked by taking one of them away again.",
    "The order of the two makes no difference to the result.",
    "An estimate with rounded numbers comes out close to it.",
)


@dataclass(frozen=True)
class Manner:
    """How a provider answers for a while; what is no number of something is a probability."""

    right: float
    sentences: int
    cents: float
    """What 1,000 tokens of an answer cost."""
    empty: float = 0.0
    odd_stop: float = 0.0
    tool_silence: float = 0.0
    error: float = 0.0
    rate_limit: float = 0.0
    seconds: float = 0.002


Plan = Sequence[tuple[int, Manner]]
"""From which request on (of all that the three get) a provider answers in which manner."""


def plans(seed: int) -> dict[str, Plan]:
    """Returns how the three behave."""
    steady = Manner(right=0.8, sentences=5, cents=0.6, error=0.06)
    waning = Manner(right=0.97, sentences=6, cents=0.4, seconds=0.003)
    decayed = replace(waning, right=0.4, sentences=1, empty=0.45, odd_stop=0.4, tool_silence=0.9)
    shaky = Manner(right=0.95, sentences=4, cents=0.2, seconds=0.001)
    down, back = replace(shaky, error=0.85), replace(shaky, rate_limit=0.5)
    outages: list[tuple[int, Manner]] = [(0, shaky)]
    chance = Random(f"{seed}/outages")
    for begin in (50, 150, 235):
        begin += chance.randrange(20)  # noqa: PLW2901  the moment within its quarter is the seed's
        outages += [(begin, down), (begin + 30, back), (begin + 40, shaky)]
    return {"steady": [(0, steady)], "waning": [(0, waning), (100, decayed), (200, waning)], "shaky": outages}


class Town:
    """The three servers while they run; it counts who was asked how often."""

    def __init__(self, seed: int = 7) -> None:
        self.asked: Counter[str] = Counter()
        self.answered: Counter[tuple[str, int]] = Counter()
        """By provider and status."""
        self._seed = seed
        self._lock = Lock()
        self._turn = count()
        self._servers = {name: _Server(self, name, plan) for name, plan in plans(seed).items()}
        self.urls = {name: f"http://127.0.0.1:{server.server_port}" for name, server in self._servers.items()}

    @property
    def requests(self) -> int:
        """How many requests the three have had together."""
        return sum(self.asked.values())

    def begin(self, name: str) -> tuple[int, Random]:
        """Counts a request; returns which of all it is, and the chance that decides about it."""
        with self._lock:
            self.asked[name] += 1
            turn = next(self._turn)
        return turn, Random(f"{self._seed}/{name}/{turn}")

    def note(self, name: str, status: int) -> None:
        """Counts an answer."""
        with self._lock:
            self.answered[name, status] += 1

    def open(self) -> None:
        """Starts the servers, each in a thread of its own."""
        for server in self._servers.values():
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """Ends the servers."""
        for server in self._servers.values():
            server.shutdown()
            server.server_close()


@contextmanager
def running(seed: int = 7) -> Iterator[Town]:
    """Keeps the three servers up for the length of a block."""
    town = Town(seed)
    town.open()
    try:
        yield town
    finally:
        town.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, town: Town, name: str, plan: Plan) -> None:
        self.town, self.name, self.plan = town, name, plan
        super().__init__(("127.0.0.1", 0), _Handler)

    def manner(self, turn: int) -> Manner:
        return [manner for begin, manner in self.plan if begin <= turn][-1]


class _Refused(Exception):
    """A request gets an error instead of an answer."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        self.status, self.kind = status, kind
        super().__init__(message)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 10

    def do_POST(self) -> None:
        """Answers a request for a completion."""
        try:
            request = self._read()
            turn, chance = self.server.town.begin(self.server.name)
            self._send(200, complete(request, self.server.name, self.server.manner(turn), turn, chance))
        except _Refused as refused:
            error = {"message": str(refused), "type": refused.kind, "param": None, "code": None}
            self._send(refused.status, {"error": error})

    def _read(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LONGEST_BODY:
            self.close_connection = True  # where the body ends is not known
            raise _Refused(411 if not length else 413, "invalid_request_error", f"Content-Length is {length!r}")
        body = self.rfile.read(int(length))
        if self.path != "/v1/chat/completions":
            raise _Refused(404, "invalid_request_error", f"there is nothing at {self.path}")
        try:
            request = json.loads(body)
        except ValueError as error:
            raise _Refused(400, "invalid_request_error", f"the body is no JSON: {error}") from error
        if not isinstance(request, dict) or not isinstance(request.get("model"), str):
            raise _Refused(400, "invalid_request_error", "model is missing")
        question_of(request)
        return request

    def _send(self, status: int, body: Mapping[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.server.town.note(self.server.name, status)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the terminal is the example's."""


def question_of(request: Mapping[str, Any]) -> str:
    """Returns the last message of the user."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _Refused(400, "invalid_request_error", "messages has to be a list with at least one message")
    content = messages[-1].get("content") if isinstance(messages[-1], dict) else None
    if not isinstance(content, str):
        raise _Refused(400, "invalid_request_error", "the last message has no content")
    return content


def complete(request: Mapping[str, Any], name: str, manner: Manner, turn: int, chance: Random) -> dict[str, Any]:
    """Returns the answer of a provider in its manner of the moment."""
    sleep(manner.seconds * chance.uniform(0.5, 1.5))
    if chance.random() < manner.rate_limit:
        raise _Refused(429, "rate_limit_error", "too many requests, come back in a second")
    if chance.random() < manner.error:
        raise _Refused(500, "server_error", "the model is not available")
    message, finish = _message(request, manner, chance)
    words = len(question_of(request).split())
    said = [message["content"] or "", *(one["function"]["arguments"] for one in message.get("tool_calls", ()))]
    tokens = len(" ".join(said).split()) * 4 // 3
    return {
        "id": f"chatcmpl-{name}-{turn}", "object": "chat.completion", "created": 1_767_225_600 + turn,
        "model": request["model"], "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": words, "completion_tokens": tokens, "total_tokens": words + tokens},
    }  # fmt: skip


def _message(request: Mapping[str, Any], manner: Manner, chance: Random) -> tuple[dict[str, Any], str | None]:
    numbers = [int(word) for word in question_of(request).split() if word.isdigit()]
    result = sum(numbers) if chance.random() < manner.right else sum(numbers) + chance.choice((-10, -1, 1, 10))
    silent, empty = chance.random() < manner.tool_silence, chance.random() < manner.empty
    odd = chance.random() < manner.odd_stop
    long = min(max(1, round(chance.gauss(manner.sentences, 0.8))), len(SENTENCES) + 1)
    text = " ".join([f"It is {result}.", *chance.sample(SENTENCES, long - 1)])
    if request.get("tools") and not silent:
        function = {"name": request["tools"][0]["function"]["name"], "arguments": json.dumps({"text": text})}
        called = [{"id": f"call-{chance.getrandbits(32):08x}", "type": "function", "function": function}]
        return {"role": "assistant", "content": None, "tool_calls": called}, "tool_calls"
    finish = chance.choice(("content_filter", None)) if odd else "stop"
    return {"role": "assistant", "content": "" if empty else text}, finish
