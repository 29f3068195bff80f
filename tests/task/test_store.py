"""Claims about selections with a store: the same bits as without, also after a death, and no pass is made twice."""

import copy
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cases
import pytest
import torch
from contract import same
from torch import nn
from typer.testing import CliRunner

from coreselect import CoresetSampler, Selection, get_selector, plan, select, select_each
from coreselect.cli.app import build
from coreselect.errors import RequirementError, StoreError
from coreselect.gradients.row_store import FolderStore
from coreselect.io.folder_lock import FolderLock

N, K = 40, 8


class Killed(BaseException):
    """The end of a process."""


def dying(task: Any, after: int) -> Any:
    """Return the task, which dies in the first sweep once more than `after` examples are done."""

    def progress(part: str, done: int, total: int) -> None:
        if part not in ("greedy", "warm-up") and done > after:
            raise Killed

    return task.reporting(progress)


def images_seen(model: nn.Module, work: Any) -> int:
    """Run the work, and count the images that go through the first convolution in batches that are no probes."""
    seen: list[int] = []
    first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    hook = first.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])) if len(x[0]) > 4 else None)
    try:
        work()
    finally:
        hook.remove()
    return sum(seen)


def tasks() -> dict[str, tuple[Any, Any]]:
    """One task and selector for each way of sweeping."""
    sat = lambda **more: cases.sat_task(N, u=12, batch_size=8, **more)  # noqa: E731
    return {
        "head": (sat(), cases.rcs()),
        "all": (sat(capture="all"), cases.rcs()),
        "contrastive": (cases.acl_task(N, u=12, batch_size=8), cases.rcs(stratify=None)),
        "features": (sat(), get_selector("k_center")),
        "inputs": (sat(), get_selector("deepfool")),
        "examples": (sat(capture="all"), get_selector("acs_craig")),
    }


@pytest.mark.parametrize("way", list(tasks()))
def test_a_selection_that_died_goes_on_and_gives_the_same_bits(tmp_path: Path, way: str) -> None:
    """However rows are made, a death in the sweep costs only what was not done, and the answer has the same bits."""
    task, selector = tasks()[way]
    want = select(task, selector, K, seed=3)
    with pytest.raises(Killed):
        select(dying(task, 20), selector, K, seed=3, store=tmp_path)
    ((_, done, batches),) = FolderStore(tmp_path).contents()
    assert 0 < done < batches
    got = select(task, selector, K, seed=3, store=tmp_path)
    same(got, want)
    assert asdict(got.certificate) == asdict(want.certificate) if got.certificate and want.certificate else True
    assert got.provenance.notes == want.provenance.notes
    ((_, done, batches),) = FolderStore(tmp_path).contents()
    assert done == batches
    whole = images_seen(task.model, lambda: select(task, selector, K, seed=3))
    assert images_seen(task.model, lambda: select(task, selector, K, seed=3, store=tmp_path)) <= whole - N


def test_another_model_another_pool_or_another_attack_is_refused(tmp_path: Path) -> None:
    """Rows of other weights, data, seeds and ways of sweeping are never used; the sentence says what differs."""
    selector = cases.rcs()
    select(cases.sat_task(N, batch_size=8), selector, K, store=tmp_path)
    other = {
        "weights": cases.sat_task(N, batch_size=8, model=cases.built(cases.ConvNet, seed=1)),
        "pool": cases.sat_task(N, batch_size=8, seed=5),
        "model": cases.sat_task(N, batch_size=8, model=cases.built(lambda: nn.Sequential(cases.ConvNet()), seed=0)),
    }
    for name, task in other.items():
        with pytest.raises(StoreError, match=f"another run, which differs in .*{name} "):
            select(task, selector, K, store=tmp_path)
    with pytest.raises(StoreError, match=r"differs in seed \(there 0, here 1\)"):
        select(cases.sat_task(N, batch_size=8), selector, K, seed=1, store=tmp_path)
    same(select(cases.sat_task(N), selector, K, store=tmp_path), select(cases.sat_task(N), selector, K))


