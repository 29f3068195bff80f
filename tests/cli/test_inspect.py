"""Claims about what a selection looks like on the terminal, and about converting its file."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from coreselect.cli.convert import convert
from coreselect.cli.inspect import inspect
from coreselect.cli.plain_values import as_json
from coreselect.cli.show import summary
from coreselect.data import load
from coreselect.errors import CoreselectError, DataError, IndexFileError, ShapeError
from coreselect.io import fingerprint, read_indices
from coreselect.report.summary import balance, check_length, group_gains, pool_positions, same_data
from coreselect.types import Certificate, Diagnostics, Selection

APP = typer.Typer()
APP.command()(inspect)
APP.command()(convert)
LABELS = np.arange(60) % 10


def run(*arguments: object) -> Result:
    """Call a command as the terminal would."""
    return CliRunner().invoke(APP, [str(a) for a in arguments], env={"COLUMNS": "80"})


def printed(selection: Selection, width: int = 80, **settings: Any) -> str:
    """Print a summary into a text of the given width."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(summary(selection, **settings))
    return console.export_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An array folder of 60 images of 10 classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "images_train.npy", pixels)
    np.save(tmp_path / "labels_train.npy", LABELS)
    (tmp_path / "class_names.txt").write_text("\n".join(f"[class] {i}" for i in range(10)))
    return tmp_path


def test_group_gains_are_sums_in_pick_order() -> None:
    """A group's gain is the sum over its picks, groups in the order of their first pick, whatever their numbers."""
    selection = fakes.selection(k=5, groups=np.array([7, 7, 2, 7, 2]), gains=np.array([1.0, 2.0, 10.0, 4.0, 20.0]))
    assert group_gains(selection).tolist() == [7.0, 30.0]


def test_balance_counts_the_pool_without_validation() -> None:
    """Chosen counts are those of the picks, pool counts those of all examples that were not held out."""
    selection = fakes.selection()
    counts = balance(selection, LABELS, [f"c{i}" for i in range(10)])
    assert counts.names == tuple(f"c{i}" for i in range(10))
    assert counts.chosen.tolist() == np.bincount(LABELS[selection.source_indices], minlength=10).tolist()
    left = np.delete(LABELS, selection.provenance.validation_indices)  # type: ignore[arg-type]  # it has some
    assert counts.pool.tolist() == np.bincount(left, minlength=10).tolist()
    assert balance(selection, LABELS - 1, ["too", "few"]).names == tuple(str(i) for i in range(-1, 9))
    with pytest.raises(ShapeError, match="float64"):
        balance(selection, LABELS * 0.5)  # type: ignore[arg-type]
    with pytest.raises(IndexFileError, match=r"picks position \d+, and the dataset has 20"):
        balance(selection, LABELS[:20])


def test_the_dataset_must_have_the_length_that_was_selected_from() -> None:
    """Accepted are pool and held-out examples together, the pool alone where positions agree, or any length that is enough."""
    selection = fakes.selection()  # 50 of 60 are the pool
    check_length(selection, 60, "x")
    for n in (50, 59, 61):
        with pytest.raises(IndexFileError, match=rf"made from 60 examples \(a pool of 50\), x has {n}"):
            check_length(selection, n, "x")
    apart = replace(selection, source_indices=selection.indices)  # validation from elsewhere
    for n in (50, 60):
        check_length(apart, n, "x")
    unknown = replace(selection, provenance=replace(selection.provenance, validation_indices=None))
    check_length(unknown, 1000, "x")
    with pytest.raises(IndexFileError, match="made from at least"):
        check_length(unknown, 49, "x")
    assert len(pool_positions(selection, 60)) == 50


def test_other_data_are_noticed(folder: Path) -> None:
    """The fingerprint of the pool recognises other data; it is not used where the order of the pool is unknown."""
    data = load(str(folder))
    selection = fakes.selection()
    assert same_data(selection, data) is False
    pool = [data[i] for i in pool_positions(selection, 60)]
    known = replace(selection, provenance=replace(selection.provenance, fingerprint=fingerprint(pool)))  # type: ignore[arg-type]
    assert same_data(known, data) is True
    assert same_data(replace(known, source_indices=known.source_indices[::-1]), data) is None


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_summary_says_everything_within_the_width(width: int) -> None:
    """No line is longer than the terminal, and nothing of the record is left out."""
    text = printed(fakes.selection(), width, labels=LABELS, class_names=[f"class {i}" for i in range(10)])
    assert max(map(len, text.splitlines())) <= width
    for words in (
        "rcs chose 12 of 50 examples (24%)", "4 groups of 3", "class 9", "in pool", "4 groups in pick order",
        "instance", "ratio 0.8", "assumes attacked inputs held", "assumes whole groups", "excess 0.0001",
        "opposes the pool's mean gradient", "query pool cosine -0.5", "1.75 s", "seed 3 · round 1",
        "objective = RD(divergence=kl)", "n:50-0123", "10 examples, disjoint by indices", "torch 2.13.0",
        "group_size 3 from",
    ):  # fmt: skip
        assert words in " ".join(text.split()), words


def test_a_summary_of_little_is_short() -> None:
    """What is not known is shown as none, and there is no class table."""
    bare = fakes.selection(gains=np.zeros(12), certificate=None, diagnostics=None, weights=np.ones(12), nested=False)
    text = printed(bare)
    for words in ("no gains", "not looked for", "prefixes are not coresets", "weights 1 to 1"):
        assert words in text
    assert "in pool" not in text
    assert "no sign of it" in printed(replace(bare, diagnostics=Diagnostics(query_pool_cosine=0.5)))
    assert "not looked for" in printed(replace(bare, diagnostics=Diagnostics()))
    unbounded = Certificate("paper", 1.0, None, None, ("sigma = 1",))
    assert "no upper bound · no ratio" in printed(replace(bare, certificate=unbounded))


