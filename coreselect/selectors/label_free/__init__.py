"""Published methods that read features alone and no labels."""
