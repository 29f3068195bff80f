"""Selectors made of other selectors: class by class, window by window, or several with a share of the budget each."""
