"""Claims about how selections of one pool compare: agreement by hand-worked values, the table, the picture."""

import io
import itertools
import json
import math
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import torch
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from coreselect.cli.inspect import inspect
from coreselect.cli.side_by_side import as_json, comparison
from coreselect.errors import DataError, IndexFileError, MissingExtraError, NonFiniteError, ShapeError
from coreselect.report.agreement import check_same_pool, concordance, overlap, pairs
from coreselect.types import Selection

APP = typer.Typer()
APP.command()(inspect)
LABELS = np.arange(60) % 10


def run(*arguments: object) -> Result:
    """Call the command as the terminal would."""
    return CliRunner().invoke(APP, [str(a) for a in arguments], env={"COLUMNS": "80"})


def picked(*indices: int, groups: list[int] | None = None, **changes: Any) -> Selection:
    """A selection of these positions of a pool of 50, with nothing held out."""
    k = len(indices)
    where = np.array(indices)
    return fakes.selection(
        n=50, k=k, held=0, indices=where, source_indices=where,
        groups=np.arange(k) if groups is None else np.array(groups), gains=np.zeros(k), **changes,
    )  # fmt: skip


def three() -> list[Selection]:
    """Selections of one pool of 50 out of 60, with different picks and sizes."""
    first = fakes.selection()
    left = np.setdiff1d(np.arange(60), first.provenance.validation_indices)  # type: ignore[arg-type]  # it has some
    out = [first]
    for seed, k in ((1, 20), (2, 9)):
        indices = np.random.default_rng(seed).permutation(50)[:k]
        out.append(fakes.selection(k=k, indices=indices, source_indices=left[indices], nested=False))
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An array folder of 60 images of 10 classes, and three index files a, b, c."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)
    np.save(tmp_path / "images_train.npy", pixels)
    np.save(tmp_path / "labels_train.npy", LABELS)
    for name, selection in zip("abc", three(), strict=True):
        selection.save(tmp_path / f"{name}.npz")
    return tmp_path


def test_overlap_is_counted_against_every_draw() -> None:
    """Of {0, 1, 2} and {2, 3} in 5, one is common: 1/3, 1/2, J = 1/4; chance is the mean over all 10 draws of two."""
    found = overlap(np.array([2, 0, 1]), np.array([3, 2]), 5)
    assert (found.common, found.first_in_second, found.second_in_first, found.jaccard) == (1, 1 / 3, 1 / 2, 1 / 4)
    counts = [len({0, 1, 2} & set(draw)) for draw in itertools.combinations(range(5), 2)]
    assert found.chance_common == pytest.approx(np.mean(counts))  # 6/5
    assert found.chance_spread == pytest.approx(np.std(counts))  # 3/5
    assert found.chance_jaccard == pytest.approx(np.mean([c / (5 - c) for c in counts]))
    assert (found.chance_first_in_second, found.chance_second_in_first) == (2 / 5, 3 / 5)
    assert found.deviations == pytest.approx(-1 / 3)


def test_overlap_at_its_ends() -> None:
    """Equal sets have J = 1, disjoint ones 0; for the whole pool chance agrees fully, and a pool of one works too."""
    same, apart = (overlap(np.arange(4), np.arange(4) + shift, 8) for shift in (0, 4))
    assert (same.jaccard, same.first_in_second, apart.jaccard, apart.common) == (1.0, 1.0, 0.0, 0)
    whole = overlap(np.arange(8), np.array([5]), 8)
    assert (whole.deviations, whole.chance_common, whole.jaccard, whole.chance_jaccard) == (None, 1.0, 1 / 8, 1 / 8)
    assert overlap(np.array([0]), np.array([0]), 1).deviations is None


def test_order_correlation_by_hand() -> None:
    """Common picks 1, 2, 3, 4 in places 0 1 2 3 and 1 0 2 3: ρ = 1 − 6·2/(4·15) = 0.8, τ = (5 − 1)/6."""
    found = concordance(picked(1, 9, 2, 3, 4), picked(2, 1, 30, 3, 4, 31))
    assert found.picks == 4
    assert found.spearman == pytest.approx(0.8)
    assert found.kendall == pytest.approx(2 / 3)
    assert found.spearman_spread == pytest.approx(1 / math.sqrt(3))
    orders = list(itertools.permutations(range(4)))
    taus = [sum(np.sign(o[j] - o[i]) for i, j in itertools.combinations(range(4), 2)) / 6 for o in orders]
    assert found.kendall_spread == pytest.approx(np.std(taus))
    assert concordance(picked(1, 2, 3), picked(3, 2, 1)).spearman == pytest.approx(-1)


