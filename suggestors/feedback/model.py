"""Asks a model through pydantic-ai: one call, one answer, or the reason why there is none."""

from __future__ import annotations

import asyncio
import os
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit, urlunsplit

from ...engine import EngineError
from ...facts.errors import shown
from .prompt import Message
from .verdict import Answer, Unjudged, read_answer

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelRequestPart, ModelResponse
    from pydantic_ai.models import Model, ModelRequestParameters

TOOL = "verdict"
_TELLING = 8
"""So many characters tell a key; what is shorter is none."""
_TELLS_ITS_RETRIES = ("openai", "anthropic", "groq", "cohere", "google", "mistral")


class MissingExtra(EngineError):
    """Something was asked for that needs an extra which is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        self.what, self.extra = what, extra
        super().__init__(
            f'{what} needs the extra {extra!r}, which is not installed. Write: pip install "quiesce[{extra}]". '
            f"Without a model, the rules judge alone: FeedbackJudge()"
        )


class UnusableModel(EngineError):
    """A judge was given a model that cannot be asked."""

    def __init__(self, model: str, problem: str) -> None:
        self.model, self.problem = model, problem
        super().__init__(
            f"model={model} cannot judge: {problem}. Give a name that pydantic-ai knows ('openai:…', 'anthropic:…'), "
            f"the base URL of a server that speaks the OpenAI protocol with the model's name behind a # "
            f"('http://localhost:8000/v1#qwen3'), or a model object of pydantic-ai"
        )


@dataclass(slots=True)
class Spent:
    """What calls have cost so far, the failed ones too."""

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0

    def add(self, other: Spent) -> None:
        """Takes over what others cost."""
        self.calls += other.calls
        self.tokens += other.tokens
        self.cost += other.cost


class AskedModel:
    """A model and how it is asked for a verdict."""

    def __init__(
        self, model: Model | str, *, api_key: str | None = None, settings: Mapping[str, Any] | None = None,
        prices: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        self.model, self.name, is_own = _connect(model, api_key)
        self._keys = _keys_of(self.model)
        self._client = _Client(self.model) if is_own else None
        if self._client is not None:
            weakref.finalize(self, _close_behind, self._client).atexit = False
        self.prices = prices
        self.settings: dict[str, Any] = {**_no_hidden_retries(self.model), **(settings or {})}
        self._parameters: ModelRequestParameters | None = None

    async def ask(self, messages: Sequence[Message], spent: Spent) -> Answer:
        """Returns the verdict of one call; what it cost is added to `spent` either way.

        Raises:
            Unjudged: there is none.
        """
        from pydantic_ai.messages import UserPromptPart

        instructions = "\n\n".join(one["content"] for one in messages if one["role"] == "system")
        parts: list[ModelRequestPart] = [UserPromptPart(one["content"]) for one in messages if one["role"] == "user"]
        spent.calls += 1
        if self._client is not None:
            await self._client.open()
        try:
            return await self._ask(parts, instructions, spent)
        except Unjudged as problem:
            problem.message = self._hide(problem.message)
            raise

    async def _ask(self, parts: Sequence[ModelRequestPart], instructions: str, spent: Spent) -> Answer:
        from pydantic_ai.direct import model_request
        from pydantic_ai.messages import ModelRequest

        try:
            response = await model_request(
                self.model, [ModelRequest(parts=parts, instructions=instructions)],
                model_settings=cast(Any, self.settings), model_request_parameters=self._form(),
            )  # fmt: skip
        except Exception as error:  # a server's fault or a user's: it is told as a failed judgement
            raise classify(error, self._hide) from error
        self._count(response, spent)
        answer = read_response(response)
        return answer.model_copy(update={"reasoning": self._hide(answer.reasoning)})

    def _hide(self, text: str) -> str:
        """Returns a text without the keys that were sent: a server may say them back, and facts are for good."""
        for key in self._keys:
            text = re.sub(re.escape(key[:_TELLING]) + r"[^\s'\"]*", "…", text)  # texts are cut short, keys too then
        return text

    async def close(self) -> None:
        """Closes the connections of a client that was made here; the next question makes new ones."""
        if self._client is not None:
            await self._client.close()

    def forget(self) -> None:
        """Leaves behind what belongs to an event loop that is no more; the next question makes new connections."""
        if self._client is not None:
            self._client.forget()

    def _form(self) -> ModelRequestParameters:
        if self._parameters is None:
            from pydantic_ai.models import ModelRequestParameters
            from pydantic_ai.output import OutputObjectDefinition
            from pydantic_ai.tools import ToolDefinition

            schema = Answer.model_json_schema()
            description = str(schema.pop("description", ""))
            schema.pop("title", None)
            self._parameters = ModelRequestParameters(
                output_mode="auto", allow_text_output=False,
                output_object=OutputObjectDefinition(json_schema=schema, name=TOOL, description=description),
                output_tools=[
                    ToolDefinition(name=TOOL, description=description, parameters_json_schema=schema, kind="output")
                ],
            )  # fmt: skip
        return self._parameters

    def _count(self, response: ModelResponse, spent: Spent) -> None:
        read, written = (max(0, getattr(response.usage, name, 0) or 0) for name in ("input_tokens", "output_tokens"))
        spent.tokens += read + written
        if self.prices is not None:
            spent.cost += (read * self.prices[0] + written * self.prices[1]) / 1e6
            return
        try:
            spent.cost += max(0.0, float(response.cost().total_price))
        except Exception:  # noqa: BLE001  a price that nobody knows, in whatever way its table says so
            return


class _Client:
    """The client of a model that was made here; it can be closed after whoever asked through it is gone."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where it is open."""
        self.process = 0
        self._entering = asyncio.Lock()

    async def open(self) -> None:
        """Enters the model: pydantic-ai then keeps its client, and makes a new one after a close."""
        if self.loop is None:
            async with self._entering:
                if self.loop is None:
                    await self.model.__aenter__()
                    self.loop, self.process = asyncio.get_running_loop(), os.getpid()

    async def close(self) -> None:
        async with self._entering:
            if self.loop is not None:
                self.loop = None
                await self.model.__aexit__(None, None, None)

    def forget(self) -> None:
        self._entering, self.loop = asyncio.Lock(), None


