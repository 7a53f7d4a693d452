"""Measures what an import costs, each time in a new interpreter."""

from __future__ import annotations

import sys

import anyio
from measure import Case, Sample, Section, Target

BASE = "import anyio; from pydantic import BaseModel, TypeAdapter, ConfigDict"


def imports() -> Section:
    """The import of the engine beside what it stands on."""
    return Section(
        "import quiesce.engine",
        "in a new interpreter, files in the cache; on top of pydantic's and anyio's own import",
        [
            Case("quiesce.engine, on top of them", _import(BASE, "import quiesce.engine"), target=Target(150)),
            Case("pydantic and anyio", _import("", BASE), kind="floor"),
        ],
    )


def _import(before: str, measured: str) -> Sample:
    program = f"""
from time import perf_counter
{before}
start = perf_counter()
{measured}
print((perf_counter() - start) * 1000)
"""

    async def sample() -> float:
        done = await anyio.run_process([sys.executable, "-c", program])
        return float(done.stdout)

    return sample
