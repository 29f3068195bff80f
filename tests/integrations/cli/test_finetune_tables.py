"""`coreselect finetune all`: every network in every mode, measured, in a table and in results.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.errors import CoreselectError, DataError
from coreselect_integrations.cli import finetune_tables_run
from coreselect_integrations.networks import NetworkSpec, load_network, make, save_network

DATA = """
import torch

def images(split):
    g = torch.Generator().manual_seed(0 if split == "train" else 1)
    y = torch.arange(40) % 4
    x = (0.2 * y.view(-1, 1, 1, 1) + 0.2 * torch.rand(40, 3, 8, 8, generator=g)).clamp(0, 1)
    return torch.utils.data.TensorDataset(x, y)

def unlabelled(split): return list(images(split).tensors[0])
"""


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80"})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two extractors, data, and corrupted images."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "data.py").write_text(DATA)
    spec = NetworkSpec("small", 3, 8, projection=2, dual_bn=True)
    for name, seed in (("one", 1), ("two", 2)):
        save_network(folder / name / "model.pt", make(spec, seed), spec, {"system": "acl"})
    corrupted = folder / "corrupted"
    corrupted.mkdir()
    draws = np.random.default_rng(0)
    np.save(corrupted / "labels.npy", np.tile(np.arange(8) % 4, 5))
    for name in ("fog", "contrast"):
        np.save(corrupted / f"{name}.npy", draws.integers(0, 255, (40, 8, 8, 3), dtype=np.uint8))
    return folder


def words(place: Path, mode: str, *networks: str) -> list[Any]:
    named = [word for n in networks for word in ("--from", place / n / "model.pt")]
    return [
        "finetune",
        mode,
        *named,
        "--data",
        f"{place}/data.py:images",
        "--epochs",
        1,
        "--batch-size",
        20,
        "--attack-steps",
        1,
    ]


def test_all_measures_of_two_networks_stand_in_a_table_and_a_file(place: Path, tmp_path: Path) -> None:
    """Rows are networks; SA, PGD-20, CA for SLF, ALF and AFF and their means; a second call trains and measures nothing."""
    ask = ("--eval", "pgd20,corruptions", "--corruptions", place / "corrupted", "--test-rows", 8)
    got = command(*words(place, "all", "one", "two"), *ask, "--out", tmp_path)
    assert got.exit_code == 0, got.output
    result = json.loads((tmp_path / "results.json").read_text())
    assert (result["measures"], result["n"]) == (["standard", "pgd20", "corruptions"], 8)
    assert [row["name"] for row in result["networks"]] == ["one", "two"]
    for row in result["networks"]:
        assert list(row["accuracy"]) == ["slf", "alf", "aff"]
        for measure in result["measures"]:
            values = [cell[measure] for cell in row["accuracy"].values()]
            assert row["mean"][measure] == pytest.approx(sum(values) / 3)
        assert all(cell["pgd20"] <= cell["standard"] for cell in row["accuracy"].values())
        assert row["records"]["slf"]["corruptions"]["n"] == 8
    heads = [line.split() for line in got.stdout.splitlines()[1:4]]
    assert ["slf", "slf", "slf", "alf", "alf", "alf", "aff", "aff", "aff", "mean", "mean", "mean"] in heads
    assert ["SA", "PGD-20", "CA"] * 4 in heads
    first = result["networks"][0]
    shown = next(line.split() for line in got.stdout.splitlines() if line.startswith((" one", "one")))
    assert shown[1] == f"{100 * first['accuracy']['slf']['standard']:.2f}"
    assert shown[-1] == f"{100 * first['mean']['corruptions']:.2f}"
    assert load_network(tmp_path / "two" / "aff" / "model.pt").spec.classes == 4
    again = command(*words(place, "all", "one", "two"), *ask, "--out", tmp_path, "--json")
    assert json.loads(again.stdout) == result
    assert "epoch 1 of 1" not in again.stderr


def test_what_was_measured_otherwise_is_measured_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other attacks, or another number of test images; what is the same is read from the folder of the mode."""
    assert command(*words(place, "slf,alf", "one"), "--eval", "none", "--out", tmp_path).exit_code == 0
    asked: list[Any] = []
    measure = finetune_tables_run.accuracies
    monkeypatch.setattr(finetune_tables_run, "accuracies", lambda *w, **o: asked.append(w[2]) or measure(*w, **o))
    assert command(*words(place, "slf,alf", "one"), "--eval", "none", "--out", tmp_path).exit_code == 0
    assert asked == []
    assert command(*words(place, "slf,alf", "one"), "--test-rows", 8, "--out", tmp_path).exit_code == 0
    assert asked == [["pgd20"], ["pgd20"]]
    (tmp_path / "slf" / "evaluation.json").write_text("torn")
    assert command(*words(place, "slf,alf", "one"), "--test-rows", 8, "--out", tmp_path).exit_code == 0
    assert asked[2:] == [["pgd20"]]


