"""Reduces an observation to what a window needs of it: a number of tokens and a byte of flags; packs them as bytes."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Final
from urllib.parse import quote

from .errors import InvalidDriftSetting
from .payloads import ResponseObservation
from .stops import CUT, EXPECTED, ODD, normalise_stop_reason

ERROR: Final = 1
USED_TOOL: Final = 2
HAD_TOOLS: Final = 4
ODD_AS_SAID: Final = 8
"""Its stop reason is odd as it is written."""
ODD_AT_ALL: Final = 16
"""It is odd whatever the vendor's words."""
WAS_CUT: Final = 32
"""It ran into the limit of tokens."""

MAX_TOKENS: Final = 2**53
"""Longer answers count as this long, so that a median is a float like any other."""

Seen = tuple[int, int]
"""Output tokens and flags."""


@lru_cache(maxsize=1024)
def _stop_flags(reason: str | None) -> int:
    meaning = normalise_stop_reason(reason)
    return (
        (0 if reason in EXPECTED else ODD_AS_SAID)
        | (ODD_AT_ALL if meaning == ODD else 0)
        | (WAS_CUT if meaning == CUT else 0)
    )


def see(observation: ResponseObservation) -> Seen:
    """Returns what a window keeps of an observation."""
    flags = _stop_flags(observation.stop_reason)
    if observation.is_error:
        flags |= ERROR
    if observation.has_tool_use:
        flags |= USED_TOOL
    if observation.request_had_tools:
        flags |= HAD_TOOLS
    tokens = observation.output_tokens
    return (min(MAX_TOKENS, tokens), flags)


def check_observation(where: str, observation: object) -> None:
    """Raises InvalidDriftSetting unless this is an observation."""
    if not isinstance(observation, ResponseObservation):
        allowed = "a ResponseObservation. Of a dict, make one: ResponseObservation(**observation)"
        raise InvalidDriftSetting(where, "observation", observation, allowed)


def pack(seen: Seen) -> bytes:
    """Returns one observation as bytes: its flags, then its tokens in groups of seven bits."""
    rest, flags = seen
    packed = bytearray((flags,))
    while rest > 127:
        packed.append(rest & 127 | 128)
        rest >>= 7
    packed.append(rest)
    return bytes(packed)


def first_end(packed: bytes | bytearray) -> int:
    """Returns where the first of some packed observations ends."""
    end = 1
    while packed[end] > 127:
        end += 1
    return end + 1


def unpack(packed: bytes | bytearray) -> list[Seen]:
    """Returns packed observations.

    Raises:
        ValueError: the bytes are not what `pack` makes.
    """
    found: list[Seen] = []
    at, size = 0, len(packed)
    while at < size:
        flags, tokens, shift = packed[at], 0, 0
        at += 1
        while True:
            if at >= size or shift > 56:
                raise ValueError("the packed observations are cut short or garbled")
            group = packed[at]
            at += 1
            tokens |= (group & 127) << shift
            shift += 7
            if group < 128:
                break
        found.append((tokens, flags))
    return found


WindowKey = tuple[str, str, bool]
"""Provider, model, and whether the answer was streamed."""


def key_of(observation: ResponseObservation) -> WindowKey:
    """Returns the window that an observation belongs to."""
    return (observation.provider, observation.model, observation.stream)


@lru_cache(maxsize=4096)
def window_id(provider: str, model: str = "", stream: bool = False) -> str:
    """Returns the id of a window's facts: "provider", "provider/model", "provider/model/stream"; never one for two.

    ```python
    from quiesce.suggestors.drift.seen import window_id

    assert window_id("acme", "large") == "acme/large"
    assert window_id("acme", "", True) == "acme//stream"
    assert window_id("acme/large") == "acme%2Flarge"
    ```
    """
    parts = [_plain(provider)]
    if model or stream:
        parts.append(_plain(model))
    if stream:
        parts.append("stream")
    return "/".join(parts)


def _plain(name: str) -> str:
    """Returns a name of at most 150 characters that can stand in an id; "%~" marks one that was cut."""
    text = quote(name, safe="-_.~:@+", errors="surrogatepass")
    if len(text) <= 150:
        return text
    return f"{text[:100]}%~{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
