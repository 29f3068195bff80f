"""Methods that would take hours or more memory than allowed refuse at once; half precision is widened block by block."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kernels import points
from torch.overrides import TorchFunctionMode

import coreselect
from coreselect import Task, limits, select
from coreselect.errors import RequirementError, ShapeError
from coreselect.search import distances, exact_distances, neighbours
from coreselect.search import similarity as similarities
from coreselect.selectors import (
    CAL,
    CRAIG,
    D2,
    SAS,
    FacilityLocation,
    GraNd,
    GraphCut,
    Herding,
    KCenter,
    LogDet,
    Moderate,
    PerClass,
    Prototypicality,
    SemDeDup,
    Windowed,
    ZCore,
)
from coreselect.selectors.label_free import features as label_free
from coreselect.solvers import falling
from coreselect.support.limits import Needs
from coreselect.task.array_snapshot import ArraySnapshot

N, D, K = 1_281_167, 512, 64_058


class Huge(ArraySnapshot):
    """A snapshot of arrays that says how wide it is, and must not be read."""

    def features(self) -> torch.Tensor:
        raise AssertionError("features were read before the refusal")

    def rows(self, groups: Any, sketch: Any = None, *, spread: bool | None = False) -> Any:
        raise AssertionError("rows were read before the refusal")


def huge(*, classes: int | None = None) -> Any:
    """A task of ImageNet's size whose arrays take no memory: one row, repeated by a stride of 0."""
    row = np.broadcast_to(np.zeros((1, D), np.float16), (N, D))
    logits = np.broadcast_to(np.zeros((1, 2), np.float32), (N, 2))
    labels = None if classes is None else np.arange(N) % classes
    small: Any = Task.from_arrays(features=points(2, D), gradients=points(2, D), logits=points(2, 2))
    recipe = replace(small, n=N, features=row, gradients=row, logits=logits, labels=labels)

    class Stub:
        """What a selector uses of a task."""

        n = N
        provides = recipe.provides

        @contextmanager
        def snapshot(self, seed: int, round: int) -> Iterator[Any]:
            with small.snapshot(seed, round) as inner:
                yield Huge(recipe, inner.context, np.arange(N))

    return Stub()


REFUSED = {
    "herding": Herding(),
    "facility_location": FacilityLocation(),
    "log_det": LogDet(),
    "graph_cut rbf": GraphCut(similarity="rbf"),
    "cal": CAL(),
    "d2": D2(),
    "craig": CRAIG(),
    "zcore": ZCore(),
    "sas": SAS(clusters=1),
    "semdedup": SemDeDup(clusters=1),
    "semdedup scipy": SemDeDup(search="scipy"),  # 8.4 GiB, most of it a float64 copy of the features
    "moderate": Moderate(),  # in one class
    "prototypicality": Prototypicality(clusters=1000, search="scipy"),
    "per_class": PerClass(KCenter(), "clusters", clusters=1000),
}


@pytest.mark.parametrize("name", REFUSED)
def test_imagenet_is_refused_at_once_where_it_would_take_hours(name: str) -> None:
    """5 % of 1,281,167 × 512: one sentence with the need, the limit and the way out, before features or rows are read."""
    with pytest.raises(RequirementError, match=r"\(windowed|Windowed\)") as caught:
        select(huge(classes={"d2": 1000, "moderate": 1}.get(name)), REFUSED[name], K)
    assert "\n" not in str(caught.value)
    assert "1,281,167" in str(caught.value) or "most_bytes" in str(caught.value)


@pytest.mark.parametrize(
    "selector",
    [
        KCenter(),
        GraphCut(),
        SemDeDup(),
        CRAIG(),
        SAS(),
        SAS(latent="labels"),
        Prototypicality(),
        Prototypicality(search="scipy"),
        Moderate(),
        GraNd(),
    ],
    ids=lambda s: s.name,
)
def test_imagenet_is_begun_where_it_takes_less_than_an_hour(selector: Any) -> None:
    """5 % of 1,281,167 × 512 in 1000 classes: these methods go on to read what they need."""
    if selector.name == "semdedup":
        pytest.importorskip("faiss")
    with pytest.raises(AssertionError, match="before the refusal"):
        select(huge(classes=1000), selector, K)


