"""Usage (e): regression, several labels at once, and tables: by losses of one's own, by a model over columns, and by arrays."""

from typing import Any

import numpy as np
import oracles
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from coreselect import History, Task, holdout, select
from coreselect.attacks import PGD
from coreselect.errors import RequirementError
from coreselect.objectives import RD, Custom
from coreselect.selectors import CRAIG, RCS, GradMatch, KCenter, Loss, get_selector
from coreselect.selectors.catalogue import CATALOGUE

N, D, K = 60, 6, 8
OPEN = PGD(0.2, 0.1, 2, bounds=None)  # columns of a table have no bounds
CLASSES = {
    "el2n", "el2n_adv", "entropy", "least_confidence", "margin", "margin_adv", "aum", "forgetting", "forgetting_adv", "ccs",
    "moderate", "d2", "cal", "deepfool", "aign",
}  # fmt: skip  # their definitions compare classes
ATTACKED = {"acs_craig", "acs_gradmatch"}  # their definitions read gradients at attacked inputs
METHODS = [e.name for e in CATALOGUE if not e.combines]


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Outputs [B, 1] and values [B] → [B]."""
    return (outputs[:, 0] - targets).square()


def moved(adversarial: Tensor, natural: Tensor) -> Tensor:
    """The divergence of values: the squared distance of outputs, [B]."""
    return (adversarial - natural).square().sum(1)


def bernoulli(adversarial: Tensor, natural: Tensor) -> Tensor:
    """The divergence of several labels: the sum of the KLs of independent labels, [B]."""
    p, q = adversarial.sigmoid(), natural.sigmoid()
    return (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(1)


KINDS: dict[str, tuple[Any, int, Any]] = {  # the loss, the number of outputs, the divergence
    "a value": (squared, 1, moved),
    "several values": (nn.HuberLoss(reduction="none"), 3, moved),
    "several labels": (nn.BCEWithLogitsLoss(reduction="none"), 4, bernoulli),
}


def columns() -> Tensor:
    """The columns of a table [N, D]."""
    return torch.randn(N, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def targets(kind: str) -> Tensor:
    """Targets that follow from the columns."""
    x = columns()
    wide = x @ torch.randn(D, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return {"a value": wide[:, 0], "several values": wide[:, :3], "several labels": (wide > 0.3).double()}[kind]


def task_of(kind: str, **settings: Any) -> Any:
    """Make a task over a table."""
    loss, outputs, _ = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, outputs)).double()
    pool, held = holdout(TensorDataset(columns(), targets(kind)), 12, 0)
    return Task.from_model(model, pool, held, **{"loss": loss, "attack": OPEN, **settings})


def recorded() -> History:
    """A history of losses, as a loop with any loss records it."""
    out = History(N - 12)
    for epoch in range(3):
        losses = torch.rand(N - 12, generator=torch.Generator().manual_seed(epoch))
        out.record_losses(np.arange(N - 12), losses)
    return out


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("name", METHODS)
def test_a_method_chooses_or_says_why_its_definition_does_not_allow_it(name: str, kind: str) -> None:
    """Methods of classes name the targets, methods at attacked inputs name the loss, and all others meet the budget."""
    task = task_of(kind, history=recorded() if name == "importance" else None)
    objective = {"objective": RD(KINDS[kind][2])} if name in ("rcs", "rcs_sampled") else {}
    selector = get_selector(name, **objective)
    if name in CLASSES | ATTACKED:
        told = "of classes, and this task's targets are" if name in CLASSES else "attacks no inputs"
        with pytest.raises(RequirementError, match=told) as caught:
            select(task, selector, K)
        assert "\n" not in str(caught.value)
        return
    chosen = select(task, selector, K)
    assert len(set(chosen.indices.tolist())) == K
    assert not any("cross-entropy" in note for note in chosen.provenance.notes)


@pytest.mark.parametrize("kind", list(KINDS))
def test_rcs_lowers_a_divergence_of_ones_own(kind: str) -> None:
    """First gains are η times the products of the loss's rows and the gradient of the divergence, both by plain autograd."""
    loss, _, divergence = KINDS[kind]
    task = task_of(kind)
    selector = RCS(RD(divergence), group_size=4, eta=0.05)
    chosen = select(task, selector, K)
    head = task.model[2]
    parts = [head.weight, head.bias]
    x, y = (torch.stack([task.pool[i][j] for i in range(len(task.pool))]) for j in (0, 1))
    held = torch.stack([task.validation[i][0] for i in range(12)])
    with task.snapshot(0, 0) as shot:
        groups = selector._groups(shot, K)
        worst = shot.objective(selector.objective).adversarial
    query = oracles.flat(torch.autograd.grad(divergence(task.model(worst), task.model(held)).mean(), parts))

    def value(members: Any) -> Tensor:
        each = loss(task.model(x[list(members)]), y[list(members)])
        return each.flatten(1).mean(1).mean() if each.dim() > 1 else each.mean()

    gains = 0.05 * oracles.loop_rows(value, parts, [list(g) for g in groups]) @ query
    assert chosen.scores is not None
    for m, group in enumerate(groups):
        assert chosen.scores[group] * len(group) == pytest.approx(gains[m].item(), rel=1e-8, abs=1e-13)
    assert chosen.diagnostics is not None
    assert chosen.diagnostics.rd_after_held < chosen.diagnostics.rd_before  # type: ignore[operator]  # both are known
    assert float((worst - held).abs().max()) <= 0.2 + 1e-12


