"""Scanned digits under Lightning: one epoch on all of them, then on a fifth, which CRAIG chooses anew in every epoch."""

# %% Data: 1,797 images of 8 × 8 pixels in [0, 1]
import tempfile

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from coreselect import CoresetSampler, Task, holdout
from coreselect.selectors import CRAIG
from coreselect_integrations.frameworks.lightning import CoresetCallback, CoresetDataModule

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
pool, validation = holdout(TensorDataset(images, torch.tensor(digits.target)), size=0.2, seed=0)


# %% The module: batches bring positions, and the data module makes the loss of a batch from those of its examples
class Classifier(pl.LightningModule):
    """A small network."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def training_step(self, batch, batch_idx):
        x, y, positions = batch
        logits = self.net(x)
        losses = F.cross_entropy(logits, y, reduction="none")
        return self.trainer.datamodule.loss(positions, losses, logits, y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("accuracy", (self.net(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.5, total_steps=self.trainer.datamodule.total_steps()
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


# %% Train
pl.seed_everything(0)
module = Classifier()
task = Task.from_model(module.net, pool, validation, loss="ce")
sampler = CoresetSampler(task, CRAIG(), budget=0.2, warmup=1, every=1, seed=0)
data = CoresetDataModule(sampler, pool, validation, batch_size=64)
with tempfile.TemporaryDirectory() as folder:
    best = pl.callbacks.ModelCheckpoint(folder, monitor="accuracy", mode="max")
    trainer = pl.Trainer(max_epochs=4, accelerator="cpu", logger=False, callbacks=[CoresetCallback(), best])
    trainer.fit(module, datamodule=data)
print(f"{trainer.global_step} steps, best accuracy {best.best_model_score:.3f}")
