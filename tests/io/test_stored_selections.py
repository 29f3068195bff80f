"""A stored selection whose arrays are no selection is refused, although its checksum is right: from a file and from a state."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

from coreselect import CoresetSampler, Selection, get_selector, select
from coreselect.errors import IndexFileError, ScheduleError
from coreselect.io import index_formats, read, read_indices
from coreselect.loop.plain_state import as_tensors

N, K = 24, 6
Change = Callable[[dict[str, Any]], None]


def put(name: str, value: Any) -> Change:
    return lambda arrays: arrays.update({name: value})


def at(name: str, place: int, value: Any) -> Change:
    def change(arrays: dict[str, Any]) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][place] = value

    return change


CHANGES: dict[str, Change] = {
    "a position twice": lambda a: put("indices", np.r_[a["indices"][:-1], a["indices"][:1]])(a),
    "a negative position": at("indices", 2, -1),
    "outside the pool": at("indices", 0, N),
    "fractions": lambda a: put("indices", a["indices"] + 0.5)(a),
    "too few": lambda a: put("indices", a["indices"][:-1])(a),
    "none": put("indices", np.empty(0, np.int64)),
    "a matrix": lambda a: put("indices", a["indices"][None])(a),
    "a source index twice": lambda a: put("source_indices", np.repeat(a["source_indices"][:1], K))(a),
    "groups of another length": put("groups", np.zeros(K + 1, np.int64)),
    "gains that are integers": put("gains", np.zeros(K, np.int64)),
    "negative weights": put("weights", -np.ones(K)),
    "weights that are no numbers": put("weights", np.full(K, np.nan)),
    "scores of another pool": put("scores", np.zeros(N + 3)),
}


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("ending", [".npz", ".json"])
def test_a_file_is_refused(kind: str, ending: str, tmp_path: Path) -> None:
    """The sentence names the file; nothing is loaded."""
    path = tmp_path / f"coreset{ending}"
    select(cases.array_task(N), get_selector("gradmatch"), K).save(path)
    arrays, meta = read(path)
    CHANGES[kind](arrays)
    path.write_bytes(index_formats.pack(ending, arrays, meta))  # the checksum is that of the changed content
    with pytest.raises(IndexFileError, match=r"coreset.* is damaged or edited"):
        Selection.load(path)
    if kind.startswith("a source index"):
        with pytest.raises(IndexFileError, match="occurs twice"):
            read_indices(path)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_state_is_refused(kind: str) -> None:
    """A sampler refuses the state and keeps its own selection."""
    sampler = CoresetSampler(cases.array_task(N), get_selector("gradmatch"), K, warmup=0)
    sampler.set_epoch(0)
    state, own = sampler.state_dict(), sampler.selection
    fields = asdict(own)  # type: ignore[call-overload]
    CHANGES[kind](fields)
    with pytest.raises(ScheduleError, match="damaged or edited"):
        sampler.load_state_dict({**state, "selection": as_tensors(fields)})
    assert sampler.selection is own


@pytest.mark.parametrize("epoch", [-1, 1.5, True, "3", np.nan])
def test_a_state_of_no_epoch_is_refused(epoch: Any) -> None:
    """An epoch is a whole number from 0 on."""
    sampler = CoresetSampler(cases.array_task(N), get_selector("random"), K, warmup=0)
    sampler.set_epoch(0)
    with pytest.raises(ScheduleError, match="whole number"):
        sampler.load_state_dict({**sampler.state_dict(), "epoch": epoch})
