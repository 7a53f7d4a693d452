"""Lists the arguments and options of the commands, each with the sentence that explains it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from typer import Argument, Option

HELP = """Settle contexts with an engine, and look into the logs that this leaves.

MODULE:ENGINE is an Engine, or a function without arguments that returns one: in a module that can be imported from
the current directory (orders:engine), or in a file (path/to/orders.py:engine).

--log may be left out where the environment variable QUIESCE_LOG names the log. Payloads of classes that are not
imported (--import orders) are shown as the JSON that the log keeps.
"""


class GraphFormat(StrEnum):
    """Notations of a graph."""

    MERMAID = "mermaid"
    DOT = "dot"
    JSON = "json"


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
RunA = Annotated[str, Argument(metavar="RUN_A", help="The id of a run.")]
RunB = Annotated[str, Argument(metavar="RUN_B", help="The id of the run to compare it with.")]
RefName = Annotated[str, Argument(metavar="REF", help="The fact, as family:id.")]
Exported = Annotated[str, Argument(metavar="FILE", help="What `quiesce export` wrote; - for stdin.")]

Log = Annotated[str, Option("--log", envvar="QUIESCE_LOG", metavar="FILE", help="The log, a .jsonl file.")]
NewLog = Annotated[
    str | None, Option("--log", envvar="QUIESCE_LOG", metavar="FILE", help="Where to keep the run, a .jsonl file.")
]
OtherLog = Annotated[str | None, Option("--other-log", metavar="FILE", help="The log of RUN_B, if it is another.")]

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

At = Annotated[int | None, Option("--at", min=0, metavar="N", help="As of the end of cycle N.")]
Mermaid = Annotated[bool, Option("--mermaid", help="Draw the graph in mermaid's notation.")]
Format = Annotated[GraphFormat, Option("--format", help="The notation.")]
JsonGraph = Annotated[bool, Option("--json", help="The same as --format json.")]
Given = Annotated[
    list[str] | None, Option("--given", metavar="FAMILY", help="A family that comes from outside; repeatable.")
]
