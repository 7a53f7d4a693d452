"""Measures what needs an interpreter of its own: the memory that facts take, and going on after a crash."""

from __future__ import annotations

import shutil
import sys
from itertools import count
from pathlib import Path
from typing import Literal

import anyio
import shape
from alone import DIED, DURABLE, HOLDERS, NOT_INSTALLED
from measure import Case, NotMeasured, Sample, Section, Target

PROGRAM = Path(__file__).with_name("alone.py")


async def _call(work: str, who: str, size: int, folder: Path = Path()) -> tuple[int, list[float]]:
    done = await anyio.run_process([sys.executable, str(PROGRAM), work, who, str(size), str(folder)], check=False)
    if done.returncode == NOT_INSTALLED:
        raise NotMeasured("not installed")
    if done.returncode not in (0, DIED):
        raise NotMeasured(f"failed: {done.stderr.decode().strip().splitlines()[-1:]}")
    return done.returncode, [float(line) for line in done.stdout.split()]


def memory() -> Section:
    """The memory that facts take."""
    model, ours = "dict of pydantic models", "Quiesce, context"
    cases = []
    for who in (ours, *(who for who in HOLDERS if who != ours)):
        for size in shape.HELD:
            sample = _bytes(who, size)
            if who.startswith("Quiesce"):
                held = Target(1.5, "ratio", "at most")
                cases.append(Case(who, sample, "B/fact", held, model, size=size, most=shape.MOST, warm=False))
            else:
                cases.append(Case(who, sample, "B/fact", size=size, kind="peer", most=shape.MOST, warm=False))
    return Section(
        "Memory of facts that are known",
        "what a process has in memory more than before, for each fact of one number and its id; the ratios of "
        "Quiesce are to the dict of pydantic models; a slope of 0 is in proportion",
        cases,
        of="facts",
    )


def _bytes(who: str, size: int) -> Sample:
    async def sample() -> float:
        return (await _call("hold", who, size))[1][0]

    return sample


async def resume(folder: Path) -> Section:
    """Going on after a crash in the middle of a run."""
    cases: list[Case] = []
    again: list[Case] = []
    for who in DURABLE:
        is_ours = who.startswith("Quiesce")
        for size in shape.STEPS:
            crashed = Crashed(folder, who, size)
            kind: Literal["ours", "peer"] = "ours" if is_ours else "peer"
            slower = None if is_ours else Target(1, "ratio", "at least")
            cases.append(
                Case(who, crashed.milliseconds, target=slower, size=size, kind=kind, most=shape.MOST, warm=False)
            )
            none = Target(0, kind="at most") if is_ours else None
            name = f"{who}: ended steps that ran again"
            again.append(Case(name, crashed.again, "steps", none, name, size=size, kind=kind, once=True))
    return Section(
        "Going on after a crash in the middle",
        "a process dies in the middle of so many durable steps; another, from opening the database to the end. "
        "LangGraph "
        "writes checkpoints behind the steps unless told otherwise, and steps here take no time, so most were lost",
        cases + again,
        of="steps",
    )


class Crashed:
    """A run that died, of which every sample finishes a copy."""

    def __init__(self, folder: Path, who: str, size: int) -> None:
        self.who, self.size = who, size
        self.folder = folder / f"crashed-{size}-{list(DURABLE).index(who)}"
        self.numbers = count()
        self.counted: float | None = None

    async def milliseconds(self) -> float:
        """Finishes a copy and returns how long it took."""
        if not self.folder.exists():
            self.folder.mkdir()
            code, _ = await _call("crash", self.who, self.size, self.folder)
            if code != DIED:
                raise NotMeasured("did not die")
        copy = self.folder.with_name(f"{self.folder.name}-{next(self.numbers)}")
        shutil.copytree(self.folder, copy)
        took, self.counted = (await _call("resume", self.who, self.size, copy))[1]
        shutil.rmtree(copy)
        return took

    async def again(self) -> float:
        """Returns how many steps that had ended were done again."""
        if self.counted is None:
            await self.milliseconds()
        return self.counted or 0.0
