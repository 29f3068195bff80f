"""Scanned digits as a dataset of Hugging Face's library: choose a part of it, with a column of weights."""

# %% A dataset with arrays and labels
import numpy as np
import torch
from datasets import Dataset
from sklearn.datasets import load_digits
from torch import nn

from coreselect import Task, select
from coreselect.selectors import CRAIG
from coreselect_integrations.frameworks.datasets import with_weights

digits = load_digits()
pixels = (digits.images[:600, None] / 16).astype(np.float32)
rows = Dataset.from_dict({"image": pixels, "label": digits.target[:600]}).with_format("torch")

# %% A network that has seen the data for a moment
torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
for _ in range(50):
    loss = nn.functional.cross_entropy(net(rows["image"][:]), rows["label"][:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %% Choose 60 rows
selection = select(Task.from_model(net, rows, loss="ce"), CRAIG(), budget=60, seed=0)
chosen = with_weights(selection, rows)
print(chosen)
print("largest weight", float(max(chosen["weight"])))
