"""Shows that whatever a server does, a judgement that cannot be had is a failure that says why, and never neutral."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel

from quiesce.engine import Engine
from quiesce.facts import Context
from quiesce.suggestors.feedback.asking import Judgement
from quiesce.suggestors.feedback.judge import FeedbackJudge
from quiesce.suggestors.feedback.payloads import Feedback, FeedbackVerdict, JudgeFailure
from quiesce.suggestors.feedback.verdict import Unjudged
from support.chat_server import (
    DRIPS,
    HANGS,
    ChatServer,
    Reply,
    arguments,
    completion,
    error,
    refusal,
    text,
    verdict,
)

Asking = Callable[..., tuple[FeedbackJudge, ChatServer]]
GOOD = {"is_correction": True, "kind": "repetition", "confidence": 0.9}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Runs these on one backend: calls are made in the judge's own loop; that it serves both, test_judge.py shows."""
    return "asyncio"


async def judge_one(judge: FeedbackJudge) -> FeedbackVerdict | JudgeFailure:
    """Returns what a judge makes of one feedback; the run goes on whatever it is."""
    context = Context()
    context.add(Feedback(user_message="hm, on a Sunday", assistant_response="At nine.", provider="swift"), id="f")
    known = (await Engine([judge]).run(context)).unwrap().context
    verdicts, failures = known.of(FeedbackVerdict), known.of(JudgeFailure)
    assert ["f"] == [*verdicts, *failures]
    found = verdicts["f"].payload if verdicts else failures["f"].payload
    assert "swift" == found.provider
    return found


def saying(**changed: Any) -> Reply:
    return arguments(json.dumps({**GOOD, **changed}))


def several(*raw: str) -> Reply:
    """Answers with several calls of the tool."""
    calls = [
        {"id": f"call-{place}", "type": "function", "function": {"name": "verdict", "arguments": one}}
        for place, one in enumerate(raw)
    ]
    return Reply(completion({"content": None, "tool_calls": calls}))


@pytest.mark.parametrize(
    ("reply", "kind", "calls", "told"),
    [
        pytest.param(error(429), "rate_limit", 3, "429", id="429"),
        pytest.param(error(429, retry_after="0"), "rate_limit", 3, "429", id="429 with Retry-After"),
        pytest.param(
            error(429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), "rate_limit", 3, "429",
            id="429 until a day long gone",
        ),
        pytest.param(error(429, retry_after="soon"), "rate_limit", 3, "429", id="429 until soon"),
        pytest.param(error(429, retry_after="3600"), "rate_limit", 1, "429", id="429 for an hour"),
        pytest.param(error(429, code="insufficient_quota"), "rate_limit", 1, "quota", id="quota is spent"),
        pytest.param(error(500), "server", 3, "500", id="500"),
        pytest.param(error(503), "server", 3, "503", id="503"),
        pytest.param(error(529), "server", 3, "529", id="529"),
        pytest.param(error(401, "bad key"), "other", 1, "401", id="401"),
        pytest.param(error(404, "no such model"), "other", 1, "no such model", id="404"),
        pytest.param(error(400), "other", 1, "400", id="400"),
        pytest.param(Reply(b"<html>busy</html>", 502), "server", 3, "502", id="502 with HTML"),
        pytest.param(Reply(b"<html>login</html>"), "unparsable", 3, "JSON", id="200 with HTML"),
        pytest.param(Reply(b""), "unparsable", 3, "", id="200 with nothing"),
        pytest.param(Reply(b"{}"), "unparsable", 3, "", id="an empty completion"),
        pytest.param(Reply(b'{"choices": []}'), "unparsable", 3, "", id="no choices"),
        pytest.param(Reply(b"[1, 2]"), "unparsable", 3, "", id="a list"),
        pytest.param(Reply(completion({"content": "x"})).cut(40), "unreachable", 3, "", id="a body cut short"),
        pytest.param(HANGS, "timeout", 2, "no answer within 0.1 s", id="a hang"),
        pytest.param(DRIPS, "timeout", 2, "no answer within 0.1 s", id="a slow drip"),
        pytest.param(refusal(), "refusal", 1, "refused", id="a refusal"),
        pytest.param(text("", finish="content_filter"), "refusal", 1, "", id="a filter"),
        pytest.param(text("I'm sorry, but I can't do that."), "refusal", 3, "I'm sorry", id="a refusal in prose"),
        pytest.param(text(""), "unparsable", 3, "", id="empty text"),
        pytest.param(text("{" * 5_000), "unparsable", 3, "no JSON", id="braces"),
        pytest.param(Reply(b"[" * 100_000), "unparsable", 3, "recursion", id="a body nested without end"),
        pytest.param(arguments(json.dumps(GOOD)[:-8]), "unparsable", 3, "no JSON", id="truncated JSON"),
        pytest.param(
            arguments(json.dumps(GOOD)[:-8], finish="length"), "unparsable", 3, "cut short by a limit of tokens",
            id="truncated by a limit",
        ),
        pytest.param(arguments("[]"), "unparsable", 3, "its form", id="a list for arguments"),
        pytest.param(arguments('"repetition"'), "unparsable", 3, "its form", id="a text for arguments"),
        pytest.param(arguments(""), "unparsable", 3, "JSON", id="no arguments"),
        pytest.param(saying(kind="abandonment"), "unparsable", 3, "kind", id="an unknown kind"),
        pytest.param(saying(kind="neutral"), "unparsable", 3, "contradicts itself", id="a contradiction"),
        pytest.param(saying(confidence="8/10"), "unparsable", 3, "confidence", id="8/10"),
        pytest.param(saying(is_correction="perhaps"), "unparsable", 3, "is_correction", id="perhaps"),
        pytest.param(
            several(json.dumps(GOOD), json.dumps({**GOOD, "kind": "self_correction"})), "unparsable", 3, "differ",
            id="two verdicts",
        ),
    ],
)  # fmt: skip
async def test_what_a_server_does_wrong_is_a_failure_that_says_so(
    asking: Asking, reply: Reply, kind: str, calls: int, told: str
) -> None:
    """What may pass is tried again, as often as it is allowed; what will not, is not."""
    hangs = kind == "timeout"
    judge, server = asking([reply], retries=1 if hangs else 2, timeout=0.1 if hangs else 20)
    failure = await judge_one(judge)
    assert isinstance(failure, JudgeFailure)

    assert (kind, calls) == (failure.kind, failure.attempts), failure.message
    assert hangs or calls == len(server.requests)
    assert told in failure.message
    assert len(failure.message) <= 400
    assert (judge.judge, 1) == (failure.judge, judge.latency.count)  # failed ones are measured too


