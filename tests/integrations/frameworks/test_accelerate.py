"""Claims about Accelerate: a prepared loader gives what the plain loop sees, resumes, and pads nothing in silence."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import framework_runs as runs
import pytest
import torch
from framework_runs import EPOCHS, SIZE, Seen

from coreselect import CoreselectWarning, Task, select
from coreselect.attacks import PGD
from coreselect.errors import ScheduleError
from coreselect.network.frozen import frozen
from coreselect.selectors import get_selector

pytest.importorskip("accelerate", reason="needs the extra accelerate")
from accelerate import Accelerator
from accelerate.data_loader import BatchSamplerShard
from accelerate.state import AcceleratorState

from coreselect_integrations.frameworks.accelerate import prepare_loader
from coreselect_integrations.frameworks.weighted import weighted_mean


def train(name: str = "craig", stop: int | None = None, folder: Path | None = None) -> tuple[Seen, Any]:
    """Train with Accelerate; stop after a number of steps and save, or resume from what was saved."""
    accelerator, pool, net = Accelerator(cpu=True), runs.data(), runs.network()
    order = runs.sampler(net, pool, name)
    model, own = accelerator.prepare(net, runs.optimiser(net))
    loader = prepare_loader(accelerator, order, pool, batch_size=SIZE)
    accelerator.register_for_checkpointing(order)
    seen: Seen = []
    start, skip = 0, 0
    if folder is not None and stop is None:
        accelerator.load_state(str(folder))
        start, skip = torch.load(folder / "place.pt")
    for epoch in range(start, EPOCHS):
        order.set_epoch(epoch)
        rest = accelerator.skip_first_batches(loader, skip if epoch == start else 0)
        for batch, (x, y, i) in enumerate(rest, skip if epoch == start else 0):
            seen.append((epoch, i.tolist()))
            losses, z = runs.losses(model, x, y)
            accelerator.backward(weighted_mean(order, i, losses, z, y))
            own.step()
            own.zero_grad()
            if len(seen) == stop:
                assert folder is not None
                accelerator.save_state(str(folder))
                torch.save((epoch, batch + 1), folder / "place.pt")
                return seen, net
    return seen, net


@pytest.mark.parametrize("stop", [18, 16])
def test_a_prepared_loader_follows_the_plain_loop_and_resumes(stop: int, tmp_path: Path) -> None:
    """Batches and weights are those of the loop, bit by bit, also after a stop in the middle of an epoch and at its end."""
    seen, net = runs.plain()
    whole, own = train()
    assert whole == seen
    assert runs.same(own, net)
    before, _ = train(stop=stop, folder=tmp_path)
    after, own = train(folder=tmp_path)
    assert before + after == seen
    assert runs.same(own, net)


def padded(length: int, size: int, processes: int, **options: Any) -> list[list[Any]]:
    """What each process of Accelerate gets of an epoch of `length` positions."""
    order = runs.sampler(runs.network(), runs.data(length), "random", rank=0, world_size=1, shuffle=False)
    order.set_epoch(0)
    batches = torch.utils.data.BatchSampler(order, size, drop_last=options.pop("drop_last", False))
    return [list(BatchSamplerShard(batches, processes, p, **options)) for p in range(processes)]


@pytest.mark.parametrize(("length", "extra"), [(96, 0), (97, 15), (90, 6)])
def test_padding_of_accelerate_is_named_with_its_number(length: int, extra: int) -> None:
    """`even_batches` repeats positions until all processes have full batches: the warning has the number that comes twice."""
    if extra:
        with pytest.warns(CoreselectWarning, match=rf"pads the epoch's {length} positions by {extra}"):
            given = padded(length, 8, 2)
    else:
        given = padded(length, 8, 2)
    assert sum(len(batch) for process in given for batch in process) == length + extra
    for options in ({"even_batches": False}, {"drop_last": True}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            padded(length, 8, 2, **options)


def test_weights_that_nobody_asks_for_are_named() -> None:
    """After two epochs with weights, of one batch each, that were read ahead."""
    accelerator, net = Accelerator(cpu=True), runs.network()
    order = runs.sampler(net, runs.data())
    loader = prepare_loader(accelerator, order, runs.data(), batch_size=runs.K)
    for epoch in range(3):
        order.set_epoch(epoch)
        assert len(list(loader)) == (1 if epoch else 3)
    order.set_epoch(3)
    with pytest.warns(CoreselectWarning, match="sampler.weights was never called"):
        list(loader)


def test_a_sampler_for_another_number_of_processes_is_refused() -> None:
    """The accelerator has one process, the sampler deals to two: one sentence."""
    order = runs.sampler(runs.network(), runs.data(), rank=0, world_size=2)
    with pytest.raises(ScheduleError, match="to 2 processes, and 1 train"):
        prepare_loader(Accelerator(cpu=True), order, runs.data(), batch_size=SIZE)


@pytest.fixture
def in_bfloat16() -> Iterator[Accelerator]:
    """An accelerator of another precision; Accelerate keeps one state for the process, so it is made anew before and after."""
    AcceleratorState._reset_state(True)
    yield Accelerator(cpu=True, mixed_precision="bf16")
    AcceleratorState._reset_state(True)


@pytest.mark.parametrize("name", ["craig", "rcs"])
@pytest.mark.parametrize("capture", [None, "all"])
def test_mixed_precision_of_training_changes_no_selection(
    name: str, capture: str | None, in_bfloat16: Accelerator
) -> None:
    """A model that Accelerate has prepared for bfloat16 gives the selection of the bare one, bit by bit, and stays prepared."""
    net, pool, held = runs.network(), runs.data(), runs.data(8, 2)

    def chosen() -> Any:
        task = Task.from_model(net, pool, held, loss="ce", capture=capture, attack=PGD(0.1, 0.05, 2))
        return select(task, get_selector(name), runs.K, seed=0)

    bare = chosen()
    prepared = in_bfloat16.prepare(net)
    around = prepared.forward
    again = chosen()
    assert again.indices.tolist() == bare.indices.tolist()
    assert again.gains.tolist() == bare.gains.tolist()
    assert prepared.forward == around
    with pytest.raises(RuntimeError, match="in the middle"), frozen(net):
        raise RuntimeError("in the middle")
    assert prepared.forward == around
