"""What a command line of `coreselect finetune` asks for, and the mode with the published settings that it means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from coreselect.attacks import PGD
from coreselect.budget import Budget
from coreselect.cli.options import AttackOptions, DataOptions, MachineOptions, OwnModelOptions
from coreselect.support.factories import is_spec
from coreselect_integrations.cli.finetune_options import SemiOptions, TuningOptions
from coreselect_integrations.cli.options import TrainingOptions, epochs_in
from coreselect_integrations.finetuning import MODES, Mode
from coreselect_integrations.finetuning.modes import SEMI
from coreselect_integrations.finetuning.post_training import FULL, PROBE
from coreselect_integrations.finetuning.protocols import published, read_preset, target_of, with_loss, with_own_loss
from coreselect_integrations.finetuning.semi_supervised import TEACHERS
from coreselect_integrations.networks import PUBLISHED, Saved
from coreselect_integrations.own_code import admit
from coreselect_integrations.pretraining.own_parts import loss_of
from coreselect_integrations.pretraining.presets import PRESETS
from coreselect_integrations.pretraining.settings import SYSTEMS
from coreselect_integrations.pretraining.trained import likely_preset


@dataclass(frozen=True)
class Request:
    """What a command line of `coreselect finetune` asks for."""

    mode: str
    from_: Path
    out: Path
    images: DataOptions
    training: TrainingOptions
    attack: AttackOptions
    clusters: int
    dual_bn: bool
    rank: int
    flip: bool | None
    seed: int
    machine: MachineOptions
    tuning: TuningOptions
    preset: str | None
    semi: SemiOptions
    own: OwnModelOptions
    keep_every: int = 1

    @property
    def begins_with_own(self) -> bool:
        """Whether the network is that of --model, with the weights of --checkpoint or its own."""
        return self.own.model is not None and self.from_ in (self.own.checkpoint, Path(self.own.model))

    @property
    def pgd(self) -> PGD:
        """The attack: 10 steps of a quarter of the radius, or so many steps of 2.5 radii in all."""
        radius, steps = self.attack.radius or 8 / 255, self.attack.attack_steps
        return PGD(radius, radius / 4, 10) if steps is None else PGD(radius, 2.5 * radius / steps, steps)

    @property
    def teacher(self) -> str:
        """What gives the pseudo-labels of semi."""
        return self.semi.teacher or "sff"

    @property
    def labelled(self) -> Budget:
        """How many images are labelled in semi: a share below 1, or a count."""
        given = 0.1 if self.semi.labelled is None else self.semi.labelled
        return given if given < 1 else int(given)

    @property
    def two_trainings(self) -> tuple[int, int]:
        """The epochs of the two trainings of lpaft or semi: those given are divided as the published ones."""
        how = (PROBE, FULL) if self.mode == "lpaft" else (TEACHERS[self.teacher], SEMI)
        published, epochs = tuple(mode.epochs for mode in how), self.training.epochs
        if epochs is None:
            return published[0], published[1]
        first = max(1, min(epochs - 1, round(epochs * published[0] / sum(published))))
        return first, epochs - first

    def epochs(self, how: Mode | None) -> int:
        """The number of epochs in all; `how` is the mode, None for other ways of fine-tuning."""
        if self.mode in ("lpaft", "semi"):
            return sum(self.two_trainings)
        return self.training.epochs or (50 if how is None or self.mode.startswith("autolora") else how.epochs)


def mode_of(request: Request, saved: Saved, classes: int) -> tuple[Mode | None, str]:
    """Return the mode with its published settings, and what these are called; None for lpaft, semi and autolora.

    Raises:
        typer.BadParameter: an option makes no sense for the mode.
        UnknownNameError: no preset has this name.
    """
    name, own, epochs = request.mode.removeprefix("autolora-"), request.tuning, request.training.epochs
    if name not in MODES:
        return None, ""
    before = _pre_training(saved)
    if request.preset is not None:
        target, system, post = read_preset(request.preset)
    else:
        system, post = before
        target = target_of(saved.spec, classes, request.images.data, _trained_on(saved))
    how = published(name, target, trained_by=system, post=post)
    how = _with_loss(how, own.loss)
    if how.attack is not None and own.loss != "fast-at":
        how = replace(how, attack=request.pgd)
    elif how.attack is not None:
        how = replace(how, attack=PGD(request.pgd.radius, 1.25 * request.pgd.radius, 1))
    changed: dict[str, Any] = {"shape": own.curve, "weight_decay": own.weight_decay}
    if own.milestones is not None:
        changed |= {"milestones": epochs_in(own.milestones), "epochs": epochs or how.epochs}
    how = replace(how, **{key: value for key, value in changed.items() if value is not None})
    if own.milestones is not None and how.shape != "stairs":
        raise typer.BadParameter(
            f"--milestones would be without effect: the curve of {name} is {how.shape}, give --curve stairs."
        )
    if how.shape == "stairs" and any(m >= how.epochs for m in how.milestones):
        raise typer.BadParameter(f"--milestones are below the number of epochs, {how.epochs}, got {own.milestones!r}.")
    said = f"settings of {target} after {system}{'++' if post else ''}, "
    return how, "" if request.mode.startswith("autolora") else said


def check_losses(requests: Sequence[Request]) -> None:
    """Refuse a loss that does not fit one of the modes, before any of them trains.

    Raises:
        RequirementError, ShapeError, UnknownNameError: see `mode_of`.
    """
    for request in requests:
        if request.mode in MODES:
            _with_loss(MODES[request.mode], request.tuning.loss)


def _with_loss(how: Mode, given: str | None) -> Mode:
    """Return the mode with the loss that --loss names: a loss of the user's, or for aff one of ours."""
    if given is not None and is_spec(given):
        name = admit(given, "loss")
        return with_own_loss(how, loss_of(name, attacked=how.attack is not None), name)
    return with_loss(how, given) if how.name == "aff" and given is not None else how


def _pre_training(saved: Saved) -> tuple[str, bool]:
    """Return the system that trained an extractor, and whether the ++ followed it."""
    about, post = saved.about, saved.about.get("mode") == "lpaft"
    if post and isinstance(about.get("from"), Mapping):
        about = about["from"]
    system = about.get("system")
    if system is None and PUBLISHED in about:
        system = PRESETS[likely_preset(saved.spec)].system
    return (str(system) if system in SYSTEMS else "dynacl"), post


def _trained_on(saved: Saved) -> int | None:
    """Return the number of images on which an extractor was trained; None if its file does not say it."""
    about = saved.about
    while isinstance(about.get("from"), Mapping):
        about = about["from"]
    return about.get("pool_size")
