"""Accuracies are those of a plain loop for any batch size, and an evaluation changes no state."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from coreselect.attacks import PGD
from coreselect.errors import RequirementError
from coreselect.support.seeding import noise, seeds
from coreselect_integrations.evaluation import evaluate
from coreselect_integrations.networks import small_conv, small_conv_contrastive

ATTACK = PGD(0.1, 0.04, 5)


def data(n: int = 23) -> TensorDataset:
    g = torch.Generator().manual_seed(5)
    return TensorDataset(torch.rand(n, 1, 8, 8, generator=g), torch.randint(0, 2, (n,), generator=g))


@pytest.fixture
def model() -> nn.Module:
    """A network that has memorised labels, a fifth of them wrong, so that some points are wrong and some are fooled."""
    torch.manual_seed(0)
    net = small_conv(2, 1, 8)
    x, y = data().tensors
    y[::5] = 1 - y[::5]
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(8):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    return net


def line(w: Tensor, b: float) -> nn.Module:
    """A two-class linear classifier with logit difference ⟨w, x⟩ + b."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(w.numel(), 2))
    linear = net[1]
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight.copy_(torch.stack([torch.zeros_like(w), w]))
        linear.bias.copy_(torch.tensor([0.0, b]))
    return net


def by_hand(model: nn.Module, dataset: TensorDataset, attack: PGD, seed: int) -> tuple[float, float]:
    """The accuracies, one example at a time, with every iterate checked and gradients by a plain backward pass."""
    model.eval()
    standard = robust = 0
    for i in range(len(dataset)):
        x, y = (part[i : i + 1] for part in dataset.tensors)
        ok = bool(model(x).argmax() == y)
        standard += ok
        start = noise(x, seeds(seed, "evaluation", indices=torch.tensor([i]).numpy()))
        at = (x + attack.radius * start).clamp(0, 1)
        for step in range(attack.steps + 1):
            ok = ok and bool(model(at).argmax() == y)
            if step < attack.steps:
                at = at.detach().requires_grad_()
                (slope,) = torch.autograd.grad(F.cross_entropy(model(at), y), at)
                at = (at + attack.step * slope.sign()).clamp(x - attack.radius, x + attack.radius).clamp(0, 1)
        robust += ok
    return standard / len(dataset), robust / len(dataset)


def test_accuracies_equal_the_obvious_loop(model: nn.Module) -> None:
    """One example at a time, looking at every iterate, gives the same two shares."""
    got = evaluate(model, data(), attack=ATTACK, seed=3)

    assert by_hand(model, data(), ATTACK, 3) == (got.standard, got.robust)
    assert got.n == 23
    assert 0 < got.robust < got.standard  # or the comparison would show nothing


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_batch_size_does_not_matter(model: nn.Module, batch_size: int) -> None:
    """Random starts depend on the example, not on the batch; a loader and its dataset give the same result."""
    whole = evaluate(model, data(), attack=ATTACK)
    parts = evaluate(model, data(), attack=ATTACK, batch_size=batch_size)
    loader = evaluate(model, DataLoader(data(), batch_size, generator=torch.Generator()), attack=ATTACK)

    assert (whole.standard, whole.robust) == (parts.standard, parts.robust) == (loader.standard, loader.robust)


def test_a_linear_classifier_is_robust_up_to_its_margin() -> None:
    """For logits ⟨w, x⟩ + b, a right point survives radius r exactly if |⟨w, x⟩ + b| > r·‖w‖₁ (bounds aside)."""
    g = torch.Generator().manual_seed(0)
    w, x = torch.randn(16, generator=g), 0.5 + 0.2 * torch.rand(200, 1, 4, 4, generator=g)
    margin = x.flatten(1) @ w - (0.6 * w).sum()
    y = (margin > 0).long()
    y[::7] = 1 - y[::7]  # some points are wrong to begin with
    right = (margin > 0).long() == y
    got = evaluate(line(w, -float((0.6 * w).sum())), TensorDataset(x, y), attack=PGD(0.02, 0.01, 8))

    assert got.standard == pytest.approx(right.double().mean().item())
    assert got.robust == pytest.approx((right & (margin.abs() > 0.02 * w.abs().sum())).double().mean().item())


