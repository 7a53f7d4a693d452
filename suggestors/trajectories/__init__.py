"""What an execution did, step by step, how well it went, and what was learned."""
