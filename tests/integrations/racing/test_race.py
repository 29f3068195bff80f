"""A tiny race on digits, with a clock that stands still unless images are trained or judged on: nothing here is timed."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from own_parts import own_file
from tiny_runs import images, tiny
from torch.utils.data import Dataset, TensorDataset

from coreselect.data import load
from coreselect.errors import DataError, RequirementError
from coreselect.io.folder_lock import FolderLock
from coreselect_integrations.networks import load_network
from coreselect_integrations.own_code import admit
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.racing import judging, run_arm
from coreselect_integrations.racing.arms import Arm, arms_of
from coreselect_integrations.racing.last_training import LATEST
from coreselect_integrations.racing.plan import Budget
from coreselect_integrations.racing.race import Outcome, run_race
from coreselect_integrations.racing.ranking import ranking
from coreselect_integrations.racing.report import PICTURE, RECORD, as_json, write_report
from coreselect_integrations.racing.setting import Place, Race
from coreselect_integrations.training.effort import Effort

pytest.importorskip("sklearn", reason="digits come with scikit-learn")
SHARE, HOURS = 0.7, 420.0  # seconds
STEP = 0.06  # seconds of a pass over an image
EFFORTS = (Effort(1, 1.5), Effort(3))


class Killed(BaseException):
    """The process ends here, and nothing after it is run."""


class Clock:
    """Seconds that pass with the images of training and judging: each costs its passes, times `slower` than was timed."""

    def __init__(self, slower: float = 1.0, kill_at: float = float("inf")) -> None:
        self.now, self.slower, self.kill_at = 1000.0, slower, kill_at
        self.passes, self.last = 2, ("", 0)
        self.calls: list[str] = []

    def began(self, rung: int | None, name: str) -> None:
        self.calls.append(name)
        self.passes = Effort.parse(name.split()[-1]).steps + 1

    def progress(self, part: str, done: int, total: int) -> None:
        images = done - (self.last[1] if self.last[0] == part and done > self.last[1] else 0)
        self.last = part, done
        passes = self.passes if part.startswith("epoch") else judging.STEPS + 1 if part == "judging" else 0
        self.now += images * passes * STEP * self.slower
        if self.now >= self.kill_at:
            raise Killed

    def seconds(self, settings: Settings) -> float:
        return (settings.attack_steps + 1) * STEP


def place(folder: Path, clock: Clock, **more: Any) -> Place:
    """A race in a folder, under this clock."""
    common: dict[str, Any] = {"progress": clock.progress, "began": clock.began, "image_seconds": clock.seconds}
    return Place(folder, clock=lambda: clock.now, **{**common, **more})


@pytest.fixture(scope="module")
def digits() -> Any:
    return load("digits", "train", 100)


def race(seconds: float = HOURS, **changes: Any) -> Race:
    """Four arms: re-drawn halves and the whole pool, under two attacks."""
    settings = tiny("sat", radius=0.1, validation=20, batch_size=16)
    arms = arms_of(["rs2"], [0.5, 1.0], EFFORTS)
    return replace(Race(settings, arms, Budget(seconds, SHARE), judged=10), **changes)


@pytest.fixture(scope="module")
def done(digits: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome, Clock]:
    folder, clock = tmp_path_factory.mktemp("race"), Clock()
    return folder, run_race(race(), digits, place(folder, clock)), clock


def test_every_arm_is_trained_and_the_best_go_on(done: tuple[Path, Outcome, Clock]) -> None:
    """Four arms, then the better two, then the winner alone, each in a folder that is an ordinary run."""
    folder, outcome, clock = done
    names = [arm.name for arm in race().arms]
    first = [r for r in outcome.records if r["rung"] == 0]
    second = [r for r in outcome.records if r["rung"] == 1]
    assert [r["arm"] for r in first] == clock.calls[:4] == names
    best = sorted(first, key=lambda r: -r["robust"])[:2]
    assert {r["arm"] for r in second} == {r["arm"] for r in best}
    assert outcome.winner.name == max(second, key=lambda r: r["robust"])["arm"] == outcome.final["arm"]
    assert all(r["error"] is None and not r["cut"] and r["done"] == r["epochs"] for r in outcome.records)
    assert (folder / "rung1" / "rs2_0.5_1x1.5" / "log.jsonl").exists()
    assert {r["seed"] for r in first} == {0}
    assert {r["seed"] for r in second} == {1}


def test_the_race_spends_the_time_that_it_was_given(done: tuple[Path, Outcome, Clock]) -> None:
    """Judging and the last training included, it ends within 5 % of the hours, and uses most of them."""
    _, outcome, clock = done
    assert outcome.seconds == pytest.approx(clock.now - 1000.0)
    assert 0.85 * HOURS <= outcome.seconds <= 1.05 * HOURS
    assert outcome.final["seconds"] >= 0.2 * HOURS
    longer = [r["seconds"] for r in outcome.records if r["rung"] == 1]
    assert min(longer) > max(r["seconds"] for r in outcome.records if r["rung"] == 0)


def test_the_same_race_again_trains_nothing(done: tuple[Path, Outcome, Clock], digits: Any) -> None:
    """It ends with the same records at once; another race in the folder is refused."""
    folder, outcome, _ = done
    clock = Clock()
    again = run_race(race(), digits, place(folder, clock))
    assert clock.calls == []
    assert (again.records, again.final, again.winner) == (outcome.records, outcome.final, outcome.winner)
    with pytest.raises(RequirementError, match=r"holds a race with seconds 420\.0, this one has 800\.0"):
        run_race(race(800.0), digits, place(folder, clock))


def test_the_report_has_the_model_the_ranking_and_the_picture(done: tuple[Path, Outcome, Clock]) -> None:
    """The network is the winner's, with its settings; every arm has a line in the record, which says what is alike."""
    folder, outcome, _ = done
    files, missed = write_report(folder, outcome, as_json(race(), outcome, {"data": "digits"}))
    found = json.loads((folder / RECORD).read_text())
    assert (found["winner"], found["data"]) == (outcome.winner.name, "digits")
    assert {o["arm"] for o in found["ranking"]} == {arm.name for arm in race().arms}
    assert found["not_distinguishable"] == [o["arm"] for o in found["ranking"][1:] if not o["distinguishable"]]
    saved = load_network(folder / "model.pt")
    assert saved.about["attack_steps"] == outcome.winner.effort.steps
    assert saved.about["epochs"] == outcome.final["epochs"]
    if not missed:
        assert (folder / PICTURE).read_bytes().startswith(b"\x89PNG")
        assert len(files) == 3


