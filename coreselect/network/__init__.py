"""A model seen as features and a head: how it is split, how its parameters become a vector, how it is run and restored."""
