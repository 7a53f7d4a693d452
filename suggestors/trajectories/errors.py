"""Says what goes wrong in recording and remembering trajectories."""

from __future__ import annotations

from ...facts import FactError, LogError


class TrajectoryClosed(FactError):
    """A recorder was told something after its trajectory was complete."""

    def __init__(self, trajectory: str, asked: str) -> None:
        self.trajectory, self.asked = trajectory, asked
        super().__init__(
            f"trajectory {trajectory} is complete; {asked} came too late, and nothing was changed. Begin another: "
            f"TrajectoryRecorder(…)"
        )


class UnknownTrajectory(LogError):
    """A log holds no trajectory of this UUID, or not in the state that is asked for."""

    def __init__(self, trajectory: str, problem: str) -> None:
        self.trajectory, self.problem = trajectory, problem
        super().__init__(f"trajectory {trajectory}: {problem}. `recover_trajectories(log)` lists the unfinished ones")


class BrokenPatterns(LogError):
    """A text of exported patterns cannot be taken in; nothing of it was."""

    def __init__(self, line: int, problem: str) -> None:
        self.line, self.problem = line, problem
        super().__init__(f"line {line} of the patterns: {problem}. Nothing was taken in. Export them again")
