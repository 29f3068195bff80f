"""Scanned digits under Accelerate: the usual loop, a saved state, and a resumed run that goes on with the same subset."""

# %% Data and network
import tempfile

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from coreselect import CoresetSampler, Task, holdout
from coreselect.selectors import CRAIG
from coreselect_integrations.frameworks.accelerate import prepare_loader
from coreselect_integrations.frameworks.weighted import weighted_mean

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
pool, validation = holdout(TensorDataset(images, torch.tensor(digits.target)), size=0.2, seed=0)
torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

# %% The sampler deals out to processes itself; Accelerate moves batches and saves its state
accelerator = Accelerator(cpu=True)
sampler = CoresetSampler(Task.from_model(net, pool, loss="ce"), CRAIG(), budget=0.2, warmup=1, every=1, seed=0)
model, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.2))
loader = prepare_loader(accelerator, sampler, pool, batch_size=64)
accelerator.register_for_checkpointing(sampler)


# %% Train, stop after two epochs, and resume
def train(epochs):
    """Train some epochs."""
    for epoch in epochs:
        sampler.set_epoch(epoch)
        for x, y, positions in loader:
            losses = F.cross_entropy(model(x), y, reduction="none")
            accelerator.backward(weighted_mean(sampler, positions, losses))
            optimizer.step()
            optimizer.zero_grad()


with tempfile.TemporaryDirectory() as folder:
    train(range(2))
    accelerator.save_state(folder)
    chosen = sampler.selection.indices
    train(range(2, 4))
    accelerator.load_state(folder)
    print("the same subset after resuming:", (chosen == sampler.selection.indices).all())
    train(range(2, 4))
x, y = (torch.stack([torch.as_tensor(item[k]) for item in validation]) for k in (0, 1))
print(f"accuracy {(net(x).argmax(1) == y).float().mean():.3f}")
