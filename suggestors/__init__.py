"""What is suggested: the providers pack (selection, routing, drift, feedback, trajectories).

It arrives with the next releases.
"""

__all__: list[str] = []
