"""Misuse of the engine, told at once: what was written, where, and what to write instead."""

from __future__ import annotations

from collections.abc import Sequence

from ..facts import QuiesceError
from ..facts.errors import shown


class EngineError(QuiesceError):
    """The caller's code asks for something that the engine cannot do."""


class RegistrationError(EngineError):
    """A suggestor cannot be registered as it is written."""

    def __init__(self, name: str, problem: str) -> None:
        self.name, self.problem = name, problem
        super().__init__(f"suggestor {name!r}: {problem}")


class DuplicateName(RegistrationError):
    """Two suggestors go by one name."""

    def __init__(self, name: str, first: str, second: str) -> None:
        self.first, self.second = first, second
        super().__init__(
            name, f"the name is taken: {first} and {second}. Give one of them another: @suggestor(name=…)"
        )  # fmt: skip


class Nonsense(EngineError):
    """A suggestor returned something that is no proposal."""

    def __init__(self, suggestor: str, returned: object) -> None:
        self.suggestor, self.returned = suggestor, shown(returned)
        super().__init__(
            f"suggestor {suggestor!r} returned {self.returned} (a {type(returned).__name__}). "
            f"Return payloads, propose(…), an iterable of them, or None"
        )


class ChangedSuggestors(EngineError):
    """A run was made with other suggestors, gates or invariants than it would go on with. Nothing was changed."""

    def __init__(self, run: str, changes: Sequence[str]) -> None:
        self.run, self.changes = run, tuple(changes)
        told = "".join(f"\n- {change}" for change in self.changes)
        super().__init__(
            f"run {run} cannot go on as it was made; since then:{told}\n"
            f"Nothing was changed. Go on with what it was made with, or, if the changes are meant, say "
            f"accept_changes=True (--accept-changes on the command line)"
        )


class UnknownPack(EngineError):
    """A run asks for a pack that no suggestor was registered with."""

    def __init__(self, pack: str, known: Sequence[str]) -> None:
        self.pack, self.known = pack, tuple(known)
        packs = ", ".join(known) or "none; register(…, pack=…) makes one"
        super().__init__(f"no pack {pack!r}. Known: {packs}")


class UnknownSuggestor(EngineError):
    """A fork is to replace a suggestor that the engine does not have."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name, self.known = name, tuple(known)
        super().__init__(f"no suggestor {name!r} to replace. The engine has: {', '.join(known) or 'none'}")


class GateError(EngineError):
    """A decision does not fit the gates that are open. Nothing was changed."""

    def __init__(self, gate: str, problem: str) -> None:
        self.gate, self.problem = gate, problem
        super().__init__(f"gate {gate} {problem}. Nothing was changed")


class InvalidOption(EngineError):
    """An option has a value outside its range."""

    def __init__(self, option: str, value: object, allowed: str) -> None:
        self.option, self.value, self.allowed = option, value, allowed
        super().__init__(f"{option}={shown(value)} is not {allowed}")


class Unsettled(EngineError):
    """`unwrap` was called on the result of a run that did not converge."""

    def __init__(self, run: str, stop: str) -> None:
        self.run, self.stop = run, stop
        super().__init__(f"run {run} {stop}. Its context and log are in the result; result.stop says why")


class InLoop(EngineError):
    """`run_sync` or `resume_sync` was called where an event loop is running."""

    def __init__(self, name: str = "run") -> None:
        self.name = name
        super().__init__(f"{name}_sync was called inside a running event loop. Write: await engine.{name}(…)")
