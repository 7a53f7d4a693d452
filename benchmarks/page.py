"""Puts what was measured into the pages that show it: `python benchmarks/page.py build/bench.json`.

A page says where: `<!-- bench:table -->` is followed by the table, `<!-- bench:about -->` by what it was made on, each
up to `<!-- bench:end -->`. Beside the pages the pictures are drawn anew.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import chart
import report

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "performance.md")
PICTURE = ROOT / "docs" / "pictures" / "performance"
SHORT = PICTURE.with_name("performance-short")
"""The same for the README, with less in it."""

_BLOCK = re.compile(r"(?P<begin><!-- bench:(?P<what>\w+) -->\n).*?(?P<end><!-- bench:end -->)", re.DOTALL)


def fill(page: str, data: dict[str, Any]) -> str:
    """Returns a page with its blocks filled anew."""
    texts = {"table": report.to_markdown(data), "about": f"{report.describe(data['about'])}\n"}
    return _BLOCK.sub(lambda block: f"{block['begin']}{texts[block['what']]}{block['end']}", page)


def main(source: Path) -> None:
    """Fills the pages and draws the picture."""
    data = json.loads(source.read_text(encoding="utf-8"))
    for path in PAGES:
        before = path.read_text(encoding="utf-8")
        after = fill(before, data)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"filled {path.relative_to(ROOT)}")
    print("drew", *chart.draw(data, PICTURE), *chart.draw(data, SHORT, chart.HEADLINES))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/bench.json"))
