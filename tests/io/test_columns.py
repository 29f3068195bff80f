"""Index files that other programs read: paths, keys, labels, groups and weights of the picks, in tables and lists."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from torch.utils.data import Subset
from typer.testing import CliRunner

import coreselect
from coreselect import Selection
from coreselect.cli.app import build
from coreselect.cli.convert import COLUMNS
from coreselect.data.picked import files_at, labels_at
from coreselect.errors import DataError, IndexFileError
from coreselect.io import columns
from coreselect.io.index_file import convert

NAMES = ("a, b/x.png", 'q"uote.png', "ü/é.tar.gz", "line\nbreak.png", " space .png", ".hidden", "d.x/y", "z.png")


class Files:
    """A dataset in the form of torchvision's: items are never read."""

    root = Path("data")
    classes = ("cat", "dog")

    def __init__(self, n: int = 60) -> None:
        self.samples = [(f"data/{'cat' if i % 2 else 'dog'}/{i:03}.png", i % 2) for i in range(n)]
        self.targets = [label for _, label in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("an item was read")


def described(**changes: Any) -> Selection:
    """A selection of files, with weights."""
    made = fakes.selection(**changes)
    return replace(made.described(Files()), weights=np.linspace(0.1, 2, len(made)))


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_complete_files_keep_labels_and_files(suffix: str, tmp_path: Path) -> None:
    """What `described` has read from the dataset is read back; a selection without it stays without."""
    one = described()
    one.save(tmp_path / f"a{suffix}")
    again = Selection.load(tmp_path / f"a{suffix}")
    assert again.files == tuple(f"{'cat' if i % 2 else 'dog'}/{i:03}.png" for i in one.source_indices)
    np.testing.assert_array_equal(again.labels, one.source_indices % 2)
    fakes.selection().save(tmp_path / f"b{suffix}")
    assert (Selection.load(tmp_path / f"b{suffix}").files, Selection.load(tmp_path / f"b{suffix}").labels) == (
        None,
        None,
    )


def test_files_that_are_not_of_the_picks_are_refused(tmp_path: Path) -> None:
    """Another number of paths than of picks is a damaged file."""
    replace(described(), files=("a.png",)).save(tmp_path / "a.npz")
    with pytest.raises(IndexFileError, match="files are not 12 paths"):
        Selection.load(tmp_path / "a.npz")


def test_a_table_has_a_line_for_each_pick(tmp_path: Path) -> None:
    """Any program that reads csv finds the columns, and exact weights."""
    one = described()
    one.save(tmp_path / "a.csv")
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "path", "label", "group", "weight"]
    assert one.files is not None
    assert [row["path"] for row in rows] == list(one.files)
    assert [float(row["weight"]) for row in rows] == np.asarray(one.weights).tolist()
    assert [int(row["group"]) for row in rows] == one.groups.tolist()


@pytest.mark.parametrize("suffix", [".npz", ".json", ".npy", ".txt", ".csv"])
def test_the_indices_of_every_format_are_read_by_one_public_function(suffix: str, tmp_path: Path) -> None:
    """`coreselect.read_indices` gives the source indices, with any names of files in a table."""
    one = replace(fakes.selection(k=8), files=NAMES)
    one.save(tmp_path / f"a{suffix}")
    assert coreselect.read_indices(tmp_path / f"a{suffix}").tolist() == one.source_indices.tolist()


