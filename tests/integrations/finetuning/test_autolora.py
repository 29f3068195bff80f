"""AutoLoRa trains a branch on natural and the extractor on attacked images, and halves its rate by held-out data."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from bright_dark import SHORT, SPEC, bright_dark, extractor, gen
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from coreselect import holdout
from coreselect.attacks import PGD
from coreselect.errors import BudgetError, NonFiniteError, RequirementError, ScheduleError
from coreselect_integrations.evaluation import evaluate
from coreselect_integrations.finetuning import ALF, SFF, SLF, Mode
from coreselect_integrations.finetuning.autolinear import auto_linear
from coreselect_integrations.finetuning.autolora import (
    BranchTuning,
    autolora,
    begin,
    finish,
    held_out_accuracy,
    train_epoch,
)
from coreselect_integrations.finetuning.autolora_loss import AutoLoRaLoss
from coreselect_integrations.finetuning.autorate import AutoRate, checkpoints
from coreselect_integrations.finetuning.low_rank import LowRank
from coreselect_integrations.networks import make, route_call


def begun(rank: int = 3, head: bool = True) -> BranchTuning:
    """A tuning of 40 examples; the head is random if `head` is true, else zero."""
    tuning = begin(extractor(), SPEC, classes=2, examples=40, rank=rank)
    if head:
        with torch.no_grad():
            tuning.model.network.get_parameter("head.weight").normal_(generator=gen(1))
    return tuning


def stirred(tuning: BranchTuning) -> BranchTuning:
    """The same tuning, with a random branch."""
    with torch.no_grad():
        for B in tuning.model.B:
            B.normal_(0, 0.1, generator=gen(2))
    return tuning


@pytest.mark.parametrize("training", [False, True])
def test_the_branch_is_nothing_at_first(training: bool) -> None:
    """With B = 0, the natural route gives the same outputs as the network alone, in both modes of normalisation."""
    tuning, plain = begun(), begun()
    x = bright_dark().tensors[0]
    tuning.model.train(training)
    plain.model.train(training)

    assert torch.equal(tuning.model(x, "natural"), plain.model.network(x, "natural"))
    assert torch.equal(tuning.model(x, "adversarial"), plain.model.network(x, "adversarial"))
    for name, t in tuning.model.network.state_dict().items():
        assert torch.equal(t, plain.model.network.state_dict()[name]), name


def test_the_branch_adds_its_product_to_every_kernel() -> None:
    """ΔW is B·A / r read in the kernel's shape, by plain loops, and the natural pass is that of W + ΔW by hand."""
    tuning = stirred(begun(rank=3))
    model, network = tuning.model, tuning.model.network
    convs = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    deltas = model.deltas()
    edited = make(replace(SPEC, projection=None, classes=2))
    state = {n: t.clone() for n, t in network.state_dict().items()}

    assert list(deltas) == [f"{n}.weight" for n in convs]
    for (name, delta), A, B in zip(deltas.items(), model.A, model.B, strict=True):
        out, into, k, l = delta.shape
        flat, a, b = delta.detach().reshape(out * k, into * l), A.tolist(), B.tolist()
        for i, j in ((0, 0), (out * k - 1, into * l - 1), (k, l - 1)):
            want = sum(b[i][m] * a[m][j] for m in range(3 * k)) / 3
            assert float(flat[i, j]) == pytest.approx(want, rel=1e-4, abs=1e-6)
        state[name] = state[name] + delta.detach()
    edited.load_state_dict(state)
    x = bright_dark().tensors[0]

    model.eval()
    edited.eval()
    torch.testing.assert_close(model(x, "natural"), edited(x, "natural"))
    assert not torch.equal(model(x, "natural"), network(x, "natural"))


def test_each_pass_moves_its_own_part() -> None:
    """The natural pass gives gradients to branch and head only, the adversarial pass to extractor and head only."""
    tuning = stirred(begun())
    x = bright_dark().tensors[0]

    def moved(route: str) -> set[str]:
        tuning.model.zero_grad()
        tuning.model(x, route).square().sum().backward()
        return {n for n, p in tuning.model.named_parameters() if p.grad is not None and bool(p.grad.any())}

    everything = {n for n, _ in tuning.model.named_parameters()}
    head = {"network.head.weight", "network.head.bias"}
    branch = {n for n in everything if n.startswith(("A.", "B."))}
    assert moved("natural") == branch | head
    assert moved("adversarial") == {n for n in everything - branch if ".natural." not in n}


