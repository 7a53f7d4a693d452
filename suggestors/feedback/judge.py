"""Says of every feedback whether the user rejects or corrects the answer: rules where it is clear, else a model."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from ...engine import InvalidOption, Proposal, Suggestor, propose, suggestor
from ...engine.options import is_number, is_whole
from ...facts import All, Fact, FactLog
from .asking import Judgement, Manner
from .calibration import is_trusted
from .judging import Judging
from .latency import Latency
from .model import AskedModel
from .payloads import Feedback, FeedbackVerdict, JudgeCalibration, JudgeFailure
from .prompt import ASSISTANT_LIMIT, USER_LIMIT, Cutting, check_limits

if TYPE_CHECKING:
    from pydantic_ai.models import Model

Tier = Literal["rules", "model"]


class FeedbackJudge(Suggestor):
    """Judges feedback: a `FeedbackVerdict` for each `Feedback`, or a `JudgeFailure`, under its id.

    ```python
    from quiesce.suggestors import Feedback, FeedbackJudge, FeedbackVerdict

    context = Context()
    context.add(Feedback(user_message="No, that's wrong.", assistant_response="It is in Ghent."), id="r1")
    result = Engine([FeedbackJudge()]).run_sync(context)
    assert "explicit_rejection" == result.context.of(FeedbackVerdict)["r1"].payload.kind
    ```

    Without a model it consists of rules alone, and is pure. With one (`"openai:…"`, `"anthropic:…"`, the base URL of a
    server that speaks the OpenAI protocol with the model's name behind a #, or a model object of pydantic-ai), rules
    answer clear cases and the model the others; `tier="model"` leaves the rules out. What a model answers is
    journaled: a replay, a rerun or a recovery calls nobody.

    Args:
        model: Who is asked.
        threshold: A correction that the judge is less sure of is none; its confidence is kept.
        tier: Who is asked first.
        samples: Judgements for each feedback, each with another order of what is shown. Their majority is the verdict.
        agreement: The share of the judgements that one side has to exceed; else it is a failure, "disagreement".
        clear: The rules answer where they are at least that sure.
        timeout: Seconds for one call of the model.
        retries: Further calls after one that failed in a way that may pass.
        backoff: Seconds before the second call; they double. What a server asks for goes before.
        limit: Calls of the model at a time, over all runs of the process.
        rate: Calls of the model a second, over all runs of the process.
        memo: Identical feedback is judged once by this judge: True, False, or for how long (seconds or a timedelta).
            With a FactLog, once by every process that judges on that log.
        reasons: Verdicts and failures say why. False: nothing that may quote the user is copied into them.
        min_kappa: Below this agreement with people (`JudgeCalibration`), or without it, verdicts are advisory.
        min_labels: So many labels it takes to believe a kappa.
        cutting: What is kept of a long text: "both ends", or its "prefix".
        user_limit: Characters that are shown of the user's message.
        assistant_limit: Characters that are shown of the answer.
        prices: What a million tokens cost, read and written; by default what pydantic-ai knows.
        settings: Further model settings of pydantic-ai.
        api_key: For a model behind a URL; else $QUIESCE_JUDGE_KEY. The key of OpenAI is never sent there.
        secret: What nonces are made from, at least 8 bytes; by default a new one for each judge.
        name: Its name as a suggestor.

    Raises:
        InvalidOption: an option is out of its range.
        MissingExtra: there is a model, and pydantic-ai is not installed.
        UnusableModel: the model is unknown, or its key is missing.
    """

    __slots__ = ("judging",)
    judging: Judging

    def __init__(
        self,
        model: Model | str | None = None,
        *,
        threshold: float = 0.6,
        tier: Tier = "rules",
        samples: int = 1,
        agreement: float = 0.5,
        clear: float = 0.7,
        timeout: float = 30.0,
        retries: int = 2,
        backoff: float = 0.5,
        limit: int | None = 8,
        rate: float | None = None,
        memo: bool | float | timedelta | FactLog = True,
        reasons: bool = True,
        min_kappa: float | None = None,
        min_labels: int = 30,
        cutting: Cutting = "both ends",
        user_limit: int = USER_LIMIT,
        assistant_limit: int = ASSISTANT_LIMIT,
        prices: tuple[float, float] | None = None,
        settings: Mapping[str, Any] | None = None,
        api_key: str | None = None,
        secret: bytes | None = None,
        name: str = "FeedbackJudge",
        **placed: Any,
    ) -> None:
        if "call" in placed:  # an engine gives it a place: it copies every field
            super().__init__(name=name, **placed)
            object.__setattr__(self, "judging", placed["call"].__self__.judging)
            return
        if placed:
            name, value = next(iter(placed.items()))
            near = get_close_matches(name, FeedbackJudge.__init__.__kwdefaults__ or (), n=1)
            meant = f"; did you mean {near[0]}=…?" if near else ""
            raise InvalidOption(name, value, f"an option of FeedbackJudge{meant}")
        manner = Manner(
            threshold, samples, agreement, timeout, retries, backoff, cutting, user_limit, assistant_limit
        )  # fmt: skip
        _check(manner, tier, clear, limit, rate, min_kappa, min_labels, prices)
        if secret is not None and not (isinstance(secret, bytes) and len(secret) >= 8):  # nonces must not be guessed
            raise InvalidOption("secret", "…", "bytes, at least 8 of them")
        if model is None and tier == "model":
            raise InvalidOption(
                "tier", tier, 'possible without a model. Write: FeedbackJudge("openai:…", tier="model")'
            )
        asked = None if model is None else AskedModel(model, api_key=api_key, settings=settings, prices=prices)
        judging = Judging(
            asked, manner, clear=clear if tier == "rules" else None, limit=limit, rate=rate, memo=memo,
            secret=secret if secret is not None else secrets.token_bytes(32), reasons=reasons,
        )  # fmt: skip
        made = _made(Answering(judging, min_kappa, min_labels), name)
        super().__init__(**{one.name: getattr(made, one.name) for one in fields(Suggestor)})
        object.__setattr__(self, "judging", judging)

    @property
    def judge(self) -> str:
        """The name under which its model judges, or "rules/1"."""
        return self.judging.judge

    @property
    def latency(self) -> Latency:
        """How long judgements by the model took, the failed ones too, retries and waiting included."""
        return self.judging.took.now

    @property
    def call_latency(self) -> Latency:
        """How long single calls of the model took, the failed ones too."""
        return self.judging.calls_took.now

    @property
    def failures(self) -> Mapping[str, int]:
        """How many feedbacks got no judgement so far, by the kind of the failure; a copy, by kind."""
        return self.judging.failures

    def close(self) -> None:
        """Closes the connections to the model; it can go on judging, and then makes new ones."""
        self.judging.close()


class Answering:
    """What an engine calls, in four forms: with a model or by rules alone, and with or without the judge's calibration.

    Whoever does not ask for the calibration must not be shown it: what a call is shown is what its answer is found by.
    """

    def __init__(self, judging: Judging, min_kappa: float | None, min_labels: int) -> None:
        self.judging, self.min_kappa, self.min_labels = judging, min_kappa, min_labels

    def by_rules(self, feedback: Fact[Feedback]) -> Proposal[Any]:
        """Judges without a model."""
        return self._say(feedback, Judgement(self._by_rules(feedback)), None)

    def by_rules_and_people(self, feedback: Fact[Feedback], known: All[JudgeCalibration]) -> Proposal[Any]:
        """Judges without a model, and says how far that can be trusted."""
        return self._say(feedback, Judgement(self._by_rules(feedback)), known)

    async def by_model(self, feedback: Fact[Feedback]) -> Proposal[Any]:
        """Judges with a model."""
        return self._say(feedback, await self.judging.judgement(feedback.payload), None)

    async def by_model_and_people(self, feedback: Fact[Feedback], known: All[JudgeCalibration]) -> Proposal[Any]:
        """Judges with a model, and says how far that can be trusted."""
        return self._say(feedback, await self.judging.judgement(feedback.payload), known)

    def _by_rules(self, feedback: Fact[Feedback]) -> FeedbackVerdict:
        verdict = self.judging.by_rules(feedback.payload)
        if verdict is None:
            raise AssertionError("rules always answer where there is no model")
        return verdict

    def _say(
        self, feedback: Fact[Feedback], judgement: Judgement, known: All[JudgeCalibration] | None
    ) -> Proposal[FeedbackVerdict | JudgeFailure]:  # fmt: skip
        said = self.judging.fact(feedback.payload, judgement)
        because: list[Fact[Any]] = [feedback]
        confidence = 1.0
        if isinstance(said, FeedbackVerdict):
            confidence = said.confidence
            if self.min_kappa is not None:
                counts = next((fact for fact in known or () if fact.payload.judge == said.judge), None)
                because.extend([] if counts is None else [counts])
                trusted = is_trusted(None if counts is None else counts.payload, self.min_kappa, self.min_labels)
                said = said.model_copy(update={"advisory": not trusted})
        spent = judgement.spent
        return propose(
            said, id=feedback.id, because=because, confidence=confidence, tokens=spent.tokens, cost=spent.cost
        )


def _made(answering: Answering, name: str) -> Suggestor:
    """Returns the plain suggestor that a judge is."""
    has_model, asks_people = answering.judging.model is not None, answering.min_kappa is not None
    call: Any
    if has_model:
        call = answering.by_model_and_people if asks_people else answering.by_model
    else:
        call = answering.by_rules_and_people if asks_people else answering.by_rules
    return suggestor(
        call, writes=[FeedbackVerdict, JudgeFailure], name=name, version=answering.judging.version, pure=not has_model
    )


def _check(
    manner: Manner, tier: object, clear: object, limit: object, rate: object, min_kappa: object, min_labels: object,
    prices: object,
) -> None:  # fmt: skip
    for name, value in (("threshold", manner.threshold), ("clear", clear)):
        if not _between(value, 0, 1):
            raise InvalidOption(name, value, "a number from 0 to 1")
    if not _between(manner.agreement, 0.5, 1) or manner.agreement == 1:
        raise InvalidOption("agreement", manner.agreement, "a number from 0.5 to below 1")
    if min_kappa is not None and not _between(min_kappa, -1, 1):
        raise InvalidOption("min_kappa", min_kappa, "a number from -1 to 1")
    for name, value in (("timeout", manner.timeout), ("rate", rate)):
        if not (_between(value, 0, math.inf) and 0 < float(value) < math.inf) and (name, value) != ("rate", None):  # type: ignore[arg-type]
            raise InvalidOption(name, value, "a positive number")
    if not _between(manner.backoff, 0, 3600):
        raise InvalidOption("backoff", manner.backoff, "a number of seconds from 0 to 3600")
    for name, value, least in (
        ("samples", manner.samples, 1), ("retries", manner.retries, 0), ("limit", limit, 1),
        ("min_labels", min_labels, 1),
    ):  # fmt: skip
        if (name, value) != ("limit", None) and not is_whole(value, least):
            raise InvalidOption(name, value, f"a whole number from {least}")
    if manner.samples > 99:
        raise InvalidOption("samples", manner.samples, "a whole number from 1 to 99")
    if tier not in ("rules", "model"):
        raise InvalidOption("tier", tier, '"rules" or "model"')
    check_limits(manner.cutting, manner.user_limit, manner.assistant_limit)
    if prices is not None and not (
        isinstance(prices, tuple) and len(prices) == 2 and all(_between(one, 0, 1e9) for one in prices)
    ):
        raise InvalidOption("prices", prices, "two numbers from 0: what a million tokens cost, read and written")


def _between(value: object, low: float, high: float) -> bool:
    return is_number(value) and low <= value <= high
