"""What a loop gives of a batch is a tensor: a list or an array is refused by name, in every epoch."""

from typing import Any

import numpy as np
import pytest
import torch

from coreselect import CoresetSampler, InfoBatchSampler, Task, get_selector
from coreselect.errors import ShapeError

PLACES = [3, 1]


@pytest.mark.parametrize("given", [PLACES, tuple(PLACES), np.array(PLACES)], ids=lambda g: type(g).__name__)
def test_positions_and_losses_that_are_no_tensors_are_refused(given: Any) -> None:
    """The message says what was got and how to make a tensor of it; nothing is stored."""
    task = Task.from_arrays(features=np.eye(6, dtype=np.float32))
    chosen, dropped = CoresetSampler(task, get_selector("rs2"), 6, warmup=1, every=1), InfoBatchSampler(6, 4)
    for sampler in (chosen, dropped):
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            assert len(sampler.weights(torch.tensor(PLACES))) == 2
            with pytest.raises(
                ShapeError, match=r"indices must be a tensor, .* got \w+: give torch.as_tensor\(indices\)"
            ):
                sampler.weights(given)
    with pytest.raises(ShapeError, match="indices must be a tensor"):
        dropped.update(given, torch.ones(2))
    with pytest.raises(ShapeError, match="losses must be a tensor"):
        dropped.update(torch.tensor(PLACES), given)
    assert np.isnan(dropped.losses).all()
