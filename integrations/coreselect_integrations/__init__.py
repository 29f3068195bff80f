"""Adapters around `coreselect`: networks, training loops, evaluation and the demo; public names of the core only."""
