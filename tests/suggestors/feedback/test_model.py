"""Shows which models can be asked, under which name, and what is said where one cannot."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from quiesce.engine import Engine, InvalidOption
from quiesce.facts import Context
from quiesce.suggestors.feedback.judge import FeedbackJudge
from quiesce.suggestors.feedback.model import MissingExtra, UnusableModel
from quiesce.suggestors.feedback.payloads import Feedback, FeedbackVerdict


def test_without_the_extra_rules_judge_and_a_model_asks_for_it_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        "quiesce.suggestors.feedback.model.find_spec", lambda name: None if name == "pydantic_ai" else there(name)
    )
    FeedbackJudge()
    with pytest.raises(MissingExtra) as caught:
        FeedbackJudge("openai:gpt-5-mini")

    assert 'pip install "quiesce[llm]"' in str(caught.value)
    assert "llm" == caught.value.extra
    for wrong in (3, " "):  # the extra would not help
        with pytest.raises(UnusableModel, match="Give a name that pydantic-ai knows"):
            FeedbackJudge(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("", "it is empty"),
        ("   ", "it is empty"),
        (7, "it is of type int"),
        ("no-such-provider:x", "no-such-provider"),
        ("justaname", "justaname"),
        ("ftp://host/v1#m", "http://HOST"),
        ("http:///v1", "http://HOST"),
        ("openai:gpt-5-mini", "OPENAI_API_KEY"),
        ("http://[bad", ""),
    ],
)
def test_a_model_that_cannot_be_asked_says_what_to_write(
    model: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UnusableModel) as caught:
        FeedbackJudge(model)

    assert told in caught.value.problem
    assert "http://localhost:8000/v1#qwen3" in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://ana:pa55word@host/v1", "http://ana:pa55word@host:99999/v1#m"])
def test_a_password_in_a_url_is_not_said(url: str) -> None:
    with pytest.raises(UnusableModel) as caught:
        FeedbackJudge(url)

    assert "pa55word" not in str(caught.value)
    assert "pa55word" not in str(vars(caught.value))


@pytest.mark.parametrize("secret", [b"", b"short", "a text that is long enough"])
def test_a_secret_that_can_be_guessed_is_refused_and_not_said(secret: Any) -> None:
    with pytest.raises(InvalidOption, match="at least 8") as caught:
        FeedbackJudge(secret=secret)

    assert "text" not in str(caught.value)


def test_a_named_model_takes_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnusableModel, match="from the environment"):
        FeedbackJudge("openai:gpt-5-mini", api_key="k")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("http://localhost:8000/v1#qwen3", "qwen3@localhost:8000/1"),
        ("https://ana:secret@models.example/v1?key=secret#m", "m@models.example/1"),
        ("https://models.example/v1", "default@models.example/1"),
        ("openai:gpt-5-mini", "openai:gpt-5-mini/1"),
    ],
)
def test_a_judge_goes_by_its_model_and_the_version_of_its_instructions(
    model: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names stand in facts and logs: no password of a URL does."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")

    assert name == FeedbackJudge(model).judge


async def judged(model: Any) -> FeedbackVerdict:
    context = Context()
    context.add(Feedback(user_message="hm, on a Sunday", assistant_response="At nine."), id="f")
    known = (await Engine([FeedbackJudge(model, tier="model", threshold=0)]).run(context)).unwrap().context
    return known.of(FeedbackVerdict)["f"].payload


async def test_any_model_object_will_do() -> None:
    """One that is asked by a tool, one that is asked for text, and one that pydantic-ai has for tests."""
    said = {"is_correction": True, "kind": "repetition", "confidence": 0.5}

    def by_tool(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse([ToolCallPart(info.output_tools[0].name, said)])

    def by_text(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse([TextPart('{"is_correction": true, "kind": "repetition", "confidence": 0.5}')])

    for function in (by_tool, by_text):
        assert "repetition" == (await judged(FunctionModel(function))).kind
    prompted = FunctionModel(by_text, profile={"default_structured_output_mode": "prompted"})
    assert "repetition" == (await judged(prompted)).kind
    assert "repetition" == (await judged(TestModel(custom_output_args=said))).kind


@pytest.mark.slow
def test_pydantic_ai_is_not_loaded_until_a_model_is_named() -> None:
    """It takes a second to load; rules do not need it."""
    import subprocess

    code = "import sys, quiesce.suggestors.feedback.judge as j; j.FeedbackJudge(); print('pydantic_ai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "False" == done.stdout.strip()
