"""The command that settles a context: `quiesce run`."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from . import cli_options as given
from .cli_hints import Hints
from .cli_input import Input, read_input
from .cli_load import load_engine, load_modules, read_time, split_names
from .cli_log import MEMORY, Sync, open_log, refuse_input_as_log
from .cli_settle import interruptible, quiet, tell, watching


def run(
    target: given.Target,
    input: given.InputFile = None,
    strict: given.Strict = False,
    log: given.NewLog = None,
    sync: given.HowSafe = Sync.NORMAL,
    live: given.Live = False,
    run_id: given.RunId = None,
    seed: given.Seed = None,
    started: given.Started = None,
    packs: given.Packs = None,
    budget_cycles: given.MostCycles = None,
    budget_facts: given.MostFacts = None,
    budget_seconds: given.MostSeconds = None,
    budget_tokens: given.MostTokens = None,
    budget_cost: given.MostCost = None,
    imports: given.Imports = None,
    rows: given.Rows = 100,
    json: given.Json = False,
) -> int:
    """Settle a context: run an engine until nothing new is proposed."""
    with quiet(json):
        load_modules(imports)
        engine = load_engine(target)
        refuse_input_as_log(input, log)
        said = read_input(input, strict=strict) if input is not None else Input()
        limits: dict[str, Any] = {
            "cycles": budget_cycles, "facts": budget_facts, "seconds": budget_seconds, "tokens": budget_tokens,
            "cost": budget_cost,
        }  # fmt: skip
        budget = replace(engine.budget, **{name: limit for name, limit in limits.items() if limit is not None})
        name = run_id if run_id is not None else secrets.token_hex(6)
        hints = Hints(log, target, imports or ())
        with (
            open_log(log or MEMORY, to_write=True, sync=sync) as kept,
            watching(live, json) as observers,
            interruptible(kept, name, hints),
        ):
            result = engine.run_sync(
                said.context, log=kept, budget=budget, run_id=name, seed=seed, started=read_time(started),
                packs=split_names(packs), observers=observers,
            )  # fmt: skip
    return tell(result, hints, rows, json, said)
