"""Views and augmentation change images as described, and take every draw from the given generator."""

import colorsys
import math
import random
import sys

import numpy as np
import pytest
import torch
from bright_dark import gen
from torch import Tensor

from coreselect.errors import MissingExtraError, RequirementError, ShapeError
from coreselect_integrations.systems.augment import crop_flip
from coreselect_integrations.systems.views import Kornia, crop, crop_boxes, jitter, load_kornia, two_views


@pytest.fixture
def kornia() -> Kornia:
    pytest.importorskip("kornia", reason="views need coreselect[train]")
    return load_kornia()


def images(b: int = 6, c: int = 3, size: int = 16, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(b, c, size, size, generator=gen(99), dtype=dtype)


def flat(n: int, *channels: float) -> Tensor:
    """n images of one colour [n, C, 4, 4], which crops do not change."""
    return torch.tensor(channels).view(1, -1, 1, 1).expand(n, -1, 4, 4)


def is_share(hits: Tensor, p: float) -> bool:
    """Say whether the share of hits lies within six standard errors of p."""
    return abs(hits.double().mean().item() - p) < 6 * math.sqrt(p * (1 - p) / len(hits))


def kernel(d: float, how: str) -> float:
    """The weight of a pixel at distance d: the triangle, or the cubic convolution with a = −3/4."""
    d, a = abs(d), -0.75
    if how == "bilinear":
        return max(0.0, 1 - d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def slow_crop(x: Tensor, box: list[int], how: str) -> Tensor:
    """Crop one image [C, H, W], pixel by pixel."""
    C, H, W = x.shape
    left, top, w, h = box
    out = torch.zeros(C, H, W, dtype=torch.float64)
    for i in range(H):
        for j in range(W):
            row, column = top + (i + 0.5) * h / H - 0.5, left + (j + 0.5) * w / W - 0.5
            for r in range(math.floor(row) - 2, math.floor(row) + 4):
                for k in range(math.floor(column) - 2, math.floor(column) + 4):
                    pixel = x[:, min(max(r, 0), H - 1), min(max(k, 0), W - 1)].double()
                    out[:, i, j] += kernel(row - r, how) * kernel(column - k, how) * pixel
    return out.clamp(0, 1)


def slow_jitter(x: Tensor, order: list[int], amounts: list[float]) -> Tensor:
    """Jitter one image [3, H, W], pixel by pixel, hue by the standard library."""
    pixels = x.double().permute(1, 2, 0).numpy()  # [H, W, 3]
    luma = np.array([0.299, 0.587, 0.114])
    for kind in order:
        factor = 1 + 0.4 * amounts[kind]
        if kind == 0:
            pixels = pixels * factor
        elif kind == 1:
            pixels = factor * pixels + (1 - factor) * (pixels @ luma).mean()
        elif kind == 2:
            pixels = factor * pixels + (1 - factor) * (pixels @ luma)[..., None]
        else:
            turned = [colorsys.rgb_to_hsv(*p) for p in pixels.reshape(-1, 3)]
            turned = [colorsys.hsv_to_rgb((h + 0.1 * amounts[3]) % 1, s, v) for h, s, v in turned]
            pixels = np.array(turned).reshape(pixels.shape)
        pixels = pixels.clip(0, 1)
    return torch.from_numpy(pixels).permute(2, 0, 1)


@pytest.mark.usefixtures("kornia")
@pytest.mark.parametrize("c", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("resample", ["bicubic", "bilinear"])
def test_two_views_are_images_of_the_same_kind(c: int, dtype: torch.dtype, resample) -> None:
    """Views have the same shape and dtype and pixels in [0, 1]; the two differ, and the given images do not change."""
    x = images(c=c, dtype=dtype).round()  # black and white: bicubic interpolation overshoots
    before = x.clone()
    first, second = two_views(x, gen(), resample=resample)

    for view in (first, second):
        assert view.shape == x.shape
        assert view.dtype == x.dtype
        assert view.min() >= 0
        assert view.max() <= 1
    assert not torch.allclose(first, second)
    assert torch.equal(x, before)


@pytest.mark.usefixtures("kornia")
@pytest.mark.parametrize("make", [two_views, crop_flip])
def test_draws_come_from_the_generator_alone(make) -> None:
    """The same generator state gives the same result; no global generator of python, numpy or torch is used."""
    x = images()
    one = torch.stack(tuple(make(x, gen())))
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]
    two, other = torch.stack(tuple(make(x, gen()))), torch.stack(tuple(make(x, gen(1))))

    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.usefixtures("kornia")
def test_settings_never_change_how_much_is_drawn() -> None:
    """The generator ends in the same state for every strength and flip, so that later draws are the same."""
    states = []
    for strength, flip in ((0.0, 0.0), (0.3, 0.5), (1.0, 1.0)):
        own = gen()
        two_views(images(), own, strength=strength, flip=flip)
        states.append(own.get_state())

    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


@pytest.mark.usefixtures("kornia")
@pytest.mark.parametrize("c", [1, 3])
def test_strength_zero_leaves_only_the_mirror(c: int) -> None:
    """At s = 0, a view is exactly the image with flip = 0, and exactly the mirrored image with flip = 1."""
    x = images(c=c)

    assert all(torch.equal(view, x) for view in two_views(x, gen(), strength=0, flip=0))
    assert all(torch.equal(view, x.flip(-1)) for view in two_views(x, gen(), strength=0, flip=1))


def test_the_crop_of_everything_changes_nothing(kornia: Kornia) -> None:
    """The whole area of a square image is the whole image whatever ratio is tried, and its crop the image."""
    x = images(dtype=torch.float64)
    u = torch.rand(len(x), 12, 2, generator=gen())
    boxes = crop_boxes(u[:, :10], u[:, 11], 16, 16, (1.0, 1.0))

    assert boxes.tolist() == [[0, 0, 16, 16]] * len(x)
    torch.testing.assert_close(crop(kornia, x, boxes), x, atol=1e-12, rtol=0)


@pytest.mark.parametrize("how", ["bicubic", "bilinear"])
def test_crops_are_interpolated_where_they_lie(kornia: Kornia, how) -> None:
    """A crop equals the sum over its pixels' neighbours, done slowly in float64."""
    x = images(3, 2, 6, torch.float64)[:, :, :, :5]  # sides 6 and 5
    boxes = [[1, 2, 3, 4], [0, 0, 1, 2], [3, 0, 2, 6]]
    expected = torch.stack([slow_crop(image, box, how) for image, box in zip(x, boxes, strict=True)])

    torch.testing.assert_close(crop(kornia, x, torch.tensor(boxes), how), expected, atol=1e-12, rtol=0)


def test_crops_keep_to_their_area_and_ratio() -> None:
    """Rectangles lie within the image, of area in 10 to 100 per cent and ratio in 3/4 to 4/3 up to rounding sides."""
    n, H, W = 3000, 40, 48
    u = torch.rand(n, 11, 2, generator=gen())
    left, top, w, h = crop_boxes(u[:, :10], u[:, 10], H, W, (0.1, 1.0)).double().unbind(1)

    assert left.min() == 0
    assert top.min() == 0
    assert (left + w).max() == W
    assert (top + h).max() == H
    assert ((w + 0.5) * (h + 0.5)).min() >= 0.1 * H * W
    assert ((w - 0.5) / (h + 0.5)).max() <= 4 / 3
    assert ((w + 0.5) / (h - 0.5)).min() >= 3 / 4
    assert (w * h).min() < 0.12 * H * W
    assert (w * h).max() > 0.9 * H * W


def test_a_hand_worked_crop() -> None:
    """Of tries 13×13 and 16×9 in 16×12 the second fits, at the place floor(½·1), floor(0.9·4); else 4/3 of a side."""
    a, r = 144 / 192, math.log(16 / 9) / (2 * math.log(4 / 3)) + 0.5  # area as a share; r = 16/9, beyond what is drawn
    tries = torch.tensor([[[169 / 192, 0.5], [a, r]]], dtype=torch.float64)
    place = torch.tensor([[0.5, 0.9]], dtype=torch.float64)

    assert crop_boxes(tries, place, 12, 16, (0.0, 1.0)).tolist() == [[0, 3, 16, 9]]
    assert crop_boxes(tries[:, :1], place, 12, 18, (0.88, 0.88)).tolist() == [[1, 0, 16, 12]]
    assert crop_boxes(tries[:, :1], place, 18, 12, (0.88, 0.88)).tolist() == [[0, 2, 12, 16]]


def test_jitter_is_the_textbook_one_in_each_image_s_order(kornia: Kornia) -> None:
    """Colours agree with a slow pixel by pixel jitter in the order of each image; others stay as they are."""
    x = images(5, 3, 4, torch.float64)
    order = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1], [0, 1, 2, 3]])
    amounts = torch.rand(5, 4, generator=gen(), dtype=torch.float64) * 2 - 1
    on = torch.tensor([True, True, True, True, False])
    expected = [slow_jitter(x[i], order[i].tolist(), amounts[i].tolist()) if on[i] else x[i] for i in range(5)]
    jitter(kornia, x, on, order, amounts)

    torch.testing.assert_close(x, torch.stack(expected), atol=1e-6, rtol=0)


