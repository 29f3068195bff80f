"""Solvers that turn vectors into picks: greedy search, matching pursuit, submodular maximisation, covering."""
