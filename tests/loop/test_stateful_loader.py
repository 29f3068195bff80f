"""torchdata's StatefulDataLoader resumes a sampler: in the middle of an epoch, after one, with and without workers."""

import io
from typing import Any

import cases
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samplers import sampler
from torch.utils.data import TensorDataset

from coreselect import CoresetSampler, Indexed, InfoBatchSampler, Task
from coreselect.errors import ScheduleError
from coreselect.selectors import get_selector

stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="the extra dev installs torchdata")

N, EPOCHS = 20, 5


def coreset() -> CoresetSampler:
    """Two epochs on the pool, then a selection for two epochs each."""
    return sampler("round", warmup=1, every=2)[0]


def trained_model() -> Any:
    """A selection by a model that training changes: it cannot be made again later."""
    model = torch.nn.Linear(4, 3)
    pool = TensorDataset(cases.images(N, dtype=torch.float32).reshape(N, -1)[:, :4], torch.arange(N) % 3)
    s: Any = CoresetSampler(Task.from_model(model, pool, loss="ce"), get_selector("el2n"), 6, warmup=1, every=2)
    s.network = model
    return s


def infobatch() -> InfoBatchSampler:
    return InfoBatchSampler(N, EPOCHS, r=0.7, delta=1.0, seed=1)


def loader_of(s: Any, workers: int, **more: Any) -> Any:
    items = Indexed(TensorDataset(torch.arange(N)))
    return stateful.StatefulDataLoader(items, **{"batch_size": 3, **more}, sampler=s, num_workers=workers)


def step(s: Any, epoch: int, batch: Any) -> list[int]:
    """Train on a batch: the losses, or the model, depend on the epoch and the batch."""
    i = batch[-1].reshape(-1)
    if isinstance(s, InfoBatchSampler):
        s.weights(i)
        s.update(i, torch.sin(i.double() * 7 + epoch) + 1)
    elif hasattr(s, "network"):
        with torch.no_grad():
            s.network.weight += 0.3 * torch.sin(i.float().sum() + torch.arange(12.0).reshape(3, 4))
    return i.tolist()


def epochs_from(s: Any, loader: Any, start: int) -> list[list[list[int]]]:
    """The batches of the epochs from `start` on."""
    out = []
    for epoch in range(start, EPOCHS):
        if epoch > start:
            s.set_epoch(epoch)
        out.append([step(s, epoch, batch) for batch in loader])
    return out


def copied(state: Any) -> Any:
    """What a file gives back."""
    box = io.BytesIO()
    torch.save(state, box)
    box.seek(0)
    return torch.load(box, weights_only=False)


def resumes(make: Any, workers: int, epoch: int, position: int, load_first: bool, in_file: bool, **more: Any) -> None:
    """Stop after `position` batches of an epoch, resume with new objects, and compare with the run that was not stopped."""
    s = make()
    loader = loader_of(s, workers, **more)
    for e in range(epoch):
        s.set_epoch(e)
        for batch in loader:
            step(s, e, batch)
    s.set_epoch(epoch)
    whole = -(-len(s) // 3) if more.get("batch_size", 3) else len(s)
    position, iterator = min(position, whole), iter(loader)
    for _ in range(position):
        step(s, epoch, next(iterator))
    ended = position == whole
    if ended:
        assert next(iterator, None) is None
    weights = copied(s.network.state_dict()) if hasattr(s, "network") else None
    state = copied(loader.state_dict()) if in_file else loader.state_dict()
    rest = [] if ended else [[step(s, epoch, batch) for batch in iterator]]
    if ended:
        epoch += 1
        s.set_epoch(min(epoch, EPOCHS - 1))
    want = rest + (epochs_from(s, loader, epoch) if ended else epochs_after(s, loader, epoch))

    s2 = make()
    if weights is not None:
        s2.network.load_state_dict(weights)
    loader2 = loader_of(s2, workers, **more)
    if load_first:
        loader2.load_state_dict(state)
    s2.set_epoch(min(epoch, EPOCHS - 1))
    if not load_first:
        loader2.load_state_dict(state)
    got = epochs_from(s2, loader2, epoch)
    assert got == want


def epochs_after(s: Any, loader: Any, epoch: int) -> list[list[list[int]]]:
    """The epochs after one that has been read."""
    if epoch + 1 == EPOCHS:
        return []
    s.set_epoch(epoch + 1)
    return epochs_from(s, loader, epoch + 1)


MAKERS = pytest.mark.parametrize("make", [coreset, trained_model, infobatch])


@MAKERS
@settings(max_examples=60)
@given(st.integers(0, EPOCHS - 1), st.integers(0, 8), st.booleans(), st.booleans())
def test_a_resumed_run_is_the_run(make: Any, epoch: int, position: int, load_first: bool, in_file: bool) -> None:
    """At any position of any epoch, with load_state_dict before or after set_epoch, all batches that follow are the run's."""
    resumes(make, 0, epoch, position, load_first, in_file)


@MAKERS
@pytest.mark.parametrize(("epoch", "position"), [(0, 7), (2, 0), (2, 1)])
def test_with_workers_too(make: Any, epoch: int, position: int) -> None:
    """With two workers, which draw batches ahead of training, the same holds."""
    resumes(make, 2, epoch, position, load_first=position % 2 == 0, in_file=True)


@MAKERS
@pytest.mark.parametrize("more", [{"drop_last": True, "batch_size": 3}, {"batch_size": None}])
def test_in_other_forms(make: Any, more: Any) -> None:
    """Without the last batch, and without batches, a state in the middle of an epoch is followed by the same items."""
    s, s2 = make(), make()
    loader, loader2 = loader_of(s, 0, **more), loader_of(s2, 0, **more)
    s.set_epoch(0)
    iterator = iter(loader)
    for _ in range(2):
        next(iterator)
    loader2.load_state_dict(copied(loader.state_dict()))
    assert [b[-1].tolist() if hasattr(b[-1], "tolist") else b[-1] for b in loader2] == [
        b[-1].tolist() if hasattr(b[-1], "tolist") else b[-1] for b in iterator
    ]


def test_a_framework_that_counts_from_0_does_not_bring_back_the_pool() -> None:
    """A state in the middle of epoch 3 and a set_epoch(0) on resume: refused, in both orders of calls."""
    for load_first in (True, False):
        s, s2 = coreset(), coreset()
        s.set_epoch(3)
        loader, loader2 = loader_of(s, 0), loader_of(s2, 0)
        next(iter(loader))
        state = loader.state_dict()
        if load_first:
            loader2.load_state_dict(state)
        s2.set_epoch(0)
        if not load_first:
            loader2.load_state_dict(state)
        with pytest.raises(ScheduleError, match="went back from 3 to 0"):
            list(loader2)
        s3 = coreset()  # without any set_epoch the state's epoch is served
        loader3 = loader_of(s3, 0)
        loader3.load_state_dict(state)
        assert len(list(loader3)) == 1
