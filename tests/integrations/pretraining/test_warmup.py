"""A network warmed up from data comes with everything else that a task needs."""

import json

import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from coreselect.errors import DataError, RequirementError, UnknownNameError
from coreselect_integrations.pretraining.warmup import warm_network


def data(n: int = 24, channels: int = 1, labels: bool = True) -> TensorDataset:
    x = torch.rand(n, channels, 8, 8, generator=torch.Generator().manual_seed(1))
    return TensorDataset(x, torch.arange(n) % 3) if labels else TensorDataset(x)


def test_a_supervised_warm_up_gives_a_classifier_of_the_data() -> None:
    """Three labels give three outputs; the record holds JSON settings, seconds and the last loss."""
    model, record = warm_network(data(), epochs=2, batch_size=12)

    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 3)
    assert not model.training
    assert record.final_loss == record.log[-1].loss
    assert len(record.log) == 2
    assert record.seconds > 0
    assert json.loads(json.dumps(record.settings))["attack_steps"] == 2
    assert (record.loss, record.call, record.views) == ("sat", None, None)


def test_a_contrastive_warm_up_needs_no_labels_and_brings_views_and_routes() -> None:
    """The returned call and views work with the returned model."""
    model, record = warm_network(data(channels=3, labels=False), loss="acl", epochs=1, batch_size=12)
    assert record.call is not None
    assert record.views is not None
    views = record.views(torch.rand(1, 3, 8, 8), torch.Generator())

    assert [record.call(model, v, "natural").shape for v in views] == [(1, 128), (1, 128)]


@pytest.mark.parametrize("loss", ["sat", "acl"])
def test_the_seed_decides_everything(loss: str) -> None:
    """The same seed gives the same model, another seed another; the global generator does not change."""
    state = torch.get_rng_state()
    one, two, other = (warm_network(data(), loss=loss, epochs=1, seed=s)[0] for s in (0, 0, 1))

    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_no_epochs_give_an_untrained_network_that_says_so() -> None:
    """The record has no final loss."""
    _, record = warm_network(data(), epochs=0)

    assert record.final_loss is None
    assert record.settings["epochs"] == 0


def test_progress_counts_examples() -> None:
    """Every batch is reported once, up to the announced total."""
    seen: list[tuple[str, int, int]] = []
    warm_network(data(), epochs=2, batch_size=8, progress=lambda *p: seen.append(p))

    assert seen == [("warm-up", 8 * (i + 1), 48) for i in range(6)]


class Numbers(Dataset[tuple[int, int]]):
    """A dataset whose items are not images."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[int, int]:
        return index, index


@pytest.mark.parametrize(
    ("dataset", "settings", "kind"),
    [
        (data(), {"loss": "trades"}, UnknownNameError),
        (data(), {"arch": "huge"}, UnknownNameError),
        (data(), {"epochs": -1}, RequirementError),
        (data(), {"attack_steps": 0}, RequirementError),
        (data(labels=False), {}, DataError),
        (Numbers(), {}, DataError),
    ],
)
def test_what_cannot_be_warmed_up_is_refused(dataset: Dataset, settings: dict, kind: type[Exception]) -> None:
    """Unknown names, wrong numbers, missing labels and items that are not images are each refused in one sentence."""
    with pytest.raises(kind):
        warm_network(dataset, **settings)
