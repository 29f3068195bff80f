"""A warning where a trainer trains another model than the one with which its sampler selects."""

import warnings
from typing import Any

from torch import nn

from coreselect import CoreselectWarning
from coreselect.network.gathered import is_spread
from coreselect_integrations.frameworks.dealt import EpochSampler


def warn_of_another_model(sampler: EpochSampler, trained: Any) -> None:
    """Warn if the model of the sampler's task shares no parameter with the one in training: selections would not follow it.

    Nothing is said of methods that read no model, of tasks without one, and of models that FSDP has spread.

    Args:
        sampler: of the run.
        trained: the module in training, with all that is around it.
    Warns:
        CoreselectWarning: see above.
    """
    task = getattr(sampler, "task", None)
    model, requires = getattr(task, "model", None), getattr(getattr(sampler, "selector", None), "requires", ())
    if (
        not isinstance(model, nn.Module)
        or not isinstance(trained, nn.Module)
        or not {*requires} - {"labels", "history"}
    ):
        return
    if is_spread(model) or is_spread(trained):
        return
    ours, theirs = ({id(p) for p in m.parameters()} for m in (model, trained))
    if ours and theirs and not ours & theirs:
        warnings.warn(
            f"the sampler selects with a {type(model).__name__} that shares no parameter with the {type(trained).__name__} in "
            "training, so its selections do not follow the training: give Task.from_model the model that is trained.",
            CoreselectWarning,
            stacklevel=3,
        )
