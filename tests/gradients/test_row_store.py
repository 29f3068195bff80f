"""Claims about stores of rows: what was made is not made again, gives the same bits, and is never taken for something else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coreselect.errors import StoreError
from coreselect.gradients import row_store
from coreselect.gradients.described import plain
from coreselect.gradients.parts import Batches, Key, Record
from coreselect.gradients.record_bytes import decoded, encoded
from coreselect.gradients.row_store import DamagedStoreWarning, FolderStore, OtherRunError
from coreselect.gradients.shared_rows import SharedRows
from coreselect.io.record_log import RecordLog

CPU = torch.device("cpu")
RUN = {"pool": "n:9-ab", "weights": "00", "seed": 0, "round": 0}
KEY = Key("rows", {"loss": "sat", "sketch": None})
BATCHES: Batches = [[np.arange(at, at + 2), np.arange(at + 2, at + 3)] for at in (0, 3, 6)]


class Killed(BaseException):
    """The end of a process."""


class Maker:
    """Makes one record for each batch, and counts them; dies before record `dies`."""

    def __init__(self, dies: int | None = None) -> None:
        self.made, self._dies = 0, dies

    def __call__(self, some: Batches) -> Iterator[Record]:
        for batch in some:
            if self.made == self._dies:
                raise Killed
            self.made += 1
            positions = torch.from_numpy(np.concatenate(list(batch)))
            yield {"rows": torch.sin(positions[:, None] * torch.arange(1.0, 6)), "losses": positions.bfloat16()}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: Any) -> None:
    """Nothing here has to reach the disk."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


def swept(store: Any, maker: Maker, key: Key = KEY, batches: Batches = BATCHES, run: Any = RUN) -> list[Record]:
    """Sweep once through a store."""
    with store.opened(run, CPU) as parts:
        return list(parts(key, batches, maker))


def same(a: list[Record], b: list[Record]) -> bool:
    """Whether two sweeps have the same names, types and bits."""
    return len(a) == len(b) and all(
        p.keys() == q.keys() and all(p[n].dtype == q[n].dtype and torch.equal(p[n], q[n]) for n in p)
        for p, q in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("dies", [0, 1, 2])
def test_a_sweep_goes_on_where_it_died(tmp_path: Path, dies: int) -> None:
    """After a death before any batch, only what is missing is made, and all records have the bits of an undisturbed sweep."""
    store, whole = FolderStore(tmp_path), list(Maker()(BATCHES))
    with pytest.raises(Killed):
        swept(store, Maker(dies))
    assert store.contents() == [("rows", dies, 3)]
    second, third = Maker(), Maker()
    assert same(swept(store, second), whole)
    assert same(swept(store, third), whole)
    assert (second.made, third.made) == (3 - dies, 0)


@pytest.mark.parametrize("store", ["folder", "memory"])
def test_sweeps_are_told_apart(tmp_path: Path, store: str) -> None:
    """Another kind, setting, order of groups or size of batches is another sweep; an equal one is not made again."""
    kept = FolderStore(tmp_path) if store == "folder" else SharedRows()
    swept(kept, Maker())
    others = [
        (Key("natural", KEY.settings), BATCHES),
        (Key("rows", {**KEY.settings, "sketch": 7}), BATCHES),
        (KEY, BATCHES[::-1]),
        (KEY, [[np.concatenate(list(b))] for b in BATCHES]),
        (KEY, [[g for b in BATCHES for g in b]]),
    ]
    for key, batches in others:
        maker = Maker()
        assert same(swept(kept, maker, key, batches), list(Maker()(batches)))
        assert maker.made == len(batches)
    again = Maker()
    swept(kept, again)
    assert again.made == 0


def test_memory_drops_another_run() -> None:
    """Rows in memory belong to one run: with other weights they are made again."""
    kept, maker = SharedRows(), Maker()
    swept(kept, Maker())
    swept(kept, maker, run={**RUN, "weights": "11"})
    assert maker.made == 3


@pytest.mark.parametrize(("name", "value"), [("pool", "n:9-cd"), ("weights", "11"), ("seed", 1), ("round", 2)])
def test_rows_of_another_run_are_refused_with_what_differs(tmp_path: Path, name: str, value: Any) -> None:
    """The sentence names what differs, with both values, and nothing in the folder changes."""
    swept(FolderStore(tmp_path), Maker())
    before = {p.name: p.read_bytes() for p in tmp_path.glob("*.rows")}
    with pytest.raises(OtherRunError) as refused:
        swept(FolderStore(tmp_path), Maker(), run={**RUN, name: value})
    assert f"differs in {name} (there {RUN[name]}, here {value})" in str(refused.value)
    assert refused.value.names == {name}
    assert {p.name: p.read_bytes() for p in tmp_path.glob("*.rows")} == before


def test_another_sweep_is_not_begun_beside_one_that_is_not_done(tmp_path: Path) -> None:
    """Where a sweep died, one with another setting is refused with what differs; when it is done, both may be there."""
    store, other = FolderStore(tmp_path), Key("rows", {"loss": "sat", "sketch": 64})
    with pytest.raises(Killed):
        swept(store, Maker(2))
    with pytest.raises(
        StoreError, match=r"2 of 3 batches of another sweep, .* settings sketch \(there nothing, here 64\)"
    ):
        swept(store, Maker(), other)
    swept(store, Maker())
    swept(store, Maker(), other)
    assert sorted(store.contents()) == [("rows", 3, 3), ("rows", 3, 3)]


@pytest.mark.parametrize("at", [5, 60], ids=["head", "content"])
def test_damaged_rows_are_made_again_and_named(tmp_path: Path, at: int) -> None:
    """A changed byte in the second batch costs the second and the third, and a warning says so."""
    store, whole = FolderStore(tmp_path), list(Maker()(BATCHES))
    swept(store, Maker())
    (path,) = tmp_path.glob("*.rows")
    with RecordLog(path, write=False) as log:
        at += log._ends[1]
    content = bytearray(path.read_bytes())
    content[at] ^= 16
    path.write_bytes(content)
    maker = Maker()
    with pytest.warns(DamagedStoreWarning, match="is damaged after 1 of 3 batches"):
        assert same(swept(store, maker), whole)
    assert maker.made == 2


def test_too_small_a_disk_is_refused_after_the_first_batch(tmp_path: Path, monkeypatch: Any) -> None:
    """The first batch shows how much is to come; it is kept, and the sentence says how much is needed."""
    monkeypatch.setattr(row_store.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    maker = Maker()
    with pytest.raises(StoreError, match=r"rows of 2 more batches take .* the first batch is kept"):
        swept(FolderStore(tmp_path), maker)
    assert maker.made == 1
    monkeypatch.undo()
    maker = Maker()
    swept(FolderStore(tmp_path), maker)
    assert maker.made == 2


def test_looking_at_a_store_does_not_touch_it(tmp_path: Path) -> None:
    """What a store holds can be asked while a half record is being written; no byte changes."""
    store = FolderStore(tmp_path)
    swept(store, Maker())
    (path,) = tmp_path.glob("*.rows")
    path.write_bytes(path.read_bytes()[:-3])
    before = path.read_bytes()
    assert store.contents() == [("rows", 2, 3)]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "t",
    [
        torch.tensor([1.5, float("nan"), float("-inf"), -0.0]),
        torch.arange(6).bfloat16().view(2, 3),
        torch.arange(12, dtype=torch.float64).view(3, 4).T,
        torch.tensor([True, False, True]),
        torch.arange(5, dtype=torch.uint8)[::2],
        torch.empty(0, 7),
        torch.tensor(3, dtype=torch.int64),
        torch.randn(4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)),
    ],
    ids=lambda t: f"{t.dtype}-{list(t.shape)}",
)
def test_tensors_come_back_bit_for_bit(t: torch.Tensor) -> None:
    """Every type and form of tensor is the same after a journey through bytes, beside another one."""
    back = decoded(bytearray(b"".join(encoded({"odd": torch.ones(3, dtype=torch.int8), "t": t}))), CPU)
    assert back["t"].dtype == t.dtype
    assert back["t"].shape == t.shape
    assert torch.equal(
        back["t"].contiguous().reshape(-1).view(torch.uint8), t.contiguous().reshape(-1).view(torch.uint8)
    )


