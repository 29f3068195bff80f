"""The commands for training and experiments: `train.py` has the options of one, `train_run.py` does its work, and so on."""
