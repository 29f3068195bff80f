"""A learning rate follows a curve over epochs, for epochs of any length."""

import math

import pytest
import torch
from torch import nn

from coreselect.errors import ScheduleError
from coreselect_integrations.training.schedule import Schedule, constant, cosine, stairs, triangle


def sgd(*rates: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in rates])


def rates(schedule: Schedule, lengths: list[int]) -> list[list[float]]:
    """The rate of every update, epoch by epoch."""
    out = []
    for epoch, n in enumerate(lengths):
        schedule.set_epoch(epoch, n)
        mine = []
        for _ in range(n):
            mine.append(schedule.rate)
            schedule.step()
        out.append(mine)
    return out


def test_a_coreset_epoch_walks_the_curve_as_far_as_a_full_one() -> None:
    """The mean rate of epochs with 10, 10, 2 and 2 updates is that of epochs with 1000 updates, up to the curvature."""
    short = rates(Schedule(sgd(0.5), cosine(4)), [10, 10, 2, 2])
    long = rates(Schedule(sgd(0.5), cosine(4)), [1000] * 4)
    for a, b in zip(short, long, strict=True):
        assert sum(a) / len(a) == pytest.approx(sum(b) / len(b), abs=0.01)


def test_the_cosine_rises_linearly_then_falls_to_its_floor() -> None:
    """By hand: E = 6, w = 2, floor 0.1, read at the middle of single updates."""
    got = [r[0] for r in rates(Schedule(sgd(2.0), cosine(6, warmup=2, floor=0.1)), [1] * 6)]
    fall = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * t / 4)) for t in (0.5, 1.5, 2.5, 3.5)]
    assert got == pytest.approx([2 * f for f in (0.25, 0.75, *fall)])


def test_the_triangle_rises_over_a_fifth_and_never_reaches_zero() -> None:
    """By hand: E = 5, single updates at 0.5, 1.5, … of 5; then 97 updates stay in (0, 1] and come near 1."""
    got = [r[0] for r in rates(Schedule(sgd(1.0), triangle(5, rise=0.2)), [1] * 5)]
    assert got == pytest.approx([0.5, 3.5 / 4, 2.5 / 4, 1.5 / 4, 0.5 / 4])
    many = rates(Schedule(sgd(1.0), triangle(1)), [97])[0]
    assert 0 < min(many) < max(many) <= 1
    assert max(many) > 0.97


def test_stairs_fall_at_their_milestones() -> None:
    """Milestones 2 and 3, γ = 0.1: epochs 0 to 3 have factors 1, 1, 0.1, 0.01."""
    got = [r[0] for r in rates(Schedule(sgd(1.0), stairs([2, 3])), [3] * 4)]
    assert got == pytest.approx([1, 1, 0.1, 0.01])


def test_every_parameter_group_keeps_its_own_peak() -> None:
    """Two groups with different rates are scaled by the same factor."""
    optimizer = sgd(1.0, 0.1)
    Schedule(optimizer, lambda t: 0.5).set_epoch(0, 1)
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.05]


def test_a_restored_schedule_goes_on_as_if_never_stopped() -> None:
    """The largest rates are restored, although the optimiser was restored with a smaller rate."""
    whole = rates(Schedule(sgd(0.3), cosine(3)), [4, 4, 4])
    first = Schedule(sgd(0.3), cosine(3))
    rates(first, [4])
    second = Schedule(sgd(first.rate), cosine(3))
    second.load_state_dict(first.state_dict())
    second.set_epoch(1, 4)
    assert second.rate == whole[1][0]


def test_steps_beyond_an_epoch_are_refused() -> None:
    """More updates than announced, before the first epoch or after one, are refused with the name of the missing call."""
    schedule = Schedule(sgd(1.0), constant())
    with pytest.raises(ScheduleError, match="set_epoch"):
        schedule.step()
    schedule.set_epoch(0, 1)
    schedule.step()
    with pytest.raises(ScheduleError, match=r"all .* updates of epoch .* are done"):
        schedule.step()
    for bad in ((-1, 3), (0, 0)):
        with pytest.raises(ScheduleError, match="at least one update"):
            schedule.set_epoch(*bad)
