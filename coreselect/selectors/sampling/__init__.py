"""Methods that draw at random, uniformly or with stated probabilities."""
