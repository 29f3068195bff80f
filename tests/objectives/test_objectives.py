"""Claims about objectives: queries are gradients of the value at fixed attacked inputs, and gains are exact to first order."""

import itertools
from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
from torch import Tensor

from coreselect import select
from coreselect.attacks import PGD
from coreselect.divergences import OptimalTransport
from coreselect.errors import NonFiniteError, RequirementError, ShapeError, UnknownNameError
from coreselect.objectives import OBJECTIVES, RD, AdversarialCE, CEPlusRD, Custom, Objective, objective, objective_named
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.selectors import RCS, RCSSampled

WEAK = cases.WEAK


def squared(adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
    """Compute the objective of a user: the squared distance of the outputs."""
    return (adversarial - natural).pow(2).sum(1)


SPECS: dict[str, Objective] = {
    "kl": RD("kl", attack=WEAK),
    "js": RD("js", attack=WEAK),
    "one route": RD("kl", attack=WEAK, routes="one"),
    "adversarial_ce": AdversarialCE(attack=WEAK),
    "ce_plus_rd": CEPlusRD(2.0, attack=WEAK),
    "callable": Custom(squared, attack=WEAK),
}

TASKS: dict[str, Any] = {
    "linear head": lambda: cases.sat_task(6, u=7),
    "deep head": lambda: cases.sat_task(6, u=7, model=cases.built(cases.DeepHead), head="head"),
    "whole model": lambda: cases.sat_task(6, u=7, capture="all"),
    "two routes": lambda: cases.sat_task(
        6, u=7, model=cases.built(cases.DualNet), call=cases.routed, head="head", batch_size=3
    ),
}


def true_value(task: Any, spec: Any, names: Any, theta: Tensor, adversarial: Tensor) -> Tensor:
    """Compute L(U; θ) from its definition on the full model, with some parameters replaced and given attacked inputs."""
    from torch.func import functional_call

    known = dict(task.model.named_parameters())
    moved, at = {}, 0
    for n in names:
        size = known[n].numel()
        moved[n] = theta[at : at + size].view_as(known[n])
        at += size
    x = torch.stack([task.validation[i][0] for i in range(len(task.validation))])
    y = torch.tensor([task.validation[i][1] for i in range(len(task.validation))])

    def run(inputs: Tensor, route: str) -> Tensor:
        dual = isinstance(task.model, cases.DualNet)
        return functional_call(task.model, moved, (inputs, route) if dual else (inputs,))

    natural = run(x, getattr(spec, "natural_route", "natural"))
    attacked = run(adversarial, "adversarial")
    values = {
        "rd": lambda: (oracles.js if getattr(spec, "divergence", "") == "js" else oracles.kl)(attacked, natural),
        "adversarial_ce": lambda: oracles.cross_entropy(attacked, y),
        "ce_plus_rd": lambda: (
            oracles.cross_entropy(natural, y) + getattr(spec, "beta", 0) * oracles.kl(attacked, natural)
        ),
        "custom": lambda: (attacked - natural).pow(2).sum(1),
    }
    return values[spec.name]().mean()


@pytest.mark.parametrize("which", SPECS)
@pytest.mark.parametrize("where", TASKS)
def test_query_and_value_equal_the_definition(which: str, where: str) -> None:
    """At θ and away from it, value and query equal the value and the autograd gradient of the full model to 1e-10."""
    task, spec = TASKS[where](), SPECS[which]
    with task.snapshot(0, 0) as shot:
        held: ValidationObjective = shot.objective(spec)
        theta, names = shot.theta(), shot.layout().names
        for move in (0.0, 0.05):
            at = theta + move * torch.randn(len(theta), dtype=theta.dtype, generator=torch.Generator().manual_seed(1))
            free = at.clone().requires_grad_()
            want = true_value(task, spec, names, free, held.adversarial)
            assert held.value(at) == pytest.approx(want.item(), abs=1e-11)
            slope = torch.autograd.grad(want, free)[0]
            assert torch.allclose(held.query(at), slope, rtol=0, atol=1e-10)


@pytest.mark.parametrize("which", SPECS)
def test_query_equals_finite_differences(which: str) -> None:
    """In each coordinate the query equals the central difference of the value, with the attacked inputs fixed."""
    task = cases.sat_task(6, u=7, model=cases.built(cases.DeepHead), head="head")
    with task.snapshot(0, 0) as shot:
        held = shot.objective(SPECS[which])
        theta = shot.theta()
        want = oracles.central_differences(held.value, theta, 1e-5)
        assert torch.allclose(held.query(theta), want, rtol=1e-6, atol=1e-9)


def test_the_attack_is_the_transcription() -> None:
    """The attacked inputs equal PGD on the divergence: one example at a time, from its own start, natural outputs fixed."""
    task = cases.sat_task(6, u=5)
    with task.snapshot(3, 2) as shot:
        held = shot.objective(cases.RD_WEAK)
    for i in range(5):
        x = task.validation[i][0][None]
        noise = oracles.noise_one_by_one((1, 6, 6), x.dtype, 3, "validation attack", 2, 0, indices=[i])
        natural = task.model(x).detach()
        want = oracles.pgd_linf(lambda at, n=natural: oracles.kl(task.model(at), n).sum(), x, noise, 0.1, 0.05, 2)
        assert torch.allclose(held.adversarial[i], want[0], atol=1e-12)


@pytest.mark.parametrize("recraft", [False, True])
def test_the_gains_error_falls_as_eta_squared(recraft: bool) -> None:
    """L(θ) − L(θ − η r) = η⟨r, q⟩ + O(η²) with the inputs fixed: half of η gives a quarter of the error."""
    task = cases.sat_task(9, model=cases.built(cases.DeepHead), head="head")
    with task.snapshot(0, 0) as shot:
        held = shot.objective(cases.RD_WEAK)
        rows, _ = shot.rows([np.array([0, 1, 2]), np.array([3, 4, 5]), np.array([6, 7, 8])])
        theta = shot.theta()
        if recraft:
            held.recraft(theta)
        before, query = held.value(theta), held.query(theta)
        for m in range(3):
            row = rows.full(m)
            errors = [
                before - held.value(theta - eta * row) - eta * float(row @ query) for eta in (0.04, 0.02, 0.01, 0.005)
            ]
            for large, small in itertools.pairwise(errors):
                assert large / small == pytest.approx(4, rel=0.15)


def test_the_value_at_fixed_inputs_is_a_lower_bound_that_a_new_attack_raises() -> None:
    """A new attack at θ′ with more steps gives a larger value than the fixed inputs, and does not change the fixed inputs."""
    task = cases.sat_task(6, u=10, model=cases.built(cases.DeepHead), head="head")
    with task.snapshot(0, 0) as shot:
        held = shot.objective(RD("kl", attack=PGD(0.1, 0.02, 12)))
        theta = shot.theta()
        away = theta + 0.3 * torch.randn(len(theta), dtype=theta.dtype, generator=torch.Generator().manual_seed(2))
        kept, before = held.adversarial.clone(), held.value(away)
        assert held.recrafted_value(away) > before
        assert torch.equal(held.adversarial, kept)
        assert held.value(away) == before
        held.recraft(away)
        assert held.value(away) > before
        assert not torch.equal(held.adversarial, kept)


@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_an_objective_that_returned_to_its_start_is_a_fresh_one(make: Any) -> None:
    """After new attacks elsewhere it has the bits of an objective that was only opened, those of its next attack included."""
    found = []
    for moved in (False, True):
        with make().snapshot(0, 0) as shot:
            held, theta = shot.objective(cases.RD_WEAK), shot.theta()
            away = theta + 0.1
            if moved:
                held.recraft(away)
                held.recraft(theta - 0.1)
                held.return_to_start()
            found.append([held.query(theta), held.value(away), held.recrafted_value(away)])
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1:] == found[1][1:]


