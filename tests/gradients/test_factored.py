"""Claims about factored rows: they equal the rows of a plain loop, also for unusual heads."""

from typing import Any

import cases
import numpy as np
import pytest
import torch
from loop_rows import TOL, full, opened, sat_rows
from torch import Tensor, nn

from coreselect.gradients.factored import FactoredRows


class TestFactored:
    """Rows as activations and output gradients."""

    def made(self, **settings: Any) -> tuple[FactoredRows, Any]:
        """Make the factored rows of a deep head."""
        task = cases.sat_task(9, model=cases.built(cases.DeepHead), head="head", **settings)
        rows, _, names = opened(task, [[i] for i in range(9)])
        assert isinstance(rows, FactoredRows)
        return rows, names

    def test_all_methods_agree_with_the_same_matrix(self) -> None:
        """scores, exact, dense, mean_of, combine and mean all agree with the matrix of rows."""
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
        """Factors computed for four examples at a time give the same rows."""
        from coreselect.gradients.factors import factors

        task = cases.sat_task(9, model=cases.built(cases.DeepHead), head="head")
        with task.snapshot(0, 0) as shot:
            rows, _ = shot.rows([np.array([i]) for i in range(9)])
            pool = shot._rows.pool
            parts, _ = factors(shot.net, task.loss, pool.prepared, pool.labels, batch=4)
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
    """A head that reads the weights of a Linear without calling it."""

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
    """A head with two Linears that share one weight."""

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
    """A head with attention over its features as tokens; its inner Linear is read and not called."""

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
    """Make a model of a body and one of the heads."""

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
    """Heads whose Linears are read, shared, reused, reshaped, normalised or overwritten have the rows of the loop to 1e-10."""
    task = cases.sat_task(7, model=headed(which), head="head")
    groups = [[i] for i in range(7)] if grouping == "examples" else [[3, 1, 0, 6], [2, 4, 5]]
    rows, _, names = opened(task, groups)
    assert torch.allclose(full(rows), sat_rows(task, names, groups), **TOL)
    kept = np.asarray(groups[0][:1])
    assert torch.allclose(rows.full(0, kept), sat_rows(task, names, [kept])[0], **TOL)


@pytest.mark.parametrize("which", HEADS)
def test_every_linear_of_an_unusual_head_is_captured(which: str) -> None:
    """By default all weights and biases of the head's Linears are captured, also those of normalised Linears."""
    task = cases.sat_task(7, model=headed(which), head="head")
    with task.snapshot(0, 0) as shot:
        names = set(shot.layout().names)
    linears = [n for n, m in task.model.named_modules() if isinstance(m, nn.Linear) and n.startswith("head")]
    owned = {n for n, _ in task.model.named_parameters() if any(n.startswith(f"{l}.") for l in linears)}
    assert names == owned