def test_names_are_words_not_markup() -> None:
    """Class names in brackets and long ones are printed as they are, cut at the column."""
    text = printed(fakes.selection(), labels=LABELS, class_names=["[red]", "[/]", "x" * 40, *"defghij"])
    assert "[red]" in text
    assert "[/]" in text
    assert "xxx…" in text


def test_many_classes_and_groups_stay_on_a_page() -> None:
    """With 300 classes and 3,000 groups, the extremes and a curve of means are shown on fewer than 60 lines."""
    selection = fakes.selection(n=20_000, k=6000, group=2, held=100)
    gains = selection.gains.copy()
    gains[-2:] = -1e-3
    text = printed(replace(selection, gains=gains), labels=np.arange(20_000) % 300)
    assert len(text.splitlines()) < 60
    assert "… 290 between" in text
    assert "3,000 groups in pick order, 50 or so to a bar" in text
    assert "; 1 negative" in text


def test_json_is_strict_and_complete() -> None:
    """`as_json` has every pick and every record as plain values, and None in place of what is not finite."""
    selection = fakes.selection(certificate=Certificate("paper", 1.0, math.inf, None, ("a",), {"x": math.nan}))
    held = json.loads(json.dumps(as_json(selection, labels=LABELS), allow_nan=False))
    assert held["source_indices"] == selection.source_indices.tolist()
    assert held["gains"] == selection.gains.tolist()
    assert (held["certificate"]["upper_bound"], held["certificate"]["details"]) == (None, {"x": None})
    assert sum(c["chosen"] for c in held["classes"]) == 12
    assert held["provenance"]["validation_indices"] == selection.provenance.validation_indices.tolist()  # type: ignore[union-attr]
    assert held["trouble"][0].startswith("the objective's gradient")
    assert as_json(selection)["classes"] is None


def test_inspect_prints_results_on_stdout_and_talk_on_stderr(folder: Path) -> None:
    """The summary and the JSON are all of stdout; a note about other data goes to stderr."""
    fakes.selection().save(folder / "a.npz")
    plain = run("inspect", folder / "a.npz")
    assert plain.exit_code == 0
    assert "rcs chose 12 of 50" in plain.stdout
    assert plain.stderr == ""
    result = run("inspect", folder / "a.npz", "--data", folder, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["classes"][0]["name"] == "[class] 0"
    assert "fingerprint of the pool differs" in " ".join(result.stderr.split())


def test_inspect_refuses_what_does_not_fit(folder: Path) -> None:
    """Another length, missing data and a file of indices alone are refused; an option without its partner is wrong usage."""
    fakes.selection().save(folder / "a.npz")
    fakes.selection().save(folder / "a.txt")
    for arguments, kind in (
        (("--data", folder, "--rows", 59), IndexFileError),
        (("--data", folder / "none"), DataError),
        (("--data", folder, "--resize", "box"), DataError),
    ):
        assert isinstance(run("inspect", folder / "a.npz", *arguments).exception, kind)
    assert isinstance(run("inspect", folder / "a.txt").exception, IndexFileError)
    assert isinstance(run("inspect", folder / "none.npz").exception, CoreselectError)
    for arguments in (("--gallery", folder / "a.png"), ("--rows", 5), ("--nothing",)):
        assert run("inspect", folder / "a.npz", *arguments).exit_code == 2


def test_inspect_draws_a_gallery(folder: Path) -> None:
    """`--gallery` writes the picture and says so on stderr."""
    pytest.importorskip("matplotlib", reason="galleries need coreselect[plot]")
    fakes.selection().save(folder / "a.json")
    result = run("inspect", folder / "a.json", "--data", folder, "--gallery", folder / "a.png")
    assert result.exit_code == 0
    assert (folder / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "a.png" in "".join(result.stderr.split())


def test_convert_writes_the_other_format(folder: Path) -> None:
    """Complete to complete keeps everything, complete to plain the indices; stdout stays empty."""
    selection = fakes.selection()
    selection.save(folder / "a.npz")
    result = run("convert", folder / "a.npz", folder / "a.json")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "12 indices (everything)" in result.stderr
    assert as_json(Selection.load(folder / "a.json")) == as_json(selection)
    assert "(columns index, group)" in run("convert", folder / "a.json", folder / "a.csv").stderr
    assert "only positions" in run("convert", folder / "a.json", folder / "a.npy").stderr
    assert read_indices(folder / "a.csv").tolist() == selection.source_indices.tolist()
    assert isinstance(run("convert", folder / "a.csv", folder / "b.npz").exception, IndexFileError)
    assert isinstance(run("convert", folder / "a.npz", folder / "b.pt").exception, IndexFileError)
    assert run("convert", folder / "a.npz").exit_code == 2


def test_texts_of_a_file_cannot_steer_the_terminal(folder: Path, tmp_path: Path) -> None:
    """Control characters in class names, and in what an index file says of itself, are shown as codes, by one file and by two."""
    evil = "\x1b[31m\x9b2J\u202eabc\x00\r"
    (folder / "class_names.txt").write_text("\n".join(f"{i}\x1b[2J" for i in range(10)))
    made = fakes.selection()
    known = replace(made.provenance, selector=evil, notes=(evil,), settings={evil: evil}, versions={evil: "1"})
    files = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for file in files:
        replace(made, provenance=known).save(file)
    for words in (files[:1], [*files, "--data", folder], [files[0], "--data", folder]):
        got = run("inspect", *words)
        assert got.exit_code == 0, got.output
        assert "\\u001b[31m" in got.output
        assert not [c for c in got.output if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160 or c == "\u202e")]
