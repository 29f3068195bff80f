"""Every training loop, fine-tuning mode and evaluation on a device gives the numbers of the CPU, bit for bit."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bright_dark import SHORT, SPEC, bright_dark, extractor
from pretend_device import PretendDevice
from tiny_runs import images, tiny
from torch import Tensor, nn

from coreselect.attacks import PGD
from coreselect.history import History
from coreselect.losses import SAT, TRADES
from coreselect.objectives import RD
from coreselect.selectors import RCS
from coreselect_integrations.evaluation import evaluate
from coreselect_integrations.evaluation.autoattack import autoattack
from coreselect_integrations.evaluation.neighbours import neighbours
from coreselect_integrations.finetuning import MODES, finetune
from coreselect_integrations.finetuning.autolora import autolora
from coreselect_integrations.finetuning.autolora_loss import AutoLoRaLoss
from coreselect_integrations.finetuning.post_training import post_train
from coreselect_integrations.finetuning.pseudo_labels import features_of
from coreselect_integrations.networks import make
from coreselect_integrations.pretraining.run import pretrain
from coreselect_integrations.pretraining.systems import SYSTEMS
from coreselect_integrations.systems import acl, sat

pytest.importorskip("kornia")
DEVICE = "pretend:0"
MEASURED = ("resident", "seconds", "select_seconds", "cpu_seconds", "select_cpu_seconds", "selection")


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: t.cpu() for name, t in network.state_dict().items()}


def same_weights(a: nn.Module, b: nn.Module) -> None:
    one, two = weights(a), weights(b)
    assert one.keys() == two.keys()
    assert [n for n in one if not torch.equal(one[n], two[n])] == []


def without_times(record: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k not in MEASURED}


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_trains_on_a_device_as_on_the_cpu(system: str, device: PretendDevice, tmp_path: Path) -> None:
    """Weights, losses, accuracies and the coreset of a run are the CPU's, and a run of one continues on the other."""
    settings = replace(tiny(system, epochs=2, batch_size=12), key_momentum=0.9 if system == "dynacl" else 0.0)
    rcs = RCS(objective=RD("kl", attack=PGD(8 / 255, 10 / 255, 1)))

    def run(folder: str, where: str, **more: Any) -> Any:
        return pretrain(settings, images(24), images(6, seed=8), tmp_path / folder, selector=rcs, device=where, **more)

    host = run("host", "cpu")
    run("device", DEVICE, until=1)
    done = run("device", "cpu")
    assert list(map(without_times, done.records)) == list(map(without_times, host.records))
    same_weights(done.network, host.network)
    if system == "sat":
        run("other", "cpu", until=1)
        same_weights(run("other", DEVICE).network, host.network)


def tuned(name: str) -> Callable[..., Any]:
    if name == "autolora":
        return lambda **more: autolora(
            extractor(), SPEC, bright_dark(24), classes=2, epochs=2, held=4, batch_size=8, attack=SHORT, judged_by=SHORT,
            **more,
        )  # fmt: skip
    if name == "post-train":
        return lambda **more: post_train(
            extractor(),
            SPEC,
            bright_dark(24),
            clusters=2,
            epochs=(1, 1),
            batch_size=8,
            attack=SHORT,
            augment=None,
            **more,
        )
    mode = replace(MODES[name], attack=MODES[name].attack and SHORT, epochs=2, batch_size=12, milestones=(1,))
    return lambda **more: finetune(mode, extractor(), SPEC, bright_dark(24), classes=2, **more)


@pytest.mark.parametrize("name", [*MODES, "autolora", "post-train"])
def test_every_fine_tuning_runs_on_a_device_as_on_the_cpu(name: str, device: PretendDevice, tmp_path: Path) -> None:
    """Weights and losses are the CPU's."""
    host, done = tuned(name)(), tuned(name)(device=DEVICE, folder=tmp_path)
    same_weights(done.network, host.network)
    logs = [done.log, host.log] if hasattr(host, "log") else [done.full, host.full]
    assert [log.loss for log in logs[0]] == [log.loss for log in logs[1]]


def test_every_evaluation_on_a_device_measures_what_it_measures_on_the_cpu(device: PretendDevice) -> None:
    """PGD, AutoAttack, nearest neighbours and features give the CPU's numbers."""
    found = []
    for where in ("cpu", DEVICE):
        network = make(SPEC).eval().to(where)

        def logits(x: Tensor, network: nn.Module = network) -> Tensor:
            return network(x, "adversarial")

        class Plain(nn.Module):
            inner = network

            def forward(self, x: Tensor) -> Tensor:
                return self.inner(x, "adversarial")

        robust = evaluate(Plain(), bright_dark(20), attack=SHORT, device=where)
        near = neighbours(logits, bright_dark(20), bright_dark(10, seed=3), k=3, model=network, device=where)
        features = features_of(extractor(), SPEC, bright_dark(12), device=where)
        ensemble = autoattack(Plain(), bright_dark(8), attacks=["apgd-ce", "square"], steps=2, queries=2, device=where)
        found.append((robust.standard, robust.robust, near.accuracy, features.tolist(), ensemble.after))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["sat", "trades", "acl", "autolora"])
def test_a_training_loop_does_not_wait_for_a_batch(name: str, device: PretendDevice) -> None:
    """Six batches are waited for as often as two, with a history and weights: once for each kind of number, at the end."""
    found = []
    for batches in (2, 6):
        network = make(SPEC, 0).to(DEVICE)
        classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).to(DEVICE)
        x, y = bright_dark(4 * batches).tensors
        loader = [(x[i : i + 4], y[i : i + 4], torch.arange(i, min(i + 4, len(x)))) for i in range(0, len(x), 4)]
        model: nn.Module = network if name == "acl" else classifier
        options: dict[str, Any] = {
            "generator": torch.Generator().manual_seed(0), "history": History(len(x)), "device": DEVICE,
            "weights": lambda index: torch.ones(len(index)),
        }  # fmt: skip
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        device.reset()
        if name == "acl":
            acl.train_epoch(model, loader, optimizer, SHORT, views=lambda x, generator: (x, x.flip(-1)), **options)
        else:
            losses: dict[str, Any] = {"sat": SAT(), "trades": TRADES(), "autolora": AutoLoRaLoss(2, 10**6)}
            sat.train_epoch(model, loader, optimizer, SHORT, loss=losses[name], **options)
        assert options["history"].at(np.arange(len(x))).positions.tolist() == list(range(len(x)))
        found.append((device.counts["wait"], dict(device.waits)))
    assert found[0] == found[1]
    assert found[0][0] <= 5
