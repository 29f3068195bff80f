"""Commands under `torchrun`: rank 0 writes and speaks, and the others are silent; they work as a group, or each by itself."""

import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

import torch
import torch.distributed as dist
from typer import BadParameter

from coreselect.cli.device import device_on
from coreselect.cli.launcher import launched, launched_rank
from coreselect.errors import CoreselectError, CoreselectWarning, RequirementError
from coreselect.support.ranks import TIMEOUT
from coreselect.support.told import is_heard

POLITE = 2.0  # seconds in which rank 0 may say why, before a launcher ends it with the process that ends first


@contextmanager
def as_rank(device: str | None, *, group: bool = True) -> Iterator[torch.device]:
    """Join the group of the launcher, if there is one, and give the device of this process.

    Without a launcher it is the device that was asked for, or the first GPU if there is one. A process of a launcher takes the
    GPU with its local rank. Processes other than rank 0 write nothing to stdout and show no notes. They end with exit code 1
    and say nothing where rank 0 says why.

    Args:
        device: as the user names it, or None.
        group: whether the processes form a torch process group; else each works as if it were alone.
    Raises:
        RequirementError: a GPU is named by its number under a launcher, or there are fewer GPUs than local ranks.
    """
    if launched() == 1:
        yield device_on(device)
        return
    here, silent = _device_of_rank(device), launched_rank() != 0
    if group:
        dist.init_process_group("nccl" if here.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        with (
            open(os.devnull, "w") as nowhere,
            redirect_stdout(nowhere if silent else sys.stdout),
            warnings.catch_warnings(),
        ):
            if silent:
                warnings.simplefilter("ignore", CoreselectWarning)
            yield here
    except (CoreselectError, BadParameter) as why:
        if not silent or not (isinstance(why, BadParameter) or is_heard(why)):
            raise
        if not group:
            time.sleep(POLITE)
        raise SystemExit(getattr(why, "exit_code", 1)) from why
    finally:
        with suppress(Exception):  # another rank may have ended, or there is no group
            dist.destroy_process_group()


def _device_of_rank(device: str | None) -> torch.device:
    """Return the device of a process of a launcher: the GPU with its local rank, or the CPU."""
    here = device_on(device)
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if here.index is not None:
        raise RequirementError(
            f"under torchrun the local rank decides the device, got {device}: give {here.type} alone."
        )
    if here.type == "cuda":
        if local >= torch.cuda.device_count():
            raise RequirementError(
                f"local rank {local} needs a GPU of its own, and there are {torch.cuda.device_count()}: start fewer processes."
            )
        here = torch.device("cuda", local)
        torch.cuda.set_device(here)
    return here
