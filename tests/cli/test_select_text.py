"""`coreselect select` over texts: RCS attacks the embeddings of the user's model."""

import pytest
from text_tasks import Texts, reader
from typer.testing import CliRunner

from coreselect import Selection, Task, holdout, select
from coreselect.attacks import PGD
from coreselect.cli.app import build
from coreselect.objectives import RD
from coreselect.selectors import RCS

FILE = """
import torch
from torch import nn
from text_tasks import Texts, reader

def data():
    return Texts(60)

def make():
    return reader(torch.float32)
"""


def command(*words: object):
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words])


@pytest.fixture
def words(tmp_path):
    """The words of a selection from 60 texts, up to its options."""
    (tmp_path / "texts.py").write_text(FILE)
    file = f"{tmp_path}/texts.py"
    return ["select", "--data", f"{file}:data", "--model", f"{file}:make", "--validation", 12, "--count", 16]


def test_a_command_selects_as_python_does(words, tmp_path):
    """With --attack-at and --radius, the index file holds the picks of the same task in Python, and says what was attacked."""
    import torch

    got = command(
        *words, "--attack-at", "embed", "--radius", 0.3, "--attack-steps", 2, "--out", tmp_path / "a.npz", "--eta", 0.1
    )
    assert got.exit_code == 0, got.output
    saved = Selection.load(tmp_path / "a.npz")
    pool, held = holdout(Texts(60), 12, 0)
    attack = PGD(0.3, 1.25 * 0.3 / 2, 2)
    task = Task.from_model(reader(torch.float32), pool, held, attack=attack, attack_at="embed", batch_size=64)
    want = select(task, RCS(RD("kl", attack=PGD(0.3, 1.25 * 0.3 / 3, 3)), eta=0.1), 16, seed=0)
    assert saved.indices.tolist() == want.indices.tolist()
    assert saved.gains == pytest.approx(want.gains, rel=1e-4)
    assert saved.provenance.task["attack_at"]["module"] == "embed"
    assert saved.provenance.settings["objective"]["attack"]["bounds"] is None


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--attack-at", "embed"], 2, "--radius in the units"),
        (["--attack-at", "embd", "--radius", 0.3], 1, "the nearest names are embed"),
        ([], 1, "attack_at='embeddings'"),
    ],
)
def test_what_lacks_is_said(words, tmp_path, more, code, said):
    """A radius must be given; a wrong name, and texts without --attack-at, are one sentence."""
    got = command(*words, *more, "--out", tmp_path / "a.npz")
    text = got.output + str(got.exception)
    assert got.exit_code in (code, 1)
    assert said in " ".join(text.split())
    assert not (tmp_path / "a.npz").exists()
