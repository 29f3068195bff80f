"""What a selection will cost, said before it takes memory or time."""
