"""A job of Lightning in a process of its own, which launches the second: `python lightning_job.py FOLDER STRATEGY [KILL_AT]`.

It writes what it saw to FOLDER/seen-RANK.txt, one line a batch, and kills itself, without a chance to clean up, at a step.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import framework_runs as runs
import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint

from coreselect_integrations.frameworks.lightning import CoresetCallback, CoresetDataModule


class Job(pl.LightningModule):
    """A module that writes down the positions of its batches."""

    def __init__(self, folder: Path, kill_at: int | None) -> None:
        super().__init__()
        self.net, self.folder, self.kill_at = runs.network(), folder, kill_at

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        x, y, i = batch
        with open(self.folder / f"seen-{self.global_rank}.txt", "a", encoding="utf-8") as file:
            print(self.current_epoch, *i.tolist(), file=file)
        losses, logits = runs.losses(self.net, x, y)
        return self.trainer.datamodule.loss(i, losses, logits, y)  # type: ignore[union-attr]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val", 0.0, sync_dist=True)

    def configure_optimizers(self) -> Any:
        return runs.optimiser(self)


def main(folder: Path, strategy: str, kill_at: int | None) -> None:
    """Train from the last checkpoint, if there is one."""
    job, pool = Job(folder, kill_at), runs.data()
    data = CoresetDataModule(runs.sampler(job.net, pool), pool, runs.data(16, 2), batch_size=runs.SIZE, num_workers=1)
    saves = ModelCheckpoint(folder, "last", every_n_train_steps=1, enable_version_counter=False)
    trainer = pl.Trainer(
        max_epochs=runs.EPOCHS, accelerator="cpu", devices=2, strategy=strategy, logger=False, enable_progress_bar=False,
        callbacks=[saves, CoresetCallback()],
    )  # fmt: skip
    last = folder / "last.ckpt"
    trainer.fit(job, datamodule=data, ckpt_path=last if last.exists() else None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
