"""Weights are loaded completely from file to network and from encoder to classifier, or they are refused."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from coreselect.cli.model import load_weights
from coreselect.errors import DataError, RequirementError, UnknownNameError
from coreselect.protocols import Route
from coreselect_integrations.networks import (
    ARCHITECTURES,
    ROUTES,
    NetworkSpec,
    RoutedNetwork,
    Saved,
    classifier_from,
    load_network,
    make,
    one_route,
    restore,
    save_network,
)

SPECS = {
    "dual encoder": NetworkSpec("small", 1, 8, projection=3, dual_bn=True),
    "dual classifier": NetworkSpec("small", 1, 8, classes=4, dual_bn=True),
    "encoder": NetworkSpec("small", 1, 8, projection=2),
    "classifier": NetworkSpec("small", 1, 8, classes=4),
}


def trained(spec: NetworkSpec) -> RoutedNetwork:
    """A network in evaluation mode in which every statistic, scale and count is different."""
    net = make(spec).eval()
    draws = torch.Generator().manual_seed(7)
    for i, (name, tensor) in enumerate(net.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            tensor.fill_(i)
        elif tensor.dim() == 1:
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draws))
    return net


def pixels(spec: NetworkSpec) -> Tensor:
    return torch.rand(3, spec.channels, spec.size, spec.size, generator=torch.Generator().manual_seed(1))


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    """Names, order, types and bits agree."""
    return list(one) == list(two) and all(
        a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(one.values(), two.values(), strict=True)
    )


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
@pytest.mark.parametrize("dual_before", [True, False])
@pytest.mark.parametrize("dual_after", [True, False])
def test_every_tensor_of_the_extractor_is_loaded(arch: str, dual_before: bool, dual_after: bool) -> None:
    """In all four conversions of the statistics, only weight and bias of the new head start fresh."""
    spec = NetworkSpec(arch, projection=3, dual_bn=dual_before)
    with torch.device("meta"):
        weights = ARCHITECTURES[arch](spec).state_dict()
    net, new, transfer = classifier_from(weights, spec, classes=10, dual_bn=dual_after)
    names = list(net.state_dict())

    assert transfer.fresh == ("head.weight", "head.bias")
    assert [*transfer.loaded, *transfer.fresh] == names
    assert new == NetworkSpec(arch, classes=10, dual_bn=dual_after)
    lost = [n for n in transfer.left_out if not n.startswith("head.")]
    assert lost == [
        n for n in weights if ".natural." in n and not n.startswith("head.") and dual_before and not dual_after
    ]


def test_full_fine_tuning_of_a_dual_route_resnet18_loads_222_of_224_tensors() -> None:
    """It loads all 200 normalisation tensors, 20 convolutions, mean and std; a published program loads 21 of the 224."""
    spec = NetworkSpec("resnet18", projection=3, dual_bn=True)
    pretrained = trained(spec)
    net, _, transfer = classifier_from(pretrained.state_dict(), spec, classes=10, dual_bn=True)

    assert len(net.state_dict()) == 224
    assert len(transfer.loaded) == 222
    assert all(torch.equal(net.state_dict()[n], pretrained.state_dict()[n]) for n in transfer.loaded)
    assert set(transfer.left_out) == {n for n in pretrained.state_dict() if n.startswith("head.")}


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("dual_after", [True, False])
@pytest.mark.parametrize("route", ROUTES)
def test_a_classifier_sees_what_the_encoder_saw(kind: str, dual_after: bool, route: Route) -> None:
    """Its features are those of the pre-trained network through the route it was taken from, bit for bit."""
    spec = SPECS[kind]
    pretrained, x = trained(spec), pixels(spec)
    net, new, _ = classifier_from(pretrained.state_dict(), spec, classes=5, dual_bn=dual_after, route=route)
    net.eval()

    for through in ROUTES:
        before = through if dual_after else route
        assert torch.equal(net.represent(x, through), pretrained.represent(x, before))
        assert torch.equal(net(x, through), torch.zeros(3, 5))
    assert (new.classes, new.dual_bn, net.dual_bn) == (5, dual_after, dual_after)


def test_counts_of_batches_come_along() -> None:
    """`num_batches_tracked` belongs to the statistics: from two routes to one, it is that of the chosen route."""
    spec = SPECS["dual encoder"]
    weights = trained(spec).state_dict()
    net, _, _ = classifier_from(weights, spec, classes=2, route="natural")
    counts = {n: t for n, t in net.state_dict().items() if n.endswith("num_batches_tracked")}

    assert counts
    assert all(t == weights[n.replace(".shared.", ".natural.")] for n, t in counts.items())


@pytest.mark.parametrize("dual_after", [True, False])
def test_training_the_classifier_leaves_the_weights_alone(dual_after: bool) -> None:
    """Every tensor is a separate copy, so training changes neither the weights nor the other route."""
    spec = SPECS["encoder"]
    weights = trained(spec).state_dict()
    before = {n: t.clone() for n, t in weights.items()}
    net, _, _ = classifier_from(weights, spec, classes=2, dual_bn=dual_after)
    held = list(net.state_dict().values())
    for tensor in held:
        tensor.add_(1)

    assert same(weights, before)
    assert len({t.data_ptr() for t in held}) == len(held)
    assert all(p.requires_grad for p in net.parameters())


def test_transfer_keeps_float64() -> None:
    """A network in float64 becomes a classifier in float64, head included."""
    spec = SPECS["classifier"]
    net, _, _ = classifier_from(trained(spec).double().state_dict(), spec, classes=3)

    assert {p.dtype for p in net.parameters()} == {torch.float64}


def hurt(weights: dict[str, Any], how: str) -> dict[str, Any]:
    """Weights with one thing wrong in the extractor."""
    name, out = "convs.1.weight", dict(weights)
    if how == "missing":
        del out[name]
    elif how == "shape":
        out[name] = out[name][:-1]
    elif how == "beyond":
        out["queue"] = torch.zeros(3)
    elif how == "half":
        out = {n: t.half() if t.is_floating_point() else t for n, t in out.items()}
    elif how == "mixed":
        out[name] = out[name].double()
    elif how == "kind":
        out[name] = out[name].long()
    elif how == "no tensor":
        out[name] = [1.0]
    elif how == "wrapped":
        out = {f"module.{n}": t for n, t in out.items()}
    return out


HURTS = ("missing", "shape", "beyond", "half", "mixed", "kind", "no tensor", "wrapped")


@pytest.mark.parametrize("how", HURTS)
def test_weights_that_do_not_fit_are_refused(how: str) -> None:
    """Missing tensors, other shapes or types, and other networks are refused in one sentence; nothing is loaded in part."""
    spec = SPECS["dual encoder"]
    with pytest.raises(DataError, match="do not fit small") as why:
        classifier_from(hurt(trained(spec).state_dict(), how), spec, classes=2)

    assert str(why.value).endswith("give the NetworkSpec they were saved with.")


@pytest.mark.parametrize(
    "claimed",
    [
        NetworkSpec("resnet18", projection=3, dual_bn=True, stem="imagenet"),
        NetworkSpec("resnet18", projection=3),
        NetworkSpec("resnet18", 1, projection=3, dual_bn=True),
        NetworkSpec("resnet34", projection=3, dual_bn=True),
        NetworkSpec("resnet50", projection=3, dual_bn=True),
        NetworkSpec("wrn28_10", projection=3, dual_bn=True),
    ],
    ids=lambda s: f"{s.arch} {s.stem} {s.channels} {s.dual_bn}",
)
def test_weights_of_another_network_are_refused(claimed: NetworkSpec) -> None:
    """Weights with another stem, depth, or number of routes or channels are refused, because every tensor is checked."""
    with torch.device("meta"):
        spec = NetworkSpec("resnet18", projection=3, dual_bn=True)
        weights = ARCHITECTURES["resnet18"](spec).state_dict()
    with pytest.raises(DataError, match="do not fit"):
        classifier_from(weights, claimed, classes=10)


def test_what_else_cannot_be_asked_of_a_transfer() -> None:
    """An unknown route, a single class and an unknown architecture are refused."""
    spec = SPECS["dual encoder"]
    net = trained(spec)
    with pytest.raises(RequirementError, match="route"):
        classifier_from(net.state_dict(), spec, classes=2, route="pgd")
    with pytest.raises(RequirementError, match="classes"):
        classifier_from(net.state_dict(), spec, classes=1)
    with pytest.raises(UnknownNameError):
        classifier_from(net.state_dict(), replace(spec, arch="large"), classes=2)
    with pytest.raises(RequirementError, match="route"):
        one_route(net, spec, "pgd")
    with pytest.raises(RequirementError, match="the network is not"):
        one_route(net, SPECS["dual classifier"])


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("route", ROUTES)
def test_an_exported_route_answers_as_the_network_did(kind: str, route: Route) -> None:
    """The outputs, including the head, are bit for bit those of the network through the route; the network does not change."""
    spec = SPECS[kind]
    net, x = trained(spec), pixels(spec)
    before = {n: t.clone() for n, t in net.state_dict().items()}
    single, new = one_route(net, spec, route)

    assert torch.equal(single(x), net(x, route))
    assert new == replace(spec, dual_bn=False)
    assert not single.dual_bn
    assert single.training == net.training
    for tensor in single.state_dict().values():
        tensor.add_(1)
    assert same(net.state_dict(), before)


@pytest.mark.parametrize("kind", SPECS)
def test_a_network_comes_back_from_its_file_bit_for_bit(kind: str, tmp_path: Path) -> None:
    """Tensors, spec, outputs and the values about the network are the same."""
    spec = SPECS[kind]
    net, x, path = trained(spec), pixels(spec), tmp_path / "runs" / "net.pt"
    save_network(path, net, spec, {"loss": "acl", "epochs": 3, "log": (1.5, None)})
    saved = load_network(path)
    back = restore(saved)

    assert saved.spec == spec
    assert saved.about == {"loss": "acl", "epochs": 3, "log": [1.5, None]}
    assert same(back.state_dict(), net.state_dict())
    assert torch.equal(back.eval()(x, "natural"), net(x, "natural"))
    for tensor in back.state_dict().values():
        tensor.add_(1)
    assert same(dict(saved.weights), net.state_dict())
    assert [p.name for p in path.parent.iterdir()] == ["net.pt"]


def test_float64_and_diverged_networks_can_be_saved(tmp_path: Path) -> None:
    """All values are kept bit for bit: float64, NaN in a weight, and NaN in the values about the network."""
    spec = SPECS["classifier"]
    net = trained(spec).double()
    next(net.parameters()).data.view(-1)[0] = float("nan")
    save_network(tmp_path / "n.pt", net, spec, {"final_loss": float("nan")})
    saved = load_network(tmp_path / "n.pt")
    back = restore(saved)

    assert all(
        torch.equal(a.view(torch.int64), b.view(torch.int64))
        for a, b in zip(back.state_dict().values(), net.state_dict().values(), strict=True)
    )
    assert saved.about["final_loss"] != saved.about["final_loss"]


def test_the_select_command_reads_such_a_file(tmp_path: Path) -> None:
    """The tensors lie under "model", where `coreselect select --checkpoint` looks."""
    spec = SPECS["classifier"]
    net, other = trained(spec), make(spec, seed=1)
    save_network(tmp_path / "n.pt", net, spec, {})
    load_weights(other, tmp_path / "n.pt")

    assert same(other.state_dict(), net.state_dict())


def test_a_part_of_a_large_tensor_is_written_alone(tmp_path: Path) -> None:
    """If a parameter is a view, the tensor behind it is not written."""
    spec = SPECS["classifier"]
    net = trained(spec)
    save_network(tmp_path / "own.pt", net, spec, {})
    parameter = next(net.parameters())
    large = torch.zeros(1_000_000)
    large[: parameter.numel()] = parameter.detach().view(-1)
    parameter.data = large[: parameter.numel()].view(parameter.shape)
    save_network(tmp_path / "view.pt", net, spec, {})

    assert (tmp_path / "view.pt").stat().st_size == (tmp_path / "own.pt").stat().st_size


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "n.pt"
    save_network(path, trained(SPECS["classifier"]), SPECS["classifier"], {"loss": "sat"})
    return path.read_bytes()


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_torn_file_is_refused(part: float, written: bytes, tmp_path: Path) -> None:
    """A file that was cut at any place is refused."""
    path = tmp_path / "n.pt"
    path.write_bytes(written[: int(part * len(written))])
    with pytest.raises(DataError, match="cannot be read"):
        load_network(path)


@pytest.mark.parametrize("part", [0.1, 0.4, 0.7, 0.9])
def test_a_flipped_bit_is_found(part: float, written: bytes, tmp_path: Path) -> None:
    """Damage inside a tensor, which torch would load, is found by its checksum."""
    path, at = tmp_path / "n.pt", int(part * len(written))
    path.write_bytes(written[:at] + bytes([written[at] ^ 16]) + written[at + 1 :])
    with pytest.raises(DataError):
        load_network(path)


class Mischief:
    """Code that a pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("mischief"),))


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        torch.zeros(3),
        {"model": {}},
        {"model": [], "network": {}, "about": {}},
        {"model": {}, "network": {}, "about": {}},
        {"model": {}, "network": {"arch": "large", "classes": 2}, "about": {}},
        {"model": {}, "network": {"arch": "small", "classes": 2}, "about": {}},
        {"model": {}, "network": {"arch": "small"}, "about": {}},
        {"model": {}, "network": {"arch": "small", "classes": 2, "depth": 3}, "about": {}},
        {"model": {}, "network": {1: 2}, "about": {}},
        {"model": Mischief(), "network": {"arch": "small", "classes": 2}, "about": {}},
    ],
)
def test_a_foreign_file_is_refused(content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other files of torch are refused in one sentence, and code in them is not run."""
    monkeypatch.chdir(tmp_path)
    torch.save(content, "n.pt")
    with pytest.raises(DataError, match=r"n\.pt"):
        load_network("n.pt")

    assert not Path("mischief").exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"not a network\n" * 100, b"\x80\x04."])
def test_what_is_no_file_of_torch_is_refused(content: bytes, tmp_path: Path) -> None:
    """Text, empty files, plain pickles, a missing file and a folder are refused."""
    (tmp_path / "n.pt").write_bytes(content)
    for path in (tmp_path / "n.pt", tmp_path / "none.pt", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            load_network(path)


@pytest.mark.parametrize("how", HURTS)
def test_a_file_whose_tensors_are_not_its_networks_is_refused(how: str, tmp_path: Path) -> None:
    """Such a file is refused by `load_network`, and such a `Saved` by `restore`."""
    spec = SPECS["classifier"]
    weights = hurt(trained(spec).state_dict(), how)
    torch.save({"model": weights, "network": asdict(spec), "about": {}}, tmp_path / "n.pt")
    with pytest.raises(DataError, match=r"says that it holds small .* but it does not"):
        load_network(tmp_path / "n.pt")
    with pytest.raises(DataError, match="do not fit small"):
        restore(Saved(weights, spec, {}))


def test_a_network_is_refused_before_a_file_is_touched(tmp_path: Path) -> None:
    """A wrong spec, a wrapper and values that are not JSON are refused, and the old file stays."""
    spec, path = SPECS["classifier"], tmp_path / "n.pt"
    net = trained(spec)
    save_network(path, net, spec, {})
    before = path.read_bytes()
    for model, claimed, about in (
        (net, replace(spec, classes=5), {}),
        (net, SPECS["encoder"], {}),
        (torch.nn.DataParallel(net), spec, {}),
        (net, spec, {"attack": object()}),
    ):
        with pytest.raises(RequirementError):
            save_network(path, model, claimed, about)

    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["n.pt"]


def test_nothing_here_moves_the_global_generator(tmp_path: Path) -> None:
    """Saving, loading, transfer and export make no random draws."""
    spec = SPECS["dual encoder"]
    net = trained(spec)
    state = torch.get_rng_state()
    save_network(tmp_path / "n.pt", net, spec, {})
    restore(load_network(tmp_path / "n.pt"))
    classifier_from(net.state_dict(), spec, classes=2)
    one_route(net, spec)

    assert torch.equal(torch.get_rng_state(), state)
