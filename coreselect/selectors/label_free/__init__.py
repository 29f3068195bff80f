"""Methods that read features only and need no labels."""
