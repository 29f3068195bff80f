"""Claims about rows: they equal a plain autograd loop, by every path, to 1e-10 in float64."""

from collections.abc import Sequence
from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from coreselect.attacks import PGD
from coreselect.errors import NonFiniteError, RequirementError, ShapeError
from coreselect.gradients.factored import FactoredRows
from coreselect.gradients.rows import DenseRows, argmax
from coreselect.gradients.sketch import Sketch
from coreselect.gradients.store import allocate
from coreselect.task.groups import deal

TOL = {"rtol": 0, "atol": 1e-10}


def opened(task: Any, groups: Sequence[Any], sketch: Sketch | None = None) -> tuple[Any, Tensor, Any]:
    """Rows, losses and the layout's names of a task at seed 0, round 0."""
    with task.snapshot(0, 0) as shot:
        rows, losses = shot.rows([np.asarray(g) for g in groups], sketch)
        return rows, losses, shot.layout().names


def full(rows: Any) -> Tensor:
    """Every row [M, P]."""
    return torch.stack([rows.full(m) for m in range(rows.count)])


def attacked(task: Any, streams: Sequence[int] = (0,)) -> list[Tensor]:
    """The inputs that SAT sees, by the transcription: one example at a time, one generator an example."""
    out = []
    for i in range(len(task.pool)):
        x, y = task.pool[i]
        noise = oracles.noise_one_by_one((1, 6, 6), x.dtype, 0, "attack", 0, 0, indices=[i])
        a = task.attack
        out.append(
            oracles.pgd_linf(
                lambda at, y=y: oracles.cross_entropy(task.model(at), torch.tensor([y])).sum(),
                x[None],
                noise,
                a.radius,
                a.step,
                a.steps,
            )[0]
        )
    return out


def sat_rows(task: Any, names: Sequence[str], groups: Sequence[Any]) -> Tensor:
    """Rows of SAT by the loop."""
    seen = attacked(task)

    def scalar(members: Sequence[int]) -> Tensor:
        outputs = task.model(torch.stack([seen[i] for i in members]))
        return oracles.cross_entropy(outputs, torch.tensor([task.pool[i][1] for i in members])).mean()

    return oracles.loop_rows(scalar, cases.parts(task.model, names), groups)


def acl_rows(task: Any, names: Sequence[str], groups: Sequence[Any], temperature: float = 0.5) -> Tensor:
    """Rows of ACL by the loop: views, joint attack and NT-Xent written out, on routes."""
    model = task.model

    def scalar(members: Sequence[int]) -> Tensor:
        views = []
        for i in members:
            own = torch.Generator().manual_seed(oracles.seed_of(0, "views", 0, index=i))
            views.append(cases.two_views(task.pool[i][None], own))
        pair = [torch.cat([v[side] for v in views]) for side in (0, 1)]
        noise = [
            oracles.noise_one_by_one((1, 6, 6), pair[0].dtype, 0, "attack", 0, side, indices=members) for side in (0, 1)
        ]
        b = len(members)

        def joint(at: Tensor) -> Tensor:
            return oracles.nt_xent(model(at[:b], "adversarial"), model(at[b:], "adversarial"), temperature)

        a = task.attack
        hit = oracles.pgd_linf(joint, torch.cat(pair), torch.cat(noise), a.radius, a.step, a.steps)
        natural = oracles.nt_xent(model(pair[0], "natural"), model(pair[1], "natural"), temperature)
        adversarial = oracles.nt_xent(model(hit[:b], "adversarial"), model(hit[b:], "adversarial"), temperature)
        return 0.5 * (adversarial + natural)

    return oracles.loop_rows(scalar, cases.parts(model, names), groups)


MODELS: dict[str, Any] = {
    "linear head": (cases.ConvNet, {}),
    "deep head": (cases.DeepHead, {"head": "head"}),
    "deep head, in-place activation": (
        lambda: cases.DeepHead(activation=nn.ReLU(inplace=True)),
        {"head": "head"},
    ),
    "one bias": (cases.ConvNet, {"capture": ["fc.bias"]}),
    "one weight": (cases.DeepHead, {"head": "head", "capture": ["head.3.weight"]}),
    "head with its BN": (cases.DeepHead, {"head": "head", "capture": ["head.*"]}),
    "convolution": (cases.ConvNet, {"capture": ["conv.*"]}),
    "whole model": (cases.ConvNet, {"capture": "all"}),
}


