"""Published checkpoints: the tensors are recognised by their names, and outputs are those of the published network."""

from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from published import PublishedResNet, PublishedWide, at_random
from torch import Tensor, nn

from coreselect.errors import DataError
from coreselect_integrations.networks import Reading, RoutedNetwork, open_network
from coreselect_integrations.networks.published import recognise
from coreselect_integrations.networks.weights import network_from_weights

DUAL = ("normal", "pgd")
ROUTES = {"normal": "natural", "pgd": "adversarial"}


def images(size: int = 32, n: int = 2) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def ours(state: dict[str, Tensor], how: Reading = Reading()) -> RoutedNetwork:
    found = recognise(state, "published.pt", how)
    return network_from_weights(found.spec, found.weights).eval()


def names_of(prefix: str, model: nn.Module) -> dict[str, Tensor]:
    return OrderedDict((prefix + n, t) for n, t in model.state_dict().items())


@torch.no_grad()
def test_an_encoder_with_two_sets_gives_the_published_outputs_on_both_routes() -> None:
    """ACL, DynACL, AIR and RCS: ResNet-18, bn_list.0 natural, bn_list.1 attacked; bit for bit, also below module.encoder_k."""
    model, x = at_random(PublishedResNet(names=DUAL)), images()
    for prefix in ("", "module.", "module.encoder_k."):
        network = ours(names_of(prefix, model))
        for name, route in ROUTES.items():
            assert torch.equal(network(x, route), model(x, name))  # type: ignore[arg-type]
    assert not torch.equal(model(x, "normal"), model(x, "pgd"))


@torch.no_grad()
def test_the_other_order_of_the_two_sets_can_be_said() -> None:
    """A network whose first set is for attacked images: the same tensors, the routes exchanged."""
    model, x = at_random(PublishedResNet(names=("pgd", "normal"))), images()
    network = ours(names_of("", model), Reading(order=("adversarial", "natural")))
    for name, route in ROUTES.items():
        assert torch.equal(network(x, route), model(x, name))  # type: ignore[arg-type]


@torch.no_grad()
def test_the_wide_network_of_the_imagenet_32_programs_is_read_in_its_own_order() -> None:
    """WRN-28-10 with [pgd, normal] and no normalisation of pixels; equal bit for bit but for the pooling, which sums otherwise."""
    model = at_random(PublishedWide(names=("pgd", "normal")))
    assert isinstance(model, PublishedWide)
    network, x = ours(names_of("module.", model)), images(16, 1)
    for name, route in ROUTES.items():
        torch.testing.assert_close(network(x, route), model(x, name), rtol=1e-4, atol=1e-5)  # type: ignore[arg-type]
    model.pool = lambda maps: maps.mean((-2, -1))
    for name, route in ROUTES.items():
        assert torch.equal(network(x, route), model(x, name))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "size", "spec"),
    [
        ({"names": DUAL, "large": True}, 64, ("resnet18", "imagenet", 96, None, 3, True)),
        ({"names": DUAL, "layers": 2}, 32, ("resnet18", "cifar", 32, None, 2, True)),
        ({"names": ("normal",)}, 32, ("resnet18", "cifar", 32, None, 3, False)),
        ({"classes": 10}, 32, ("resnet18", "cifar", 32, 10, None, False)),
        ({"classes": 7, "depths": (3, 4, 6, 3)}, 32, ("resnet34", "cifar", 32, 7, None, False)),
        (
            {"classes": 1000, "depths": (3, 4, 6, 3), "bottleneck": True, "large": True, "normalised": False},
            64,
            ("resnet50", "imagenet", 224, 1000, None, False),
        ),
        (
            {"classes": 10, "shortcut": "shortcut", "head": "linear", "normalised": False},
            32,
            ("resnet18", "cifar", 32, 10, None, False),
        ),
    ],
)  # fmt: skip
@torch.no_grad()
def test_every_published_structure_is_recognised(made: dict[str, Any], size: int, spec: tuple[Any, ...]) -> None:
    """STL-10's stem, heads of two layers, one set, classifiers after fine-tuning, torchvision's ResNet-50, RobustBench's names."""
    model, x = at_random(PublishedResNet(**made)), images(size, 1)
    found = recognise(names_of("", model), "file.pt")
    s = found.spec
    assert (s.arch, s.stem, s.size, s.classes, s.projection, s.dual_bn) == spec
    network = network_from_weights(s, found.weights).eval()
    for name in made.get("names", (None,)):
        assert torch.equal(network(x, ROUTES.get(name, "natural")), model(x, name))  # type: ignore[arg-type]
    assert ("pixels are not normalised" in " ".join(found.lines)) == (not made.get("normalised", True))


