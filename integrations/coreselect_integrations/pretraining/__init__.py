"""Pre-training runs from settings to weights: settings, presets, warm-up and the run itself."""
