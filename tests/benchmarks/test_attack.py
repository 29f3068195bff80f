"""Claims about the attack benchmark: both sides train the same network, and one of them differentiates its weights for nothing."""

import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks import attack, problem, run
from benchmarks.case_types import AttackCase
from benchmarks.cases import CASES
from coreselect.attacks import PGD
from coreselect_integrations.systems import sat

CASE = AttackCase(batches=4, batch_size=8, attack=PGD(0.1, 0.03, 5))


class Net(nn.Module):
    """A tiny network with running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.head = nn.Linear(5, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] → [B, 10]."""
        return self.head(self.norm(self.conv(x)).tanh().mean((-2, -1)))


def seeded(seed: int, *_: object) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net().eval()


@pytest.fixture
def model() -> Net:
    return seeded(3)


def batches(case: AttackCase = CASE) -> list[attack.Batch]:
    return attack.noise(case, size=6)


def plainly(case: AttackCase, model: nn.Module) -> None:
    for _ in attack.train_plainly(case, model, batches(case)):
        pass


def quickly(case: AttackCase, model: nn.Module) -> None:
    sat.train_epoch(model, batches(case), attack.optimiser(case, model), case.attack, generator=attack.draws(case))


def test_both_sides_end_at_the_same_weights(model: Net) -> None:
    """Four updates with momentum agree to rounding in weights and running statistics, and moved them all.

    In float32, in which `train_epoch` takes its loss whatever the network is in.
    """
    ours, plain = copy.deepcopy(model), copy.deepcopy(model)
    quickly(CASE, ours)
    plainly(CASE, plain)
    start = model.state_dict()
    for name, theirs in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], theirs, rtol=1e-5, atol=1e-6)
        assert not torch.equal(theirs, start[name]), name


def test_the_attack_is_part_of_what_both_do(model: Net) -> None:
    """Without attack steps the weights end elsewhere: their agreement says something about the attack."""
    still = copy.deepcopy(model)
    attacked = copy.deepcopy(model)
    plainly(replace(CASE, attack=PGD(0.1, 0.03, 0)), still)
    plainly(CASE, attacked)
    assert attack.difference(still.state_dict(), attacked.state_dict(), model.state_dict()) > 0.01


def test_weights_are_differentiated_once_a_batch_or_once_a_backward_pass(model: Net) -> None:
    """Ours computes every weight's gradient once a batch, the plain loop once more for each attack step."""
    counts = {}
    for name, train in (("ours", quickly), ("plain", plainly)):
        net = copy.deepcopy(model)
        seen: list[str] = []
        for parameter, weight in net.named_parameters():
            weight.register_hook(lambda _, parameter=parameter, seen=seen: seen.append(parameter))
        train(CASE, net)
        counts[name] = {parameter: seen.count(parameter) for parameter, _ in net.named_parameters()}
    assert set(counts["ours"].values()) == {CASE.batches}
    assert set(counts["plain"].values()) == {CASE.batches * (CASE.attack.steps + 1)}


def test_a_comparison_reports_every_pair_and_leaves_the_network_alone(model: Net) -> None:
    """One ratio a batch, both sides' seconds, no difference of weights, the given network as it was."""
    before = copy.deepcopy(model.state_dict())
    result = attack.compare(CASE, model, batches())
    assert len(result["ratio_by_pair"]) == CASE.batches
    assert set(result["seconds"]) == {"ours", "plain"}
    assert result["difference_of_weights"] < 1e-5
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not model.training


def test_the_sides_take_turns_batch_by_batch(model: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain update follows every update of ours, so that both meet the same machine."""
    turns: list[str] = []

    class Seen(torch.optim.SGD):
        owner = ""

        def step(self, closure: None = None) -> None:
            turns.append(self.owner)
            super().step(closure)

    owners: Iterator[str] = iter(["ours", "plain"])

    def made(case: AttackCase, net: nn.Module) -> Seen:
        out = Seen(net.parameters(), case.lr)
        out.owner = next(owners)
        return out

    monkeypatch.setattr(attack, "optimiser", made)
    attack.compare(CASE, model, batches())
    assert turns == ["ours", "plain"] * CASE.batches


def test_a_case_is_run_from_noise_without_moving_the_global_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """No data is needed, a run repeats its images, and the global random state stays."""
    monkeypatch.setattr(problem, "network", seeded)
    before = torch.get_rng_state()
    result = attack.run(replace(CASE, batches=2, batch_size=4))
    assert result["difference_of_weights"] < 1e-5
    (x, y), (again, _), (other, _) = attack.noise(CASE)[0], attack.noise(CASE)[0], attack.noise(CASE)[1]
    assert torch.equal(x, again)
    assert not torch.equal(x, other)
    assert x.shape == (8, 3, 32, 32)
    assert x.min() >= 0
    assert x.max() <= 1
    assert y.max() < 10
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("ours", "plain", "want"),
    [
        ((1.0, 2.0), (1.0, 2.0), 0.0),
        ((4.0, 4.0), (4.0, 5.0), 0.2),
        ((2.5, 1.0), (3.0, 1.0), 0.25),
        ((1.0, 0.5), (1.0, 0.0), float("inf")),
    ],
)
def test_the_difference_is_a_share_of_the_way_that_training_went(
    ours: tuple[float, ...], plain: tuple[float, ...], want: float
) -> None:
    """By hand from θ₀ = (1, 0): equal; a gap of 1 in a way of 5; 0.5 in a way of 2; 0.5 where the plain loop stayed."""
    sides = [{"a": torch.tensor(v[0]), "b": torch.tensor(v[1])} for v in (ours, plain, (1.0, 0.0))]
    assert attack.difference(*sides) == pytest.approx(want)


def test_a_weight_that_is_not_a_number_is_seen() -> None:
    """NaN anywhere makes the difference NaN, which no threshold accepts."""
    start, good = {"a": torch.zeros(2), "b": torch.zeros(1)}, {"a": torch.ones(2), "b": torch.ones(1)}
    bad = {"a": torch.tensor([1.0, float("nan")]), "b": torch.ones(1)}
    value = attack.difference(bad, good, start)
    assert value != value
    assert not CASE.thresholds[1].holds(value)


@pytest.mark.parametrize(
    ("ratio", "difference", "passed"), [(1.25, 1e-4, True), (1.2499, 0.0, False), (1.5, 1.1e-4, False)]
)
def test_both_thresholds_can_fail(ratio: float, difference: float, passed: bool) -> None:
    """The claim is 1.25 times, and it does not count where the two sides trained differently."""
    for name in ("attack-small", "attack-full"):
        result = run.to_result(name, CASES[name], {"ratio": ratio, "difference_of_weights": difference}, None, {})
        assert result["passed"] is passed
