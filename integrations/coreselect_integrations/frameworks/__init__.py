"""The sampler inside training frameworks: Lightning, Fabric, Accelerate, Transformers, datasets, WebDataset, scikit-learn."""
