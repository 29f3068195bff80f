"""CRAIG towards validation: the picks cover the gradients of a labelled validation set, as a slow greedy does."""

from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
from gradient_rows import Array, normal, rows_of
from hypothesis import given
from hypothesis import strategies as st

from coreselect import Task, plan, select
from coreselect.errors import DataError, NonFiniteError, RequirementError, ShapeError
from coreselect.gradients.rows import single_examples
from coreselect.selectors import CRAIG, ACSCraig, PerClass
from coreselect.selectors.gradient.validation_cover import cover_validation, shares_of
from coreselect.task.of_validation import of_validation

TIE = 1e-11


def to_each(pool: Array, held: Array) -> Array:
    """d_uj [|U|, N], one pair at a time."""
    return np.array([[float(np.linalg.norm(u - j)) for j in pool] for u in held], np.float64)


def hamilton(k: int, pool: list[int], held: list[int]) -> list[int]:
    """Give out k picks one at a time: whole quotas first, then by the largest remainder; full classes give theirs to the others."""
    out, free = [0] * len(pool), [i for i, n in enumerate(pool) if n]
    while True:
        left = k - sum(out[i] for i in range(len(pool)) if i not in free)
        total = sum(held[i] for i in free)
        full = [i for i in free if pool[i] * total <= left * held[i]]
        if not full or not free:
            break
        for i in full:
            out[i] = pool[i]
        free = [i for i in free if i not in full]
    if free:
        total = sum(held[i] for i in free)
        for i in free:
            out[i] = left * held[i] // total
        for i in sorted(free, key=lambda i: (-(left * held[i] % total), i))[: left - sum(out[i] for i in free)]:
            out[i] += 1
    return out


def slow_target_cover(d: Array, k: int) -> tuple[list[int], float]:
    """Add what raises F most, with F written out; when nothing does, what is nearest to U; ties go to the lowest index."""
    c = d.max()

    def f(s: list[int]) -> float:
        return sum(max(c - row[j] for j in s) for row in d) if s else 0.0

    order: list[int] = []
    while len(order) < k:
        here = {j: f([*order, j]) - f(order) for j in range(d.shape[1]) if j not in order}
        best = max(here.values())
        if best <= TIE and order:
            order += sorted(here, key=lambda j: (d[:, j].min(), j))[: k - len(order)]
        else:
            order.append(min(j for j, v in here.items() if v >= best - TIE))
    return order, f(order)


def slow(pool: Array, held: Array, y: Any, v: Any, k: int) -> tuple[list[int], list[int], float, float]:
    """Picks, γ, the sum of F over the classes, and Σ min d, class by class, from nothing but the definitions."""
    classes = sorted(set(v.tolist()))
    members = [np.flatnonzero(y == c) for c in classes]
    ours = [np.flatnonzero(v == c) for c in classes]
    shares = hamilton(min(k, sum(map(len, members))), [len(m) for m in members], [len(u) for u in ours])
    picks: list[int] = []
    owner = np.full(len(held), -1)
    value = 0.0
    d = to_each(pool, held)
    for inside, of_class, share in zip(members, ours, shares, strict=True):
        if share:
            order, f = slow_target_cover(d[np.ix_(of_class, inside)], share)
            chosen = inside[order].tolist()
            picks, value = picks + chosen, value + f
            for u in of_class:
                owner[u] = min(chosen, key=lambda j: (d[u, j], j))
    others = sorted(set(range(len(pool))) - set(picks), key=lambda j: (d[:, j].min(), j))
    picks += others[: k - len(picks)]
    for u in np.flatnonzero(owner < 0):
        owner[u] = min(picks, key=lambda j: (d[u, j], j))
    bound = sum(d[u, j] for u, j in enumerate(owner))
    return picks, [int((owner == j).sum()) for j in picks], value, bound