@pytest.mark.parametrize("which", MODELS)
@pytest.mark.parametrize("grouping", ["examples", "uneven", "one", "pairs"])
def test_rows_of_sat_equal_an_autograd_loop(which: str, grouping: str) -> None:
    """Whatever is captured and however the pool is grouped, rows equal the loop on attacked inputs to 1e-10."""
    factory, settings = MODELS[which]
    task = cases.sat_task(11, model=cases.built(factory), batch_size=4, **settings)
    groups = {
        "examples": [[i] for i in range(11)],
        "uneven": [[3, 1, 10, 0], [2, 9, 4, 8], [5, 6, 7]],
        "one": [list(range(11))],
        "pairs": [[0, 1], [10, 9], [4, 2]],
    }[grouping]
    rows, losses, names = opened(task, groups)
    assert torch.allclose(full(rows), sat_rows(task, names, groups), **TOL)
    assert losses is not None
    assert len(losses) == len(groups)


@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 5), st.integers(0, 20), st.integers(1, 7))
def test_rows_equal_an_autograd_loop_at_any_shape(n: int, classes: int, width: int, seed: int, batch: int) -> None:
    """Pool sizes, class counts, widths and batch sizes drawn at random, one-example groups and an uneven last group included."""
    model = cases.built(lambda: cases.ConvNet(classes, width), seed=seed)
    pool = cases.Items(cases.images(n, seed=seed), cases.classes(n, seed=seed, count=classes))
    task = cases.sat_task(model=model, pool=pool, batch_size=batch, attack=PGD(0.1, 0.05, 1))
    groups = deal(n, min(n, 1 + seed % 4), torch.Generator().manual_seed(seed))
    rows, _, names = opened(task, groups)
    assert torch.allclose(full(rows), sat_rows(task, names, groups), **TOL)


@pytest.mark.parametrize("settings", [{}, {"capture": "all"}, {"capture": ["conv.weight", "head.third.*"]}])
def test_rows_of_acl_equal_an_autograd_loop(settings: Any) -> None:
    """Batch rows of the contrastive loss, two views, joint attack, two routes: equal to the loop to 1e-10."""
    task = cases.acl_task(11, batch_size=5, **settings)
    groups = [[3, 1, 10, 0], [2, 9, 4, 8], [5, 6, 7]]
    rows, _, names = opened(task, groups)
    assert torch.allclose(full(rows), acl_rows(task, names, groups), **TOL)


def test_a_kept_part_of_a_group_has_its_own_row() -> None:
    """full(m, kept) is the row of the kept members alone: for ACL their own views attacked as a batch of their own."""
    sat, acl = cases.sat_task(11), cases.acl_task(11)
    groups = [[3, 1, 10, 0, 7], [2, 9, 4, 8]]
    parts = [[3], [3, 1], [3, 1, 10, 0]]
    for task, oracle in ((sat, sat_rows), (acl, acl_rows)):
        with task.snapshot(0, 0) as shot:
            rows, _ = shot.rows([np.asarray(g) for g in groups])
            got = [rows.full(0, np.asarray(kept)) for kept in parts]
            names = shot.layout().names
        assert torch.allclose(torch.stack(got), oracle(task, names, parts), **TOL)


def test_losses_are_the_groups_mean_losses() -> None:
    """The losses that come with the rows are the training loss on attacked inputs, averaged over the group."""
    task = cases.sat_task(9)
    groups = [[0, 4, 5], [8, 2]]
    _, losses, _ = opened(task, groups)
    seen = attacked(task)
    for got, members in zip(losses, groups, strict=True):
        each = [oracles.cross_entropy(task.model(seen[i][None]), torch.tensor([task.pool[i][1]])) for i in members]
        assert float(got) == pytest.approx(float(torch.cat(each).mean()), abs=1e-12)


