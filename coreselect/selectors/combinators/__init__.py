"""Selectors made of other selectors: class by class, window by window, several at once."""
