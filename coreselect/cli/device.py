"""The device that a command runs on, checked before any work begins."""

import torch
import typer

from coreselect.errors import RequirementError
from coreselect.support.devices import device_of, usable_device


def device_on(name: str | None) -> torch.device:
    """Return the device of that name; without a name, cuda if there is one, else the CPU.

    Raises:
        typer.BadParameter: no device has such a name.
        RequirementError: this machine has no such device.
    """
    try:
        where = device_of(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RequirementError as why:
        raise typer.BadParameter(f"--device is cpu, cuda, cuda:1 or the like, got {name!r}.") from why
    try:
        usable_device(where)
    except RequirementError as why:
        said = f"there is no device {where} here that PyTorch can use: give --device cpu, or another."
        raise RequirementError(said) from why
    return where