class TestFactored:
    """Rows held as activations and output gradients."""

    def made(self, **settings: Any) -> tuple[FactoredRows, Any]:
        """Factored rows of a deep head."""
        task = cases.sat_task(9, model=cases.built(cases.DeepHead), head="head", **settings)
        rows, _, names = opened(task, [[i] for i in range(9)])
        assert isinstance(rows, FactoredRows)
        return rows, names

    def test_every_view_of_them_is_the_same_matrix(self) -> None:
        """scores, exact, dense, mean_of, combine and mean all agree with the rows written out."""
        rows, _ = self.made()
        R = rows.dense(torch.arange(9))
        q = torch.randn(R.shape[1], dtype=torch.float64)
        w = torch.randn(9, dtype=torch.float64)
        assert torch.allclose(rows.scores(q), R @ q, **TOL)
        assert np.allclose(rows.exact(np.array([4, 1, 8]), q), (R @ q)[[4, 1, 8]].numpy(), rtol=0, atol=1e-12)
        assert torch.allclose(rows.mean_of(np.array([2, 5, 7])), R[[2, 5, 7]].mean(0), **TOL)
        assert torch.allclose(rows.combine(w), w @ R, **TOL)
        assert torch.allclose(rows.mean(), R.mean(0), **TOL)

    def test_batches_of_factors_are_joined(self) -> None:
        """Computing factors four examples at a time gives the same rows."""
        from coreselect.gradients import factored

        task = cases.sat_task(9, model=cases.built(cases.DeepHead), head="head")
        with task.snapshot(0, 0) as shot:
            rows, _ = shot.rows([np.array([i]) for i in range(9)])
            pool = shot.model_rows.pool
            parts, _ = factored.factors(shot.net, task.loss, pool.prepared, pool.labels, batch=4)
            again = FactoredRows(parts, shot.layout())
            assert torch.allclose(again.dense(torch.arange(9)), rows.dense(torch.arange(9)), **TOL)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_slack_bounds_the_rounding(self, dtype: torch.dtype) -> None:
        """|score − float64 product| ≤ slack·‖query‖ for every row, in both precisions."""
        task = cases.sat_task(9, model=cases.built(cases.DeepHead, dtype=dtype), head="head", dtype=dtype)
        rows, _, _ = opened(task, [[i] for i in range(9)])
        for seed in range(20):
            q = torch.randn(rows.layout.size, generator=torch.Generator().manual_seed(seed)).to(dtype)
            off = np.abs(rows.scores(q).double().numpy() - rows.exact(np.arange(9), q))
            assert (off <= (rows.slack * q.norm()).numpy()).all()


class Cosine(nn.Module):
    """A head whose Linear is a store of weights, never called."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(7, 4, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        return 5 * nn.functional.linear(nn.functional.normalize(z), nn.functional.normalize(self.fc.weight))


class Reused(nn.Module):
    """A head that calls one Linear twice."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.Linear(7, 7), nn.Linear(7, 4)

    def forward(self, z: Tensor) -> Tensor:
        return self.out(torch.tanh(self.mix(torch.tanh(self.mix(z)))))


class Shared(nn.Module):
    """A head with two Linears of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(7, 7), nn.Linear(7, 7), nn.Linear(7, 4)
        self.two.weight = self.one.weight

    def forward(self, z: Tensor) -> Tensor:
        return self.out(torch.tanh(self.two(torch.tanh(self.one(z)))))


class Tokens(nn.Module):
    """A head that reshapes its features into tokens and back."""

    def __init__(self, *, flat: bool) -> None:
        super().__init__()
        self.flat = flat
        self.inner, self.out = nn.Linear(1, 2), nn.Linear(14, 4)

    def forward(self, z: Tensor) -> Tensor:
        tokens = z.reshape(-1, 1) if self.flat else z[..., None]
        return self.out(torch.tanh(self.inner(tokens)).reshape(len(z), -1))


class Attending(nn.Module):
    """A head with attention over its features as tokens: its inner Linear is read, not called."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(2, 1, batch_first=True)
        self.lift, self.out = nn.Linear(1, 2), nn.Linear(14, 4)

    def forward(self, z: Tensor) -> Tensor:
        t = self.lift(z[..., None])
        return self.out(self.attention(t, t, t, need_weights=False)[0].flatten(1))


