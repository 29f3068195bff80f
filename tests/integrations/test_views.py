"""Views and augmentation: shapes, ranges, and every draw from the generator given."""

import pytest
import torch
from torch import Tensor

from coreselect_integrations.augment import crop_flip
from coreselect_integrations.views import crop_resized, two_views


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(b: int = 6, c: int = 3, size: int = 16) -> Tensor:
    return torch.rand(b, c, size, size, generator=gen(99))


@pytest.mark.parametrize("c", [1, 3, 4])
def test_two_views_are_images_of_the_same_shape(c: int) -> None:
    """Same shape and dtype, pixels in [0, 1], and the two views differ."""
    x = images(c=c)
    first, second = two_views(x, gen())

    for view in (first, second):
        assert view.shape == x.shape
        assert view.dtype == x.dtype
        assert view.min() >= 0
        assert view.max() <= 1
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("make", [two_views, crop_flip])
def test_draws_come_from_the_generator_alone(make) -> None:
    """Same generator state, same result; the global generator does not move."""
    x = images()
    state = torch.get_rng_state()
    one, two, other = make(x, gen()), make(x, gen()), make(x, gen(1))

    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(torch.stack(tuple(one)), torch.stack(tuple(two)))
    assert not torch.equal(torch.stack(tuple(one)), torch.stack(tuple(other)))


def test_nothing_to_do_leaves_images_as_they_are() -> None:
    """The whole area at ratio one, no mirror, no colours: the identity, up to interpolation."""
    x = images()
    u = torch.tensor([0.5, 0.5, 0.3, 0.8]).expand(len(x), 4)
    same = crop_resized(x, u, (1.0, 1.0), mirror=torch.zeros(len(x), dtype=torch.bool))

    torch.testing.assert_close(same, x, atol=1e-5, rtol=0)


def test_a_mirrored_crop_is_the_crop_of_the_mirror_image() -> None:
    """Mirroring the whole image equals flipping its columns."""
    x = images()
    u = torch.tensor([0.5, 0.5, 0.3, 0.8]).expand(len(x), 4)
    mirrored = crop_resized(x, u, (1.0, 1.0), mirror=torch.ones(len(x), dtype=torch.bool))

    torch.testing.assert_close(mirrored, x.flip(-1), atol=1e-5, rtol=0)


def test_a_quarter_crop_reads_a_quarter() -> None:
    """Area ¼ at the top left corner of an image of four flat quarters shows one of them."""
    x = torch.zeros(1, 1, 16, 16)
    x[..., :8, :8], x[..., 8:, :8], x[..., :8, 8:] = 0.25, 0.5, 1.0
    u = torch.tensor([[0.0, 0.5, 0.0, 0.0]])
    crop = crop_resized(x, u, (0.25, 0.25), mirror=torch.zeros(1, dtype=torch.bool))

    torch.testing.assert_close(crop[..., :-1, :-1], torch.full((1, 1, 15, 15), 0.25))


def test_grey_views_have_equal_channels() -> None:
    """With grey certain, red equals green equals blue."""
    view, _ = two_views(images(), gen(), grey=1.0)

    torch.testing.assert_close(view[:, 0], view[:, 1])
    torch.testing.assert_close(view[:, 0], view[:, 2])


def test_each_image_of_a_batch_is_cut_differently() -> None:
    """Copies of one image become different views."""
    x = images(1).expand(8, -1, -1, -1)
    view, _ = two_views(x, gen())

    assert len({tuple(v.flatten().tolist()) for v in view}) == 8


def test_crops_are_windows_of_the_padded_image() -> None:
    """Every crop equals one of the (2·pad + 1)² windows of its own padded image, or its mirror."""
    x = images(5, 2, 6)
    out = crop_flip(x, gen(3), pad=2)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))

    for i, o in enumerate(out):
        windows = [padded[i, :, r : r + 6, c : c + 6] for r in range(5) for c in range(5)]
        assert any(torch.equal(o, w) or torch.equal(o, w.flip(-1)) for w in windows)


def test_without_flip_or_padding_nothing_changes() -> None:
    """pad = 0 and flip off is the identity."""
    x = images()

    assert torch.equal(crop_flip(x, gen(), pad=0, flip=False), x)


def test_half_of_the_images_are_mirrored() -> None:
    """Over 2,000 images the share lies within six standard errors of a half."""
    x = torch.tensor([0.0, 1.0]).expand(2000, 1, 2, 2)
    share = (crop_flip(x, gen(), pad=0)[:, 0, 0, 0] == 1).double().mean().item()

    assert abs(share - 0.5) < 6 * 0.5 / 2000**0.5
