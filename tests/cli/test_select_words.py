"""`coreselect select --selector` takes a method in words, as `train` and `compare` do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from coreselect import Selection, Task, get_selector
from coreselect import select as choose
from coreselect.cli.app import build
from coreselect.errors import CoreselectError
from coreselect.selectors import Mixture


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "200"})


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Features of 60 examples in 3 classes, as files."""
    np.save(tmp_path / "f.npy", np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32))
    np.save(tmp_path / "y.npy", np.arange(60) % 3)
    return tmp_path


def chosen(place: Path, words: str, *more: object) -> Selection:
    """Return what the command chooses."""
    own = ("--features", place / "f.npy", "--labels", place / "y.npy", "--count", 12, "--seed", 3)
    got = command("select", *own, "--selector", words, "--out", place / "c.npz", *more)
    assert got.exit_code == 0, got.output + str(got.exception)
    return Selection.load(place / "c.npz")


def test_words_set_what_python_sets(features: Path) -> None:
    """Settings, mixtures and balanced draws choose what the same selector chooses from Python."""
    task = Task.from_arrays(features=np.load(features / "f.npy"), labels=np.load(features / "y.npy"))
    for words, selector in (
        ("semdedup:keep=easy:clusters=2", get_selector("semdedup", keep="easy", clusters=2)),
        ("k_center+random", Mixture([get_selector("k_center"), get_selector("random")])),
    ):
        want = choose(task, selector, 12, 3)
        assert np.array_equal(chosen(features, words).indices, want.indices)
    classes = np.load(features / "y.npy")[chosen(features, "rs2:balance=labels").indices]
    assert np.bincount(classes).tolist() == [4, 4, 4]


def test_words_win_over_options(features: Path) -> None:
    """An option gives what the words leave out."""
    rng = np.random.default_rng(1)
    np.save(features / "g.npy", rng.normal(size=(60, 4)).astype(np.float32))
    np.save(features / "v.npy", rng.normal(size=4).astype(np.float32))
    arrays = ("--gradients", features / "g.npy", "--validation-gradient", features / "v.npy")
    made = chosen(features, "rcs:eta=0.5", *arrays, "--eta", 0.25, "--group-size", 3).provenance.settings
    assert (made["eta"], made["group_size"]) == (0.5, 3)


def test_a_selection_in_words_is_chosen_again_and_several_get_files_of_their_own(features: Path) -> None:
    """The words are in the file; characters that a file name cannot have are replaced."""
    chosen(features, "semdedup:keep=easy:clusters=2")
    again = command("rerun", features / "c.npz")
    assert again.exit_code == 0, again.output + str(again.exception)
    several = ("--selectors", "k_center,semdedup:clusters=2", "--out", features / "both")
    got = command("select", "--features", features / "f.npy", "--count", 5, *several, "--json")
    assert got.exit_code == 0, got.output
    assert json.loads(got.stdout)
    assert sorted(p.name for p in (features / "both").iterdir()) == ["k_center.npz", "semdedup_clusters=2.npz"]


@pytest.mark.parametrize(
    ("words", "more", "said"),
    [
        ("rcs:capture=all", (), "sets capture, which is an option of select: give --capture"),
        ("rs2:filter=0.5:side=true", (), "'train', 'compare' and 'race' do"),
        ("rs2:balance=labels", ("--balance", "labels"), "an option divides the pool too"),
        ("k_center:window=20", ("--window", "20"), "an option divides the pool too"),
        ("k_center:colour=red", (), "'k_center' has no setting 'colour'"),
        ("craig:target", (), "write key=value after the name and a colon"),
        ("craig:target=test", (), "target"),
        ("per_class", (), "combines other selectors"),
        ("kcenter", (), "no selector is called 'kcenter'"),
        ("rcs:divergence=js", ("--objective", "adversarial_ce"), "has no divergence 'js'"),
        ("rcs:objective=adversarial_ce", ("--divergence", "js"), "has no divergence 'js'"),
        ("rs2:balance=labels:weighted=no", (), "weighted is true or false"),
        ("rs2:filter=0.5:side=no", (), "side is true or false"),
        ("rs2:filter=null", (), "the share of each class that is kept"),
    ],
)
def test_words_that_select_cannot_use_are_refused(words: str, more: tuple[str, ...], said: str, features: Path) -> None:
    """One sentence says which word, and where it belongs; what contradicts an option is refused, and none is lost."""
    own = ("--features", features / "f.npy", "--labels", features / "y.npy", "--count", 12, "--out", features / "c.npz")
    got = command("select", *own, "--selector", words, *more)
    assert isinstance(got.exception, CoreselectError), got.output
    assert said in str(got.exception)
    assert not (features / "c.npz").exists()


@pytest.mark.parametrize("names", ["rcs:eta=0.05,rcs:eta= 0.05", "semdedup:clusters=2,SEMDEDUP:clusters=2"])
def test_two_methods_never_share_a_file(names: str, features: Path) -> None:
    """Names that a file system could take for one are refused before any work."""
    several = ("--selectors", names, "--out", features / "both")
    got = command("select", "--features", features / "f.npy", "--count", 5, *several)
    assert got.exit_code == 2
    assert "would be one file" in " ".join(got.output.replace("│", " ").split()) or "each method once" in got.output
    assert not (features / "both").exists()


def test_an_option_of_the_objective_is_kept_beside_words(features: Path) -> None:
    """A divergence by option serves an objective in words."""
    from coreselect.cli.options import RcsOptions
    from coreselect.cli.select_method import make_selector
    from coreselect.cli.select_options import MethodOptions

    made: Any = make_selector("rcs:objective=rd", MethodOptions(divergence="js"), RcsOptions(eta=0.1), 0.1)
    assert made.objective.divergence == "js"
