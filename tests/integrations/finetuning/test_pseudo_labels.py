"""Pseudo-labels are clusters of natural features; post-training learns them without labels and returns an extractor."""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from bright_dark import SHORT, SPEC, bright_dark, extractor
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from coreselect.errors import MissingExtraError, NonFiniteError, RequirementError, ShapeError, UnknownNameError
from coreselect.search.kmeans import first_centres, kmeans
from coreselect_integrations.finetuning import MODES, Mode, finetune
from coreselect_integrations.finetuning import post_training as module
from coreselect_integrations.finetuning.post_training import FULL, PROBE, post_train
from coreselect_integrations.finetuning.pseudo_labels import Relabelled, features_of, pseudo_labels
from coreselect_integrations.networks import make

ENGINES = ("faiss", "scipy")


def images(n: int = 40) -> Tensor:
    """Dark and bright images in turn."""
    return bright_dark(n).tensors[0]


class Poison:
    """A label whose use fails the test."""

    def __getattribute__(self, name: str) -> Any:
        pytest.fail(f"a label was read: {name}")


class Unlabelled(Dataset[Any]):
    """Images whose labels must not be read."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Any:
        return images()[index], Poison()


def same_up_to_names(one: Any, two: Any) -> bool:
    """Say whether two labellings make the same clusters."""
    pairs = set(zip(list(map(int, one)), list(map(int, two)), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def clouds(k: int, seed: int, n: int = 200, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Points around k centres far apart and far from the origin, and the centre of each."""
    rng = np.random.default_rng(seed)
    centres = 1000 + 10 * np.arange(k)[:, None] * np.ones(d) + rng.normal(size=(k, d))
    y = rng.permutation(np.arange(n) % k)
    return centres[y] + 0.5 * rng.normal(size=(n, d)), y


@pytest.mark.parametrize("by", ENGINES)
@pytest.mark.parametrize("k", [1, 2, 5, 10])
def test_separate_clusters_are_found(k: int, by: Any) -> None:
    """Clusters that are far apart are found exactly for every seed, up to their numbers."""
    for seed in range(5):
        X, y = clouds(k, seed)
        got = kmeans(X, k, seed=seed, by=by)
        assert got.dtype == np.int64
        assert same_up_to_names(got, y), seed


@pytest.mark.parametrize("by", ENGINES)
def test_clusters_are_a_fixed_point_of_lloyd(by: Any) -> None:
    """Each point belongs to the nearest mean, by a plain loop in float64; the labels depend on the seed only."""
    X = np.random.default_rng(3).normal(size=(120, 3))
    got = kmeans(X, 4, seed=1, iterations=100, by=by)
    means = [X[got == j].mean(0) for j in range(4)]
    for x, a in zip(X, got, strict=True):
        distances = [float(((x - m) ** 2).sum()) for m in means]
        assert distances[a] <= min(distances) + 1e-4

    before = np.random.get_state(legacy=True)[1].tolist(), torch.get_rng_state()  # type: ignore[union-attr]
    assert np.array_equal(got, kmeans(X, 4, seed=1, iterations=100, by=by))
    assert before[0] == np.random.get_state(legacy=True)[1].tolist()  # type: ignore[union-attr]
    assert torch.equal(before[1], torch.get_rng_state())


def test_centres_begin_apart() -> None:
    """k-means++ never chooses the same place twice while there is another place."""
    X = np.repeat(np.eye(5), 30, axis=0)
    for seed in range(20):
        chosen = first_centres(X, 5, np.random.default_rng(seed))
        assert len({tuple(X[i]) for i in chosen}) == 5


@pytest.mark.parametrize("by", ENGINES)
def test_equal_or_few_points(by: Any) -> None:
    """Fewer points than clusters, or equal points, get labels without a warning."""
    assert kmeans(np.ones((3, 2)), 10, seed=0, by=by).shape == (3,)
    assert kmeans(np.ones((30, 2)), 4, seed=0, by=by).shape == (30,)
    assert kmeans(np.zeros((1, 1)), 1, seed=0, by=by).tolist() == [0]


def test_features_that_cannot_be_divided_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors, empty arrays, counts below 1, NaN, and missing or unknown engines are refused."""
    for bad in (np.ones(4), np.ones((0, 2)), np.ones((3, 0))):
        with pytest.raises(ShapeError, match="N, D"):
            kmeans(bad, 2, seed=0)
    with pytest.raises(ShapeError, match="at least 1"):
        kmeans(np.ones((3, 1)), 0, seed=0)
    with pytest.raises(NonFiniteError) as refusal:
        kmeans(np.array([[0.0], [np.nan], [np.inf]]), 2, seed=0)
    assert refusal.value.indices == (1, 2)
    by: Any = "sklearn"
    with pytest.raises(UnknownNameError, match="sklearn"):
        kmeans(np.ones((3, 1)), 1, seed=0, by=by)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match="FAISS"):
        kmeans(np.ones((3, 1)), 1, seed=0, by="faiss")
    X, y = clouds(3, 0)
    assert same_up_to_names(kmeans(X, 3, seed=0), y)


def test_features_are_those_of_the_natural_route_in_the_datasets_order() -> None:
    """They equal the features of the pre-trained network through its natural route in evaluation mode; no label is read."""
    weights = extractor()
    network = make(SPEC)
    network.load_state_dict(weights)
    network.eval()
    got = features_of(weights, SPEC, Unlabelled(), batch_size=7)

    torch.testing.assert_close(got, network.represent(images(), "natural").detach())
    assert not torch.allclose(got, network.represent(images(), "adversarial"))
    assert got.dtype == torch.float32


def test_bright_and_dark_become_two_pseudo_labels() -> None:
    """Bright and dark images form two clusters of features; the seed decides; too many clusters are refused."""
    features = features_of(extractor(), SPEC, Unlabelled())
    labels = pseudo_labels(features, 2, seed=0)

    assert same_up_to_names(labels, torch.arange(40) % 2)
    assert np.array_equal(labels, pseudo_labels(features, 2, seed=0))
    for clusters in (1, 41):
        with pytest.raises(RequirementError, match="clusters"):
            pseudo_labels(features, clusters)
    with pytest.raises(NonFiniteError):
        pseudo_labels(features / 0, 2)


def test_relabelled_items_hold_the_image_and_our_label() -> None:
    """Items (x, y), (x,) and x alone give (x, label)."""
    x = images(2)
    for dataset in (TensorDataset(x, torch.zeros(2)), TensorDataset(x), list(x)):
        item, label = Relabelled(dataset, np.array([5, 6]))[1]
        assert torch.equal(item, x[1])
        assert label == 6


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use fewer attack steps, and a learning rate for few updates."""
    monkeypatch.setattr(module, "FULL", replace(FULL, attack=SHORT, lr=0.05))


