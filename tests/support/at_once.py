"""Runs several programs side by side, none of which begins its work before all are ready."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence


def run_at_once(commands: Iterable[Sequence[str]], environment: Mapping[str, str] | None = None) -> list[int]:
    """Returns the exit codes of programs, each of which says "ready" and then waits for a line to begin."""
    workers = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for words in commands
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert "ready\n" == worker.stdout.readline()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        return [worker.wait(100) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
