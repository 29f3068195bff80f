"""AutoAttack finds the analytic robust accuracy of linear classifiers, stays in its ball and changes no state."""

import math
import sys
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from coreselect.errors import MissingExtraError, RequirementError, ShapeError, UnknownNameError
from coreselect_integrations.evaluation.attack_ensemble import NORMS, STANDARD, Ensemble
from coreselect_integrations.evaluation.autoattack import SLACK, AutoAttackEvaluation, autoattack, fooled

package = pytest.importorskip("pyautoattack", reason="AutoAttack needs coreselect[train]")

quick: Callable[..., AutoAttackEvaluation] = partial(autoattack, steps=20, queries=30)
RADIUS = {"linf": 0.02, "l2": 0.2, "l1": 0.3}
DUAL = {"linf": 1.0, "l2": 2.0, "l1": math.inf}


def head(net: nn.Sequential) -> nn.Linear:
    linear = net[1]
    assert isinstance(linear, nn.Linear)
    return linear


def linear(classes: int = 5, side: int = 6) -> nn.Sequential:
    g = torch.Generator().manual_seed(classes)
    net = nn.Sequential(nn.Flatten(), nn.Linear(side * side, classes))
    with torch.no_grad():
        head(net).weight.copy_(torch.randn(classes, side * side, generator=g))
        head(net).bias.zero_()
    return net


def distances(net: nn.Sequential, data: TensorDataset, norm: str) -> Tensor:
    """min_{j ≠ y} (z_y − z_j)/‖w_y − w_j‖_*, the exact distance to the nearest other class; negative where wrong."""
    x, y = data.tensors
    w, z = head(net).weight.detach().double(), net(x).detach().double()
    return torch.tensor(
        [
            min(
                float((z[i, c] - z[i, j]) / torch.linalg.vector_norm(w[c] - w[j], DUAL[norm]))
                for j in range(len(w))
                if j != c
            )
            for i, c in enumerate(y.tolist())
        ]
    )


def problem(norm: str = "linf", classes: int = 5, n: int = 24, side: int = 6) -> tuple[nn.Sequential, TensorDataset]:
    """Points that cannot be pushed out of [0, 1], every fifth label wrong, none within a tenth of the radius of its distance."""
    net, g = linear(classes, side), torch.Generator().manual_seed(1)
    x = 0.3 + 0.4 * torch.rand(200, 1, side, side, generator=g)
    y = net(x).argmax(1)
    y[::5] = (y[::5] + 1) % classes
    clear = ((distances(net, TensorDataset(x, y), norm) / RADIUS[norm] - 1).abs() > 0.1).nonzero().squeeze(1)[:n]
    return net, TensorDataset(x[clear], y[clear])


@pytest.mark.parametrize("norm", list(NORMS))
@pytest.mark.parametrize(("n", "batch_size"), [(10, 1), (24, 100)])
def test_a_linear_classifier_is_robust_up_to_its_distance(norm, n: int, batch_size: int) -> None:
    """A correct point is robust exactly if (z_y − z_j)/‖w_y − w_j‖_* > radius for every other class j."""
    net, data = problem(norm, n=n)
    d = distances(net, data, norm)
    got = quick(net, data, radius=RADIUS[norm], norm=norm, batch_size=batch_size)

    assert got.standard == pytest.approx((d > 0).double().mean().item())
    assert got.robust == pytest.approx((d > RADIUS[norm]).double().mean().item())
    assert 0 < got.robust < got.standard < 1  # or the comparison would show nothing
    assert got.n == len(data)


@pytest.mark.parametrize(("classes", "attacks"), [(2, ["apgd-ce"]), (2, ["fab-t"]), (3, ["fab-t"]), (4, ["apgd-t"])])
def test_single_attacks_are_exact_on_few_classes(classes: int, attacks: list[str]) -> None:
    """Targeted attacks try all classes that exist, and each single attack is exact for a linear classifier."""
    net, data = problem(classes=classes)
    got = quick(net, data, radius=RADIUS["linf"], attacks=attacks)

    assert got.robust == pytest.approx((distances(net, data, "linf") > RADIUS["linf"]).double().mean().item())


def test_accuracy_falls_from_attack_to_attack() -> None:
    """`after` holds the accuracy after each attack in the order they ran; the last one is the robust accuracy."""
    net, data = problem()
    got = quick(net, data, radius=RADIUS["linf"], attacks=["square", "apgd-ce", "square"])

    assert list(got.after) == ["square", "apgd-ce"]
    assert got.standard >= got.after["square"] > got.after["apgd-ce"] == got.robust


