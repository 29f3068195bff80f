"""Adapters around `coreselect`: networks, training, evaluation and comparison. They use public names of the core only."""
