"""Helpers for all rooms: seeding, clocks, checks of types and arrays, settings, lookups by name, and the training record."""
