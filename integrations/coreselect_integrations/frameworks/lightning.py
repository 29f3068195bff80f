"""PyTorch Lightning: a data module that owns the sampler, and a callback that shows what it does.

    sampler = CoresetSampler(Task.from_model(module.net, pool, validation), RCS(), budget=0.1)
    data = CoresetDataModule(sampler, pool, validation, batch_size=32)
    Trainer(max_epochs=100, callbacks=[CoresetCallback()]).fit(module, datamodule=data)

Lightning reads the length of a loader once, puts its own sampler around one that it does not know, and counts batches alone when
it resumes. The data module makes a loader for each epoch instead: the epoch is told before its length is read, the sampler deals
out to ranks itself, a resumed epoch begins where it stopped, and the sampler lies in Lightning's checkpoint.
"""

import warnings
from collections.abc import Mapping
from typing import Any, cast

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader

from coreselect import CoreselectWarning, CoresetSampler
from coreselect.errors import ScheduleError
from coreselect_integrations.frameworks.dealt import EpochSampler, check_shares, dealt_loader
from coreselect_integrations.frameworks.epoch_steps import EpochSteps
from coreselect_integrations.frameworks.same_model import warn_of_another_model
from coreselect_integrations.frameworks.selection_bar import Shown, describe
from coreselect_integrations.frameworks.weighted import weighted_mean


class _Loader(DataLoader[Any]):
    """A loader that Lightning takes for one that can resume; the data module knows the batch from Lightning's own count."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take nothing."""


