"""Measures a judge's call beside the bare HTTP request and pydantic-ai alone, and what rules cost that need no call.

`python benchmarks/work_judge.py` prints the figures of docs/feedback.md. The server is a process of its own, and
answers at once, or after a while as a model would.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from time import perf_counter
from typing import Any

import anyio
from measure import Case, Sample, Section, Target, measure

from quiesce.engine import Engine
from quiesce.facts import Context
from quiesce.suggestors.feedback.judge import FeedbackJudge
from quiesce.suggestors.feedback.payloads import Feedback, FeedbackVerdict
from quiesce.suggestors.feedback.prompt import build_judge_messages
from quiesce.suggestors.feedback.rules import find_signal
from quiesce.suggestors.feedback.verdict import Answer

CALLS, NONCE = 10, "0123456789abcdef0123"
DELAYS = {"at once": 0.0, "after 50 ms": 0.05}
_NUMBERS = count()


def _feedback() -> Feedback:
    return Feedback(
        user_message=f"hm, the train in your plan leaves on a Sunday, number {next(_NUMBERS)}",
        assistant_response="Take the train at nine from platform four, change in Ghent, and walk from there.",
    )


async def _serve() -> None:
    """Answers every request with a verdict; prints its port."""
    arguments = json.dumps({"is_correction": True, "kind": "explicit_rejection", "confidence": 0.9, "reasoning": "so"})

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            request = json.loads(await reader.readexactly(int(sizes[0].partition(b":")[2])))
            await asyncio.sleep(DELAYS[request["model"]])
            function = {"name": request["tools"][0]["function"]["name"], "arguments": arguments}
            call = {"id": "call-1", "type": "function", "function": function}
            body = json.dumps({
                "id": "chat-1", "object": "chat.completion", "created": 1, "model": request["model"],
                "choices": [{
                    "index": 0, "finish_reason": "tool_calls",
                    "message": {"role": "assistant", "content": None, "tool_calls": [call]},
                }],
                "usage": {"prompt_tokens": 400, "completion_tokens": 30, "total_tokens": 430},
            }).encode()  # fmt: skip
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await connected(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _each(work: Callable[[], Awaitable[object]]) -> Sample:
    """Returns a sample in milliseconds for one of several calls, one after the other."""

    async def sample() -> float:
        start = perf_counter()
        for _ in range(CALLS):
            await work()
        return (perf_counter() - start) / CALLS * 1e3

    return sample


@asynccontextmanager
async def calls() -> AsyncIterator[list[Section]]:
    """Yields what is measured, while there is a server."""
    import httpx2
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    serve = [sys.executable, __file__, "--serve"]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220  nothing else is under way
    judges: list[FeedbackJudge] = []
    try:
        assert server.stdout is not None
        base = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        async with httpx2.AsyncClient() as client:
            sections = []
            for when in DELAYS:
                judge = FeedbackJudge(f"{base}#{when}", tier="model", memo=False)
                judges.append(judge)
                provider = OpenAIProvider(base_url=base, api_key="none")
                agent = Agent(OpenAIChatModel(when, provider=provider), output_type=Answer)
                sections.append(_section(when, client, base, agent, judge))
            yield sections
    finally:
        server.terminate()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()
        for judge in judges:
            await anyio.to_thread.run_sync(judge.close)


def _section(when: str, client: Any, base: str, agent: Any, judge: FeedbackJudge) -> Section:
    tool = {"type": "function", "function": {"name": "verdict", "parameters": Answer.model_json_schema()}}

    async def bare() -> None:
        body = {"model": when, "messages": build_judge_messages(_feedback(), NONCE), "tools": [tool]}
        answer = (await client.post(f"{base}/chat/completions", json=body)).json()
        Answer.model_validate_json(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"])

    async def alone() -> None:
        system, user = build_judge_messages(_feedback(), NONCE)
        assert (await agent.run(user["content"], instructions=system["content"])).output.is_correction

    async def judging() -> None:
        assert isinstance((await judge.judging.judgement(_feedback())).found, FeedbackVerdict)

    async def running() -> None:
        context = Context()
        context.add(_feedback(), id="f")
        result = await engine.run(context)
        assert "f" in result.context.of(FeedbackVerdict)

    engine = Engine([judge])
    return Section(
        f"A judgement by a model that answers {when}",
        "one after the other; the same instructions, texts and schema in each; the ratio is to pydantic-ai alone",
        [
            Case("pydantic-ai alone (Agent.run)", _each(alone), kind="peer"),
            Case("FeedbackJudge", _each(judging), target=Target(1.1, "ratio", "at most")),
            Case("FeedbackJudge in a run of its own", _each(running), target=Target(1.1, "ratio", "at most")),
            Case("the bare HTTP request", _each(bare), kind="floor"),
        ],
    )


def rules() -> Section:
    """What the rules take for a message."""
    messages = [
        "No, that's wrong.",
        "Thanks!",
        "hm, the train in your plan leaves on a Sunday but there is none that day",
    ]
    feedback = [Feedback(user_message=one, assistant_response="At nine.") for one in messages]

    async def found() -> float:
        start = perf_counter()
        for _ in range(100):
            for one in feedback:
                find_signal(one)
        return (perf_counter() - start) / 300 * 1e6

    async def run() -> float:
        context = Context()
        for place in range(1_000):
            context.add(feedback[place % 3], id=str(place))
        engine = Engine([FeedbackJudge()])
        start = perf_counter()
        (await engine.run(context)).unwrap()
        return (perf_counter() - start) * 1e3

    return Section(
        "A judgement by rules",
        "the mean of three messages",
        [
            Case("find_signal", found, "µs"),
            Case(
                "FeedbackJudge() in a run of 1,000, each", run, "µs", against="FeedbackJudge() in a run of 1,000, each"
            ),
        ],
    )


async def main() -> None:
    """Prints every figure, the median of seven."""
    async with calls() as sections:
        for section in [*sections, rules()]:
            print(f"\n{section.title}: {section.note}")
            for row in await measure(section, 7):
                ratio = "" if row.ratio is None else f"   {row.ratio:5.2f} times"
                met = {None: "", True: "   met", False: "   missed"}[row.is_met]
                print(f"  {row.case.name:40} {row.median:9.2f} {row.case.unit}{ratio}{met}")


if __name__ == "__main__":
    anyio.run(_serve if "--serve" in sys.argv else main)
