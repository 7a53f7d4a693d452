"""Holds the house together: who may import whom, and what must not be loaded before it is needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELOW = {"facts": set[str](), "engine": {"facts"}, "suggestors": {"facts", "engine"}}
HEAVY = {
    "matplotlib", "networkx", "numpy", "opentelemetry", "psycopg", "pydantic_ai", "rich", "river", "scipy", "typer",
}  # fmt: skip
ASKED_FOR = {  # modules that are imported only by those who want what they bring
    "engine/cli*.py": {"rich", "typer"},
    "engine/otel.py": {"opentelemetry"},
    "facts/stores/postgres*.py": {"psycopg"},
}
MODULES = sorted(path.relative_to(ROOT) for floor in BELOW for path in (ROOT / floor).rglob("*.py"))


@dataclass(frozen=True)
class Import:
    """One name that a module imports; `path` is its place below `quiesce` when it was reached through dots."""

    line: int
    path: tuple[str, ...] | None  # ("facts", "log", "FactLog"); None for what is imported by its absolute name
    absolute: str
    loads: bool  # when the module is loaded; not in a function, not for type checkers only


def imports_of(module: Path, text: str) -> Iterator[Import]:
    """Yields what a module imports, wherever the import stands in it."""
    package = module.parent.parts
    pending: list[tuple[ast.AST, bool]] = [(ast.parse(text), True)]
    while pending:
        node, loads = pending.pop()
        match node:
            case ast.Import(names=names):
                yield from (Import(node.lineno, None, alias.name, loads) for alias in names)
            case ast.ImportFrom(module=name, names=names, level=0):
                yield Import(node.lineno, None, name or "", loads)
            case ast.ImportFrom(module=name, names=names, level=level):
                # One dot is the module's own package; more dots than packages lead out of the project.
                up = package[: len(package) + 1 - level] if level <= len(package) + 1 else ("..",)
                base = (*up, *(name.split(".") if name else ()))
                yield from (Import(node.lineno, (*base, alias.name), "", loads) for alias in names)
            case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                pending += [(child, False) for child in node.body] + [(child, loads) for child in node.orelse]
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                pending += [(child, False) for child in ast.iter_child_nodes(node)]
            case _:
                pending += [(child, loads) for child in ast.iter_child_nodes(node)]


def find_faults(module: Path, text: str) -> list[str]:
    """Returns what a module imports and should not, as sentences."""
    floor = module.parts[0]
    allowed = {name for pattern, names in ASKED_FOR.items() if fnmatch(str(module), pattern) for name in names}
    faults = []
    for found in sorted(imports_of(module, text), key=lambda found: found.line):
        where = f"{module}:{found.line}"
        top = found.absolute.partition(".")[0]
        if found.path is not None and not (found.path and found.path[0] in {floor, *BELOW[floor]}):
            faults.append(f"{where}: {floor} may not import {'.'.join(found.path)}")
        elif found.path is None and top in {"quiesce", *BELOW}:
            faults.append(f"{where}: import {found.absolute} with dots (from ..facts import Fact)")
        elif found.path is None and found.loads and top in HEAVY - allowed:
            faults.append(f"{where}: {top} takes long to load; import it where it is used")
    return faults


def find_module(path: tuple[str, ...]) -> Path | None:
    """Returns the file that an import loads: the module of that name, or the one that defines the name."""
    for end in (len(path), len(path) - 1):
        place = Path(*path[:end])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if end and file in MODULES:
                return file
    return None


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_says_first_what_it_is_for(module: Path) -> None:
    """Every module begins with a docstring."""
    docstring = ast.get_docstring(ast.parse((ROOT / module).read_text(encoding="utf-8")))

    assert docstring, f"{module} begins with no docstring: say in its first line why it exists"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_imports_only_from_its_floor_and_below(module: Path) -> None:
    """Facts import nothing of the project, the engine imports facts, suggestors both; with dots; nothing heavy."""
    assert [] == find_faults(module, (ROOT / module).read_text(encoding="utf-8"))


@pytest.mark.parametrize("floor", BELOW)
def test_the_modules_of_a_floor_do_not_import_each_other_in_a_circle(floor: str) -> None:
    """Modules can be read in an order in which each knows those before it."""
    order: TopologicalSorter[str] = TopologicalSorter()
    for module in MODULES:
        found = imports_of(module, (ROOT / module).read_text(encoding="utf-8"))
        needs = {find_module(each.path) for each in found if each.loads and each.path} - {None, module}
        if module.parts[0] == floor:
            order.add(str(module), *map(str, needs))
    try:
        order.prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize(
    ("module", "text", "fault"),
    [
        ("facts/log.py", "from ..engine import Engine", "facts/log.py:1: facts may not import engine.Engine"),
        ("facts/log.py", "def f():\n  from .. import engine", "facts/log.py:2: facts may not import engine"),
        ("engine/run.py", "from ..suggestors.routing import Arm", "may not import suggestors.routing.Arm"),
        ("engine/run.py", "from ... import facts", "engine may not import ...facts"),
        ("engine/run.py", "import quiesce.facts", "import quiesce.facts with dots"),
        ("engine/run.py", "if TYPE_CHECKING:\n  from facts.log import FactLog", "import facts.log with dots"),
        ("engine/graph.py", "try:\n  import networkx as nx\nexcept ImportError: pass", "networkx takes long to load"),
        ("facts/stores/sqlite.py", "from psycopg import sql", "psycopg takes long to load"),
    ],
)
def test_a_forbidden_import_is_found(module: str, text: str, fault: str) -> None:
    """The rules above are not empty: each of these breaks one of them."""
    faults = find_faults(Path(module), text)

    assert len(faults) == 1
    assert fault in faults[0]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("engine/run.py", "from ..facts.stores import Store\nfrom . import view\nfrom .view import View"),
        ("suggestors/routing.py", "from ..engine import suggestor\nfrom ..facts import Payload"),
        ("engine/graph.py", "if TYPE_CHECKING:\n  import networkx\ndef graph():\n  import networkx"),
        ("engine/cli_show.py", "import typer\nfrom rich.table import Table"),
    ],
)
def test_an_allowed_import_is_not_found(module: str, text: str) -> None:
    """The rules forbid no more than they say."""
    assert [] == find_faults(Path(module), text)


@pytest.mark.slow
@pytest.mark.parametrize("floor", BELOW)
def test_importing_a_floor_loads_nothing_heavy(floor: str) -> None:
    """Who imports the engine does not wait for libraries that most runs never use; not through others either."""
    program = f"import sys, quiesce.{floor}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert loaded.stdout.split() == []
