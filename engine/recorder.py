"""Keeps what invocations came to, and gives it back instead of calling again: the journal of a run, the memo of a log.

An impure suggestor may answer the same question in another way each time, and each answer may cost money. So its
answers are journaled as they come, before their cycle is committed: a run that is finished by another process, or rerun
to be explained, takes them from there. A suggestor with a memo shares its answers with all runs of a log.

Both are found by who was asked (name and version) and by what was shown (a digest of it), never by the place in a run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial

from ..facts import BrokenNote, FactLog, RunId, StoreError
from ..facts.seal import unseal
from ..facts.stores import Address
from .answer import Invocation, Outcome
from .clock import Clock
from .errors import EngineError
from .executor import Ended
from .journal import BrokenEntry, Entry, write_entry
from .suggestor import Suggestor

JOURNAL, MEMO = "journal", "memo"

Asked = tuple[str, str, str]
"""Who was asked, in which version, and a digest of what was shown."""


class NotJournaled(StoreError):
    """A store could not take what impure suggestors answered; it is in `entries`, as JSON, and the run ends here."""

    def __init__(self, run: str, entries: Mapping[str, bytes], reason: str) -> None:
        self.run, self.entries, self.reason = run, dict(entries), reason
        super().__init__(
            f"run {run}: the answers of {len(entries)} {'call' if len(entries) == 1 else 'calls'} "
            f"({', '.join(entries):.200}) could not be journaled: "
            f"{reason}. Everything that was committed is in the log; the answers are in the `entries` of this error"
        )


class Unrecorded(EngineError):
    """An impure suggestor would have to be called where only what was recorded may be used."""

    def __init__(self, suggestor: str, version: str, call: str) -> None:
        self.suggestor, self.version, self.call = suggestor, version, call
        known = f" in version {version!r}" if version else ""
        super().__init__(
            f"suggestor {suggestor!r} is impure, and nothing was recorded of it{known} for what it is shown in {call}"
        )


class Recorder:
    """What is recorded for one run."""

    __slots__ = ("clock", "known", "log", "reused", "run", "strict")

    def __init__(
        self,
        log: FactLog,
        run: RunId,
        clock: Clock,
        known: Mapping[Asked, Entry] | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self.log, self.run, self.clock = log, run, clock
        self.known: Mapping[Asked, Entry] = known or {}
        self.strict = strict
        """Nobody impure is called: what was not recorded is an error."""
        self.reused: list[Ended] = []
        """What was found in the memo and is to be journaled."""

    def find(self, invocation: Invocation) -> Outcome | None:
        """Returns what an invocation came to before; None if it has to be called."""
        suggestor = invocation.suggestor
        invocation.inputs = invocation.view.digest(invocation.trigger, suggestor.background)
        asked = (suggestor.name, suggestor.options.version, invocation.inputs)
        entry = self.known.get(asked)
        if entry is not None:
            return entry.outcome(suggestor, invocation.cycle)
        if self.strict and not suggestor.options.pure:
            raise Unrecorded(suggestor.name, suggestor.options.version, invocation.view.name)
        if suggestor.options.memo is False:
            return None
        return self._remember(suggestor, asked, invocation)

    def _remember(self, suggestor: Suggestor, asked: Asked, invocation: Invocation) -> Outcome | None:
        """Returns what another run was answered, if it can be used; damage is no matter where one can ask anew."""
        address = _memo_address(asked)
        try:
            raw = self.log.note(address)
            if raw is None:
                return None
            entry = Entry.read(raw)
            if entry.until is not None and entry.until <= self.clock.now().timestamp():
                return None
            outcome = entry.outcome(suggestor, invocation.cycle)
        except (BrokenNote, BrokenEntry) as error:
            logging.getLogger("quiesce").warning("run %s: %s is called anew: %s", self.run, suggestor.name, error)
            return None
        paid, outcome.tokens, outcome.costs = outcome.tokens or outcome.costs, 0, []  # nobody was, in this run
        if paid or not suggestor.options.pure:  # called anew, it would say or cost something else
            self.reused.append((invocation, outcome))
        return outcome

    def keep_reused(self) -> None:
        """Journals what was found in the memo since the last call, in one step.

        Raises:
            NotJournaled: the store could not take it.
        """
        reused, self.reused = self.reused, []
        self._keep(reused)

    def keep(self, ended: Iterable[Ended]) -> None:
        """Journals what impure suggestors answered, in one step.

        Raises:
            NotJournaled: the store could not take it.
        """
        self._keep(one for one in ended if not one[0].suggestor.options.pure)

    def _keep(self, ended: Iterable[Ended]) -> None:
        notes = {
            Address(JOURNAL, self.run, invocation.view.name): partial(write_entry, invocation, outcome)
            for invocation, outcome in ended
        }
        if not notes:
            return
        try:
            self.log.keep(notes, run=self.run)
        except (StoreError, OSError) as error:
            entries = {address.key: write() for address, write in notes.items()}
            raise NotJournaled(self.run, entries, str(error)) from error

    def memo(self, invocation: Invocation, outcome: Outcome) -> dict[Address, bytes]:
        """Returns the note by which other runs can reuse an answer; it is kept with the commit of its cycle."""
        suggestor = invocation.suggestor
        options = suggestor.options
        if options.memo is False or outcome.failed or outcome.of_this_run or invocation.view.of_this_run:
            return {}
        if _rests_on_more(invocation, outcome):
            return {}
        until = None if options.memo_seconds is None else self.clock.now().timestamp() + options.memo_seconds
        asked = (suggestor.name, options.version, invocation.inputs)
        return {_memo_address(asked): write_entry(invocation, outcome, until)}


def read_journal(log: FactLog, run: RunId, after: int = -1) -> dict[Asked, Entry]:
    """Returns what was journaled of a run in cycles after one, by who was asked and what was shown."""
    known: dict[Asked, Entry] = {}
    log.flush()
    for address, note in log.store.notes(JOURNAL, run):
        if int(address.key.split("/", 2)[1]) > after:  # first: of cycles that are committed nothing is needed any more
            entry = Entry.read(unseal(address, note.value))
            known[entry.suggestor, entry.version, entry.inputs] = entry
    return known


def _rests_on_more(invocation: Invocation, outcome: Outcome) -> bool:
    """Tells whether an answer names reasons that are not among what is known to have been shown.

    Another run in which the same is shown may not have them; or have them, where they were refused as unknown here.
    """
    shown = invocation.suggestor.background
    if shown is None:
        return False
    own = None if invocation.trigger is None else invocation.trigger.ref
    refs = {ref for answer in outcome.answers for ref in answer.because}
    return any(ref != own and ref.partition(":")[0] not in shown for ref in refs)


def _memo_address(asked: Asked) -> Address:
    name, version, inputs = asked
    return Address(MEMO, "", f"{name}/{version}/{inputs}")