def test_hue_turns_red_towards_yellow_and_pink(kornia: Kornia) -> None:
    """A tenth of a turn is 36 degrees: red (1, 0, 0) becomes (1, 0.6, 0) or (1, 0, 0.6)."""
    x = flat(2, 1.0, 0.0, 0.0).clone()
    amounts = torch.tensor([[0.0, 0, 0, 1], [0.0, 0, 0, -1]])
    jitter(kornia, x, torch.ones(2, dtype=torch.bool), torch.arange(4).expand(2, 4), amounts)

    torch.testing.assert_close(x[:, :, 0, 0], torch.tensor([[1, 0.6, 0], [1, 0, 0.6]]), atol=1e-5, rtol=0)


@pytest.mark.usefixtures("kornia")
@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_jitter_and_grey_come_as_often_as_the_strength_says(strength: float) -> None:
    """Of 2,000 flat images 0.8·s are jittered, those of one channel too, and 0.2·s are grey; the bounds are binomial."""
    for c in (1, 3):
        for view in two_views(flat(2000, *[0.5, 0.4, 0.3][:c]), gen(c), strength=strength, flip=0):
            pixel = view[:, :, 0, 0]  # [2000, c]
            grey = (pixel.amax(1) - pixel.amin(1) < 1e-6) & torch.tensor(c == 3)
            untouched = (pixel - torch.tensor([0.5, 0.4, 0.3][:c])).abs().amax(1) < 1e-5
            assert c == 1 or is_share(grey, 0.2 * strength)
            assert is_share(~untouched[~grey], 0.8 * strength)


