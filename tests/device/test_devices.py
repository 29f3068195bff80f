"""Models, data, losses and arguments on devices: the answer of the CPU, or one sentence."""

from collections.abc import Callable
from typing import Any

import cases
import numpy as np
import pytest
import torch
from pretend_device import PretendDevice, same_to_rounding, without_device
from torch import Tensor, nn
from torch.utils.data import Subset, TensorDataset

from coreselect import CoresetSampler, Task, holdout, select
from coreselect.attacks import PGD
from coreselect.errors import CoreselectError, DataError, RequirementError
from coreselect.history import History
from coreselect.network.precision import HalfPrecision
from coreselect.objectives import RD
from coreselect.search.kmeans import kmeans
from coreselect.search.neighbours import neighbours
from coreselect.selectors import KCenter, PerClass, RCSSampled, Redraw
from coreselect.support.devices import usable_device
from coreselect.support.seeding import rng_state, set_rng_state
from coreselect_integrations.evaluation import evaluate
from coreselect_integrations.systems import sat
from coreselect_integrations.systems.air import IR

N, DEVICE, OTHER = 12, "pretend:0", "pretend:1"


def pairs(n: int = N, seed: int = 0) -> tuple[Tensor, Tensor]:
    return cases.images(n, seed=seed), cases.classes(n, seed=seed)


def answer(where: str, selector: Any = None, **settings: Any) -> Any:
    """A selection with the model on a device, by RCS in groups of three if nothing else is asked for."""
    task = cases.sat_task(N, u=6, model=cases.built(cases.ConvNet).to(where), **settings)
    return select(task, selector or cases.rcs(), 6)


