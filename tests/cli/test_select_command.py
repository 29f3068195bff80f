"""`coreselect select`, `methods` and the funnel, as a user meets them."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from coreselect import Selection
from coreselect.cli.app import build
from coreselect.errors import CoreselectError, DataError, RequirementError
from coreselect.io.index_file import read_indices

run = CliRunner()


@pytest.fixture
def arrays(tmp_path):
    """Gradients of 60 examples in 12 groups, a validation gradient and labels, as .npy files."""
    draws = np.random.default_rng(0)
    np.save(tmp_path / "g.npy", draws.normal(size=(60, 7)).astype(np.float32))
    np.save(tmp_path / "m.npy", draws.normal(size=(12, 7)).astype(np.float32))
    np.save(tmp_path / "groups.npy", np.arange(60) % 12)
    np.save(tmp_path / "v.npy", draws.normal(size=7).astype(np.float32))
    np.save(tmp_path / "f.npy", draws.normal(size=(60, 3)).astype(np.float32))
    np.save(tmp_path / "y.npy", np.arange(60) % 3)
    return tmp_path


def command(*words: object):
    """Run the application in this process."""
    return run.invoke(build(), [str(w) for w in words])


def test_gradients_alone_choose_the_groups_of_largest_inner_product(arrays):
    """With gradients per group and a validation gradient, the groups come in the order of ⟨row, query⟩."""
    out = arrays / "c.npz"
    got = command("select", "--gradients", arrays / "m.npy", "--groups", arrays / "groups.npy", "--validation-gradient",
                  arrays / "v.npy", "--count", 20, "--out", out)  # fmt: skip
    assert got.exit_code == 0, got.output
    want = np.argsort(
        -(np.load(arrays / "m.npy").astype(float) @ np.load(arrays / "v.npy").astype(float)), kind="stable"
    )[:4]
    assert list(dict.fromkeys(Selection.load(out).groups.tolist())) == want.tolist()


@pytest.mark.parametrize("ending", ["npz", "json", "npy", "txt", "csv"])
def test_every_format_holds_the_same_indices(arrays, ending):
    """The indices in a file do not depend on its format, nor does the exact budget."""
    out = arrays / f"c.{ending}"
    assert (
        command(
            "select", "--features", arrays / "f.npy", "--selector", "redraw", "--fraction", 0.25, "--out", out
        ).exit_code
        == 0
    )
    reference = arrays / "reference.npz"
    command("select", "--features", arrays / "f.npy", "--selector", "redraw", "--fraction", 0.25, "--out", reference)
    assert read_indices(out).tolist() == Selection.load(reference).indices.tolist()
    assert len(read_indices(out)) == 15


def test_json_is_alone_on_stdout(arrays):
    """`--json` prints one JSON value on stdout, talk goes to stderr."""
    got = command("select", "--features", arrays / "f.npy", "--labels", arrays / "y.npy", "--selector", "random", "--per-class",
                  "--count", 6, "--out", arrays / "c.npz", "--json")  # fmt: skip
    value = json.loads(got.stdout)
    assert sorted(np.asarray(value["indices"]) % 3) == [0, 0, 1, 1, 2, 2]
    assert "wrote" in got.stderr


def test_a_missing_requirement_is_said(arrays):
    """rcs over features alone is refused by name of what it needs."""
    got = command("select", "--features", arrays / "f.npy", "--fraction", 0.1, "--out", arrays / "c.npz")
    assert isinstance(got.exception, RequirementError)
    assert "needs gradients" in str(got.exception)


@pytest.mark.parametrize("words", [["--fraction", "0.1", "--count", "3"], [], ["--fraction", "1.5"]])
def test_wrong_usage_is_exit_code_2(arrays, words):
    """Both or neither of --fraction and --count, or a fraction beyond 1, is wrong usage."""
    got = command("select", "--features", arrays / "f.npy", "--selector", "random", *words, "--out", arrays / "c.npz")
    assert got.exit_code == 2


def test_an_unknown_ending_is_refused_before_any_work(arrays):
    """A file format that cannot be written is refused although the data does not even exist."""
    got = command("select", "--data", arrays / "nowhere", "--fraction", 0.1, "--out", arrays / "c.pt")
    assert "c.pt" in str(got.exception)


def test_a_refusal_is_one_line_and_exit_code_1(tmp_path):
    """Outside the process: the refusal is a single line on stderr, stdout is empty, the exit code 1."""
    words = [
        sys.executable,
        "-m",
        "coreselect.cli",
        "select",
        "--data",
        str(tmp_path / "no[where]"),
        "--fraction",
        "0.1",
    ]
    done = subprocess.run([*words, "--out", str(tmp_path / "c.npz")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("refused: ")
    assert "no[where]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


MODEL = """
import torch
from torch import nn