@pytest.mark.parametrize("norm", list(NORMS))
def test_attacks_see_what_is_left_and_answer_inside_the_ball(norm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong points are never attacked, fooled points not again, and no result is outside the ball or [0, 1]."""
    net, data = problem(norm)
    x, y = data.tensors
    x = (x + 0.3).clamp(0, 1)  # some pixels touch the upper bound
    y = torch.where(net(x).argmax(1) == 0, 1, net(x).argmax(1))  # whatever is of class 0 counts as wrong
    inputs: list[Tensor] = []
    original = Ensemble.attack

    def watched(self, name, *rest):
        attack = original(self, name, *rest)
        perturb = attack.perturb

        def checked(x, y):
            assert torch.equal(net(x).argmax(1), y)
            inputs.append(x.clone())
            out = perturb(x, y)
            length = torch.linalg.vector_norm((out - x).flatten(1), {"linf": math.inf, "l2": 2, "l1": 1}[norm], dim=1)
            assert (length <= RADIUS[norm] * (1 + SLACK)).all()
            assert out.min() >= -1e-6
            assert out.max() <= 1 + 1e-6
            return out

        attack.perturb = checked  # type: ignore[method-assign]
        return attack

    monkeypatch.setattr(Ensemble, "attack", watched)
    got = quick(net, TensorDataset(x, y), radius=RADIUS[norm], norm=norm)

    sizes = [round(got.standard * got.n), *(round(share * got.n) for share in got.after.values())]
    assert [len(one) for one in inputs] == sizes[: len(inputs)]


def test_answers_outside_do_not_count() -> None:
    """A result counts only if it is wrongly classified, inside the ball and in [0, 1]."""
    x, y = torch.tensor([[0.5], [0.5], [0.5], [0.05], [0.5]]), torch.zeros(5, dtype=torch.long)
    answers = torch.tensor([[0.6], [0.61], [0.45], [-0.05], [math.nan]])
    got = fooled(lambda v: torch.cat([0.52 - v, (v - 0.5).abs() - 0.02], 1), x, y, answers, 0.1, "linf")

    assert got.tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("norm", list(NORMS))
def test_attacks_are_those_of_the_standard_version(norm) -> None:
    """For ten classes, every number is that of the standard version in the package."""
    suite = package.AutoAttack(linear(10), norm=NORMS[norm], eps=0.1, version="standard", seed=3)
    suite.fab.targeted, theirs = (
        True,
        dict(zip(STANDARD, (suite.apgd, suite.apgd_targeted, suite.fab, suite.square), strict=True)),
    )
    ensemble = Ensemble(0.1, norm, 100, 5000)

    assert suite.attacks_to_run == list(STANDARD)
    for name in STANDARD:
        ours = vars(ensemble.attack(name, suite.model, 10, torch.device("cpu"), 3))
        for key, value in vars(theirs[name]).items():
            if key not in ("model", "predict", "logger", "device"):
                assert ours[key] == value, (name, key)


@pytest.mark.parametrize("fails", [False, True])
def test_it_leaves_no_trace(fails: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Modes, flags, gradients, parameters, global generators and inputs do not change, also after an error; nothing is printed."""
    net, data = problem()
    net.train()
    head(net).weight.requires_grad_(False)
    before, x, rng = [p.detach().clone() for p in net.parameters()], data.tensors[0].clone(), torch.get_rng_state()
    calls = 0

    def call(m: nn.Module, v: Tensor, route: str) -> Tensor:
        nonlocal calls
        calls += 1
        if fails and calls > 5:
            raise ArithmeticError
        return m(v)

    if fails:
        with pytest.raises(ArithmeticError):
            quick(net, data, radius=0.02, call=call)
    else:
        quick(net, data, radius=0.02, call=call)

    assert torch.equal(torch.get_rng_state(), rng)
    assert net.training
    assert [p.requires_grad for p in net.parameters()] == [False, True]
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))
    assert torch.equal(data.tensors[0], x)
    assert capsys.readouterr() == ("", "")


def test_the_seed_decides_and_nothing_else() -> None:
    """The same seed gives the same inputs for any global state; another seed gives others."""
    net, data = problem()
    seen: list[Tensor] = []

    def asked(seed: int) -> Tensor:
        seen.clear()
        torch.manual_seed(len(seen) + seed + 17)
        quick(net, data, radius=0.02, seed=seed, call=lambda m, v, _: seen.append(v.detach()) or m(v))
        return torch.cat(seen)

    first = asked(0)
    torch.rand(3)

    assert torch.equal(first, asked(0))
    assert not torch.equal(first, asked(1))


