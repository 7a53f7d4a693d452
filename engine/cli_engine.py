"""The commands that look at an engine without running it: `quiesce graph` and `quiesce check`."""

from __future__ import annotations

import typer

from . import cli_json, cli_show
from . import cli_options as given
from .cli_codes import Code
from .cli_load import find_families, load_engine, load_modules
from .cli_options import GraphFormat
from .cli_settle import quiet
from .cli_show import Screen


def graph(target: given.Target, format: given.Format = GraphFormat.MERMAID, json: given.JsonGraph = False) -> int:
    """Draw who writes what and who reads it."""
    with quiet(True):
        engine = load_engine(target)
    if json or format is GraphFormat.JSON:
        cli_json.write(cli_json.graph_data(engine.graph()))
    else:
        typer.echo(engine.mermaid() if format is GraphFormat.MERMAID else engine.dot())
    return Code.OK


def check(
    target: given.Target, families: given.Given = None, imports: given.Imports = None, json: given.Json = False
) -> int:
    """Look for mistakes in an engine; exits with 1 for warnings."""
    with quiet(json):
        load_modules(imports)
        engine = load_engine(target)
    findings = engine.check(find_families(families))
    if json:
        cli_json.write(*cli_json.findings_data(findings))
    else:
        cli_show.show_findings(Screen(), findings, len(engine.suggestors))
    return Code.FOUND if any(one.level != "info" for one in findings) else Code.OK