def test_a_point_fooled_on_the_way_is_not_robust() -> None:
    """An attack that passes a fooling input and returns to the start has fooled the model."""

    class ThereAndBack:
        random_start = False

        def __call__(self, ascend, inputs, noise):
            ascend(tuple(1 - x for x in inputs))
            return inputs

    x = torch.tensor([0.9, 0.8]).view(2, 1, 1, 1)
    got = evaluate(line(torch.ones(1), -0.5), TensorDataset(x, torch.tensor([1, 1])), attack=ThereAndBack())

    assert (got.standard, got.robust) == (1.0, 0.0)


def test_without_radius_robust_is_standard(model: nn.Module) -> None:
    """With radius 0, robust accuracy is standard accuracy."""
    got = evaluate(model, data(), attack=PGD(0.0, 0.1, 3))

    assert got.robust == got.standard


@pytest.mark.parametrize("fails", [False, True])
def test_evaluating_leaves_no_trace(model: nn.Module, fails: bool) -> None:
    """Parameters, buffers, flags, modes, gradients and the global generator stay, also when the attack fails."""

    class Fails:
        random_start = True

        def __call__(self, ascend, inputs, noise):
            raise RuntimeError

    model.train()
    first, *others = model.modules()
    others[0].eval()  # a module that is frozen on purpose
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)
    parameters[1].grad = torch.ones_like(parameters[1])
    modes, flags = [m.training for m in model.modules()], [p.requires_grad for p in parameters]
    state, rng = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    if fails:
        with pytest.raises(RuntimeError):
            evaluate(model, data(), attack=Fails())
    else:
        evaluate(model, data(), attack=ATTACK)

    assert modes == [m.training for m in model.modules()]
    assert flags == [p.requires_grad for p in parameters]
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert [p.grad is None for p in parameters] == [i != 1 for i in range(len(parameters))]
    assert torch.equal(torch.get_rng_state(), rng)
    assert first.training


def test_call_and_route_reach_a_network_with_two_routes() -> None:
    """The same route serves natural and attacked inputs."""
    seen: set[str] = set()

    def call(m, x, route):
        seen.add(route)
        return m(x, route)[:, :2]

    evaluate(small_conv_contrastive(1, 8), data(4), attack=ATTACK, call=call, route="natural")

    assert seen == {"natural"}


def test_batches_of_another_form_are_unpacked(model: nn.Module) -> None:
    """`unpack` reads what a loader yields."""
    batches = DataLoader([{"x": x, "y": y} for x, y in data()], 8)  # type: ignore[arg-type]  # a list is map-style
    got = evaluate(model, batches, attack=ATTACK, unpack=lambda b: (b["x"], b["y"]))

    assert got.standard == evaluate(model, data(), attack=ATTACK).standard


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_evaluating_inside_no_grad_is_the_same(model: nn.Module, mode) -> None:
    """The attack gets gradients also inside `no_grad` or inference mode."""
    with mode():
        inside = evaluate(model, data(), attack=ATTACK)

    assert inside.robust == evaluate(model, data(), attack=ATTACK).robust


def test_nothing_to_evaluate_is_refused(model: nn.Module) -> None:
    """An empty dataset is refused."""
    with pytest.raises(RequirementError, match="no examples"):
        evaluate(model, DataLoader(data(0), 4))


class Stream(IterableDataset):
    """The same examples without a length."""

    def __iter__(self):
        return iter(data())


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        (data(), [(8, 23), (16, 23), (23, 23)]),
        (DataLoader(data(), 10), [(10, 23), (20, 23), (23, 23)]),
        (DataLoader(data(), 10, drop_last=True), [(10, 20), (20, 20)]),
        (DataLoader(data(), 4, sampler=[3, 1, 4, 1, 5]), [(4, 5), (5, 5)]),
        (Stream(), [(8, 8), (16, 16), (23, 23)]),
        (DataLoader(Stream(), 20), [(20, 20), (23, 23)]),
    ],
)
def test_progress_is_reported_after_each_batch(model: nn.Module, loader, said: list[tuple[int, int]]) -> None:
    """(part, done, total) goes up to the number of examples; where that is unknown, the total is what is done."""
    heard: list[tuple[str, int, int]] = []
    evaluate(model, loader, attack=PGD(0.1, 0.1, 1), batch_size=8, progress=lambda *now: heard.append(now))

    assert heard == [("evaluation", *now) for now in said]
