"""Claims about the corruptions that are made here: each follows its definition, and files of them are read as published ones."""

import colorsys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from coreselect.data.resizing import resized
from coreselect.errors import DataError, UnknownNameError
from coreselect_integrations.evaluation import blurs, noises, weather
from coreselect_integrations.evaluation.corruption_constants import constants, nearest_side
from coreselect_integrations.evaluation.corruption_files import CORRUPTIONS
from coreselect_integrations.evaluation.corruptions import evaluate_corruptions, evaluate_generated
from coreselect_integrations.evaluation.generated import FUNCTIONS, Generated, corrupt
from coreselect_integrations.networks import small_conv

pytest.importorskip("PIL.Image", reason="two corruptions need coreselect[data]")
SEVERITIES = (1, 2, 3, 4, 5)


def draws(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def scene(side: int = 32, channels: int = 3) -> np.ndarray:
    """A picture with smooth parts, edges and fine detail, uint8 [side, side, channels]."""
    rows, columns = np.mgrid[:32, :32] / 32
    planes = [0.7 * columns + 0.2, np.where((rows - 0.5) ** 2 + (columns - 0.5) ** 2 < 0.09, 0.9, 0.3), rows]
    texture = 0.1 * draws(1).random((32, 32, 1))
    picture = ((np.stack(planes, 2) * 0.9 + texture).clip(0, 1) * 255).astype(np.uint8)
    return resized(picture, side, "fit")[..., :channels] if side != 32 else picture[..., :channels]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_corruption_grows_with_severity(name: str) -> None:
    """At 32 pixels the mean change grows from severity 1 to 5, except where the published constants trade one part for another.

    `frost` keeps less of the image while it adds more, and `elastic_transform` shifts less while it bends more: there every
    severity changes something.
    """
    x = scene()
    change = [
        np.mean([np.abs(corrupt(x, name, s, draws(i)).astype(float) - x).mean() for i in range(4)]) for s in SEVERITIES
    ]
    assert min(change) > 0, change
    if name not in ("frost", "elastic_transform"):
        assert change[4] > 1.2 * change[0], change


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (28, 1), (64, 3), (97, 3)])
def test_every_corruption_takes_other_sides_and_grey(side: int, channels: int) -> None:
    """Digits of 8 and 28 pixels, Tiny-ImageNet and an odd side: the shape stays, and something changes at severity 5."""
    x = scene(side, channels)
    for name in FUNCTIONS:
        out = corrupt(x, name, 5, draws())
        assert out.shape == x.shape
        assert out.dtype == np.uint8
        assert (out != x).any(), name


def test_constants_are_those_of_the_nearest_benchmark() -> None:
    """Spot values of CIFAR-10-C, Tiny-ImageNet-C and ImageNet-C; all 15 corruptions have five severities at every side."""
    assert [nearest_side(side) for side in (8, 28, 32, 48, 64, 96, 128, 160, 224, 299)] == (
        [32, 32, 32, 64, 64, 64, 224, 224, 224, 224]
    )
    assert [constants("gaussian_noise", s, 32)[0] for s in SEVERITIES] == [0.04, 0.06, 0.08, 0.09, 0.1]
    assert constants("jpeg_compression", 5, 224) == (7,)
    assert constants("snow", 5, 64)[-1] == 0.6
    assert constants("elastic_transform", 1, 224)[0] == pytest.approx(488 / 224)
    for side in (32, 64, 224):
        for name in CORRUPTIONS:
            assert len({len(constants(name, s, side)) for s in SEVERITIES}) == 1


def test_noises_have_the_stated_moments() -> None:
    """Gaussian: standard deviation c. Shot: mean x and variance x / c. Impulse: a share c, half of it white."""
    x = np.full((200, 200, 3), 0.5)
    assert (noises.gaussian_noise(x, draws(), 0.1) - x).std() == pytest.approx(0.1, rel=0.02)
    shot = noises.shot_noise(x, draws(), 50)
    assert shot.mean() == pytest.approx(0.5, rel=0.01)
    assert shot.var() == pytest.approx(0.5 / 50, rel=0.03)
    hit = noises.impulse_noise(x, draws(), 0.07)
    assert (hit != x).mean() == pytest.approx(0.07, abs=0.003)
    assert (hit == 1).mean() == pytest.approx(0.035, abs=0.003)


def test_brightness_is_the_value_of_hsv() -> None:
    """Against Python's colorsys, pixel by pixel, black included."""
    x = draws().random((6, 6, 3))
    x[0, 0] = 0
    got = noises.brightness(x, draws(), 0.3)
    for row, column in np.ndindex(6, 6):
        h, s, v = colorsys.rgb_to_hsv(*x[row, column])
        np.testing.assert_allclose(got[row, column], colorsys.hsv_to_rgb(h, s, min(1, v + 0.3)), atol=1e-12)


