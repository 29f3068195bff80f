"""Models as users have them: wrapped, frozen, in half precision, with state, or with outputs that depend on the batch."""

import copy
import pickle
from typing import Any

import cases
import numpy as np
import pytest
import torch
from contract import photograph, random_states
from torch import Tensor, nn

from coreselect import CoreselectError, select
from coreselect.errors import HeadError, RequirementError, ShapeError
from coreselect.objectives import AdversarialCE
from coreselect.selectors import RCSSampled


def picks(task: Any, k: int = 7, **settings: Any) -> list[int]:
    """Return what RCS picks."""
    return select(task, cases.rcs(**settings), k).indices.tolist()


WANT = picks(cases.sat_task(16))


def test_data_parallel_is_looked_under() -> None:
    """A model in DataParallel gives the bare model's selection, and the wrapper's train flags are restored."""
    model = nn.DataParallel(cases.built(cases.ConvNet)).train()
    before = photograph(model)
    assert picks(cases.sat_task(16, model=model)) == WANT
    assert photograph(model) == before
    assert model.training


def test_compiled_models_are_looked_under() -> None:
    """A model in torch.compile gives the bare model's selection without compiling anything."""
    model: Any = torch.compile(cases.built(cases.ConvNet).train())
    before = photograph(model)
    assert picks(cases.sat_task(16, model=model)) == WANT
    assert photograph(model) == before


def test_wrappers_around_wrappers() -> None:
    """DataParallel around a compiled model is unwrapped too."""
    model: Any = nn.DataParallel(torch.compile(cases.built(cases.ConvNet)))  # type: ignore[arg-type]
    assert picks(cases.sat_task(16, model=model)) == WANT


def test_frozen_parameters_are_captured_all_the_same() -> None:
    """A head whose parameters do not require gradients gives the same rows."""
    model = cases.built(cases.ConvNet)
    for p in model.parameters():
        p.requires_grad_(False)
    assert picks(cases.sat_task(16, model=model)) == WANT
    assert not any(p.requires_grad for p in model.parameters())


def test_gradients_that_lie_around_do_not_matter() -> None:
    """.grad of a training step in progress is neither read nor changed."""
    model = cases.built(cases.ConvNet)
    model(cases.images(3)).sum().backward()
    before = photograph(model)
    assert picks(cases.sat_task(16, model=model)) == WANT
    assert photograph(model) == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("where", ["supervised", "contrastive", "whole model"])
def test_half_precision_models_are_refused(dtype: torch.dtype, where: str) -> None:
    """Steps of η r are lost in half precision, so such a model raises an error that says what to do."""
    settings: dict[str, Any] = {"capture": "all"} if where == "whole model" else {}
    task = cases.acl_task(16, dtype=dtype) if where == "contrastive" else cases.sat_task(16, dtype=dtype, **settings)
    with pytest.raises(HeadError, match="float32 copy"):
        select(task, cases.rcs(), 7)


class Counting(nn.Module):
    """Counts its forward passes in buffers, in evaluation mode too: in place, or by putting a new tensor there."""

    def __init__(self, *, fresh: bool) -> None:
        super().__init__()
        self.net, self.fresh = cases.ConvNet(), fresh
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if self.fresh:
            self.calls = self.calls + 1
        else:
            self.calls += 1
        return self.net(x)


@pytest.mark.parametrize("fresh", [False, True])
def test_buffers_that_change_in_evaluation_are_put_back(fresh: bool) -> None:
    """Buffers that forward passes change in place or replace are bit-identical afterwards, as the same tensors."""
    model = cases.built(lambda: Counting(fresh=fresh))
    before = photograph(model)
    select(cases.sat_task(12, model=model), cases.rcs(), 5)
    assert photograph(model) == before


def test_a_model_that_draws_in_evaluation_moves_no_random_state() -> None:
    """A model with noise in evaluation raises an error, and its random draws are undone."""

    class Noisy(nn.Module):
        """Draws a little noise before its head, in every mode."""

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(36, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.flatten(1) + 1e-6 * torch.randn(x.shape[0], 36, dtype=x.dtype))

    before = random_states()
    with pytest.raises(CoreselectError, match="noise"):
        select(cases.sat_task(12, model=cases.built(Noisy)), cases.rcs(), 5)
    assert random_states() == before