class Unused(nn.Module):
    """A head with a Linear that its output does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.spare, self.out = nn.Linear(7, 4), nn.Linear(7, 4)

    def forward(self, z: Tensor) -> Tensor:
        self.spare(z)
        return self.out(z)


class Normed(nn.Module):
    """A head with a weight-normalised Linear."""

    def __init__(self, *, old: bool) -> None:
        super().__init__()
        norm: Any = nn.utils.weight_norm if old else nn.utils.parametrizations.weight_norm  # type: ignore[deprecated]
        self.mix, self.out = norm(nn.Linear(7, 7)), nn.Linear(7, 4)

    def forward(self, z: Tensor) -> Tensor:
        return self.out(torch.tanh(self.mix(z)))


HEADS: dict[str, Any] = {
    "cosine": Cosine,
    "reused": Reused,
    "shared weight": Shared,
    "tokens": lambda: Tokens(flat=False),
    "tokens, flattened": lambda: Tokens(flat=True),
    "attention": Attending,
    "unused Linear": Unused,
    "weight norm": lambda: Normed(old=False),
    "weight norm, old": lambda: Normed(old=True),
    "dropout": lambda: nn.Sequential(nn.Linear(7, 6), nn.Dropout(0.5), nn.Linear(6, 4)),
    "no bias": lambda: nn.Sequential(nn.Linear(7, 6, bias=False), nn.GELU(), nn.Linear(6, 4, bias=False)),
    "begins in place": lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(7, 4)),
    "begins in place, not idempotent": lambda: nn.Sequential(nn.LeakyReLU(0.3, inplace=True), nn.Linear(7, 4)),
    "in place inside": lambda: nn.Sequential(nn.Linear(7, 6), nn.LeakyReLU(0.3, inplace=True), nn.Linear(6, 4)),
    "residual": lambda: nn.Sequential(nn.Linear(7, 6), nn.LayerNorm(6), nn.Softplus(), nn.Linear(6, 4)),
}


def headed(which: str) -> nn.Module:
    """A body and one of the heads."""

    def make() -> nn.Module:
        model = cases.DeepHead()
        model.head = HEADS[which]()
        if which.startswith("begins"):  # an activation's own output must not be overwritten
            model.body = nn.Sequential(nn.Flatten(), nn.Linear(36, 7))
        return model

    return cases.built(make)


@pytest.mark.parametrize("which", HEADS)
@pytest.mark.parametrize("grouping", ["examples", "uneven"])
def test_rows_are_right_for_unusual_heads(which: str, grouping: str) -> None:
    """Heads whose Linears are read, shared, reused, reshaped, normalised or overwritten have the loop's rows to 1e-10."""
    task = cases.sat_task(7, model=headed(which), head="head")
    groups = [[i] for i in range(7)] if grouping == "examples" else [[3, 1, 0, 6], [2, 4, 5]]
    rows, _, names = opened(task, groups)
    assert torch.allclose(full(rows), sat_rows(task, names, groups), **TOL)
    kept = np.asarray(groups[0][:1])
    assert torch.allclose(rows.full(0, kept), sat_rows(task, names, [kept])[0], **TOL)


@pytest.mark.parametrize("which", HEADS)
def test_every_linear_of_an_unusual_head_is_captured(which: str) -> None:
    """By default all weights and biases of the head's Linears are captured, through normalisations too."""
    task = cases.sat_task(7, model=headed(which), head="head")
    with task.snapshot(0, 0) as shot:
        names = set(shot.layout().names)
    linears = [n for n, m in task.model.named_modules() if isinstance(m, nn.Linear) and n.startswith("head")]
    owned = {n for n, _ in task.model.named_parameters() if any(n.startswith(f"{l}.") for l in linears)}
    assert names == owned