class Routed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(64, 8)
        self.norms = nn.ModuleDict({r: nn.LayerNorm(8) for r in ("natural", "adversarial")})
        nn.init.constant_(self.norms["adversarial"].bias, 0.5)
        self.projection = nn.Linear(8, 5)
    def forward(self, x, route):
        return self.projection(self.norms[route](self.body(x.flatten(1))))

def routed():
    return Routed()

def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
"""


def test_a_model_from_a_file_with_its_checkpoint(tmp_path):
    """The checkpoint's weights, not the factory's, decide the selection, and its folder need not be importable."""
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    (tmp_path / "nets.py").write_text(MODEL)
    torch.manual_seed(1)
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    torch.save({"state_dict": {f"module.{k}": v for k, v in other.state_dict().items()}}, tmp_path / "w.pt")
    base = [
        "select",
        "--rows",
        200,
        "--validation",
        20,
        "--count",
        40,
        "--attack-steps",
        1,
        "--model",
        f"{tmp_path}/nets.py:plain",
    ]
    bare = command(*base, "--out", tmp_path / "a.npz")
    loaded = command(*base, "--checkpoint", tmp_path / "w.pt", "--out", tmp_path / "b.npz")
    assert bare.exit_code == loaded.exit_code == 0, loaded.output
    a, b = Selection.load(tmp_path / "a.npz"), Selection.load(tmp_path / "b.npz")
    assert a.gains.tolist() != b.gains.tolist()
    assert a.provenance.fingerprint == b.provenance.fingerprint


def test_a_model_with_routes_is_called_with_them(tmp_path):
    """A forward that takes a route gets it, and the contrastive loss finds its two views by default."""
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    (tmp_path / "nets.py").write_text(MODEL)
    got = command("select", "--rows", 120, "--validation", 16, "--count", 32, "--attack-steps", 1, "--loss", "acl", "--model",
                  f"{tmp_path}/nets.py:routed", "--out", tmp_path / "a.npz")  # fmt: skip
    assert got.exit_code == 0, got.output
    signs = Selection.load(tmp_path / "a.npz").diagnostics
    assert signs is not None
    assert signs.rd_clean, "two routes leave a gap at x̃ = x"


def test_a_checkpoint_with_code_is_refused_unrun(tmp_path):
    """A pickle that would run code is refused, and its code is not run."""
    (tmp_path / "nets.py").write_text(MODEL)
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(mark), "w"))

    torch.save({"x": Evil()}, tmp_path / "w.pt")
    got = command("select", "--rows", 100, "--count", 10, "--model", f"{tmp_path}/nets.py:plain", "--checkpoint", tmp_path / "w.pt",
                  "--out", tmp_path / "a.npz")  # fmt: skip
    assert isinstance(got.exception, DataError)
    assert not mark.exists()


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    """Weights that do not fit are refused in one sentence that names the file."""
    (tmp_path / "nets.py").write_text(MODEL)
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "w.pt")
    got = command("select", "--rows", 100, "--count", 10, "--model", f"{tmp_path}/nets.py:plain", "--checkpoint", tmp_path / "w.pt",
                  "--out", tmp_path / "a.npz")  # fmt: skip
    assert isinstance(got.exception, DataError)
    assert "w.pt does not fit" in str(got.exception)


def test_methods_lists_every_selector():
    """`methods` names every selector that `get_selector` knows, in words and in JSON."""
    from coreselect import list_selectors

    assert [m["name"] for m in json.loads(command("methods", "--json").stdout)] == list_selectors()
    assert "rs2" in command("methods").stdout


def test_a_warmed_up_network_can_be_kept_and_used_again(tmp_path):
    """Selecting with the saved weights of the warmed-up network gives the selection that was made with it."""
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    (tmp_path / "nets.py").write_text(
        "from coreselect_integrations.networks import small_conv\ndef made(): return small_conv(10, 1, 8)\n"
    )
    base = ["select", "--rows", 100, "--validation", 20, "--count", 16, "--attack-steps", 1, "--radius", 0.1]
    first = command(*base, "--warmup-epochs", 1, "--save-model", tmp_path / "w.pt", "--out", tmp_path / "a.npz")
    again = command(
        *base, "--model", f"{tmp_path}/nets.py:made", "--checkpoint", tmp_path / "w.pt", "--out", tmp_path / "b.npz"
    )
    assert first.exit_code == again.exit_code == 0, again.output
    a, b = Selection.load(tmp_path / "a.npz"), Selection.load(tmp_path / "b.npz")
    assert a.indices.tolist() == b.indices.tolist()
    assert a.gains.tolist() == b.gains.tolist()


@pytest.mark.parametrize(
    "words",
    [
        ["--checkpoint", "w.pt"],
        ["--model", "a:b", "--features", "f.npy"],
        ["--validation", "1.5"],
    ],
)
def test_options_that_would_be_ignored_are_wrong_usage(tmp_path, words):
    """A checkpoint without a model, a model beside arrays, or 1.5 validation images are refused with exit code 2."""
    got = command("select", "--fraction", 0.1, *words, "--out", tmp_path / "a.npz")
    assert got.exit_code == 2


def test_the_radius_reaches_every_attack(tmp_path):
    """`--radius` sets the training attack too, where `--attack-steps` does not name one."""
    (tmp_path / "nets.py").write_text(MODEL)
    base = [
        "select",
        "--rows",
        60,
        "--validation",
        10,
        "--count",
        8,
        "--model",
        f"{tmp_path}/nets.py:plain",
        "--radius",
        0.2,
    ]
    assert command(*base, "--out", tmp_path / "a.npz").exit_code == 0
    attack = Selection.load(tmp_path / "a.npz").provenance.task["attack"]
    assert attack["radius"] == 0.2
    assert attack["step"] == pytest.approx(0.05)
    assert attack["steps"] == 10


def test_half_precision_is_of_the_training_attack(tmp_path):
    """`--precision bf16` lowers it and not RD's, and the index file says so."""
    (tmp_path / "nets.py").write_text(MODEL)
    got = command("select", "--rows", 60, "--validation", 10, "--count", 8, "--model", f"{tmp_path}/nets.py:plain",
                  "--precision", "bf16", "--out", tmp_path / "a.npz")  # fmt: skip
    assert got.exit_code == 0, got.output
    told = Selection.load(tmp_path / "a.npz").provenance
    assert (told.task["attack"]["type"], told.settings["objective"]["attack"]["type"]) == ("HalfPrecision", "PGD")
    assert (told.task["attack"]["attack"]["steps"], told.settings["objective"]["attack"]["steps"]) == (10, 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--precision", "fp8"), "fp32 or bf16, got 'fp8'"),
        (("--precision", "bf16", "--features", "f.npy"), "nothing is attacked over arrays"),
        (
            ("--precision", "bf16", "--loss", "ce", "--rows", 60, "--validation", 10, "--model", "NETS"),
            "nothing is attacked under --loss ce",
        ),
    ],
)
def test_a_precision_that_means_nothing_is_wrong_usage(tmp_path, words, said):
    """Eight bits, attacks on arrays, and a loss without one."""
    (tmp_path / "nets.py").write_text(MODEL)
    words = [str(word).replace("NETS", f"{tmp_path}/nets.py:plain") for word in words]
    got = command("select", "--fraction", 0.1, *words, "--out", tmp_path / "a.npz")
    assert got.exit_code == 2
    assert said in " ".join(got.stderr.replace("│", "").split())