def test_autolora_has_linear_modes_on_the_command_line(place: Path, tmp_path: Path) -> None:
    """Each keeps the held-out accuracy of every epoch in its log."""
    got = command(*words(place, "autolora-slf,autolora-alf,autolora", "one"), "--eval", "none", "--out", tmp_path)
    assert got.exit_code == 0, got.output
    for mode in ("autolora-slf", "autolora-alf", "autolora"):
        record = json.loads((tmp_path / mode / "log.jsonl").read_text())
        assert 0 <= record["held"] <= 1
        assert record["lr"] == 0.1


def test_published_settings_are_chosen_said_and_changed(place: Path, tmp_path: Path) -> None:
    """After ACL, AFF trains 100 epochs; options and --preset change it, and the run keeps what it used."""
    common = ("--data", f"{place}/data.py:images", "--from", place / "one")
    got = command(
        "finetune", "aff", *common, "--out", tmp_path / "a", "--rows", 2, "--attack-steps", 1, "--batch-size", 2
    )
    assert "100 epochs on cpu, settings of cifar10 after acl" in got.stderr
    own = (
        "--epochs",
        2,
        "--milestones",
        "1",
        "--weight-decay",
        0.01,
        "--loss",
        "fast-at",
        "--preset",
        "cifar100-dynacl",
    )
    got = command("finetune", "aff", *common, "--out", tmp_path / "b", *own)
    assert got.exit_code == 0, got.output
    assert "2 epochs on cpu, settings of cifar100 after dynacl" in got.stderr
    rates = [json.loads(line)["lr"] for line in (tmp_path / "b" / "log.jsonl").read_text().splitlines()]
    assert rates == pytest.approx([0.1, 0.01])


@pytest.mark.parametrize(
    ("mode", "own", "said"),
    [
        ("slf,lpaft", (), "run it alone"),
        ("slf,sfff", (), "no way of fine-tuning is called 'sfff'"),
        ("slf", ("--eval", "pgd"), "--eval is pgd20, autoattack, corruptions"),
        ("slf", ("--eval", "none,pgd20"), "--eval is pgd20"),
        ("slf", ("--test-rows", 3), "--test-rows would be without effect"),
        ("all", ("--eval", "corruptions"), "go together"),
        ("slf", ("--loss", "sat"), "--loss would be without effect on slf: it is for aff"),
        ("lpaft", ("--milestones", "3"), "--milestones would be without effect on lpaft"),
        ("autolora", ("--curve", "cosine"), "--curve would be without effect on autolora"),
        ("aff", ("--milestones", "3", "--curve", "cosine"), "the curve of aff is cosine"),
        ("aff", ("--milestones", "3", "--epochs", 3), "--milestones are below the number of epochs, 3"),
        ("aff", ("--milestones", "3,2"), "--milestones are growing epochs"),
        ("aff", ("--loss", "fast-at", "--attack-steps", 3), "takes one attack step"),
        ("aff", ("--loss", "ce"), "trades, sat, fast-at, got 'ce'"),
        ("aff", ("--curve", "steps"), "no curve is called 'steps'"),
        ("aff", ("--preset", "cifar10"), "such as cifar100-dynacl"),
        ("all", ("--data", "PLACE:unlabelled"), "needs labels"),
    ],
)
def test_what_makes_no_sense_is_refused_before_training(
    mode: str, own: tuple[Any, ...], said: str, place: Path, tmp_path: Path
) -> None:
    """One sentence, and no run."""
    given = [str(word).replace("PLACE", f"{place}/data.py") for word in own]
    data = () if "--data" in given else ("--data", f"{place}/data.py:images")
    got = command("finetune", mode, "--from", place / "one", "--out", tmp_path / "run", *data, *given)
    assert got.exit_code != 0
    refusal = str(got.exception) if isinstance(got.exception, CoreselectError) else got.stderr
    assert said in " ".join(refusal.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


def test_one_network_twice_is_refused(place: Path, tmp_path: Path) -> None:
    """Its rows would be the same; two files of one name get numbers instead."""
    got = command(*words(place, "all", "one", "one"), "--out", tmp_path / "run")
    assert isinstance(got.exception, DataError)
    assert "names one network twice" in str(got.exception)
    names = finetune_tables_run._names([Path("a/x.pt"), Path("b/x.pt"), Path("c/model.pt")])
    assert list(names.values()) == ["x-1", "x-2", "c"]
