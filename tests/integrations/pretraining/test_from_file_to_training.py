"""From a file to training and back: stored coresets, starting weights, snapshots, and probes on the way."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import images, tiny
from torch.utils.data import DataLoader, Dataset

from coreselect import Selection, Task, holdout, select
from coreselect.attacks import PGD
from coreselect.errors import DataError, RequirementError
from coreselect.objectives import RD
from coreselect.selectors import CRAIG, RCS, RS2, KCenter
from coreselect_integrations.evaluation import evaluate
from coreselect_integrations.networks import load_network, open_network, route_call
from coreselect_integrations.pretraining.fixed_coreset import pool_of
from coreselect_integrations.pretraining.probe import Probe
from coreselect_integrations.pretraining.run import MODEL, Pretrained, pretrain
from coreselect_integrations.pretraining.snapshots import snapshot_path
from coreselect_integrations.pretraining.trained import epoch_of, open_trained, settings_of_network

pytest.importorskip("kornia")
N = 64


def rcs() -> RCS:
    return RCS(objective=RD("kl", attack=PGD(8 / 255, 10 / 255, 1)))


def run(folder: Path, system: str, changes: dict[str, Any] | None = None, **more: Any) -> Pretrained:
    return pretrain(tiny(system, **(changes or {})), images(N), images(20, seed=8), folder, **more)


def same(one: Pretrained, two: Pretrained) -> bool:
    """Whether two networks have the same bits."""
    theirs = two.network.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.network.state_dict().items())


def chosen(tmp_path: Path, seed: int = 0) -> Selection:
    """A selection with weights, by a network of another architecture, as a file gives it back."""
    made = run(tmp_path / "maker", "sat", {"arch": "small", "seed": 3})
    task = Task.from_model(made.network, images(N), images(20, seed=8), loss="ce", call=route_call)
    select(task, CRAIG(), 16, seed).save(tmp_path / "coreset.npz")
    return Selection.load(tmp_path / "coreset.npz")


def test_a_file_that_knows_its_held_out_images_needs_no_other_division(tmp_path: Path) -> None:
    """Pool and held-out images are those of the selection, whatever the settings of the run would hold out."""
    everything = images(N)
    pool, held = holdout(everything, 4, 7)
    made = run(tmp_path / "maker", "sat", {"arch": "small", "seed": 3})
    coreset = select(Task.from_model(made.network, pool, held, loss="sat", call=route_call), rcs(), 16)
    got = pool_of(coreset, everything, pytest.fail, "coreset.npz")
    assert [list(part.indices) for part in got] == [list(part.indices) for part in (pool, held)]


def test_a_selection_of_features_is_trained_on_by_its_positions(tmp_path: Path) -> None:
    """Features do not say which images they are of, so only their number is compared: row i is image i."""
    features = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
    coreset = select(Task.from_arrays(features=features), KCenter(), 16)
    pool, held = pool_of(coreset, images(N), pytest.fail, "coreset.npz")
    assert len(pool) == N
    assert len(held) == 0
    trained = run(tmp_path, "standard", {"arch": "small", "epochs": 1, "warmup": 0}, coreset=coreset)
    assert trained.records[0]["examples"] == 16
    with pytest.raises(RequirementError, match="made from a pool of 64 images"):
        pool_of(coreset, images(N + 1), lambda: (images(N + 1), []), "coreset.npz")


def test_a_selection_that_read_no_gradients_knows_its_images(tmp_path: Path) -> None:
    """A random subset of images is no selection of features: other images of the same number are refused."""
    made = run(tmp_path / "maker", "sat", {"arch": "small", "seed": 3})
    coreset = select(Task.from_model(made.network, images(N), None, loss="ce", call=route_call), RS2(), 16)
    assert len(pool_of(coreset, images(N), pytest.fail, "coreset.npz")[0]) == N
    with pytest.raises(RequirementError, match="this one is n:64-"):
        pool_of(coreset, images(N, seed=5), pytest.fail, "coreset.npz")


@pytest.mark.parametrize("system", ["standard", "acl"])
def test_a_stored_coreset_is_trained_on_from_the_first_epoch(system: str, tmp_path: Path) -> None:
    """Every epoch has its examples and no other; weights count; a run that is stopped goes on to the same bits."""
    coreset = chosen(tmp_path)
    assert coreset.weights is not None
    assert np.ptp(coreset.weights) > 0
    whole = run(tmp_path / "a", system, {"arch": "resnet18", "epochs": 2, "warmup": 1}, coreset=coreset)
    assert [r["examples"] for r in whole.records] == [16, 16]
    assert whole.records[-1]["seen"] == 16 / N
    assert np.array_equal(Selection.load(tmp_path / "a" / "coreset.npz").indices, coreset.indices)
    changes = {"epochs": 2}
    small = run(tmp_path / "b", system, changes, coreset=coreset)
    run(tmp_path / "c", system, changes, coreset=coreset, until=1)
    assert same(small, run(tmp_path / "c", system, changes, coreset=coreset))
    plain = run(tmp_path / "d", system, changes, coreset=replace(coreset, weights=None))
    assert not same(small, plain)
    with pytest.raises(RequirementError, match="selector_settings"):
        run(tmp_path / "b", system, changes, coreset=replace(coreset, weights=None))


def test_a_coreset_of_another_pool_is_refused(tmp_path: Path) -> None:
    """Both fingerprints are in the sentence, and no epoch has begun."""
    coreset = chosen(tmp_path)
    with pytest.raises(RequirementError, match=r"made from the pool n:64-\w+, this one is n:64-\w+"):
        pretrain(tiny("sat"), images(N, seed=1), images(20, seed=8), tmp_path / "a", coreset=coreset)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(("before", "after"), [("acl", "acl"), ("acl", "sat"), ("sat", "acl"), ("sat", "trades")])
def test_weights_of_a_file_begin_a_run(before: str, after: str, tmp_path: Path) -> None:
    """The extractor is that of the file, routes included; the head too, if it is the same one; the folder knows of it."""
    first = run(tmp_path / "first", before)
    saved, _ = open_network(tmp_path / "first" / MODEL)
    begun = run(tmp_path / "a", after, weights=saved, until=0)
    theirs, spec = first.network.state_dict(), begun.spec
    dual = (first.spec.dual_bn, spec.dual_bn)
    kept = {
        (True, False): {"shared": "adversarial"},
        (False, True): {"natural": "shared", "adversarial": "shared"},
    }.get(dual, {})
    for name, value in begun.network.state_dict().items():
        source = ".".join(kept.get(part, part) for part in name.split("."))
        if not name.startswith("head.") or before == after or (before, after) == ("sat", "trades"):
            assert torch.equal(value, theirs[source]), name
    run(tmp_path / "b", after, weights=saved, until=1)
    with pytest.raises(RequirementError, match="begun"):
        run(tmp_path / "b", after)


@pytest.mark.parametrize(
    ("system", "changes"),
    [
        ("dynacl", {"key_momentum": 0.9, "epochs": 4, "interval": 2}),
        ("dynacl-air", {"epochs": 4, "interval": 2}),
        ("fast-at", {"precision": "bf16"}),
    ],
)
def test_a_snapshot_selects_as_its_epoch_did(system: str, changes: dict[str, Any], tmp_path: Path) -> None:
    """Its weights are those of a run stopped there; loss, weight, strength of views and attack are those of its epoch."""
    run(tmp_path / "a", system, changes, selector=rcs(), snapshot_every=1)
    cut = run(tmp_path / "b", system, changes, selector=rcs(), until=2)
    again = run(tmp_path / "b", system, changes, selector=rcs(), snapshot_every=2, until=2)
    last = tiny(system, **changes).epochs - 1
    for folder, held in (("a", cut), ("b", again)):
        saved = load_network(snapshot_path(tmp_path / folder, 1))
        for name, value in held.network.state_dict().items():
            assert torch.equal(value, saved.weights[name])
        settings = settings_of_network(saved)
        assert epoch_of(saved, settings) == 1
    cpu = torch.device("cpu")
    for epoch, path in ((1, snapshot_path(tmp_path / "a", 1)), (last, tmp_path / "a")):
        trained = open_trained(path, images(N), "images", cpu)
        assert trained.loss == settings.loss(epoch)
        assert trained.attack == replace(settings, select_attack_steps=None).select_attack
        want = settings.views(epoch)
        if trained.views is not None and want is not None:
            x, draw = images(1)[0][0][None], torch.Generator
            for one, two in zip(trained.views(x, draw().manual_seed(1)), want(x, draw().manual_seed(1)), strict=True):
                assert torch.equal(one, two)
    if system.startswith("dynacl"):
        assert settings.strength(1) != settings.strength(last)
    assert not (tmp_path / "b" / MODEL).exists()


@pytest.mark.parametrize("changes", [{}, {"key_momentum": 0.9}])
def test_a_probe_changes_no_bit_of_the_training(changes: dict[str, Any], tmp_path: Path) -> None:
    """Weights, random states and records are those of a run without it; its record has both accuracies."""

    class Noisy(Dataset[Any]):
        """Items that draw from the global state, as augmentations of the user's do."""

        labels = torch.tensor([int(images(N)[i][1]) for i in range(N)])

        def __len__(self) -> int:
            return N

        def __getitem__(self, i: int) -> Any:
            x, y = images(N)[i]
            return (x + 0.01 * torch.rand(x.shape)).clamp(0, 1), y

    settings = tiny("acl", **changes)
    held = Noisy()
    torch.manual_seed(1)
    plain = pretrain(settings, Noisy(), held, tmp_path / "a", selector=rcs())
    after = torch.get_rng_state()
    torch.manual_seed(1)
    probed = pretrain(settings, Noisy(), held, tmp_path / "b", selector=rcs(), probe_every=2)
    assert same(plain, probed)
    assert torch.equal(after, torch.get_rng_state())
    assert [r["loss"] for r in plain.records] == [r["loss"] for r in probed.records]
    assert ["probe" in r for r in probed.records] == [False, True, False]
    found = probed.records[1]["probe"]
    assert 0 <= found["robust"] <= found["standard"] <= 1
    assert found["n"] == N


