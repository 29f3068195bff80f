"""Code of a user that type checkers read and nothing runs: public names have the types that their pages say."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Subset, TensorDataset

import coreselect
from coreselect import (
    Certificate,
    CoreselectError,
    CoresetSampler,
    Diagnostics,
    History,
    Indexed,
    Plan,
    Provenance,
    Selection,
    Selector,
    Task,
    certify,
    get_selector,
    holdout,
    limits,
    list_selectors,
    plan,
    read_indices,
    select,
    select_each,
)
from coreselect.attacks import PGD
from coreselect.budget import Budget
from coreselect.losses import SAT
from coreselect.objectives import RD
from coreselect.protocols import TaskLike
from coreselect.selectors import RCS, PerClass, Random


def from_a_model(model: nn.Module, dataset: TensorDataset) -> Selection:
    """From a model to an index file."""
    pool, validation = holdout(dataset, size=0.01, seed=0)
    assert_type(pool, Subset[Any])
    task = Task.from_model(model, pool, validation, loss="sat", attack=PGD(8 / 255, 2 / 255, 3), batch_size=64)
    known: Task = task
    assert_type(known.provides, frozenset[str])
    assert_type(task.n, int)
    selection = select(task, RCS(objective=RD("kl"), eta=0.01), 0.1, seed=0)
    assert_type(selection, Selection)
    assert_type(selection.indices, NDArray[np.int64])
    assert_type(selection.weights, NDArray[np.float64] | None)
    assert_type(selection.files, tuple[str, ...] | None)
    assert_type(selection.certificate, Certificate | None)
    assert_type(selection.diagnostics, Diagnostics | None)
    assert_type(selection.provenance, Provenance)
    assert_type(len(selection), int)
    assert_type(certify(selection, task, "instance"), Certificate | None)
    selection.described(dataset).save(Path("coreset.npz"))
    assert_type(Selection.load("coreset.npz"), Selection)
    assert_type(read_indices("coreset.csv"), NDArray[np.int64])
    return selection


def several(task: Task) -> dict[str, Selection]:
    """Several methods, by name and by class."""
    pickers: list[Selector] = [get_selector("rcs", eta=0.05), PerClass(Random()), Random()]
    made = select_each(task, pickers, 100, 0)
    assert_type(plan(task, pickers[0], 100, 0), Plan)
    assert_type(list_selectors(), list[str])
    return {picker.name: selection for picker, selection in zip(pickers, made, strict=True)}


def loop(model: nn.Module, pool: TensorDataset, task: Task, optimizer: torch.optim.Optimizer) -> None:
    """A training loop."""
    sampler = CoresetSampler(task, RCS(), 0.1, warmup=2, every=5, seed=0)
    loader = torch.utils.data.DataLoader(Indexed(pool), batch_size=64, sampler=sampler)
    criterion = SAT()
    assert_type(criterion.name, str)
    for epoch in range(10):
        sampler.set_epoch(epoch)
        for x, y, index in loader:
            loss = nn.functional.cross_entropy(model(x), y, reduction="none")
            weighted = loss * sampler.weights(index)
            assert_type(sampler.weights(index), Tensor)
            weighted.mean().backward()
            optimizer.step()
    state = sampler.state_dict()
    assert_type(state, dict[str, Any])
    sampler.load_state_dict(state)


def own_selector() -> Selector:
    """A method of the user's own fits the protocol."""

    class First:
        name = "first"
        requires: frozenset[str] = frozenset()
        renew = "never"

        def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
            return Random().select(task, budget, generator=generator, round=round)

    return First()


def refused(error: CoreselectError, history: History) -> str:
    """Errors and records have the names that are listed."""
    assert_type(coreselect.__version__, str)
    assert_type(str(error), str)
    with limits(hours=2):
        return f"{history}"


def mistakes(task: Task) -> None:
    """What is wrong is reported: a checker that warns of needless ignores fails if one of these lines is accepted."""
    coreselect.selekt  # type: ignore[attr-defined]  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue, reportUnusedExpression]
    select(task, 3, 0.1)  # type: ignore[arg-type]
    RCS(etta=1)  # type: ignore[call-arg]