def test_contrast_and_fog_follow_their_formulas() -> None:
    """Contrast keeps the mean of a channel and scales its deviation; fog keeps the largest possible value."""
    x = draws().random((16, 16, 3)) * 0.8
    low = noises.contrast(x, draws(), 0.4)
    np.testing.assert_allclose(low.mean((0, 1)), x.mean((0, 1)))
    np.testing.assert_allclose(low.std((0, 1)), 0.4 * x.std((0, 1)))
    foggy = weather.fog(x, draws(3), 1.5, 2.0)
    cloud = weather.plasma(draws(3), 16, 2.0)[..., None]
    np.testing.assert_allclose(foggy, (x + 1.5 * cloud) * x.max() / (x.max() + 1.5))
    assert foggy.max() <= x.max() + 1e-12


def test_a_plasma_fractal_spans_0_to_1_and_smooths_with_its_decay() -> None:
    """Its range is [0, 1]; neighbours differ less where the amplitude falls faster."""
    rough, smooth = (weather.plasma(draws(), 64, decay) for decay in (1.4, 3.0))
    for cloud in (rough, smooth):
        assert cloud.shape == (64, 64)
        assert (cloud.min(), cloud.max()) == (0, 1)
    assert np.abs(np.diff(smooth)).mean() < 0.7 * np.abs(np.diff(rough)).mean()


def test_a_streak_of_one_bright_pixel_is_its_weights() -> None:
    """Along a row, backwards: pixel c − i gets the weight of i. Turned by 90° it runs along a column."""
    x = np.zeros((21, 21, 1))
    x[10, 10] = 1
    i = np.arange(13)
    weights = np.exp(-(i**2) / (2 * 2.0**2))
    weights /= weights.sum()
    flat, upright = blurs.streak(x, 6, 2.0, 0.0)[..., 0], blurs.streak(x, 6, 2.0, 90.0)[..., 0]
    np.testing.assert_allclose(flat[10, 10 - i[:11]], weights[:11])
    np.testing.assert_allclose(upright[10 - i[:11], 10], weights[:11])
    assert flat[:10].sum() == 0
    grey = np.full((8, 8, 3), 0.3)
    np.testing.assert_allclose(blurs.streak(grey, 6, 2.0, 33.0), grey)  # the edge is repeated


def test_a_disk_below_one_pixel_is_a_small_bell() -> None:
    """Radius 0.3 leaves one pixel, smoothed over 3×3 with σ = 0.4; radius 10 covers about π·10² pixels equally."""
    bell = np.exp(-np.array([1, 0, 1]) / (2 * 0.4**2))
    bell /= bell.sum()
    np.testing.assert_allclose(blurs.disk(0.3, 0.4)[7:10, 7:10], bell[:, None] * bell)
    wide = blurs.disk(10, 0.5)
    assert wide.sum() == pytest.approx(1, abs=0.02)
    assert (wide > 0.5 * wide.max()).sum() == pytest.approx(np.pi * 100, rel=0.05)
    picture = scene() / 255
    slow = sum(
        blurs.disk(1.5, 0.1)[8 + i, 8 + j]
        * np.pad(picture, ((8, 8), (8, 8), (0, 0)), "reflect")[8 + i : 40 + i, 8 + j : 40 + j]
        for i in range(-8, 9)
        for j in range(-8, 9)
    )
    np.testing.assert_allclose(blurs.defocus_blur(picture, draws(), 1.5, 0.1), slow, atol=1e-12)


def test_glass_moves_colours_at_most_its_reach_in_each_pass() -> None:
    """Without smoothing every colour is one that lay within reach · passes, and a frame of `reach` pixels stays."""
    places = np.stack([*np.mgrid[:20, :20], np.zeros((20, 20))], 2) / 255  # a pixel's colour is its place
    out = np.rint(blurs.glass_blur(places + 1e-9, draws(), 1e-9, 2, 1) * 255)
    moved = np.abs(out[..., :2] - np.mgrid[:20, :20].transpose(1, 2, 0)).max(2)  # [20, 20]
    assert moved[:3].max() == moved[:, :3].max() == 0
    assert np.median(moved) > 0
    # chains of takings can carry a colour further, but only over pixels that were visited before
    assert (moved > 2).mean() < 0.2


