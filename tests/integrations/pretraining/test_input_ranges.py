"""Runs and comparisons refuse images outside [0, 1] before they train, where something is attacked."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import images, tiny
from torch.utils.data import TensorDataset

from coreselect import holdout
from coreselect.attacks import PGD
from coreselect.errors import OutOfBoundsError
from coreselect.selectors import RCS, Random
from coreselect_integrations.comparison.plan import Runtime, Study
from coreselect_integrations.comparison.study import compare
from coreselect_integrations.pretraining.run import pretrain
from coreselect_integrations.systems import sat


def moved(n: int, low: float, width: float) -> TensorDataset:
    """Images of another range."""
    x, y = images(n).tensors
    return TensorDataset(low + width * (x - x.amin()) / (x.amax() - x.amin()), y)


RANGES = [(-2.0, 4.5), (0.0, 255.0), (-1.0, 2.0)]


@pytest.mark.parametrize("seen", RANGES)
@pytest.mark.parametrize("selector", [RCS(), Random(), None])
def test_a_run_that_attacks_refuses_before_its_warm_up(
    seen: tuple[float, float], selector: Any, tmp_path: Path
) -> None:
    """With a long warm-up ahead and with no selector at all, nothing is trained and the folder stays empty."""
    pool, held = holdout(moved(96, *seen), 20, 0)
    with pytest.raises(OutOfBoundsError, match="Normalized"):
        pretrain(tiny("sat", epochs=50, warmup=40), pool, held, tmp_path / "run", selector=selector)
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_a_run_that_attacks_nothing_takes_any_range(tmp_path: Path) -> None:
    """Standard training with a random subset asks for no range."""
    pool, held = holdout(moved(96, -2.0, 4.5), 20, 0)
    assert len(pretrain(tiny("standard"), pool, held, tmp_path, selector=Random()).records) == 3


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_comparison_looks_at_both_sets_before_its_cells(part: str, tmp_path: Path) -> None:
    """The test images alone outside [0, 1] would be found after hours of training."""
    sets = {"train": images(96), "test": images(20, seed=8), part: moved(40, -2.0, 4.5)}
    study = Study(tiny("sat"), ("random",), (0.25,), (0,))
    with pytest.raises(OutOfBoundsError, match=f"^{part} inputs lie in"):
        compare(study, sets["train"], sets["test"], Runtime(tmp_path / "study"))
    assert not list(tmp_path.rglob("*.jsonl"))


@given(st.floats(-50, 50), st.floats(2, 300), st.booleans())
def test_the_loops_refuse_at_the_first_batch(low: float, width: float, free: bool) -> None:
    """SAT's own loop: with bounds it refuses and has moved nothing, without bounds it trains."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2))
    before = model[1].weight.detach().clone()  # type: ignore[union-attr]
    loader = torch.utils.data.DataLoader(moved(16, low, width), 8)
    optimizer = torch.optim.SGD(model.parameters(), 1e-9)
    attack = PGD(0.1, 0.05, 1, bounds=None if free else (0.0, 1.0))
    if free:
        sat.train_epoch(model, loader, optimizer, attack, generator=torch.Generator().manual_seed(0))
    else:
        with pytest.raises(OutOfBoundsError):
            sat.train_epoch(model, loader, optimizer, attack, generator=torch.Generator().manual_seed(0))
        assert torch.equal(model[1].weight, before)  # type: ignore[arg-type]
