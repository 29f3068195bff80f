"""Claims about the random resized crops of supervised systems."""

import pytest
import torch
from tiny_runs import tiny

from coreselect.errors import UnknownNameError
from coreselect.support.seeding import rng_kept
from coreselect_integrations.pretraining.presets import preset
from coreselect_integrations.systems.augment import resized_crop_flip

pytest.importorskip("kornia", reason="random crops need coreselect[train]")


def ramp(n: int, side: int = 16) -> torch.Tensor:
    """Images whose first channel grows from left to right and second from top to bottom, [n, 3, side, side]."""
    along = torch.linspace(0, 1, side)
    return torch.stack(
        [along.expand(side, side), along[:, None].expand(side, side), torch.full((side, side), 0.5)]
    ).expand(n, 3, side, side)


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_crop_of_the_whole_image_changes_nothing() -> None:
    """scale (1, 1) of a square leaves one rectangle, the image itself, where its ratio of sides is drawn as 1 or none fits."""
    x = ramp(32)
    out = resized_crop_flip(x, gen(), scale=(1.0, 1.0), flip=False)
    torch.testing.assert_close(out, x.contiguous(), atol=0.1, rtol=0)
    assert out.shape == x.shape
    assert 0 <= float(out.min()) <= float(out.max()) <= 1


def test_crops_cover_the_area_that_scale_says() -> None:
    """The range of a ramp in a crop is the crop's width or height; their product lies in the range of areas."""
    x = ramp(256, 64)
    out = resized_crop_flip(x, gen(1), scale=(0.25, 0.5), flip=False)
    sides = [(out[:, c].amax((1, 2)) - out[:, c].amin((1, 2))) * 63 / 64 + 1 / 64 for c in (0, 1)]
    area = sides[0] * sides[1]
    assert float(area.min()) > 0.2
    assert float(area.max()) < 0.55
    assert float(area.std()) > 0.03  # they differ from image to image


def test_half_of_the_images_are_mirrored_and_draws_are_repeatable() -> None:
    """The generator decides everything: equal seeds give equal batches, `flip` uses no draw of its own, no global state moves."""
    x = ramp(400)
    with rng_kept():
        before = torch.get_rng_state()
        one, two, plain = (resized_crop_flip(x, gen(3), flip=f) for f in (True, True, False))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, two)
    mirrored = (one[:, 0, :, 0] > one[:, 0, :, -1]).all(1)  # the ramp falls from left to right
    assert 0.4 < float(mirrored.float().mean()) < 0.6
    assert torch.equal(one[~mirrored], plain[~mirrored])
    assert torch.equal(one[mirrored].flip(-1), plain[mirrored])


def test_the_setting_decides_the_crop() -> None:
    """`crop` is pad or resized; the presets of ImageNet at 224 pixels resize, those of CIFAR do not."""
    assert preset("imagenet224-sat").crop == preset("imagenet224-fast-at").crop == "resized"
    assert preset("cifar10-sat").crop == preset("imagenet32-sat").crop == "pad"
    with pytest.raises(UnknownNameError, match="crop is one of pad and resized, got 'centre'"):
        tiny("sat", crop="centre")
