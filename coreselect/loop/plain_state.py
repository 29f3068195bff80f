"""The plain form of a selection in a sampler's state: tensors and lists, which `torch.load(weights_only=True)` reads."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from coreselect.errors import ScheduleError
from coreselect.types import Selection


def selection_from_state(plain: dict[str, Any], k: int, n: int) -> Selection:
    """Make the selection of a state, and check that it has k picks of a pool of n examples.

    Raises:
        ScheduleError: it is damaged, edited, or of another run.
    """
    try:
        kept = Selection.from_plain(as_arrays(plain))
    except (KeyError, TypeError, ValueError) as why:
        raise ScheduleError(f"the selection of the state is damaged or edited ({why}): load another state.") from why
    if (len(kept), kept.provenance.pool_size) != (k, n):
        raise ScheduleError(
            f"the selection of the state has {len(kept)} picks of {kept.provenance.pool_size} examples, and this sampler "
            f"selects {k} of {n}: load the state of this run."
        )
    return kept


def as_tensors(value: Any) -> Any:
    """Replace arrays by tensors, and tuples by lists."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, dict):
        return {k: as_tensors(v) for k, v in value.items()}
    return [as_tensors(v) for v in value] if isinstance(value, list | tuple) else value


def as_arrays(value: Any) -> Any:
    """Replace tensors by arrays."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    return {k: as_arrays(v) for k, v in value.items()} if isinstance(value, dict) else value
