"""A race of methods, shares of the pool and attacks: the best use of given hours."""
