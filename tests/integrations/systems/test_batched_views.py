"""Views of a batch at once have the bits of views made one image at a time."""

from functools import partial, wraps
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from coreselect import Task, select
from coreselect.attacks import PGD
from coreselect.gradients.batched_views import batched
from coreselect.objectives import RD
from coreselect.selectors import RCS
from coreselect_integrations.networks import route_call, small_conv_contrastive
from coreselect_integrations.systems.air import IR, with_original
from coreselect_integrations.systems.views import two_views

pytest.importorskip("kornia")
WEAK = PGD(8 / 255, 4 / 255, 1)


def images(n: int, channels: int = 3, side: int = 8, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(4), dtype=dtype)


def one_at_a_time(views: Any, x: Tensor, seeds: list[int]) -> list[Tensor]:
    """The slow twin: each image alone, with a generator of its own."""
    made = [views(x[i : i + 1], torch.Generator().manual_seed(s)) for i, s in enumerate(seeds)]
    return [torch.cat(same) for same in zip(*made, strict=True)]


@pytest.mark.parametrize("settings", [{}, {"strength": 0.4, "flip": 0.0}, {"strength": 0.0}, {"resample": "bilinear"}])
@pytest.mark.parametrize(
    ("channels", "side", "dtype"), [(3, 32, torch.float32), (1, 8, torch.float32), (3, 9, torch.float64)]
)
def test_views_of_a_batch_are_those_of_each_image(
    settings: dict[str, Any], channels: int, side: int, dtype: torch.dtype
) -> None:
    """For 33 images every bit is equal, in any size, kind and strength, with the original in front, and with a batch of one."""
    x = images(33, channels, side, dtype)
    seeds = torch.randint(2**62, (33,), generator=torch.Generator().manual_seed(5)).tolist()
    for views in (partial(two_views, **settings), with_original(partial(two_views, **settings))):
        together = batched(views)
        assert together is not None
        for made, want in zip(together(x, seeds), one_at_a_time(views, x, seeds), strict=True):
            assert torch.equal(made, want)
        assert all(
            torch.equal(made, want)
            for made, want in zip(together(x[:1], seeds[:1]), one_at_a_time(views, x[:1], seeds[:1]), strict=True)
        )


@pytest.mark.parametrize("loss", ["acl", IR()])
def test_a_selection_has_the_same_bits_either_way(loss: Any) -> None:
    """A function that hides the batched form gives the same picks and gains, for losses of two views and of three."""
    views = two_views if loss == "acl" else with_original(two_views)

    def plain(x: Tensor, generator: torch.Generator) -> Any:
        assert len(x) == 1
        return views(x, generator)

    found, network = [], small_conv_contrastive(3, 8)
    for made in (views, plain):
        data = TensorDataset(images(24)), TensorDataset(images(30)[24:])
        task = Task.from_model(network, *data, loss=loss, attack=WEAK, call=route_call, views=made, batch_size=10)
        found.append(select(task, RCS(objective=RD("kl", attack=WEAK), group_size=4), 8))
    assert found[0].indices.tolist() == found[1].indices.tolist()
    assert found[0].gains.tolist() == found[1].gains.tolist()


def test_views_of_a_user_are_called_for_one_example_at_a_time() -> None:
    """A function of one's own has no batched form, also where it wraps `two_views` or gives it positions."""

    @wraps(two_views)
    def mirrored(x: Tensor, generator: torch.Generator) -> Any:
        first, second = two_views(x, generator)
        return first, second.flip(-1)

    assert batched(mirrored) is None
    assert batched(lambda x, generator: (x, x)) is None
    assert batched(partial(mirrored)) is None
    assert batched(partial(two_views, images(1))) is None
    assert batched(with_original(mirrored)) is None


def test_an_object_may_bring_its_own_batched_form() -> None:
    """A selection calls `for_each` of an object that has one, with whole batches and a seed for each example."""
    sizes: list[int] = []

    class Own:
        def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
            raise AssertionError("the batched form is there")

        def for_each(self, x: Tensor, seeds: Any) -> tuple[Tensor, ...]:
            sizes.append(len(x))
            assert len(seeds) == len(x)
            return x, x.flip(-1)

    network, data = small_conv_contrastive(3, 8), TensorDataset(images(24))
    task = Task.from_model(
        network,
        data,
        TensorDataset(images(30)[24:]),
        loss="acl",
        attack=WEAK,
        call=route_call,
        views=Own(),
        batch_size=12,
    )
    select(task, RCS(objective=RD("kl", attack=WEAK), group_size=4), 8)
    assert sizes == [12, 12]
