"""Certificates: bounds hold, estimates are called estimates, and each certificate can be computed again later."""

import itertools
import math
from dataclasses import replace
from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from coreselect import Selection, certify, select
from coreselect.attacks import PGD
from coreselect.certificates.bounds import Quadratic, bound_maximum, ratio, submodularity_ratio, theorem_2
from coreselect.errors import RequirementError
from coreselect.gradients.curvature import curvature
from coreselect.gradients.sketch import Sketch
from coreselect.objectives import RD, AdversarialCE, Custom
from coreselect.selectors import Random


@given(st.integers(2, 11), st.integers(0, 999), st.integers(0, 12), st.floats(0.01, 3.0), st.integers(1, 6))
def test_the_bound_is_never_below_the_best_of_all_subsets(
    n: int, seed: int, steps: int, bend: float, rank: int
) -> None:
    """For random gains and random positive semi-definite curvature the bound holds at every k and for any starting set."""
    own = torch.Generator().manual_seed(seed)
    gains = torch.randn(n, dtype=torch.float64, generator=own)
    root = bend * torch.randn(n, rank, dtype=torch.float64, generator=own)
    K = root @ root.T
    f = Quadratic(gains, lambda w: K @ w)
    for k in range(1, n + 1):
        w = torch.zeros(n, dtype=torch.float64)
        w[torch.randperm(n, generator=own)[:k]] = 1
        value, upper = bound_maximum(f, w, k, steps=steps)
        assert value == pytest.approx(float(gains @ w - 0.5 * w @ K @ w), abs=1e-10)
        assert upper >= oracles.best_of_all_subsets(gains, K, k) - 1e-9
        assert upper >= value - 1e-12