def quick(dual_bn: bool = False, **settings: Any) -> module.PostTrained:
    options: dict[str, Any] = {"clusters": 2, "epochs": (2, 3), "batch_size": 16, "dual_bn": dual_bn, **settings}
    return post_train(extractor(), SPEC, Unlabelled(), augment=None, **options)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("dual_bn", [False, True])
def test_post_training_learns_the_clusters(dual_bn: bool) -> None:
    """The result classifies clusters through the adversarial route, reads no label, and reports the sizes of the clusters."""
    done = quick(dual_bn, epochs=(4, 6))
    logits = done.network(images(), "adversarial")

    assert same_up_to_names(done.labels, torch.arange(40) % 2)
    assert torch.equal(logits.argmax(1), torch.from_numpy(done.labels))
    assert done.sizes == (20, 20)
    assert (done.spec.dual_bn, done.spec.classes, done.spec.projection) == (dual_bn, 2, None)
    assert [len(done.probe), len(done.full)] == [4, 6]
    assert all(entry.examples == 32 for entry in (*done.probe, *done.full))
    assert done.full[-1].loss < done.full[0].loss
    assert not done.network.training


@pytest.mark.usefixtures("short")
def test_both_branches_pass_the_adversarial_route() -> None:
    """Statistics, scales and shifts of the natural route stay bit for bit; the rest changes only in full training."""
    weights = extractor()
    probed, done = quick(True, epochs=(2, 0)), quick(True)

    for name, t in done.network.state_dict().items():
        if name.startswith("head."):
            continue
        assert torch.equal(probed.network.state_dict()[name], weights[name]), name
        assert torch.equal(t, weights[name]) == (".natural." in name or name.startswith("normalise.")), name


@pytest.mark.usefixtures("short")
def test_one_route_or_two_is_the_same_training() -> None:
    """The adversarial route of the result with two routes is the result with one."""
    two, one = quick(True), quick(False)
    x = images()

    torch.testing.assert_close(two.network(x, "adversarial"), one.network(x), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("short")
def test_the_seed_decides() -> None:
    """The same seed gives the same clusters and weights bit for bit; global random states stay; progress names both trainings."""
    seen: list[tuple[str, int, int]] = []
    state = torch.get_rng_state()
    one, two, other = quick(progress=lambda *p: seen.append((p[0], p[1], p[2]))), quick(), quick(seed=1)

    assert torch.equal(torch.get_rng_state(), state)
    held = one.network.state_dict()
    assert all(torch.equal(t, two.network.state_dict()[n]) for n, t in held.items())
    assert not torch.equal(held["head.weight"], other.network.state_dict()["head.weight"])
    assert np.array_equal(one.labels, two.labels)
    assert seen[3] == ("probe", 64, 64)
    assert seen[-1] == ("pseudo", 96, 96)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("mode", list(MODES.values()), ids=list(MODES))
@pytest.mark.parametrize("dual_bn", [False, True])
def test_the_result_fine_tunes(mode: Mode, dual_bn: bool) -> None:
    """Any mode accepts it as a pre-trained extractor, and loads everything except the head for the clusters."""
    done = quick(dual_bn, epochs=(1, 1))
    weights, x = done.network.state_dict(), images()
    tuned = finetune(
        replace(mode, attack=mode.attack and SHORT), weights, done.spec, TensorDataset(x, torch.arange(40) % 2),
        classes=3, epochs=1, batch_size=20,
    )  # fmt: skip

    assert tuned.spec.classes == 3
    assert {n for n in tuned.transfer.left_out if ".natural." not in n} == {"head.weight", "head.bias"}
    assert tuned.transfer.fresh == ("head.weight", "head.bias")


def test_published_settings() -> None:
    """10 epochs of the head at 0.01, 25 of everything at 0.1, a tenth at 10 and 20; decay 1e-4, batches of 512."""
    assert (PROBE.linear, PROBE.epochs, PROBE.lr, PROBE.milestones) == (True, 10, 0.01, ())
    assert (FULL.linear, FULL.epochs, FULL.lr, FULL.milestones) == (False, 25, 0.1, (10, 20))
    assert all((m.weight_decay, m.batch_size) == (1e-4, 512) for m in (PROBE, FULL))


def test_an_empty_dataset_is_refused() -> None:
    """A dataset without examples is refused."""
    with pytest.raises(RequirementError, match="no examples"):
        post_train(extractor(), SPEC, TensorDataset(images(0)))