_closing: set[asyncio.Task[None]] = set()


def _close_behind(client: _Client) -> None:
    """Closes what a judge that was dropped has left open, in the loop that it belongs to, which a fork has not."""
    loop = client.loop
    if loop is not None and client.process == os.getpid() and loop.is_running():
        with suppress(RuntimeError):  # it has ended just now
            loop.call_soon_threadsafe(_close_soon, client)


def _close_soon(client: _Client) -> None:
    closing = asyncio.get_running_loop().create_task(client.close())
    _closing.add(closing)  # a loop itself keeps no hold of its tasks
    closing.add_done_callback(_closing.discard)


def read_response(response: ModelResponse) -> Answer:
    """Returns the verdict that is in a model's response.

    Raises:
        Unjudged: it is a refusal, is cut short, holds no verdict, or two that differ.
    """
    if getattr(response, "finish_reason", None) == "content_filter":
        raise Unjudged("refusal", "the model refused to answer, or a filter took its answer away", again=False)
    calls = [part for part in response.parts if part.part_kind == "tool-call"]
    texts = [part.content for part in response.parts if part.part_kind == "text"]
    raw: list[Any] = [call.args or "" for call in calls] or [bare for text in texts if (bare := _unfenced(text))]
    try:
        answers = {answer.model_dump_json(exclude={"reasoning"}): answer for answer in map(read_answer, raw)}
    except Unjudged as unread:
        if getattr(response, "finish_reason", None) == "length":
            raise Unjudged("unparsable", "the answer was cut short by a limit of tokens") from unread
        if not calls and not any(text.lstrip().startswith(("{", "[", "```")) for text in texts):
            said = shown(" ".join(texts))
            raise Unjudged("refusal", f"the model gave no verdict, but said: {said}") from unread
        raise
    if not answers:
        raise Unjudged("unparsable", "the answer is empty")
    if len(answers) > 1:
        raise Unjudged("unparsable", f"there are {len(answers)} verdicts that differ in one answer")
    return next(iter(answers.values()))


def classify(error: Exception, hide: Callable[[str], str] = str) -> Unjudged:
    """Returns why there is no judgement, from what pydantic-ai raised; `hide` takes out what nobody must read."""
    from pydantic_ai import exceptions

    message = _told(error, hide)
    after = getattr(error, "retry_after", None)
    if isinstance(error, (TimeoutError, _named(exceptions, "ModelTimeoutError", "ModelRequestTimeout"))):
        return Unjudged("timeout", message)
    if isinstance(error, _named(exceptions, "ContentFilterError")):
        return Unjudged("refusal", message, again=False)
    if isinstance(error, exceptions.ModelHTTPError):
        status = error.status_code
        if status == 429:
            spent = isinstance(error, _named(exceptions, "ModelQuotaExceededError"))  # waiting does not fill a purse
            return Unjudged("rate_limit", message, again=not spent, after=after)
        if status >= 500 or status in (408, 409, 425):
            return Unjudged("server", message, after=after)
        return Unjudged("other", message, again=False)
    if isinstance(error, (OSError, _named(exceptions, "ModelConnectionError"))):
        return Unjudged("unreachable", message)
    if isinstance(error, (exceptions.UnexpectedModelBehavior, RecursionError)) or "as JSON" in message:
        return Unjudged("unparsable", message)
    cause = type(error.__cause__).__name__
    if "Timeout" in cause:  # before it had classes of its own for them, pydantic-ai named only the model
        return Unjudged("timeout", message)
    if "Connection" in cause or "Connect" in cause:
        return Unjudged("unreachable", message)
    return Unjudged("other", message, again=isinstance(error, exceptions.AgentRunError))


