"""Finds what a command names: an engine in a module or a file, modules with payload classes, a fact, a time."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from difflib import get_close_matches
from inspect import iscoroutine
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from ..facts import Context, FactError, FactLog, Payload, Why
from ..facts.family import find_family
from ..facts.projection import Projection
from .cli_codes import Misuse, raised
from .engine import Engine
from .goal import Goal

MANY_FACTS = 20_000
"""Among so many facts a ref is looked for that resembles a wrong one."""

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def load_engine(target: str) -> Engine:
    """Returns the engine that MODULE:ENGINE names; an attribute that is none is called without arguments.

    Raises:
        Misuse: there is no such module or attribute, it raises, or what it gives is no engine.
    """
    place, colon, attribute = target.rpartition(":")
    if not (colon and place and attribute):
        raise Misuse(f"{target!r} names no engine. Write MODULE:ENGINE or FILE.py:ENGINE, e.g. orders:engine")
    module = load_module(place)
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise Misuse(f"module {place!r} has no {attribute!r}. {_engines_in(module)}")
        found = getattr(found, name)
    if isinstance(found, Engine):
        return found
    if not callable(found):
        raise Misuse(f"{target!r} is a {type(found).__name__}, not an Engine or a function that makes one")
    return _call(found, target)


def load_goals(target: str) -> list[Goal]:
    """Returns the goals that stand in the module of an engine: a run that had some can go on with them."""
    return [value for value in vars(load_module(target.rpartition(":")[0])).values() if isinstance(value, Goal)]


def load_module(place: str) -> ModuleType:
    """Imports a module by its name, as seen from the current directory, or from the path of its file.

    Raises:
        Misuse: there is none, or it raises.
    """
    is_file = place.endswith(".py") or os.sep in place
    if not is_file:
        _put_on_path(Path.cwd())
    try:
        return _import_file(Path(place)) if is_file else importlib.import_module(place)
    except ModuleNotFoundError as error:
        if not is_file and error.name and f"{place}.".startswith(f"{error.name}."):
            raise Misuse(
                f"no module {error.name!r}, neither in {Path.cwd()} nor installed. "
                f"Go to its directory, or give its file: path/to/{error.name}.py"
            ) from error
        raise Misuse(f"module {place!r} cannot be imported: {raised(error)}") from error
    except (Misuse, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:  # a user's module: it may do anything
        raise Misuse(f"module {place!r} cannot be imported: it raised {raised(error)}") from error


def load_modules(places: Sequence[str] | None) -> list[ModuleType]:
    """Imports the modules whose payload classes a log or an input is to be read with."""
    return [load_module(place) for place in places or ()]


def load_projections(places: Sequence[str] | None) -> list[Projection[Any]]:
    """Imports modules and returns the projections that stand in them, by name.

    Those of a pack or a suggestor that stands there, which has them as its `projections`, are among them.
    """
    known: dict[str, Projection[Any]] = {}
    for module in load_modules(places):
        for value in list(vars(module).values()):
            held = () if isinstance(value, (type, ModuleType)) else getattr(value, "projections", ())
            for one in (value, *(held if isinstance(held, (tuple, list)) else ())):
                if isinstance(one, Projection):
                    known.setdefault(one.name, one)
    return [known[name] for name in sorted(known)]


def find_families(names: Sequence[str] | None) -> list[type[Payload]]:
    """Returns the payload classes of families."""
    return [find_family(name).cls for name in names or ()]


def explain_fact(context: Context, run: str, ref: str) -> Why:
    """Returns what a fact of a run rests on.

    Raises:
        Misuse: the run has no such fact; names the one that may be meant.
    """
    try:
        return context.why(ref)
    except FactError as error:
        known = [fact.ref for fact in islice(context, MANY_FACTS)]
        near = get_close_matches(ref, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else "A ref is family:id, as `quiesce replay` lists them"
        raise Misuse(f"run {run} has no fact {ref!r}. {hint}") from error


def tell_interrupted(log: FactLog, run: str, again: str) -> str:
    """Returns what became of a run during which somebody pressed Ctrl-C."""
    if run not in log:
        return "interrupted before the run began"
    state = "was cancelled" if log.stopped(run) is not None else "was left unfinished"
    return f"interrupted: run {run} {state}. What it has: {again}" if again else f"interrupted: run {run} {state}"


def read_time(text: str | None, option: str = "--started") -> datetime | None:
    """Returns the time that was given.

    Raises:
        Misuse: it is none.
    """
    try:
        return datetime.fromisoformat(text) if text is not None else None
    except ValueError as error:
        raise Misuse(f"{option} {text!r} is no time. Write it like 2025-01-31T09:30:00+00:00") from error


def read_age(text: str | None) -> timedelta | None:
    """Returns the length of time that was given, as in 90d, 12h, 30m or 45s.

    Raises:
        Misuse: it is none.
    """
    if text is None:
        return None
    match = _AGE.fullmatch(text.strip())
    with suppress(OverflowError):  # told below: more than Python counts is no length of time either
        if match is not None:
            return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
    raise Misuse(f"--age {text!r} is no length of time. Write it like 90d, 12h, 30m or 45s")


def split_names(given: Sequence[str] | None) -> set[str] | None:
    """Returns the names in options of the form a,b; None where there is no such option."""
    return None if given is None else {name.strip() for names in given for name in names.split(",") if name.strip()}


def _call(factory: Any, target: str) -> Engine:
    try:
        made = factory()
    except Exception as error:
        raise Misuse(f"{target!r} was called to make an engine, and raised {raised(error)}") from error
    if iscoroutine(made):
        made.close()
        raise Misuse(f"{target!r} is async; make it a plain function without arguments that returns an Engine")
    if not isinstance(made, Engine):
        raise Misuse(f"{target!r} was called to make an engine, and returned a {type(made).__name__}")
    return made


def _engines_in(module: ModuleType) -> str:
    engines = [name for name, value in vars(module).items() if isinstance(value, Engine)]
    return f"Its engines: {', '.join(engines)}" if engines else "It has no Engine at its top level"


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise Misuse(f"no file {path}")
    _put_on_path(path.parent)
    for loaded in list(sys.modules.values()):
        if getattr(loaded, "__file__", None) == str(path):
            return loaded
    name = path.stem if path.stem not in sys.modules else f"quiesce_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Misuse(f"{path} is no Python file; its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:  # whatever it was goes on; half a module must not stay behind
        del sys.modules[name]
        raise
    return module


def _put_on_path(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
