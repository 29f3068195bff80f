"""Adapters on the public names of `coreselect`: networks, training, evaluation, comparison and their commands."""