def test_the_loss_by_hand() -> None:
    """λ₁·CE(z) + (1 − λ₁)·CE(z̃) + λ₂·Σ p (log p − log p̃) with λ₁ = 1 − p and λ₂ = 6 p; x̃ raises CE(z̃)."""
    z, z_ = (torch.randn(7, 3, generator=gen(i), dtype=torch.float64) for i in (0, 1))
    y = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    loss = AutoLoRaLoss(classes=4, examples=100)
    got = loss((z_,), (z,), y)
    p, q = z.softmax(1), z_.softmax(1)
    for i in range(7):
        kl = sum(float(p[i, c]) * float(torch.log(p[i, c] / q[i, c])) for c in range(3))
        want = -0.75 * float(p[i, y[i]].log()) - 0.25 * float(q[i, y[i]].log()) + 1.5 * kl
        assert float(got[i]) == pytest.approx(want, rel=1e-12)

    assert loss.scalars == (0.75, 1.5)
    assert float(loss.ascend((z_,), (z,), y)) == pytest.approx(-float(q[torch.arange(7), y].log().sum()))


def test_the_scalars_follow_natural_accuracy_four_times_an_epoch() -> None:
    """p is 1 / classes at first, then the accuracy on natural images since its last update; attacked images do not count."""
    right, wrong = torch.eye(2)[[0] * 5], torch.eye(2)[[1] * 5]
    y = torch.zeros(5, dtype=torch.long)
    loss = AutoLoRaLoss(classes=2, examples=40)
    seen = []
    for z in (right, wrong, right, right, wrong):
        loss((wrong,), (z,), y)
        seen.append(loss.p)

    assert seen == [0.5, 0.5, 0.5, 1.0, 1.0]
    other = AutoLoRaLoss(classes=9, examples=40)
    other.load_state_dict(loss.state_dict())
    for b in (loss, other):
        b((wrong,), (wrong,), y)
        assert b.p == 0.0
        assert b.scalars == (1.0, 0.0)


def test_an_epoch_moves_extractor_branch_and_head_and_is_attacked_without_the_branch() -> None:
    """All parameters change except scales and shifts of the natural route; the attack raises CE of the network alone."""
    tuning, same = stirred(begun()), begun().model.network.eval()
    before = {n: p.detach().clone() for n, p in tuning.model.named_parameters()}
    seen: list[Tensor] = []

    class Watching(PGD):
        def __call__(self, ascend: Any, inputs: Any, noise: Any) -> Any:
            assert not any(m.training for m in tuning.model.modules())
            seen.extend(super().__call__(ascend, inputs, noise))
            return (seen[-1],)

    x, y = bright_dark().tensors
    optimizer = tuning.optimizer(0.05)
    train_epoch(tuning, [(x, y)], optimizer, attack=Watching(0.05, 0.025, 2), generator=gen())
    start = 2 * torch.rand(x.shape, generator=gen()) - 1
    (want,) = SHORT(lambda v: F.cross_entropy(same(v[0], "adversarial"), y, reduction="sum"), (x,), (start,))

    assert torch.equal(seen[0], want)
    for name, p in tuning.model.named_parameters():
        assert torch.equal(p, before[name]) == (".natural." in name), name


def test_what_comes_out_has_no_branch() -> None:
    """The exported classifier has the tensors of a plain one and the outputs of the network's adversarial route."""
    tuning = stirred(begun())
    network, spec = finish(tuning)
    x = bright_dark().tensors[0]
    tuning.model.eval()

    assert spec == replace(SPEC, projection=None, classes=2, dual_bn=False)
    assert set(network.state_dict()) == set(make(spec).state_dict())
    assert torch.equal(network(x), tuning.model.network(x, "adversarial"))
    assert (
        held_out_accuracy(tuning, bright_dark(), attack=SHORT) == evaluate(network, bright_dark(), attack=SHORT).robust
    )