@given(st.integers(0, 10_000), st.integers(1, 14), st.integers(1, 7), st.integers(1, 3), st.booleans(), st.data())
def test_the_cover_is_the_greedy_of_the_definition(
    seed: int, n: int, m: int, classes: int, dense: bool, data: st.DataObject
) -> None:
    """Picks, weights, F and the bound are those of a slow greedy, with stored distances and without; k may exceed |U|."""
    k = data.draw(st.integers(1, n))
    rng = np.random.default_rng(seed)
    g, h = normal(seed, n, 3), normal(seed + 1, m, 3)
    y, v = rng.integers(0, classes, n), rng.integers(0, classes, m)
    if not set(y.tolist()) & set(v.tolist()):
        v = y[:1].repeat(m)
    parts = [(np.flatnonzero(y == c), np.flatnonzero(v == c)) for c in np.unique(v)]
    rows = rows_of(np.concatenate([g, h]))
    got = cover_validation(rows, n, parts, shares_of(parts, k), k, 99 if dense else 0, lambda _: None)
    picks, counts, value, bound = slow(g, h, y, v, k)
    assert got.picks.tolist() == picks
    assert got.counts.tolist() == counts
    assert sum(p.value for p in got.parts) == pytest.approx(value, abs=1e-8)
    assert got.near.sum() == pytest.approx(bound, abs=1e-6)
    assert np.linalg.norm(h.sum(0) - got.counts @ g[got.picks]) <= bound + 1e-8
    assert all(p.value <= p.upper + 1e-9 for p in got.parts)
    assert got.gains.sum() == pytest.approx(value, abs=1e-8)


def gradients(task: Any, data: cases.Items) -> Array:
    """∇ of natural cross-entropy in the head of a `ConvNet`, one backward pass for each item."""
    fc, y = task.model.fc, data.y
    assert y is not None
    rows = oracles.loop_rows(
        lambda i: oracles.cross_entropy(task.model(data.x[i]), y[i]).sum(),
        [fc.weight, fc.bias],
        [[i] for i in range(len(y))],
    )
    return rows.numpy()


@pytest.mark.parametrize("k", [1, 4, 9, 20])
@pytest.mark.parametrize("per_class", [True, False])
def test_a_selection_covers_the_natural_gradients_of_validation(k: int, per_class: bool) -> None:
    """Picks, weights k·γ/|U| and the certificate are those of the plain gradients; F's bound and the error's bound hold."""
    task = cases.sat_task(20, u=8)
    own, target = gradients(task, task.pool), gradients(task, task.validation)
    y, v = task.pool.y.numpy(), task.validation.y.numpy()
    chosen = select(task, CRAIG(target="validation", per_class=per_class), k)
    picks, counts, value, bound = slow(own, target, *((y, v) if per_class else (0 * y, 0 * v)), k)
    assert chosen.indices.tolist() == picks
    assert chosen.weights == pytest.approx(np.array(counts) * k / 8)
    assert chosen.weights is not None
    assert chosen.weights.mean() == pytest.approx(1)
    known = chosen.certificate
    assert known is not None
    error = np.linalg.norm(target.sum(0) - counts @ own[picks])
    assert known.value == pytest.approx(value)
    assert known.details["gradient_error"] == pytest.approx(error, abs=1e-9)
    assert known.details["distance_bound"] == pytest.approx(bound, abs=1e-6)
    assert error <= bound + 1e-6
    assert known.upper_bound is not None
    assert known.value <= known.upper_bound + 1e-9
    zeros = counts.count(0)
    assert any(f"{zeros} of {k} picks represent no validation" in note for note in chosen.provenance.notes) == (
        zeros > 0
    )


def test_the_attacked_form_covers_attacked_gradients_of_the_same_loss() -> None:
    """Pool and validation have gradients of the task's own loss at attacked inputs, so the picks are those of these rows."""
    for task in (cases.sat_task(18, u=6), cases.sat_task(18, u=6, loss="trades", attack=cases.WEAK)):
        with task.snapshot(0, 0) as shot:
            held = of_validation(shot)  # type: ignore[arg-type]  # of a model
            both = [s.rows(single_examples(s.n))[0] for s in (shot, held)]
            own, target = (torch.stack([r.full(i) for i in range(r.count)]).numpy() for r in both)
        picks, counts, _, _ = slow(own, target, task.pool.y.numpy(), task.validation.y.numpy(), 7)
        chosen = select(task, ACSCraig(target="validation"), 7)
        assert chosen.indices.tolist() == picks
        assert chosen.weights == pytest.approx(np.array(counts) * 7 / 6)
        plain = gradients(task, task.validation)
        assert not np.allclose(target, plain, atol=1e-4)