def test_clean_value_is_the_gap_between_routes() -> None:
    """RD(x, x) is 0 with one route, and with two the KL between the outputs of the routes; with routes='one' it is 0 again."""
    single = cases.sat_task(6)
    with single.snapshot(0, 0) as shot:
        assert abs(shot.objective(cases.RD_WEAK).clean_value(shot.theta())) < 1e-14
    dual = TASKS["two routes"]()
    x = torch.stack([dual.validation[i][0] for i in range(7)])
    want = oracles.kl(dual.model(x, "adversarial"), dual.model(x, "natural")).mean().item()
    with dual.snapshot(0, 0) as shot:
        assert shot.objective(cases.RD_WEAK).clean_value(shot.theta()) == pytest.approx(want, abs=1e-12)
        assert abs(shot.objective(RD("kl", attack=WEAK, routes="one")).clean_value(shot.theta())) < 1e-14
    assert want > 1e-4


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_batch_size_does_not_matter(batch: int) -> None:
    """Value, query and attacked inputs do not depend on the batch size of validation."""
    want, got = cases.sat_task(6, u=7), cases.sat_task(6, u=7, batch_size=batch)
    with want.snapshot(0, 0) as a, got.snapshot(0, 0) as b:
        one, two = a.objective(cases.RD_WEAK), b.objective(cases.RD_WEAK)
        assert torch.allclose(one.adversarial, two.adversarial, atol=1e-12)
        assert torch.allclose(one.query(a.theta()), two.query(b.theta()), rtol=0, atol=1e-14)


