"""A stored selection whose arrays are no selection is refused, although its checksum is right: from a file and from a state."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import torch

from coreselect import CoresetSampler, InfoBatchSampler, Selection, get_selector, select
from coreselect.cli.inspect_run import run
from coreselect.errors import IndexFileError, ScheduleError
from coreselect.io import index_formats, read, read_indices
from coreselect.loop.plain_state import as_tensors
from coreselect.types import Certificate

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
    "a negative group": at("groups", 1, -1),
    "gains that are no numbers": at("gains", 1, np.nan),
}


def into(record: str, name: str, value: Any) -> Change:
    """Change a field of a record, which may have been None."""
    return lambda fields: fields.update({record: {**RECORDS[record], **(fields[record] or {}), name: value}})


RECORDS: dict[str, dict[str, Any]] = {
    "certificate": asdict(Certificate("instance", 1.0, None, None, ("head only",))),
    "diagnostics": {},
    "provenance": {},
}
RECORD_CHANGES: dict[str, Change] = {
    "a value in words": into("certificate", "value", "x"),
    "a method by number": into("certificate", "method", 5),
    "assumptions in one text": into("certificate", "assumptions", "head only"),
    "details in words": into("certificate", "details", {"samples": "many"}),
    "a share in a list": into("diagnostics", "misclassified", [1]),
    "classes in fractions": into("diagnostics", "classes", 2.5),
    "an unknown field": into("diagnostics", "luck", 1.0),
    "no command": into("provenance", "command", None),
    "conditions in one text": into("provenance", "command", {"conditions": "tail"}),
    "notes by number": into("provenance", "notes", [1]),
    "a selector by number": into("provenance", "selector", 5),
    "a round in words": into("provenance", "round", "x"),
    "no round": into("provenance", "round", None),
    "a round in fractions": into("provenance", "round", 5.5),
    "a round that is no number": into("provenance", "round", np.nan),
    "a negative round": into("provenance", "round", -1),
    "seconds that are no times": into("provenance", "seconds", {"rows": np.inf}),
    "a certificate that is a list": put("certificate", []),
    "provenance that is a list": put("provenance", [1, 2]),
    "nested in words": put("nested", {"a": 1}),
    "one text of as many letters": put("files", "abcdef"),
}


def changed(folder: Path, ending: str, change: Callable[[Any, Any], None]) -> Path:
    """Save a selection, change its arrays or its meta, and write it with the checksum of the changed content."""
    path = folder / f"coreset{ending}"
    select(cases.array_task(N), get_selector("gradmatch"), K).save(path)
    arrays, meta = read(path)
    change(arrays, meta)
    path.write_bytes(index_formats.pack(ending, arrays, meta))
    return path


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("ending", [".npz", ".json"])
def test_a_file_is_refused(kind: str, ending: str, tmp_path: Path) -> None:
    """The sentence names the file; nothing is loaded."""
    path = changed(tmp_path, ending, lambda arrays, _: CHANGES[kind](arrays))
    with pytest.raises(IndexFileError, match=r"coreset.* is damaged or edited"):
        Selection.load(path)
    if kind.startswith("a source index"):
        with pytest.raises(IndexFileError, match="occurs twice"):
            read_indices(path)


@pytest.mark.parametrize("kind", RECORD_CHANGES)
@pytest.mark.parametrize("ending", [".npz", ".json"])
def test_a_file_with_records_of_other_types_is_refused(kind: str, ending: str, tmp_path: Path) -> None:
    """What a certificate, diagnostics or provenance hold is of the types that these records say, or `inspect` refuses the file."""
    path = changed(tmp_path, ending, lambda _, meta: RECORD_CHANGES[kind](meta))
    with pytest.raises(IndexFileError, match=r"coreset.* is damaged or edited"):
        run([path], None, None, None, json=False)


@pytest.mark.parametrize("ending", [".npz", ".json"])
def test_a_file_of_an_earlier_version_is_read(ending: str, tmp_path: Path) -> None:
    """A file without the fields that later versions have added to the records is as good as one with them."""
    path = tmp_path / f"coreset{ending}"
    select(cases.array_task(N), get_selector("gradmatch"), K).save(path)
    arrays, meta = read(path)
    for later in ("task", "command"):
        meta["provenance"].pop(later)
    meta["signs"] = {"misclassified": 1, "classes": 10}
    meta.pop("diagnostics")
    path.write_bytes(index_formats.pack(ending, arrays, meta))
    found = Selection.load(path)
    assert found.provenance.command == {}
    assert found.diagnostics is not None
    assert found.diagnostics.misclassified == 1


@pytest.mark.parametrize("kind", [*CHANGES, *RECORD_CHANGES])
def test_a_state_is_refused(kind: str) -> None:
    """A sampler refuses the state and keeps its own selection."""
    sampler = CoresetSampler(cases.array_task(N), get_selector("gradmatch"), K, warmup=0)
    sampler.set_epoch(0)
    state, own = sampler.state_dict(), sampler.selection
    fields = asdict(own)  # type: ignore[call-overload]
    (CHANGES | RECORD_CHANGES)[kind](fields)
    with pytest.raises(ScheduleError, match="damaged or edited"):
        sampler.load_state_dict({**state, "selection": as_tensors(fields)})
    assert sampler.selection is own


@pytest.mark.parametrize("epoch", [-1, 1.5, True, "3", np.nan])
def test_a_state_of_no_epoch_is_refused(epoch: Any) -> None:
    """An epoch is a whole number from 0 on; whatever is wrong with it, the sampler stays as it was."""
    for sampler in two_samplers():
        other = {
            **next(fresh for fresh in two_samplers(2) if type(fresh) is type(sampler)).state_dict(),
            "epoch": epoch,
        }
        before = plain(sampler)
        with pytest.raises(ScheduleError, match="whole number"):
            sampler.load_state_dict(other)
        assert plain(sampler) == before


@pytest.mark.parametrize("state", [None, [], "x", 5, {}, torch.zeros(2)])
def test_what_is_no_state_is_refused(state: Any) -> None:
    """Anything but a dictionary with the entries of a state is refused in one sentence, and changes nothing."""
    for sampler in two_samplers():
        before = plain(sampler)
        with pytest.raises(ScheduleError, match="state"):
            sampler.load_state_dict(state)
        with pytest.raises(ScheduleError, match="state"):
            iter(sampler).load_state_dict(state)  # type: ignore[attr-defined]  # an iterator of a sampler has a state
        assert plain(sampler) == before


@pytest.mark.parametrize("entry", ["epoch", "selection", "budget", "losses", "kept", "easy", "pool_size"])
@pytest.mark.parametrize("value", [..., torch.zeros(2), {"a": torch.zeros(2)}, "x"])
def test_a_state_with_a_part_missing_or_replaced_is_refused(entry: str, value: Any) -> None:
    """An entry that is missing, or holds something else, is refused in one sentence, and changes nothing."""
    for sampler in two_samplers():
        state, before = sampler.state_dict(), plain(sampler)
        if entry not in state or (entry == "kept" and value is ... and isinstance(sampler, CoresetSampler)):
            continue  # states of earlier versions keep nothing for the selector
        changed = {name: part for name, part in {**state, entry: value}.items() if part is not ...}
        with pytest.raises(ScheduleError):
            sampler.load_state_dict(changed)
        assert plain(sampler) == before


def two_samplers(epoch: int = 1) -> tuple[CoresetSampler, InfoBatchSampler]:
    """One of each kind, in an epoch that sees a part of the pool."""
    chosen = CoresetSampler(cases.array_task(N), get_selector("rs2"), K, warmup=0)
    dropped = InfoBatchSampler(N, 10)
    dropped.update(torch.arange(N), torch.arange(N) / N)
    for sampler in (chosen, dropped):
        sampler.set_epoch(epoch)
    return chosen, dropped


def plain(sampler: CoresetSampler | InfoBatchSampler) -> str:
    """The state as text, and what the epoch sees."""
    return f"{sampler.state_dict()} {list(sampler)}"
