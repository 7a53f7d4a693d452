"""Holds what is shipped to what users import: `quiesce.facts`, and no bare `facts` beside their own."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("packaging")]

ROOT = Path(__file__).parents[1]
FLOORS = ("engine", "facts", "suggestors")
GENERATED = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "*.egg-info", ".*_cache", ".hypothesis", "__pycache__"
)


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the source archive from a copy of the tree, and the wheel from the source archive."""
    folder = tmp_path_factory.mktemp("packaging")
    shutil.copytree(ROOT, folder / "tree", ignore=GENERATED)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(folder / "tree")]
    built = subprocess.run(build, capture_output=True, text=True, check=False)

    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "dist"


def sources() -> set[str]:
    """Returns the modules of the three floors and their `py.typed`, as paths in the repository."""
    paths = [path for floor in FLOORS for kind in ("*.py", "py.typed") for path in (ROOT / floor).rglob(kind)]
    return {path.relative_to(ROOT).as_posix() for path in paths}


def test_the_wheel_holds_every_module_below_quiesce_and_nothing_else(dist: Path) -> None:
    """A folder that pyproject.toml forgot, a bare `facts` and a `quiesce/__init__.py` would all be seen here."""
    (wheel,) = dist.glob("*.whl")
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert names == {f"quiesce/{source}" for source in sources()}
    assert {f"quiesce/{floor}/py.typed" for floor in FLOORS} < names


def test_the_wheel_names_its_licence_and_its_command(dist: Path) -> None:
    """The metadata say Apache-2.0, the licence text comes along, and `quiesce` is a command."""
    (wheel,) = dist.glob("*.whl")
    with ZipFile(wheel) as archive:
        (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata, scripts = (archive.read(f"{info}/{name}").decode() for name in ("METADATA", "entry_points.txt"))

        assert "License-Expression: Apache-2.0" in metadata.splitlines()
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert "quiesce = quiesce.engine.cli:main" in scripts.splitlines()


def test_what_the_wheel_holds_can_be_imported(dist: Path, tmp_path: Path) -> None:
    """The wheel's own `quiesce.facts` is found, from a folder that knows nothing of the checkout."""
    (wheel,) = dist.glob("*.whl")
    ZipFile(wheel).extractall(tmp_path / "site")
    program = f"import {', '.join(f'quiesce.{floor} as {floor}' for floor in FLOORS)}; print(facts.__file__)"
    told = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path, env=told
    )

    assert Path(found.stdout.strip()) == tmp_path / "site" / "quiesce" / "facts" / "__init__.py"


def test_the_source_archive_can_be_built_and_tested(dist: Path) -> None:
    """Modules, tests, licence, Makefile and what CI runs are in it; so is nothing that was generated."""
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    shipped = {".ci/run", ".ci/venv", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "pyproject.toml"}

    assert shipped | {"tests/conftest.py", "tests/test_packaging.py"} | sources() <= names
    assert [] == [name for name in names if name.endswith(".pyc") or name.startswith((".venv", "build"))]
