"""Holds feedback judging to the figures of its page, from both sides of each."""

from __future__ import annotations

import pytest
from pydantic_ai.models.test import TestModel

from quiesce.engine import Engine
from quiesce.facts import Context
from quiesce.suggestors import Feedback, FeedbackJudge, FeedbackVerdict, build_judge_messages
from quiesce.suggestors.feedback import find_signal

WORDS = [f"word{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("shared", "own", "theirs", "is_repetition"), [(7, 1, 2, True), (7, 3, 0, True), (9, 2, 2, False), (8, 0, 4, False)]
)
def test_a_message_repeats_another_from_seven_tenths_of_their_words_on(
    shared: int, own: int, theirs: int, is_repetition: bool
) -> None:
    """Jaccard: shared words over all words. 7 of 10 are enough; 9 of 13 and 8 of 12 are not."""
    message = " ".join(WORDS[: shared + own])
    earlier = " ".join([*WORDS[:shared], *(f"other{number}" for number in range(theirs))])
    found = find_signal(Feedback(user_message=message, assistant_response="Here you are.", earlier=(earlier,)))

    assert (("repetition", 0.75) if is_repetition else None) == (found and (found.kind, found.score))


@pytest.mark.parametrize(("who", "limit"), [("user_message", 1_000), ("assistant_response", 500)])
@pytest.mark.parametrize("character", ["ß", "&", "🙂"])
def test_a_text_is_shown_up_to_its_bound_and_cut_one_character_beyond(who: str, limit: int, character: str) -> None:
    """1,000 characters of the user's and 500 of the assistant's, as they are before they are escaped."""

    def shown(count: int) -> str:
        texts = {"user_message": "-", "assistant_response": "-", who: character * count}
        return build_judge_messages(Feedback.model_validate(texts), nonce="4f2a91c07d")[1]["content"]

    written = character.replace("&", "&amp;")
    assert (limit, 0) == (shown(limit).count(written), shown(limit).count("<left_out"))
    assert (limit, 1) == (
        shown(limit + 1).count(written),
        shown(limit + 1).count('<left_out-4f2a91c07d characters="1"/>'),
    )


@pytest.mark.parametrize(("confidence", "is_correction"), [(0.6, True), (0.59, False)])
async def test_a_correction_counts_from_six_tenths_on_unless_said_otherwise(
    confidence: float, is_correction: bool
) -> None:
    said = {"is_correction": True, "kind": "repetition", "confidence": confidence}
    judge = FeedbackJudge(TestModel(custom_output_args=said), tier="model")
    context = Context()
    context.add(Feedback(user_message="Hm.", assistant_response="Here you are."), id="f1")
    found = (await Engine([judge]).run(context)).context.of(FeedbackVerdict)["f1"].payload

    assert (is_correction, "repetition" if is_correction else "neutral") == (found.is_correction, found.kind)
    assert (confidence, not is_correction) == (found.confidence, found.below_threshold)
