"""Checks of the inputs and labels that reach a model, and their move to its device and precision."""

from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.data.labels import one_based
from coreselect.errors import NonFiniteError, ShapeError, first_few


def digest(x: Tensor) -> bytes:
    """Return a digest of the bytes of one input: equal digests in two datasets mean a shared input."""
    plain = x.detach().cpu().contiguous().reshape(-1).view(torch.uint8)  # numpy has no bfloat16
    return blake2b(plain.numpy().tobytes(), digest_size=16).digest()


def to_model(x: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Move inputs to the device of the model; floating-point inputs also take its precision."""
    return x.to(device=device, dtype=dtype) if x.is_floating_point() else x.to(device)


def refuse_inputs(positions: NDArray[np.int64], x: Tensor, where: str = "pool") -> None:
    """Refuse inputs without a gradient, or with values that are not finite.

    Args:
        positions: int64 [B], the positions that a message names.
        x: [B, …].
        where: the dataset that a message names.
    Raises:
        ShapeError: the inputs are not floating-point numbers.
        NonFiniteError: inputs hold NaN or infinity; `indices` are their positions.
    """
    if not x.is_floating_point():
        raise ShapeError(
            f"{where} inputs are {x.dtype}, floating-point images in [0, 1] are needed: convert them in the dataset."
        )
    finite = torch.isfinite(x).flatten(1).all(dim=1)
    if not bool(finite.all()):
        bad = sorted(positions[(~finite).cpu().numpy()].tolist())
        raise NonFiniteError(
            f"{len(bad)} {where} inputs hold NaN or infinity (positions {first_few(bad)}): remove or correct them.", bad
        )


def out_of_range(labels: Tensor, outputs: int) -> Tensor:
    """Return which labels have no output: bool [B]."""
    return (labels < 0) | (labels >= outputs)


def refuse_labels(positions: NDArray[np.int64], labels: Tensor, outputs: int, where: str = "pool") -> None:
    """Refuse labels without an output, where a model has several; −100, which torch would ignore, is one of them.

    Raises:
        ShapeError: a label lies outside 0…outputs − 1.
    """
    wrong = out_of_range(labels, outputs).cpu().numpy()
    if outputs > 1 and wrong.any():
        bad = positions[wrong].tolist()
        raise ShapeError(
            f"{len(bad)} {where} labels lie outside 0…{outputs - 1}, the model's outputs (positions {first_few(sorted(bad))})"
            f"{one_based(labels.detach().cpu().numpy(), outputs)}: "
            "number the classes from 0, or widen the head."
        )
