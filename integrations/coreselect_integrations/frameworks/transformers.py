"""Transformers: a `Trainer` that follows a sampler, with the sampler's weights in the loss.

    sampler = CoresetSampler(Task.from_model(model, pool, call=logits_of, loss="ce"), Random(), budget=0.1)
    CoresetTrainer(model, args, train_dataset=pool, eval_dataset=validation, sampler=sampler).train()

The plain `Trainer` reads the length of its loader once. From it follow the number of steps, the schedule of the learning rate, the
end of each epoch, and the epoch in which a run resumes. Here each of them comes from `sampler.lengths`. The state of the sampler
lies in each checkpoint, in `coreset.pt`.
"""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from coreselect import CoreselectWarning, CoresetSampler
from coreselect.errors import RequirementError
from coreselect_integrations.frameworks.accelerate import prepare_loader
from coreselect_integrations.frameworks.dealt import EpochSampler
from coreselect_integrations.frameworks.epoch_steps import EpochSteps
from coreselect_integrations.frameworks.positions import POSITION, WithPositions
from coreselect_integrations.frameworks.same_model import warn_of_another_model
from coreselect_integrations.frameworks.weighted import weighted_mean

FILE = "coreset.pt"
Losses = Callable[[Any, dict[str, Any]], Tensor]  # (outputs, inputs) -> [B]


def logits_of(model: nn.Module, x: Any, route: str) -> Tensor:
    """Return the logits of a model of Transformers, for `Task.from_model(..., call=logits_of)`."""
    return (model(**x) if isinstance(x, dict) else model(x)).logits


def classification_losses(
    outputs: Any, inputs: dict[str, Any], label_smoothing: float = 0.0, multi_label: bool = False
) -> Tensor:
    """Return one loss for each example [B]: cross-entropy of logits [B, C] and classes, or squared error of values.

    Args:
        outputs: with `logits`.
        inputs: with `labels`.
        label_smoothing: of the classes, in [0, 1].
        multi_label: whether labels [B, C] in floating point are several labels at once, each with a cross-entropy of its own.
    Raises:
        RequirementError: logits and labels have other shapes, as for tokens, or classes have one logit: give `losses=`.
    """
    z, y = getattr(outputs, "logits", None), inputs.get("labels")
    if z is None:
        raise RequirementError(
            f"the model returns a {type(outputs).__name__} without logits: leave return_dict=True in its configuration, or give "
            "CoresetTrainer(losses=...), a function of (outputs, inputs) that returns one loss for each example."
        )
    if y is None:
        raise RequirementError(
            f"a batch has no labels, only {sorted(inputs)}: name its classes 'labels', or give CoresetTrainer(losses=...)."
        )
    if z.ndim == 2 and y.ndim == 1 and not y.is_floating_point() and z.shape[1] > 1:
        return F.cross_entropy(z, y, reduction="none", label_smoothing=label_smoothing)
    if y.is_floating_point() and z.reshape(len(z), -1).shape == y.reshape(len(y), -1).shape:
        z, y = z.reshape(len(z), -1), y.reshape(len(y), -1)
        if multi_label:
            return F.binary_cross_entropy_with_logits(z, y, reduction="none").mean(1)
        return (z - y).square().mean(1)
    raise RequirementError(
        f"logits {tuple(z.shape)} and labels {tuple(y.shape)} ({y.dtype}) are no classes or values of whole examples: give "
        "CoresetTrainer(losses=...), a function of (outputs, inputs) that returns one loss for each example."
    )


class SamplerCallback(TrainerCallback):
    """Tell the sampler each epoch, and save its state beside each checkpoint.

    `CoresetTrainer` adds it. With another trainer it must come with a loader of constant length.

    Args:
        sampler: which `Trainer.state.epoch` is told to.
    """

    def __init__(self, sampler: EpochSampler) -> None:
        self.sampler = sampler
        self.done_before = 0  # steps of the next epoch that a run has taken before it stopped
        self._first = 0  # the first step of the epoch

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set the epoch, which may select."""
        self._first, self.done_before = state.global_step - self.done_before, 0
        self.sampler.set_epoch(int(state.epoch or 0))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the state of the sampler and of its task's history into the checkpoint."""
        if args.should_save:
            history = _history(self.sampler)
            found = {
                "sampler": self.sampler.state_dict(),
                "history": history and history.state_dict(),
                "done": state.global_step - self._first,
            }
            torch.save(found, Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}" / FILE)


