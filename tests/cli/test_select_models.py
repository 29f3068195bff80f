"""`coreselect select` with a model: the user's own with its checkpoint, or one that is warmed up, and its attacks."""

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from coreselect import Selection
from coreselect.cli.app import build
from coreselect.errors import BudgetError, DataError, HeadError, ShapeError


def command(*words: object):
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words])


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

class Papers(Routed):
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleDict({"first": self.norms["natural"], "second": self.norms["adversarial"]})
    def forward(self, x, bn_name):
        return super().forward(x, bn_name)

def papers():
    return Papers()

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


def test_names_of_routes_are_given_or_asked_for(tmp_path):
    """Names that are no known pair are asked for in one sentence; with --routes they are passed to forward."""
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    (tmp_path / "nets.py").write_text(MODEL)
    base = ("select", "--rows", 120, "--validation", 16, "--count", 32, "--attack-steps", 1, "--loss", "acl", "--model",
            f"{tmp_path}/nets.py:papers", "--out", tmp_path / "a.npz")  # fmt: skip
    asked = command(*base)
    assert isinstance(asked.exception, HeadError)
    assert "--routes first,second" in str(asked.exception)
    assert command(*base, "--routes", "first,second").exit_code == 0
    signs = Selection.load(tmp_path / "a.npz").diagnostics
    assert signs is not None
    assert signs.rd_clean, "two routes leave a gap at x̃ = x"
    assert isinstance(command(*base, "--routes", "first,third").exception, HeadError)


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
    """`--precision bf16` lowers the training attack and not that of RD, and the index file says so."""
    (tmp_path / "nets.py").write_text(MODEL)
    got = command("select", "--rows", 60, "--validation", 10, "--count", 8, "--model", f"{tmp_path}/nets.py:plain",
                  "--precision", "bf16", "--out", tmp_path / "a.npz")  # fmt: skip
    assert got.exit_code == 0, got.output
    told = Selection.load(tmp_path / "a.npz").provenance
    assert (told.task["attack"]["type"], told.settings["objective"]["attack"]["type"]) == ("HalfPrecision", "PGD")
    assert (told.task["attack"]["attack"]["steps"], told.settings["objective"]["attack"]["steps"]) == (10, 3)


FLAT = """
from torch import nn
class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(256, 10)
    def forward(self, x):
        z = self.two(self.one(x).relu())
        return self.fc(z.view(len(z), -1) if VIEW else z.flatten(1))
"""


@pytest.mark.parametrize(("view", "layout"), [(False, "channels_last"), (True, "contiguous")])
def test_a_users_network_gets_the_fast_layout_where_its_code_runs_in_it(tmp_path, view, layout):
    """One that takes activations as rows of memory keeps its own; the record says which it was."""
    (tmp_path / "nets.py").write_text(FLAT.replace("VIEW", str(view)))
    got = command("select", "--rows", 60, "--validation", 10, "--count", 8, "--model", f"{tmp_path}/nets.py:Flat",
                  "--attack-steps", 1, "--out", tmp_path / "a.npz")  # fmt: skip
    assert got.exit_code == 0, got.output
    assert Selection.load(tmp_path / "a.npz").provenance.task["memory_format"] == layout


def test_the_faster_precision_is_taken_and_named(tmp_path):
    """`--precision auto` says the name that gives the selection again, and that name does."""
    (tmp_path / "nets.py").write_text(MODEL)
    words = ("select", "--rows", 60, "--validation", 10, "--count", 8, "--model", f"{tmp_path}/nets.py:plain")
    got = command(*words, "--precision", "auto", "--out", tmp_path / "a.npz")
    assert got.exit_code == 0, got.output
    name = next(name for name in ("fp32", "bf16") if f"--precision {name}, which" in got.output)
    assert command(*words, "--precision", name, "--out", tmp_path / "b.npz").exit_code == 0
    first, again = (Selection.load(tmp_path / f"{n}.npz") for n in "ab")
    assert first.provenance.task == again.provenance.task
    assert first.indices.tolist() == again.indices.tolist()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--precision", "fp8"), "fp32, bf16 or auto, got 'fp8'"),
        (("--precision", "bf16", "--features", "f.npy"), "nothing is attacked over arrays"),
        (
            ("--precision", "bf16", "--loss", "ce", "--rows", 60, "--validation", 10, "--model", "NETS"),
            "nothing is attacked under --loss ce",
        ),
    ],
)
def test_a_precision_that_means_nothing_is_wrong_usage(tmp_path, words, said):
    """Eight bits, arrays (which are not attacked), and a loss without an attack."""
    (tmp_path / "nets.py").write_text(MODEL)
    words = [str(word).replace("NETS", f"{tmp_path}/nets.py:plain") for word in words]
    got = command("select", "--fraction", 0.1, *words, "--out", tmp_path / "a.npz")
    assert got.exit_code == 2
    assert said in " ".join(got.stderr.replace("│", "").split())


