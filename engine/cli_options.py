"""Lists the arguments and options of the commands, each with the sentence that explains it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from typer import Argument, Exit, Option, echo

from .cli_log import Sync

HELP = """Settle contexts with an engine, and look into the logs that this leaves.

MODULE:ENGINE is an Engine, or a function without arguments that returns one: in a module that can be imported from
the current directory (orders:engine), or in a file (path/to/orders.py:engine).

A log is a SQLite file (.db, .sqlite, .sqlite3), a JSON lines file (.jsonl) or postgresql://…. --log may be left out
where the environment variable QUIESCE_LOG names it. Payloads of classes that are not imported (--import orders) are
shown as the JSON that the log keeps.
"""


class GraphFormat(StrEnum):
    """Notations of a graph."""

    MERMAID = "mermaid"
    DOT = "dot"
    JSON = "json"


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        echo(f"quiesce {version('quiesce')}")
        raise Exit


Version = Annotated[
    bool, Option("--version", callback=_tell_version, is_eager=True, help="Tell which version of quiesce this is.")
]
Debug = Annotated[bool, Option("--debug", help="Show the traceback of an error.")]
Target = Annotated[str, Argument(metavar="MODULE:ENGINE", help="The engine: orders:engine or orders.py:engine.")]
Imports = Annotated[
    list[str] | None,
    Option("--import", metavar="MODULE", help="A module or file with payload classes to read with; repeatable."),
]
Json = Annotated[bool, Option("--json", help="Print JSON for machines.")]
Rows = Annotated[int, Option("--rows", min=0, metavar="N", help="Facts to show; 0: all.")]

RunName = Annotated[str, Argument(metavar="RUN", help="The id of a run; `quiesce runs` lists them.")]
AnyRun = Annotated[str | None, Argument(metavar="[RUN]", help="The id of a run; all by default.")]
Unfinished = Annotated[
    list[str] | None, Argument(metavar="[RUN]...", help="Ids of runs; all that are unfinished by default.")
]
Runs = Annotated[list[str] | None, Argument(metavar="[RUN]...", help="Ids of runs.")]
RunA = Annotated[str, Argument(metavar="RUN_A", help="The id of a run.")]
RunB = Annotated[str, Argument(metavar="RUN_B", help="The id of the run to compare it with.")]
RefName = Annotated[str, Argument(metavar="REF", help="The fact, as family:id.")]
FamilyOrRef = Annotated[str, Argument(metavar="REF", help="The fact, as family:id; or a family.")]
RefNames = Annotated[list[str], Argument(metavar="REF...", help="Facts, as family:id.")]
AnyRef = Annotated[str | None, Argument(metavar="[REF]", help="The fact, as family:id.")]
GateNames = Annotated[list[str], Argument(metavar="GATE...", help="Ids of gates; `quiesce gates` lists them.")]
Exported = Annotated[list[str], Argument(metavar="FILE...", help="What `quiesce export` wrote; - for stdin.")]
ProofFile = Annotated[str, Argument(metavar="FILE", help="What `quiesce prove` wrote; - for stdin.")]

LOGS = "a .db or .jsonl file, or postgresql://…"
Log = Annotated[str, Option("--log", envvar="QUIESCE_LOG", metavar="LOG", help=f"The log: {LOGS}.")]
NewLog = Annotated[
    str | None, Option("--log", envvar="QUIESCE_LOG", metavar="LOG", help=f"Where to keep the run: {LOGS}.")
]
OtherLog = Annotated[str | None, Option("--other-log", metavar="LOG", help="The log of RUN_B, if it is another.")]
HowSafe = Annotated[
    Sync, Option("--sync", envvar="QUIESCE_SYNC", help="What a commit survives: a crash, or power loss too (full).")
]

Engine = Annotated[
    str, Option("--engine", metavar="MODULE:ENGINE", help="The engine of the run: orders:engine or orders.py:engine.")
]
AnyEngine = Annotated[str | None, Option("--engine", metavar="MODULE:ENGINE", help="The engine of the runs.")]
Changes = Annotated[
    bool, Option("--accept-changes", help="Go on although the engine's suggestors are not those that the run had.")
]
By = Annotated[str, Option("--by", metavar="NAME", help="Who decides; it is kept in the log.")]
Reason = Annotated[str, Option("--reason", metavar="TEXT", help="Why; it is kept in the log.")]
Listing = Annotated[bool, Option("--list", help="Only show them: their last event, and who holds them until when.")]

InputFile = Annotated[
    str | None, Option("--input", metavar="FILE", help='JSON lines of "family", "id" (optional), "payload"; -: stdin.')
]
Live = Annotated[bool, Option("--live", help="Show each cycle as it is committed, and who is being called.")]
RunId = Annotated[str | None, Option("--run-id", metavar="RUN", help="The run's name in the log; random by default.")]
Seed = Annotated[int | None, Option("--seed", metavar="N", help="What chance depends on; random by default.")]
Started = Annotated[
    str | None, Option("--started", metavar="TIME", help="The run's logical time (ISO 8601); now by default.")
]
Packs = Annotated[
    list[str] | None, Option("--packs", metavar="NAMES", help="Only these packs take part (a,b); repeatable.")
]
MostCycles = Annotated[int | None, Option("--budget-cycles", metavar="N", help="Cycles at most.")]
MostFacts = Annotated[int | None, Option("--budget-facts", metavar="N", help="Facts at most.")]
MostSeconds = Annotated[float | None, Option("--budget-seconds", metavar="S", help="Seconds at most.")]
MostTokens = Annotated[int | None, Option("--budget-tokens", metavar="N", help="Reported tokens at most.")]
MostCost = Annotated[float | None, Option("--budget-cost", metavar="X", help="Reported cost at most.")]

Strict = Annotated[bool, Option("--strict", help="Run nothing if a line of the input is malformed.")]

At = Annotated[int | None, Option("--at", min=0, metavar="N", help="As of the end of cycle N.")]
ForkAt = Annotated[
    int | None,
    Option("--at", min=-1, metavar="N", help="From the end of cycle N; 0: after its inputs, -1: before them."),
]
ForkSeed = Annotated[
    int | None, Option("--seed", metavar="N", help="What chance depends on; by default that of the run.")
]
OtherAt = Annotated[int | None, Option("--other-at", min=0, metavar="N", help="RUN_B as of the end of cycle N.")]
Without = Annotated[
    list[str] | None, Option("--without", metavar="NAME", help="A suggestor that does not take part; repeatable.")
]
Mermaid = Annotated[bool, Option("--mermaid", help="Draw the graph in mermaid's notation.")]
Format = Annotated[GraphFormat, Option("--format", help="The notation.")]
JsonGraph = Annotated[bool, Option("--json", help="The same as --format json.")]
Given = Annotated[
    list[str] | None, Option("--given", metavar="FAMILY", help="A family that comes from outside; repeatable.")
]

Before = Annotated[str | None, Option("--before", metavar="TIME", help="Only runs that began before (ISO 8601).")]
Keep = Annotated[int, Option("--keep", min=0, metavar="N", help="Leave the N newest runs as they are.")]
Age = Annotated[str | None, Option("--age", metavar="AGE", help="Drop runs that are older: 90d, 12h, 30m, 45s.")]
Damaged = Annotated[bool, Option("--damaged", help="Drop runs that cannot be read any more, whatever their age.")]
Count = Annotated[int | None, Option("--count", min=0, metavar="N", help="Keep at most the N newest runs.")]
DryRun = Annotated[bool, Option("--dry-run", help="Change nothing; say what would go, and how many bytes.")]
Yes = Annotated[bool, Option("--yes", help="Do not ask; needed where there is no terminal to ask on.")]
Everywhere = Annotated[bool, Option("--everywhere", help="In every run that has the same payload.")]
Quiet = Annotated[bool, Option("--quiet", help="No progress bar.")]
Projections = Annotated[bool, Option("--projections", help="Fold the imported projections anew, and compare.")]
DueImports = Annotated[
    list[str], Option("--import", metavar="MODULE", help="A module or file with projections; repeatable.")
]
OneProjection = Annotated[
    str | None, Option("--projection", metavar="NAME", help="Only this projection; all that are imported by default.")
]

Out = Annotated[str | None, Option("--out", metavar="FILE", help="Write it there; to stdout by default.")]
Everything = Annotated[bool, Option("--all", help="Every run of the log.")]
WithoutPayload = Annotated[bool, Option("--without-payload", help="Prove the fact and keep what it says to yourself.")]
Since = Annotated[int | None, Option("--since", min=0, metavar="SIZE", help="That the first SIZE facts still stand.")]
Size = Annotated[int | None, Option("--size", min=0, metavar="N", help="How many facts that root was over.")]
Root = Annotated[str | None, Option("--root", metavar="HEX", help="The root that you have from elsewhere.")]