def test_limits_are_settings() -> None:
    """More can be allowed and less, in a block; limits that are not above 0 are refused; the old ones return."""
    task, many = Task.from_arrays(features=points(200, 5), labels=np.arange(200) % 4), (KCenter(), Moderate())
    for selector in many:
        assert len(select(task, selector, 20)) == 20
    with limits(hours=1e-12), pytest.raises(RequirementError, match=r"'k_center' needs about .* hours .* allow more"):
        select(task, KCenter(), 20)
    with limits(gib=1e-9):
        with pytest.raises(RequirementError, match=r"limits are 1 hour and 1e-09 GiB"):
            select(task, KCenter(), 20)
        with limits(gib=1.0):
            assert len(select(task, KCenter(), 20)) == 20
    for wrong in ({"hours": 0.0}, {"gib": float("nan")}):
        with pytest.raises(ShapeError, match="above 0"), limits(**wrong):
            pass
    assert len(select(task, KCenter(), 20)) == 20
    assert Needs(products=4e10 * 3600).hours == pytest.approx(1.0)
    assert coreselect.limits is limits


def test_the_ways_out_lead_out() -> None:
    """Where the whole pool is refused, its classes and its windows are small enough."""
    task = Task.from_arrays(features=points(400, 5), labels=np.arange(400) % 20)
    with limits(hours=1.5 * 100 * 100 * 5 / 4e10 / 3600):
        with pytest.raises(RequirementError, match="per_class"):
            select(task, FacilityLocation(), 40)
        assert len(select(task, PerClass(FacilityLocation()), 40)) == 40
        assert len(select(task, Windowed(FacilityLocation(), 100), 40)) == 40


class Widening(TorchFunctionMode):
    """Remember the largest tensor that was made of half precision in a wider type."""

    largest = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        half = any(isinstance(a, torch.Tensor) and a.dtype == torch.float16 for a in args)
        if (
            half
            and func.__name__ != "new_empty"
            and isinstance(out, torch.Tensor)
            and out.dtype in (torch.float32, torch.float64)
        ):
            self.largest = max(self.largest, out.numel())
        return out


HALF = (
    KCenter(), Herding(), GraphCut(), GraphCut(similarity="rbf"), FacilityLocation(neighbours=4), LogDet(), CAL(), D2(),
    SemDeDup(), SAS(), Prototypicality(), Prototypicality(distance="euclidean"), Moderate(),
)  # fmt: skip


@pytest.mark.parametrize("selector", HALF, ids=lambda s: f"{s.name}")
def test_half_precision_is_widened_block_by_block(
    selector: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A float16 memory map gives the picks of the same features in float32, and no wide copy of it is ever made at once."""
    for module, name, value in (
        (distances, "BLOCK_BYTES", 4096), (distances, "KEPT_BYTES", 0), (neighbours, "WIDENED_BYTES", 0),
        (exact_distances, "WIDENED_BYTES", 0), (exact_distances, "CACHED_BYTES", 4096), (similarities, "ROWS", 64),
        (similarities, "CACHED_BYTES", 4096), (label_free, "ROWS", 64),
        (neighbours, "ROWS", 64), (neighbours, "BLOCK_BYTES", 4096),
        (falling, "FEWEST", 16),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    n, width = 400, 16
    x = points(n, width).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    labels = np.arange(n) % 5
    logits = points(n, 5, 1)
    task = Task.from_arrays(features=np.load(tmp_path / "x.npy", mmap_mode="r"), labels=labels, logits=logits)
    with Widening() as seen:
        got = select(task, selector, 40)
    assert 0 < seen.largest < n * width / 2 or not seen.largest
    wide = Task.from_arrays(features=x.astype(np.float32), labels=labels, logits=logits)
    assert got.indices.tolist() == select(wide, selector, 40).indices.tolist()
    with task.snapshot(0, 0) as snapshot:
        assert snapshot.features().dtype == torch.float16