class TestOptimalTransport:
    """RD between sets."""

    ot = pytest.importorskip("ot", reason="POT is not installed")
    spec = RD(OptimalTransport(0.2, iterations=5000), attack=WEAK, sets=4)

    def test_value_is_the_mean_over_sets(self) -> None:
        """For |U| = 7 in sets of 4, the value is the mean over both sets, weighted by size, of a plain Sinkhorn loop."""
        task = cases.sat_task(6, u=7)
        with task.snapshot(0, 0) as shot:
            held = shot.objective(self.spec)
            got, adversarial = held.value(shot.theta()), held.adversarial
        x = torch.stack([task.validation[i][0] for i in range(7)])
        a, n = task.model(adversarial).detach(), task.model(x).detach()
        want = sum(len(p) / 7 * oracles.entropic_transport(a[p], n[p], 0.2, 3000) for p in ([0, 1, 2, 3], [4, 5, 6]))
        assert got == pytest.approx(want, rel=1e-5)

    @pytest.mark.parametrize("capture", [None, "all"])
    def test_query_equals_finite_differences(self, capture: Any) -> None:
        """The query equals the finite differences of this value."""
        model = cases.built(lambda: cases.ConvNet(3, 1))
        pool = cases.Items(cases.images(5), cases.classes(5, count=3))
        task = cases.sat_task(u=5, model=model, pool=pool, capture=capture)
        with task.snapshot(0, 0) as shot:
            held = shot.objective(self.spec)
            want = oracles.central_differences(held.value, shot.theta(), 1e-5)
            assert torch.allclose(held.query(shot.theta()), want, rtol=1e-4, atol=1e-7)

    def test_a_selection_by_it_is_complete(self) -> None:
        """A selection by optimal transport works, has no instance certificate, and records ε and the set size."""
        chosen = select(cases.sat_task(12), cases.rcs(objective=self.spec), 6)
        assert chosen.certificate is None
        recorded = chosen.provenance.settings["objective"]
        assert recorded["sets"] == 4
        assert recorded["divergence"]["epsilon"] == 0.2


def test_a_flat_start_is_refused() -> None:
    """An attack on a divergence without random start is refused for a model with one route, because its gradient is zero."""
    still = PGD(0.1, 0.05, 2, random_start=False)
    for spec in (RD("kl", attack=still), CEPlusRD(attack=still)):
        with pytest.raises(RequirementError, match="random_start=True"):
            select(cases.sat_task(9), cases.rcs(objective=spec), 4)
    with pytest.raises(RequirementError, match="random_start=True"):
        select(TASKS["two routes"](), cases.rcs(objective=RD("kl", attack=still, routes="one")), 4)


def test_a_start_at_the_centre_is_fine_where_there_is_a_gap() -> None:
    """With two routes, or for a cross-entropy, an attack may start at x."""
    still = PGD(0.1, 0.05, 2, random_start=False)
    assert len(select(TASKS["two routes"](), cases.rcs(objective=RD("kl", attack=still)), 4)) == 4
    assert len(select(cases.sat_task(9), cases.rcs(objective=AdversarialCE(attack=still)), 4)) == 4


@pytest.mark.parametrize("spec", [AdversarialCE(attack=WEAK), CEPlusRD(attack=WEAK)])
def test_missing_validation_labels_are_refused(spec: Objective) -> None:
    """Objectives that read labels are refused without labels before anything is computed."""
    task = cases.sat_task(9, validation=cases.Items(cases.images(5, seed=5)))
    with pytest.raises(RequirementError, match="validation labels"):
        select(task, cases.rcs(objective=spec), 4)


