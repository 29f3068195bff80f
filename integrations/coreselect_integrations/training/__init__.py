"""The parts that all training loops share: epochs, batches, learning rates, optimisers, and runs kept in a folder."""