def test_route_unpack_loader_progress_and_double_precision() -> None:
    """The options are those of `evaluate`; a float64 model is attacked in float32 and evaluated in float64."""
    net, data = problem()
    batches = DataLoader([{"x": x.double(), "y": y} for x, y in data], 9)  # type: ignore[arg-type]  # map-style
    routes, heard = set(), []
    got = quick(
        net.double(), batches, radius=0.02, unpack=lambda b: (b["x"], b["y"]), route="natural",
        call=lambda m, v, route: routes.add(route) or m(v), progress=lambda *now: heard.append(now)
    )  # fmt: skip

    assert got.robust == quick(net.float(), data, radius=0.02).robust
    assert routes == {"natural"}
    assert heard == [("autoattack", done, 24) for done in (9, 18, 24)]


def test_an_output_that_shares_memory_with_the_model_is_safe() -> None:
    """Square overwrites the logits that it gets, so it gets a copy."""

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.tensor([0.0, 1.0, 0.0, 0.0]))

        def forward(self, x: Tensor) -> Tensor:
            return self.bias.expand(len(x), -1)

    got = quick(Constant(), TensorDataset(torch.rand(3, 1, 4, 4), torch.ones(3).long()), attacks=["square"])

    assert (got.standard, got.robust) == (1.0, 1.0)


def test_all_wrong_is_nothing_to_attack() -> None:
    """Without a correct point, both accuracies are 0."""
    net, data = problem()
    got = autoattack(net, TensorDataset(data.tensors[0], (net(data.tensors[0]).argmax(1) + 1) % 5))

    assert (got.standard, got.robust, set(got.after.values())) == (0.0, 0.0, {0.0})


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"norm": "linfinity"}, UnknownNameError, "linf, l2, l1"),
        ({"attacks": ["pgd"]}, UnknownNameError, "'pgd'"),
        ({"attacks": []}, UnknownNameError, "none"),
        ({"radius": 0.0}, RequirementError, "radius=0.0"),
        ({"radius": math.nan}, RequirementError, "radius=nan"),
        ({"steps": 1}, RequirementError, "steps=1"),
        ({"queries": 0}, RequirementError, "queries=0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, error: type[Exception], says: str) -> None:
    """They are refused in one sentence that names the given value."""
    net, data = problem()
    with pytest.raises(error, match=says):
        autoattack(net, data, **settings)


@pytest.mark.parametrize(
    ("classes", "x", "norm", "error", "says"),
    [
        (3, torch.rand(2, 1, 6, 6), "linf", RequirementError, r"attacks=\('apgd-ce', 'fab-t', 'square'\)"),
        (1, torch.rand(2, 1, 6, 6), "linf", ShapeError, "at least 2 classes"),
        (5, torch.rand(2, 1, 6, 6) * 255, "linf", ShapeError, "put the normalisation into the model"),
        (5, torch.full((2, 1, 6, 6), math.nan), "linf", ShapeError, "between nan and nan"),
        (5, torch.rand(2, 36), "linf", ShapeError, "leave square out"),
        (5, torch.rand(2, 9, 4, 1), "l2", ShapeError, "H, W ≥ 5"),
        (5, torch.rand(0, 1, 6, 6), "linf", RequirementError, "no examples"),
    ],
)
def test_models_and_inputs_that_cannot_be_attacked_are_refused(
    classes: int, x: Tensor, norm, error: type[Exception], says: str
) -> None:
    """Too few classes, inputs outside [0, 1], shapes that Square cannot attack, and empty data are refused."""
    with pytest.raises(error, match=says):
        autoattack(linear(classes), TensorDataset(x, torch.zeros(len(x)).long()), norm=norm)


def test_flat_inputs_are_attacked_without_square() -> None:
    """The other three attacks take any shape."""
    net, data = problem()
    flat = TensorDataset(data.tensors[0].flatten(1), data.tensors[1])
    got = quick(net, flat, radius=0.02, attacks=STANDARD[:3])

    assert got.robust == quick(net, data, radius=0.02).robust


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is raised before the first forward pass and names the extra."""
    monkeypatch.setitem(sys.modules, "pyautoattack.square", None)
    with pytest.raises(MissingExtraError, match=r"coreselect\[train\]"):
        autoattack(linear(), problem()[1], call=lambda m, v, route: pytest.fail("the model was called"))
