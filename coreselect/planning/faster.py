"""Which precision makes an attack faster on this machine: a few timed passes of the first batch.

The answer depends on the machine and on what else it does, and so would a selection. Therefore nobody is asked this by
default: a command line asks by `--precision auto`, and the precision that was taken is printed and recorded by its name.
"""

from contextlib import nullcontext
from statistics import median

import torch
from torch import Tensor

from coreselect.network.precision import DTYPES
from coreselect.planning.timing import seconds_spent
from coreselect.support.collectives import of_rank_0
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.task import Task

TRIES = 3
PAYS = 0.9  # of the time in full precision: less is no noise


def faster_precision(task: Task, seed: int = 0) -> tuple[str, float]:
    """Return the name of the precision for the attack of a task, and a pass's time in bfloat16 ÷ in full precision.

    Full precision is kept unless bfloat16 saves a tenth. In a process group all ranks get the answer of rank 0.

    Args:
        task: of a model on images.
        seed: of the pool's items.
    """
    with task.snapshot(seed, 0) as shot:
        assert isinstance(shot, ModelSnapshot)
        _, x, _ = next(shot.opened.inputs(raw=True))
        if not (isinstance(x, Tensor) and x.is_floating_point()):
            return "fp32", 1.0
        seconds: dict[str, list[float]] = {name: [] for name in DTYPES}
        for _ in range(1 + TRIES):
            for name, dtype in DTYPES.items():
                seconds[name].append(sum(seconds_spent(shot, lambda dtype=dtype: _pass(shot, x, dtype)).values()))
    ratio = of_rank_0(
        median(seconds["bf16"][1:]) / max(median(seconds["fp32"][1:]), 1e-9)
    )  # the first pass chooses kernels
    return ("bf16" if ratio < PAYS else "fp32"), ratio


def _pass(shot: ModelSnapshot, x: Tensor, dtype: torch.dtype | None) -> None:
    """Run one step of an attack: forward, and backward to the inputs."""
    here = x.detach().requires_grad_()
    lowered = nullcontext() if dtype is None else torch.autocast(x.device.type, dtype=dtype, cache_enabled=False)
    with torch.enable_grad(), lowered:
        torch.autograd.grad(shot.outputs(here).float().sum(), here)