def test_addresses_in_memory_do_not_count() -> None:
    """An object that prints its address is the same in another process."""
    assert plain({"attack": "<Own object at 0x7f00aa>"}) == plain({"attack": "<Own object at 0x1234>"})


def test_ranks_keep_what_they_make_apart(tmp_path: Path, monkeypatch: Any) -> None:
    """In a process group each rank has a folder of its own, which no other rank locks, reads or deletes."""
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    kept = []
    for rank in (0, 1):
        monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
        store = FolderStore(tmp_path)
        with store.opened(RUN, CPU) as parts:
            kept.append(list(parts(KEY, BATCHES[rank::2], Maker())))
        assert len(store.contents()) == 1
    assert [len(records) for records in kept] == [2, 1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rank-0-of-2", "rank-1-of-2"]
    FolderStore(tmp_path).delete()
    assert [p.name for p in tmp_path.iterdir()] == ["rank-0-of-2"]


def test_only_what_the_store_wrote_is_deleted(tmp_path: Path) -> None:
    """Other people's files and folders stay in a store that is deleted, and without them the folder goes too."""
    for folder in (tmp_path / "mixed", tmp_path / "pure"):
        swept(FolderStore(folder), Maker())
    own = [tmp_path / "mixed" / "thesis.txt", tmp_path / "mixed" / "notes.rows", tmp_path / "mixed" / "more" / "a.rows"]
    own[2].parent.mkdir()
    for path in own:
        path.write_text("precious")
    for folder in (tmp_path / "mixed", tmp_path / "pure"):
        FolderStore(folder).delete()
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(own)
    assert not (tmp_path / "pure").exists()


def test_one_process_deletes_the_rows_of_all_ranks(tmp_path: Path, monkeypatch: Any) -> None:
    """A run that goes on with one process leaves no rows of the ranks before it, and keeps a file beside them."""
    with monkeypatch.context() as group:
        group.setattr("torch.distributed.is_initialized", lambda: True)
        group.setattr("torch.distributed.get_world_size", lambda: 2)
        for rank in (0, 1):
            group.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
            swept(FolderStore(tmp_path / "store"), Maker())
    (tmp_path / "store" / "rank-1-of-2" / "notes.txt").write_text("precious")
    FolderStore(tmp_path / "store").delete()
    left = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()]
    assert left == ["store/rank-1-of-2/notes.txt"]
