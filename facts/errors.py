"""Says what went wrong, where, and what to do: the base of every error that Quiesce raises."""

from __future__ import annotations

from typing import Any


class QuiesceError(Exception):
    """Every error of this library; catch it to catch them all.

    Subclasses build their text in `__init__` and keep its parts as attributes. Such exceptions do not survive
    pickling by themselves (pickle calls the class with the finished text), so `__reduce__` gives both back as they are.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(cls: type[QuiesceError], args: tuple[Any, ...], attributes: dict[str, Any]) -> QuiesceError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    return error


def shown(value: object, limit: int = 80) -> str:
    """Returns what a message shows of a value that somebody else made: its repr, at most `limit` characters of it."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  a repr can raise anything (that of 10**5000 does), and a message must not
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"


class FactError(QuiesceError):
    """Misuse of facts: the caller wrote something that can be put right in the caller's code."""


class LogError(QuiesceError):
    """A log, or what was asked of it, is wrong: the world's turn."""


class StoreError(LogError):
    """A store could not keep or give back events."""


class InternalError(QuiesceError):
    """A promise of the library to itself was broken."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}. This is a bug in quiesce; please report it with the log of the run")


class InvalidPayload(FactError):
    """A payload cannot become a fact."""

    def __init__(self, family: str, reason: str) -> None:
        self.family, self.reason = family, reason
        super().__init__(f"payload of family {family!r}: {reason}")


class InvalidId(FactError):
    """An id cannot name a fact."""

    def __init__(self, family: str, id: object, reason: str) -> None:
        self.family, self.id, self.reason = family, id, reason
        super().__init__(f"id {shown(id)} of family {family!r} {reason}. Give a printable text of 1 to 512 bytes")


class InvalidConfidence(FactError):
    """A confidence is not a number from 0 to 1."""

    def __init__(self, confidence: object) -> None:
        self.confidence = confidence
        super().__init__(f"confidence {shown(confidence)} is not a number from 0 to 1")


class PayloadDefinitionError(FactError):
    """A payload class cannot be registered as it is written."""

    def __init__(self, cls: str, reason: str) -> None:
        self.cls, self.reason = cls, reason
        super().__init__(f"payload class {cls}: {reason}")


class UnknownFamily(FactError):
    """No registered payload class goes by this family and version."""

    def __init__(self, family: str, version: int | None = None, known: tuple[str, ...] = ()) -> None:
        self.family, self.version, self.known = family, version, known
        wanted = family if version is None else f"{family}@{version}"
        hint = f"; known: {', '.join(known)}" if known else ""
        super().__init__(f"family {wanted!r} is not registered{hint}. Import the module that defines its payload class")


class ConflictingInput(FactError):
    """An input contradicts a fact whose family does not tolerate it (`on_conflict="stop"`)."""

    def __init__(self, ref: str, stands_by: str) -> None:
        self.ref, self.stands_by = ref, stands_by
        super().__init__(
            f"{ref} is already known (said by {stands_by!r}) with other content, and its family stops on conflict. "
            f"Nothing was added; use another id, or give the payload class a join"
        )


class ImmutableFact(FactError, TypeError, AttributeError):
    """Something tried to change a fact, or what a fact holds."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what}: facts are immutable. "
            f"Copy it (list(…), dict(…), payload.model_copy(update=…)) and propose the copy"
        )


class UndeclaredRead(FactError):
    """A suggestor asked its view for facts that it had not declared."""

    def __init__(self, suggestor: str, cycle: int, asked: str, declared: tuple[str, ...]) -> None:
        self.suggestor, self.cycle, self.asked, self.declared = suggestor, cycle, asked, declared
        super().__init__(
            f"suggestor {suggestor!r} read {asked} in cycle {cycle}, but declares reads=[{', '.join(declared)}]. "
            f"Add it: reads=[{', '.join([*declared, asked])}]"
        )
