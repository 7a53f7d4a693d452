"""Draws docs/pictures/providers.svg from the log that examples/providers.py left in build/.

make run && .venv/bin/python docs/pictures/providers.py
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))

from providers import NAMES, story_of  # noqa: E402  the examples are no package
from providers_picture import draw  # noqa: E402

from quiesce.facts import FactLog  # noqa: E402

with FactLog.open(ROOT / "build" / "providers.db") as log:
    png, _ = draw(story_of(log), NAMES, Path(__file__))
png.unlink()
