"""What has to be known from a GPU, in one bounded sitting: `python -m benchmarks.gpu`."""
