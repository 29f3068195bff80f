"""Read the tensors of a checkpoint that another program wrote: any form of torch.save, and no code in it is run."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coreselect.errors import DataError
from coreselect.io.weights_file import load_verified

# The state dicts of the published programs and of usual trainers, the first that a file holds is taken.
PARTS = ("state_dict", "model_state_dict", "model", "net", "network", "encoder", "state_dict_dual")
DUAL = (
    "state_dict_dual"  # DynACL++: the same extractor with two sets of normalisations, for adversarial full fine-tuning
)
PLAIN = [Namespace, np.ndarray, np.dtype, np.float64, type(np.dtype(np.float64)), type(np.dtype(np.int64))]


def read_checkpoint(path: str | Path) -> Any:
    """Load what a file holds, on the CPU: a file of `torch.save` or safetensors, with its checksums verified.

    Besides tensors and plain values, only options (`argparse.Namespace`) and numbers of NumPy are accepted.

    Raises:
        DataError: the file is missing, damaged or no checkpoint, or it asks for other code to be run.
        MissingExtraError: it is a file of safetensors, which is not installed.
    """
    scalar = getattr(getattr(np, "_core", None) or np.core, "multiarray").scalar  # noqa: B009  # both names are public in turn
    with torch.serialization.safe_globals([*PLAIN, scalar]):  # type: ignore[list-item]  # functions are accepted too
        return load_verified(Path(path))


def state_dict_in(
    held: Any, path: str | Path, part: str | None = None
) -> tuple[dict[str, Tensor], str | None, list[str]]:
    """Find the state dict in what a checkpoint holds.

    Args:
        held: of `read_checkpoint`.
        path: of the file, in messages.
        part: the name of the state dict in the file; None takes the first of `PARTS`, or the file itself.
    Returns:
        its tensors, the name of the part (None if the file is one), and the other parts that hold tensors.
    Raises:
        DataError: there is none, or not that part.
    """
    parts = {str(k): v for k, v in held.items() if _holds_tensors(v)} if isinstance(held, Mapping) else {}
    if part is None and _holds_tensors(held):
        return _tensors(held), None, list(parts)
    chosen = part or next((p for p in (*PARTS, *parts) if p in parts), None)
    if chosen is None or chosen not in parts:
        there = f"its parts are {', '.join(parts)}" if parts else "it holds no state dict"
        got = f"no part {part!r}: {there}" if part else there
        raise DataError(
            f"{path} holds no network ({got}): give a file with a state dict, torch.save(model.state_dict(), …)."
        )
    return _tensors(parts[chosen]), chosen, [p for p in parts if p != chosen]


def _holds_tensors(value: Any) -> bool:
    """Say whether a value maps names to tensors, and perhaps to other things."""
    return isinstance(value, Mapping) and any(isinstance(k, str) and isinstance(t, Tensor) for k, t in value.items())


def _tensors(value: Mapping[str, Any]) -> dict[str, Tensor]:
    return {str(k): t for k, t in value.items() if isinstance(t, Tensor)}
