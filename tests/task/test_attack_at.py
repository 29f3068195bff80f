"""Selections whose attacks act on embeddings equal loops that perturb a model split by hand, and leave no trace."""

import math
from dataclasses import replace
from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
from contract import photograph, random_states
from loop_rows import TOL, full, opened
from text_tasks import L2, LINF, Texts, reader, text_task
from torch import Tensor, nn

from coreselect import AttackAt, CoresetSampler, certify, plan, select
from coreselect.attacks import PGD
from coreselect.errors import RequirementError, ShapeError
from coreselect.network.attack_at import Perturbed
from coreselect.network.precision import HalfPrecision
from coreselect.objectives import RD, AdversarialCE
from coreselect.selectors import CRAIG, RCS, DeepFool, get_selector

FORMS: dict[str, Any] = {
    "dictionary": "embed",
    "pair": AttackAt("embed", mask=lambda x: x[1]),
    "ids": "embed",  # whose padding_idx shows the padding
}
PROBES = 4  # the model is probed with at most so many texts; here every batch is larger
WIDE: dict[str, Any] = {"low": -math.inf, "high": math.inf}


def by_hand(model: Any, data: Texts, attack: PGD, objective: Any, purpose: str) -> Tensor:
    """Attack the embeddings of all texts, one at a time: [n, T, D].

    Args:
        objective: (attacked outputs, natural outputs, labels) → [1], what the attack raises.
        purpose: of the random draws.
    """
    out = []
    for i in range(len(data)):
        ids, mask, y = data.ids[i][None], data.mask[i][None], data.y[i][None]
        with torch.no_grad():
            e = model.embed(ids)
            natural = model.rest(e, mask)
        path = (purpose, 0, 0)
        noise = oracles.noise_one_by_one(e.shape[1:], e.dtype, 0, *path, indices=[i]) * mask[..., None]

        def ascend(at: Tensor, mask: Any = mask, natural: Any = natural, y: Any = y) -> Tensor:
            return objective(model.rest(at, mask), natural, y).sum()

        r, step, steps = attack.radius, attack.step, attack.steps
        if attack.norm == "linf":
            out.append(oracles.pgd_linf(ascend, e, noise, r, step, steps, **WIDE))
            continue
        tokens = int(mask.sum())
        first = oracles.ball_start(noise[0, :tokens].flatten().tolist(), r)
        start = e.clone()
        start[0, :tokens] += torch.tensor(first, dtype=e.dtype).view(tokens, -1)
        out.append(oracles.pgd_l2(ascend, e, r, step, steps, start=start, **WIDE))
    return torch.cat(out)


def natural_of(model: Any, data: Texts) -> Tensor:
    """The outputs at natural embeddings, [n, C]."""
    return model.rest(model.embed(data.ids), data.mask)


def kl(attacked: Tensor, natural: Tensor, _: Tensor) -> Tensor:
    """RD of each example."""
    return oracles.kl(attacked, natural)