def test_a_table_of_others_is_read_by_its_column(tmp_path: Path) -> None:
    """The order of columns and spaces in the head do not matter; what is no table of indices is refused."""
    (tmp_path / "a.csv").write_text("name, index\nx,3\ny,1\n")
    assert coreselect.read_indices(tmp_path / "a.csv").tolist() == [3, 1]
    for text, said in (
        ("name\nx\n", "no column `index`"),
        ("name,index\nx\n", "line 2 has 1 columns"),
        ("index\n1.5\n", "'1.5' is not an index"),
        ("index\n³\n", "'³' is not an index"),
        ("index\n1", "cut short"),
    ):
        (tmp_path / "a.csv").write_text(text, encoding="utf-8")
        with pytest.raises(IndexFileError, match=said):
            coreselect.read_indices(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "line"), [("index", "{i}"), ("path", "{kind}/{i:03}.png"), ("key", "{kind}/{i:03}"), ("label", "{label}")]
)
def test_a_list_holds_one_column(name: str, line: str, tmp_path: Path) -> None:
    """Paths for file lists, keys for WebDataset, indices for FFCV: one in each line, in pick order."""
    one = described()
    one.save(tmp_path / "a.npz")
    convert(tmp_path / "a.npz", tmp_path / "a.txt", column=name)
    at = one.source_indices.tolist()
    expected = [line.format(i=i, kind="cat" if i % 2 else "dog", label=i % 2) for i in at]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8").splitlines() == expected


def test_what_a_list_cannot_hold_is_refused(tmp_path: Path) -> None:
    """A column that the selection lacks, a column in another format, a path of two lines; a list of paths holds no indices."""
    fakes.selection().save(tmp_path / "a.npz")
    replace(fakes.selection(k=8), files=NAMES).save(tmp_path / "b.npz")
    for source, target, name, said in (
        ("a.npz", "a.txt", "path", "no column 'path'"),
        ("b.npz", "b.csv", "path", r"goes into a \.txt file"),
        ("b.npz", "b.npz", "path", r"goes into a \.txt file"),
        ("b.npz", "b.txt", "path", "a line break in it"),
    ):
        with pytest.raises(IndexFileError, match=said):
            convert(tmp_path / source, tmp_path / target, column=name)
    described().save(tmp_path / "c.npz")
    convert(tmp_path / "c.npz", tmp_path / "c.txt", column="path")
    with pytest.raises(IndexFileError, match="is not an index"):
        coreselect.read_indices(tmp_path / "c.txt")


def test_a_key_is_the_path_up_to_the_first_dot_of_its_name() -> None:
    """As WebDataset names samples; a folder keeps its dots, and a name that begins with a dot keeps that one."""
    found = [columns.key_of(name) for name in NAMES]
    assert found == ["a, b/x", 'q"uote', "ü/é", "line\nbreak", " space ", ".hidden", "d.x/y", "z"]


def test_a_dataset_says_where_its_items_are() -> None:
    """Subsets point into their dataset; a file outside the root keeps its path; arrays have no files."""
    part = Subset(Files(), [5, 4, 3])  # type: ignore[arg-type]  # a map-style dataset without the base class
    assert files_at(part, np.array([2, 0])) == ("cat/003.png", "cat/005.png")
    assert labels_at(part, np.array([1])).tolist() == [0]  # type: ignore[union-attr]  # it lists labels
    elsewhere = Files()
    elsewhere.root = Path("other")
    assert files_at(elsewhere, np.array([1])) == ("data/cat/001.png",)
    assert files_at([1, 2, 3], np.array([0])) is None
    with pytest.raises(DataError, match="position 60 is outside"):
        files_at(Files(60), np.array([60]))


def test_convert_says_what_it_wrote(tmp_path: Path) -> None:
    """`convert --json` is a record on stdout; --column is for lists; its names are those of the library."""
    described().save(tmp_path / "a.npz")
    runner = CliRunner()
    got = runner.invoke(build(), ["convert", str(tmp_path / "a.npz"), str(tmp_path / "a.csv"), "--json"])
    assert json.loads(got.stdout) == {
        "source": str(tmp_path / "a.npz"), "target": str(tmp_path / "a.csv"), "indices": 12,
        "columns": ["index", "path", "label", "group", "weight"],
    }  # fmt: skip
    for words in (["a.csv", "--column", "path"], ["a.txt", "--column", "size"]):
        assert runner.invoke(build(), ["convert", str(tmp_path / "a.npz"), *words]).exit_code == 2
    assert columns.COLUMNS == COLUMNS