class Marked(nn.Module):
    """A model with one number, which the test sets to the epoch, so that it shows whose weights are loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.zeros(()))


def held(values: list[float], points: tuple[int, ...], rho: float = 0.75) -> tuple[list[float], list[int]]:
    """The rates after each update, and the epochs whose weights are then loaded."""
    model = Marked()
    auto = AutoRate(model, torch.optim.SGD(model.parameters(), 0.1), points, rho=rho)
    rates, places = [], []
    for e, value in enumerate(values, 1):
        model.at.data.fill_(e)
        auto.update(value)
        rates.append(auto.rate)
        places.append(int(model.at.item()))
    return rates, places


@pytest.mark.parametrize(
    ("values", "points", "rates", "places"),
    [
        # four rises of four (≥ 3): held; then two rises of four: halved, back to epoch 7
        ([1, 2, 3, 4, 3, 5, 6, 2], (4, 8), [0.1] * 7 + [0.05], [1, 2, 3, 4, 5, 6, 7, 7]),
        # three of four is not too few; the same best as before halves where nothing was halved last time …
        ([9, 1, 2, 3, 2, 3, 4, 5], (4, 8), [0.1] * 7 + [0.05], [1, 2, 3, 4, 5, 6, 7, 1]),
        # … and not where it was: one rise of four halves at 4, then three of four with the same best are let go
        ([9, 1, 1, 1, 1, 3, 4, 5, 5], (4, 8, 9), [0.1] * 3 + [0.05] * 5 + [0.025], [1, 2, 3, 1, 5, 6, 7, 8, 1]),
        # intervals of one: no rise halves each time, a rise does not
        ([5, 4, 6, 6], (1, 2, 3, 4), [0.1, 0.05, 0.05, 0.025], [1, 1, 3, 3]),
    ],
)  # fmt: skip
def test_the_rate_by_hand(values: list[float], points: tuple[int, ...], rates: list[float], places: list[int]) -> None:
    """The rate is halved after too few rises, or without a better value since a checkpoint that did not halve it."""
    got = held(values, points)

    assert got[0] == pytest.approx(rates)
    assert got[1] == places


@given(st.lists(st.integers(0, 5), min_size=1, max_size=50), st.integers(1, 60))
def test_the_rate_is_that_of_a_slow_reading(values: list[int], epochs: int) -> None:
    """On any values the rates are those of the two conditions written out over whole histories."""
    points = tuple(w for w in checkpoints(epochs) if w <= len(values))
    f, rate, halved, want = [-1, *values], 0.1, {0: False}, []
    for e in range(1, len(values) + 1):
        if e in points:
            j = points.index(e)
            last = (0, *points)[j]
            few = sum(1 for i in range(last, e) if f[i + 1] > f[i]) < 0.75 * (e - last)
            stuck = not halved[last] and last > 0 and max(f[1 : e + 1]) == max(f[1 : last + 1])
            halved[e] = few or stuck
            rate = rate / 2 if halved[e] else rate
        want.append(rate)

    assert held([float(v) for v in values], points)[0] == want


def test_a_halving_begins_momentum_anew_and_can_be_taken_up_again() -> None:
    """A copy restored from the states continues like the original; after a halving, the optimiser has no momentum."""
    values = [3.0, 1.0, 2.0, 5.0, 4.0, 4.5]

    def one(resume: bool) -> tuple[list[float], float]:
        model = Marked()
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        auto, rates = AutoRate(model, optimizer, (2, 4, 6)), []
        for e, value in enumerate(values, 1):
            optimizer.zero_grad()
            (model.at * e).backward()
            optimizer.step()
            halved = auto.update(value)
            assert bool(optimizer.state) != halved
            rates.append(optimizer.param_groups[0]["lr"])
            if resume:
                states = model.state_dict(), optimizer.state_dict(), auto.state_dict()
                model = Marked()
                optimizer = torch.optim.SGD(model.parameters(), 0.7, momentum=0.9)
                auto = AutoRate(model, optimizer, (2, 4, 6))
                for part, state in zip((model, optimizer, auto), states, strict=True):
                    part.load_state_dict(state)  # type: ignore[attr-defined]
        return rates, model.at.item()

    assert one(True) == one(False)
    assert one(False)[0] == pytest.approx([0.1, 0.05, 0.05, 0.05, 0.05, 0.025])


def test_checkpoints_keep_their_share() -> None:
    """50 epochs have the published checkpoints; other numbers of epochs have scaled, increasing checkpoints from 1 on."""
    assert checkpoints(50) == (16, 24, 28, 36, 40, 42, 44, 46, 48, 50)
    assert checkpoints(100) == (32, 48, 56, 72, 80, 84, 88, 92, 96, 100)
    assert checkpoints(2) == (1, 2)
    assert checkpoints(0) == ()


def test_what_makes_no_sense_is_refused() -> None:
    """Rank 0, one route, decreasing checkpoints, non-finite values, and holding out everything are refused."""
    network = begun().model.network
    with pytest.raises(RequirementError, match="rank 0"):
        LowRank(network, 0)
    with pytest.raises(RequirementError, match="one route"):
        LowRank(finish(begun())[0])
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for points in ((0, 1), (2, 2), (3, 1)):
        with pytest.raises(ScheduleError, match="increasing"):
            AutoRate(network, optimizer, points)
    for value in (float("nan"), float("inf")):
        with pytest.raises(NonFiniteError, match="epoch 1"):
            AutoRate(network, optimizer, (1,)).update(value)
    with pytest.raises(BudgetError):
        autolora(extractor(), SPEC, bright_dark(), classes=2, held=40)


def quick(seed: int = 3, **settings: Any):
    options: dict[str, Any] = {"epochs": 3, "lr": 0.05, **settings}
    return autolora(
        extractor(), SPEC, bright_dark(), classes=2, seed=seed, batch_size=16, held=0.2, attack=SHORT, judged_by=SHORT,
        augment=None, **options,
    )  # fmt: skip


def test_the_whole_run_learns_reports_and_is_decided_by_its_seed() -> None:
    """The same seed gives the same classifier bit for bit; held-out examples are not trained on; global random state stays."""
    seen: list[tuple[str, int, int]] = []
    state = torch.get_rng_state()
    one, two = quick(progress=lambda *p: seen.append((p[0], p[1], p[2]))), quick()

    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(t, two.network.state_dict()[n]) for n, t in one.network.state_dict().items())
    assert [entry.examples for entry in one.log] == [32] * 3
    assert one.log[-1].loss < one.log[0].loss
    assert one.held == two.held
    assert len(one.held) == len(one.rates) == 3
    assert one.rates[0] == 0.05
    assert seen[-1] == ("autolora", 96, 96)
    assert set(one.transfer.loaded) == {n for n in extractor() if not n.startswith("head.")}


def test_the_best_epoch_on_held_out_data_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the first epoch is best on held-out data, it is returned, although later epochs were trained."""
    from coreselect_integrations.finetuning import autolora as module

    verdicts = iter([0.9, 0.2, 0.1])
    monkeypatch.setattr(module, "held_out_accuracy", lambda *_, **__: next(verdicts))
    kept = quick()
    verdicts = iter([0.5])
    first = quick(epochs=1)

    assert kept.held == (0.9, 0.2, 0.1)
    assert all(torch.equal(t, first.network.state_dict()[n]) for n, t in kept.network.state_dict().items())