class TestSketch:
    """The named approximation of inner products."""

    def test_is_linear_and_depends_on_its_seed_alone(self) -> None:
        """S(a + 2b) = S(a) + 2 S(b); equal settings are equal projections, other seeds are others."""
        a, b = torch.randn(2, 300, dtype=torch.float64)
        s = Sketch(64)
        assert torch.allclose(s(a + 2 * b), s(a) + 2 * s(b))
        assert torch.equal(Sketch(64, 0)(a), s(a))
        assert not torch.equal(Sketch(64, 1)(a), s(a))
        assert torch.equal(s(torch.stack([a, b]))[1], s(b))

    def test_equals_its_definition(self) -> None:
        """Every coordinate goes to one bucket with one sign: the sketch of the identity has one ±1 in each row."""
        table = Sketch(16)(torch.eye(50, dtype=torch.float64))
        assert ((table != 0).sum(1) == 1).all()
        assert (table.abs().sum(1) == 1).all()

    def test_is_unbiased_and_within_its_stated_variance(self) -> None:
        """Over 2,000 seeds the mean of ⟨Sa, Sb⟩ is ⟨a, b⟩ and the variance is at most the stated bound."""
        own = torch.Generator().manual_seed(0)
        a, b = torch.randn(2, 40, dtype=torch.float64, generator=own)
        width, draws = 8, 2000
        got = torch.tensor([float(Sketch(width, s)(a) @ Sketch(width, s)(b)) for s in range(draws)])
        norms = float(a @ a) * float(b @ b)
        variance = (norms + float(a @ b) ** 2) / width
        assert abs(float(got.mean()) - float(a @ b)) < 4 * (variance / draws) ** 0.5
        assert float(got.var()) < 1.15 * variance
        assert float((abs(got - a @ b) >= 2 * norms**0.5).double().mean()) <= 2 / (width * 4)

    def test_sketched_rows_are_the_sketches_of_the_rows(self) -> None:
        """By the head's path and by the whole model's, scores are ⟨S r, S q⟩ of the loop's rows."""
        sketch = Sketch(32)
        choices: list[Any] = [{}, {"capture": "all"}]
        for settings in choices:
            task = cases.sat_task(8, **settings)
            groups = [[0, 3, 7], [1, 2], [4, 5, 6]]
            rows, _, names = opened(task, groups, sketch)
            R = sat_rows(task, names, groups)
            q = torch.randn(R.shape[1], dtype=torch.float64)
            assert torch.allclose(rows.scores(rows.project(q)), sketch(R) @ sketch(q), **TOL)
            assert torch.allclose(full(rows), R, **TOL)

    def test_width_zero_is_refused(self) -> None:
        """A sketch of width 0 is refused."""
        with pytest.raises(ShapeError):
            Sketch(0)


