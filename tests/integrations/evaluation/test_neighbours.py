"""Weighted nearest neighbours agree with a double loop in float64, for any batch size."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from coreselect.errors import NonFiniteError, RequirementError, ShapeError
from coreselect_integrations.evaluation.neighbours import neighbours, vote


def data(n: int, seed: int, classes: int = 4) -> TensorDataset:
    """Blurred classes: class means plus noise of the same size."""
    g = torch.Generator().manual_seed(seed)
    means = torch.randn(classes, 1, 3, 3, generator=torch.Generator().manual_seed(9))
    y = torch.randint(0, classes, (n,), generator=g)
    return TensorDataset(means[y] + 1.5 * torch.randn(n, 1, 3, 3, generator=g), y)


def by_hand(train: TensorDataset, test: TensorDataset, k: int, t: float) -> float:
    """The accuracy by the formula, one pair at a time, in float64."""
    x_train, x_test = (d.tensors[0].flatten(1).double().numpy() for d in (train, test))
    y_train, y_test = (d.tensors[1].tolist() for d in (train, test))
    right = 0
    for x, y in zip(x_test, y_test, strict=True):
        s = [float(x @ z / math.sqrt((x @ x) * (z @ z))) for z in x_train]
        near = sorted(range(len(s)), key=lambda i: (-s[i], i))[:k]
        votes = [sum(math.exp(s[i] / t) for i in near if y_train[i] == c) for c in range(max(y_train) + 1)]
        right += int(np.argmax(votes)) == y
    return right / len(y_test)


@pytest.mark.parametrize("k", [1, 7, 60])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 10.0])
def test_accuracy_equals_the_double_loop(k: int, temperature: float) -> None:
    """k = 1 is the nearest neighbour, k = N lets everyone vote."""
    train, test = data(60, 0), data(40, 1)
    got = neighbours(nn.Flatten(), train, test, k=k, temperature=temperature)

    assert got.accuracy == by_hand(train, test, k, temperature)
    assert (got.n, got.n_train, got.k, got.temperature) == (40, 60, k, temperature)
    assert 0.2 < got.accuracy < 1  # or the comparison would show nothing


def test_scikit_learn_agrees() -> None:
    """Its classifier with cosine distances 1 − s and weights exp((1 − d)/t) is the same rule."""
    sklearn = pytest.importorskip("sklearn.neighbors", reason="scikit-learn is not installed")
    train, test = data(60, 2), data(40, 3)
    rule = sklearn.KNeighborsClassifier(9, weights=lambda d: np.exp((1 - d) / 0.1), metric="cosine", algorithm="brute")
    rule.fit(train.tensors[0].flatten(1).numpy(), train.tensors[1].numpy())
    expected = rule.score(test.tensors[0].flatten(1).numpy(), test.tensors[1].numpy())

    assert neighbours(nn.Flatten(), train, test, k=9).accuracy == pytest.approx(expected)


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_batches_do_not_matter(batch_size: int) -> None:
    """A loader and its dataset give the same result, for any block size."""
    train, test = data(60, 0), data(40, 1)
    whole = neighbours(nn.Flatten(), train, test, k=9).accuracy
    loaders = [DataLoader(d, batch_size, generator=torch.Generator()) for d in (train, test)]

    assert neighbours(nn.Flatten(), train, test, k=9, batch_size=batch_size).accuracy == whole
    assert neighbours(nn.Flatten(), *loaders, k=9).accuracy == whole


def test_votes_by_hand() -> None:
    """s = (0.9, 0.8, 0.8, 0.1), t = 0.1, labels 2, 1, 1, 0.

    k = 1: label 2. k = 2: e⁹ against e⁸, label 2. k = 3: e⁹ ≈ 8103 against 2·e⁸ ≈ 5962, label 2; at t = 1,
    e^0.9 ≈ 2.46 against 2·e^0.8 ≈ 4.45, label 1.
    """
    s, labels = torch.tensor([[0.9, 0.8, 0.8, 0.1]]), torch.tensor([2, 1, 1, 0])

    assert [vote(s, labels, k, 0.1).item() for k in (1, 2, 3, 4)] == [2, 2, 2, 2]
    assert [vote(s, labels, k, 1.0).item() for k in (1, 2, 3, 4)] == [2, 2, 1, 1]


def test_equal_votes_go_to_the_lowest_label_and_equal_neighbours_to_the_first() -> None:
    """Labels 3 and 1 with equal votes give 1; of four equal neighbours, k = 1 and k = 3 take the first ones."""
    s, labels = torch.full((1, 4), 0.5), torch.tensor([3, 1, 3, 1])

    assert [vote(s, labels, k, 0.1).item() for k in (1, 2, 3, 4)] == [3, 1, 3, 1]


def test_a_small_temperature_does_not_overflow() -> None:
    """exp(1/0.0005) is beyond float64; the weights relative to the largest are not."""
    s, labels = torch.tensor([[0.9, 1.0, 0.95]]), torch.tensor([0, 1, 0])

    assert vote(s, labels, 3, 0.0005).item() == 1


def test_length_and_sign_of_features() -> None:
    """Cosine similarity does not see lengths, and an opposite feature is the farthest."""
    train = TensorDataset(torch.tensor([[100.0, 0.0], [0.0, 0.01], [-1.0, 0.0]]), torch.tensor([0, 1, 2]))
    test = TensorDataset(torch.tensor([[0.001, 0.0], [0.1, 50.0], [-9.0, 1.0], [3.0, 0.0]]), torch.tensor([0, 1, 2, 7]))

    assert neighbours(lambda x: x, train, test, k=1).accuracy == 3 / 4  # no training example has label 7


@pytest.mark.parametrize("inside", [False, True])
def test_the_model_is_held_in_evaluation_mode_without_gradients(inside: bool) -> None:
    """This holds also if `represent` is a closure; afterwards modes, flags, buffers and random state are restored."""
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(9), nn.Dropout(0.5))
    net[1].weight.requires_grad_(False)
    modes: list[tuple[bool, bool]] = []
    net.register_forward_hook(lambda m, x, y: modes.append((m.training, torch.is_grad_enabled())))
    rng, mean = torch.get_rng_state(), net.state_dict()["1.running_mean"].clone()
    represent, model = (lambda x: net(x), net) if inside else (net, None)
    neighbours(represent, data(20, 0), data(10, 1), k=3, model=model)

    assert set(modes) == {(False, False)}
    assert net.training
    assert [p.requires_grad for p in net.parameters()] == [False, True]
    assert torch.equal(net.state_dict()["1.running_mean"], mean)
    assert torch.equal(torch.get_rng_state(), rng)


def test_unpack_and_progress() -> None:
    """Batches of another form are unpacked; training and test examples count towards one total."""
    train, test = ([{"x": x, "y": y} for x, y in data(n, 0)] for n in (20, 10))
    heard: list[tuple[str, int, int]] = []
    neighbours(
        nn.Flatten(), train, test,  # type: ignore[arg-type]  # lists are map-style
        k=3, batch_size=8, unpack=lambda b: (b["x"], b["y"]), progress=lambda *now: heard.append(now),
    )  # fmt: skip

    assert heard == [("neighbours", done, 30) for done in (8, 16, 20, 28, 30)]


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"k": 21}, RequirementError, "give k ≤ 20"),
        ({"k": 0}, RequirementError, "k=0"),
        ({"temperature": 0.0}, RequirementError, r"temperature=0\.0"),
        ({"represent": lambda x: x}, ShapeError, r"\[B, D\], got \[20, 1, 3, 3\]"),
        ({"represent": lambda x: x.flatten()[:, None]}, ShapeError, "got .* for 20 inputs"),
        ({"test": data(0, 1)}, RequirementError, "no examples"),
        ({"train": data(0, 1)}, RequirementError, "but there are 0: give k"),
        ({"train": TensorDataset(torch.rand(9, 2, 2), torch.arange(9) - 4)}, ShapeError, "in the training set"),
        ({"test": TensorDataset(torch.rand(9, 1, 3, 3), torch.rand(9))}, ShapeError, "float32 .* in the test set"),
        ({"test": TensorDataset(torch.rand(9, 1, 3, 3), torch.ones(9, 2).long())}, ShapeError, r"\[9, 2\]"),
    ],
)
def test_refusals(settings, error: type[Exception], says: str) -> None:
    """Errors say in one sentence what was given and what was needed."""
    given = {"represent": nn.Flatten(), "train": data(20, 0), "test": data(10, 1), "k": 3, **settings}
    with pytest.raises(error, match=says):
        neighbours(given.pop("represent"), given.pop("train"), given.pop("test"), **given)


def test_features_that_are_not_finite_are_named_by_position() -> None:
    """Positions count through the whole set, not within a batch."""
    test = data(10, 1)
    test.tensors[0][6, 0, 0, 0] = math.inf
    test.tensors[0][9, 0, 2, 2] = math.nan
    with pytest.raises(NonFiniteError, match="of 6 of the test set") as caught:
        neighbours(nn.Flatten(), data(20, 0), test, k=3, batch_size=4)

    assert caught.value.indices == (6,)
