"""Gets a judgement from a model: as often as it takes and is allowed, within limits, several at a time where asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

from .latency import Latencies
from .model import AskedModel, Spent
from .payloads import Feedback, FeedbackVerdict
from .prompt import ASSISTANT_LIMIT, USER_LIMIT, Cutting, build_judge_messages, make_nonce
from .throttle import Throttle
from .verdict import Answer, Unjudged
from .vote import decide, most_frequent

LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Manner:
    """How a model is asked."""

    threshold: float = 0.6
    samples: int = 1
    agreement: float = 0.5
    """The share of the judgements that has to be exceeded by one side."""
    timeout: float = 30.0
    retries: int = 2
    backoff: float = 0.5
    cutting: Cutting = "both ends"
    user_limit: int = USER_LIMIT
    assistant_limit: int = ASSISTANT_LIMIT


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a model came to, and what that cost."""

    found: FeedbackVerdict | Unjudged
    spent: Spent = field(default_factory=Spent)


async def judge_by(
    model: AskedModel,
    feedback: Feedback,
    manner: Manner,
    throttle: Throttle,
    secret: bytes,
    *,
    took: Latencies | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> Judgement:
    """Returns what a model says about a feedback: one verdict of all its samples, or why there is none."""
    spent = Spent()
    one = partial(_sample, model, feedback, manner, throttle, secret, took, sleep)
    results: list[tuple[Answer | Unjudged, Spent]] = []
    if manner.samples == 1:
        results.append(await one(0))
    else:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(variant)) for variant in range(manner.samples)]
        results.extend(task.result() for task in running)  # in their order, not in that of arrival
    for _, cost in results:
        spent.add(cost)
    answers = [result for result, _ in results if isinstance(result, Answer)]
    problems = [result for result, _ in results if isinstance(result, Unjudged)]
    if problems and 2 * len(answers) <= manner.samples:
        return Judgement(most_frequent(problems), spent)
    try:
        return Judgement(decide(answers, manner.threshold, asked=manner.samples, agreement=manner.agreement), spent)
    except Unjudged as disagreement:
        return Judgement(disagreement, spent)


async def _sample(
    model: AskedModel,
    feedback: Feedback,
    manner: Manner,
    throttle: Throttle,
    secret: bytes,
    took: Latencies | None,
    sleep: Callable[[float], Awaitable[object]],
    variant: int,
) -> tuple[Answer | Unjudged, Spent]:
    """Returns one judgement, after as many attempts as it takes and is allowed."""
    nonce = make_nonce(secret, [str(variant), feedback.user_message, feedback.assistant_response, *feedback.earlier])
    messages = build_judge_messages(
        feedback, nonce, variant=variant, cutting=manner.cutting, user_limit=manner.user_limit,
        assistant_limit=manner.assistant_limit,
    )  # fmt: skip
    spent = Spent()
    attempt = 0
    while True:
        attempt += 1
        try:
            async with throttle.call():
                began = perf_counter()
                try:
                    async with asyncio.timeout(manner.timeout):
                        return await model.ask(messages, spent), spent
                except TimeoutError:
                    raise Unjudged("timeout", f"no answer within {manner.timeout:g} s") from None
                finally:
                    if took is not None:
                        took.add(perf_counter() - began)
        except Unjudged as problem:
            pause = _pause(problem, manner, attempt, nonce)
            if not problem.again or attempt > manner.retries or pause > LONGEST_PAUSE:
                return problem, spent
            if problem.kind == "rate_limit":  # it holds for everybody who asks this model
                throttle.pause(pause)
            else:
                await sleep(pause)


def _pause(problem: Unjudged, manner: Manner, attempt: int, nonce: str) -> float:
    """Returns the seconds to wait: what the other side asked for, or twice as long each time, a little apart."""
    if problem.after is not None:
        return max(0.0, problem.after)
    if problem.kind == "unparsable":  # nothing is overloaded: it is asked again at once
        return 0.0
    apart = int(nonce[:4], 16) / 0xFFFF
    return min(manner.backoff * 2.0 ** (attempt - 1) * (1 - apart / 4), LONGEST_PAUSE)
