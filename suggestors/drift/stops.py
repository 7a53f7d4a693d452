"""Knows what the vendors call the reasons for which an answer stopped, so that no vendor is odd for its vocabulary."""

from __future__ import annotations

from typing import Final

END, TOOL, CUT, ODD = "end_turn", "tool_use", "max_tokens", "odd"
EXPECTED: Final = frozenset({END, TOOL, CUT})
"""The stop reasons that are never odd, as they are written."""

VENDORS: Final[dict[str, dict[str, str]]] = {
    "Anthropic": {
        "end_turn": END, "stop_sequence": END, "pause_turn": END, "tool_use": TOOL, "max_tokens": CUT,
        "model_context_window_exceeded": CUT,
    },
    "OpenAI": {
        "stop": END, "completed": END, "tool_calls": TOOL, "function_call": TOOL, "length": CUT,
        "max_output_tokens": CUT,
    },
    "Google": {"STOP": END, "MAX_TOKENS": CUT},
    "Mistral": {"stop": END, "tool_calls": TOOL, "length": CUT, "model_length": CUT},
    "Cohere": {"COMPLETE": END, "STOP_SEQUENCE": END, "TOOL_CALL": TOOL, "MAX_TOKENS": CUT},
    "Amazon Bedrock": {
        "end_turn": END, "stop_sequence": END, "FINISH": END, "tool_use": TOOL, "max_tokens": CUT,
        "model_context_window_exceeded": CUT,
    },
    "DeepSeek, Groq, vLLM": {"stop": END, "tool_calls": TOOL, "length": CUT},
    "Ollama": {"stop": END, "length": CUT},
    "llama.cpp": {"eos": END, "word": END, "limit": CUT},
    "Text Generation Inference": {"eos_token": END, "stop_sequence": END, "length": CUT},
    "pydantic-ai": {"stop": END, "tool_call": TOOL, "length": CUT},
}  # fmt: skip
"""What the vendors say, and what it means. Everything else (refusals, filters, errors, nothing at all) is odd."""

_MEANING = {said.lower(): meaning for table in VENDORS.values() for said, meaning in table.items()}


def normalise_stop_reason(reason: str | None) -> str:
    """Returns "end_turn", "tool_use" or "max_tokens" for what any vendor says, and "odd" for everything else.

    ```python
    from quiesce.suggestors.drift import normalise_stop_reason

    assert normalise_stop_reason("stop") == "end_turn"
    assert normalise_stop_reason("FinishReason.MAX_TOKENS") == "max_tokens"
    assert normalise_stop_reason("content_filter") == "odd"
    ```
    """
    if reason is None:
        return ODD
    found = _MEANING.get(reason)
    if found is None:
        found = _MEANING.get(reason.strip().rpartition(".")[2].lower(), ODD)
    return found
