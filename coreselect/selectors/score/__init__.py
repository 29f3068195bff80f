"""Methods that rank single examples by a score, and methods that combine a score with coverage."""