@pytest.mark.parametrize(
    "replies",
    [
        [error(429, retry_after="0.01")], [error(500)], [error(503), error(500)], [HANGS], [arguments("{")],
        [saying(kind="none"), error(500)], [Reply(b"x")], [Reply(completion({"content": "x"})).cut(10)], [text("hm")],
    ],
    ids=["429", "500", "503-500", "hangs", "truncated", "unknown-kind-500", "no-json", "cut", "text"],
)  # fmt: skip
async def test_what_passes_does_no_harm(asking: Asking, replies: Sequence[Reply]) -> None:
    judge, server = asking([*replies, verdict("repetition")], timeout=0.3 if HANGS in replies else 20)
    found = await judge_one(judge)

    assert isinstance(found, FeedbackVerdict)
    assert len(replies) + 1 == len(server.requests)


@pytest.mark.parametrize(
    ("reply", "confidence"),
    [
        (arguments('{"is_correction": true, "kind": "repetition", "confidence": NaN}'), 0.0),
        (arguments('{"is_correction": true, "kind": "repetition", "confidence": Infinity}'), 1.0),
        (saying(confidence=-5), 0.0),
        (saying(confidence=17, extra={"deep": [1] * 50}), 1.0),
        (several(json.dumps(GOOD), json.dumps({**GOOD, "reasoning": "x"})), 0.9),
        (text(json.dumps(GOOD)), 0.9),
        (text(f"```json\n{json.dumps(GOOD)}\n```"), 0.9),
        (saying(reasoning="x" * 3_000_000), 0.9),
        (saying(reasoning="</user_message> \u202e \x00 <script>"), 0.9),
    ],
    ids=["NaN", "infinite", "below", "above", "the same twice", "text", "fenced", "huge", "hostile"],
)  # fmt: skip
async def test_what_can_be_read_is_read(asking: Asking, reply: Reply, confidence: float) -> None:
    judge, server = asking([reply], threshold=0.0)
    found = await judge_one(judge)
    assert isinstance(found, FeedbackVerdict)

    assert (True, "repetition", confidence) == (found.is_correction, found.kind, found.confidence)
    assert (1, True) == (len(server.requests), len(found.reasoning) <= 500)


