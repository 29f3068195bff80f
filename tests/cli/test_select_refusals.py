"""What a selection would refuse is refused before the warm-up, and an error of one of several methods names it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from coreselect.cli import select_run
from coreselect.cli.app import build
from coreselect.cli.last_resort import explained
from coreselect.cli.select_checks import named
from coreselect.errors import BudgetError, CoreselectError, NonFiniteError, RequirementError


def error_of(*words: str) -> CoreselectError:
    """Run `select`, and return the error in which it ends."""
    got = CliRunner().invoke(build(), ["select", *words])
    assert isinstance(got.exception, CoreselectError), got.output
    return got.exception


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (("--count", "50"), BudgetError, "budget 50 is outside 1…38"),
        (("--fraction", "0.001"), BudgetError, "less than one"),
        (("--count", "5", "--loss", "acl", "--selector", "d2"), RequirementError, "'d2' needs logits"),
        (("--count", "5", "--loss", "acl", "--selectors", "rs2,craig"), RequirementError, "craig: 'craig' reads"),
        (("--count", "5", "--selectors", "rs2,aum"), RequirementError, "train SYSTEM --selector aum"),
        (("--count", "5", "--selector", "loss:from_history=true"), RequirementError, "what training has recorded"),
    ],
)
def test_nothing_is_warmed_up_for_what_is_refused(
    words: tuple[str, ...], kind: type[CoreselectError], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a network without training is made."""
    made = select_run.warmed

    def warmed(*args: Any, epochs: int, **settings: Any) -> Any:
        assert epochs == 0, "a network was warmed up"
        return made(*args, epochs=epochs, **settings)

    monkeypatch.setattr(select_run, "warmed", warmed)
    why = error_of("--rows", "40", "--validation", "2", *words, "--out", str(tmp_path / "{selector}.npz"))
    assert isinstance(why, kind)
    assert said in str(why)
    assert not list(tmp_path.iterdir())


def test_an_error_of_one_method_names_it(tmp_path: Path) -> None:
    """The files of the methods before it are there; the error has its positions."""
    np.save(tmp_path / "x.npy", 1e25 * np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32))
    words = ("--gradients", str(tmp_path / "x.npy"), "--count", "3", "--out")
    why = error_of(*words, str(tmp_path / "out"), "--selectors", "redraw,gradmatch,random")
    assert isinstance(why, NonFiniteError)
    assert why.indices == tuple(range(30))
    assert str(why).startswith("gradmatch: the gradients of 30 examples")
    assert [file.name for file in (tmp_path / "out").iterdir() if file.is_file()] == ["redraw.npz"]
    assert str(error_of(*words, str(tmp_path / "a.npz"), "--selector", "gradmatch")).startswith("the gradients of 30")


def test_an_error_of_ones_own_code_says_which_method_ran_it() -> None:
    """Its type and its words stay as they are; one method alone needs no name."""
    for among, said in ((2, ", while rcs:eta=0.1 chose)"), (1, ")")):
        with pytest.raises(ValueError, match="too bright") as got, named("rcs:eta=0.1", among=among):
            raise ValueError("too bright")
        assert explained(got.value).partition(": run")[0].endswith(said)
        assert explained(got.value).count("chose") == among - 1