def test_a_probe_is_the_head_of_least_loss(tmp_path: Path) -> None:
    """Its accuracies are those of a head fitted by many steps of gradient descent on the same features."""
    network = run(tmp_path / "a", "acl").network
    found = Probe.of(images(N), images(40, seed=8), 8 / 255, 0)(network, 0, torch.device("cpu"))
    x, y = next(iter(DataLoader(images(N), N)))
    with torch.no_grad():
        z = network.represent(x, "adversarial")  # [N, D]
    scale = z.pow(2).mean().sqrt()
    head = torch.nn.Linear(z.shape[1], 2)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    for _ in range(3000):
        loss = torch.nn.functional.cross_entropy(head(z / scale), y) + 5e-4 * head.weight.pow(2).sum()
        gradients = torch.autograd.grad(loss, [head.weight, head.bias])
        with torch.no_grad():
            for p, g in zip(head.parameters(), gradients, strict=True):
                p.sub_(0.05 * g)

    class Probed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return head(network.represent(x, "adversarial") / scale)

    want = evaluate(Probed(), images(40, seed=8), attack=PGD(8 / 255, 2 / 255, 20), seed=0)
    assert found["standard"] == pytest.approx(want.standard, abs=0.051)
    assert found["robust"] == pytest.approx(want.robust, abs=0.051)


def test_a_probe_needs_labels(tmp_path: Path) -> None:
    """Images alone are refused before the first epoch."""

    class Bare(Dataset[Any]):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, i: int) -> Any:
            return images(8)[i][0]

    with pytest.raises(DataError, match="leave --probe-every out"):
        pretrain(tiny("acl"), Bare(), Bare(), tmp_path / "a", probe_every=1)
    assert not (tmp_path / "a").exists()