class CoresetTrainerMixin:
    """A mix-in for `Trainer` and its subclasses: `class Mine(CoresetTrainerMixin, Seq2SeqTrainer)`.

    Args:
        sampler: over `train_dataset`; its task's model is the model in training.
        losses: (outputs, inputs) → one loss for each example [B], on which weights and the methods of training dynamics work.
            None: `classification_losses`, with the arguments' label smoothing and the problem of the model's configuration.
        args, kwargs: of the trainer.
    Raises:
        RequirementError: the trainer has a loss of its own (`compute_loss_func`), or label smoothing for `losses`.
    """

    loss_is_scaled_for_ga = False  # the loss is a mean over a batch

    def __init__(self, *args: Any, sampler: EpochSampler, losses: Losses | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        smoothing: float = self.args.label_smoothing_factor  # type: ignore[attr-defined]  # of Trainer, as all that follows
        if self.compute_loss_func is not None or (losses is not None and smoothing):  # type: ignore[attr-defined]
            raise RequirementError(
                "CoresetTrainer weights the losses of single examples: give losses=, a function of (outputs, inputs) that "
                "returns [B], in place of compute_loss_func and label_smoothing_factor."
            )
        self.sampler = sampler
        self.losses: Losses = losses or partial(
            classification_losses,
            label_smoothing=smoothing,
            multi_label=_several_labels(self.model),  # type: ignore[attr-defined]
        )
        strategy = getattr(self.args, "train_sampling_strategy", "random")  # type: ignore[attr-defined]
        if strategy != "random":
            warnings.warn(
                f"train_sampling_strategy={strategy!r} has no effect: the sampler says in which order examples are seen.",
                CoreselectWarning,
                stacklevel=2,
            )
        self._told = SamplerCallback(sampler)
        self.add_callback(self._told)  # type: ignore[attr-defined]

    def get_train_dataloader(self) -> Any:
        """Return the trainer's loader, with the sampler in place of its own; batches carry their positions."""
        warn_of_another_model(self.sampler, self.model)  # type: ignore[attr-defined]
        own = super().get_train_dataloader()  # type: ignore[misc]
        names = (
            "num_workers",
            "pin_memory",
            "worker_init_fn",
            "prefetch_factor",
            "persistent_workers",
            "multiprocessing_context",
        )
        options = {name: getattr(own, name) for name in names} | {"drop_last": self._steps.drop_last}
        return prepare_loader(
            self.accelerator,  # type: ignore[attr-defined]
            self.sampler,
            own.dataset,
            batch_size=self._steps.batch_size,
            collate_fn=WithPositions(own.collate_fn),
            **options,
        )

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the weighted mean of the examples' losses in training, and the trainer's own loss in evaluation."""
        positions = inputs.pop(POSITION, None)
        if positions is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[misc]
        outputs = model(**inputs)
        logits, labels = getattr(outputs, "logits", None), inputs.get("labels")
        if logits is None or logits.ndim != 2 or labels is None or labels.is_floating_point() or labels.ndim != 1:
            logits = labels = None
        loss = weighted_mean(self.sampler, positions, self.losses(outputs, inputs), logits, labels)
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with `coreset_examples`, over all ranks, and `coreset_round` (−1: the whole pool)."""
        if self.sampler.epoch is not None:
            logs["coreset_examples"] = len(self.sampler) * self.sampler.world_size
            if isinstance(self.sampler, CoresetSampler):
                round = self.sampler.round_of(self.sampler.epoch)
                logs["coreset_round"] = -1 if round is None else round
        super().log(logs, start_time)  # type: ignore[misc]

    @property
    def _steps(self) -> EpochSteps:
        args: Any = self.args  # type: ignore[attr-defined]
        size = self._train_batch_size  # type: ignore[attr-defined]
        return EpochSteps(self.sampler, size, args.gradient_accumulation_steps, args.dataloader_drop_last)

    def set_initial_training_values(self, args: Any, dataloader: Any) -> Any:
        """Return the trainer's numbers of epochs and steps, with the true number of steps."""
        first = super().set_initial_training_values(args, dataloader)  # type: ignore[misc]
        _, steps, examples, _, size, batches, _ = first
        if args.max_steps > 0:
            epochs, total = self._steps.epochs_for(args.max_steps), args.max_steps
        else:
            epochs, total = -int(-args.num_train_epochs // 1), self._steps.total(args.num_train_epochs)
        return epochs, steps, examples, total * size, size, batches, total

    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: str | None,
        trial: Any,
    ) -> tuple[int, int]:
        """Find the epoch and the batch in which a run resumes, and load the sampler's state."""
        checkpoint = resume_from_checkpoint
        place = super()._init_training_state(  # type: ignore[misc]
            max_steps, num_update_steps_per_epoch, num_train_epochs, checkpoint, trial
        )
        if checkpoint is None:
            return place
        args: Any = self.args  # type: ignore[attr-defined]
        file = Path(checkpoint) / FILE
        if not file.exists():
            raise RequirementError(
                f"{checkpoint} has no {FILE}: resume from a checkpoint that CoresetTrainer has written."
            )
        found, history = torch.load(file, weights_only=True), _history(self.sampler)
        self.sampler.load_state_dict(found["sampler"])
        if history is not None and found["history"] is not None:
            history.load_state_dict(found["history"])
        epoch, done = found["sampler"]["epoch"], found["done"]
        if done >= self._steps.steps(epoch + 1)[-1]:
            epoch, done = epoch + 1, 0
        self._told.done_before = done
        return epoch, 0 if args.ignore_data_skip else done * args.gradient_accumulation_steps

    def _run_epoch(self, *args: Any, epoch: int, **given: Any) -> None:
        """Run an epoch with its own numbers of batches and steps."""
        given["steps_in_epoch"] = self._steps.batches(epoch + 1)[-1]
        given["num_update_steps_per_epoch"] = self._steps.steps(epoch + 1)[-1]
        super()._run_epoch(*args, epoch=epoch, **given)  # type: ignore[misc]


class CoresetTrainer(CoresetTrainerMixin, Trainer):
    """`transformers.Trainer` with a `sampler`; see `CoresetTrainerMixin`."""


def _several_labels(model: Any) -> bool:
    """Return whether the model takes labels in floating point for several labels at once, as models of Transformers decide it."""
    config = getattr(model, "config", None)
    kind, width = getattr(config, "problem_type", None), getattr(config, "num_labels", 1)
    return kind == "multi_label_classification" or (kind is None and width > 1)


def _history(sampler: EpochSampler) -> Any:
    return sampler.task.history if isinstance(sampler, CoresetSampler) else None
