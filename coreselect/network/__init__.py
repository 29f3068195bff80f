"""A model seen as features followed by a head: how it is split, flattened, run and restored."""
