"""Solvers that turn vectors into picks: greedy search, matching pursuit, and greedy maximisation of coverage."""