def ce(attacked: Tensor, _: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each example."""
    return oracles.cross_entropy(attacked, y)


@pytest.mark.parametrize("attack", [LINF, L2], ids=["linf", "l2"])
@pytest.mark.parametrize("form", list(FORMS))
def test_rcs_equals_the_loop_over_a_model_split_by_hand(form: str, attack: PGD) -> None:
    """Picks, order and gains are those of Algorithm 1 with embeddings that are perturbed by hand, in float64."""
    task = text_task(form=form, attack=attack, attack_at=FORMS[form])
    model, n, k = task.model, task.n, 7
    objective = RD("kl", attack=replace(attack, step=0.2, steps=2))
    selector = RCS(objective, group_size=3, stratify=None, eta=0.3)
    chosen = select(task, selector, k)

    pool, held = by_hand(model, task.pool, attack, ce, "attack"), task.validation
    worst = by_hand(model, held, objective.attack, kl, "validation attack")  # type: ignore[arg-type]  # it is given above
    parts = [model.fc.weight, model.fc.bias]

    def loss(members: Any) -> Tensor:
        m = list(members)
        return oracles.cross_entropy(model.rest(pool[m], task.pool.mask[m]), task.pool.y[m]).mean()

    def query(theta: Tensor) -> Tensor:
        here = theta.clone().requires_grad_()
        moved: dict[str, Tensor] = dict(
            zip(("fc.weight", "fc.bias"), here.split([model.fc.weight.numel(), len(model.fc.bias)]), strict=True)
        )
        moved["fc.weight"] = moved["fc.weight"].view_as(model.fc.weight)
        outputs = torch.func.functional_call(model, moved, (held.ids, held.mask)), _rest(model, moved, worst, held.mask)
        return torch.autograd.grad(oracles.kl(outputs[1], outputs[0]).mean(), here)[0]

    with task.snapshot(0, 0) as shot:
        groups = selector._groups(shot, k)
    order, picks, gains, _ = oracles.algorithm_1(
        lambda m: oracles.loop_rows(loss, parts, [m])[0],
        query,
        groups,
        oracles.flat([p.detach() for p in parts]),
        0.3,
        k,
    )
    assert n > k
    assert chosen.indices.tolist() == picks
    assert list(dict.fromkeys(chosen.groups.tolist())) == order
    assert np.allclose([chosen.gains[chosen.groups == m].sum() for m in order], gains, rtol=1e-9, atol=1e-13)


def _rest(model: Any, moved: Any, e: Tensor, mask: Tensor) -> Tensor:
    """The outputs at embeddings, with other parameters of the head."""
    return torch.func.functional_call(_Rest(model), {f"of.{n}": p for n, p in moved.items()}, (e, mask))


class _Rest(nn.Module):
    """All of a reader but its embeddings."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.of = of

    def forward(self, e: Tensor, mask: Tensor) -> Tensor:
        return self.of.rest(e, mask)


@pytest.mark.parametrize("grouping", ["examples", "uneven"])
def test_rows_flow_into_the_embeddings_too(grouping: str) -> None:
    """With embeddings captured, rows are gradients of the loss at E(x; θ) + δ with δ fixed, as in training with it."""
    task = text_task(capture=["embed.*", "body.*", "fc.*"])
    groups = [[i] for i in range(task.n)] if grouping == "examples" else [[3, 1, 0, 6], [2, 4, 5]]
    rows, _, names = opened(task, groups)
    model, data = task.model, task.pool
    delta = by_hand(model, data, LINF, ce, "attack") - model.embed(data.ids).detach()
    delta *= data.mask[..., None]

    def loss(members: Any) -> Tensor:
        m = list(members)
        outputs = model.rest(model.embed(data.ids[m]) + delta[m], data.mask[m])
        return oracles.cross_entropy(outputs, data.y[m]).mean()

    assert torch.allclose(full(rows), oracles.loop_rows(loss, cases.parts(model, names), groups), **TOL)


class Entered(cases.ConvNet):
    """A network with an identity at its input."""

    def __init__(self) -> None:
        super().__init__()
        self.entry = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.entry(x))


