"""Which provider answers a request: learned online, explored by sampling, explainable afterwards."""
