"""Samplers for a training loop: they decide when to select and which examples an epoch sees."""
