"""Methods that rank single examples by a score, and methods that balance a score with coverage."""
