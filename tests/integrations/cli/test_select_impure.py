"""`--pool` and `--validation-data` of `select`: positions in the data as they are, what is recorded, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from coreselect import Selection
from coreselect.budget import count_or_share
from coreselect.cli.app import build
from coreselect.data import labels_of, load
from coreselect.data.conditions import Conditions
from coreselect.data.subsets import holdout, origin
from coreselect.errors import DataError, RequirementError, StoreError
from coreselect.io.fingerprint import fingerprint
from coreselect_integrations.pretraining.division import Division

pytest.importorskip("sklearn", reason="digits come with scikit-learn")
WORDS = "tail=5,labels-wrong=0.4"
SELECT = ("select", "--rows", 200, "--selector", "rs2", "--fraction", 0.3, "--warmup-epochs", 0, "--seed", 3)


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80"})


def test_picks_are_positions_in_the_clean_data(tmp_path: Path) -> None:
    """The pool is that of `train` with the same words and seed; the file has positions, given labels, conditions and shares."""
    out = tmp_path / "c.npz"
    got = command(*SELECT, "--pool", WORDS, "--validation", 20, "--out", out)
    assert got.exit_code == 0, got.output
    made = Selection.load(out)
    clean = load("digits", "train", 200)
    pool, _ = Division(Conditions.parse(WORDS)).split(clean, 20, 3)
    assert made.provenance.fingerprint == fingerprint(pool)
    assert made.source_indices.tolist() == origin(pool)[1][made.indices].tolist()
    held = holdout(clean, count_or_share(20), 3)[1].indices
    assert made.provenance.validation_indices is not None
    assert made.provenance.validation_indices.tolist() == list(held)
    assert not set(made.source_indices.tolist()) & set(held)
    told = made.provenance.command
    assert told["conditions"] == {**told["conditions"], "tail": 5.0, "labels_wrong": 0.4, "seed": 3}
    assert told["picks"] == pool.truth.shares(made.indices)
    true = labels_of(clean)
    assert true is not None
    assert made.labels is not None
    assert made.labels.tolist() == pool.targets[made.indices].tolist()
    assert (made.labels != true[made.source_indices]).mean() == pytest.approx(told["picks"]["wrong"])
    assert any("impure on purpose" in note for note in made.provenance.notes)
    assert f"picks: wrong {100 * told['picks']['wrong']:.1f} % (39.6 % of the pool), rare" in got.stdout


def test_another_method_and_json_have_the_same_pool(tmp_path: Path) -> None:
    """A method that reads gradients works in it; `--json` has conditions and shares, and class counts of the impure pool."""
    words = ("--pool", WORDS, "--validation", 20, "--attack-steps", 1, "--selector", "craig")
    got = command(*SELECT, *words, "--out", tmp_path / "a.npz", "--json")
    assert got.exit_code == 0, got.output
    told = json.loads(got.stdout)
    assert told["selector"] == "craig"
    assert told["pool_picks"]["wrong"] == pytest.approx(0.4, abs=0.01)
    assert sum(c["pool"] for c in told["classes"]) == told["pool_size"]
    assert sum(c["chosen"] for c in told["classes"]) == told["budget"]


def test_rerun_makes_the_same_pool(tmp_path: Path) -> None:
    """The conditions and their seed are those of the file, and `inspect` reads it beside the clean data."""
    out = tmp_path / "c.npz"
    assert command(*SELECT, "--pool", WORDS, "--validation", 20, "--out", out).exit_code == 0
    again = command("rerun", out, "--out", tmp_path / "again.npz", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["same"]
    a, b = Selection.load(out), Selection.load(tmp_path / "again.npz")
    assert a.provenance.fingerprint == b.provenance.fingerprint
    assert a.labels is not None
    assert b.labels is not None
    assert np.array_equal(a.labels, b.labels)
    shown = command("inspect", out, "--data", "digits", "--rows", 200)
    assert shown.exit_code == 0, shown.output


def test_a_validation_set_of_the_users(tmp_path: Path) -> None:
    """All of --data is the pool; the set's fingerprint is in the file, and a rerun with another set says that it changed."""
    where = tmp_path / "held"
    where.mkdir()
    draws = np.random.default_rng(5)
    np.save(where / "images_train.npy", draws.integers(0, 256, (12, 8, 8, 1), np.uint8))
    np.save(where / "labels_train.npy", np.arange(12) % 10)
    out = tmp_path / "c.npz"
    got = command(*SELECT, "--validation-data", where, "--pool", "labels-wrong=0.2", "--out", out)
    assert got.exit_code == 0, got.output
    made = Selection.load(out)
    assert made.provenance.pool_size == 200
    assert made.provenance.command["validation"]["examples"] == 12
    assert command("inspect", out, "--data", "digits", "--rows", 200).exit_code == 0
    np.save(where / "images_train.npy", draws.integers(0, 256, (12, 8, 8, 1), np.uint8))
    again = command("rerun", out, "--json")
    changed = {row["what"] for row in json.loads(again.stdout)["compared"] if not row["same"]}
    assert changed == {"validation set"}
    np.save(where / "labels_train.npy", np.arange(12))
    refused = command(*SELECT, "--validation-data", where, "--out", out)
    assert isinstance(refused.exception, DataError)
    assert "labels up to 11" in str(refused.exception)