class TestDense:
    """Rows as a matrix."""

    def rows(self, dtype: torch.dtype = torch.float32, m: int = 30, p: int = 17, seed: int = 0) -> DenseRows:
        """A random matrix of rows."""
        matrix = torch.randn(m, p, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)
        return DenseRows(matrix, [np.array([i]) for i in range(m)])

    @given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 50), st.sampled_from([torch.float32, torch.float64]))
    def test_slack_bounds_the_rounding(self, m: int, p: int, seed: int, dtype: torch.dtype) -> None:
        """|score − float64 product| ≤ slack·‖query‖ for every row at any shape, in both precisions."""
        rows = self.rows(dtype, m, p, seed)
        q = torch.randn(p, generator=torch.Generator().manual_seed(seed + 1)).to(dtype)
        off = np.abs(rows.scores(q).double().numpy() - rows.exact(np.arange(m), q))
        assert (off <= (rows.slack.double() * q.double().norm() * (1 + 1e-6)).numpy()).all()

    @pytest.mark.parametrize("scale", [1e-30, 1e-21, 1e-12, 1e12, 1e21, 1e30])
    def test_slack_bounds_the_rounding_at_extreme_scales(self, scale: float) -> None:
        """The bound also holds for rows whose squares leave float32's range, and none of them is called infinite."""
        base = self.rows(torch.float64).matrix
        rows = DenseRows((base * scale).float(), [np.array([i]) for i in range(30)])
        q = torch.randn(17, generator=torch.Generator().manual_seed(1))
        off = np.abs(rows.scores(q).double().numpy() - rows.exact(np.arange(30), q))
        assert (off <= (rows.slack.double() * q.double().norm() * (1 + 1e-6)).numpy()).all()

    @pytest.mark.parametrize("p", [1 << 10, 1 << 13])
    def test_half_precision_rows_are_searched_rightly(self, p: int) -> None:
        """Slack is positive and finite for float16 rows of any length, so a search always proposes the best row."""
        rows = self.rows(torch.float16, 5, p)
        assert bool((rows.slack > 0).all())
        assert bool(torch.isfinite(rows.slack).all())

    def test_slack_stays_positive_for_the_longest_heads(self) -> None:
        """A row of 2^24 numbers and more has a slack that is positive: rounding bounds do not turn over."""
        from coreselect.gradients.rows import gamma

        for length in (1 << 22, 1 << 24, 1 << 27):
            assert gamma(length, torch.float32) > 0

    def test_mean_weighs_groups_by_size(self) -> None:
        """The pool's mean row is the mean over examples, not over groups."""
        matrix = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        rows = DenseRows(matrix, [np.array([0, 1, 2]), np.array([3])])
        assert rows.mean().tolist() == pytest.approx([0.75, 0.25])

    def test_blocks_cover_the_rows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However small a block, scores, exact values and means are those of the whole."""
        from coreselect.gradients import rows as module

        q = torch.randn(17)
        want = self.rows().scores(q)
        monkeypatch.setattr(module, "BLOCK_BYTES", 200)
        rows = self.rows()
        assert len(rows.blocks()) > 5
        assert torch.allclose(rows.scores(q), want)
        assert np.allclose(rows.exact(np.arange(30), q), want.double().numpy(), atol=1e-5)
        assert torch.allclose(rows.mean(), rows.matrix.mean(0), atol=1e-6)

    def test_not_finite_rows_name_their_members(self) -> None:
        """NaN in a row is refused with its group's members, by the names they are known by."""
        matrix = torch.ones(3, 2)
        matrix[1, 0] = float("nan")
        with pytest.raises(NonFiniteError) as why:
            DenseRows(matrix, [np.array([0]), np.array([2, 1]), np.array([3])], names=np.array([10, 11, 12, 13]))
        assert why.value.indices == (11, 12)

    def test_argmax_breaks_ties_to_the_lowest_index(self) -> None:
        """Among equal float64 scores the lowest proposed row wins, in whatever order they were proposed."""
        rows = DenseRows(torch.ones(5, 3), [np.array([i]) for i in range(5)])
        assert argmax(rows, torch.tensor([4, 2, 3]), torch.ones(3)) == (2, 3.0)

    def test_exact_does_not_depend_on_company(self) -> None:
        """A row's float64 score is bit-identical whichever rows are scored beside it."""
        rows = self.rows(p=1001)
        q = torch.randn(1001)
        together = rows.exact(np.arange(30), q)
        for i in range(30):
            assert rows.exact(np.array([i]), q)[0] == together[i]


def test_large_matrices_live_on_disk() -> None:
    """Beyond the limit rows are memory-mapped, hold what is written, and can be searched."""
    matrix = allocate(100, 8, like=torch.empty(0), limit=1000)
    values = torch.randn(100, 8)
    for i in range(100):
        matrix[i] = values[i]
    rows = DenseRows(matrix, [np.array([i]) for i in range(100)])
    q = torch.randn(8)
    assert torch.allclose(rows.scores(q), values @ q)


def test_single_examples_of_a_batch_loss_are_refused() -> None:
    """NT-Xent has no row of one example: refused in one sentence."""
    with pytest.raises(RequirementError, match="single examples"):
        opened(cases.acl_task(6), [[i] for i in range(6)])


def test_a_gradient_that_is_not_finite_names_its_example() -> None:
    """Finite inputs and features whose loss gradient overflows are refused by the pool position."""

    class Steep(nn.Module):
        """Overflows in the gradient for bright images alone."""

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(36, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.flatten(1))

    x = cases.images(8)
    x[5] = 1e200
    task = cases.sat_task(
        pool=cases.Items(x, cases.classes(8, count=3)), model=cases.built(Steep), attack=PGD(0.1, 0.05, 1, bounds=None)
    )
    with pytest.raises(NonFiniteError) as why:
        opened(task, [[i] for i in range(8)])
    assert why.value.indices == (5,)
