"""Methods that choose by the geometry of the features: they cover the pool, match its mean, or spread out."""
