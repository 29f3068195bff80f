"""Claims about the shape of images: networks of ours take square ones, a network of the user's may take others."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from own_parts import own_file
from torch.utils.data import TensorDataset

from coreselect.errors import DataError
from coreselect_integrations.networks import NetworkSpec
from coreselect_integrations.own_code import admit
from coreselect_integrations.pretraining.dataset_shape import check_images
from coreselect_integrations.pretraining.epoch import network_for
from coreselect_integrations.pretraining.presets import preset


def images(height: int, width: int) -> Any:
    return TensorDataset(torch.rand(4, 3, height, width), torch.arange(4) % 2)


@pytest.mark.parametrize(("height", "width"), [(48, 32), (32, 48)])
def test_images_that_are_not_square_are_refused_by_networks_of_ours(height: int, width: int) -> None:
    """Neither a saved network nor one that would be trained takes them, although its side is the shorter one."""
    held, spec = images(height, width), NetworkSpec("small", 3, 32, classes=2)
    with pytest.raises(DataError, match=f"photos has images of {height}×{width} pixels, .* give --size"):
        check_images(held, spec, "photos")
    with pytest.raises(DataError, match="takes square ones"):
        network_for(preset("cifar10-sat"), held)
    check_images(images(32, 32), spec, "photos")
    assert network_for(preset("cifar10-sat"), images(32, 32)).size == 32


def test_a_network_of_the_user_s_may_take_images_that_are_not_square(tmp_path: Path) -> None:
    """Its size is the shorter side, and other shorter sides are refused."""
    name = admit(f"{own_file(tmp_path)}:make", "model")
    spec = network_for(replace(preset("cifar10-sat"), arch=name), images(48, 32))
    assert (spec.channels, spec.size) == (3, 32)
    check_images(images(48, 32), spec, "photos")
    with pytest.raises(DataError, match="images of 3 channels and 16 pixels, the network takes 3 and 32"):
        check_images(images(48, 16), spec, "photos")