@pytest.mark.parametrize("loss", ["sat", "trades"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("capture", [None, ["conv.*", "fc.*"]])
def test_at_an_identity_it_is_the_attack_of_the_inputs(loss: str, norm: Any, capture: Any) -> None:
    """Where the submodule is an identity at the input, picks, gains, certificate and diagnostics are those without it."""
    attack = PGD(0.1, 0.05, 2, norm=norm, bounds=None)
    made = {"loss": loss, "attack": attack, "model": cases.built(Entered), "capture": capture}
    selector = RCS(RD("kl", attack=attack), group_size=3)
    want = select(cases.sat_task(18, **made), selector, 7)
    bounded = replace(attack, bounds=(0.0, 1.0))
    inside = RCS(RD("kl", attack=bounded), group_size=3)
    got = select(cases.sat_task(18, **{**made, "attack": bounded}, attack_at="entry"), inside, 7)
    assert got.indices.tolist() == want.indices.tolist()
    assert np.allclose(got.gains, want.gains, rtol=1e-8, atol=1e-13)
    assert got.diagnostics is not None
    assert want.diagnostics is not None
    assert got.diagnostics.rd_after_recrafted == pytest.approx(want.diagnostics.rd_after_recrafted)
    assert got.diagnostics.query_loss_cosine == pytest.approx(want.diagnostics.query_loss_cosine)
    if want.certificate is not None:
        assert got.certificate is not None
        assert got.certificate.upper_bound == pytest.approx(want.certificate.upper_bound)


@pytest.mark.parametrize("attack", [LINF, L2], ids=["linf", "l2"])
def test_padding_is_not_attacked_and_changes_nothing(attack: PGD) -> None:
    """The perturbation is exactly 0 at padding and inside the ball elsewhere; more padding gives the same picks."""
    task = text_task(attack=attack)
    with task.snapshot(0, 0) as shot:
        held = shot.objective(RD("kl", attack=attack)).adversarial
        assert isinstance(held, Perturbed)
        where = task.validation.mask[..., None].expand_as(held.delta)
        assert bool((held.delta[~where] == 0).all())
        assert bool((held.delta[where] != 0).all())
        far = held.delta.abs().amax((1, 2)) if attack.norm == "linf" else held.delta.flatten(1).norm(dim=1)
        assert bool((far <= attack.radius + 1e-12).all())
    picker = RCS(group_size=3)
    want, got = select(task, picker, 7), select(text_task(attack=attack, more=4), picker, 7)
    assert got.indices.tolist() == want.indices.tolist()
    assert np.allclose(got.gains, want.gains, rtol=1e-8)


def test_neither_batches_nor_workers_matter() -> None:
    """Any batch size, and workers, give the same picks and gains."""
    want = select(text_task(), RCS(group_size=3), 7)
    others: tuple[dict[str, Any], ...] = ({"batch_size": 100}, {"batch_size": 5, "num_workers": 1})
    for other in others:
        got = select(text_task(**other), RCS(group_size=3), 7)
        assert got.indices.tolist() == want.indices.tolist()
        assert np.allclose(got.gains, want.gains, rtol=1e-9)


@pytest.mark.parametrize(
    "selector",
    [
        RCS(RD("js"), group_size=3, recraft="every"),
        RCS(RD("ot", sets=4), group_size=3),
        RCS(AdversarialCE(), group_size=3),
        RCS(objective="ce_plus_rd", group_size=3, certify="sampled"),
        get_selector("rcs_sampled"),
        get_selector("acs_craig"),
        get_selector("acs_gradmatch"),
        CRAIG(),
    ],
    ids=lambda s: f"{s.name} {getattr(getattr(s, 'objective', ''), 'name', '')}",
)  # fmt: skip
def test_everything_that_attacks_chooses_and_leaves_no_trace(selector: Any) -> None:
    """Objectives, certificates and adversarial methods work in embedding space; model and random states stay as they were."""
    if getattr(getattr(selector, "objective", None), "divergence", "") == "ot":
        pytest.importorskip("ot", reason="optimal transport needs POT")
    task = text_task()
    before, states = photograph(task.model), random_states()
    chosen = select(task, selector, 7)
    assert len(set(chosen.indices.tolist())) == 7
    assert (photograph(task.model), random_states()) == (before, states)
    assert not any(m._forward_hooks for m in task.model.modules())


@pytest.mark.parametrize("attack", [HalfPrecision(LINF), PGD(0.3, 0.1, 0)])
def test_half_precision_and_random_noise_are_attacks_too(attack: Any) -> None:
    """An attack in half precision, and one of no step, act on embeddings; bounds are dropped in the record."""
    chosen = select(text_task(attack=attack, model=reader(torch.float32)), RCS(group_size=3), 7)
    assert len(chosen) == 7
    said = str(chosen.provenance.task["attack"])
    assert "'bounds': None" in said
    assert "0.0, 1.0" not in said


def test_the_record_says_what_was_attacked_and_another_place_is_another_task(tmp_path: Any) -> None:
    """Provenance names the submodule and attacks without bounds; certify and a store refuse another place."""
    task = text_task()
    chosen = select(task, RCS(RD("kl", attack=LINF), group_size=3), 7)
    assert chosen.provenance.task["attack_at"] == {"type": "AttackAt", "module": "embed", "mask": None}
    assert chosen.provenance.task["attack"]["bounds"] is None
    assert chosen.provenance.settings["objective"]["attack"]["bounds"] is None
    again = certify(chosen, task, "instance")
    assert chosen.certificate is not None
    assert again is not None
    assert again.value == pytest.approx(chosen.certificate.value)
    with pytest.raises(RequirementError, match="another attack_at"):
        certify(chosen, text_task(attack_at="body"), "instance")
    stored = select(task.storing(tmp_path / "rows"), RCS(group_size=3), 7)
    resumed = select(task.storing(tmp_path / "rows"), RCS(group_size=3), 7)
    elsewhere = select(text_task(attack_at="body").storing(tmp_path / "rows"), RCS(group_size=3), 7)
    assert stored.gains.tolist() == resumed.gains.tolist()
    assert elsewhere.gains.tolist() == select(text_task(attack_at="body"), RCS(group_size=3), 7).gains.tolist()


def test_a_sampler_renews_its_subset_in_embedding_space() -> None:
    """`CoresetSampler` selects by RCS as `select` does, round by round."""
    task = text_task()
    sampler = CoresetSampler(task, RCS(group_size=3), 7, warmup=1, every=1, seed=3)
    sampler.set_epoch(0)
    assert len(list(sampler)) == task.n
    sampler.set_epoch(1)
    assert sorted(sampler) == sorted(select(task, RCS(group_size=3), 7, seed=3).indices.tolist())


def test_an_attack_in_its_units_must_be_given() -> None:
    """The radius published for images is refused: for an adversarial loss at once, for RD before any work."""
    with pytest.raises(RequirementError, match=r"published radius is for images.*attack=PGD"):
        text_task(attack=None)
    task = text_task(loss="ce", attack=None)
    with pytest.raises(RequirementError, match=r"no attack has its units.*PGD"):
        CoresetSampler(task, RCS(), 7, warmup=5)
    assert len(select(task, RCS(RD(attack=LINF)), 7)) == 7
    assert len(select(task, CRAIG(), 7)) == 7


def test_methods_that_move_inputs_are_still_refused() -> None:
    """DeepFool moves the inputs themselves: the sentence does not offer another place."""
    with pytest.raises(ShapeError, match="a dictionary of input_ids") as caught:
        select(text_task(), DeepFool(), 7)
    assert "attack_at" not in str(caught.value)
    with pytest.raises(ShapeError, match=r"attack_at='embeddings'"):
        select(text_task(attack_at=None, attack=LINF), RCS(), 7)


@pytest.mark.parametrize(("loss", "capture"), [("ce", None), ("sat", None), ("trades", None), ("sat", "all")])
def test_the_plan_counts_the_pass_that_finds_the_embeddings(loss: str, capture: Any) -> None:
    """The forward passes of a selection are exactly those planned."""
    task = text_task(32, u=8, loss=loss, capture=capture, batch_size=8)
    selector = RCS(group_size=8)
    told, seen = plan(task, selector, 16, timed=True), [0]
    hook = task.model.body.register_forward_hook(lambda _m, x, _o: seen.append(len(x[0]) if len(x[0]) > PROBES else 0))
    select(task, selector, 16)
    hook.remove()
    assert sum(seen) == told.forward_passes
