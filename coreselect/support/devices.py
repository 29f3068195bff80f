"""Devices: one sentence for a name that PyTorch does not know or a device that is not here, and arrays from any device."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import RequirementError


def device_of(given: torch.device | str) -> torch.device:
    """Return the device of that name.

    Raises:
        RequirementError: PyTorch knows no such device.
    """
    try:
        return torch.device(given)
    except (RuntimeError, TypeError) as why:
        raise RequirementError(f"device={given!r} is no device: give 'cpu', 'cuda', 'cuda:1' or the like.") from why


def usable_device(given: torch.device | str) -> torch.device:
    """Return the device of that name, with its number.

    Raises:
        RequirementError: PyTorch knows no such device, or cannot use it on this machine.
    """
    device = device_of(given)
    try:
        made = torch.ones(1, device=device)
        made.item()  # there are devices that hold no numbers
        return made.device
    except Exception as why:  # each kind of device fails in its own way
        raise RequirementError(
            f"there is no device {device} here that PyTorch can use: give 'cpu', or another."
        ) from why


def is_on(own: torch.device, asked: torch.device) -> bool:
    """Return whether a device is the one that is asked for; without a number, the current one of its kind is asked for.

    Raises:
        RequirementError: PyTorch cannot use the device that is asked for.
    """
    if own.type != asked.type:
        return False
    return own.index == asked.index or own == usable_device(asked)


def device_for(model: Any, given: torch.device | str | None) -> torch.device | None:
    """Return the device to which batches for a model go; None leaves them where they are.

    Args:
        model: a module, or anything without parameters, which fits every device.
        given: None means the device of the model, where all its parameters are on one.
    Raises:
        RequirementError: PyTorch cannot use the device, or no parameter of the model is there.
    """
    held = {p.device for p in model.parameters()} if hasattr(model, "parameters") else set()
    if given is None:
        return held.pop() if len(held) == 1 else None
    device = usable_device(given)
    if held and device not in held:
        raise RequirementError(
            f"device={given} and the model is on {min(map(str, held))}: move the model there, or leave device out."
        )
    return device


def moved(t: Tensor, device: torch.device | str | None) -> Tensor:
    """Move a tensor to a device; from pinned memory, without waiting for the copy. None leaves it where it is."""
    return t.to(device, non_blocking=t.device.type == "cpu" and t.is_pinned())


def sent(t: Tensor, device: torch.device) -> Tensor:
    """Copy a small tensor of the CPU to a device, and wait for nothing that the device is doing."""
    if t.device.type != "cpu" or device.type == "cpu":
        return t.to(device)
    return (t.pin_memory() if device.type == "cuda" else t).to(device, non_blocking=True)


def host_array(values: Any) -> NDArray[Any]:
    """Return values as an array of numpy; tensors, and tensors in a list, may be on any device. bfloat16 becomes float32.

    Raises:
        ValueError: a list holds rows of different lengths.
    """
    if isinstance(values, Tensor):
        return np.asarray((values.float() if values.dtype == torch.bfloat16 else values).detach().cpu())
    if isinstance(values, list | tuple) and any(isinstance(v, Tensor) and v.device.type != "cpu" for v in values):
        values = [v.detach().cpu() if isinstance(v, Tensor) else v for v in values]
    return np.asarray(values)
