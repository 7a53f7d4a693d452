"""Says what stands in the place of a payload that was redacted: why, by whom and when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of a payload that was redacted."""

    reason: str
    by: str
    at: str
    """When (ISO 8601)."""

    def to_bytes(self) -> bytes:
        """Returns it as a store keeps it: a JSON object on one line."""
        said = {"reason": self.reason, "by": self.by, "at": self.at}
        return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")

    @classmethod
    def read(cls, raw: bytes | str) -> Self:
        """Returns what a store kept.

        Raises:
            ValueError: it is no tombstone.
        """
        try:
            said = json.loads(raw if isinstance(raw, str) else raw.decode())
            reason, by, at = said["reason"], said["by"], said["at"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"a tombstone cannot be read: {error!r:.100}") from error
        if not all(isinstance(part, str) for part in (reason, by, at)) or len(said) != 3:
            raise ValueError("a tombstone does not say why, by whom and when, and nothing else")
        return cls(reason, by, at)

    def __str__(self) -> str:
        return f"redacted by {self.by} at {self.at}: {self.reason}"
