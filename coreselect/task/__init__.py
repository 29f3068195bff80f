"""A selection task: the recipe that a user states, and the snapshot that one selection computes from it."""
