"""Claims about index files: what is written is read back, and nothing else."""

import json
import stat
from pathlib import Path

import numpy as np
import pytest

from coreselect.errors import IndexFileError
from coreselect.io import index_file, read, read_indices, strict_json, write
from coreselect.types import Certificate, Diagnostics, Provenance, Selection

INDICES = np.array([7, 0, 3, 2**40])


ARRAYS = {
    "indices": np.array([6, 0, 2, 5]),
    "source_indices": INDICES,
    "groups": np.array([1, 1, 0, 0]),
    "gains": np.array([0.1, 1 / 3, -2.5e-300, -0.0]),
    "weights": np.array([np.nan, np.inf, -np.inf, 1.0]),
    "single": np.array([[0.1, 2.0]], np.float32),
    "flags": np.array([True, False]),
    "number": np.array(2**63 - 1),
    "none": np.zeros((0, 3)),
}


META = {
    "nested": True,
    "text": "∇ “quoted”\n\ud800",
    "$float": "a key of the caller's",
    "deep": [{"nan": float("nan"), "inf": float("inf"), "pi": 3.141592653589793, "big": 2**70, "none": None}, []],
}


def _same(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert (a[name].dtype, a[name].shape, a[name].tobytes()) == (b[name].dtype, b[name].shape, b[name].tobytes()), (
            name
        )


def _selection() -> Selection:
    return Selection(
        indices=np.array([4, 1]),
        source_indices=np.array([5, 1]),
        groups=np.array([0, 0]),
        gains=np.array([0.1, 0.1]),
        weights=None,
        scores=np.array([0.1, np.nan, 1.0, 0.0, 2.0, -1.0]),
        nested=False,
        certificate=Certificate("instance", 1.0, float("inf"), None, ("head only",), {"excess": 0.25}),
        diagnostics=Diagnostics(misclassified=0.5),
        provenance=Provenance(
            "rcs",
            {"eta": 0.01},
            2,
            6,
            0,
            1,
            {"torch": "2"},
            {"rows": 0.5},
            "n:3-ab",
            np.array([2]),
            "by indices",
            ("a note",),
        ),
    )


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_complete_formats_return_what_was_written(tmp_path: Path, suffix: str) -> None:
    """Every array is read back with its dtype, shape and bits, and meta with its infinities, in both complete formats."""
    path = tmp_path / f"a{suffix}"
    write(path, ARRAYS, META)
    arrays, meta = read(path)
    _same(arrays, ARRAYS)
    assert repr(meta) == repr(META)
    write(path, arrays, meta)
    _same(read(path)[0], ARRAYS)
    np.testing.assert_array_equal(read_indices(path), INDICES)


@pytest.mark.parametrize("suffix", index_file.ENDINGS)
def test_every_format_gives_the_source_indices(tmp_path: Path, suffix: str) -> None:
    """`read_indices` returns int64 source indices in pick order from each of the five formats, in upper or lower case."""
    for path in (tmp_path / f"a{suffix}", tmp_path / f"a{suffix.upper()}"):
        write(path, ARRAYS, META)
        found = read_indices(path)
        assert found.dtype == np.int64
        assert found.tolist() == INDICES.tolist()


@pytest.mark.parametrize("suffix", [".npy", ".txt", ".csv"])
def test_a_file_of_indices_is_not_a_selection(tmp_path: Path, suffix: str) -> None:
    """A file of indices only cannot be read as a selection; the message says what it holds and which formats are complete."""
    write(tmp_path / f"a{suffix}", ARRAYS, META)
    with pytest.raises(IndexFileError, match=r"indices only.*\.npz or \.json"):
        read(tmp_path / f"a{suffix}")


def test_plain_formats_are_what_other_programs_read(tmp_path: Path) -> None:
    """The csv has a column for each array, the text one index in each line, and numpy opens the arrays without pickle."""
    for suffix in index_file.ENDINGS:
        write(tmp_path / f"a{suffix}", ARRAYS, META)
    assert (tmp_path / "a.txt").read_text().split() == [str(i) for i in INDICES]
    head, *lines = (tmp_path / "a.csv").read_text().splitlines()
    assert head == "index,group,weight"
    assert [line.split(",")[0] for line in lines] == [str(i) for i in INDICES]
    assert lines[0] == "7,1,nan"
    assert np.load(tmp_path / "a.npy", allow_pickle=False).tolist() == INDICES.tolist()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert archive["source_indices"].tolist() == INDICES.tolist()
        assert json.loads(archive["meta"].tobytes())["format"] == "coreselect-index"


def test_json_is_strict(tmp_path: Path) -> None:
    """No NaN or Infinity literal is written, and none is accepted."""
    path = tmp_path / "a.json"
    write(path, ARRAYS, META)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    json.loads(path.read_text(), parse_constant=refuse)
    path.write_text(path.read_text().replace('{"$float":"nan"}', "NaN"))
    with pytest.raises(IndexFileError, match="NaN is not strict JSON"):
        read(path)


def test_equal_selections_are_equal_bytes(tmp_path: Path) -> None:
    """A file depends only on its content: not on the time, and its digest not on the order of the keys of meta."""
    write(tmp_path / "a.npz", ARRAYS, META)
    write(tmp_path / "b.npz", ARRAYS, META)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    ("arrays", "meta", "said"),
    [
        ({"source_indices": np.array([0]), "words": np.array(["a"])}, {}, "the array 'words' is <U1"),
        ({"source_indices": np.array([0]), "meta": np.array([0])}, {}, "cannot name an array"),
        ({"source_indices": np.array([0.5])}, {}, "source indices are"),
        ({"source_indices": np.zeros(0, np.int64)}, {}, "at least one integer"),
        ({"source_indices": np.array([3, 3])}, {}, "occurs twice"),
        ({"indices": np.array([0])}, {}, "no 'source_indices'"),
        ({"source_indices": np.array([0])}, {"a": {"b": [object()]}}, r"meta\.a\.b\[0\] is a object"),
        ({"source_indices": np.array([0])}, {"a": {1: 2}}, "JSON keys are strings"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, arrays: dict, meta: dict, said: str
) -> None:
    """The message names the array or the value, and no file is left."""
    with pytest.raises(IndexFileError, match=said):
        write(tmp_path / "a.npz", arrays, meta)
    assert not list(tmp_path.iterdir())


def test_files_keep_their_place_and_permissions(tmp_path: Path) -> None:
    """A missing folder is made, a symbolic link is followed, and a replaced file keeps its permissions."""
    path = tmp_path / "deep" / "er" / "a.txt"
    write(path, ARRAYS, {})
    path.chmod(0o640)
    link = tmp_path / "b.txt"
    link.symlink_to(path)
    write(link, {"source_indices": np.array([1])}, {})
    assert link.is_symlink()
    assert path.read_text() == "1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_conversion_keeps_all_that_the_target_can_hold(tmp_path: Path) -> None:
    """Complete formats convert without loss; files of indices convert to each other, and never to a complete file."""
    for suffix in (".npz", ".json", ".csv"):
        write(tmp_path / f"a{suffix}", ARRAYS, META)
    assert index_file.convert(tmp_path / "a.json", tmp_path / "b.npz").tolist() == INDICES.tolist()
    _same(read(tmp_path / "b.npz")[0], ARRAYS)
    assert repr(read(tmp_path / "b.npz")[1]) == repr(META)
    index_file.convert(tmp_path / "a.npz", tmp_path / "b.txt")
    index_file.convert(tmp_path / "a.csv", tmp_path / "c.txt")
    assert (tmp_path / "b.txt").read_bytes() == (tmp_path / "c.txt").read_bytes()
    with pytest.raises(IndexFileError, match="indices only"):
        index_file.convert(tmp_path / "a.csv", tmp_path / "c.npz")
    assert not (tmp_path / "c.npz").exists()


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_selection_is_read_back_completely(tmp_path: Path, suffix: str) -> None:
    """`Selection.save` and then `load` give equal arrays and equal records, and what was None is None."""
    selection = _selection()
    selection.save(tmp_path / f"a{suffix}")
    again = Selection.load(tmp_path / f"a{suffix}")
    for name in ("indices", "source_indices", "groups", "gains", "scores"):
        np.testing.assert_array_equal(getattr(again, name), getattr(selection, name))
    assert again.weights is None
    assert again.certificate == selection.certificate
    assert again.diagnostics == selection.diagnostics
    np.testing.assert_array_equal(again.provenance.validation_indices, [2])
    assert again.provenance.notes == ("a note",)
    assert strict_json.canonical(again.provenance.settings) == strict_json.canonical({"eta": 0.01})
