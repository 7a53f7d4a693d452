"""Answers clear cases without a model: by whole phrases in ten languages, and by likeness to earlier messages.

A rule speaks only where hardly anybody would disagree. A long message, a question about the answer, a phrase in
quotation marks, two rules that say different things: all these are left to the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from unicodedata import normalize

from .payloads import Feedback, Kind, check_feedback
from .words import patterns

SCORES = MappingProxyType[Kind, float]({
    "explicit_rejection": 0.85, "self_correction": 0.80, "neutral": 0.80, "repetition": 0.75,
    "alternative_request": 0.70,
})  # fmt: skip
"""How sure a rule is of what it says."""

LONGEST_CLEAR = 240
"""In a longer message, in characters, a phrase may be beside the point."""
ALIKE = 0.7
"""From this Jaccard similarity on, two messages ask the same."""
FEWEST_WORDS = 4
"""Shorter messages ("go on", "yes please") are said again for good reasons."""
EARLIER_COMPARED = 20
_DOUBTED_BY_ASKING = ("explicit_rejection", "self_correction", "neutral")
"""Who asks whether something is wrong does not say that it is."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What a rule found in a message."""

    kind: Kind
    score: float
    because: str
    """The words that it was found by."""

    @property
    def is_correction(self) -> bool:
        return self.kind != "neutral"


def find_signal(feedback: Feedback) -> Signal | None:
    """Returns what the rules say about a feedback; None if it is no clear case.

    ```python
    from quiesce.suggestors import Feedback
    from quiesce.suggestors.feedback import find_signal

    def signal(message):
        return find_signal(Feedback(user_message=message, assistant_response="Here you are."))

    assert signal("No, that's wrong.").kind == "explicit_rejection"
    assert signal("Nothing else, and now the second chapter") is None
    ```
    """
    text = check_feedback(feedback).user_message
    if len(text) > LONGEST_CLEAR:
        return None
    if not text.strip():
        return _signal("neutral", "nothing is said")
    plain = _plain(text)
    if _NO.fullmatch(plain):  # to a question that is an answer, and no rejection
        return None if _asks(feedback.assistant_response) else _signal("explicit_rejection", "no")
    found = list(_by_phrase(plain))
    if (again := _by_likeness(feedback)) is not None:
        found.append(again)
    return _decide(found)


def _signal(kind: Kind, because: str) -> Signal:
    return Signal(kind, SCORES[kind], because)


def likeness(one: str, other: str) -> float:
    """Returns the Jaccard similarity of two texts by their words, or pairs of characters where those are not parted."""
    left, right = _parts(one), _parts(other)
    if not left or not right:
        return 0.0
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


def _decide(found: list[Signal]) -> Signal | None:
    """Returns the surest of what was found, unless the findings speak against each other."""
    if not found:
        return None
    kinds = {signal.kind for signal in found}
    if len(kinds) > 1 and kinds & {"neutral", "self_correction"}:  # who was wrong, if anybody, is open
        return None
    return max(found, key=lambda signal: signal.score)


def _by_phrase(text: str) -> Iterator[Signal]:
    accepting = sentences = 0
    for sentence in _sentences(text):
        sentences += 1
        asks = sentence.endswith("?")
        if _REPORTED.search(sentence):  # what others say, or are to be told
            continue
        for kind, pattern in patterns():
            match = pattern.search(sentence)
            if match is None or (asks and kind in _DOUBTED_BY_ASKING):
                continue
            if kind == "neutral":
                accepting += match[0] == sentence
            elif kind != "self_correction" or "not what i" not in sentence:  # there, the assistant got it wrong
                yield _signal(kind, match[0].strip())
    if accepting and accepting == sentences:  # thanks, and nothing else
        yield _signal("neutral", "thanks")


def _asks(answer: str) -> bool:
    """Tells whether an answer ends with a question to the user."""
    return bool(re.search(r"[?\uff1f]\W*$", answer[-40:]))


def _by_likeness(feedback: Feedback) -> Signal | None:
    if len(_parts(feedback.user_message)) < FEWEST_WORDS:
        return None
    for earlier in reversed(feedback.earlier[-EARLIER_COMPARED:]):
        if len(earlier) <= 2 * LONGEST_CLEAR and (how := likeness(feedback.user_message, earlier)) >= ALIKE:
            return _signal("repetition", f"{how:.0%} like an earlier message")
    return None


def _plain(text: str) -> str:
    """Returns a text as the phrases are written: lower case, one sort of apostrophe and blank, nothing quoted."""
    text = normalize("NFKC", _QUOTED.sub(" … ", text).translate(_SAME)).casefold()
    return re.sub(r"\s+", " ", text).strip()


def _sentences(text: str) -> Iterator[str]:
    """Yields the sentences of a text, each with the mark that ends it."""
    for sentence in re.split(r"(?<=[.!?。])\s*", text):
        if sentence := sentence.strip(" \t-–—*•>…¡¿"):
            yield sentence


def _parts(text: str) -> frozenset[str]:
    words = re.findall(r"\w+", normalize("NFKC", text).casefold())
    return frozenset(part for word in words for part in _pieces(word))


def _pieces(word: str) -> list[str]:
    if not _UNPARTED.search(word) or len(word) < 3:
        return [word]
    return [word[at : at + 2] for at in range(len(word) - 1)]


_SAME = str.maketrans({
    "’": "'", "‘": "'", "\u02bc": "'", "`": "'", "—": "–", "\u200b": None, "\u200c": None, "\u200d": None,
    "\u2060": None, "\ufeff": None, "\u00ad": None,
})  # fmt: skip
_NO = re.compile(r"(?:(?:no|nope|nah|nein|nö|non|não|nee|нет|いいえ|不)[,.!。 ]*)+")
_REPORTED = re.compile(
    r"(?<!\w)(?:(?:he|she|they|who|everyone|everybody|somebody|someone|people|my \w+|the \w+) (?:\w+ )?"
    r"(?:said|says|say|told|tells|thinks?|thought|wrote|claims?|claimed)|(?:er|sie|man) (?:sagt|sagte|meint|meinte|hat)"
    r"|(?:il|elle|on) (?:dit|a dit|pense)|(?:dijo|dice|piensa) que|(?:dice|ha detto|pensa) che|(?:disse|diz|acha) que"
    r"|(?:zegt|zei) dat|(?:сказал|сказала|говорит), что)(?!\w)"
    r"|^(?:please |now |can you |could you )*(?:tell|write|translate|draft|schreib|übersetze?|sag|écris|traduis|dis"
    r"|escribe|traduce|dile|scrivi|traduci|escreve|traduz|schrijf|vertaal|напиши|переведи|скажи)(?!\w)"
    r"(?! (?:it|this|that)(?:[ ,.!?]|$))"
)
_QUOTED = re.compile(r"```.*?(?:```|$)|\"[^\"]*\"|“[^”]*”|„[^“”]*[“”]|«[^»]*»|「[^」]*」|『[^』]*』", re.DOTALL)
_UNPARTED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