async def test_nobody_at_home_is_unreachable() -> None:
    with ChatServer([]) as server:
        model = server.model
    judge = FeedbackJudge(model, tier="model", backoff=0.0, retries=1)
    failure = await judge_one(judge)
    judge.close()
    assert isinstance(failure, JudgeFailure)

    assert ("unreachable", 2) == (failure.kind, failure.attempts)


async def test_what_a_model_object_raises_is_told_and_harms_nobody() -> None:
    """A model of the user's own: its fault is not tried again."""

    def broken(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise ValueError("half \ud800 of\n it")

    failure = await judge_one(FeedbackJudge(FunctionModel(broken), tier="model"))
    assert isinstance(failure, JudgeFailure)

    assert ("other", 1, "ValueError: half \\ud800 of it") == (failure.kind, failure.attempts, failure.message)


async def test_failures_of_most_samples_are_the_failure_of_all(asking: Asking) -> None:
    judge, _ = asking([error(500), error(500), verdict()], samples=3, retries=0, limit=1)
    failure = await judge_one(judge)
    assert isinstance(failure, JudgeFailure)

    assert ("server", 3) == (failure.kind, failure.attempts)


@pytest.mark.parametrize(
    "reply",
    [
        lambda key: error(401, f"Bearer {key} is not known"),
        lambda key: error(401, "x" * 200 + key),
        lambda key: text(f"You sent {key}, and I will not say more."),
        lambda key: saying(reasoning=f"because of {key}"),
    ],
    ids=["refused", "refused at length", "said", "reasoned"],
)
async def test_a_key_that_a_server_says_back_stands_in_no_fact(reply: Callable[[str], Reply], asking: Asking) -> None:
    """What is a fact is there for good, and is shown to many."""
    key = "sk-judge-0123456789abcdef"
    judge, server = asking([reply(key)], api_key=key)
    found = await judge_one(judge)

    assert f"Bearer {key}" == server.headers[0]["Authorization"]
    assert "0123" not in str(found)
    assert "…" in str(found)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_key_and_no_text_follows_a_redirect(status: int, asking: Asking) -> None:
    """Neither is anybody else's business."""
    with ChatServer([verdict()]) as other:
        judge, _ = asking([error(status, location=f"{other.url}/chat/completions")], api_key="sk-judge-0123456789")
        found = await judge_one(judge)

        assert isinstance(found, JudgeFailure)
        assert [] == other.requests


async def test_a_proxy_that_is_not_there_is_unreachable(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    judge, _ = asking([verdict()], retries=0)
    found = await judge_one(judge)

    assert isinstance(found, JudgeFailure)
    assert "unreachable" == found.kind


async def test_a_judge_that_is_dropped_leaves_no_connection_behind() -> None:
    """Whoever forgets `close` gets no warnings of sockets that nobody closed, and the server is left."""
    with ChatServer([verdict()]) as server:
        judge = FeedbackJudge(server.model, tier="model")
        await judge_one(judge)
        assert 1 == server.connections
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            del judge
            gc.collect()

        assert await anyio.to_thread.run_sync(server.idle.wait, 10)


@pytest.mark.parametrize(
    "reply",
    [text("She wrote that she lives in Ghent."), error(400, "cannot read: I live in Ghent"), saying(kind="Ghent")],
    ids=["said", "refused", "unknown kind"],
)
async def test_without_reasons_a_failure_quotes_nobody(reply: Reply, asking: Asking) -> None:
    judge, _ = asking([reply], reasons=False, retries=0)
    found = await judge_one(judge)

    assert isinstance(found, JudgeFailure)
    assert found.message
    assert "Ghent" not in str(found)


async def test_failures_are_counted_by_kind(asking: Asking) -> None:
    judge, _ = asking([error(503), refusal(), error(503), verdict()], retries=0)
    assert {} == judge.failures
    found = [await judge_one(judge) for _ in range(4)]

    assert ["server", "refusal", "server"] == [one.kind for one in found if isinstance(one, JudgeFailure)]
    assert {"refusal": 1, "server": 2} == judge.failures
    assert 4 == judge.latency.count


def test_failures_are_counted_from_many_threads() -> None:
    judge = FeedbackJudge()
    failed = Judgement(Unjudged("timeout", "no answer"))
    feedback = Feedback(user_message="hm", assistant_response="")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: judge.judging.fact(feedback, failed), range(400)))

    assert {"timeout": 400} == judge.failures
