"""`coreselect select`: Theorem 2 with constants of the user's, and the divergence of RD in either spelling."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.errors import CoreselectError

NETS = """
import torch

def plain():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))

def images(split):
    x = torch.rand(60, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.utils.data.TensorDataset(x, torch.arange(60) % 3)
"""


def select(folder: Any, *own: object) -> Any:
    """A selection of half of sixty images by a small model."""
    (folder / "nets.py").write_text(NETS)
    words = (
        "select",
        "--data",
        f"{folder}/nets.py:images",
        "--model",
        f"{folder}/nets.py:plain",
        "--fraction",
        0.5,
        "--validation",
        10,
    )
    short = ("--attack-steps", 1, "--rd-steps", 1, "--out", folder / "c.npz", "--json")
    return CliRunner().invoke(build(), [str(w) for w in (*words, *short, *own)])


def test_sigma_is_given_or_follows_from_lipschitz_constants(tmp_path: Any) -> None:
    """σ stands in the certificate: the number, or 1 + ηM·L₂·(L₁ + ηkN(L₁L₄ + L₂L₃)) for the groups that were picked."""
    got = select(tmp_path, "--certify", "paper", "--sigma", 1.25)
    assert got.exit_code == 0, got.output
    assert json.loads(got.stdout)["certificate"]["details"]["sigma"] == 1.25
    told = json.loads(select(tmp_path, "--certify", "paper", "--lipschitz", "0.5,2,0,0,10", "--eta", 0.1).stdout)
    assert told["certificate"]["details"]["sigma"] == pytest.approx(1 + 0.1 * 10 * 2 * 0.5)
    assert told["provenance"]["settings"]["sigma"]["training"] == 2
    plain = json.loads(select(tmp_path, "--certify", "paper").stdout)
    assert plain["certificate"]["details"]["sigma"] == 1


def test_js_is_spelled_in_two_ways_that_choose_the_same(tmp_path: Any) -> None:
    """--objective js and --divergence js."""
    one, two = (json.loads(select(tmp_path, *own).stdout) for own in (("--objective", "js"), ("--divergence", "js")))
    assert one["indices"] == two["indices"]
    assert one["provenance"]["settings"]["objective"] == two["provenance"]["settings"]["objective"]
    assert one["provenance"]["settings"]["objective"]["divergence"] == "js"


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (("--sigma", 2), "would be without effect"), (("--certify", "paper", "--sigma", 0.5), "--sigma"),
        (("--certify", "paper", "--sigma", 2, "--lipschitz", "1,1,1,1,1"), "name one"),
        (("--certify", "paper", "--lipschitz", "1,1,1"), "five numbers"),
        (("--certify", "paper", "--lipschitz", "a,1,1,1,1"), "five numbers"),
        (("--certify", "paper", "--lipschitz", "1,-1,1,1,1"), "at least 0"),
        (("--selector", "rcs_sampled", "--certify", "paper", "--sigma", 2), "they are for rcs"),
        (("--objective", "js", "--divergence", "ot"), "leave one of the two out"),
        (("--objective", "ce_plus_rd", "--divergence", "js"), "leave one of the two out"),
        (("--objective", "hellinger"), "there are rd, js, ot"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(own: tuple[Any, ...], said: str, tmp_path: Any) -> None:
    """Constants without the theorem, two of them, wrong numbers, two divergences."""
    got = select(tmp_path, *own)
    assert got.exit_code != 0
    refusal = str(got.exception) if isinstance(got.exception, CoreselectError) else got.stderr
    assert said in " ".join(refusal.replace("│", " ").split())
    assert not (tmp_path / "c.npz").exists()
