"""Pre-training runs, from settings to weights: the settings, the published presets, the warm-up, and the run itself."""
