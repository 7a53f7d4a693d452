"""Says how big the works are: the same for the kernel and for its peers."""

STAGES = (20, 100, 200)
"""Dependent suggestors in a chain, in memory and on a disk."""
WIDTHS = (25, 100, 400)
"""Suggestors in a fan."""
SEEDS = (100, 1_000, 10_000)
"""Facts that are mapped one to one."""
EDGES = (50, 100, 200)
"""Edges of the chain whose closure is taken."""
LANES, LANE_STAGES = (4, 8, 16), 4
SLOW, QUICK = 0.1, 0.01
"""Seconds that a stage of a lane takes."""
KNOWN = (1_000, 30_000, 1_000_000)
"""Facts that are known when one more comes."""
CYCLES = 500
"""Cycles of one fact each, over which the time of one is taken."""
STEPS = (100, 300, 1_000)
"""Steps of a run that a crash cuts short in its middle."""
LOGGED = (1_000, 10_000, 100_000)
"""Facts in a log that is replayed, verified and forked."""
HELD = (10_000, 100_000, 1_000_000)
"""Facts whose memory is taken."""
APPENDED = 30_000
"""Facts that are appended to a log, a hundred at a time."""
RECOVERED = (100, 1_000, 10_000)
"""Cycles of a run that is read back."""
CHOSEN, CALLS = 10_000, 1_000
"""Facts and calls with which users' choices are compared."""
MOST: int | None = None
"""Samples of what starts processes of its own; None: as many as of everything else."""

SMALLER = {
    "LANES": (8,), "WIDTHS": (25, 50, 100),
    "KNOWN": (1_000, 10_000, 100_000), "STEPS": (200,), "LOGGED": (300, 1_000, 10_000),
    "HELD": (10_000, 100_000), "APPENDED": 10_000, "CHOSEN": 2_000, "CALLS": 200, "RECOVERED": (100, 300, 1_000),
    "MOST": 3,
}  # fmt: skip
"""What `--quick` does instead."""
is_quick = False


def shrink() -> None:
    """Makes big works smaller, for what looks at the sizes from now on."""
    globals().update(SMALLER, is_quick=True)


def said(n: int) -> str:
    """Returns what step n of a durable chain says: a sentence, as short answers of models are."""
    return f"step {n:05} of the pipeline was done as it was asked for, and nothing stands in the way of the next one"


def seconds(lane: int, at: int) -> float:
    """Returns how long a stage takes: in each lane one is slow, at a different place."""
    return SLOW if at == lane % LANE_STAGES else QUICK


def times(size: int, enough: int = 1_000) -> int:
    """Returns how often a work is done for one sample: small works oftener."""
    return max(1, min(50, (enough // 4 if is_quick else enough) // size))