def test_statistics_that_no_state_holds_count_as_weights(tmp_path: Path) -> None:
    """A buffer that is not saved with the model changes the rows, so it is in the header."""
    model = cases.built(cases.ConvNet)
    model.register_buffer("shift", torch.zeros(1, dtype=torch.float64), persistent=False)
    task = cases.sat_task(N, model=model)
    select(task, get_selector("k_center"), K, store=tmp_path)
    model.get_buffer("shift").fill_(1.0)
    with pytest.raises(StoreError, match="differs in weights"):
        select(task, get_selector("k_center"), K, store=tmp_path)


@pytest.mark.parametrize("stored", [False, True])
def test_several_selectors_sweep_once(tmp_path: Path, stored: bool) -> None:
    """What methods have in common passes through the model once, and each chooses what it chooses alone."""
    task = cases.sat_task(N, u=16, batch_size=8)
    names = ["k_center", "el2n", "herding", "acs_craig", "rcs_sampled", "el2n_adv"]
    selectors = [get_selector(name) for name in names]
    found: list[Selection] = []
    made = images_seen(
        task.model, lambda: found.extend(select_each(task, selectors, K, store=tmp_path if stored else None))
    )
    for selector, got in zip(selectors, found, strict=True):
        same(got, select(task, selector, K))
    plans = {name: plan(task, s, K, timed=False) for name, s in zip(names, selectors, strict=True)}
    validation = sum(p.forward + p.steps for one in plans.values() for p in one.passes if p.part == "validation")
    assert made == plans["k_center"].forward_passes + plans["acs_craig"].forward_passes + validation


def test_several_selectors_are_checked_before_the_first_chooses() -> None:
    """A method that cannot work on the task is refused at once."""
    with pytest.raises(RequirementError, match="needs history"):
        select_each(cases.sat_task(N), [get_selector("k_center"), get_selector("aum")], K)


def test_arrays_need_no_store(tmp_path: Path) -> None:
    """A store for arrays is refused, in `select` and where a sampler is made; nothing is written."""
    for work in (
        lambda: select(cases.array_task(), cases.rcs(), 6, store=tmp_path / "s"),
        lambda: CoresetSampler(cases.array_task(), cases.rcs(), 6, store=tmp_path / "s"),
    ):
        with pytest.raises(RequirementError, match="arrays need no sweep"):
            work()
    assert not (tmp_path / "s").exists()


def test_a_plan_leaves_a_store_alone(tmp_path: Path) -> None:
    """The batch that a plan times is not written."""
    plan(cases.sat_task(N).storing(tmp_path / "s"), cases.rcs(), K)
    assert not (tmp_path / "s").exists()


def test_a_training_run_that_died_in_a_selection_goes_on(tmp_path: Path) -> None:
    """A sampler finds the rows of its round; those of earlier rounds are deleted, and other weights begin the round anew."""

    def sampler(model: nn.Module, after: int | None = None) -> CoresetSampler:
        task = cases.sat_task(N, u=12, batch_size=8, model=model)
        return CoresetSampler(
            task if after is None else dying(task, after), cases.rcs(), K, warmup=0, every=1, store=tmp_path
        )

    first, later = cases.built(cases.ConvNet), cases.built(cases.ConvNet, seed=4)
    sampler(first).set_epoch(0)
    with pytest.raises(Killed):
        sampler(first, 20).set_epoch(1)
    assert [p.name for p in tmp_path.glob("round-*")] == ["round-000001"]
    resumed, plain = (
        sampler(first),
        CoresetSampler(cases.sat_task(N, u=12, batch_size=8, model=first), cases.rcs(), K, 0, 1),
    )
    seen = images_seen(first, lambda: resumed.set_epoch(1))
    assert seen < images_seen(first, lambda: plain.set_epoch(1))
    assert resumed.selection is not None
    assert plain.selection is not None
    same(resumed.selection, plain.selection)
    sampler(later).set_epoch(1)
    other = CoresetSampler(cases.sat_task(N + 1, batch_size=8, model=later), cases.rcs(), K, 0, 1, store=tmp_path)
    with pytest.raises(StoreError, match="differs in pool"):
        other.set_epoch(1)