@torch.no_grad()
def test_normalisation_is_read_from_the_file_or_said() -> None:
    """RobustBench keeps mu and sigma in some files; in others the code normalises, and mean and std must be given."""
    model, x = at_random(PublishedResNet(classes=10, normalised=False)), images(n=1)
    mean, std = torch.tensor([0.49, 0.48, 0.45]), torch.tensor([0.25, 0.24, 0.26])
    shifted = model((x - mean[:, None, None]) / std[:, None, None])
    state = names_of("", model)
    assert torch.equal(ours({**state, "mu": mean.view(1, 3, 1, 1), "sigma": std.view(1, 3, 1, 1)})(x), shifted)
    assert torch.equal(ours({"normalize.mean": mean, "normalize.std": std, **names_of("model.", model)})(x), shifted)
    torch.testing.assert_close(ours(state, Reading(mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26)))(x), shifted)
    torch.testing.assert_close(ours(state, Reading(mean=(0.5,), std=(0.5,)))(x), model(2 * x - 1))
    with pytest.raises(DataError, match="one each is needed"):
        ours(state, Reading(mean=(0.5, 0.5)))


@torch.no_grad()
def test_numbers_that_are_given_count_more_than_those_in_the_file() -> None:
    """Mean, std or both are those given, the other one is the file's, and the lines say whose numbers were taken."""
    model, x = at_random(PublishedResNet(classes=10, normalised=False)), images(n=1)
    state = {**names_of("", model), "mu": torch.tensor([0.3] * 3), "sigma": torch.tensor([0.2] * 3)}
    for how, mean, std in (
        (Reading(mean=(0.5,), std=(0.25,)), 0.5, 0.25),
        (Reading(mean=(0.5,)), 0.5, 0.2),
        (Reading(std=(0.25,)), 0.3, 0.25),
    ):
        torch.testing.assert_close(ours(state, how)(x), model((x - mean) / std))
        assert "by the numbers given, not by those in the file" in " ".join(recognise(state, "f.pt", how).lines)
    given = recognise(names_of("", model), "f.pt", Reading(mean=(0.5,), std=(0.25,))).lines
    assert given[-1] == "pixels are normalised by the numbers given"


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        (0.5, 0.0, "the std 0 of pixels: give finite numbers above 0"),
        (0.5, -0.5, "the std -0.5 of pixels"),
        (0.5, float("nan"), "the std nan of pixels"),
        (float("inf"), 0.5, "the mean inf of pixels: give finite numbers as"),
    ],
)
def test_numbers_that_normalise_nothing_are_refused(mean: float, std: float, said: str) -> None:
    """A std is finite and above 0, a mean is finite, whether they are given or the file has them."""
    state = names_of("", PublishedResNet(classes=10, normalised=False))
    for held, how in (
        (state, Reading(mean=(mean,), std=(std,))),
        ({**state, "mu": torch.tensor([mean]), "sigma": torch.tensor([std])}, Reading()),
    ):
        with pytest.raises(DataError, match=said):
            recognise(held, "file.pt", how)


@torch.no_grad()
def test_a_file_in_float64_gives_the_published_outputs_in_float64() -> None:
    """All tensors keep their precision, with numbers of the file, numbers given, or none, and also without a head."""
    x = images(n=1).double()
    for normalised, how in ((True, Reading()), (False, Reading()), (False, Reading(mean=(0.0,), std=(1.0,)))):
        model = at_random(PublishedResNet(classes=10, normalised=normalised)).double()
        network = ours(names_of("", model), how)
        assert {t.dtype for t in network.state_dict().values() if t.is_floating_point()} == {torch.float64}
        assert torch.equal(network(x), model(x))
    bare = {n: t for n, t in names_of("", model).items() if not n.startswith("fc.")}
    assert {t.dtype for t in ours(bare).parameters()} == {torch.float64}


