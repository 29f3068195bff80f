"""A method that cannot work under the loss of a task is refused when a loop is made, not at its first selection."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from coreselect import CoresetSampler, Task, get_selector, select
from coreselect.errors import RequirementError
from coreselect.selectors import CCS, EL2N, Mixture, PerClass
from coreselect.task.task import ModelTask


def task_of(loss: str) -> ModelTask:
    """Make a task of 12 labelled examples under this loss."""
    x, y = torch.rand(16, 4), torch.arange(16) % 2
    pool, held = TensorDataset(x[:12], y[:12]), TensorDataset(x[12:], y[12:])
    views = (lambda x, generator: (x, x)) if loss == "acl" else None
    return Task.from_model(nn.Linear(4, 2), pool, held, loss=loss, views=views)


@pytest.mark.parametrize("name", ["craig", "gradmatch", "glister", "grand", "less"])
def test_gradients_of_cross_entropy_are_refused_for_an_extractor(name: str) -> None:
    """Its network is trained without labels: `train acl` would find out after the warm-up."""
    for selector in (
        get_selector(name),
        PerClass(get_selector(name)),
        Mixture([get_selector("rs2"), get_selector(name)]),
    ):
        with pytest.raises(
            RequirementError, match=f"'{name}' reads gradients of cross-entropy, and this task has no class"
        ):
            CoresetSampler(task_of("acl"), selector, 4, warmup=10, every=1)
    assert len(select(task_of("sat"), get_selector(name), 4)) == 4


@pytest.mark.parametrize("name", ["acs_craig", "acs_gradmatch", "el2n_adv", "margin_adv"])
def test_attacked_inputs_are_refused_under_a_loss_without_an_attack(name: str) -> None:
    """The message names the method that reads natural inputs."""
    instead = name.removeprefix("acs_").removesuffix("_adv")
    with pytest.raises(RequirementError, match=f"'{name}' reads .* at attacked inputs, .* or choose '{instead}'"):
        CoresetSampler(task_of("ce"), get_selector(name), 4, warmup=10, every=1)
    assert len(select(task_of("sat"), get_selector(name), 4)) == 4


def test_the_score_inside_a_method_is_asked() -> None:
    """CCS over attacked EL2N needs an attack; over what training has recorded it needs a history, and says so."""
    with pytest.raises(RequirementError, match="'el2n' reads predictions at attacked inputs"):
        CoresetSampler(task_of("ce"), CCS(score=EL2N(attacked=True)), 4, warmup=10, every=1)
    with pytest.raises(RequirementError, match="needs history"):
        CoresetSampler(task_of("ce"), CCS(score=EL2N(attacked=True, from_history=True)), 4, warmup=10, every=1)
