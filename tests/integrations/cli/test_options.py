"""The names that the help lists without loading anything are those that the library knows."""

from pathlib import Path
from typing import Any

import pytest
from typer import BadParameter
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.cli.options import PRECISIONS, AttackOptions, PoolOptions
from coreselect.cli.select import select
from coreselect.data.items import CheckedLoader
from coreselect.errors import RequirementError
from coreselect.losses import LOSSES
from coreselect.network.precision import DTYPES
from coreselect.objectives import OBJECTIVES
from coreselect_integrations.cli import fidelity, finetune
from coreselect_integrations.cli.compare_options import StudyOptions
from coreselect_integrations.cli.compare_study import CURVES, make_settings
from coreselect_integrations.cli.options import (
    MODE_NAMES,
    SYSTEM_NAMES,
    NetworkOptions,
    ScheduleOptions,
    TrainingOptions,
)
from coreselect_integrations.cli.train import train
from coreselect_integrations.cli.train_settings import attack_said, settings_from
from coreselect_integrations.finetuning import MODES
from coreselect_integrations.networks import ARCHITECTURES, NetworkSpec, make, save_network
from coreselect_integrations.pretraining import settings, warmup
from coreselect_integrations.training import resident
from coreselect_integrations.training.optimisers import OPTIMISERS


def help_text(command: object, option: str) -> str:
    """The help text of an option of a command."""
    return command.__annotations__[option].__metadata__[0].help


def test_names_are_those_of_the_library() -> None:
    """Systems, ways of fine-tuning, precisions, and the losses of a warm-up."""
    assert tuple(settings.SYSTEMS) == SYSTEM_NAMES
    assert tuple(MODES) == MODE_NAMES
    assert tuple(DTYPES) == PRECISIONS
    assert warmup.LOSSES == fidelity.LOSSES
    assert {*finetune.ATTACKED} == {m for m in finetune.ALL if m not in MODES or MODES[m].attack is not None}


@pytest.mark.parametrize(
    ("command", "option", "names"),
    [
        (select, "loss", LOSSES), (select, "objective", OBJECTIVES), (select, "arch", ARCHITECTURES),
        (train, "arch", ARCHITECTURES), (train, "optimiser", OPTIMISERS), (train, "curve", (*CURVES, "stairs")),
    ],
)  # fmt: skip
def test_the_help_of_an_option_lists_every_name(command: object, option: str, names: tuple[str, ...]) -> None:
    """A new loss, objective, network, optimiser or curve is missing in the help until it is added there."""
    assert all(name in help_text(command, option) for name in names)


def test_the_attack_of_a_selection_has_one_step_or_that_of_training() -> None:
    """A number is a number of steps, `full` is all of them, in `train` and `compare`; both say which it is."""
    one, full, nothing = (ScheduleOptions(select_attack_steps=given) for given in ("1", "full", None))
    assert one.given == {"select_attack_steps": 1}
    assert full.given == {"select_attack_steps": None}
    assert nothing.given == {}
    for schedule, steps, said in ((nothing, 1, "with 1 step;"), (full, None, "as training does")):
        settings = settings_from({"system": "sat", **schedule.given}, None)
        assert settings.select_attack_steps == steps
        assert said in attack_said(settings)
        common = (PoolOptions(), NetworkOptions(), TrainingOptions(), schedule, AttackOptions())
        assert make_settings("sat", StudyOptions(), *common).select_attack_steps == steps
    assert settings_from({}, "cifar10-sat").select_attack_steps is None
    assert settings_from(one.given, "cifar10-sat").select_attack_steps == 1


@pytest.mark.parametrize(
    ("given", "step"),
    [
        ({}, 2), ({"attack_steps": 10}, 2), ({"attack_steps": 5}, 2), ({"attack_steps": 4}, 2), ({"attack_steps": 3}, 20 / 3),
        ({"attack_steps": 1}, 10), ({"attack_steps": 1, "step": "2/255"}, None), ({"attack_steps": 1, "step": "0.25x"}, 2),
        ({"attack_steps": 5, "train_radius": "1.5x"}, 3), ({"attack_steps": 1, "train_radius": "1.5x"}, 15),
        ({"attack_steps": 1, "radius": 4 / 255}, 5),
    ],
)  # fmt: skip
def test_train_keeps_the_published_step_unless_it_would_not_reach_the_radius(given: dict, step: float | None) -> None:
    """Fewer steps than walk the radius are made as long as those of `compare`; a step that is given is taken."""
    if step is None:
        with pytest.raises(BadParameter, match="--step is a number"):
            settings_from({"system": "sat", **given}, None)
        return
    assert 255 * settings_from({"system": "sat", **given}, None).step == pytest.approx(step)


@pytest.mark.parametrize(
    "words",
    [("select",), ("train", "sat"), ("compare",), ("fidelity",), ("finetune", "slf", "--from", "no.pt")],
)
def test_a_read_timeout_needs_workers(words: tuple[str, ...], tmp_path: Path) -> None:
    """`--read-timeout` without `--num-workers` is refused by every command that has it, before any work."""
    out = () if words == ("fidelity",) else ("--out", str(tmp_path / "c.npz"))
    share = ("--count", "1") if words == ("select",) else ()
    got = CliRunner().invoke(build(), [*words, *out, *share, "--read-timeout", "5"])
    assert isinstance(got.exception, RequirementError), got.output
    assert "only workers can be waited for" in str(got.exception)


@pytest.mark.parametrize("words", [("train", "sat"), ("finetune", "slf", "--from", "MODEL")])
def test_a_read_timeout_reaches_the_loader(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader of the training waits for its workers for that long."""
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    seen: list[float] = []

    def loader(*args: Any, **options: Any) -> Any:
        seen.append(options["timeout"])
        return CheckedLoader(*args, **options)

    monkeypatch.setattr(resident, "CheckedLoader", loader)
    spec = NetworkSpec("small", 1, 8, projection=2)
    save_network(tmp_path / "model.pt", make(spec, 0), spec, {})
    given = [word.replace("MODEL", str(tmp_path / "model.pt")) for word in words]
    common = f"--rows 200 --epochs 1 --out {tmp_path / 'run'} --num-workers 1 --read-timeout 90".split()
    got = CliRunner().invoke(build(), [*given, *common])
    assert got.exit_code == 0, got.output
    assert seen == [90]
