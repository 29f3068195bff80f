"""Claims about attacks in half precision: the passes of the network are in bfloat16; the loss and all results are not."""

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cases
import oracles
import pytest
import torch
from cases import RD_WEAK, WEAK
from torch import Tensor, nn

from coreselect import certify, select
from coreselect.attacks import PGD
from coreselect.network.precision import HalfPrecision
from coreselect.objectives import RD
from coreselect.selectors import RCS
from coreselect.support.records import settings_of

F32 = torch.float32
X, Y = cases.images(5, dtype=F32), cases.classes(5)
NOISE = oracles.noise_one_by_one((1, 6, 6), F32, 0, "test", indices=range(5))
RD_HALF = RD("kl", attack=HalfPrecision(WEAK))


def convolutions(model: nn.Module) -> list[tuple[torch.dtype, bool]]:
    """Return a list to which every later forward pass adds (dtype of its result, whether it requires a gradient)."""
    seen: list[tuple[torch.dtype, bool]] = []
    model.conv.register_forward_hook(lambda _, __, out: seen.append((out.dtype, out.requires_grad)))  # type: ignore[union-attr]
    return seen


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_equals_a_second_transcription(steps: int) -> None:
    """The attack equals sign steps on the gradients of a network in bfloat16 and a loss in float32, written out."""
    model = cases.built(cases.ConvNet, dtype=F32)

    def in_bfloat16(at: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(at)
        return oracles.cross_entropy(out.float(), Y).sum()

    def ascend(views: tuple[Tensor, ...]) -> Tensor:
        out = model(views[0])
        with torch.autocast("cpu", enabled=False):
            return oracles.cross_entropy(out.float(), Y).sum()

    got = HalfPrecision(PGD(0.1, 0.04, steps))(ascend, (X,), (NOISE,))[0]
    want = oracles.pgd_linf(in_bfloat16, X, NOISE, 0.1, 0.04, steps)
    assert got.dtype == F32
    assert torch.equal(got, want)


@pytest.mark.parametrize("make", [cases.sat_task, cases.acl_task])
def test_only_passes_of_attacks_are_in_bfloat16(make: Callable[..., Any]) -> None:
    """In a whole selection, a pass is in bfloat16 exactly if it computes a gradient of the inputs."""
    task = make(dtype=F32, attack=HalfPrecision(WEAK))
    seen = convolutions(task.model)
    chosen = select(task, RCS(objective=RD_HALF, group_size=4), 8, seed=0)
    assert len(chosen.indices) == 8
    assert {dtype for dtype, ascending in seen if ascending} == {torch.bfloat16}
    assert {dtype for dtype, ascending in seen if not ascending} == {F32}
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("make", [cases.sat_task, cases.acl_task])
def test_the_loss_is_in_full_precision(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The scalars that attacks raise for losses and objectives are computed in float32, outside autocast."""
    task = make(dtype=F32, attack=HalfPrecision(WEAK))
    read: list[tuple[torch.dtype, bool]] = []

    def watched(owner: type, first: Callable[..., Tensor]) -> None:
        ascend = owner.ascend  # type: ignore[attr-defined]

        def spy(self: Any, *given: Any) -> Any:
            read.append((first(*given).dtype, torch.is_autocast_enabled("cpu")))
            return ascend(self, *given)

        monkeypatch.setattr(owner, "ascend", spy)

    watched(type(task.loss), lambda adversarial, *_: adversarial[0])
    watched(RD, lambda adversarial, *_: adversarial)
    select(task, RCS(objective=RD_HALF, group_size=4), 8, seed=0)
    assert set(read) == {(F32, False)}


def test_a_model_in_double_precision_is_left_as_it_is() -> None:
    """Autocast does not change double precision: the selection is the same to the last bit."""
    plain, half = cases.sat_task(), cases.sat_task(attack=HalfPrecision(WEAK))
    a = select(plain, RCS(objective=RD_WEAK, group_size=4), 8, seed=3)
    b = select(half, RCS(objective=RD_HALF, group_size=4), 8, seed=3)
    assert a.indices.tolist() == b.indices.tolist()
    assert a.gains.tolist() == b.gains.tolist()


def test_attacked_inputs_move_and_most_signs_stay() -> None:
    """With cross-entropy most pixels, but not all, equal those of full precision, and none leaves the ball."""
    model = cases.built(cases.ConvNet, dtype=F32)

    def ascend(views: tuple[Tensor, ...]) -> Tensor:
        return oracles.cross_entropy(model(views[0]).float(), Y).sum()

    full, half = (attack(ascend, (X,), (NOISE,))[0] for attack in (WEAK, HalfPrecision(WEAK)))
    assert 0.9 < (full == half).float().mean() < 1
    assert (half - X).abs().max() <= WEAK.radius + 1e-6


def test_nothing_is_kept_from_one_attack_to_the_next() -> None:
    """A repeated attack, as `recraft="every"` makes at each pick, keeps no more tensors in memory than before."""

    def alive() -> int:
        gc.collect()
        return sum(type(thing) is Tensor for thing in gc.get_objects())

    with cases.sat_task(dtype=F32).snapshot(0, 0) as shot:
        held, theta = shot.objective(RD_HALF), shot.theta()
        counts = []
        for _ in range(4):
            held.recraft(theta)
            counts.append(alive())
    assert len(set(counts[1:])) == 1


def test_a_selection_made_so_can_be_certified_later() -> None:
    """The objective and its attack are rebuilt from the recorded settings."""
    task = cases.sat_task(dtype=F32, attack=HalfPrecision(WEAK))
    rcs = RCS(objective=RD_HALF, group_size=4)
    chosen = select(task, rcs, 8, seed=0)
    assert certify(chosen, task) == certify(chosen, task, selector=rcs) is not None


def test_it_is_named_in_what_is_recorded() -> None:
    """The approximation is recorded in provenance as a type."""
    task = cases.sat_task(dtype=F32, attack=HalfPrecision(WEAK))
    chosen = select(task, RCS(objective=RD_HALF, group_size=4), 8, seed=0)
    assert chosen.provenance.task["attack"] == {"type": "HalfPrecision", "attack": settings_of(WEAK)}
    assert HalfPrecision(WEAK) == HalfPrecision(replace(WEAK))
    assert HalfPrecision(PGD(0.1, 0.1, 1, random_start=False)).random_start is False
