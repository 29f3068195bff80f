"""Claims about Fabric: a loader in the sampler's order follows the plain loop, and resumes."""

from pathlib import Path
from typing import Any

import framework_runs as runs
import pytest
from framework_runs import EPOCHS, SIZE, Seen

from coreselect import Task, select
from coreselect.errors import ScheduleError
from coreselect.selectors import get_selector

fabric_module = pytest.importorskip("lightning.fabric", reason="needs the extra lightning")
from coreselect_integrations.frameworks.fabric import setup_loader  # noqa: E402
from coreselect_integrations.frameworks.weighted import weighted_mean  # noqa: E402


def train(fabric: Any, file: Path | None = None, stop: int | None = None) -> tuple[Seen, Any]:
    """Train by a loop of Fabric; stop after a number of steps and save, or resume from what was saved."""
    pool, net = runs.data(), runs.network()
    order = runs.sampler(net, pool)
    model, own = fabric.setup(net, runs.optimiser(net))
    seen: Seen = []
    start, skip = 0, 0
    if file is not None and stop is None:
        state = fabric.load(file, {"model": model})
        order.load_state_dict(state["sampler"])
        start, skip = state["place"]
    for epoch in range(start, EPOCHS):
        order.set_epoch(epoch)
        done = skip if epoch == start else 0
        for batch, (x, y, i) in enumerate(setup_loader(fabric, order, pool, batch_size=SIZE, start=done), done):
            seen.append((epoch, i.tolist()))
            losses, z = runs.losses(model, x, y)
            own.zero_grad()
            fabric.backward(weighted_mean(order, i, losses, z, y))
            own.step()
            if len(seen) == stop:
                fabric.save(file, {"model": model, "sampler": order.state_dict(), "place": (epoch, batch + 1)})
                return seen, net
    return seen, net


@pytest.mark.parametrize("stop", [18, 16])
def test_a_loop_of_fabric_follows_the_plain_loop_and_resumes(stop: int, tmp_path: Path) -> None:
    """Batches and weights are those of the loop, bit by bit, also after a stop in the middle of an epoch and at its end."""
    fabric = fabric_module.Fabric(accelerator="cpu", devices=1)
    seen, net = runs.plain()
    whole, own = train(fabric)
    assert whole == seen
    assert runs.same(own, net)
    before, _ = train(fabric, tmp_path / "f.ckpt", stop)
    after, own = train(fabric, tmp_path / "f.ckpt")
    assert before + after == seen
    assert runs.same(own, net)


def test_one_loader_serves_all_epochs() -> None:
    """Fabric counts passes from 0 and tells its count to samplers; the sampler's epoch is that of the loop."""
    fabric = fabric_module.Fabric(accelerator="cpu", devices=1)
    order = runs.sampler(runs.network(), runs.data(), "rs2")
    loader = setup_loader(fabric, order, runs.data(), batch_size=SIZE)
    for epoch in (3, 4):
        order.set_epoch(epoch)
        assert [i for _, _, at in loader for i in at.tolist()] == list(order)


def test_a_sampler_for_another_number_of_processes_is_refused() -> None:
    """Fabric has one process, the sampler deals to two: one sentence."""
    order = runs.sampler(runs.network(), runs.data(), rank=0, world_size=2)
    with pytest.raises(ScheduleError, match="to 2 processes, and 1 train"):
        setup_loader(fabric_module.Fabric(accelerator="cpu", devices=1), order, runs.data(), batch_size=SIZE)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_module_of_fabric_is_selected_with_as_the_model_inside(precision: str) -> None:
    """What `fabric.setup` returns may be the model of a task: picks, captured names and weights are those of the bare model."""
    fabric = fabric_module.Fabric(accelerator="cpu", devices=1, precision=precision)
    net, pool = runs.network(), runs.data()
    model, _ = fabric.setup(net, runs.optimiser(net))
    bare, around = (select(Task.from_model(m, pool, loss="ce"), get_selector("craig"), runs.K) for m in (net, model))
    assert around.indices.tolist() == bare.indices.tolist()
    assert around.provenance.task == bare.provenance.task
