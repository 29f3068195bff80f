"""Methods that cover or match the features of the pool."""
