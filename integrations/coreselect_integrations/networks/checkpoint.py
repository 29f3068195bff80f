"""Read the tensors of a checkpoint that another program wrote: any form of torch.save, and no code in it is run."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coreselect.io.weights_file import load_verified

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
