"""Accuracies on a folder in CIFAR-10-C's format are those of a plain loop, and bad folders are refused at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from coreselect.errors import DataError, UnknownNameError
from coreselect_integrations.evaluation.corruption_files import CORRUPTIONS, corrupted
from coreselect_integrations.evaluation.corruptions import evaluate_corruptions
from coreselect_integrations.evaluation.severities import SEVERITIES, severity_rows
from coreselect_integrations.networks import small_conv, small_conv_contrastive

N = 7
HELD = ("fog", "snow", "gaussian_noise", "speckle_noise")  # the last is none of the 15


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in HELD:
        np.save(tmp_path / f"{name}.npy", rng.integers(0, 256, (5 * N, 8, 8, 3), dtype=np.uint8))
    np.save(tmp_path / "labels.npy", np.tile(rng.integers(0, 3, N), 5))
    return tmp_path


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    net = small_conv(3, 3, 8)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape) * p.std() + p)
    return net


def by_hand(model: nn.Module, folder: Path, name: str, severity: int, rows: int = N) -> float:
    """The accuracies, one image at a time, from the arrays on disk."""
    images, labels = np.load(folder / f"{name}.npy"), np.load(folder / "labels.npy")
    model.eval()
    right = 0
    for i in range((severity - 1) * N, (severity - 1) * N + rows):
        x = torch.from_numpy(images[i].astype(np.float32) / np.float32(255)).permute(2, 0, 1)[None]
        right += int(model(x).argmax()) == labels[i]
    return right / rows


def test_there_are_fifteen_in_four_families() -> None:
    """Noise 3, blur 4, weather 4, digital 4 (Hendrycks & Dietterich 2019, figure 1)."""
    assert len(set(CORRUPTIONS)) == len(CORRUPTIONS) == 15


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_a_severity_is_its_fifth_of_the_rows(folder: Path, severity: int) -> None:
    """Item i of severity s is row (s − 1)·n + i, channels first, in [0, 1]; the file is mapped, not read."""
    images, labels = np.load(folder / "fog.npy"), np.load(folder / "labels.npy")
    got = corrupted(folder, "fog", severity)

    assert len(got) == N
    assert isinstance(got.images.base, np.memmap) or isinstance(got.images, np.memmap)
    for i in range(N):
        item = got[i]
        assert isinstance(item, tuple)
        row = (severity - 1) * N + i
        assert torch.equal(item[0], torch.from_numpy(images[row].astype(np.float32) / 255).permute(2, 0, 1))
        assert item[1] == labels[row]


def test_accuracies_equal_the_obvious_loop(model: nn.Module, folder: Path) -> None:
    """Each (corruption, severity), their means over severities, and the mean of those."""
    got = evaluate_corruptions(model, folder, batch_size=3)
    expected = {c: {s: by_hand(model, folder, c, s) for s in range(1, 6)} for c in ("gaussian_noise", "snow", "fog")}

    assert got.accuracy == expected
    assert list(got.accuracy) == ["gaussian_noise", "snow", "fog"]
    assert got.by_corruption == pytest.approx({c: sum(of.values()) / 5 for c, of in expected.items()})
    assert got.mean == pytest.approx(sum(sum(of.values()) for of in expected.values()) / 15)
    assert got.n == N
    assert len({share for of in got.accuracy.values() for share in of.values()}) > 2  # or it would show nothing


def test_some_corruptions_severities_and_rows(model: nn.Module, folder: Path) -> None:
    """Only the given corruptions are measured, each once, also those that are not one of the 15."""
    got = evaluate_corruptions(model, folder, corruptions=["speckle_noise", "fog", "fog"], severities=[5, 2, 5], rows=4)

    assert got.accuracy == {
        c: {s: by_hand(model, folder, c, s, rows=4) for s in (5, 2)} for c in ("speckle_noise", "fog")
    }
    assert got.n == 4


def test_call_route_and_progress(folder: Path) -> None:
    """The options `call`, `route` and `progress` work as in `evaluate`."""
    routes, heard = set(), []

    def call(m: nn.Module, x: Tensor, route: str) -> Tensor:
        routes.add(route)
        return m(x, route)[:, :3]

    evaluate_corruptions(
        small_conv_contrastive(3, 8), folder, corruptions="fog", severities=(1, 2), batch_size=5,
        call=call, route="natural", progress=lambda *now: heard.append(now),
    )  # fmt: skip

    assert routes == {"natural"}
    assert heard == [("corruptions", done, 14) for done in (5, 7, 12, 14)]


def test_measuring_leaves_no_trace(model: nn.Module, folder: Path) -> None:
    """Modes, flags, gradients and the global generator do not change."""
    model.train()
    rng = torch.get_rng_state()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    evaluate_corruptions(model, folder, severities=(1,))

    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng)


def save(**arrays):
    def change(folder: Path) -> None:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)

    return change


IMAGES = np.zeros((5 * N, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: (f / "labels.npy").unlink(), r"lacks labels\.npy"),
        (lambda f: (f / "fog.npy").write_bytes(b"not an array"), r"not a readable \.npy"),
        (lambda f: (f / "labels.npy").write_bytes(b""), r"not a readable \.npy"),
        (save(labels=np.zeros(5 * N + 1, int)), r"one label for each of n images at 5 severities"),
        (save(labels=np.zeros(0, int)), r"labels\.npy .* holds no values"),
        (save(labels=np.zeros((5 * N, 1), int)), r"one label for each of n images at 5 severities"),
        (save(labels=np.zeros(5 * N)), "labels are float64"),
        (save(labels=np.full(5 * N, -1)), "labels count from 0"),
        (save(labels=np.array(["a"] * 5 * N, object)), r"not a readable \.npy"),
        (save(fog=IMAGES.astype(np.float32)), "images are float32"),
        (save(fog=IMAGES[:-5]), r"fog\.npy is \[30, 8, 8, 3\]"),
        (save(fog=IMAGES[..., 0]), r"fog\.npy is \[35, 8, 8\]"),
        (lambda f: (f / "fog.npy").unlink(), r"lacks fog\.npy"),
    ],
)
def test_damaged_folders_are_refused_before_the_first_image(model: nn.Module, folder: Path, change, says: str) -> None:
    """Missing and unreadable files, and wrong dtypes or lengths, are refused in one sentence that names the file."""
    change(folder)
    with pytest.raises(DataError, match=says):
        evaluate_corruptions(model, folder, corruptions=("snow", "fog"), call=lambda *_: pytest.fail("too late"))


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"corruptions": ["rain"]}, UnknownNameError, "asked for 'rain'"),
        ({"corruptions": ["../fog"]}, UnknownNameError, "asked for '../fog'"),
        ({"corruptions": ["labels"]}, UnknownNameError, "asked for 'labels'"),
        ({"corruptions": []}, UnknownNameError, "asked for none"),
        ({"corruptions": ["frost"]}, DataError, r"lacks frost\.npy"),
        ({"severities": (0,)}, DataError, "severities are 1…5, got 0"),
        ({"severities": (1, 6)}, DataError, "got 6"),
        ({"severities": ()}, DataError, "got none"),
        ({"rows": 0}, DataError, "0 rows were asked for, there are 7"),
        ({"rows": 8}, DataError, "8 rows were asked for, there are 7"),
    ],
)
def test_what_the_folder_does_not_have_is_refused(
    model: nn.Module, folder: Path, settings, error: type[Exception], says: str
) -> None:
    """Unknown corruptions and severities, and too many rows, are refused."""
    with pytest.raises(error, match=says):
        evaluate_corruptions(model, folder, **settings)


def test_a_folder_without_corruptions_is_refused(model: nn.Module, tmp_path: Path) -> None:
    """A missing folder, and a folder with none of the 15 corruptions, are refused."""
    with pytest.raises(DataError, match="is not a folder"):
        evaluate_corruptions(model, tmp_path / "none")
    with pytest.raises(DataError, match="holds none of the 15"):
        evaluate_corruptions(model, tmp_path)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(3, 30),
    times=st.integers(1, 7),
    asked=st.lists(st.sampled_from(SEVERITIES), min_size=1, max_size=5, unique=True),
    seed=st.integers(0, 99),
)
def test_labels_prove_how_many_severities_there_are(n: int, times: int, asked: list[int], seed: int) -> None:
    """Labels repeated five times are all severities; others hold the severities asked for, or are refused."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.concatenate([[7], rng.integers(0, 3, n - 1)]), times)  # the 7 marks the beginning of a part
    if times == 5:
        assert severity_rows(labels, asked, "x") == {s: slice((s - 1) * n, s * n) for s in SEVERITIES}
    elif len(asked) < 5 and times % len(asked) == 0:
        each = len(labels) // len(asked)
        expected = {s: slice(i * each, (i + 1) * each) for i, s in enumerate(asked)}
        assert severity_rows(labels, asked, "x") == expected
    else:
        with pytest.raises(DataError, match="do not repeat"):
            severity_rows(labels, asked, "x")


