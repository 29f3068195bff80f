"""What people look at: facts about a selection, agreement between selections, and pictures."""
