"""The guard against catastrophic overfitting: what it sees, how a run returns, and that a killed run returns alike."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import images, tiny
from torch import nn
from torch.utils.data import TensorDataset

from coreselect.attacks import PGD
from coreselect.errors import RequirementError
from coreselect.selectors import RS2
from coreselect_integrations.networks import route_call
from coreselect_integrations.pretraining import watch
from coreselect_integrations.pretraining.dataset_shape import evenly_spaced
from coreselect_integrations.pretraining.guard import IMAGES, Guard, Guarded
from coreselect_integrations.pretraining.run import Pretrained, pretrain
from coreselect_integrations.pretraining.watch import all_seconds, guard_seconds
from coreselect_integrations.training import runs

RUN = tiny("sat", epochs=5, guard=None)


class Masked(nn.Module):
    """Classifies by the mean of the image, and masks its gradient where the image looks attacked: all its pixels moved at once."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = x.flatten(1).mean(1) - 0.5
        return torch.stack([-score, score], 1)


def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the guard look after every epoch, whatever that costs."""
    monkeypatch.setattr(watch, "SHARE", 1e9)


def overfits_with_one_step(monkeypatch: pytest.MonkeyPatch, since: int) -> None:
    """Let the guard measure catastrophic overfitting from an epoch on, as long as the attack has one step."""
    every_epoch(monkeypatch)

    def measured(guard: Guard, network: nn.Module, attack: PGD, epoch: int, device: torch.device) -> Guarded:
        del guard, network, device
        return Guarded(0.9, 0.1, 100) if attack.steps == 1 and epoch >= since else Guarded(0.5, 0.45, 100)

    monkeypatch.setattr(Guard, "__call__", measured)


def trained(folder: Path, run: Any = RUN, **more: Any) -> Pretrained:
    """Train on 40 images with 20 held out, on a random subset from the second epoch on."""
    return pretrain(run, images(40), images(20, seed=8), folder, selector=RS2(), **more)


def without_seconds(records: Any) -> Any:
    """Records as JSON, without what a clock has measured."""
    dropped = ("seconds", "cpu_seconds", "select_seconds", "select_cpu_seconds", "selection")

    def kept(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [kept(v) for v in value]
        return {k: kept(v) for k, v in value.items() if k not in dropped} if isinstance(value, dict) else value

    return kept(json.loads(json.dumps(list(records))))


def same_weights(one: Pretrained, two: Pretrained) -> bool:
    """Whether two networks are one, bit for bit."""
    first, second = one.network.state_dict(), two.network.state_dict()
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("training", "multi_step", "best", "n", "overfits"),
    [
        (0.80, 0.05, 0.3, 200, True),  # the gap alone
        (0.45, 0.35, 0.4, 200, False),  # cheap attacks are weaker, and that is no fault
        (0.55, 0.33, 0.4, 200, False),  # 0.22 is not surely above 0.2 with 200 images
        (0.60, 0.30, 0.3, 2000, True),  # 0.30 is, with 2,000
        (0.15, 0.05, 0.4, 200, True),  # a fall, without a gap
        (0.35, 0.25, 0.4, 200, False),  # a smaller fall
        (0.05, 0.03, 0.1, 20, False),  # 20 images say little
        (1.0, 0.0, 0.0, 1, False),  # and one says nothing, although a share of 0 or 1 has no spread
    ],
)
def test_what_counts_as_overfitting(training: float, multi_step: float, best: float, n: int, overfits: bool) -> None:
    """A gap over 0.2 or a fall below half of the best, each by more than two standard errors."""
    assert (Guarded(training, multi_step, n).overfits(best) is not None) == overfits


@pytest.mark.parametrize(("held", "looks_at"), [(5, "the pool"), (watch.FEWEST, "those held out")])
def test_a_few_held_out_images_are_too_few_to_judge_by(held: int, looks_at: str) -> None:
    """Then the guard looks at images of the pool."""
    pool, out = images(50), images(held, seed=3)
    found = watch.Watch(replace(tiny("sat"), guard=True), pool, out).guard.images
    assert len(found) == (50 if looks_at == "the pool" else held)


def test_a_guard_measures_the_training_attack_and_five_steps() -> None:
    """On a linear score one step and five reach the same point, so both accuracies are one; no random state changes."""
    guard, state = Guard(evenly_spaced(images(500), IMAGES), 0.1, 0), torch.random.get_rng_state()
    found = guard(Masked(), PGD(0.1, 0.2, 1), 3, torch.device("cpu"))
    assert found.n == 200
    assert found.training == found.multi_step
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_run_that_overfits_returns_and_takes_a_step_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends as a run that went on from the good state with two steps; record, log and told epochs say so."""
    overfits_with_one_step(monkeypatch, since=3)
    told: list[Any] = []
    done = trained(tmp_path / "guarded", ended=told.append)
    assert [r["epoch"] for r in told] == [0, 1, 2, 3, 3, 4]
    assert "back to epoch 3: 2 attack steps" in told[3]["back"]
    (returned,) = done.records[3]["returned"]
    assert (returned["epoch"], returned["to"], returned["attack_steps"]) == (3, 3, 2)
    assert returned["said"] in done.records[3]["trouble"]
    assert [r["guard"]["attack_steps"] for r in done.records] == [1, 1, 1, 2, 2]
    lines = (tmp_path / "guarded" / runs.LOG).read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2, 3, 4]
    # by hand: three epochs with one step, and two from there with two
    plain = replace(RUN, guard=False)
    trained(tmp_path / "one", plain, until=3)
    state = torch.load(tmp_path / "one" / runs.CHECKPOINT, weights_only=True)
    state["settings"] |= {"attack_steps": 2}
    torch.save(state, tmp_path / "one" / runs.CHECKPOINT)
    assert same_weights(trained(tmp_path / "one", replace(plain, attack_steps=2)), done)


