"""A file of a race that cannot be believed is refused with what to do about it, and a race that goes on believes its own files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import tiny
from torch.utils.data import Subset

from coreselect.data import load
from coreselect.errors import DataError
from coreselect_integrations.racing.arms import Arm
from coreselect_integrations.racing.plan import Budget, Length
from coreselect_integrations.racing.race import run_race
from coreselect_integrations.racing.record_checks import why_no_costs, why_no_record
from coreselect_integrations.racing.run_arm import Run
from coreselect_integrations.racing.setting import Images, Place, Race
from coreselect_integrations.training.effort import Effort

pytest.importorskip("sklearn", reason="digits come with scikit-learn")
ONE, TWO = (Arm("rs2", fraction, Effort(1)) for fraction in (0.25, 0.5))


@pytest.fixture(scope="module")
def digits() -> Any:
    return load("digits", "train", 60)


class Clock:
    """A second passes whenever it is asked."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def race() -> Race:
    return Race(tiny("sat", validation=8, radius=0.1, batch_size=16), [ONE, TWO], Budget(500.0), judged=8)


def raced(folder: Path, digits: Any, calls: list[str] | None = None) -> Any:
    """Run the race, or go on with it, and note which arms are trained."""

    def began(rung: int | None, name: str) -> None:
        if calls is not None:
            calls.append(name)

    return run_race(race(), digits, Place(folder, clock=Clock(), image_seconds=lambda settings: 0.5, began=began))


@pytest.fixture(scope="module")
def files(digits: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of JSON of a whole race, by their names in its folder."""
    folder = tmp_path_factory.mktemp("race")
    raced(folder, digits)
    calls: list[str] = []
    raced(folder, digits, calls)
    assert calls == []
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.json")}


ARM, PLAN, FINAL = f"rung1/{ONE.folder}/arm.json", "rung1/plan.json", "final/arm.json"
DAMAGE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "it has no 'began'; remove it, and its seconds no longer count": ("sessions", lambda held: {}),
    "its last is 'x', a number of seconds": ("sessions", lambda held: {**held, "last": "x"}),
    "it ends before it began": ("sessions", lambda held: {**held, "last": held["began"] - 1}),
    "it has no table 'image'; remove it, and the costs are timed again": ("costs.json", lambda held: {}),
    f"its {ONE.effort.words} is '0', a number of seconds above 0": (
        "costs.json", lambda held: {**held, "image": {ONE.effort.words: 0}},
    ),
    "it has no 'rs2 0.25'": ("costs.json", lambda held: {**held, "selection": {}}),
    "its judging is 'nan'": ("costs.json", lambda held: {**held, "judging": float("nan")}),
    "it plans nothing, and 'rs2 0.25 ": (PLAN, lambda held: {}),
    "it plans 'a', and 'rs2 0.25 ": (PLAN, lambda held: {"a": 1}),
    "is '7', a table is needed": (PLAN, lambda held: dict.fromkeys(held, 7)),
    "no length in epochs, warmup and every": (PLAN, lambda held: {n: {**v, "length": 3} for n, v in held.items()}),
    "it has no 'judging'": (PLAN, lambda held: {n: {"length": v["length"], "seconds": 1} for n, v in held.items()}),
    "it has no 'seconds'; remove ": ("final/plan.json", lambda held: {"length": held["length"]}),
    "'every': 0} is no length of a run": (
        "final/plan.json", lambda held: {**held, "length": {**held["length"], "every": 0}},
    ),
    "its arm is 'None', not 'rs2 0.25 1": (ARM, lambda held: {}),
    "its arm is 'rs2 0.5 1": (ARM, lambda held: {**held, "arm": TWO.name}),
    "its seed is '9', not 0": (ARM, lambda held: {**held, "seed": 9}),
    "its robust is '5.0', a share from 0 to 1": (ARM, lambda held: {**held, "robust": 5.0}),
    "its robust is 'None', a share from 0 to 1": (ARM, lambda held: {**held, "robust": None}),
    "its standard is '-1', a share": (FINAL, lambda held: {**held, "standard": -1}),
    "it has an error and an accuracy": (ARM, lambda held: {**held, "error": "no luck"}),
    "and 8 of 8 images are right": (ARM, lambda held: {**held, "robust": 0.5, "right": "1" * 8}),
    "it has no verdict of each of the 8 images": (ARM, lambda held: {**held, "right": "10"}),
    "above its standard": (ARM, lambda held: {**held, "robust": 1.0, "right": "1" * 8, "standard": 0.5}),
    "its done is 0 of ": (FINAL, lambda held: {**held, "done": 0}),
    "its train_seconds is '0', a number of seconds above 0": (ARM, lambda held: {**held, "train_seconds": 0}),
    "it has no 'judge_seconds'; remove it, and the arm is trained or judged again": (
        ARM, lambda held: {n: v for n, v in held.items() if n != "judge_seconds"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("said", DAMAGE)
def test_what_a_file_cannot_say_is_refused(said: str, files: dict[str, bytes], digits: Any, tmp_path: Path) -> None:
    """The sentence names the file, what is wrong in it, and what to remove; nothing is trained, and no byte changes."""
    name, edit = DAMAGE[said]
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    path = sorted((tmp_path / name).glob("*.json"))[0] if name == "sessions" else tmp_path / name
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    before, calls = path.read_bytes(), list[str]()
    with pytest.raises(DataError) as refused:
        raced(tmp_path, digits, calls)
    assert str(refused.value).startswith(f"{path} is damaged or edited: ")
    assert said in str(refused.value)
    assert "; remove " in str(refused.value)
    assert calls == []
    assert path.read_bytes() == before


def test_the_seconds_of_a_killed_run_are_believed_or_refused(digits: Any, tmp_path: Path) -> None:
    """They are read before the run goes on."""
    pool = Images(digits, digits, Subset(digits, range(8)))
    run = Run(ONE, 0, Length(2, 0, 1), 0, tmp_path, 9.0, 1.0, 99.0)
    (tmp_path / "spent.json").write_text("{}")
    with pytest.raises(DataError, match=r"spent\.json is damaged or edited: it has no 'seconds'; remove it"):
        run(race(), pool, Place(tmp_path), lambda *args: {}, None)  # type: ignore[arg-type]
    assert run.record(pool) is None


def test_costs_of_a_race_before_side_models_were_planned_are_believed() -> None:
    """They lack the seconds of a side model, which are needed only where an arm trains one."""
    held = {"image": {"1": 0.1}, "selection": {}, "judging": 2.0}
    assert why_no_costs(held, ["1"], []) is None
    assert why_no_costs(held, ["1"], [], ("judging", "side")) == "it has no 'side'"


def test_the_record_of_a_failed_run_is_believed() -> None:
    """It has an error, and no accuracy."""
    given = Run(ONE, 0, Length(2, 0, 1), 0, Path(), 9.0, 1.0, 99.0).given
    failed = {
        **given,
        "done": 0,
        "examples": 0,
        "n": 0,
        "seconds": 1.0,
        "error": "no",
        "robust": None,
        "standard": None,
    }
    assert why_no_record(failed, given, 8) is None
