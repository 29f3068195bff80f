"""The instance certificate bounds the best of all sets."""

from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from coreselect import Selection, select
from coreselect.gradients.curvature import curvature
from coreselect.objectives import RD


def gauss_newton(task: Any, held: Any, names: Any, scale: float) -> Tensor:
    """H = c · mean (J̃ − J)ᵀ (diag p − p pᵀ)(J̃ − J), with the Jacobians written out."""
    model = task.model
    known = {n: p.detach() for n, p in model.named_parameters()}
    x = torch.stack([task.validation[i][0] for i in range(len(task.validation))])

    def jacobian(inputs: Tensor) -> Tensor:
        def outputs(moved: dict[str, Tensor]) -> Tensor:
            return functional_call(model, moved, (inputs,))

        parts = jacrev(outputs)({n: known[n] for n in names})
        return torch.cat([parts[n].flatten(2) for n in names], 2)  # [B, C, P]

    gap = jacobian(held.adversarial) - jacobian(x)
    p = oracles.softmax(model(x).detach())
    middle = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return scale * (gap.transpose(1, 2) @ middle @ gap).mean(0)


@pytest.mark.parametrize(("name", "scale"), [("kl", 1.0), ("js", 0.25)])
@pytest.mark.parametrize("where", ["linear head", "deep head"])
def test_curvature_equals_jacobians_written_out(name: Any, scale: float, where: str) -> None:
    """One JVP and one VJP give H v of the formula, positive semi-definite, to 1e-10."""
    model = cases.built(cases.ConvNet if where == "linear head" else cases.DeepHead)
    task = cases.sat_task(6, u=5, model=model, head=None if where == "linear head" else "head")
    with task.snapshot(0, 0) as snapshot:
        held = snapshot.objective(RD(name, attack=cases.WEAK))
        product = curvature(held, snapshot.layout(), snapshot.theta())
        names = snapshot.layout().names
        assert product is not None
        H = torch.stack([product(e) for e in torch.eye(snapshot.layout().size, dtype=torch.float64)])
        want = gauss_newton(task, held, names, scale)
    assert torch.allclose(H, want, rtol=0, atol=1e-10)
    assert torch.allclose(H, H.T, atol=1e-10)
    assert float(torch.linalg.eigvalsh(H).min()) > -1e-10


def exhaustive(task: Any, selector: Any, k: int, picks: Selection) -> tuple[float, float]:
    """Return f of the selection, and the largest f of any set of as many whole groups, with K as a full matrix."""
    with task.snapshot(0, 0) as snapshot:
        groups = selector._groups(snapshot, k)
        held = snapshot.objective(selector.objective)
        rows, _ = snapshot.rows(groups, None)
        R = torch.stack([rows.full(m) for m in range(rows.count)]).double()
        product = curvature(held, snapshot.layout(), snapshot.theta())
        assert product is not None
        H = torch.stack([product(e) for e in torch.eye(R.shape[1], dtype=snapshot.theta().dtype)]).double()
        gains = selector.eta * R @ held.query(snapshot.theta()).double()
    K = selector.eta**2 * R @ H @ R.T
    order = list(dict.fromkeys(picks.groups.tolist()))
    w = torch.zeros(len(R), dtype=torch.float64)
    w[order] = 1
    return float(gains @ w - 0.5 * w @ K @ w), oracles.best_of_all_subsets(gains, K, len(order))