@pytest.mark.parametrize("selector", [RCS, RCSSampled])
def test_outputs_that_are_not_classes_have_no_cross_entropy(selector: Any) -> None:
    """A network trained without labels outputs representations, so a cross-entropy is refused even with validation labels."""
    task = cases.acl_task(12, validation=cases.Items(cases.images(8, seed=5), cases.classes(8)))
    for spec in (AdversarialCE(attack=WEAK), CEPlusRD(attack=WEAK)):
        with pytest.raises(RequirementError):
            select(task, selector(objective=spec), 4)
        assert "logits" in set(selector(objective=spec).requires) - set(task.provides)


def test_rd_never_reads_labels() -> None:
    """RD gives the same selection with other validation labels, or with none."""
    x = cases.images(8, seed=5)
    answers = [
        select(cases.sat_task(12, validation=cases.Items(x, y)), cases.rcs(), 5).indices.tolist()
        for y in (None, cases.classes(8), cases.classes(8, seed=3))
    ]
    assert answers[0] == answers[1] == answers[2]


def test_a_callable_is_taken_as_it_is() -> None:
    """A plain function becomes an objective; it may return a scalar, and a wrong shape is refused."""
    assert objective(squared) == Custom(squared)
    assert len(select(cases.sat_task(9), cases.rcs(objective=Custom(squared, attack=WEAK)), 4)) == 4
    whole = Custom(lambda a, n, y: (a - n).pow(2).sum(1).mean(), attack=WEAK)
    by_example = select(cases.sat_task(9), cases.rcs(objective=Custom(squared, attack=WEAK)), 4)
    assert select(cases.sat_task(9), cases.rcs(objective=whole), 4).indices.tolist() == by_example.indices.tolist()
    with pytest.raises(ShapeError, match=r"\[4, 4\]|\[10, 4\]"):
        select(cases.sat_task(9), cases.rcs(objective=Custom(lambda a, n, y: a - n, attack=WEAK)), 4)


def test_the_divergence_of_rd_has_two_spellings_that_mean_one_thing() -> None:
    """An objective called js, or rd with the divergence js; what contradicts itself is refused."""
    for name, divergence in (("js", None), ("rd", "js"), ("js", "js")):
        assert objective_named(name, divergence, attack=WEAK) == RD("js", attack=WEAK)
    assert objective("js") == RD("js")
    assert objective_named("rd") == RD("kl")
    assert objective_named("ce_plus_rd") == CEPlusRD()
    for name, divergence in (("js", "ot"), ("ce_plus_rd", "js"), ("adversarial_ce", "kl")):
        with pytest.raises(RequirementError, match="leave one of the two out"):
            objective_named(name, divergence)
    with pytest.raises(UnknownNameError, match="no objective is called 'kl'"):
        objective_named("kl")


def test_names_are_known() -> None:
    """Every name makes its objective; an unknown name is refused, and the message lists the known names."""
    assert [objective(n).name for n in OBJECTIVES] == ["rd", "rd", "rd", "adversarial_ce", "ce_plus_rd"]
    with pytest.raises(UnknownNameError, match="rd, js, ot, adversarial_ce, ce_plus_rd"):
        objective("robustness")
    with pytest.raises(UnknownNameError, match="kl, js, ot"):
        RD("hellinger")


@pytest.mark.parametrize("bad", [0, 4])
def test_validation_that_is_not_finite_is_named(bad: int) -> None:
    """NaN in a validation input is refused, and the message names its position in validation."""
    x = cases.images(6, seed=5)
    x[bad, 0, 1, 1] = float("nan")
    with pytest.raises(NonFiniteError, match="validation") as why:
        select(cases.sat_task(9, validation=cases.Items(x), batch_size=4), cases.rcs(), 4)
    assert why.value.indices == (bad,)


def test_a_query_that_diverges_is_refused() -> None:
    """A huge step that sends θ′ to infinity is refused, and the message names eta."""
    steep = Custom(lambda a, n, y: (a - n).exp().sum(1), attack=WEAK)
    with pytest.raises(NonFiniteError, match="eta"):
        select(cases.sat_task(12), cases.rcs(objective=steep, eta=1e6, certify=None), 9)