def grey(n: int, seed: int) -> TensorDataset:
    """Two classes of nearly grey images, further apart than twice the radius of 0.1."""
    y, g = torch.arange(n) % 2, torch.Generator().manual_seed(seed)
    x = 0.5 + 0.12 * (2 * y - 1)[:, None, None, None] + 0.05 * torch.randn(n, 3, 8, 8, generator=g)
    return TensorDataset(x.clamp(0, 1), y)


def test_a_run_that_really_overfits_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of two radii ends in the corners of the ball: a network learns to read the class from the corner, and five steps
    break it. The guarded run goes back, takes more steps, and keeps no such epoch."""
    every_epoch(monkeypatch)
    own = {"radius": 0.1, "step": 0.2, "curve": "constant", "lr": 0.1, "epochs": 5, "weight_decay": 0.0, "flip": False}
    run, pool, held = tiny("fast-at", **own, guard=None), grey(64, 0), grey(100, 1)
    guard, worst = Guard(held, 0.1, 0, route_call), 0.0
    for until in range(1, 6):  # without a guard
        plain = pretrain(replace(run, guard=False), pool, held, tmp_path / "plain", until=until)
        found = guard(plain.network, PGD(0.1, 0.2, 1), until, torch.device("cpu"))
        worst = max(worst, found.training - found.multi_step)
    assert worst > 0.3
    done = pretrain(run, pool, held, tmp_path / "guarded")
    assert sum(len(r.get("returned", ())) for r in done.records) >= 1
    assert 1 < done.records[-1]["guard"]["attack_steps"] < watch.MOST
    for r in done.records:
        assert Guarded(r["guard"]["training"], r["guard"]["multi_step"], 100).overfits(0.0) is None


def test_a_run_that_overfits_at_once_returns_to_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first weights are a good state; the run is then the run with two steps."""
    overfits_with_one_step(monkeypatch, since=0)
    done = trained(tmp_path / "guarded")
    assert same_weights(done, trained(tmp_path / "two", replace(RUN, attack_steps=2, guard=False)))


def test_a_guard_that_sees_nothing_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guarded run has the bits of the run without a guard, and its records say what was measured."""
    every_epoch(monkeypatch)
    done = trained(tmp_path / "guarded")
    assert all(0 <= r["guard"]["multi_step"] <= 1 for r in done.records)
    assert same_weights(done, trained(tmp_path / "plain", replace(RUN, guard=False)))


def test_what_is_lost_counts_as_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds of discarded epochs, of their selections and of the guard are in the record after the return."""
    overfits_with_one_step(monkeypatch, since=3)
    told: list[Any] = []
    done = trained(tmp_path, ended=told.append)
    lost = next(r for r in told if "back" in r)
    for name in ("seconds", "cpu_seconds"):
        assert done.records[3]["returned"][0][name] == all_seconds(lost, name)
        assert guard_seconds(done.records[3], name) == pytest.approx(
            all_seconds(lost, name) + done.records[3]["guard"][name]
        )


def test_a_run_killed_at_any_write_returns_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before any of its files is written and called again, a run that returns ends with the same bits and log."""
    overfits_with_one_step(monkeypatch, since=1)
    short = replace(RUN, epochs=3)
    whole = trained(tmp_path / "whole", short)
    written, stop, real = 0, 0, runs.atomic_file

    @contextmanager
    def killed_at(path: Path) -> Iterator[Any]:
        nonlocal written
        written += 1
        if written == stop:
            raise KeyboardInterrupt
        with real(path) as file:
            yield file

    monkeypatch.setattr(runs, "atomic_file", killed_at)
    trained(tmp_path / "counted", short)
    for stop in range(1, written + 1):
        folder, written = tmp_path / f"killed{stop}", 0
        with pytest.raises(KeyboardInterrupt):
            trained(folder, short)
        again = trained(folder, short)
        assert same_weights(again, whole), stop
        assert without_seconds(again.records) == without_seconds(whole.records), stop


def test_several_ranks_are_not_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard that nobody asked for is off there, and one that was asked for is refused."""
    assert watch.resolved(RUN)
    monkeypatch.setattr("coreselect_integrations.pretraining.watch.ranks.world_size", lambda: 2)
    assert not watch.resolved(RUN)
    with pytest.raises(RequirementError, match="a guard is for one process, and 2 train: give --no-guard"):
        watch.resolved(replace(RUN, guard=True))
