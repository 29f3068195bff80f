"""`coreselect evaluate` as a user sees it: what it measures and prints, and what it refuses before it begins."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.data import load
from coreselect.errors import CoreselectError, DataError, RequirementError
from coreselect_integrations.evaluation import PGD20, evaluate
from coreselect_integrations.networks import NetworkSpec, load_network, make, restore, route_call, save_network
from coreselect_integrations.training.contexts import called_in

pytest.importorskip("sklearn", reason="digits come with scikit-learn")
N = 20
IMAGES = ("data", "rows", "size", "resize")  # how the test images were read
FACTORIES = """
import torch

def images(channels=1, size=8, classes=2):
    x = torch.rand(30, channels, size, size, generator=torch.Generator().manual_seed(0))
    return list(x) if not classes else torch.utils.data.TensorDataset(x, torch.arange(30) % classes)

def bare(split): return images(classes=0)
def rgb(split): return images(channels=3)
def large(split): return images(size=16)
def twenty(split): return images(classes=20)
"""


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80"})


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.pt of a small, untrained classifier of digits."""
    path, spec = tmp_path_factory.mktemp("classifier") / "model.pt", NetworkSpec("small", 1, 8, classes=10)
    save_network(path, make(spec, 3), spec, {})
    return path


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.pt of a small extractor with two routes."""
    path, spec = tmp_path_factory.mktemp("encoder") / "model.pt", NetworkSpec("small", 1, 8, projection=2, dual_bn=True)
    save_network(path, make(spec, 3), spec, {})
    return path


@pytest.fixture(scope="module")
def corrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in CIFAR-10-C's format: the first test digits under two corruptions."""
    folder, test = tmp_path_factory.mktemp("corrupted"), load("digits", "test", N)
    images = np.stack([(255 * test[i][0].numpy()).round().astype(np.uint8).transpose(1, 2, 0) for i in range(N)])
    np.save(folder / "labels.npy", np.tile([test[i][1] for i in range(N)], 5))
    for name in ("gaussian_noise", "jpeg_compression"):
        np.save(folder / f"{name}.npy", np.concatenate([np.maximum(images, 20 * s) for s in range(1, 6)]))
    return folder


def test_json_holds_every_measure_and_is_alone_on_stdout(classifier: Path, corrupted: Path) -> None:
    """The numbers are those of the library, with PGD-20 of a quarter of the radius."""
    got = command("evaluate", "--from", classifier, "--rows", N, "--attacks", "pgd20", "--neighbours", 5, "--train-rows", 50,
                  "--corruptions", corrupted, "--json")  # fmt: skip
    assert got.exit_code == 0, got.output
    told = json.loads(got.stdout)

    network = restore(load_network(classifier)).eval()
    want = evaluate(network, load("digits", "test", N), attack=PGD20, call=route_call)
    assert (told["standard"], told["pgd20"]["robust"], told["n"]) == (want.standard, want.robust, N)
    assert told["radius"] == 8 / 255
    assert (told["neighbours"]["k"], told["neighbours"]["n_train"]) == (5, 50)
    assert set(told["corruptions"]["by_corruption"]) == {"gaussian_noise", "jpeg_compression"}


def test_the_tables_fit_80_columns(classifier: Path, corrupted: Path) -> None:
    """One line names network and data, whatever its length; then come a row for each measure and one for each corruption."""
    got = command("evaluate", "--from", classifier, "--rows", N, "--neighbours", 5, "--corruptions", corrupted)
    title, *rows = got.stdout.splitlines()
    assert title == f"{classifier} on {N} test images of digits"
    assert max(map(len, rows)) <= 80
    for measure in ("standard", "pgd20, l∞ 8/255", "5-NN of 1,442", "corruptions, mean", "gaussian noise"):
        assert sum(measure in row for row in rows) == 1, measure


