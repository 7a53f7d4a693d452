"""What a user of the providers pack writes: the call of the provider that was chosen, and here its users as well.

examples/providers.py registers the `caller` of examples/providers_call.py beside the pack. It asks over HTTP with the
standard library alone, in a thread, and says what came of it as facts: an outcome, an observation of the answer without
its text, and now and then what a user had to say. It is impure (`pure=False`), so what it came to is journaled, and no
replay asks again.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from random import Random
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from quiesce.engine import Proposal, Suggestor, propose, suggestor
from quiesce.facts import Fact, Payload, View
from quiesce.suggestors import Feedback, Outcome, ResponseObservation, RouteDecision

TOOL = {"type": "function", "function": {"name": "tell", "parameters": {"type": "object"}}}
CENTS = {"steady": 0.6, "waning": 0.4, "shaky": 0.2}
"""What 1,000 tokens of an answer cost."""


class Question(Payload, key="seeds"):
    """What a user wants to know; its id is the request's."""

    a: int
    b: int
    with_tool: bool

    @property
    def text(self) -> str:
        return f"What is {self.a} plus {self.b} ?"


@dataclass(frozen=True)
class Answer:
    """What came back: a status and, where that is 200, a message."""

    status: int
    """599: nothing that could be read."""
    milliseconds: float
    content: str = ""
    called: bool = False
    stop: str | None = None
    tokens: int = 0


def caller(urls: Mapping[str, str]) -> Suggestor:
    """Returns the suggestor that asks whoever was chosen."""

    @suggestor(reads=[Question], writes=[Outcome, ResponseObservation, Feedback], pure=False, version="1", thread=True)
    def call(decision: Fact[RouteDecision], view: View) -> Iterator[Proposal[Any]]:
        question = view.get(Question, decision.id)
        if question is not None:
            answer = ask(urls[decision.payload.provider], question.payload)
            yield from report(decision.id, decision.payload.provider, question.payload, answer)

    made: Suggestor = call
    return made


def ask(url: str, question: Question) -> Answer:
    """Asks a provider over the OpenAI chat protocol."""
    request: dict[str, Any] = {"model": "simulated", "messages": [{"role": "user", "content": question.text}]}
    if question.with_tool:
        request["tools"] = [TOOL]
    place, began = urlsplit(url), perf_counter()
    status, body = 599, {}
    try:
        with closing(HTTPConnection(place.hostname or "", place.port, timeout=10)) as connection:
            connection.request(
                "POST", "/v1/chat/completions", json.dumps(request), {"Content-Type": "application/json"}
            )  # fmt: skip
            response = connection.getresponse()
            status, body = response.status, json.loads(response.read())
    except (OSError, HTTPException, ValueError):
        status = 599
    milliseconds = round((perf_counter() - began) * 1000, 3)
    if status != 200:
        return Answer(status, milliseconds)
    choice = body["choices"][0]
    called = choice["message"].get("tool_calls") or []
    content = called[0]["function"]["arguments"] if called else choice["message"]["content"] or ""
    return Answer(200, milliseconds, content, bool(called), choice["finish_reason"], body["usage"]["completion_tokens"])


def report(id: str, provider: str, question: Question, answer: Answer) -> Iterator[Proposal[Any]]:
    """Says what came of a request, under its id."""
    there = answer.status == 200
    yield propose(
        Outcome(
            request_id=id, provider=provider, success=None if answer.status == 429 else there,  # a limit is no failure
            latency_ms=answer.milliseconds, tokens=answer.tokens, cost=answer.tokens * CENTS[provider] / 1000,
        ),
        id=id,
    )  # fmt: skip
    if answer.status == 429:
        return
    yield propose(
        ResponseObservation(
            provider=provider, output_tokens=answer.tokens, has_tool_use=answer.called, is_error=not there,
            request_had_tools=question.with_tool, stop_reason=answer.stop, latency_ms=answer.milliseconds,
        ),
        id=id,
    )  # fmt: skip
    said = react(Random(f"user of {id}"), question, answer) if there else None
    if said is not None:
        yield propose(
            Feedback(user_message=said, assistant_response=answer.content, provider=provider, request_id=id), id=id
        )  # fmt: skip


def react(chance: Random, question: Question, answer: Answer) -> str | None:
    """Returns what a user says to an answer; most say nothing."""
    result = str(question.a + question.b)
    if not answer.content:
        return chance.choice(["That is not what I asked.", "Try something else.", "No, I need an answer."])
    if result not in answer.content:
        return chance.choice(["No, that is wrong.", "That's not right.", "No, try again.", None])
    return chance.choice(["Thanks!", "Great, thank you.", None, None])
