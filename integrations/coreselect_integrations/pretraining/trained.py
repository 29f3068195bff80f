"""The settings under which a saved network was trained: those in its file, or those that fit a published checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from coreselect.errors import RequirementError
from coreselect.network.placing import placed
from coreselect.protocols import Attack, Call, Loss, MakeViews
from coreselect_integrations.networks import (
    HEADLESS,
    PUBLISHED,
    NetworkSpec,
    RoutedNetwork,
    Saved,
    network_file,
    open_network,
    restore,
    route_call,
)
from coreselect_integrations.own_code import admit
from coreselect_integrations.pretraining.dataset_shape import check_images
from coreselect_integrations.pretraining.presets import PRESETS
from coreselect_integrations.pretraining.settings import OLD_DEFAULTS, SETTING_NAMES, Settings

OWN = {"model": "arch", "loss": "own_loss", "views": "own_views"}  # option → the setting that names the user's code
EPOCH = "epoch"  # in `Saved.about` of a snapshot


def settings_of_network(saved: Saved, path: str | Path | None = None) -> Settings:
    """Return the settings that `coreselect train` wrote beside the weights, or those of the preset that fits a published file.

    Raises:
        RequirementError: the file is of no such run.
    """
    known: Mapping[str, Any] = {**OLD_DEFAULTS, **saved.about}
    if "system" not in known and PUBLISHED in known:
        return PRESETS[likely_preset(saved.spec)]
    if not set(SETTING_NAMES) <= set(known):
        why = f"{path} does not say how it was trained: --from takes the model.pt that `coreselect train` ends with."
        raise RequirementError(why)
    own = {name: known[name] for name in SETTING_NAMES}
    return Settings(**{**own, "milestones": tuple(own["milestones"])})


def epoch_of(saved: Saved, settings: Settings) -> int:
    """Return the epoch, from 0, after which a network was saved: that of a snapshot, or the last of its run."""
    return int(saved.about.get(EPOCH, settings.epochs - 1))


def likely_preset(spec: NetworkSpec) -> str:
    """Return the preset of the published program that trains such a network; another can be named to `coreselect convert`."""
    data = "imagenet32" if spec.arch == "wrn28_10" else "cifar10"
    if spec.projection is None:
        return f"{data}-sat"
    return f"{data}-acl" if spec.dual_bn else f"{data}-cl"


@dataclass(frozen=True)
class Trained:
    """A saved network with the loss, attack and views of the last epoch of its training: what a selection needs.

    `said` is one line for the user, `record` goes into `--json`; `lines` say what was recognised in a published file;
    `validation` and `seed` say which images training held out.
    """

    model: RoutedNetwork
    loss: Loss
    attack: Attack | None
    call: Call
    views: MakeViews | None
    said: str
    record: Mapping[str, Any]
    lines: tuple[str, ...]
    validation: float
    seed: int


def open_trained(
    path: str | Path,
    dataset: Any,
    data: str,
    device: torch.device,
    own: Mapping[str, str | None] = MappingProxyType({}),
) -> Trained:
    """Open a saved network for a selection: it has the loss, the views and their strength of the last epoch of its run.

    Args:
        path: `model.pt` of `coreselect train`, the folder of such a run, or a published checkpoint.
        dataset: the images to choose from; only the first is read, for its shape.
        data: their name, in messages.
        device: where the network is moved.
        own: code of the user's that took part in the training, `model`, `loss` and `views`, as `file.py:name`.
    Raises:
        DataError: there is no network, or the images do not fit it.
        RequirementError: the file does not say how the network was trained, or was trained by other code.
    """
    path = network_file(path)
    given = {OWN[word]: admit(spec, word) for word, spec in own.items() if spec is not None}
    saved, lines = open_network(path)
    settings = settings_of_network(saved, path)
    for name, code in given.items():
        if getattr(settings, name) != code:
            why = f"{path} was trained with {name} {getattr(settings, name) or 'of its system'}, not with {code}: leave that out."
            raise RequirementError(why)
    if saved.about.get(HEADLESS):
        why = f"{path} holds no head, and a selection compares gradients of the head: give a checkpoint with its head."
        raise RequirementError(why)
    check_images(dataset, saved.spec, data)
    if settings.flip is None:
        settings = replace(settings, flip=saved.spec.channels > 1)
    last = epoch_of(saved, settings)
    attack = replace(settings, select_attack_steps=None).select_attack
    which = "the last epoch" if last == settings.epochs - 1 else f"epoch {last + 1} of {settings.epochs}"
    said = f"{saved.spec.arch} of {path}, as in {which} of {settings.system}"
    record = {"from": str(path), "system": settings.system, "arch": saved.spec.arch}
    return Trained(
        placed(restore(saved), device).eval(), settings.loss(last), attack, route_call, settings.views(last),
        said, record, lines, settings.validation, settings.seed,
    )  # fmt: skip