def test_a_network_is_chosen_by_the_end_of_its_prefix() -> None:
    """`encoder_q` means module.encoder_q, a whole prefix comes first, and what fits none or several is refused by name."""
    model = PublishedResNet(classes=10)
    both = {**names_of("module.encoder_q.", model), **names_of("module.encoder_k.", model)}
    for wanted in ("encoder_q", "encoder_q.", "module.encoder_q"):
        assert "below module.encoder_q" in recognise(both, "f.pt", Reading(prefix=wanted)).lines[0]
    one = names_of("module.encoder_q.", model)
    assert "below module.encoder_q" in recognise(one, "f.pt", Reading(prefix="encoder_q")).lines[0]
    whole = {**names_of("q.", model), **names_of("a.q.", model), **names_of("b.q.", model)}
    assert "below q" in recognise(whole, "f.pt", Reading(prefix="q")).lines[0]
    for state, wanted, said in (
        (both, "encoder", "holds no network 'encoder': give --prefix one of 'module.encoder_q', 'module.encoder_k'"),
        ({n: t for n, t in whole.items() if n[0] != "q"}, "q", "holds the networks 'a.q', 'b.q': choose one"),
        (names_of("", model), "q", "holds one network, whose names have no prefix: leave out --prefix q"),
    ):
        with pytest.raises(DataError) as why:
            recognise(state, "f.pt", Reading(prefix=wanted))
        assert said in str(why.value)


def test_an_order_of_one_set_of_normalisations_is_refused() -> None:
    """There is nothing to order: whoever gives --routes took the file for another."""
    state = names_of("", PublishedResNet(classes=10))
    with pytest.raises(DataError, match="has one set of normalisations, --routes would be without effect"):
        recognise(state, "f.pt", Reading(order=("adversarial", "natural")))


@torch.no_grad()
def test_names_of_the_first_programs_are_recognised() -> None:
    """Two sets as bn1 and bn1_adv, counters of batches missing, tensors in half precision."""
    model, x = at_random(PublishedResNet(names=DUAL)), images(n=1)
    old = {
        n.replace(".bn_list.0", "").replace(".bn_list.1", "_adv"): t
        for n, t in names_of("", model).items()
        if not n.endswith("num_batches_tracked")
    }
    assert "layer1.0.bn1_adv.weight" in old
    network = ours(old)
    for name, route in ROUTES.items():
        assert torch.equal(network(x, route), model(x, name))  # type: ignore[arg-type]
    half = ours({n: t.half() if t.is_floating_point() else t for n, t in names_of("", model).items()})
    assert {t.dtype for t in half.parameters()} == {torch.float32}