def test_a_killed_race_goes_on_and_ends_as_one_that_was_not(
    done: tuple[Path, Outcome, Clock], digits: Any, tmp_path: Path
) -> None:
    """Killed in rung 0, in rung 1 and in the last training: the decisions stay, and the time of the race is still held."""
    _, whole, _ = done
    clock, calls, killed = Clock(), list[str](), 0
    clock.kill_at = 1060.0
    while True:
        try:
            outcome = run_race(race(), digits, place(tmp_path, clock))
            break
        except Killed:
            calls += clock.calls
            killed += 1
            clock.now += 5000.0  # nobody works for a while, which does not count
            clock.kill_at = clock.now + 150.0
            clock.calls, clock.last = [], ("", 0)
    assert killed >= 3
    finished = [r["arm"] for r in outcome.records]
    assert len(finished) == 6
    assert finished[:4] == [r["arm"] for r in whole.records[:4]]
    for mine, theirs in zip(outcome.records[:4], whole.records[:4], strict=True):
        assert (mine["epochs"], mine["right"]) == (theirs["epochs"], theirs["right"])
    assert outcome.seconds <= 1.05 * HOURS


def test_a_race_on_a_slower_machine_still_keeps_the_time(digits: Any, tmp_path: Path) -> None:
    """Images take twice as long as was timed: runs of rung 0 end early, later ones are planned with what was measured."""
    clock = Clock(slower=2.0)
    outcome = run_race(race(), digits, place(tmp_path, clock))
    assert any(r["cut"] for r in outcome.records if r["rung"] == 0)
    assert outcome.seconds <= 1.05 * HOURS
    assert not outcome.final["cut"]
    assert outcome.final["done"] == outcome.final["epochs"]


