"""Methods that match or rank training gradients."""
