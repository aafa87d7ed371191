"""The best student within a budget: `pkd compress`, and what only it needs."""
