"""Checks of the inputs and labels that reach a model, and their move to its device and precision."""

from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.data.labels import one_based, why_unlabelled
from coreselect.errors import NonFiniteError, RequirementError, ShapeError, first_few
from coreselect.losses.targets import for_loss
from coreselect.protocols import Loss
from coreselect.support.devices import moved
from coreselect.support.late_checks import check_late
from coreselect.support.structure import described, leaves, mapped


def digest(x: Any) -> bytes:
    """Return a digest of the bytes of one input: equal digests in two datasets mean a shared input."""
    out = blake2b(digest_size=16)
    for part in leaves(x):
        plain = part.detach().cpu().contiguous().reshape(-1).view(torch.uint8)  # numpy has no bfloat16
        out.update(plain.numpy().tobytes())
    return out.digest()


def in_precision(x: Any, dtype: torch.dtype) -> Any:
    """Give floating-point inputs the precision of the model, on the device where they are."""
    return mapped(lambda t: t.to(dtype) if t.is_floating_point() else t, x)


def to_device(x: Any, device: torch.device) -> Any:
    """Move tensors to a device; from pinned memory, without waiting for the copy."""
    return mapped(lambda t: moved(t, device), x)


def finite_examples(x: Any) -> Tensor:
    """Return which examples of [B, …] hold only finite numbers: bool [B]."""
    parts = [torch.isfinite(t).reshape(len(t), -1).all(dim=1) for t in leaves(x) if t.is_floating_point()]
    first = leaves(x)[0]
    return torch.stack(parts).all(dim=0) if parts else torch.ones(len(first), dtype=torch.bool, device=first.device)


def refuse_inputs(positions: NDArray[np.int64], x: Any, where: str = "pool") -> None:
    """Refuse inputs with values that are not finite.

    Args:
        positions: int64 [B], the positions that a message names.
        x: [B, …], or a dictionary, list or tuple of such tensors.
        where: the dataset that a message names.
    Raises:
        ShapeError: a tensor has another number of examples.
        NonFiniteError: inputs hold NaN or infinity; `indices` are their positions.
    """
    lengths = {len(t) if t.dim() else 0 for t in leaves(x)}
    if lengths != {len(positions)}:
        raise ShapeError(
            f"{where} inputs of {len(positions)} items came as tensors of {sorted(lengths)}: return tensors [B, …] from unpack=."
        )

    def check(finite: Tensor) -> None:
        if not bool(finite.all()):
            bad = sorted(positions[(~finite).numpy()].tolist())
            raise NonFiniteError(
                f"{len(bad)} {where} inputs hold NaN or infinity (positions {first_few(bad)}): remove or correct them.",
                bad,
            )

    check_late(finite_examples(x), check)


def refuse_features(positions: NDArray[np.int64], features: Any, where: str = "pool") -> None:
    """Refuse features that are not finite; `where` is the dataset that a message names.

    Raises:
        NonFiniteError: features hold NaN or infinity; `indices` are the positions.
    """

    def check(finite: Tensor) -> None:
        if not bool(finite.all()):
            bad = sorted(positions[(~finite).numpy()].tolist())
            raise NonFiniteError(
                f"the model gives features that are not finite for {len(bad)} {where} examples (positions {first_few(bad)}): "
                "look whether it has diverged.",
                bad,
            )

    check_late(finite_examples(features), check)


def refuse_attack(x: Any, where: str = "pool", *, inside: bool = True) -> None:
    """Refuse inputs that an attack cannot change: anything but one floating-point tensor.

    Args:
        inside: whether the attack could act inside the model.
    Raises:
        ShapeError: the inputs are integers, or several tensors.
    """
    if isinstance(x, Tensor) and x.is_floating_point():
        return
    ways = "use a loss that attacks nothing (loss='ce', or your own) and a method without attacks"
    if inside:
        ways = f"attack the output of a submodule (attack_at='embeddings', for example), or {ways}"
    if isinstance(x, Tensor):
        raise ShapeError(
            f"{where} inputs are {x.dtype}, and an attack needs floating-point images in [0, 1]: convert them in the dataset, "
            f"or {ways}."
        )
    raise ShapeError(f"{where} inputs are {described(x)}, and an attack changes one floating-point tensor: {ways}.")


def targets_for(loss: Loss, given: Any, n: int, dataset: Any, where: str = "pool") -> Any:
    """Return the targets of n items as the loss reads them; None for a loss without labels, if there are none.

    Args:
        given: as the items carry them.
        dataset: what the items come from; `where` is its name in a message.
    Raises:
        RequirementError: the loss needs labels and there are none, or class numbers and the targets are something else.
        DataError: the loss needs class numbers, and they are fractions.
    """
    labels = for_loss(loss, given, n)
    if not loss.needs_labels or labels is not None:
        return labels
    if given is None:
        raise RequirementError(
            f"the loss {loss.name!r} needs labels and the {where}'s items have none{why_unlabelled(dataset)}: give (x, y) items, "
            "or unpack=."
        )
    raise RequirementError(
        f"the loss {loss.name!r} needs class numbers, and the {where}'s targets are {described(given)}: "
        "give items that are (x, class number), or a loss that reads these targets."
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
