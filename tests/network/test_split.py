"""Claims about the split of a model into features and head: what is found, what is checked, and what is refused."""

from typing import Any

import cases
import pytest
import torch
from torch import Tensor, nn

from coreselect.errors import HeadError
from coreselect.network.network import HeadSplit, WholeModel, default_call
from coreselect.network.split import split
from coreselect.protocols import Route

X = cases.images(5)


def plain(model: nn.Module, *, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return the module in this precision and in evaluation mode."""
    return cases.built(lambda: model, dtype=dtype)


def agrees(net: Any, model: nn.Module, call: Any = default_call) -> None:
    """Assert that apply(θ, prepare(x)) is model(x) on both routes, with other inputs run in between."""
    routes: tuple[Route, Route] = ("natural", "adversarial")
    other = cases.images(5, seed=9)
    with torch.no_grad():
        want = {r: call(model, X, r) for r in routes}
        prepared = {r: net.prepare(X, r) for r in routes}
        for r in routes:
            net.prepare(other, r)
        for r in routes:
            assert torch.allclose(net.apply(net.captured, prepared[r], r), want[r], atol=1e-12)


def test_a_linear_head_is_found() -> None:
    """The smallest submodule that holds a Linear and makes the output is the head; its weight and bias are θ."""
    model = cases.built(cases.ConvNet)
    net = split(model, default_call, X)
    assert isinstance(net, HeadSplit)
    assert net.name == "fc"
    assert list(net.captured) == ["fc.weight", "fc.bias"]
    assert net.prepare(X, "natural").shape == (5, 12)
    assert net.routes == 1
    agrees(net, model)


def test_a_deep_head_is_found_by_its_last_linear_and_can_be_named() -> None:
    """Without a name the last Linear is the head; a named head is split off with all its Linears and without its BN."""
    model = cases.built(cases.DeepHead)
    assert split(model, default_call, X).name == "head.3"  # type: ignore[union-attr]
    net = split(model, default_call, X, head="head")
    assert list(net.captured) == ["head.0.weight", "head.0.bias", "head.3.weight", "head.3.bias"]
    agrees(net, model)


def test_a_bare_linear_is_its_own_head() -> None:
    """The features of a model that is one Linear are its inputs."""
    model = cases.built(lambda: nn.Linear(4, 3))
    x = torch.rand(5, 4, dtype=torch.float64)
    net = split(model, default_call, x)
    assert isinstance(net, HeadSplit)
    assert list(net.captured) == ["weight", "bias"]
    assert torch.equal(net.prepare(x, "natural"), x)


def test_two_routes_are_seen() -> None:
    """A dual-route network has two routes, its head is called with the route, and both agree with the model."""
    model = cases.built(cases.DualNet)
    net = split(model, cases.routed, X, head="head")
    assert net.routes == 2
    agrees(net, model, cases.routed)


def test_features_are_differentiable_in_the_inputs() -> None:
    """prepare keeps the graph from inputs to features."""
    net = split(cases.built(cases.ConvNet), default_call, X)
    x = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net.prepare(x, "natural").sum(), x)
    assert float(slope.abs().sum()) > 0


def test_nothing_is_left_on_the_model() -> None:
    """After a split and its use no hook is left on the model, also if the model raised an error."""
    model = cases.built(cases.ConvNet)
    net = split(model, default_call, X)
    with pytest.raises(RuntimeError):
        net.prepare(torch.zeros(2, 7, 3), "natural")
    with pytest.raises(RuntimeError):
        split(model, default_call, torch.zeros(2, 7, 3))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("capture", "kind", "count"),
    [
        (None, HeadSplit, 2),
        ("fc.*", HeadSplit, 2),
        (["fc.bias"], HeadSplit, 1),
        ("all", WholeModel, 6),
        (["conv.*"], WholeModel, 2),
        (["fc.weight", "norm.*"], WholeModel, 3),
        ("*.weight", WholeModel, 3),
    ],
)
def test_capture_decides_what_is_cached(capture: Any, kind: type, count: int) -> None:
    """Features are cached if all captured parameters are in the head; with any other parameter the whole model is used."""
    model = cases.built(cases.ConvNet)
    net = split(model, default_call, X, capture=capture)
    assert type(net) is kind
    assert len(net.captured) == count
    assert net.caches == (kind is HeadSplit)
    agrees(net, model)


def test_apply_replaces_the_captured_parameters() -> None:
    """apply with other parameters equals the model with these parameters."""
    for capture in (None, "all"):
        model = cases.built(cases.ConvNet)
        net = split(model, default_call, X, capture=capture)
        moved = {n: p + 0.1 for n, p in net.captured.items()}
        got = net.apply(moved, net.prepare(X, "natural"), "natural")
        with torch.no_grad():
            for n, p in model.named_parameters():
                if n in moved:
                    p.copy_(moved[n])
            assert torch.allclose(got, model(X), atol=1e-12)


def one_sentence(why: pytest.ExceptionInfo[HeadError], *words: str) -> None:
    """Assert that a refusal is one sentence with these words."""
    text = str(why.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_an_unknown_head_is_refused() -> None:
    """An unknown head is refused, and the message lists the children of the model."""
    with pytest.raises(HeadError) as why:
        split(cases.built(cases.ConvNet), default_call, X, head="classifier")
    one_sentence(why, "classifier", "conv", "fc")


def test_a_module_that_is_not_the_head_is_refused() -> None:
    """A submodule in the middle is refused, because its output differs, and the message names head=."""
    with pytest.raises(HeadError) as why:
        split(cases.built(cases.DeepHead), default_call, X, head="body.1")
    one_sentence(why, "head=")


def test_a_capture_that_matches_nothing_is_refused() -> None:
    """A pattern without a match is refused, and the message lists the parameters."""
    with pytest.raises(HeadError, match=r"conv\.weight"):
        split(cases.built(cases.ConvNet), default_call, X, capture=["fc.*", "encoder.*"])


class Tupled(nn.Module):
    """Returns more than one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(36, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = x.flatten(1)
        return self.fc(z), z


def test_an_output_that_is_no_tensor_is_refused_and_call_repairs_it() -> None:
    """A tuple is refused, and the message names call=; a call= that returns one tensor works."""
    model = plain(Tupled())
    with pytest.raises(HeadError) as why:
        split(model, default_call, X)
    one_sentence(why, "call=", "tuple")
    assert split(model, lambda m, x, r: m(x)[0], X).name == "fc"  # type: ignore[union-attr]


def test_an_output_that_is_no_matrix_is_refused() -> None:
    """An output [B, C, H, W] is refused, and the message names its shape and call=."""
    with pytest.raises(HeadError) as why:
        split(plain(nn.Sequential(nn.Conv2d(1, 2, 3))), default_call, X)
    one_sentence(why, "[B, C]", "call=")


class After(nn.Module):
    """Scales the logits after its last module."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.fc(x.flatten(1))


def test_an_output_that_no_submodule_makes_is_refused_with_both_remedies() -> None:
    """If the model changes the output of its last module, the message names head= and call=; capture='all' still works."""
    model = plain(After())
    with pytest.raises(HeadError) as why:
        split(model, default_call, X)
    one_sentence(why, "head=", "call=")
    agrees(split(model, default_call, X, capture="all"), model)


class Twice(nn.Module):
    """Calls its head twice in a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(36, 36)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.fc(x.flatten(1))))


