"""Claims about streams: a filter by keys keeps the chosen samples, with WebDataset and torchdata too."""

import pickle
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import framework_runs as runs
import pytest
from torch.utils.data import DataLoader

from coreselect import Selection, select
from coreselect.errors import DataError
from coreselect_integrations.frameworks.streams import Chosen, ChosenKeys

KEYS = [f"{n:04d}" for n in range(runs.N)]


@pytest.fixture(scope="module")
def selection(tmp_path_factory: pytest.TempPathFactory) -> Selection:
    """A selection that was saved and read again."""
    order = runs.sampler(runs.network(), runs.data(), "random")
    file = tmp_path_factory.mktemp("index") / "coreset.npz"
    select(order.task, order.selector, runs.K).save(file)
    return Selection.load(file)


def stream() -> list[dict[str, Any]]:
    """Samples in the form of WebDataset."""
    return [{"__key__": key, "cls": n} for n, key in enumerate(KEYS)]


def test_a_filter_keeps_the_chosen_samples_in_the_order_of_the_stream(selection: Selection) -> None:
    """Positions of an index file become keys; the stream keeps these, in its order, through a loader and a pickle."""
    chosen = pickle.loads(pickle.dumps(ChosenKeys.of(selection, KEYS)))
    loader = DataLoader(Chosen(stream(), chosen), batch_size=None)
    assert [sample["cls"] for sample in loader] == sorted(selection.indices.tolist())


def test_webdataset_selects_by_it(selection: Selection, tmp_path: Path) -> None:
    """The predicate is what `WebDataset.select` takes."""
    wds = pytest.importorskip("webdataset", reason="webdataset is not installed")
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        for n, key in enumerate(KEYS):
            info = tarfile.TarInfo(f"{key}.cls")
            info.size = len(str(n))
            tar.addfile(info, BytesIO(str(n).encode()))
    kept = (
        wds.WebDataset(str(tmp_path / "train.tar"), shardshuffle=False).select(ChosenKeys.of(selection, KEYS)).decode()
    )
    assert [sample["cls"] for sample in kept] == sorted(selection.indices.tolist())


def test_torchdata_reads_what_it_keeps(selection: Selection) -> None:
    """A node over the kept samples yields them."""
    nodes = pytest.importorskip("torchdata.nodes", reason="torchdata is not installed")
    node = nodes.IterableWrapper(Chosen(stream(), ChosenKeys.of(selection, KEYS)))
    assert [sample["cls"] for sample in nodes.Loader(node)] == sorted(selection.indices.tolist())


def test_wrong_keys_are_refused(selection: Selection) -> None:
    """Too few keys, equal ones, none, and samples without a key: one sentence each."""
    with pytest.raises(DataError, match="96 examples, and 95 keys"):
        ChosenKeys.of(selection, KEYS[1:])
    with pytest.raises(DataError, match="96 keys were given, 1 of them different"):
        ChosenKeys.of(selection, ["a"] * runs.N)
    with pytest.raises(DataError, match="got b more than once"):
        ChosenKeys(["a", "b", "b"])
    with pytest.raises(DataError, match="no key was chosen"):
        ChosenKeys([])
    for sample in ((1, 2), {"key": "a"}, 3):
        with pytest.raises(DataError, match="no key '__key__'"):
            list(Chosen([sample], ChosenKeys(["a"])))