@pytest.mark.usefixtures("kornia")
def test_one_channel_is_scaled_by_at_most_the_strength() -> None:
    """A flat grey image is its value times 1 ± 0.4·s, since contrast keeps it; both ends are reached."""
    for strength in (0.5, 1.0):
        first, _ = two_views(flat(500, 0.5), gen(), strength=strength)
        ratio = (first[:, 0, 0, 0] - 0.5) / (0.5 * 0.4 * strength)

        assert -1 - 1e-5 <= ratio.min() < -0.95
        assert 0.95 < ratio.max() <= 1 + 1e-5


@pytest.mark.usefixtures("kornia")
def test_half_of_the_views_are_mirrored() -> None:
    """Over 2,000 images the share is ½ in each view, and ¼ in both at once: binomial bounds."""
    x = torch.tensor([0.0, 1.0]).expand(2000, 1, 2, 2)
    first, second = (view[:, 0, 0, 0] == 1 for view in two_views(x, gen(), strength=0))

    assert is_share(first, 0.5)
    assert is_share(second, 0.5)
    assert is_share(first & second, 0.25)


@pytest.mark.usefixtures("kornia")
def test_each_image_of_a_batch_is_changed_differently() -> None:
    """Copies of one image become views that are all different."""
    x = images(1).expand(8, -1, -1, -1)
    views = torch.cat(two_views(x, gen()))

    assert len({tuple(v.flatten().tolist()) for v in views}) == 16


@pytest.mark.usefixtures("kornia")
def test_what_is_no_view_is_refused() -> None:
    """An image without a batch dimension, bytes and settings out of range are each refused in one sentence."""
    for x in (images()[0], (images() * 255).byte()):
        with pytest.raises(ShapeError, match=r"float images \[B, C, H, W\], got torch"):
            two_views(x, gen())
    for settings in ({"strength": 1.1}, {"strength": -0.1}, {"strength": math.nan}, {"flip": 2}, {"resample": "area"}):
        with pytest.raises(RequirementError, match=r"in \[0, 1\]"):
            two_views(images(), gen(), **settings)  # type: ignore[arg-type]


def test_without_kornia_the_call_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module imports without kornia; making views then says what to install, and crop_flip does not need it."""
    monkeypatch.setitem(sys.modules, "kornia", None)
    with pytest.raises(MissingExtraError, match=r"coreselect\[train\]"):
        two_views(images(), gen())
    assert crop_flip(images(), gen()).shape == images().shape


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