def test_picks_of_one_group_share_a_place() -> None:
    """The order inside a group and the groups' numbers change nothing; one group, or two picks, have no order."""
    inside = picked(1, 2, 3, 4, groups=[9, 9, 0, 0])
    swapped = picked(2, 1, 4, 3, groups=[3, 3, 7, 7])
    assert concordance(inside, swapped).kendall == pytest.approx(1)
    assert concordance(inside, swapped).spearman == pytest.approx(1)
    alone = picked(1, 2, 3, 4, groups=[5, 5, 5, 5])
    assert (concordance(alone, inside).spearman, concordance(alone, inside).picks) == (None, 4)
    assert concordance(picked(1, 2), picked(2, 1)).kendall is None
    assert concordance(picked(1, 2), picked(3, 4)).picks == 0


def test_pairs_are_every_two_once() -> None:
    """Three selections have pairs 01, 02, 12, and swapping a pair swaps its shares."""
    found = pairs(three())
    assert [(p.first, p.second) for p in found] == [(0, 1), (0, 2), (1, 2)]
    back = pairs(three()[1::-1])[0].overlap
    assert (back.first_in_second, back.jaccard) == (found[0].overlap.second_in_first, found[0].overlap.jaccard)


def test_other_pools_are_refused() -> None:
    """Another size, another fingerprint, or another hold-out is refused, and the message names both files."""
    one = fakes.selection()
    check_same_pool([one, one], ["a", "b"])
    check_same_pool([one, replace(one, source_indices=one.indices)], ["a", "b"])  # one knows the pool alone
    size = replace(one, provenance=replace(one.provenance, pool_size=51))
    other = replace(one, provenance=replace(one.provenance, fingerprint="n:50-ff"))
    moved = replace(one, source_indices=one.source_indices[::-1])
    for wrong, words in ((size, "a pool of 51"), (other, "n:50-ff, a from n:50-0123"), (moved, "other validation")):
        with pytest.raises(IndexFileError, match=f"b was made from .*{words}.*: .*select both"):
            check_same_pool([one, wrong], ["a", "b"])


@pytest.mark.parametrize(("count", "width"), [(2, 80), (3, 80), (5, 80), (8, 80), (2, 120)])
def test_a_comparison_fits_the_width(count: int, width: int) -> None:
    """No line is longer than the terminal, none is cut, and every pair and every class is there."""
    some = [three()[i % 3] for i in range(count)]
    console = Console(width=width, record=True, file=io.StringIO())
    names = [f"[class] {i}" for i in range(10)]
    console.print(comparison(some, [f"{i}.npz" for i in range(count)], labels=LABELS, class_names=names))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for words in ("rcs · 12 of 50 (24%) · seed 3 · round 1", "A B", "1st in 2nd", "Kendall", "[class] 9", "not nested"):
        assert words in text, words


def test_large_numbers_stay_on_their_line() -> None:
    """With tens of thousands of picks of a million, a pair still fits one line of 80 columns; of 300 classes 20 are shown."""
    some = []
    for seed in range(2):
        one = fakes.selection(n=1_000_000, k=60_000, group=100, held=0, seed=seed)
        some.append(replace(one, indices=np.arange(60_000)[:: 1 - 2 * seed], source_indices=np.arange(60_000)))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(comparison(some, ["a.npz", "b.npz"], labels=np.arange(1_000_000) % 300))
    lines = console.export_text().splitlines()
    assert sum("A B" in line for line in lines) == 2
    assert any("60,000 3,600.0" in line and "1.000" in line for line in lines)
    assert any("the 20 of 300 classes whose shares differ most" in line for line in lines)
    assert len(lines) < 40


def test_json_of_several_is_strict_and_has_the_numbers(folder: Path) -> None:
    """It is plain JSON with every pair, every class and both orders; stdout holds nothing else."""
    result = run(folder / "a.npz", folder / "b.npz", folder / "c.npz", "--json", "--data", folder)
    assert result.exit_code == 0, result.output
    held = json.loads(result.stdout)
    assert [s["budget"] for s in held["selections"]] == [12, 20, 9]
    assert [sum(c["chosen"][i] for c in held["classes"]) for i in range(3)] == [12, 20, 9]
    assert sum(c["pool"] for c in held["classes"]) == 50
    common = len(set(three()[0].indices) & set(three()[1].indices))
    assert held["pairs"][0]["overlap"]["common"] == held["pairs"][0]["order"]["picks"] == common
    assert held["pairs"][0]["overlap"]["chance_common"] == 12 * 20 / 50
    assert as_json(three(), ["a", "b", "c"])["classes"] is None


