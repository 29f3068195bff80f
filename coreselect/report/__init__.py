"""What people look at: summaries of a selection, agreement between selections, and pictures."""
