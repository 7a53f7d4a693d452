"""Triage of complaints with a person in the loop: what the machine is unsure of, and any money, waits at a gate.

    python examples/triage.py [LOG.jsonl]

In a terminal you decide; without one a scripted reviewer does. The run lives in a log on disk, and each answer is
given as another process would: open the log, resume the run by its id, close the log. So leave at a question with
Ctrl-C, start again, and you are asked only for what is still open. A rejection is a fact like others, to which
suggestors react.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio

from quiesce.engine import Approve, AwaitingApproval, Engine, Gate, Proposal, Reject, Result, propose, suggestor
from quiesce.facts import All, Context, Decided, Fact, FactLog, Payload, replay
from quiesce.facts.trail import Parked


class Complaint(Payload, key="seeds"):
    text: str
    euros: int


class Verdict(Payload, key="hypotheses"):
    about: str


class Refund(Payload, key="strategies"):
    euros: int


class Letter(Payload, key="proposals"):
    text: str


@suggestor
def classify(complaint: Fact[Complaint]) -> Proposal[Verdict]:
    found = [word for word in ("broken", "late") if word in complaint.payload.text.lower()]
    sure = 0.9 if len(found) == 1 else 0.5
    return propose(Verdict(about=found[0] if found else "?"), id=complaint.id, confidence=sure)


@suggestor
def refund(verdict: Fact[Verdict], complaints: All[Complaint]) -> Refund:
    paid = next(complaint.payload.euros for complaint in complaints if complaint.id == verdict.id)
    return Refund(euros=paid if verdict.payload.about == "broken" else paid // 10)


@suggestor
def confirm(refund: Fact[Refund]) -> Letter:
    return Letter(text=f"{refund.payload.euros} € are on their way")


@suggestor
def react(decided: Fact[Decided]) -> Proposal[Letter] | None:
    if decided.payload.approved:
        return None  # what was approved is a fact now, and `refund` and `confirm` have it
    family, _, id = decided.payload.ref.partition(":")
    start = "we cannot refund this" if family == "refund" else "a colleague will answer you"
    return propose(Letter(text=f"{start}: {decided.payload.reason}"), id=id)


engine = Engine(
    [classify, refund, confirm, react],
    gates=[Gate("unsure", families=[Verdict], below_confidence=0.8), Gate("money", families=[Refund])],
)


def complaints() -> Context:
    context = Context()
    context.add(Complaint(text="The lamp arrived broken", euros=49), id="c1")
    context.add(Complaint(text="Late, and one chair is broken", euros=356), id="c2")
    context.add(Complaint(text="When do you open on Sunday?", euros=0), id="c3")
    return context


def begin(path: Path) -> str:
    """Returns the id of a run that waits for approval: one that somebody left, else a new one."""
    with FactLog.open(path) as log:
        for run in log.runs():
            if (last := log.stopped(run)) and last.stop["kind"] == "awaiting_approval":
                print(f"going on with {run}")
                return run
        run_id = f"triage-{len(log.runs()) + 1}"
        print(engine.run_sync(complaints(), log=log, run_id=run_id))
        return run_id


def decide(path: Path, run: str, judge: Callable[[Parked], Approve | Reject]) -> Result:
    """Asks about one open gate and resumes the run; what is open, the log tells."""
    with FactLog.open(path) as log:
        parked = next(iter(replay(log, run).trail.gates.values()))
        return anyio.run(partial(engine.resume, run, [judge(parked)], log=log))


def ask(parked: Parked) -> Approve | Reject:
    """Lets the person at the terminal judge."""
    print(f"\n{parked.ref}  {parked.payload!r}  by {parked.by}, {parked.confidence:.0%} sure")
    answer = input("approve? [y, or why not] ").strip()
    if answer.lower() in ("y", "yes"):
        return Approve(parked.gate, by="you")
    return Reject(parked.gate, by="you", reason=answer)


def script(parked: Parked) -> Approve | Reject:
    """Judges where nobody can be asked: like a person with rules."""
    match parked.payload:
        case Verdict(about="?"):
            decision: Approve | Reject = Reject(parked.gate, by="script", reason="this is no complaint")
        case Refund(euros=euros) if euros > 100:
            decision = Reject(parked.gate, by="script", reason="over 100 €, a technician will come instead")
        case _:
            decision = Approve(parked.gate, by="script")
    print(f"  {'approved' if isinstance(decision, Approve) else 'rejected'}  {parked.ref}  {parked.payload!r}")
    return decision


def main(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    judge = ask if sys.stdin.isatty() else script
    run = begin(path)
    result = decide(path, run, judge)
    while isinstance(result.stop, AwaitingApproval):
        result = decide(path, run, judge)
    print(f"\n{result}")
    for letter in result.context.of(Letter).values():
        print(f"  to {letter.id}: {letter.payload.text}")
    print(f"\n{result.why('letter:c2')}\n\nThe log: {path}")


if __name__ == "__main__":
    default = Path(__file__).parents[1] / "build" / "triage.jsonl"
    try:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
    except (KeyboardInterrupt, EOFError):
        sys.exit("\nleft; start again to go on")
