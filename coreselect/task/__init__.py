"""What there is to select from: the task that a user states, and the snapshot that one selection computes of it."""