class Batched(nn.Module):
    """BN that uses the statistics of its batch in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, track_running_stats=False)
        self.fc = nn.Linear(36, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(x).flatten(1))


def test_a_model_whose_outputs_depend_on_the_batch_is_refused() -> None:
    """If outputs depend on the other examples of the batch, the answer would depend on batch_size: an error of one sentence."""
    with pytest.raises(CoreselectError, match="batch"):
        select(cases.sat_task(12, model=cases.built(Batched)), cases.rcs(), 5)


def test_models_stay_copyable() -> None:
    """After a selection the model can be deep-copied and pickled, with any normalisation of its Linears."""
    for head in (
        nn.Linear(12, 4),
        nn.utils.parametrizations.weight_norm(nn.Linear(12, 4)),
        nn.utils.weight_norm(nn.Linear(12, 4)),  # type: ignore[deprecated]
    ):

        def make(head: nn.Module = head) -> nn.Module:
            model = cases.ConvNet()
            model.fc = head  # type: ignore[assignment]
            return model

        model = cases.built(make)
        with torch.no_grad():
            want = model(cases.images(3))
        select(cases.sat_task(12, model=model), cases.rcs(), 5)
        select(cases.sat_task(12, model=model, capture="all"), cases.rcs(), 5)
        with torch.no_grad():
            assert torch.equal(copy.deepcopy(model)(cases.images(3)), want)
        assert isinstance(pickle.dumps(model.state_dict()), bytes)


def test_gradient_checkpointing_and_autocast_inside_the_model() -> None:
    """A body that uses checkpointing, or that turns on autocast itself, is swept like any other."""
    from torch.utils.checkpoint import checkpoint

    class Saving(nn.Module):
        """Recomputes its convolution in the backward pass."""

        def __init__(self) -> None:
            super().__init__()
            self.net = cases.ConvNet()

        def forward(self, x: Tensor) -> Tensor:
            z: Any = checkpoint(lambda t: torch.tanh(self.net.norm(self.net.conv(t))), x, use_reentrant=False)
            return self.net.fc(nn.functional.adaptive_avg_pool2d(z, 2).flatten(1))

    assert picks(cases.sat_task(16, model=cases.built(Saving))) == WANT


def test_a_model_without_parameters_is_refused_in_words() -> None:
    """A model with nothing to capture raises an error that mentions head= or capture=."""
    with pytest.raises(CoreselectError, match=r"head=|capture="):
        select(cases.sat_task(12, model=nn.Flatten()), cases.rcs(), 5)


def test_integer_and_frozen_buffers_are_not_captured() -> None:
    """capture='all' takes floating-point parameters only."""
    model = cases.built(cases.ConvNet)
    model.register_parameter("table", nn.Parameter(torch.arange(3), requires_grad=False))
    assert len(picks(cases.sat_task(12, model=model, capture="all"), 5)) == 5


@pytest.mark.parametrize("capture", [None, "all"])
def test_a_model_with_one_output(capture: Any) -> None:
    """One output has a softmax that is always 1: every gradient is zero, so it is refused with the way out."""
    model = cases.built(lambda: cases.ConvNet(classes=1))
    pool = cases.Items(cases.images(12), torch.zeros(12, dtype=torch.int64))
    with pytest.raises(ShapeError, match="softmax of one logit is always 1"):
        select(cases.sat_task(model=model, pool=pool, capture=capture), cases.rcs(), 5)


def test_a_confident_model_is_not_called_diverged() -> None:
    """Logits of ±10⁴ give zero gradients for correct examples and finite gradients for wrong ones; RD alone is zero."""
    model = cases.built(cases.ConvNet, dtype=torch.float32)
    with torch.no_grad():
        model.fc.weight.mul_(1e5)  # type: ignore[union-attr, operator]
    wrong = AdversarialCE(attack=cases.WEAK)
    task = cases.sat_task(16, model=model, dtype=torch.float32)
    assert np.isfinite(select(task, cases.rcs(objective=wrong), 7).gains).all()
    for selector in (cases.rcs(), RCSSampled(objective=cases.RD_WEAK)):
        with pytest.raises(RequirementError, match="saturated"):
            select(task, selector, 7)
    sampled = select(task, RCSSampled(objective=wrong), 7)
    assert sampled.weights is not None
    assert np.isfinite(sampled.weights).all()


def test_inputs_that_are_not_images() -> None:
    """Vectors and sequences are inputs like any other."""
    for shape in ((5,), (3, 4)):
        width = int(np.prod(shape))
        x = torch.rand(12, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        u = torch.rand(6, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        model = cases.built(
            lambda width=width: nn.Sequential(nn.Flatten(), nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 4))
        )
        task = cases.sat_task(model=model, pool=cases.Items(x, cases.classes(12)), validation=cases.Items(u))
        assert len(picks(task, 5)) == 5


def test_inputs_of_different_sizes_are_refused_in_words() -> None:
    """Images of different sizes cannot be batched: the error is one sentence of this library, or torch's own about stacking."""
    pool = [(torch.rand(1, 6, 6 + i % 2, dtype=torch.float64), i % 4) for i in range(12)]
    with pytest.raises((CoreselectError, RuntimeError), match=r"size|shape"):
        select(cases.sat_task(pool=pool), cases.rcs(), 5)
