"""What a batch costs on a device: launches, copies, and how often the host waits."""

from typing import Any

import cases
import numpy as np
import pytest
import torch
from pretend_device import PretendDevice
from torch.utils.data import TensorDataset

from coreselect.errors import NonFiniteError, OutOfBoundsError
from coreselect.support import late_checks
from coreselect.support.clock import Clock
from coreselect.support.late_checks import LateChecks, check_late

DEVICE = "pretend:0"


def swept(device: PretendDevice, batches: int, task: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Counts of a sweep over that many batches of four examples, and the operations that were waited for."""
    with task.snapshot(0, 0) as shot:
        shot.net  # noqa: B018  # the split is not part of the sweep
        device.reset()
        list(shot.opened.sweeper.sweep([[np.arange(4 * i, 4 * i + 4)] for i in range(batches)]))
        return dict(device.counts), dict(device.waits)


def tasks(kind: str, n: int = 48) -> Any:
    if kind == "acl":
        return cases.acl_task(n, u=4, model=cases.built(cases.DualNet).to(DEVICE), batch_size=4)
    return cases.sat_task(n, u=4, model=cases.built(cases.ConvNet).to(DEVICE), batch_size=4)


@pytest.mark.parametrize(("kind", "launches"), [("sat", 90), ("acl", 330)])
def test_the_sweep_does_not_wait_for_a_batch(kind: str, launches: int, device: PretendDevice) -> None:
    """Twelve batches are waited for as often as three: once, at the end; a batch of the smallest network has few launches."""
    few, _ = swept(device, 3, tasks(kind))
    many, waits = swept(device, 12, tasks(kind))
    assert many["wait"] == few["wait"], waits
    assert many["wait"] <= 2
    assert (many["launch"] - few["launch"]) / 9 <= launches
    assert (many["to device"] - few["to device"]) / 9 <= 4  # inputs, labels, and the starts of two views


def test_checks_on_a_device_are_settled_every_so_many_batches(
    device: PretendDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With settlements every two batches, four batches are waited for twice; checks run in their order, with their values."""
    monkeypatch.setattr(late_checks, "EVERY", 2)
    checks, seen = LateChecks(), []
    for i in range(4):
        with checks.collecting():
            check_late(torch.tensor([i, i + 1]).to(DEVICE), lambda v: seen.append(v.tolist()))
            check_late(torch.tensor([i > 1]).to(DEVICE), lambda v: seen.append(v.tolist()))
            check_late(torch.tensor([9]), lambda v: seen.append("now"))
        checks.batch_done()
    assert seen == ["now", "now", [0, 1], [False], [1, 2], [False], "now", "now", [2, 3], [True], [3, 4], [True]]
    assert device.counts["to host"] == 4  # two kinds of values, two settlements


class Blind(torch.nn.Module):
    """A network that gives NaN for some images."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = cases.built(cases.ConvNet)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(torch.where(x[:, :1, :1, :1] > 0.99, x * float("nan"), x))


@pytest.mark.parametrize("where", ["cpu", DEVICE])
def test_late_errors_are_the_errors_of_the_cpu(where: str, device: PretendDevice) -> None:
    """Images that are not finite or out of bounds, and features that are not finite, are named on a device as on the CPU."""
    x, y = cases.images(12), cases.classes(12)
    x[7, 0, 0, 0], x[3, 0, 0, 0] = 1.0, 0.5
    task = cases.sat_task(
        pool=TensorDataset(x, y), model=Blind().to(where), attack=cases.PGD(0.001, 0.001, 1), head="inner.fc"
    )
    with task.snapshot(0, 0) as shot, pytest.raises(NonFiniteError) as caught:
        list(shot.opened.sweeper.sweep([[np.arange(6)], [np.arange(6, 12)]]))
    assert caught.value.indices == (7,)

    for bad, error in ((float("inf"), NonFiniteError), (3.0, OutOfBoundsError)):
        wrong = x.clone()
        wrong[9, 0, 1, 1] = bad
        pool = TensorDataset(wrong.to(where), y.to(where))
        task = cases.sat_task(pool=pool, model=cases.built(cases.ConvNet).to(where), batch_size=4)
        with task.snapshot(0, 0) as shot, pytest.raises(error) as named:
            list(shot.opened.sweeper.sweep([[np.arange(4)], [np.arange(4, 8)], [np.arange(8, 12)]]))
        if error is NonFiniteError:
            assert named.value.indices == (9,)  # type: ignore[attr-defined]


class Event:
    """An event of a stream whose work takes a second between any two marks."""

    marks = 0
    waits = 0

    def __init__(self, enable_timing: bool = False) -> None:
        assert enable_timing

    def record(self, stream: Any) -> None:
        """Mark the stream."""
        Event.marks += 1
        self.at = Event.marks

    def synchronize(self) -> None:
        """Wait."""
        Event.waits += 1

    def elapsed_time(self, end: "Event") -> float:
        """Return milliseconds."""
        return 1000.0 * (end.at - self.at)


def test_the_clock_of_a_gpu_waits_only_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are marked by events, nested parts are taken off, and one read waits once."""
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    clock = Clock(torch.device("cuda"))
    for _ in range(3):
        with clock("outer"), clock("inner"):
            pass
    assert Event.waits == 0
    assert clock.seconds == {"outer": 6.0, "inner": 3.0}
    assert Event.waits == 1
    assert clock.seconds == {"outer": 6.0, "inner": 3.0}