def test_a_head_that_is_called_twice_is_refused() -> None:
    """A head that is called twice in one forward pass is refused, and the message gives the number."""
    with pytest.raises(HeadError, match="2 times"):
        split(plain(Twice()), default_call, X, head="fc")


class Tied(nn.Module):
    """Shares the weight of the head with an earlier layer."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.fc = nn.Linear(36, 36), nn.Linear(36, 36)
        self.early.weight = self.fc.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.tanh(self.early(x.flatten(1))))


def test_tied_parameters_are_refused() -> None:
    """A head whose weight also changes the features is refused, and the message names capture='all'."""
    model = plain(Tied())
    with pytest.raises(HeadError) as why:
        split(model, default_call, X)
    one_sentence(why, "capture='all'")
    agrees(split(model, default_call, X, capture="all"), model)


class TwoTensors(nn.Module):
    """A head that takes two tensors."""

    class Head(nn.Module):
        """Adds a skip connection."""

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(36, 3)

        def forward(self, z: Tensor, skip: Tensor) -> Tensor:
            return self.fc(z) + skip.mean(1, keepdim=True)

    def __init__(self) -> None:
        super().__init__()
        self.head = TwoTensors.Head()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1).tanh(), x.flatten(1))


def test_a_head_with_two_tensors_is_refused() -> None:
    """A head that reads a second tensor is refused."""
    with pytest.raises(HeadError, match="only tensor"):
        split(plain(TwoTensors()), default_call, X, head="head")


class StoredState(nn.Module):
    """A model whose head reads what the forward pass stored on it."""

    class Head(nn.Module):
        """Adds the stored value."""

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(36, 3)
            self.left: Any = 0.0

        def forward(self, z: Tensor) -> Tensor:
            return self.fc(z) + self.left

    def __init__(self) -> None:
        super().__init__()
        self.head = StoredState.Head()

    def forward(self, x: Tensor) -> Tensor:
        self.head.left = x.flatten(1).mean(1, keepdim=True)
        return self.head(x.flatten(1).tanh())


def test_a_head_with_hidden_state_is_refused() -> None:
    """A head whose output depends on the state of the last forward pass is refused."""
    with pytest.raises(HeadError, match="more than its input"):
        split(plain(StoredState()), default_call, X, head="head")


class RouteAttribute(nn.Module):
    """A dual-BN head whose route is an attribute of the module, which the caller sets."""

    def __init__(self) -> None:
        super().__init__()
        self.route: Route = "natural"
        self.body = nn.Linear(36, 6)
        self.head = RouteAttribute.Head(self)

    class Head(nn.Module):
        """Reads the route of its owner."""

        def __init__(self, owner: nn.Module) -> None:
            super().__init__()
            self.owner = [owner]
            self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)
            self.norms = nn.ModuleDict({"natural": nn.BatchNorm1d(5), "adversarial": nn.BatchNorm1d(5)})

        def forward(self, z: Tensor) -> Tensor:
            return self.last(torch.relu(self.norms[self.owner[0].route](self.first(z))))  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.flatten(1)))


def set_route_and_call(model: Any, x: Tensor, route: Route) -> Tensor:
    """Set the route, then call the model."""
    model.route = route
    return model(x)


def test_a_route_kept_as_an_attribute_is_refused() -> None:
    """A head whose route is an attribute that the last caller set is refused, and the message names head=."""
    model = plain(RouteAttribute())
    with pytest.raises(HeadError, match="head="):
        split(model, set_route_and_call, X, head="head")


def test_a_linear_after_a_norm_with_such_a_route_works() -> None:
    """If the route matters only before the head, the last Linear is the head and agrees on both routes."""
    model = plain(RouteAttribute())
    net = split(model, set_route_and_call, X)
    assert net.name == "head.last"  # type: ignore[union-attr]
    assert net.routes == 2
    agrees(net, model, set_route_and_call)


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.LeakyReLU(0.3, inplace=True), nn.ELU(inplace=True)])
def test_a_head_that_begins_in_place_agrees(activation: nn.Module) -> None:
    """A head whose first module overwrites its input gives the output of the model, twice in a row."""
    model = plain(nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Sequential(activation, nn.Linear(8, 3))))
    net = split(model, default_call, X, head="2")
    agrees(net, model)
    prepared = net.prepare(X, "natural")
    with torch.no_grad():
        first = net.apply(net.captured, prepared, "natural")
        assert torch.equal(net.apply(net.captured, prepared, "natural"), first)
        assert torch.allclose(first, model(X), atol=1e-12)


def test_inputs_keep_their_gradient_through_a_head_that_begins_in_place() -> None:
    """The gradient of the inputs through prepare and apply equals that of the model."""
    model = plain(nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(8, 3))))
    net = split(model, default_call, X, head="2")
    x = X.clone().requires_grad_()
    (want,) = torch.autograd.grad(model(x).sum(), x)
    (got,) = torch.autograd.grad(net.apply(net.captured, net.prepare(x, "natural"), "natural").sum(), x)
    assert torch.allclose(got, want)


def test_a_head_that_ends_in_a_view_is_found() -> None:
    """A head that flattens its own output is found and gives the output of the model."""
    model = plain(nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Flatten()))
    agrees(split(model, default_call, X), model)


def test_a_diverged_model_is_refused() -> None:
    """A model whose outputs are NaN is refused, and the message says that it has diverged."""
    model = cases.built(cases.ConvNet)
    with torch.no_grad():
        model.fc.weight.fill_(float("nan"))  # type: ignore[union-attr]
    with pytest.raises(HeadError, match="diverged"):
        split(model, default_call, X)


def test_weight_norm_is_captured_completely_or_refused() -> None:
    """The direction and the length of a weight-normalised head are in θ, or the head is refused; θ is never only its bias."""
    for normed in (
        nn.utils.parametrizations.weight_norm(nn.Linear(36, 3)),
        nn.utils.weight_norm(nn.Linear(36, 3)),  # type: ignore[deprecated]
    ):
        model = plain(nn.Sequential(nn.Flatten(), normed))
        try:
            net = split(model, default_call, X)
        except HeadError:
            continue
        assert len(net.captured) == 3
        agrees(net, model)