@given(st.integers(2, 10), st.integers(0, 99))
def test_steps_only_tighten(n: int, seed: int) -> None:
    """More Frank–Wolfe steps never raise the bound."""
    own = torch.Generator().manual_seed(seed)
    gains = torch.randn(n, dtype=torch.float64, generator=own)
    root = torch.randn(n, n, dtype=torch.float64, generator=own)
    f = Quadratic(gains, lambda w: root @ (root.T @ w))
    k = max(1, n // 2)
    w = torch.zeros(n, dtype=torch.float64)
    w[:k] = 1
    uppers = [bound_maximum(f, w, k, steps=s)[1] for s in (0, 1, 3, 10, 40)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(uppers))


def test_without_curvature_the_bound_is_exact() -> None:
    """If f is linear the bound is the sum of the k largest gains, for any starting set."""
    gains = torch.tensor([3.0, -1.0, 2.0, 5.0, 0.0], dtype=torch.float64)
    w = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    assert bound_maximum(Quadratic(gains, None), w, 2) == (-1.0, 8.0)


def test_a_ratio_needs_two_positive_numbers() -> None:
    """A ratio is given only if value and bound are positive."""
    assert ratio(1.0, 2.0) == 0.5
    for value, upper in ((-1.0, 2.0), (0.0, 2.0), (1.0, None), (-2.0, -1.0), (1.0, 0.0)):
        assert ratio(value, upper) is None


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


class TestPaper:
    """Theorem 2, from σ."""

    def test_states_the_theorem(self) -> None:
        """G* ≤ (G + kσ e^{−γ}) / (1 − e^{−γ}), γ = 1/(2σ − 1): by hand for σ = 1 and σ = 2."""
        c = theorem_2(0.5, size=100, picks=4)
        assert c.value == -50
        assert c.upper_bound == pytest.approx((-50 + 4 * math.exp(-1)) / (1 - math.exp(-1)))
        assert any("informative" in a for a in c.assumptions)
        c = theorem_2(0.01, size=10, picks=4, lipschitz_sigma=2.0)
        assert c.details["gamma"] == pytest.approx(1 / 3)
        assert c.upper_bound == pytest.approx((-0.1 + 8 * math.exp(-1 / 3)) / (1 - math.exp(-1 / 3)))
        assert any("vacuous" in a for a in c.assumptions)
        assert c.ratio is None

    def test_sigma_below_one_is_refused(self) -> None:
        """The theorem needs σ ≥ 1, and a smaller σ raises an error."""
        with pytest.raises(RequirementError, match="σ"):
            theorem_2(0.1, size=3, picks=2, lipschitz_sigma=0.5)

    def test_comes_with_a_selection(self) -> None:
        """In a selection by RCS it counts the groups picked and |U|."""
        chosen = select(cases.sat_task(24), cases.rcs(certify="paper"), 7)
        assert chosen.certificate is not None
        assert chosen.certificate.method == "paper"
        assert chosen.diagnostics is not None
        assert chosen.diagnostics.rd_after_held is not None
        assert chosen.certificate.value == pytest.approx(-10 * chosen.diagnostics.rd_after_held, rel=1e-9)


class TestSampled:
    """The estimated submodularity ratio."""

    def test_a_modular_function_has_ratio_one(self) -> None:
        """For G(S) = Σ values, the sum of single gains is the joint gain, so the ratio is 1."""
        got, counted = submodularity_ratio(
            lambda members: sum(0.1 * (m + 1) for m in members),
            12,
            size=4,
            samples=30,
            sigma=1.0,
            generator=torch.Generator().manual_seed(0),
        )
        assert got == pytest.approx(1.0)
        assert counted == 30

    def test_a_supermodular_function_lies_below_one_and_above_the_truth(self) -> None:
        """For G(S) = |S|² the sampled minimum is at least the exhaustive one, and below 1."""
        got, _ = submodularity_ratio(
            lambda members: float(len(members)) ** 2,
            8,
            size=3,
            samples=50,
            sigma=0.0,
            generator=torch.Generator().manual_seed(0),
        )
        truth = min(s * ((l + 1) ** 2 - l**2) / ((l + s) ** 2 - l**2) for l in range(3) for s in range(1, 4))
        assert truth - 1e-12 <= got < 1

    def test_says_that_it_is_an_estimate(self) -> None:
        """It gives no upper bound, and states this and the number of samples."""
        c = select(cases.sat_task(24), cases.rcs(certify="sampled"), 7).certificate
        assert c is not None
        assert c.upper_bound is None
        assert c.ratio is None
        assert any("not a bound" in a for a in c.assumptions)
        assert c.details["samples"] > 0


SETTINGS: dict[str, Any] = {
    "published": {},
    "trimmed": {"group_size": 5},
    "clusters": {"stratify": "clusters", "clusters": 3},
    "one route": {"objective": RD("js", attack=cases.WEAK, routes="one")},
    "recrafting": {"recraft": "every"},
    "l2": {"objective": RD("kl", attack=PGD(0.5, 0.2, 2, norm="l2", bounds=None))},
    "refresh": {"refresh": 2, "search": "faiss", "group_size": 2},
}


@pytest.mark.parametrize("which", SETTINGS)
def test_certifying_later_gives_what_the_selection_carries(which: str, tmp_path: Any) -> None:
    """For a selection from a file, certify rebuilds the selector from provenance and gives the saved certificate."""
    task = cases.acl_task(16) if which == "refresh" else cases.sat_task(16)
    chosen = select(task, cases.rcs(**SETTINGS[which]), 9, 3, round=2)
    chosen.save(tmp_path / "c.npz")
    again = certify(Selection.load(tmp_path / "c.npz"), task)
    assert again is not None
    assert chosen.certificate is not None
    assert again.value == pytest.approx(chosen.certificate.value, rel=1e-9, abs=1e-18)
    assert again.upper_bound == pytest.approx(chosen.certificate.upper_bound, rel=1e-9, abs=1e-18)
    assert again.assumptions == chosen.certificate.assumptions


def test_certifying_later_by_another_method() -> None:
    """A selection with no certificate, or with one kind, can get every kind later."""
    task = cases.sat_task(16)
    bare = select(task, cases.rcs(certify=None), 7)
    assert bare.certificate is None
    for method in ("instance", "paper", "sampled"):
        sealed = select(task, cases.rcs(certify=method), 7).certificate
        later = certify(bare, task, method)  # type: ignore[arg-type]
        assert later is not None
        assert sealed is not None
        assert later.value == pytest.approx(sealed.value, rel=1e-9)


def test_certifying_arrays_later() -> None:
    """Without a model f is linear, the bound is the best sum of gains, and the certificate says so."""
    task = cases.array_task(24)
    chosen = select(task, cases.rcs(group_size=1), 7)
    c = certify(chosen, task)
    assert c is not None
    assert c.upper_bound == pytest.approx(c.value, rel=1e-6)
    assert any("linear" in a for a in c.assumptions)


def test_what_cannot_be_certified_is_refused() -> None:
    """Other pools, other groups, selectors without certificates and unknown callables raise an error of one sentence."""
    task = cases.sat_task(16)
    chosen = select(task, cases.rcs(), 7)
    with pytest.raises(RequirementError, match="pool of 16"):
        certify(chosen, cases.sat_task(17))
    with pytest.raises(RequirementError, match="groups are not the groups of this task"):
        certify(replace(chosen, provenance=replace(chosen.provenance, seed=5)), task)
    with pytest.raises(RequirementError, match="no certificate"):
        certify(select(task, Random(), 5), task)
    own = cases.rcs(objective=Custom(lambda a, n, y: (a - n).pow(2).sum(1), attack=cases.WEAK))
    with pytest.raises(RequirementError, match="selector="):
        certify(select(task, own, 7), task)
    assert certify(select(task, own, 7), task, "sampled", selector=own) is not None
    with pytest.raises(RequirementError, match="needs values"):
        select(cases.array_task(12), cases.rcs(certify="paper"), 5)


def test_where_no_instance_certificate_applies_there_is_none() -> None:
    """For cross-entropy the curvature does not apply, and sketched rows are not full rows: there is no certificate."""
    assert select(cases.sat_task(12), cases.rcs(objective=AdversarialCE(attack=cases.WEAK)), 5).certificate is None
    assert select(cases.sat_task(12), cases.rcs(sketch=Sketch(8)), 5).certificate is None
    assert select(cases.sat_task(12, capture="all"), cases.rcs(), 5).certificate is None


def test_a_sketch_as_wide_as_the_rows_is_still_a_sketch() -> None:
    """A sketch of width P gets no instance certificate either, because its rows are not the full rows."""
    assert select(cases.sat_task(12), cases.rcs(sketch=Sketch(52)), 5).certificate is None