def test_zooms_and_pixels_against_plain_means() -> None:
    """A zoom by 2 of a ramp is half its slope; pixelating 32 → 16 → 32 gives the means of 2×2 pixels, each four times."""
    ramp = np.broadcast_to(np.linspace(0, 1, 32)[:, None], (32, 32))[..., None]
    slope = np.diff(blurs.clipped_zoom(ramp, 2.0)[:, 16, 0]).mean()
    assert slope == pytest.approx(1 / 31 * 15 / 31, rel=1e-6)
    x = scene() / 255
    means = x.reshape(16, 2, 16, 2, 3).mean((1, 3)).repeat(2, 0).repeat(2, 1)
    assert np.abs(noises.pixelate(x, draws(), 0.5) - means).max() <= 1.01 / 255


def test_an_elastic_transform_without_strength_is_an_affine_map() -> None:
    """Severity 1 at 32 pixels moves three points only: a ramp stays a plane, inside the image."""
    ramp = np.broadcast_to(np.linspace(0.2, 0.8, 64)[None, :, None], (64, 64, 1))
    out = noises.elastic_transform(ramp, draws(), 0.0, 0.0, 0.02)[12:-12, 12:-12, 0]
    rows, columns = np.mgrid[:40, :40]
    plane = np.c_[rows.ravel(), columns.ravel(), np.ones(1600)]
    fit = plane @ np.linalg.lstsq(plane, out.ravel(), rcond=None)[0]
    assert np.abs(fit - out.ravel()).max() < 1e-6
    np.testing.assert_allclose(noises.elastic_transform(ramp, draws(), 0.0, 0.0, 0.0), ramp, atol=1e-9)


def pictures(n: int = 4) -> TensorDataset:
    x = (
        torch.stack([torch.from_numpy(np.roll(scene(), i, 1).transpose(2, 0, 1).copy()) for i in range(n)]).float()
        / 255
    )
    return TensorDataset(x, torch.arange(n) % 3)


def test_an_image_depends_on_seed_and_position_only() -> None:
    """Reading twice, in any order, gives the same pixels; another seed, position or severity gives others."""
    data = pictures()
    one = Generated(data, "shot_noise", 3)
    torch.testing.assert_close(one[2][0], Generated(data, "shot_noise", 3)[2][0], rtol=0, atol=0)
    others = (Generated(data, "shot_noise", 3, seed=1)[2], Generated(data, "shot_noise", 2)[2])
    assert all(not torch.equal(one[2][0], x) for x, _ in others)
    same = TensorDataset(data.tensors[0][[0, 0]], torch.zeros(2, dtype=torch.int64))
    assert not torch.equal(Generated(same, "fog", 1)[0][0], Generated(same, "fog", 1)[1][0])
    assert len(one) == 4
    assert one[1][1] == 1


def test_files_of_generated_images_give_the_same_accuracies(tmp_path: Path) -> None:
    """Written in the published layout and read again: every accuracy agrees; `by_severity` is the mean over corruptions."""
    data, model = pictures(6), small_conv(classes=3, channels=3, size=32)
    names = ("contrast", "fog", "glass_blur")
    for name in names:
        made = [(Generated(data, name, s)[i][0] * 255).round().byte().numpy() for s in SEVERITIES for i in range(6)]
        np.save(tmp_path / f"{name}.npy", np.stack(made).transpose(0, 2, 3, 1))
    np.save(tmp_path / "labels.npy", np.tile(np.arange(6) % 3, 5))
    ours = evaluate_generated(model, data, corruptions=names, batch_size=4)
    read = evaluate_corruptions(model, tmp_path, corruptions=names)
    assert ours.accuracy == read.accuracy
    assert ours.n == read.n == 6
    for s in SEVERITIES:
        assert ours.by_severity[s] == pytest.approx(np.mean([ours.accuracy[name][s] for name in names]))
    assert ours.mean == pytest.approx(np.mean(list(ours.by_severity.values())))
    assert ours.source == "ours, with the constants of CIFAR-10-C"
    assert read.source == str(tmp_path)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"corruptions": ("haze",)}, UnknownNameError, "no corruption is called 'haze'; there are gaussian_noise"),
        ({"corruptions": ()}, DataError, "at least one of each"),
        ({"severities": (0,)}, DataError, "severities are 1…5, got 0"),
    ],
)
def test_unknown_corruptions_and_severities_are_refused(changes: Any, error: type[Exception], said: str) -> None:
    """They are refused before an image is read."""
    with pytest.raises(error, match=said):
        evaluate_generated(small_conv(classes=3, channels=3, size=32), pictures(), **changes)


def test_images_that_are_not_square_are_refused() -> None:
    """The published definitions are for squares of one or three channels."""
    for shape in ((4, 6, 3), (8, 8, 4), (8, 8)):
        with pytest.raises(DataError, match="square images"):
            corrupt(np.zeros(shape, np.uint8), "fog", 1, draws())