def test_rows_of_validation_have_the_mean_that_gradmatch_matches() -> None:
    """The mean of validation's rows is the gradient of the objective on validation, natural and attacked."""
    from coreselect.selectors.gradient.example_gradients import validation_query, with_natural_loss

    task = cases.sat_task(12, u=5)
    with task.snapshot(0, 0) as shot:
        compared = with_natural_loss(shot, "craig")
        rows, _ = of_validation(compared.snapshot).rows(single_examples(5))  # type: ignore[arg-type]  # of a model
        query = validation_query(compared.snapshot, "craig", compared.objective)
    assert torch.allclose(rows.mean(), query, atol=1e-12)


def test_all_parameters_have_sketched_rows_on_both_sides() -> None:
    """With capture='all' both lists of rows are sketched alike; a note says so, and the bound still holds."""
    chosen = select(cases.sat_task(12, u=4, capture="all"), CRAIG(target="validation"), 5)
    assert any("sketched" in note for note in chosen.provenance.notes)
    known = chosen.certificate
    assert known is not None
    assert known.details["gradient_error"] <= known.details["distance_bound"] + 1e-9


def test_a_class_of_validation_that_the_pool_lacks_belongs_to_the_nearest_pick() -> None:
    """Its share goes to the other classes, and a note counts its examples."""
    pool = cases.Items(cases.images(12), torch.tensor([0, 1] * 6))
    held = cases.Items(cases.images(6, seed=9), torch.tensor([0, 1, 2, 2, 2, 2]))
    task = cases.sat_task(pool=pool, validation=held)
    chosen = select(task, CRAIG(target="validation"), 4)
    picks, counts, _, _ = slow(gradients(task, pool), gradients(task, held), pool.y.numpy(), held.y.numpy(), 4)  # type: ignore[union-attr]
    assert chosen.indices.tolist() == picks
    assert sum(counts) == 6
    assert chosen.weights == pytest.approx(np.array(counts) * 4 / 6)
    assert any(note.startswith("4 validation examples of classes without a pick") for note in chosen.provenance.notes)


def test_a_budget_beyond_the_classes_of_validation_is_met_with_weight_0() -> None:
    """Examples of classes that validation lacks follow last, those nearest to validation first; a note says so."""
    pool = cases.Items(cases.images(10), torch.tensor([0, 3] * 5))
    held = cases.Items(cases.images(3, seed=9), torch.tensor([0, 0, 0]))
    task = cases.sat_task(pool=pool, validation=held)
    chosen = select(task, CRAIG(target="validation"), 8)
    assert set(chosen.indices[:5].tolist()) == {0, 2, 4, 6, 8}
    d = to_each(gradients(task, pool), gradients(task, held)).min(0)
    assert chosen.indices[5:].tolist() == sorted([1, 3, 5, 7, 9], key=lambda j: d[j])[:3]
    assert chosen.weights is not None
    assert chosen.weights[5:].tolist() == [0, 0, 0]
    assert chosen.weights.mean() == pytest.approx(1)
    assert any("classes that validation lacks" in note for note in chosen.provenance.notes)


def test_copies_are_picked_last_and_the_first_of_them_counts() -> None:
    """Of equal images the lowest index represents, and copies follow with weight 0; the same answer each time."""
    x, y = cases.images(4).repeat(3, 1, 1, 1), torch.arange(4).repeat(3)
    held = cases.Items(cases.images(4, seed=9), torch.arange(4))
    task = cases.sat_task(pool=cases.Items(x, y), validation=held)
    chosen = select(task, CRAIG(target="validation"), 8)
    assert chosen.indices.tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert chosen.weights == pytest.approx(np.array([2.0, 0] * 4))