def test_several_are_compared_and_one_is_shown(folder: Path) -> None:
    """One file is shown as before; another pool is refused; options that do not fit together are wrong usage."""
    assert "rcs chose 12 of 50" in run(folder / "a.npz").stdout
    assert "Jaccard" in run(folder / "a.npz", folder / "b.npz").stdout
    fakes.selection(n=61).save(folder / "d.npz")
    assert isinstance(run(folder / "a.npz", folder / "d.npz").exception, IndexFileError)
    png, table = folder / "p.png", folder / "images_train.npy"
    for arguments in (
        ["a.npz", "b.npz", "--picture", png],
        ["a.npz", "b.npz", "--features", table],
        ["a.npz", "--features", table, "--data", folder, "--picture", png],
        ["a.npz"] * 27,
        [],
    ):
        called = [folder / a if str(a).endswith(".npz") else a for a in arguments]
        assert run(*called).exit_code == 2, arguments
    assert not png.exists()


def test_features_that_do_not_fit_are_refused(folder: Path) -> None:
    """Another length, integers, NaN, an archive and a missing array are refused, and no picture is left."""
    png = folder / "p.png"
    broken = np.ones((50, 3))
    broken[4] = np.nan
    (folder / "words.npy").write_text("no array")
    np.savez(folder / "many.npz", x=np.ones((50, 3)))
    for name, table in (("long", np.ones((59, 3))), ("whole", np.ones((50, 3), int)), ("nan", broken)):
        np.save(folder / f"{name}.npy", table)
    for name, kind in (
        ("long.npy", IndexFileError), ("whole.npy", ShapeError), ("nan.npy", NonFiniteError),
        ("words.npy", DataError), ("many.npz", DataError), ("none.npy", DataError),
    ):  # fmt: skip
        result = run(folder / "a.npz", folder / "b.npz", "--features", folder / name, "--picture", png)
        assert isinstance(result.exception, kind), (name, result.exception)
    assert not png.exists()


def test_the_picture_says_what_was_projected(folder: Path) -> None:
    """Features of the pool or of the dataset, or else pixels, give a PNG and a line on stderr; no random state moves."""
    pytest.importorskip("matplotlib", reason="pictures need coreselect[plot]")
    rng = np.random.default_rng(0)
    np.save(folder / "pool.npy", rng.normal(size=(50, 6)).astype(np.float16))
    np.save(folder / "dataset.npy", rng.normal(size=(60, 6)))
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]  # legacy tuple
    files = [folder / f"{name}.npz" for name in "abc"]
    drawn = []
    for of, words in (
        (["--features", folder / "pool.npy"], "pool.npy [50 × 6]"),
        (["--features", folder / "dataset.npy"], "dataset.npy [60 × 6]"),
        (["--data", folder], "flattened images' pixels"),
    ):
        for _ in range(2):
            result = run(*files, *of, "--picture", folder / "p.png")
            assert result.exit_code == 0, result.output
            assert f"projected {words}" in " ".join(result.stderr.replace("the flat", "flat").split())
            drawn.append((folder / "p.png").read_bytes())
    assert drawn[0].startswith(b"\x89PNG")
    assert drawn[::2] == drawn[1::2]
    assert len(set(drawn)) == 3
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]  # legacy tuple
    assert torch.equal(torch.get_rng_state(), before[2])


def test_pictures_need_the_extra_and_images_of_one_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matplotlib the refusal names the extra; images of several sizes have no common pixels."""
    pytest.importorskip("matplotlib", reason="pictures need coreselect[plot]")
    (folder / "odd.py").write_text(
        "import torch\n\ndef make():\n    return [(torch.zeros(1, 4, 4 + i % 2), 0) for i in range(60)]\n"
    )
    files = [folder / "a.npz", folder / "b.npz", "--picture", folder / "p.png", "--data"]
    odd = run(*files, f"{folder / 'odd.py'}:make").exception
    assert isinstance(odd, DataError)
    assert "several sizes" in str(odd)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert isinstance(run(*files, folder).exception, MissingExtraError)