NORMALISED = (
    MODEL
    + """
class Seen(nn.Module):
    def __init__(self):
        super().__init__()
        *body, self.fc = plain()
        self.body = nn.Sequential(*body)
    def forward(self, x):
        assert x.min() < -1 and x.max() > 2 or len(x) < 16, "this network wants normalised images"
        return self.fc(self.body(x))
"""
)


@pytest.mark.parametrize(("mean", "std"), [("0.5", "0.2"), ("0.4", "0.25")])
def test_mean_and_std_normalise_inside_the_users_network(tmp_path, mean, std):
    """The network sees normalised images, the attack images in [0, 1], and a head keeps the user's name for it."""
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    (tmp_path / "nets.py").write_text(NORMALISED)
    got = command("select", "--rows", 120, "--validation", 16, "--count", 32, "--attack-steps", 1, "--model",
                  f"{tmp_path}/nets.py:Seen", "--mean", mean, "--std", std, "--head", "fc", "--json",
                  "--out", tmp_path / "a.npz")  # fmt: skip
    assert got.exit_code == 0, got.output
    assert Selection.load(tmp_path / "a.npz").provenance.task["head"] == "model.fc"
    assert f"normalised by mean {mean} and std {std}" in " ".join(got.stderr.split())


@pytest.mark.parametrize(
    "words",
    [["--mean", "0.5"], ["--std", "0.2"], ["--mean", "0.5", "--std", "0.2"], ["--model", "MODEL", "--mean", "0.5"]],
)
def test_mean_and_std_without_each_other_or_without_a_network_are_refused(tmp_path, words):
    """Both are needed, and they are for the user's own network; nothing is trained before."""
    (tmp_path / "nets.py").write_text(MODEL)
    words = [f"{tmp_path}/nets.py:plain" if word == "MODEL" else word for word in words]
    got = command("select", "--count", 8, "--out", tmp_path / "a.npz", *words)
    assert got.exit_code == 2
    assert "built-in networks take images in [0, 1]" in " ".join(got.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("mean", "std"), [("a", "0.2"), ("0.5,0.5", "0.2"), ("0.5", "0"), ("0.5,0.5,0.5", "0.2,0.2,0.2")]
)
def test_numbers_that_do_not_fit_are_refused(tmp_path, mean, std):
    """Words, other lengths, a std of 0, and three channels for grey images."""
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    (tmp_path / "nets.py").write_text(MODEL)
    got = command("select", "--rows", 60, "--validation", 8, "--count", 8, "--model", f"{tmp_path}/nets.py:plain",
                  "--mean", mean, "--std", std, "--out", tmp_path / "a.npz")  # fmt: skip
    assert isinstance(got.exception, ShapeError)


def test_an_untrained_network_is_not_called_trained(tmp_path):
    """With 0 epochs of warm-up, the line about the network says that it has random weights."""
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    got = command("select", "--rows", 100, "--validation", 16, "--count", 16, "--attack-steps", 1, "--warmup-epochs", 0,
                  "--out", tmp_path / "a.npz")  # fmt: skip
    assert got.exit_code == 0, got.output
    assert "without training" in got.stderr
    assert "trained adversarially" not in got.stderr


@pytest.mark.parametrize(("share", "rows"), [(0.01, 60), (0, 60), (60, 60)])
def test_a_holdout_that_leaves_one_side_empty_names_its_option(share, rows, tmp_path):
    """The sentence is about --validation, not about the budget of the selection."""
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    words = ("--rows", rows, "--fraction", 0.2, "--selector", "random", "--validation", share, "--warmup-epochs", 1)
    got = command("select", *words, "--out", tmp_path / "a.npz")
    assert isinstance(got.exception, BudgetError)
    assert f"--validation {share} of 60 images leaves one side empty: give a count from 1 to 59" in str(got.exception)
