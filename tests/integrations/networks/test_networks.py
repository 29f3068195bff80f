"""The networks have the shapes, the parameters and the two routes they claim."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coreselect.errors import RequirementError, UnknownNameError
from coreselect.protocols import Route
from coreselect_integrations.networks import (
    ARCHITECTURES,
    ROUTES,
    DualNorm,
    NetworkSpec,
    ResNet,
    RoutedNetwork,
    build,
    make,
    resnet18,
    resnet34,
    resnet50,
    route_call,
    small_conv,
    small_conv_contrastive,
    spec_for,
    wide_resnet,
)

LEAVES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")  # of a normalisation
SLIM: dict[str, Callable[..., RoutedNetwork]] = {  # every kind of block, at a size that a test can train
    "small": lambda **o: small_conv_contrastive(1, 8, **o),
    "resnet18": lambda **o: resnet18(channels=1, **o),
    "resnet50": lambda **o: resnet50(channels=1, **o),
    "wide": lambda **o: wide_resnet(10, 1, channels=1, **o),
}


def size_of(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def outlined(spec: NetworkSpec) -> RoutedNetwork:
    """The network without values."""
    with torch.device("meta"):
        return ARCHITECTURES[spec.arch](spec)


@pytest.fixture(scope="module")
def contrastive() -> ResNet:
    return resnet18(dual_bn=True, projection=3)


def test_resnet18_with_two_routes_and_head_has_the_published_size(contrastive: ResNet) -> None:
    """11.97 million parameters in all, 793,088 of them in the three-layer head."""
    assert size_of(contrastive) == 11_971_520
    assert size_of(contrastive.head) == 793_088


def test_a_second_route_costs_12672_parameters(contrastive: ResNet) -> None:
    """The second set of normalisations adds 12,672 parameters to encoder and head together."""
    assert size_of(contrastive) - size_of(resnet18(projection=3)) == 12_672


@pytest.mark.parametrize(
    ("arch", "stem", "classes", "parameters"),
    [
        ("resnet18", "cifar", 10, 11_173_962),
        ("resnet34", "cifar", 10, 21_282_122),
        ("resnet50", "cifar", 10, 23_520_842),
        ("wrn28_10", "cifar", 10, 36_479_194),
        ("resnet18", "imagenet", 1000, 11_689_512),
        ("resnet34", "imagenet", 1000, 21_797_672),
        ("resnet50", "imagenet", 1000, 25_557_032),
    ],
)
def test_classifiers_have_the_published_sizes(arch: str, stem: str, classes: int, parameters: int) -> None:
    """Each architecture has the number of parameters that the literature gives for it."""
    assert size_of(outlined(NetworkSpec(arch, classes=classes, stem=stem))) == parameters


@pytest.mark.parametrize(
    ("arch", "stem", "size", "width"),
    [("small", "cifar", 32, 128)]
    + [(a, "cifar", s, w) for a, w in (("resnet18", 512), ("resnet50", 2048), ("wrn28_10", 640)) for s in (8, 28, 96)]
    + [(a, "imagenet", s, w) for a, w in (("resnet34", 512), ("resnet50", 2048)) for s in (32, 96, 224)],
)
def test_every_size_of_image_gives_features_and_outputs(arch: str, stem: str, size: int, width: int) -> None:
    """Features are [B, D], a classifier gives [B, classes], a projection [B, D]; D is the attribute `width`."""
    x = torch.empty(2, 3, size, size, device="meta")
    classifier = outlined(NetworkSpec(arch, 3, size, classes=7, stem=stem))
    encoder = outlined(NetworkSpec(arch, 3, size, projection=2, dual_bn=True, stem=stem))

    assert classifier.width == encoder.width == width
    assert classifier(x).shape == (2, 7)
    assert classifier.represent(x).shape == (2, width)
    assert encoder(x, "adversarial").shape == encoder.represent(x, "natural").shape == (2, width)


def test_the_imagenet_stem_quarters_the_image() -> None:
    """Images of 224 pixels are 56×56 maps in the first stage, and 7×7 maps after the last."""
    net = outlined(NetworkSpec("resnet50", 3, 224, classes=10, stem="imagenet"))
    seen: list[torch.Size] = []
    for block in (net.get_submodule("blocks.0"), net.get_submodule("blocks.15")):
        block.register_forward_hook(lambda _m, args, out: seen.extend((args[0].shape, out.shape)))
    net(torch.empty(1, 3, 224, 224, device="meta"))

    assert [tuple(s[1:]) for s in seen] == [(64, 56, 56), (256, 56, 56), (2048, 7, 7), (2048, 7, 7)]


def test_a_bottleneck_strides_in_its_3x3_convolution() -> None:
    """The 1×1 convolutions of ResNet-50 have stride 1, so they read every pixel."""
    blocks = outlined(NetworkSpec("resnet50", classes=10)).get_submodule("blocks")
    strides = [[m.stride for n, m in b.named_modules() if n.startswith("conv")] for b in blocks.children()]

    assert strides[3] == [(1, 1), (2, 2), (1, 1)]
    assert sum(s == [(1, 1), (2, 2), (1, 1)] for s in strides) == 3
    assert strides.count([(1, 1)] * 3) == 13


def bn(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    """Batch normalisation in evaluation mode, from its definition."""
    mean, var, scale, shift = (
        weights[f"{name}.shared.{leaf}"].view(1, -1, 1, 1) for leaf in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


def randomised(net: RoutedNetwork) -> dict[str, Tensor]:
    """Give every normalisation its own random statistics and scales in float64; return the tensors."""
    net.double().eval()
    draws = torch.Generator().manual_seed(0)
    for tensor in net.state_dict().values():
        if tensor.dim() == 1 and tensor.is_floating_point():
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draws, dtype=tensor.dtype))
    return net.state_dict()


def test_a_bottleneck_computes_its_formula() -> None:
    """relu(BN(1×1(relu(BN(3×3(relu(BN(1×1(x)))))))) + BN(1×1(x))), written out, in float64."""
    net = resnet50(channels=1)
    w = randomised(net)
    x = torch.rand(2, 256, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    b = "blocks.3"
    out = bn(F.conv2d(x, w[f"{b}.conv1.weight"]), w, f"{b}.norm1").clamp(min=0)
    out = bn(F.conv2d(out, w[f"{b}.conv2.weight"], stride=2, padding=1), w, f"{b}.norm2").clamp(min=0)
    out = bn(F.conv2d(out, w[f"{b}.conv3.weight"]), w, f"{b}.norm3")
    shortcut = bn(F.conv2d(x, w[f"{b}.down.weight"], stride=2), w, f"{b}.down_norm")

    torch.testing.assert_close(net.blocks[3](x, "natural"), (out + shortcut).clamp(min=0), rtol=1e-10, atol=1e-12)


def test_a_wide_network_computes_its_formula() -> None:
    """WRN-10-1 equals its pre-activation blocks written out one after the other, in float64."""
    net = wide_resnet(10, 1, classes=3, channels=1, mean=(0.0,), std=(1.0,))
    w = randomised(net)
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    h = F.conv2d(x, w["stem.weight"], padding=1)
    for i, stride in enumerate((1, 2, 2)):
        o = bn(h, w, f"blocks.{i}.norm1").clamp(min=0)
        out = F.conv2d(o, w[f"blocks.{i}.conv1.weight"], stride=stride, padding=1)
        out = F.conv2d(bn(out, w, f"blocks.{i}.norm2").clamp(min=0), w[f"blocks.{i}.conv2.weight"], padding=1)
        down = w.get(f"blocks.{i}.down.weight")
        h = out + (h if down is None else F.conv2d(o, down, stride=stride))
    h = bn(h, w, "norm").clamp(min=0).mean((2, 3))

    torch.testing.assert_close(net.represent(x), h, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(net(x), h @ w["head.weight"].T + w["head.bias"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", sorted(SLIM))
@pytest.mark.parametrize("route", ROUTES)
def test_gradients_reach_what_a_route_uses_and_nothing_else(kind: str, route: Route) -> None:
    """Every parameter gets a gradient, except those of the other route."""
    net = SLIM[kind](dual_bn=True, projection=3)
    other = next(r for r in ROUTES if r != route)
    z = net(torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), route)
    (z * torch.linspace(-1, 1, z.numel()).view(z.shape) ** 3).sum().backward()

    unreached = {n for n, p in net.named_parameters() if p.grad is None}
    assert unreached == {n for n, _ in net.named_parameters() if f".{other}." in n}
    assert unreached
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", sorted(SLIM))
def test_a_representation_is_what_the_head_reads(kind: str) -> None:
    """head(represent(x, route), route) is the output through that route, bit for bit."""
    net = SLIM[kind](dual_bn=True, projection=2).eval()
    x = torch.rand(2, 1, 8, 8)

    assert torch.equal(net.head(net.represent(x, "adversarial"), "adversarial"), net(x, "adversarial"))
    with pytest.raises(RequirementError, match="route"):
        net.represent(x)


def test_the_tensors_of_resnet18_keep_their_names() -> None:
    """The names are those in files of earlier versions."""
    names = ["normalise.mean", "normalise.std", "stem.weight", *(f"norm.shared.{leaf}" for leaf in LEAVES)]
    for i in range(8):
        for j in (1, 2):
            names += [f"blocks.{i}.conv{j}.weight", *(f"blocks.{i}.norm{j}.shared.{leaf}" for leaf in LEAVES)]
        if i in (2, 4, 6):
            names += [f"blocks.{i}.down.weight", *(f"blocks.{i}.down_norm.shared.{leaf}" for leaf in LEAVES)]

    assert list(outlined(NetworkSpec("resnet18", classes=10)).state_dict()) == [*names, "head.weight", "head.bias"]


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


@pytest.mark.parametrize("kind", sorted(SLIM))
@pytest.mark.parametrize("route", ROUTES)
def test_a_forward_moves_only_the_statistics_of_its_route(kind: str, route: Route) -> None:
    """In training mode the buffers of the other route stay bit-identical, in encoder and head."""
    net = SLIM[kind](dual_bn=True, projection=3)
    before = {n: b.clone() for n, b in net.named_buffers()}
    net(torch.rand(4, 1, 8, 8), route)
    moved = {n for n, b in net.named_buffers() if not torch.equal(b, before[n])}

    assert moved == {n for n in before if f".{route}." in n}
    assert sum(isinstance(m, DualNorm) for m in net.head.modules()) == 3


def test_the_route_is_an_argument_not_a_state() -> None:
    """Two calls through different routes do not affect each other."""
    net = small_conv_contrastive(1, 8)
    x = torch.rand(4, 1, 8, 8)
    net(3 * x, "adversarial")
    net.eval()
    natural, adversarial = route_call(net, x, "natural"), route_call(net, x, "adversarial")

    assert not torch.allclose(natural, adversarial)
    assert torch.equal(natural, route_call(net, x, "natural"))


def test_a_network_with_two_routes_refuses_to_guess() -> None:
    """A call without a route raises an error that says what to do."""
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
    """The same seed gives the same parameters, another seed others; the global generator and the default device do not matter."""
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = build(arch, "sat", channels=1, size=8, classes=3)
    with torch.device("meta"):
        two = make(spec_for(arch, "sat", channels=1, size=8, classes=3), seed=0)
    other = build(arch, "sat", channels=1, size=8, classes=3, seed=1)

    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_an_adversarial_contrastive_network_has_two_routes_and_a_three_layer_head(arch: str) -> None:
    """The network for `acl` has a projection with three linear layers, and only the first has a bias."""
    net = outlined(spec_for(arch, "acl", channels=1, size=8))
    linears = [m for m in net.modules() if isinstance(m, nn.Linear)]

    assert [m.bias is not None for m in linears] == [True, False, False]
    assert net(torch.empty(2, 1, 8, 8, device="meta"), "natural").shape == (2, linears[-1].out_features)


@pytest.mark.parametrize(
    ("loss", "dual_bn", "projection"),
    [
        ("sat", False, None),
        ("trades", False, None),
        ("ce", False, None),
        ("cl", False, 3),
        ("acl", True, 3),
        ("acl_air", True, 3),
        ("dynacl", True, 3),
    ],
)
def test_a_loss_decides_head_and_routes(loss: str, dual_bn: bool, projection: int | None) -> None:
    """Classifiers and plain contrastive learning have one set of statistics, adversarial contrastive learning two."""
    spec = spec_for("resnet18", loss, channels=3, size=64, classes=5, stem="imagenet")

    assert (spec.dual_bn, spec.projection, spec.stem, spec.size) == (dual_bn, projection, "imagenet", 64)
    assert spec.classes == (5 if projection is None else None)
    assert outlined(spec).dual_bn == dual_bn


def test_plain_contrastive_learning_leaves_no_statistics_untrained() -> None:
    """One forward pass in training mode changes every running mean of a `cl` network, for either route."""
    net = build("small", "cl", channels=1, size=8)
    before = {n: b.clone() for n, b in net.named_buffers() if n.endswith("running_mean")}
    net(torch.rand(4, 1, 8, 8))

    assert all(not torch.equal(b, before[n]) for n, b in net.named_buffers() if n in before)
    net.eval()
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(net(x, "natural"), net(x, "adversarial"))


@pytest.mark.parametrize(
    ("arch", "loss", "classes", "kind"),
    [
        ("large", "sat", 2, UnknownNameError),
        ("large", "sat", None, UnknownNameError),
        ("small", "mse", 2, UnknownNameError),
        ("small", "clap", 2, UnknownNameError),
        ("small", "sat", None, RequirementError),
        ("small", "ce", 1, RequirementError),
    ],
)
def test_what_cannot_be_built_is_refused(arch: str, loss: str, classes: int | None, kind: type[Exception]) -> None:
    """Unknown names, and a classifier without classes."""
    with pytest.raises(kind):
        build(arch, loss, channels=1, size=8, classes=classes)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"classes": None}, "one head"),
        ({"projection": 3}, "one head"),
        ({"classes": True}, "classes"),
        ({"classes": 1}, "classes"),
        ({"classes": 2.0}, "classes"),
        ({"channels": 0}, "channels"),
        ({"size": 3}, "size"),
        ({"classes": None, "projection": 4}, "2 or 3"),
        ({"dual_bn": 1}, "dual_bn"),
        ({"stem": "resnet"}, "stem"),
        ({"stem": ["cifar"]}, "stem"),
        ({"arch": None}, "arch"),
        ({"stem": "imagenet", "size": 31}, "32 pixels"),
    ],
)
def test_a_spec_that_means_nothing_is_refused(changed: dict[str, Any], said: str) -> None:
    """Both heads, no head, and values out of range are refused in one sentence that names them."""
    with pytest.raises(RequirementError, match=said) as why:
        replace(NetworkSpec("resnet18", classes=10), **changed)
    assert str(why.value).endswith(".")


def test_a_spec_is_a_value() -> None:
    """Specs with equal fields are equal, and none can be changed."""
    spec = NetworkSpec("small", classes=3)

    assert spec == NetworkSpec("small", 3, 32, classes=3)
    with pytest.raises(FrozenInstanceError):
        spec.arch = "resnet18"  # pyright: ignore[reportAttributeAccessIssue]  # the claim


@pytest.mark.parametrize("arch", ["small", "wrn28_10"])
def test_only_resnets_have_an_imagenet_stem(arch: str) -> None:
    """Another architecture with this stem is refused; the stem is not ignored."""
    with pytest.raises(RequirementError, match="ResNet"):
        make(NetworkSpec(arch, 3, 96, classes=10, stem="imagenet"))


@pytest.mark.parametrize(("depth", "factor"), [(27, 10), (4, 1), (-2, 1), (28, 0)])
def test_depths_without_whole_blocks_are_refused(depth: int, factor: int) -> None:
    """A wide residual network has 6n + 4 layers and a positive width."""
    with pytest.raises(RequirementError, match="6n"):
        wide_resnet(depth, factor)


@pytest.mark.parametrize("maker", [resnet18, resnet34, resnet50])
def test_an_unknown_stem_is_refused(maker: Callable[..., RoutedNetwork]) -> None:
    """The public constructors refuse it too."""
    with pytest.raises(RequirementError, match="stem"):
        maker(stem="stl")