def test_what_is_left_out_is_said_and_the_key_encoder_is_taken() -> None:
    """encoder_q, a predictor, a queue and a head of another kind; without a head, the network is no classifier."""
    model, other = at_random(PublishedResNet(names=DUAL)), at_random(PublishedResNet(names=DUAL), 5)
    both = {**names_of("encoder_q.", other), **names_of("encoder_k.", model), "queue": torch.zeros(3)}
    found = recognise(both, "file.pt")
    assert torch.equal(found.weights["stem.weight"], model.state_dict()["conv1.weight"])
    said = " ".join(found.lines)
    assert "below encoder_k" in said
    assert f"encoder_q ({len(other.state_dict())} tensors)" in said
    assert "queue (1 tensors)" in said
    bare = {n: t for n, t in names_of("backbone.", model).items() if ".fc." not in n}
    found = recognise(
        {**bare, "backbone.fc.0.weight": torch.zeros(8, 512), "predictor.0.weight": torch.zeros(2)}, "file.pt"
    )
    assert (found.head, found.spec.classes) == (False, 2)
    assert not found.weights["head.weight"].any()
    assert "no head" in found.lines[0]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, "it is empty"),
        ({"features.0.weight": torch.zeros(1)}, "its names begin with features.0.weight"),
        ({**names_of("a.", PublishedResNet()), **names_of("b.", PublishedResNet())}, "networks 'a', 'b': choose one"),
        (
            {**names_of("", PublishedResNet()), "layer1.0.bnn1.weight": torch.zeros(64)},
            "'layer1.0.bnn1.weight' (nearest: 'layer1.0.bn1.weight')",
        ),
        (
            {**names_of("", PublishedResNet()), "layer1.0.conv7.weight": torch.zeros(64)},
            "'layer1.0.conv7.weight' (nearest: 'layer1.0.conv",
        ),
        (
            {**names_of("", PublishedResNet(classes=10)), "linear.weight": torch.zeros(10, 512)},
            "holds both 'fc.weight' and 'linear.weight', and a network here has one of them",
        ),
        (
            {**names_of("model.", PublishedResNet()), "model.bn1.bn_list.0.bias": torch.zeros(64)},
            "holds both 'model.bn1.bias' and 'model.bn1.bn_list.0.bias'",
        ),
        (names_of("", PublishedResNet((1, 1, 1, 1))), "a ResNet with (1, 1, 1, 1) blocks: there are resnet18"),
        (names_of("", PublishedWide(16, 1, classes=10)), "holds WRN-16-1: there are"),
        ({n: t for n, t in names_of("", PublishedResNet()).items() if n != "bn1.weight"}, "'norm.shared.weight' is missing"),
        ({**names_of("", PublishedResNet()), "conv1.weight": torch.zeros(3)}, "no first convolution"),
        ({**names_of("", PublishedResNet()), "bn1.weight": torch.zeros(3)}, "the shape [3], but [64] is needed"),
    ],
)  # fmt: skip
def test_what_is_not_recognised_is_refused_with_the_nearest_names(state: dict[str, Tensor], said: str) -> None:
    """One sentence that names the file and what was found in it."""
    with pytest.raises(DataError) as why:
        recognise(state, "file.pt")
    assert said in str(why.value)
    assert str(why.value).startswith("file.pt")


def test_files_are_read_in_all_forms_of_torch_save_and_without_their_code(tmp_path: Path) -> None:
    """Bare, under state_dict with an optimiser and options, in the old format; a pickle of a network is refused."""
    model = at_random(PublishedResNet(names=DUAL))
    state, path = names_of("", model), tmp_path / "model.pth.tar"
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    forms: tuple[tuple[Any, dict[str, Any], str], ...] = (
        (state, {}, ""),
        ({"state_dict": state, "epoch": 3, "optim": optimiser.state_dict(), "args": Namespace(lr=5.0)}, {}, ""),
        ({"model": state, "acc": 0.5}, {"_use_new_zipfile_serialization": False}, ""),
        ({"state_dict": state, "state_dict_dual": state}, {}, "the file holds state_dict_dual too"),
    )
    for held, options, said in forms:
        torch.save(held, path, **options)
        saved, lines = open_network(path)
        assert torch.equal(saved.weights["blocks.7.conv2.weight"], state["layer4.1.conv2.weight"])
        assert saved.about == {"published": "model.pth.tar", "headless": False}
        assert (
            "recognised resnet18 for 3×32×32 with the cifar stem, two routes and a 3-layer projection head" in lines[0]
        )
        assert said in " ".join(lines)
    single = names_of("", at_random(PublishedResNet(classes=10)))
    torch.save({"state_dict": single, "state_dict_dual": state}, path)
    assert [open_network(path, dual=d)[0].spec.dual_bn for d in (False, True)] == [False, True]
    assert open_network(path, Reading(part="state_dict_dual"))[0].spec.dual_bn
    with pytest.raises(DataError, match=r"weights under 'state_dict', 'state_dict_dual', not under 'ema'.*--part"):
        open_network(path, Reading(part="ema"))
    torch.save(model, path)
    with pytest.raises(DataError, match="no code of a file is run"):
        open_network(path)
    path.write_bytes(b"torn")
    with pytest.raises(DataError, match="cannot be read as weights"):
        open_network(path)
