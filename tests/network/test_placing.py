"""The layout of our networks in memory."""

import cases
import torch
from torch import nn

from coreselect.network.placing import memory_format, placed
from coreselect.support.records import digest_of
from coreselect_integrations.networks import build


def test_a_placed_network_lies_in_channels_last_and_computes_the_same() -> None:
    """Every kernel lies so, weights keep their values and their digest, outputs differ by rounding alone."""
    made = cases.built(lambda: build("small", "sat", channels=3, size=8, classes=3, seed=0), dtype=torch.float32)
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    want, before = made(x), digest_of(made.state_dict())
    assert memory_format(made) == "contiguous"
    assert placed(made, None) is made
    assert memory_format(made) == "channels_last"
    assert digest_of(made.state_dict()) == before
    assert (made(x) - want).norm() < 1e-5 * want.norm()


def test_a_network_without_convolutions_is_contiguous() -> None:
    """There is nothing to lay out."""
    assert memory_format(placed(nn.Linear(3, 2), "cpu")) == "contiguous"