@pytest.mark.parametrize("option", ["--features", "--gradients", "--labels"])
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.npy", b"", r"empty\.npy is not a readable \.npy array"),
        ("text.npy", b"1,2,3", r"text\.npy is not a readable \.npy array"),
        ("bundle.npz", {"a": np.eye(3)}, r"bundle\.npz is an \.npz archive by content; one array per \.npy file"),
        ("bundle.npy", {"a": np.eye(3)}, r"bundle\.npy is an \.npz archive by content"),
        ("words.npy", np.array(["a", "b"]), r"words\.npy: (features|gradients|labels) must be .*<U1 \[2\]"),
        ("cube.npy", np.zeros((2, 2, 2)), r"cube\.npy: .* must be"),
        ("none.npy", None, r"lacks none\.npy"),
    ],
)
def test_files_that_are_no_arrays_are_one_sentence_with_their_name(tmp_path, option, name, content, said):
    """Empty, cut, an archive under either ending, texts, another shape, or missing: the file's name is in the refusal."""
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        with path.open("wb") as file:
            np.savez(file, **content)
    elif content is not None:
        np.save(path, content)
    got = command("select", option, path, "--count", 1, "--out", tmp_path / "c.npz")
    assert isinstance(got.exception, CoreselectError), got.output
    assert re.search(said, str(got.exception))
    assert "\n" not in str(got.exception)


def test_a_folder_without_data_names_the_factory_as_the_way_out(tmp_path):
    """Whoever has another format is told about package.module:factory."""
    (tmp_path / "notes.txt").write_text("x")
    got = command("select", "--data", tmp_path, "--count", 1, "--out", tmp_path / "c.npz")
    assert isinstance(got.exception, DataError)
    assert "give package.module:factory" in str(got.exception)


def test_a_read_timeout_reaches_the_task(tmp_path):
    """--read-timeout without --num-workers is refused as Task.from_model refuses it."""
    got = command("select", "--read-timeout", 5, "--count", 1, "--warmup-epochs", 0, "--out", tmp_path / "c.npz")
    assert isinstance(got.exception, RequirementError)
    assert "only workers can be waited for" in str(got.exception)
