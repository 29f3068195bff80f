"""How `coreselect select` runs its passes: the layout of the user's network, and the precision of the attack."""

from dataclasses import replace

import torch
from rich.console import Console
from torch import Tensor

from coreselect.cli.options import AUTO
from coreselect.network.placing import placed
from coreselect.network.precision import attack_in
from coreselect.planning.faster import faster_precision
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.task import ModelTask


def _lay_out(task: ModelTask, seed: int) -> None:
    """Put the convolutions of a user's network into channels_last, where its code runs in that layout; else leave them."""
    with task.snapshot(seed, 0) as shot:
        assert isinstance(shot, ModelSnapshot)
        x = shot.opened.probe()
        if not (isinstance(x, Tensor) and x.is_floating_point()):
            return
        placed(shot.model, None)
        try:
            here = x.detach().clone().requires_grad_()
            torch.autograd.grad(task.call(shot.model, here, "adversarial").sum(), here)
        except RuntimeError:  # such as x.view(len(x), -1), which needs channels far apart
            shot.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def prepared(task: ModelTask, precision: str | None, seed: int, talk: Console | None, *, own: bool) -> ModelTask:
    """Return the task with its attack in a precision; `auto` times both and says which name gives the same selection again.

    Args:
        precision: None is fp32.
        talk: None where nothing is said.
        own: whether the network is a user's, whose layout is not known to be the fast one.
    """
    if own:
        _lay_out(task, seed)
    if task.attack is None:
        return task
    if precision == AUTO:
        precision, ratio = faster_precision(task, seed)
        if talk is not None:
            said = f"--precision {precision}, which gives this selection again: a pass in bf16 took {ratio:.2f} of the time of fp32"
            talk.print(said, markup=False)
    return replace(task, attack=attack_in(task.attack, precision or "fp32"))