def _named(module: ModuleType, *names: str) -> tuple[type[BaseException], ...]:
    """Returns the classes of those names that this version of pydantic-ai has."""
    return tuple(cls for name in names if isinstance(cls := getattr(module, name, None), type))


def _told(error: Exception, hide: Callable[[str], str]) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001  a class of somebody else: its name is still worth something
        text = type(error).__name__
    plain = re.sub(r"\s+", " ", hide(text).encode("utf-8", "backslashreplace").decode())
    return "".join(one for one in plain if one.isprintable())[:300]


def _unfenced(text: str) -> str:
    """Returns a text without the fence that models put around JSON."""
    match = re.fullmatch(r"\s*```(?:json)?\s*(.*?)\s*```\s*", text, re.DOTALL)
    return (match[1] if match else text).strip()


def _no_hidden_retries(model: Model) -> dict[str, Any]:
    """Returns the settings by which a provider's own client does not retry: else nobody could count or limit calls."""
    module = type(model).__module__.removeprefix("pydantic_ai.models.").partition(".")[0]
    return {"max_retries": 0} if module in _TELLS_ITS_RETRIES else {}


def _keys_of(model: Model) -> tuple[str, ...]:
    """Returns what a model's client proves itself with, as far as it tells."""
    try:
        client = getattr(model, "client", None)
        found = [getattr(client, name, None) for name in ("api_key", "auth_token")]
        found.append(urlsplit(str(getattr(client, "base_url", ""))).password)
    except Exception:  # noqa: BLE001  a model object of somebody else's
        return ()
    return tuple(key for key in found if isinstance(key, str) and len(key) >= _TELLING)


def _connect(model: Model | str, api_key: str | None) -> tuple[Model, str, bool]:
    """Returns the model, the name by which its verdicts go, and whether it was made here."""
    if isinstance(model, str) and not model.strip():
        raise UnusableModel(shown(model), "it is empty")
    if find_spec("pydantic_ai") is not None:
        from pydantic_ai.models import Model as AnyModel

        if isinstance(model, AnyModel):
            return model, f"{model.system}:{model.model_name}", False
    if not isinstance(model, str):
        raise UnusableModel(shown(model), f"it is of type {type(model).__name__}")
    if find_spec("pydantic_ai") is None:
        raise MissingExtra(f"FeedbackJudge({shown(model)})", "llm")
    told = shown(re.sub(r"//[^/@]*@", "//…@", model))  # no user, no password
    try:
        made, name = _at_url(model, api_key) if "://" in model else _by_name(model, api_key)
    except UnusableModel:
        raise
    except ImportError as error:
        raise UnusableModel(told, f"its client is not installed ({error})") from error
    except Exception as error:  # an unknown name, a missing key: pydantic-ai says it in its own words
        raise UnusableModel(told, str(error).rstrip(".")) from error
    return made, name, True


def _by_name(name: str, api_key: str | None) -> tuple[Model, str]:
    from pydantic_ai.models import infer_model

    if api_key is not None:
        raise UnusableModel(shown(name), "a named model takes its key from the environment, not from api_key=…")
    model = infer_model(name)
    return model, f"{model.system}:{model.model_name}"


def _at_url(url: str, api_key: str | None) -> tuple[Model, str]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("its URL does not begin with http://HOST or https://HOST")
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    name = parts.fragment or "default"
    base = urlunsplit(parts._replace(fragment=""))
    # Never the key of OpenAI: it is in the environment of many programs, and this is somebody else's server.
    provider = OpenAIProvider(base_url=base, api_key=api_key or os.environ.get("QUIESCE_JUDGE_KEY") or "none")
    place = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"  # no user, no password
    return OpenAIChatModel(name, provider=provider), f"{name}@{place}"