def test_a_single_severity_is_never_cut_into_five(model: nn.Module, folder: Path) -> None:
    """50 rows of one severity divide by five, and their labels do not repeat: refused, unless the severity is named."""
    rng = np.random.default_rng(1)
    labels, images = rng.integers(0, 3, 50), rng.integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
    for path in folder.glob("*.npy"):
        path.unlink()
    save(labels=labels, fog=images)(folder)
    with pytest.raises(DataError, match=r"50 labels that do not repeat 5 times.*--severities"):
        evaluate_corruptions(model, folder)
    got = evaluate_corruptions(model, folder, severities=(3,))
    model.eval()
    x = torch.from_numpy(images.astype(np.float32) / np.float32(255)).permute(0, 3, 1, 2)
    right = (model(x).argmax(1).numpy() == labels).mean()
    assert got.accuracy == {"fog": {3: pytest.approx(right)}}
    assert got.n == 50
    with pytest.raises(DataError, match="holds the severities 3, asked for 2"):
        corrupted(folder, "fog", 2, (3,))


def test_one_damaged_label_of_five_severities_is_named(folder: Path) -> None:
    """Labels that repeat but for one row are the published ones, damaged, whatever is asked for."""
    labels = np.tile(np.arange(200) % 7, 5)
    labels[640] += 1
    for asked in (SEVERITIES, (5,)):
        with pytest.raises(DataError, match="but not at row 640: take another copy"):
            severity_rows(labels, asked, "labels.npy")