def test_only_the_folders_of_rounds_are_touched(tmp_path: Path) -> None:
    """What has a name that merely begins like a round's stays, also inside, and so does a stranger's file in a round's folder."""
    own = [tmp_path / name for name in ("round-2-results/thesis.txt", "round-notes.txt", "round-000007/thesis.txt")]
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.write_text("precious")
    (tmp_path / "round-000008").write_text("precious")
    (tmp_path / "round-000009").symlink_to(tmp_path / "round-000007")
    task = cases.sat_task(N, u=12, batch_size=8)
    sampler = CoresetSampler(task, cases.rcs(), K, warmup=0, every=1, store=tmp_path)
    for epoch in range(3):
        sampler.set_epoch(epoch)
    assert [path.read_text() for path in own] == ["precious"] * 3
    rounds = sorted(p.name for p in tmp_path.glob("round-0*"))
    assert rounds == ["round-000002", "round-000007", "round-000008", "round-000009"]


def test_a_store_is_held_from_the_first_epoch_on(tmp_path: Path) -> None:
    """Another run is refused before its warm-up, and let in when the first is over; a copy of a sampler holds it by itself."""

    def sampler() -> CoresetSampler:
        return CoresetSampler(cases.sat_task(N, batch_size=8), cases.rcs(), K, warmup=3, every=1, store=tmp_path / "s")

    first, other = sampler(), FolderLock(tmp_path / "s")
    with pytest.raises(StoreError, match="in use by process"):
        first.set_epoch(0)
    other.release()
    first.set_epoch(0)
    assert first.store is not None
    copy.deepcopy(first.store).close()
    with pytest.raises(StoreError, match="in use by process"):
        FolderLock(tmp_path / "s")
    first.store.close()
    FolderLock(tmp_path / "s" / "round-000003").release()
    held = FolderLock(tmp_path / "s" / "round-000003")
    with pytest.raises(StoreError, match="round-000003 is in use by process"):
        sampler().set_epoch(0)
    held.release()
    assert list(tmp_path.iterdir()) == []


WORDS = ["select", "--data", "digits", "--rows", "240", "--fraction", "0.1", "--warmup-epochs", "0", "--attack-steps", "15",
         "--batch-size", "8", "--group-size", "4"]  # fmt: skip


def begun(store: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start a selection in a process of its own."""
    words = [sys.executable, "-m", "coreselect.cli", *WORDS, "--store", str(store), "--out", str(out)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def batches_done(store: Path) -> int:
    """Return how many batches a store holds."""
    try:
        return sum(done for _, done, _ in FolderStore(store).contents())
    except StoreError:
        return 0  # the file is being made


def finished(out: Path, *more: str) -> dict[str, Any]:
    """Select in this process; return what is in the file, without the seconds and the command line."""
    got = CliRunner().invoke(build(), [*WORDS, "--out", str(out), *more])
    assert got.exit_code == 0, got.output
    value = json.loads(out.read_text())
    for name in ("seconds", "command"):
        value["meta"]["provenance"].pop(name)
    value.pop("check")  # a checksum of everything
    return value


def test_a_killed_command_goes_on_to_the_same_file(tmp_path: Path) -> None:
    """`kill -9` in the sweep: others were refused with its process while it ran, and the next command ends in the same file."""
    store = tmp_path / "store"
    process = begun(store, tmp_path / "never.json")
    try:
        until = time.monotonic() + 120
        while batches_done(store) < 3:
            assert process.poll() is None, "the selection ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.01)
        with pytest.raises(StoreError, match=f"in use by process {process.pid} on "):
            FolderStore(store).check()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    ((_, done, batches),) = FolderStore(store).contents()
    assert 3 <= done < batches
    assert not (tmp_path / "never.json").exists()
    assert finished(tmp_path / "a.json", "--store", str(store)) == finished(tmp_path / "b.json")


@pytest.mark.slow
def test_kills_at_random_moments_do_not_matter(tmp_path: Path) -> None:
    """Killed again and again, whenever it may be, a command ends in the file of an undisturbed one."""
    draws = random.Random(os.getpid())
    want = finished(tmp_path / "want.json")
    for number in range(5):
        store = tmp_path / f"store-{number}"
        for _ in range(3):
            process = begun(store, tmp_path / "killed.json")
            before, until = batches_done(store), time.monotonic() + 60
            while batches_done(store) == before and process.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(draws.random() * 0.5)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert finished(tmp_path / f"{number}.json", "--store", str(store)) == want
