"""Methods that draw at random, uniformly or with known probabilities."""