class Factorless(nn.Module):
    """A head without factored rows, so that whole groups are certified."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, cases.CLASSES)

    def forward(self, z: Tensor) -> Tensor:
        return nn.functional.linear(z, 1.5 * self.fc.weight, self.fc.bias)


@pytest.mark.parametrize("eta", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("factored", [True, False])
def test_the_certificate_holds_over_whole_groups(factored: bool, eta: float) -> None:
    """With equal groups and small or very large η, the bound is above the best of all sets of as many whole groups."""

    def make() -> nn.Module:
        model = cases.ConvNet()
        if not factored:
            model.fc = Factorless()  # type: ignore[assignment]
        return model

    task = cases.sat_task(24, model=cases.built(make), head="fc")
    selector = cases.rcs(group_size=2, eta=eta, stratify=None)
    chosen = select(task, selector, 8)
    value, most = exhaustive(task, selector, 8, chosen)
    c = chosen.certificate
    assert c is not None
    assert c.upper_bound is not None
    assert c.value == pytest.approx(value, rel=1e-6)
    assert c.upper_bound >= most - 1e-12
    assert c.upper_bound >= c.value


@pytest.mark.parametrize("eta", [0.01, 1.0, 30.0])
def test_the_certificate_holds_over_examples(eta: float) -> None:
    """With uneven groups and a trimmed pick, the bound is above the best of all sets of as many examples."""
    task = cases.sat_task(13)
    selector = cases.rcs(group_size=4, eta=eta, stratify=None)
    chosen = select(task, selector, 5)
    with task.snapshot(0, 0) as snapshot:
        groups = selector._groups(snapshot, 5)
        held = snapshot.objective(selector.objective)
        rows, _ = snapshot.rows([np.array([i]) for i in range(13)], None)
        scale = torch.empty(13, 1, dtype=torch.float64)
        for g in groups:
            scale[torch.as_tensor(g)] = 1 / len(g)
        R = scale * torch.stack([rows.full(m) for m in range(13)])
        product = curvature(held, snapshot.layout(), snapshot.theta())
        assert product is not None
        K = eta**2 * torch.stack([R @ product(r) for r in R])
        gains = eta * R @ held.query(snapshot.theta())
    c = chosen.certificate
    assert c is not None
    assert c.upper_bound is not None
    assert "5 examples" in c.assumptions[0]
    w = torch.zeros(13, dtype=torch.float64)
    w[torch.as_tensor(chosen.indices)] = 1
    assert c.value == pytest.approx(float(gains @ w - 0.5 * w @ K @ w), rel=1e-6)
    assert c.upper_bound >= oracles.best_of_all_subsets(gains, K, 5) - 1e-12


def test_contrastive_certificates_hold() -> None:
    """For batch rows on two routes, the bound is above the best of all sets of whole groups."""
    task = cases.acl_task(24)
    selector = cases.rcs(group_size=2, eta=5.0, stratify=None)
    chosen = select(task, selector, 8)
    with task.snapshot(0, 0) as snapshot:
        groups = selector._groups(snapshot, 8)
        held = snapshot.objective(selector.objective)
        rows, _ = snapshot.rows(groups, None)
        R = torch.stack([rows.full(m) for m in range(rows.count)])
        product = curvature(held, snapshot.layout(), snapshot.theta())
        assert product is not None
        K = 25.0 * torch.stack([R @ product(r) for r in R])
        gains = 5.0 * R @ held.query(snapshot.theta())
    assert chosen.certificate is not None
    assert chosen.certificate.upper_bound is not None
    assert chosen.certificate.upper_bound >= oracles.best_of_all_subsets(gains, K, 4) - 1e-12


@pytest.mark.parametrize("eta", [0.05, 2.0])
def test_the_certificate_holds_on_a_trained_net_on_real_images(eta: float) -> None:
    """On scanned digits with a briefly trained net and 14 groups, the exhaustive maximum of f is never above the bound."""
    data = pytest.importorskip("sklearn.datasets", reason="scikit-learn's digits are not installed").load_digits()
    x = torch.tensor(data.images[:200] / 16, dtype=torch.float32)[:, None]
    y = torch.tensor(data.target[:200])
    model = cases.built(lambda: cases.ConvNet(10, 4), dtype=torch.float32).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        optimiser = torch.optim.Adam(model.parameters(), 0.02)
        for _ in range(60):
            batch = torch.randint(200, (64,))
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimiser.step()
    model.eval()
    pool, validation = cases.Items(x[:140], y[:140]), cases.Items(x[140:], y[140:])
    task = cases.sat_task(model=model, pool=pool, validation=validation, dtype=torch.float32)
    selector = cases.rcs(group_size=10, eta=eta)
    for k in (30, 70):
        chosen = select(task, selector, k)
        assert len(np.unique(chosen.groups)) == k // 10
        value, most = exhaustive(task, selector, k, chosen)
        c = chosen.certificate
        assert c is not None
        assert c.upper_bound is not None
        assert c.value == pytest.approx(value, rel=1e-3)
        assert c.upper_bound >= most - 1e-7 * abs(most)


def test_what_was_measured_beside_the_model_is_true() -> None:
    """The certificate's details give the true decrease with attacked inputs held, and the model's excess over it."""
    task = cases.sat_task(24)
    chosen = select(task, cases.rcs(eta=0.2), 9)
    c, s = chosen.certificate, chosen.diagnostics
    assert c is not None
    assert s is not None
    assert s.rd_before is not None
    assert s.rd_after_held is not None
    assert c.details["true_decrease_held"] == pytest.approx(s.rd_before - s.rd_after_held, rel=1e-9)
    assert c.details["excess_of_model"] == pytest.approx(c.value - c.details["true_decrease_held"], rel=1e-9)
    assert c.details["objective_before"] == pytest.approx(s.rd_before)
    assert any("cannot decrease by more" in a for a in c.assumptions)


def test_a_trimmed_group_is_counted_as_it_was_stepped() -> None:
    """With factored rows the value of f is that of the examples kept, each with a step of 1 / its group's size."""
    task = cases.sat_task(10)
    selector = cases.rcs(group_size=5, eta=1e-6, stratify=None)
    chosen = select(task, selector, 7)
    assert chosen.certificate is not None
    assert chosen.certificate.value == pytest.approx(chosen.gains.sum(), rel=1e-3)
