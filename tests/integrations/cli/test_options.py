"""The names that the help lists without loading anything are those that the library knows."""

import pytest

from coreselect.cli.select import PRECISIONS, select
from coreselect.losses import LOSSES
from coreselect.objectives import OBJECTIVES
from coreselect_integrations.cli import fidelity, finetune
from coreselect_integrations.cli.compare_study import CURVES
from coreselect_integrations.cli.options import MODE_NAMES, SYSTEM_NAMES
from coreselect_integrations.cli.train import train
from coreselect_integrations.finetuning import MODES
from coreselect_integrations.networks import ARCHITECTURES
from coreselect_integrations.pretraining import settings, warmup
from coreselect_integrations.training.optimisers import OPTIMISERS


def help_text(command: object, option: str) -> str:
    """The help text of an option of a command."""
    return command.__annotations__[option].__metadata__[0].help


def test_names_are_those_of_the_library() -> None:
    """Systems, ways of fine-tuning, precisions, and the losses of a warm-up."""
    assert tuple(settings.SYSTEMS) == SYSTEM_NAMES
    assert tuple(MODES) == MODE_NAMES
    assert tuple(settings.PRECISIONS) == PRECISIONS
    assert warmup.LOSSES == fidelity.LOSSES
    assert {*finetune.ATTACKED} == {m for m in finetune.ALL if m not in MODES or MODES[m].attack is not None}


@pytest.mark.parametrize(
    ("command", "option", "names"),
    [
        (select, "loss", LOSSES), (select, "objective", OBJECTIVES), (select, "arch", ARCHITECTURES),
        (train, "arch", ARCHITECTURES), (train, "optimiser", OPTIMISERS), (train, "curve", (*CURVES, "stairs")),
    ],
)  # fmt: skip
def test_the_help_of_an_option_lists_every_name(command: object, option: str, names: tuple[str, ...]) -> None:
    """A new loss, objective, network, optimiser or curve is missing in the help until it is added there."""
    assert all(name in help_text(command, option) for name in names)