def test_what_validation_needs_is_said_in_one_sentence() -> None:
    """No labels, labels without an output, broken inputs, no validation, arrays, an unknown target."""
    x, y = cases.images(5, seed=9), torch.tensor([0, 1, 2, 3, 0])
    broken = x.clone()
    broken[3, 0, 1, 1] = float("nan")
    far = cases.Items(x, y + 2)
    pool = cases.Items(cases.images(6), cases.classes(6))
    towards: Any = (CRAIG(target="validation"), ACSCraig(target="validation"))
    for selector in towards:
        for settings, kind, said in (
            ({"validation": cases.Items(x)}, RequirementError, "validation's items have no labels: give"),
            ({"validation": far}, ShapeError, r"validation labels lie outside 0…3.*positions 2, 3"),
            ({"validation": cases.Items(broken, y)}, NonFiniteError, r"1 validation inputs hold NaN.*positions 3"),
        ):
            with pytest.raises(kind, match=said) as refused:
                select(cases.sat_task(**{"n": 6, **settings}), selector, 3)
            assert "\n" not in str(refused.value)
        with pytest.raises(RequirementError, match="needs validation"):
            select(Task.from_model(cases.built(cases.ConvNet), pool, attack=cases.WEAK), selector, 3)
        with pytest.raises(RequirementError, match=r"arrays hold only their mean.*gradmatch"):
            select(cases.array_task(8), selector, 3)
    with pytest.raises(ShapeError, match="'train' or 'validation'"):
        CRAIG(target="test")  # type: ignore[arg-type]


def test_an_item_of_validation_that_cannot_be_read_is_named() -> None:
    """The message says that it is of validation."""
    held = cases.Failing(cases.images(5, seed=9), cases.classes(5), at=3)
    task = cases.sat_task(8, validation=held)
    select(task, CRAIG(), 2)
    held.armed = True
    with pytest.raises(DataError, match="validation item 3 cannot be read"):
        select(task, CRAIG(target="validation"), 2)


def test_without_a_common_class_all_examples_are_one() -> None:
    """A pool of other classes than validation's, as a part of a pool may be, is covered as one class; a note says so."""
    pool, held = (cases.Items(cases.images(6, seed=y), torch.full((6,), y)) for y in (0, 2))
    task = cases.sat_task(pool=pool, validation=held)
    apart, one = (select(task, CRAIG(target="validation", per_class=p), 3) for p in (True, False))
    assert apart.indices.tolist() == one.indices.tolist()
    assert any("no example of any class of validation" in note for note in apart.provenance.notes)


def test_images_without_classes_are_covered_as_one_class() -> None:
    """Under a loss of the user's own that reads other targets there are no classes; a note says so."""

    def squares(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ((outputs - targets) ** 2).mean(1)

    def made(n: int, seed: int) -> list[Any]:
        return list(zip(cases.images(n, seed=seed), torch.rand(n, 4, dtype=torch.float64), strict=True))

    task = Task.from_model(cases.built(cases.ConvNet), made(9, 0), made(4, 1), loss=squares)
    chosen = select(task, CRAIG(target="validation"), 3)
    assert chosen.weights is not None
    assert chosen.weights.mean() == pytest.approx(1)
    assert chosen.nested
    assert any("the pool has no classes" in note for note in chosen.provenance.notes)


def test_class_by_class_and_inside_parts_of_the_pool() -> None:
    """A restricted task, and `PerClass` around it, still cover the whole validation set."""
    task = cases.sat_task(20, u=8)
    inside = select(task.restrict([3, 5, 7, 9, 11, 13]), CRAIG(target="validation", per_class=False), 3)
    assert set(inside.source_indices.tolist()) <= {3, 5, 7, 9, 11, 13}
    assert inside.weights is not None
    assert inside.weights == pytest.approx(np.round(inside.weights * 8 / 3) * 3 / 8)
    assert len(select(task, PerClass(CRAIG(target="validation")), 6)) == 6


def test_a_plan_counts_the_sweep_over_validation() -> None:
    """Both sweeps are in the plan, attacked in the attacked form alone."""
    task = cases.sat_task(20, u=8)
    natural, attacked = (plan(task, s, 5).passes for s in (CRAIG(target="validation"), ACSCraig(target="validation")))
    assert {p.part: (p.examples, p.steps) for p in natural} == {"sweep": (28, 0)}
    assert {p.part: (p.examples, p.steps) for p in attacked} == {"sweep": (28, 28 * cases.WEAK.steps)}