OWN = {"attack": None, "loss": nn.CrossEntropyLoss(reduction="none")}
SETTINGS: dict[str, dict[str, Any]] = {
    "ce": {"loss": "ce", "attack": None},
    "trades": {"loss": "trades"},
    "own": OWN,
    "l2": {"attack": PGD(0.1, 0.05, 2, norm="l2")},
    "half": {"attack": HalfPrecision(cases.WEAK)},
    "everything captured": {"capture": "all"},
    "everything captured, trades": {"capture": "all", "loss": "trades"},
    "a convolution captured, by examples": {
        "capture": ("conv.*",), "selector": RCSSampled(objective=cases.RD_WEAK), "batch_size": 5,
    },
    "js": {"selector": cases.rcs(objective=RD("js", attack=cases.WEAK))},
    "optimal transport": {"selector": cases.rcs(objective=RD("ot", attack=cases.WEAK), certify=None)},
    "adversarial_ce": {"selector": cases.rcs(objective="adversarial_ce", certify=None)},
    "ce_plus_rd": {"selector": cases.rcs(objective="ce_plus_rd", certify=None)},
    "own objective": {**OWN, "selector": cases.rcs(objective=lambda a, n, y: ((a - n) ** 2).sum(1), certify=None)},
    "faiss": {"selector": cases.rcs(search="faiss"), "capture": "all"},
    "sampled certificate": {"selector": cases.rcs(certify="sampled")},
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_every_loss_and_objective_gives_the_answer_of_the_cpu(name: str, device: PretendDevice) -> None:
    """Picks, gains and certificate are the CPU's, for losses, attacks, captures, objectives and searches."""
    if name == "faiss":
        pytest.importorskip("faiss")
    if name == "optimal transport":
        pytest.importorskip("ot")
    got, want = answer(DEVICE, **SETTINGS[name]), answer("cpu", **SETTINGS[name])
    if SETTINGS[name].get("capture") == "all":  # sketches add in another order on a device
        assert got.indices.tolist() == want.indices.tolist()
        assert np.allclose(got.gains, want.gains, rtol=1e-12, atol=0)
    else:
        same_to_rounding(without_device(got), want)
    assert got.provenance.versions["device"] == DEVICE
    assert "device" not in want.provenance.versions
    if got.certificate is not None:
        assert any("rounded as on pretend:0" in words for words in got.certificate.assumptions)


@pytest.mark.parametrize("loss", ["cl", "acl", IR()])
def test_every_contrastive_loss_gives_the_answer_of_the_cpu(loss: Any, device: PretendDevice) -> None:
    """Picks, gains and certificate are the CPU's, on a network with two routes."""

    def views(x: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        made = cases.two_views(x, generator)
        return (x, *made) if not isinstance(loss, str) else made

    found = [
        select(
            cases.acl_task(N, u=6, model=cases.built(cases.DualNet).to(where), loss=loss, views=views), cases.rcs(), 6
        )
        for where in ("cpu", DEVICE)
    ]
    same_to_rounding(without_device(found[1]), found[0])


class Listed(TensorDataset):
    """A dataset that lists its labels, as torchvision's do."""

    @property
    def targets(self) -> Tensor:
        """Labels, on whatever device."""
        return self.tensors[1]


@pytest.mark.parametrize("model", ["cpu", DEVICE])
@pytest.mark.parametrize("data", ["cpu", DEVICE, OTHER])
def test_data_may_be_on_any_device(model: str, data: str, device: PretendDevice) -> None:
    """Images, labels and lists of labels on the CPU, on the model's device or on another give one answer."""
    parts = [Listed(*(t.to(data) for t in pairs(n, seed))) for n, seed in ((N, 0), (6, 77))]
    for selector in (cases.rcs(), PerClass(Redraw())):
        got = select(
            cases.sat_task(pool=parts[0], validation=parts[1], model=cases.built(cases.ConvNet).to(model)), selector, 6
        )
        assert got.indices.tolist() == answer("cpu", selector).indices.tolist()


def test_indices_arrays_and_records_may_be_on_a_device(device: PretendDevice) -> None:
    """Positions of a Subset, arrays of a task, what a history records and what a sampler is asked, k-means, neighbours."""
    x, y = pairs()
    places = torch.arange(2, 11)
    subset, _ = holdout(Subset(TensorDataset(x, y), places.to(DEVICE)), 4, 0)  # type: ignore[arg-type]
    plain, _ = holdout(Subset(TensorDataset(x, y), places.tolist()), 4, 0)
    assert np.asarray(subset.indices).tolist() == np.asarray(plain.indices).tolist()

    points = torch.rand(N, 5, generator=torch.Generator().manual_seed(1))
    arrays = [select(Task.from_arrays(features=points.to(d), labels=y.to(d)), KCenter(), 6) for d in ("cpu", DEVICE)]
    same_to_rounding(arrays[0], arrays[1])
    assert np.array_equal(kmeans(points.to(DEVICE), 3, seed=0), kmeans(points, 3, seed=0))  # type: ignore[arg-type]
    assert neighbours(points.to(DEVICE), 3).indices.tolist() == neighbours(points, 3, by="torch").indices.tolist()

    logits = torch.rand(N, 4)
    records = [History(N), History(N)]
    for record, where in zip(records, ("cpu", DEVICE), strict=True):
        record.record(torch.arange(N).to(where), logits.to(where), y.to(where))
    assert str(records[0].state_dict()) == str(records[1].state_dict())

    sampler = CoresetSampler(cases.sat_task(N, model=cases.built(cases.ConvNet).to(DEVICE)), cases.rcs(), 6, warmup=0)
    sampler.set_epoch(0)
    assert sampler.weights(torch.tensor(sampler.selection.indices[:2]).to(DEVICE)).device.type == "pretend"  # type: ignore[union-attr]


class OnTwo(nn.Module):
    """A network whose body is on one device and whose head is on another."""

    def __init__(self) -> None:
        super().__init__()
        inner: Any = cases.built(cases.ConvNet)
        self.conv, self.fc = inner.conv.to(OTHER), inner.fc.to(DEVICE)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.tanh(self.conv(x.to(OTHER)))
        return self.fc(nn.functional.adaptive_avg_pool2d(z, 2).flatten(1).to(DEVICE))


def test_batches_go_to_the_model_where_no_device_is_named(device: PretendDevice) -> None:
    """Without `device=`, an evaluation and a training loop move batches of the CPU to the model."""
    found = []
    for where in ("cpu", DEVICE):
        model = cases.built(cases.ConvNet).to(where)
        loader = [pairs(6), pairs(6, seed=1)]
        own = {"generator": torch.Generator().manual_seed(0), "history": None}
        log = sat.train_epoch(model, loader, torch.optim.SGD(model.parameters(), 0.1), cases.WEAK, **own)
        seen = evaluate(model.eval(), TensorDataset(*pairs()), attack=cases.WEAK)
        found.append((log.loss, log.accuracy, seen.standard, seen.robust))
    assert found[0] == found[1]


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "another number": (lambda: answer(DEVICE, device=OTHER), "device=pretend:1 and the model is on pretend:0"),
    "another kind": (lambda: answer(DEVICE, device="cpu"), "device=cpu and the model is on pretend:0"),
    "no such number": (lambda: answer("cpu", device="cuda:99"), "there is no device cuda:99 here"),
    "no such name": (lambda: answer("cpu", device="foo"), "device='foo' is no device"),
    "a model on two": (
        lambda: select(cases.sat_task(N, model=OnTwo()), cases.rcs(), 6), "select with the whole model on one device",
    ),
    "weights of a loss": (
        lambda: answer(DEVICE, **{**OWN, "loss": nn.CrossEntropyLoss(torch.ones(4).double(), reduction="none")}),
        "CrossEntropyLoss holds tensors on cpu and the model is on pretend:0",
    ),
    "an evaluation": (lambda: evaluate(nn.Identity(), TensorDataset(*pairs()), device="foo"), "'foo' is no device"),
    "an evaluation elsewhere": (
        lambda: evaluate(cases.built(cases.ConvNet), TensorDataset(*pairs()), device=DEVICE),
        "device=pretend:0 and the model is on cpu",
    ),
    "not here": (lambda: usable_device("cuda:99"), "there is no device cuda:99 here"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_devices_that_do_not_fit_are_refused_in_one_sentence(name: str, device: PretendDevice) -> None:
    """Another device than the model's, an unknown one, one that is not here, two devices, a loss elsewhere."""
    act, said = REFUSED[name]
    with pytest.raises(CoreselectError) as caught:
        act()
    assert said in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_device_without_a_number_is_the_current_one(device: PretendDevice) -> None:
    """device="pretend" fits a model on pretend:0, and not one on pretend:1."""
    assert answer(DEVICE, device="pretend").indices.tolist() == answer("cpu").indices.tolist()
    with pytest.raises(RequirementError, match="device=pretend and the model is on pretend:1"):
        answer(OTHER, device="pretend")


class NeedsCuda(TensorDataset):
    """Items on a GPU, as a worker sees them."""

    def __getitem__(self, index: int) -> Any:
        if torch.utils.data.get_worker_info() is not None:
            raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
        return super().__getitem__(index)


def test_items_on_a_gpu_and_workers_are_refused_with_the_way_out() -> None:
    """What torch says in a worker about CUDA is told with what to do about it."""
    with pytest.raises(DataError, match="keep them on the CPU or use num_workers=0"):
        select(cases.sat_task(pool=NeedsCuda(*pairs()), num_workers=1), Redraw(), 6)


def test_random_states_of_eight_gpus_are_restored_where_there_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """States of devices that are not here are left out; the rest is restored."""
    state = {**rng_state(), "cuda": [torch.tensor([i], dtype=torch.uint8) for i in range(8)]}
    before = torch.rand(3)
    set_rng_state(state)
    assert torch.equal(torch.rand(3), before)
    found: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda own, number: found.append(number))
    set_rng_state(state)
    assert found == [0, 1]