def test_the_softmax_of_one_value_is_refused() -> None:
    """RD by default compares softmaxes, which one output does not have: the sentence comes before any sweep."""
    with pytest.raises(Exception, match=r"softmax of one"):
        select(task_of("a value"), RCS(), K)


def test_loss_is_the_tasks_own() -> None:
    """The method `loss` ranks by the loss that the task was given."""
    task = task_of("several labels")
    x, y = (torch.stack([task.pool[i][j] for i in range(len(task.pool))]) for j in (0, 1))
    want = nn.functional.binary_cross_entropy_with_logits(task.model(x), y, reduction="none").mean(1)
    chosen = select(task, Loss(), K)
    assert chosen.scores == pytest.approx(want.detach().numpy())
    assert chosen.indices.tolist() == want.argsort(descending=True)[:K].tolist()


class Mixed(Dataset[Any]):
    """A table whose rows have a category and numbers."""

    def __init__(self) -> None:
        self.numbers, self.y = columns(), targets("a value")
        self.kind = torch.arange(N) % 5

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> Any:
        return (self.kind[i], self.numbers[i]), self.y[i]


class Table(nn.Module):
    """A category's embedding beside the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.category, self.joined = nn.Embedding(5, 3), nn.LayerNorm(3 + D)
        self.body, self.head = nn.Linear(3 + D, 8), nn.Linear(8, 1)

    def forward(self, kind: Tensor, numbers: Tensor) -> Tensor:
        x = self.joined(torch.cat([self.category(kind), numbers], 1))
        return self.head(torch.tanh(self.body(x)))


def test_a_table_with_categories_is_attacked_where_it_is_numbers() -> None:
    """RCS attacks the joined columns of a model over categories and numbers, where both have one scale."""
    pool, held = holdout(Mixed(), 12, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Table().double()
    task = Task.from_model(model, pool, held, loss=squared, attack=PGD(0.2, 0.1, 3), attack_at="joined")
    chosen = select(task, RCS(Custom(lambda a, n, y: moved(a, n)), group_size=4), K)
    assert len(set(chosen.indices.tolist())) == K
    assert chosen.diagnostics is not None
    assert chosen.diagnostics.rd_before is not None
    assert chosen.diagnostics.rd_before > 0
    assert select(task, CRAIG(), K).weights is not None


@pytest.mark.parametrize("selector", [CRAIG(), GradMatch(), KCenter()], ids=lambda s: s.name)
def test_arrays_of_a_regression_give_what_its_model_gives(selector: Any) -> None:
    """Gradients and features that a program saved choose as the model does, without classes."""
    task = task_of("several values")
    with task.snapshot(0, 0) as shot:
        rows, _ = shot.rows([np.array([i]) for i in range(shot.n)])
        gradients = torch.stack([rows.full(m) for m in range(rows.count)]).numpy()
        features = shot.features().numpy()
    arrays = Task.from_arrays(features=features, gradients=gradients)
    want, got = select(task, selector, K), select(arrays, selector, K)
    assert got.indices.tolist() == want.indices.tolist()
