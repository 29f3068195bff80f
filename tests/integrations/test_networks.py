"""The networks have the shapes, the parameters and the two routes they claim."""

import pytest
import torch
from torch import nn

from coreselect.errors import RequirementError, UnknownNameError
from coreselect_integrations.networks import (
    ARCHITECTURES,
    DualNorm,
    ResNet18,
    build,
    resnet18,
    route_call,
    small_conv,
    small_conv_contrastive,
)


def size_of(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def contrastive() -> ResNet18:
    return resnet18(dual_bn=True, projection=3)


def test_resnet18_with_two_routes_and_head_has_the_published_size(contrastive: ResNet18) -> None:
    """11.97 million parameters in all, 793,088 of them in the three-layer head."""
    assert size_of(contrastive) == 11_971_520
    assert size_of(contrastive.head) == 793_088


def test_a_second_route_costs_12672_parameters(contrastive: ResNet18) -> None:
    """Encoder and head together gain 12,672 parameters from the second set of normalisations."""
    assert size_of(contrastive) - size_of(resnet18(projection=3)) == 12_672


def test_small_conv_has_about_240k_parameters() -> None:
    """243,146 for three channels of 32 pixels and ten classes."""
    assert size_of(small_conv()) == 243_146


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (1, 28), (3, 32), (3, 64), (1, 4)])
def test_small_networks_take_every_usual_size(channels: int, size: int) -> None:
    """Digits, 28-pixel, 32-pixel and larger images give [B, classes] and [B, 128]."""
    x = torch.rand(2, channels, size, size)

    assert small_conv(7, channels, size)(x).shape == (2, 7)
    assert small_conv_contrastive(channels, size)(x, "adversarial").shape == (2, 128)


def test_resnet_halves_its_maps_three_times() -> None:
    """32 pixels leave 4×4 maps, and the classifier reads 512 features."""
    net = resnet18(classes=5).eval()
    seen: list[torch.Size] = []
    net.blocks[-1].register_forward_hook(lambda _m, _i, out: seen.append(out.shape))

    assert net(torch.rand(1, 3, 32, 32)).shape == (1, 5)
    assert seen == [torch.Size([1, 512, 4, 4])]


@pytest.mark.parametrize("route", ["natural", "adversarial"])
def test_a_forward_moves_only_the_statistics_of_its_route(route: str) -> None:
    """In training mode the buffers of the other route stay bit-identical, in encoder and head."""
    net = small_conv_contrastive(1, 8)
    before = {n: b.clone() for n, b in net.named_buffers()}
    net(torch.rand(4, 1, 8, 8), route)
    moved = {n for n, b in net.named_buffers() if not torch.equal(b, before[n])}

    assert moved == {n for n in before if f".{route}." in n}
    assert sum(isinstance(m, DualNorm) for m in net.head.modules()) == 3


def test_the_route_is_an_argument_not_a_state() -> None:
    """Two calls through different routes do not see each other."""
    net = small_conv_contrastive(1, 8)
    x = torch.rand(4, 1, 8, 8)
    net(3 * x, "adversarial")
    net.eval()
    natural, adversarial = route_call(net, x, "natural"), route_call(net, x, "adversarial")

    assert not torch.allclose(natural, adversarial)
    assert torch.equal(natural, route_call(net, x, "natural"))


def test_a_network_with_two_routes_refuses_to_guess() -> None:
    """Calling it without a route says what to do."""
    with pytest.raises(RequirementError, match="route"):
        small_conv_contrastive(1, 8)(torch.rand(2, 1, 8, 8))


def test_pixels_are_normalised_inside() -> None:
    """A network given mean and std equals one without them on pixels normalised by hand."""
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    inside, outside = small_conv(mean=mean, std=std).eval(), small_conv(mean=(0.0,) * 3, std=(1.0,) * 3).eval()
    outside.load_state_dict(
        {**inside.state_dict(), "normalise.mean": torch.zeros(3, 1, 1), "normalise.std": torch.ones(3, 1, 1)}
    )
    x = torch.rand(2, 3, 32, 32)
    by_hand = (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    torch.testing.assert_close(inside(x), outside(by_hand))


def test_mean_and_std_must_fit_the_channels() -> None:
    """Three numbers for one channel are refused."""
    with pytest.raises(RequirementError, match="1 numbers"):
        small_conv(channels=1, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_building_is_decided_by_the_seed_alone(arch: str) -> None:
    """Same seed, same parameters; another seed, others; the global generator does not move."""
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, two, other = (build(arch, "sat", channels=1, size=8, classes=3, seed=s) for s in (0, 0, 1))

    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_a_contrastive_build_has_two_routes_and_a_three_layer_head(arch: str) -> None:
    """What `acl` needs: a projection with three linear layers, only the first with a bias."""
    net = build(arch, "acl", channels=1, size=8)
    linears = [m for m in net.modules() if isinstance(m, nn.Linear)]

    assert [m.bias is not None for m in linears] == [True, False, False]
    assert net(torch.rand(2, 1, 8, 8), "natural").shape == (2, linears[-1].out_features)


@pytest.mark.parametrize(
    ("arch", "loss", "classes", "kind"),
    [
        ("large", "sat", 2, UnknownNameError),
        ("small", "mse", 2, UnknownNameError),
        ("small", "sat", None, RequirementError),
    ],
)
def test_what_cannot_be_built_is_refused(arch: str, loss: str, classes: int | None, kind: type[Exception]) -> None:
    """Unknown names, and a classifier without classes."""
    with pytest.raises(kind):
        build(arch, loss, channels=1, size=8, classes=classes)