def test_a_last_training_that_becomes_slow_ends_early_with_a_network(
    digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops at an epoch's end before the time is over, is judged, and its model.pt says so."""
    clock = Clock()

    def began(rung: int | None, name: str) -> None:
        clock.began(rung, name)
        clock.slower = 3.0 if rung is None else 1.0

    outcome = run_race(race(), digits, place(tmp_path, clock, began=began))
    assert outcome.final["cut"]
    assert 0 < outcome.final["done"] < outcome.final["epochs"]
    assert outcome.seconds <= max(LATEST, 1.05) * HOURS + 10 * 21 * STEP * 3  # judging became slower too
    write_report(tmp_path, outcome, as_json(race(), outcome, {}))
    assert load_network(tmp_path / "model.pt").about["epoch"] == outcome.final["done"] - 1


def test_hours_that_are_too_short_are_refused_with_what_would_do(digits: Any, tmp_path: Path) -> None:
    """One sentence names the slowest arm; nothing was trained, and with these hours the race begins in the same folder."""
    clock = Clock()
    with pytest.raises(RequirementError, match=r"shortest training of 'full 3' takes .* hours are needed") as why:
        run_race(race(20.0), digits, place(tmp_path, clock))
    assert clock.calls == []
    hours = float(str(why.value).split(", so ")[1].split()[0])
    outcome = run_race(race(3600 * hours), digits, place(tmp_path, clock))
    assert {r["arm"] for r in outcome.records if r["rung"] == 0} == {arm.name for arm in race().arms}
    assert outcome.seconds <= 1.05 * 3600 * hours


def test_a_share_that_leaves_no_last_training_is_refused(digits: Any, tmp_path: Path) -> None:
    """Nothing is trained, and the sentence names the share that is too large and one that would do."""
    clock = Clock()
    with pytest.raises(RequirementError, match=r"with 0\.99 of the hours leaves no time .* below 0\.98, such as 0\.5"):
        run_race(race(budget=Budget(HOURS, 0.99)), digits, place(tmp_path, clock))
    with pytest.raises(
        RequirementError, match=r"hours are needed; give these, or --race-share 0\.\d+, or leave out"
    ) as why:
        run_race(race(budget=Budget(HOURS, 0.97)), digits, place(tmp_path, clock))
    assert clock.calls == []
    share = float(str(why.value).split("--race-share ")[1].split(",")[0])
    assert run_race(race(budget=Budget(HOURS, share)), digits, place(tmp_path, clock)).final["error"] is None


def test_a_last_training_that_would_be_shorter_than_a_rung_keeps_the_network_of_the_rung(
    digits: Any, tmp_path: Path
) -> None:
    """The winner's run of the last rung is the result, the record says so, and the same command trains nothing more."""
    clock, arms = Clock(), arms_of(["rs2"], [0.5, 1.0], EFFORTS[:1])
    greedy = race(budget=Budget(HOURS, 0.9), arms=arms)
    outcome = run_race(greedy, digits, place(tmp_path, clock))
    assert clock.calls == [arm.name for arm in arms]
    best = next(r for r in outcome.records if r["arm"] == outcome.winner.name)
    assert outcome.final == {**best, "kept": "rung1"}
    files, _ = write_report(tmp_path, outcome, as_json(greedy, outcome, {}))
    assert files[0].read_bytes() == (tmp_path / "rung1" / outcome.winner.folder / "model.pt").read_bytes()
    again = run_race(greedy, digits, place(tmp_path, clock))
    assert (again.final, clock.calls) == (outcome.final, [arm.name for arm in arms])


def test_processes_share_a_race(digits: Any, tmp_path: Path) -> None:
    """An arm that another process has is left to it: the others are trained first, and the rung waits for it."""
    folder = tmp_path / "rung1"
    others = FolderLock(folder, name=".rs2_0.5_1x1.5.lock")
    clock, waited = Clock(), list[float]()

    def pause(seconds: float) -> None:
        waited.append(seconds)
        clock.now += seconds
        others.release()  # the other process has been killed

    shared = race(budget=Budget(HOURS, SHARE, processes=2))
    outcome = run_race(shared, digits, place(tmp_path, clock, pause=pause))
    names = [arm.name for arm in shared.arms]
    assert clock.calls[:4] == [*names[1:], names[0]]
    assert waited == [1.0]
    plan = json.loads((folder / "plan.json").read_text())
    assert {round(p["seconds"]) for p in plan.values()} == {round(HOURS * SHARE / 2 / 2)}  # two waves
    assert len(outcome.records) == 6


def test_an_arm_that_fails_is_a_result(digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others race on, and the ranking has its reason; if all fail, the first reason is told."""
    real = run_arm.pretrain

    def pretrain(settings: Settings, *args: Any, **more: Any) -> Any:
        if settings.attack_steps == 3:
            raise ValueError("no [luck]")
        return real(settings, *args, **more)

    monkeypatch.setattr(run_arm, "pretrain", pretrain)
    outcome = run_race(race(), digits, place(tmp_path / "some", Clock()))
    assert outcome.winner.effort == EFFORTS[0]
    last = ranking(outcome.records, outcome.winner.name)[-1]
    assert (last.robust, last.why) == (None, "ValueError: no [luck]")
    with pytest.raises(RequirementError, match=r"all arms of rung 1 failed, the first with 'ValueError: no \[luck\]'"):
        run_race(race(arms=arms_of(["rs2"], [0.2, 0.5], [Effort(3)])), digits, place(tmp_path / "all", Clock()))


@pytest.mark.parametrize("system", ["trades", "acl", pytest.param("dynacl-air", marks=pytest.mark.slow), "own"])
def test_every_system_can_race(system: str, tmp_path: Path) -> None:
    """Contrastive networks are judged by a linear probe; a loop of one epoch of the user's is a system too."""
    settings = tiny("sat" if system == "own" else system, validation=8, radius=0.1)
    if system == "own":
        settings = replace(settings, own_epoch=admit(f"{own_file(tmp_path)}:train", "trainer"))
    arms = [Arm("rs2", 0.5, Effort(1)), Arm("rcs", 0.5, Effort(1))]
    outcome = run_race(
        Race(settings, arms, Budget(110.0, SHARE), judged=16), images(72), place(tmp_path / "race", Clock())
    )  # fmt: skip
    assert [r["n"] for r in outcome.records] == [16, 16]
    assert all(r["error"] is None for r in (*outcome.records, outcome.final)), outcome
    assert 0 <= outcome.final["robust"] <= outcome.final["standard"] <= 1
    assert outcome.records[0]["warmup"] == 0  # rs2 reads no network
    assert outcome.records[1]["warmup"] == 1


def test_images_without_labels_cannot_judge(tmp_path: Path) -> None:
    """They are refused before any work, for contrastive systems too."""
    bare: Dataset[Any] = TensorDataset(torch.rand(40, 3, 8, 8))
    with pytest.raises(DataError, match="judges networks on labelled images"):
        run_race(Race(tiny("acl", validation=8), race().arms, Budget(100.0)), bare, place(tmp_path, Clock()))


def test_a_race_of_one_arm_is_a_training(digits: Any, tmp_path: Path) -> None:
    """There is no rung, and all the time is for the one arm, also when it is killed and goes on."""
    clock = Clock(kill_at=1110.0)
    with pytest.raises(Killed):
        run_race(race(150.0, arms=race().arms[:1]), digits, place(tmp_path, clock))
    clock.kill_at = float("inf")
    outcome = run_race(race(150.0, arms=race().arms[:1]), digits, place(tmp_path, clock))
    assert outcome.records == ()
    assert outcome.final["seconds"] >= 0.85 * 150
    written: Mapping[str, Any] = json.loads(
        (write_report(tmp_path, outcome, as_json(race(), outcome, {}))[0][1]).read_text()
    )
    assert written["ranking"] == []