def test_autoattack_shows_what_each_attack_left(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The four attacks of the standard version come in their order, and none leaves more right than the one before."""
    pytest.importorskip("pyautoattack")
    got = command("evaluate", "--from", classifier, "--rows", 4, "--attacks", "autoattack,pgd20", "--json")
    assert got.exit_code == 0, got.output
    told = json.loads(got.stdout)
    after = told["autoattack"]["after"]
    assert list(after) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert sorted(after.values(), reverse=True) == list(after.values())
    assert told["pgd20"]["standard"] == told["standard"]


def test_an_extractor_has_neighbours_alone(encoder: Path) -> None:
    """With --neighbours it is measured, and no accuracies of a classifier are reported."""
    got = command("evaluate", "--from", encoder, "--rows", N, "--neighbours", 3, "--train-rows", 60, "--json")
    assert got.exit_code == 0, got.output
    assert set(json.loads(got.stdout)) == {"from", *IMAGES, "n", "neighbours"}


def test_a_head_for_clusters_is_no_classifier(tmp_path: Path) -> None:
    """The network of lpaft tells clusters apart: its accuracy on labels would be chance, and is not reported."""
    path, spec = tmp_path / "model.pt", NetworkSpec("small", 1, 8, classes=10)
    save_network(path, make(spec, 3), spec, {"mode": "lpaft"})
    assert command("evaluate", "--from", path, "--rows", N).exit_code == 2
    got = command("evaluate", "--from", path, "--rows", N, "--neighbours", 3, "--train-rows", 60, "--json")
    assert set(json.loads(got.stdout)) == {"from", *IMAGES, "n", "neighbours"}


def test_without_attacks_no_radius_is_told(classifier: Path) -> None:
    """Standard accuracy alone."""
    told = json.loads(command("evaluate", "--from", classifier, "--rows", N, "--attacks", "none", "--json").stdout)
    assert set(told) == {"from", *IMAGES, "n", "standard"}


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("classifier", ("--attacks", "pgd21")), ("classifier", ("--attacks", ",")), ("classifier", ("--attacks", "none,pgd20")),
        ("classifier", ("--attacks", "none", "--radius", 0.1)), ("classifier", ("--attacks", "none", "--seed", 1)),
        ("classifier", ("--train-rows", 5)), ("classifier", ("--radius", 0)), ("classifier", ("--neighbours", 0)),
        ("classifier", ("--device", "toaster")), ("encoder", ()), ("encoder", ("--attacks", "none")),
        ("encoder", ("--neighbours", 3, "--attacks", "pgd20")), ("encoder", ("--neighbours", 3, "--radius", 0.1)),
        ("encoder", ("--neighbours", 3, "--corruptions", "anywhere")),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(network: str, words: tuple[Any, ...], request: pytest.FixtureRequest) -> None:
    """Attacks that do not exist or exclude each other, and options without an effect."""
    got = command("evaluate", "--from", request.getfixturevalue(network), "--rows", N, *words)
    assert got.exit_code == 2, got.output
    assert got.stdout == ""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("bare", "needs labels"), ("rgb", "3 channels and 8 pixels, the network takes 1 and 8"),
        ("large", "1 channels and 16 pixels"), ("twenty", "labels up to 19, the network tells 0 to 9 apart"),
    ],
)  # fmt: skip
def test_data_of_another_kind_is_refused(data: str, said: str, classifier: Path, tmp_path: Path) -> None:
    """Without labels, with other channels or sizes, or with unknown labels, no accuracy is reported."""
    (tmp_path / "made.py").write_text(FACTORIES)
    got = command("evaluate", "--from", classifier, "--data", f"{tmp_path}/made.py:{data}")
    assert isinstance(got.exception, DataError), got.output
    assert said in str(got.exception)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("--neighbours", 5000), RequirementError), (("--neighbours", 60, "--train-rows", 50), RequirementError),
        (("--corruptions", "/nowhere"), DataError), (("--rows", 5000), DataError), (("--data", "/nowhere"), DataError),
        (("--device", "meta"), RequirementError),
    ],
)  # fmt: skip
def test_a_refusal_comes_before_the_attacks(
    words: tuple[Any, ...], kind: type[CoreselectError], classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AutoAttack can take a night, so everything that can be refused is refused before it."""
    from coreselect_integrations.cli import evaluate_run as module

    monkeypatch.setattr(module, "accuracies", lambda *a, **k: pytest.fail("attacked"))
    got = command("evaluate", "--from", classifier, "--attacks", "pgd20,autoattack", *words)
    assert isinstance(got.exception, kind), got.output


def test_corruptions_of_another_shape_are_refused(classifier: Path, tmp_path: Path) -> None:
    """Files of 16 pixels for a network of 8."""
    np.save(tmp_path / "labels.npy", np.zeros(10, np.int64))
    np.save(tmp_path / "fog.npy", np.zeros((10, 16, 16, 1), np.uint8))
    got = command("evaluate", "--from", classifier, "--rows", 2, "--corruptions", tmp_path)
    assert isinstance(got.exception, DataError)
    assert "16 pixels" in str(got.exception)


@pytest.mark.parametrize("kind", ["missing", "torn", "foreign"])
def test_what_holds_no_network_is_refused(kind: str, classifier: Path, tmp_path: Path) -> None:
    """The sentence names the file."""
    path = tmp_path / "w.pt"
    if kind == "torn":
        path.write_bytes(classifier.read_bytes()[:9000])
    elif kind == "foreign":
        torch.save([1, 2], path)
    got = command("evaluate", "--from", path)
    assert isinstance(got.exception, DataError)
    assert str(path) in str(got.exception)


def test_some_severities_are_measured_or_are_all_there_are(classifier: Path, corrupted: Path, tmp_path: Path) -> None:
    """--severities picks some of five; a folder with only two severities is read if they are named, and refused if not."""
    words = ("evaluate", "--from", classifier, "--rows", N, "--attacks", "none", "--json", "--corruptions")
    whole = json.loads(command(*words, corrupted, "--severities", "4,2").stdout)["corruptions"]["accuracy"]
    assert list(whole["gaussian_noise"]) == ["4", "2"]
    for path in corrupted.glob("*.npy"):
        held = np.load(path)
        np.save(tmp_path / path.name, np.concatenate([held[3 * N : 4 * N], held[N : 2 * N]]))
    part = command(*words, tmp_path, "--severities", "4,2")
    assert json.loads(part.stdout)["corruptions"]["accuracy"] == whole
    assert "--severities" in str(command(*words, tmp_path).exception)
    for wrong in ("0", "1,6", "x", ""):
        assert command(*words, corrupted, "--severities", wrong).exit_code == 2
    assert command("evaluate", "--from", classifier, "--severities", "1").exit_code == 2


def test_half_precision_is_that_of_autocast_and_recorded(classifier: Path) -> None:
    """`--precision bf16` measures what a call in bfloat16 measures, says so in the result, and is refused in any other word."""
    got = command("evaluate", "--from", classifier, "--rows", N, "--attacks", "pgd20", "--neighbours", 5, "--train-rows", 50,
                  "--precision", "bf16", "--json")  # fmt: skip
    assert got.exit_code == 0, got.output
    told = json.loads(got.stdout)
    lowered = called_in(route_call, torch.bfloat16)
    network = restore(load_network(classifier)).eval()
    want = evaluate(network, load("digits", "test", N), attack=PGD20, call=lowered)
    assert (told["standard"], told["pgd20"]["robust"]) == (want.standard, want.robust)
    assert told["precision"] == "bf16"
    x = torch.stack([load("digits", "test", N)[i][0] for i in range(4)])
    out = lowered(network, x, "adversarial")
    assert out.dtype == torch.float32
    assert not torch.equal(out, route_call(network, x, "adversarial"))
    assert command("evaluate", "--from", classifier, "--precision", "fp8").exit_code == 2
