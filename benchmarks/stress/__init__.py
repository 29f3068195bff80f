"""Kills, damaged files, and a table of options, resources and encodings: what must never lose anything, or be believed."""
