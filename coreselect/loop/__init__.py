"""Samplers for a training loop: when to select, and what to iterate."""
