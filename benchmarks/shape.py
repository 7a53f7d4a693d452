"""Says how big the works are: the same for the kernel and for its peers."""

STAGES = 200
"""Suggestors in the chain."""
WIDTH = 100
"""Suggestors in the fan."""
SEEDS = 10_000
"""Facts that are mapped one to one."""
EDGES = 200
"""Edges of the chain whose closure is taken."""
LANES, LANE_STAGES = 8, 4
SLOW, QUICK = 0.1, 0.01
"""Seconds that a stage of a lane takes."""


def seconds(lane: int, at: int) -> float:
    """Returns how long a stage takes: in each lane one is slow, at a different place."""
    return SLOW if at == lane % LANE_STAGES else QUICK