@pytest.mark.parametrize("mode", [SLF, replace(ALF, attack=SHORT)], ids=["slf", "alf"])
def test_linear_modes_set_their_rate_and_keep_the_best_epoch_held_out(mode: Mode) -> None:
    """The extractor stays bit for bit; the rate is judged every fourth epoch; the result is that of the best epoch."""
    weights, data = extractor(), bright_dark()
    done = auto_linear(
        mode, weights, SPEC, data, classes=2, epochs=9, held=8, batch_size=16, judged_by=SHORT, augment=None
    )
    kept = {n: t for n, t in done.network.state_dict().items() if not n.startswith("head.")}
    assert all(torch.equal(t, weights[n.replace("shared", "adversarial")]) for n, t in kept.items())
    assert (len(done.held), len(done.rates), done.rates[0]) == (9, 9, 0.1)
    changes = [e for e in range(1, 9) if done.rates[e] != done.rates[e - 1]]
    assert {*changes} <= {4, 8}
    assert changes, "nothing was halved, so the test says nothing"
    found = evaluate(done.network, holdout(data, 8, 0)[1], attack=SHORT, call=route_call).robust
    assert found == max(done.held)


def test_an_automatic_rate_without_a_branch_is_for_linear_modes() -> None:
    """Full fine-tuning needs the branch."""
    with pytest.raises(RequirementError, match="use autolora"):
        auto_linear(SFF, extractor(), SPEC, bright_dark(), classes=2)