class CoresetDataModule(pl.LightningDataModule):
    """A data module whose training loader follows a sampler; batches end with the positions of their examples in the pool.

    It asks the trainer to make its loaders anew in each epoch. Lightning's own sampler still deals out the validation set.

    Args:
        sampler: with the schedule; its task's model is the module in training, or a part of it.
        pool: the dataset that the sampler's positions count in, with any augmentation.
        validation: for the validation loader; None: override `val_dataloader`, or do not validate.
        batch_size: of each process, ≥ 1.
        validation_batch_size: of each process; None: `batch_size`.
        options: of both loaders: num_workers, collate_fn, pin_memory, …; `drop_last` counts for training only.
    Raises:
        ScheduleError: batch_size is below 1.
    """

    def __init__(
        self,
        sampler: EpochSampler,
        pool: Any,
        validation: Any = None,
        *,
        batch_size: int,
        validation_batch_size: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ScheduleError(f"a data module needs batch_size ≥ 1, got {batch_size}.")
        self.sampler, self.pool, self.validation = sampler, pool, validation
        self.batch_size, self.validation_batch_size, self.options = batch_size, validation_batch_size, options
        self._loaded: int | None = None  # the epoch of a checkpoint, until Lightning's own count has come so far
        self._resumed: tuple[int, int] | None = (
            None  # the epoch in the middle of which a run resumed, and its batches done
        )
        self._warned = False

    def train_dataloader(self) -> DataLoader[Any]:
        """Tell the sampler its epoch, which may select, and return a loader of that epoch.

        Raises:
            ScheduleError: the trainer has `overfit_batches`, which replaces the sampler; the sampler deals to another number
                of processes than train; or see `sampler.set_epoch`.
        Warns:
            CoreselectWarning: a schedule spans as many steps as Lightning has guessed, or the sampler selects with another model.
        """
        start, trainer = 0, cast(Any, self.trainer)  # whose attributes Lightning sets from elsewhere
        if trainer is not None:
            if trainer.overfit_batches:
                raise ScheduleError(
                    f"Trainer(overfit_batches={trainer.overfit_batches}) replaces the sampler by the first examples of "
                    "the pool: use limit_train_batches."
                )
            check_shares(self.sampler, (trainer.distributed_sampler_kwargs or {}).get("num_replicas", 1))
            if self.sampler.epoch is None:  # no epoch was told yet
                warn_of_another_model(self.sampler, trainer.lightning_module)
            trainer.reload_dataloaders_every_n_epochs = 1  # Lightning reads lengths only when it makes loaders
            epoch, done = self._epoch(trainer.fit_loop)
            self._tell(epoch)
            self._check_schedules()
            start = min(done * self.batch_size, len(self.sampler))
        return dealt_loader(
            self.sampler,
            self.pool,
            start=start,
            make=_Loader,
            batch_size=self.batch_size,
            **self.options,
        )

    def val_dataloader(self) -> Any:
        """Return a loader of the validation set, in its order; none without a validation set."""
        if self.validation is None:
            return []
        options = {name: value for name, value in self.options.items() if name != "drop_last"}
        return DataLoader(self.validation, batch_size=self.validation_batch_size or self.batch_size, **options)

    def loss(
        self,
        indices: Tensor,
        losses: Tensor,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        attacked: bool = False,
    ) -> Tensor:
        """Return the weighted mean of a batch's losses, and record the batch: the last line of a `training_step`.

        See `coreselect_integrations.frameworks.weighted.weighted_mean`.
        """
        return weighted_mean(self.sampler, indices, losses, logits, labels, attacked=attacked)

    def total_steps(self) -> int:
        """Return how many steps the optimiser takes in the whole run, for `configure_optimizers`.

        `trainer.estimated_stepping_batches` takes all epochs to be as long as the present one.

        Raises:
            ScheduleError: no trainer is there, or it has no end.
        """
        trainer = self.trainer
        most, epochs = (-1, None) if trainer is None else (trainer.max_steps, trainer.max_epochs)
        if epochs is not None and epochs >= 0:
            steps = self._steps().total(epochs)
            return steps if most < 0 else min(steps, most)
        if most < 0:
            raise ScheduleError(
                "total_steps needs a trainer with max_epochs or max_steps: call it in configure_optimizers."
            )
        return most

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the sampler and of the history, for Lightning's checkpoint."""
        history = self._history()
        return {"sampler": self.sampler.state_dict(), "history": history and history.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the same subset, see `sampler.load_state_dict`."""
        self.sampler.load_state_dict(state_dict["sampler"])
        self._loaded = state_dict["sampler"]["epoch"]
        history = self._history()
        if history is not None and state_dict["history"] is not None:
            history.load_state_dict(state_dict["history"])

    def _history(self) -> Any:
        return self.sampler.task.history if isinstance(self.sampler, CoresetSampler) else None

    def _epoch(self, loop: Any) -> tuple[int, int]:
        """Return the epoch that is due, and how many of its batches were trained on before the run stopped."""
        epoch = loop.epoch_progress.current.processed
        if self._loaded is not None and epoch < self._loaded:
            return self._loaded, 0  # configure_optimizers asks for a loader before Lightning has restored its count
        self._loaded = None
        if loop.restarting and self._resumed is None:
            batches = loop.epoch_loop.batch_progress
            self._resumed = epoch, 0 if batches.is_last_batch else batches.current.processed
        elif not loop.restarting:
            self._resumed = None
        return epoch, self._resumed[1] if self._resumed is not None and self._resumed[0] == epoch else 0

    def _tell(self, epoch: int) -> None:
        """Set the epoch, and show in a progress bar what a selection does."""
        sampler, show = self.sampler, describe(self.trainer)
        if not isinstance(sampler, CoresetSampler) or show is None:
            sampler.set_epoch(epoch)
            return
        task, shown = sampler.task, Shown(show)
        sampler.task = task.reporting(shown)
        try:
            sampler.set_epoch(epoch)
        finally:
            sampler.task = task
            shown.end(f"Epoch {epoch}")

    def _steps(self) -> EpochSteps:
        trainer = cast(Any, self.trainer)
        drop = self.options.get("drop_last", False)
        return EpochSteps(
            self.sampler, self.batch_size, trainer.accumulate_grad_batches, drop, trainer.limit_train_batches
        )

    def _check_schedules(self) -> None:
        """Warn once if a schedule spans what Lightning has guessed from the length of one epoch."""
        trainer = cast(Any, self.trainer)
        schedulers = [c.scheduler for c in trainer.lr_scheduler_configs if c.interval == "step"]
        if self._warned or not schedulers or (trainer.max_epochs or -1) < 0:
            return
        guesses = self._steps().guesses(trainer.max_epochs)
        for span in (vars(s).get(name) for s in schedulers for name in ("total_steps", "T_max", "total_iters")):
            if span in guesses:
                self._warned = True
                warnings.warn(
                    f"a schedule of the learning rate spans {span} steps, as if all epochs were equally long, and this run has "
                    f"{self.total_steps()}: give it self.trainer.datamodule.total_steps() in place of estimated_stepping_batches.",
                    CoreselectWarning,
                    stacklevel=2,
                )
                return


class CoresetCallback(pl.Callback):
    """Show and log in each epoch how many examples it sees and the round of its selection; name weights that nobody asked for.

    The names in the log are `coreset/examples`, over all ranks, and `coreset/round`, −1 for the whole pool.

    Args:
        progress_bar: whether the progress bar shows them.
        logger: whether the trainer's loggers get them.
    """

    def __init__(self, *, progress_bar: bool = True, logger: bool = True) -> None:
        self.progress_bar, self.logger = progress_bar, logger

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a run without a `CoresetDataModule`.

        Raises:
            ScheduleError: the trainer has another data module, or none.
        """
        found = getattr(trainer, "datamodule", None)
        if not isinstance(found, CoresetDataModule):
            raise ScheduleError(
                f"CoresetCallback needs trainer.fit(module, datamodule=CoresetDataModule(...)), and the data module is "
                f"{type(found).__name__}."
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what the epoch sees."""
        sampler = trainer.datamodule.sampler  # type: ignore[attr-defined]  # set by fit
        figures = {"coreset/examples": float(len(sampler) * sampler.world_size)}
        if isinstance(sampler, CoresetSampler):
            round = sampler.round_of(sampler.epoch or 0)
            figures["coreset/round"] = -1.0 if round is None else float(round)
        shown: dict[str, Any] = {"prog_bar": self.progress_bar, "logger": self.logger and bool(trainer.loggers)}
        pl_module.log_dict(figures, on_epoch=True, on_step=False, rank_zero_only=True, **shown)

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warn once if the epoch's examples have weights, and nobody asked for them."""
        trainer.datamodule.sampler.warn_of_unasked_weights()  # type: ignore[attr-defined]
