"""A run of any system with any selector ends with a network, and a killed run continues to the same network."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import images, tiny

from coreselect import Selection, Task, select
from coreselect.attacks import PGD
from coreselect.errors import RequirementError
from coreselect.objectives import RD
from coreselect.selectors import RCS, RS2, Random
from coreselect_integrations.networks import load_network, restore
from coreselect_integrations.pretraining.run import MODEL, Pretrained, pretrain
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.systems import SYSTEMS
from coreselect_integrations.pretraining.trained import open_trained
from coreselect_integrations.systems.byol import OnlineBYOL
from coreselect_integrations.systems.moco import MoCo
from coreselect_integrations.training.runs import LOG

pytest.importorskip("kornia")
N = 96


def rcs() -> RCS:
    return RCS(objective=RD("kl", attack=PGD(8 / 255, 10 / 255, 1)))


def run(folder: Path, settings: Settings, **more: Any) -> Pretrained:
    return pretrain(settings, images(N), images(20, seed=8), folder, **{"selector": rcs(), **more})


@pytest.mark.parametrize("system", SYSTEMS)
def test_rcs_plugs_into_every_system(system: str, tmp_path: Path) -> None:
    """The run has one epoch on the pool and two on the selected quarter, and writes log, coreset and weights."""
    result = run(tmp_path, tiny(system))

    assert [r["examples"] for r in result.records] == [N, N // 4, N // 4]
    assert [r["updates"] for r in result.records] == [6, 2, 2]
    assert result.records[1]["select_seconds"] > 0
    assert result.records[1]["selection"]["rows"] > 0
    assert [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()] == list(result.records)
    selection = Selection.load(tmp_path / "coreset.npz")
    assert (len(selection), selection.provenance.round) == (N // 4, 1)
    saved = restore(load_network(tmp_path / MODEL))
    for name, value in saved.state_dict().items():
        assert torch.equal(value, result.network.state_dict()[name])
    assert (result.records[0]["accuracy"] is not None) == SYSTEMS[system].supervised


@pytest.mark.parametrize("system", ["moco", "byol"])
def test_a_finished_network_without_its_second_encoder_is_selected_from(system: str, tmp_path: Path) -> None:
    """Without the queue of its run, MoCo takes the other keys of a batch; without its predictor, BYOL compares directly."""
    run(tmp_path, tiny(system, epochs=2), selector=None)
    found = open_trained(tmp_path, images(N), "images", torch.device("cpu"))
    assert found.loss == (MoCo(0.1) if system == "moco" else OnlineBYOL())
    task = Task.from_model(
        found.model, images(N), images(20, seed=8), loss=found.loss, attack=found.attack, call=found.call, views=found.views
    )  # fmt: skip
    assert len(select(task, rcs(), 24)) == 24


class Stop(Exception):
    """The run is stopped."""


@pytest.mark.parametrize(
    ("system", "changes", "selector", "after"),
    [
        ("sat", {}, rcs(), 1),
        ("sat", {}, rcs(), 2),
        ("sat", {}, None, 2),
        ("trades", {"every": 2}, rcs(), 2),
        ("acl", {}, RS2(), 1),
        ("dynacl", {"key_momentum": 0.9}, rcs(), 1),
        ("dynacl", {"key_momentum": 0.9}, rcs(), 2),
        ("moco", {"queue": 20}, rcs(), 1),
        ("byol", {}, rcs(), 2),
        ("dynacl-air", {"optimiser": "lars", "every": 2}, rcs(), 1),
    ],
)
def test_a_run_that_is_stopped_ends_with_the_same_bits(
    system: str, changes: dict[str, Any], selector: Any, after: int, tmp_path: Path
) -> None:
    """A run stopped in the epoch after `after` and continued with new objects has the same weights, log and coreset."""
    if changes.get("optimiser") == "lars":
        pytest.importorskip("pytorch_optimizer")
    settings = tiny(system, **changes)
    whole = run(tmp_path / "whole", settings, selector=selector)

    def plug(part: str, done: int, total: int) -> None:
        if part == f"epoch {after + 1}":
            raise Stop

    with pytest.raises(Stop):
        run(tmp_path / "cut", settings, selector=selector, progress=plug)
    np.random.seed(5)
    torch.manual_seed(5)
    again = run(tmp_path / "cut", settings, selector=selector)

    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name
    timed = ("seconds", "select_seconds", "cpu_seconds", "select_cpu_seconds", "selection")
    plain = [[{k: v for k, v in r.items() if k not in timed} for r in one.records] for one in (whole, again)]
    assert plain[0] == plain[1]
    if selector is not None:
        one, two = (Selection.load(tmp_path / where / "coreset.npz").indices for where in ("whole", "cut"))
        assert np.array_equal(one, two)


@pytest.mark.slow  # three interpreters train, one after the other
def test_a_killed_command_ends_with_the_same_bits(tmp_path: Path) -> None:
    """After a SIGKILL in `coreselect train`, the same command again gives the same weights."""
    command = [
        sys.executable, "-m", "coreselect.cli", "train", "sat", "--rows", "300", "--arch", "small", "--epochs", "4",
        "--selector", "rcs", "--warmup", "2", "--every", "1", "--attack-steps", "1", "--validation", "20",
        "--batch-size", "32",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def weights(folder: Path) -> Mapping[str, Any]:
        subprocess.run([*command, "--out", folder], check=True, capture_output=True, env=environment)
        return load_network(folder / MODEL).weights

    whole = weights(tmp_path / "whole")
    log = tmp_path / "cut" / LOG
    with subprocess.Popen([*command, "--out", tmp_path / "cut"], stderr=subprocess.DEVNULL, env=environment) as process:
        while not log.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "cut" / MODEL).exists()
    again = weights(tmp_path / "cut")
    assert whole.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_without_a_selector_every_epoch_sees_the_whole_pool(tmp_path: Path) -> None:
    """No coreset is written, nothing is selected."""
    result = run(tmp_path, tiny("standard"), selector=None)
    assert [r["examples"] for r in result.records] == [N] * 3
    assert result.records[-1]["seen"] == 1.0
    assert not (tmp_path / "coreset.npz").exists()


def test_intervals_can_be_counted_from_epoch_0(tmp_path: Path) -> None:
    """With ω = 1 and λ = 2 the first coreset is that of epoch 2, and not of epoch 1."""
    result = run(tmp_path, tiny("standard", every=2, align="absolute"), selector=RS2())
    assert [r["examples"] for r in result.records] == [N, N, N // 4]


def test_what_was_seen_is_counted_over_all_epochs(tmp_path: Path) -> None:
    """A fixed quarter sees a quarter of the pool; three disjoint quarters see three quarters."""
    fixed = run(tmp_path / "random", tiny("standard", warmup=0), selector=Random())
    fresh = run(tmp_path / "rs2", tiny("standard", warmup=0), selector=RS2())
    assert [r["seen"] for r in fixed.records] == [0.25] * 3
    assert [r["seen"] for r in fresh.records] == [0.25, 0.5, 0.75]


def test_a_selection_is_made_for_the_loss_and_views_of_its_epoch(tmp_path: Path) -> None:
    """In DynACL-AIR, the tasks of the selections at epochs 1 and 2 have ω = λ/3 and 2λ/3, and three views."""
    seen: list[Any] = []

    class Watching(Random):
        renew = "round"

        def select(self, task: Any, budget: Any, *, generator: Any, round: int = 0) -> Selection:
            seen.append(task)
            chosen = super().select(task, budget, generator=generator, round=round)
            return replace(chosen, provenance=replace(chosen.provenance, round=round))

    run(tmp_path, tiny("dynacl-air"), selector=Watching())
    assert [t.loss.omega for t in seen] == pytest.approx([2 / 9, 4 / 9])
    x = torch.rand(1, 3, 8, 8)
    assert all(len(t.views(x, torch.Generator())) == 3 for t in seen)


def test_weights_of_a_selection_reach_the_loss(tmp_path: Path) -> None:
    """With a weighted selector and a rate near 0, the mean loss of an epoch is the weighted mean over the selection."""

    class Weighted(Random):
        def select(self, task: Any, budget: Any, *, generator: Any, round: int = 0) -> Selection:
            chosen = super().select(task, budget, generator=generator, round=round)
            return replace(chosen, weights=np.where(np.arange(len(chosen)) == 0, float(len(chosen)), 0.0))

    settings = tiny("standard", epochs=1, warmup=0, batch_size=N, lr=1e-12, flip=False)
    heavy = run(tmp_path / "heavy", settings, selector=Weighted())
    light = run(tmp_path / "light", settings, selector=Random())
    assert heavy.records[0]["loss"] != pytest.approx(light.records[0]["loss"], abs=1e-4)


def test_a_folder_is_not_resumed_under_another_selector(tmp_path: Path) -> None:
    """The sentence names the setting and both values."""
    run(tmp_path, tiny("standard", epochs=2))
    with pytest.raises(RequirementError, match="selector 'rcs', this one has 'rs2'"):
        run(tmp_path, tiny("standard", epochs=2), selector=RS2())


def test_global_random_states_do_not_move(tmp_path: Path) -> None:
    """Training seeds them for datasets that draw from them, and restores them."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    run(tmp_path, tiny("standard", epochs=1))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # type: ignore[arg-type]


def test_without_a_selector_no_share_of_the_pool_is_needed(tmp_path: Path) -> None:
    """The published fraction of 5 images is none: a run on all of them does not choose, and is not refused for it."""
    result = pretrain(tiny("sat", fraction=0.1), images(5), images(4, seed=8), tmp_path)
    assert [r["examples"] for r in result.records] == [5, 5, 5]