def test_what_has_no_position_is_refused_before_any_work(tmp_path: Path) -> None:
    """Foreign images, copies and shifts, unknown words, two validation sets, arrays, and training on such a file."""
    out, features = tmp_path / "c.npz", tmp_path / "f.npy"
    np.save(features, np.zeros((9, 2)))
    nowhere = ("--data", tmp_path / "nowhere")
    for words, kind, said in (
        ((*nowhere, "--pool", "foreign=0.5:digits"), RequirementError, "names picks by their positions in --data"),
        ((*nowhere, "--pool", "tail=3,duplicates=4"), RequirementError, "names each position of --data once"),
        ((*nowhere, "--pool", "shift=fog:3"), RequirementError, "give corrupted ones by --validation-data"),
        ((*nowhere, "--pool", "wet=1"), RequirementError, "a pool is described by"),
        ((*nowhere, "--validation-data", "digits", "--validation", 5), SystemExit, "--validation would be without"),
        (("--features", features, "--pool", "tail=3"), SystemExit, "--pool would be without effect over arrays"),
    ):
        got = command("select", "--selector", "rs2", "--fraction", 0.3, "--out", out, *words)
        assert isinstance(got.exception, kind), got.output
        assert said in " ".join(f"{got.exception} {got.output}".replace("│", " ").split())
    assert not out.exists()
    assert command(*SELECT, "--pool", WORDS, "--validation", 20, "--out", out).exit_code == 0
    trained = command("train", "sat", "--rows", 200, "--coreset", out, "--out", tmp_path / "run", "--arch", "small")
    assert isinstance(trained.exception, RequirementError)
    assert "impure on purpose" in str(trained.exception)


def test_the_origin_of_an_impure_pool() -> None:
    """Positions go through an impure pool to the data, but where images are foreign or copies, which have none of their own."""
    clean = load("digits", "train", 60)
    labels = labels_of(clean)
    assert labels is not None
    made = Conditions(tail=4).applied(clean, labels, seed=1)
    root, positions = origin(made)
    assert root is clean
    assert positions.tolist() == made.truth.source.tolist()
    copies = Conditions(duplicates=3).applied(clean, labels, seed=1)
    foreign = Conditions(foreign=0.5, foreign_data="digits").applied(clean, labels, seed=1, foreign=clean)
    assert origin(copies)[0] is copies
    assert origin(foreign)[0] is foreign


def test_inspect_counts_the_pool_that_the_picks_came_from(tmp_path: Path) -> None:
    """Labels and class counts are those of the impure pool, and nothing is said to have changed."""
    out = tmp_path / "c.npz"
    made = json.loads(command(*SELECT, "--pool", WORDS, "--validation", 20, "--out", out, "--json").stdout)
    shown = command("inspect", out, "--data", "digits", "--rows", 200, "--json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["classes"] == made["classes"]
    assert "fingerprint of the pool differs" not in shown.stderr
    both = command("inspect", out, out, "--data", "digits", "--rows", 200, "--json")
    assert both.exit_code == 0, both.output
    assert [c["pool"] for c in json.loads(both.stdout)["classes"]] == [c["pool"] for c in made["classes"]]
    other = command("inspect", out, "--data", "digits", "--rows", 300)
    assert "fingerprint of the pool differs" in " ".join(other.stderr.split())


def test_a_store_of_the_clean_pool_is_no_store_of_an_impure_one(tmp_path: Path) -> None:
    """A fingerprint reads some items only; one wrong label that it does not see is another run all the same."""
    one = "labels-wrong=0.002"
    for seed in range(20):  # until the wrong label is one that the fingerprint does not read
        pool = holdout(load("digits", "train", 600), 6, seed)[0]
        impure, _ = Division(Conditions.parse(one)).split(load("digits", "train", 600), 6, seed)
        if fingerprint(impure) == fingerprint(pool):
            break
    else:
        pytest.fail("no seed hides the label")
    words = ("select", "--rows", 600, "--selector", "craig", "--count", 20, "--warmup-epochs", 0, "--attack-steps", 1)
    store = ("--validation", 6, "--seed", seed, "--store", tmp_path / "s", "--out", tmp_path / "c.npz")
    assert command(*words, *store).exit_code == 0
    assert command(*words, *store).exit_code == 0  # its own
    assert isinstance(command(*words, *store, "--pool", one).exception, StoreError)
