"""Cells run once and on equal terms; their costs and results are summed correctly and written to files."""

import csv
import io
import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

from coreselect import Selection, get_selector
from coreselect.data import load
from coreselect.errors import DataError, RequirementError
from coreselect.selectors import RS2, Random
from coreselect.support.records import digest_of
from coreselect_integrations.comparison import Cell, Finetuning, Runtime, Study, compare
from coreselect_integrations.comparison.cell_files import RECORD, TERMS
from coreselect_integrations.comparison.cell_run import EMPTY_RECORD
from coreselect_integrations.comparison.equal_time import affordable_epochs, settings_of
from coreselect_integrations.comparison.methods import selector_for
from coreselect_integrations.comparison.page import as_html, sentence
from coreselect_integrations.comparison.picture import looks_of, on_front, pareto
from coreselect_integrations.comparison.plan import cells
from coreselect_integrations.comparison.report import as_csv, caption, write
from coreselect_integrations.comparison.statistics import FULL, WARM, MeanStd, lines, paired
from coreselect_integrations.comparison.tables import NARROW, WIDE, blocks, nonempty_columns
from coreselect_integrations.networks import load_network
from coreselect_integrations.pretraining.dataset_shape import evenly_spaced
from coreselect_integrations.pretraining.presets import defaults
from coreselect_integrations.pretraining.run import MODEL
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.training.runs import CHECKPOINT, LOG

pytest.importorskip("sklearn", reason="digits come with scikit-learn")


def tiny(system: str = "sat", **changes: Any) -> Settings:
    fixed = {
        "arch": "small", "epochs": 3, "batch_size": 32, "optimiser": "sgd", "lr": 0.05, "lr_warmup": 0, "attack_steps": 1,
        "guard": False,
        "radius": 0.1, "step": 0.1, "interval": 1, "warmup": 1, "every": 1, "validation": 20, "rd_steps": 1,
    }  # fmt: skip
    return replace(defaults(system), **{**fixed, **changes})


def few(**changes: Any) -> Study:
    fixed: dict[str, Any] = {"methods": ("rs2", "random"), "fractions": (0.25,), "seeds": (0,), "full": False}
    return Study(**{"settings": tiny(), **fixed, **changes})


def run(folder: Path, plan: Study, **more: Any) -> list[dict[str, Any]]:
    return compare(plan, load("digits", "train", 100), load("digits", "test", 30), Runtime(folder, **more))


def by_name(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {Cell(r["method"], r["fraction"], r["seed"], r["equal"]).name: r for r in records}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study, list[dict[str, Any]]]:
    """Three methods and the whole pool, one seed, trained."""
    folder, plan = tmp_path_factory.mktemp("comparison"), few(methods=("rcs", "rs2", "random"), full=True)
    return folder, plan, run(folder, plan)


def test_every_method_has_a_cell_and_each_record_says_what_it_cost(done: Any) -> None:
    """There are cells for warm, full and three methods; all include the warm-up; only selectors have seconds of selection."""
    folder, _, records = done
    found = by_name(records)

    assert list(found) == ["warm-seed0", "full-seed0", "rcs-0.25-seed0", "rs2-0.25-seed0", "random-0.25-seed0"]
    assert all(r["error"] is None and 0 <= r["accuracy"]["trained"]["robust"] <= 1 for r in records)
    assert [r["epochs"] for r in records] == [1, 3, 3, 3, 3]
    assert {r["warm_seconds"] for r in records} == {found["warm-seed0"]["train_seconds"]}
    assert all(r["train_seconds"] > r["warm_seconds"] for r in records[1:])
    assert found["rcs-0.25-seed0"]["selection"]["rows"] > 0
    assert found["full-seed0"]["selection"] == {}
    assert all(r["rd"] >= 0 and 1 <= r["classes"] <= 10 for r in records)
    assert json.loads((folder / "full-seed0" / RECORD).read_text()) == found["full-seed0"]


def test_what_was_seen_is_counted_since_the_warm_up(done: Any) -> None:
    """A fixed quarter sees a quarter, two disjoint draws see a half, and the warm model and the full run see all."""
    seen = {r["method"]: r["seen"] for r in done[2]}
    assert (seen["random"], seen["rs2"], seen[FULL], seen[WARM]) == (0.25, 0.5, 1.0, 1.0)


def test_every_method_begins_at_the_same_warm_model(done: Any) -> None:
    """The first epoch in the log of every cell is that of the warm run, with the same bits and seconds."""
    folder, _, records = done
    logs = [(folder / name / LOG).read_text().splitlines() for name in by_name(records)]
    assert len({log[0] for log in logs}) == 1
    assert [len(log) for log in logs] == [1, 3, 3, 3, 3]


def test_a_method_on_recorded_features_finds_those_of_the_warm_up(done: Any, tmp_path: Path) -> None:
    """The shared warm-up records them, which changes no weight, also where the folder's warm model has none yet."""
    plan = few(methods=("rs2", "rcs:rows=recorded"), make=selector_for)
    shutil.copytree(done[0], tmp_path / "begun")
    records = [r for place in ("new", "begun") for r in run(tmp_path / place, plan)]
    assert [r["error"] for r in records] == [None] * 6
    accuracies = {r["method"]: r["accuracy"] for r in done[2]}
    assert all(r["accuracy"] == accuracies[r["method"]] for r in records if r["method"] in accuracies)
    recorded = next(r for r in records if r["method"] == "rcs:rows=recorded")
    assert recorded["selection"]["greedy"] > 0
    assert "attack" not in recorded["selection"]


class Spy(Random):
    """Random selection under any name, which records the weights of its model."""

    shown: list[str] = []  # noqa: RUF012

    def select(self, task: Any, budget: Any, *, generator: Any, round: int = 0) -> Selection:
        Spy.shown.append(digest_of(task.model.state_dict()))
        return super().select(task, budget, generator=generator, round=round)


def test_methods_that_choose_alike_end_alike(tmp_path: Path) -> None:
    """Two names for one method both start from the warm weights, and end with the same weights."""
    Spy.shown.clear()
    records = run(tmp_path, few(make=lambda name, settings: Spy()))
    a, b = records[1:]
    assert [Spy.shown[0]] * 2 == Spy.shown
    assert a["accuracy"] == b["accuracy"]
    one, two = (load_network(tmp_path / name / MODEL).weights for name in by_name(records) if name != "warm-seed0")
    assert all(bool((value == two[key]).all()) for key, value in one.items())


def test_finished_cells_are_never_run_again(done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second call returns the same records and writes no file."""
    folder, plan, records = done
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr(
        "coreselect_integrations.comparison.study.run_cell", lambda *args: pytest.fail("a finished cell was run")
    )
    assert run(folder, plan) == records
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_methods_may_be_added_and_other_terms_are_refused(done: Any) -> None:
    """A new method runs alone; other epochs, attacks or data are refused in a sentence with both values."""
    folder, plan, records = done
    ran: list[str] = []

    def ended(record: dict[str, Any], fresh: bool) -> None:
        ran.extend([record["method"]] * fresh)

    more = run(folder, replace(plan, methods=(*plan.methods, "redraw")), ended=ended)
    assert (ran, more[:5]) == (["redraw"], records)
    with pytest.raises(RequirementError, match=r"holds a comparison with epochs 3, this one has 4: use the settings"):
        run(folder, replace(plan, settings=tiny(epochs=4)))
    with pytest.raises(RequirementError, match="comparison with train 'n:100"):
        compare(plan, load("digits", "train", 90), load("digits", "test", 30), Runtime(folder))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    """A damaged file, and a file in place of a folder, are refused by name."""
    (tmp_path / TERMS).write_text("{")
    with pytest.raises(DataError, match="remove it"):
        run(tmp_path, few())
    with pytest.raises(DataError, match="give another"):
        run(tmp_path / TERMS / "below", few())


class Fragile(RS2):
    """A selector that fails while `broken` is true."""

    broken = True

    def select(self, task: Any, budget: Any, *, generator: Any, round: int = 0) -> Selection:
        if Fragile.broken:
            raise ValueError("no\nluck")
        return super().select(task, budget, generator=generator, round=round)


def test_a_failed_cell_is_a_record_and_is_tried_again(tmp_path: Path) -> None:
    """The other cells still run; after the error is repaired, only the failed cell runs again."""
    ran: list[str] = []

    def make(name: str, settings: Settings) -> Any:
        return Fragile() if name == "rs2" else selector_for(name, settings)

    def ended(record: dict[str, Any], fresh: bool) -> None:
        ran.extend([record["method"]] * fresh)

    plan = few(make=make, equal=("epochs", "time"))
    Fragile.broken = True
    first = by_name(run(tmp_path, plan))
    assert first["rs2-0.25-seed0"]["error"] == "ValueError: no luck"
    assert "rs2 failed at equal epochs" in first["rs2-0.25-seed0-time"]["error"]
    assert first["random-0.25-seed0"]["error"] is None
    assert "no\nluck" in (tmp_path / "rs2-0.25-seed0" / "traceback.txt").read_text()
    Fragile.broken = False
    second = by_name(run(tmp_path, replace(plan, equal=("epochs",)), ended=ended))
    assert ran == ["rs2"]
    assert second["rs2-0.25-seed0"]["error"] is None
    assert second["random-0.25-seed0"] == first["random-0.25-seed0"]


def test_a_method_that_cannot_be_made_fails_in_its_own_cell(tmp_path: Path) -> None:
    """The warm-up asks every method what it has to record; one that cannot answer does not stop the others."""

    def make(name: str, settings: Settings) -> Any:
        if name == "rs2":
            raise ValueError("it cannot be made")
        return selector_for(name, settings)

    records = by_name(run(tmp_path, few(make=make)))
    failed = {name: r["error"] for name, r in records.items() if r["error"] is not None}
    assert failed == {"rs2-0.25-seed0": "ValueError: it cannot be made"}


def test_a_killed_comparison_goes_on_and_ends_with_the_same_accuracies(done: Any, tmp_path: Path) -> None:
    """After a kill in the last epoch of a cell, finished epochs stay, and all numbers except times are those of a whole run."""
    _, plan, records = done

    def plug(part: str, finished: int, total: int) -> None:
        if (tmp_path / "rcs-0.25-seed0" / CHECKPOINT).exists() and part == "epoch 3":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, plan, progress=plug)
    assert not (tmp_path / "rcs-0.25-seed0" / RECORD).exists()
    log = (tmp_path / "rcs-0.25-seed0" / LOG).read_text()
    again = run(tmp_path, plan)
    assert (tmp_path / "rcs-0.25-seed0" / LOG).read_text().startswith(log)
    timed = ("train_seconds", "select_seconds", "warm_seconds", "selection")
    assert [{k: v for k, v in r.items() if k not in timed} for r in again] == [
        {k: v for k, v in r.items() if k not in timed} for r in records
    ]


def took(method: str, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        **asdict_of(Cell(method, 0.1, 0)), **EMPTY_RECORD, "warm_seconds": 5.0, "train_seconds": 5.0 + 0.75 * seconds,
        "select_seconds": 0.25 * seconds, **more,
    }  # fmt: skip


def asdict_of(cell: Cell) -> dict[str, Any]:
    return {"method": cell.method, "fraction": cell.fraction, "seed": cell.seed, "equal": cell.equal}


def test_equal_time_by_hand() -> None:
    """If ten epochs took 20, 8 and 7 s, the slowest keeps 10; the others get ⌊10 · 20/8⌋ = 25 and ⌊10 · 20/7⌋ = 28."""
    plan = few(settings=tiny(epochs=13, warmup=3), equal=("time",))
    before = [took("slow", 20), took("b", 8), took("c", 7), took("late", 90, error="x"), took("far", 90, seed=1)]

    def epochs(method: str) -> int:
        return affordable_epochs(Cell(method, 0.1, 0, "time"), plan, before)

    assert [epochs(method) for method in ("slow", "b", "c")] == [10, 25, 28]
    with pytest.raises(RequirementError, match="late failed at equal epochs"):
        epochs("late")


def test_the_slowest_keeps_its_epochs_whatever_the_seconds() -> None:
    """⌊e · T/T⌋ is e in floating point, too."""
    for e, seconds in [(7, 0.1), (49, 1 / 49), (3, 1e-3 / 7)]:
        plan = few(settings=tiny(epochs=e + 1))
        assert affordable_epochs(Cell("a", 0.1, 0, "time"), plan, [took("a", seconds)]) == e


def test_a_longer_run_stretches_its_curves_and_nothing_else() -> None:
    """With twice the epochs after a warm-up of 2, milestones are scaled; warm-up and interval of selections stay."""
    own = tiny(epochs=12, warmup=2, every=5, lr_warmup=1, curve="stairs", milestones=(6, 9), interval=3)
    plan = few(settings=own, equal=("time",))
    got = settings_of(Cell("fast", 0.1, 4, "time"), plan, [took("fast", 10, seed=4), took("slow", 20, seed=4)])
    assert (got.epochs, got.warmup, got.every, got.lr_warmup) == (22, 2, 5, 1)
    assert (got.milestones, got.interval, got.seed, got.fraction) == ((11, 16), 6, 4, 0.1)


def test_at_equal_time_the_faster_trains_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If rs2 takes a third of the time, it gets three times the epochs; the slowest needs no new cell."""
    cost = {"rs2": 1.0, "random": 3.0, "redraw": 6.0}
    monkeypatch.setattr(
        "coreselect_integrations.comparison.equal_time.seconds_after_warm_up", lambda record: cost[record["method"]]
    )
    plan = few(equal=("time",))
    found = by_name(run(tmp_path, plan))

    assert found["rs2-0.25-seed0-time"]["epochs"] == 1 + 2 * 3
    assert not (tmp_path / "random-0.25-seed0-time" / "epochs3").exists()
    assert found["random-0.25-seed0-time"] == {**found["random-0.25-seed0"], "equal": "time"}
    more = by_name(run(tmp_path, replace(plan, methods=("rs2", "random", "redraw"))))  # a slower one: more time for all
    assert [more[f"{m}-0.25-seed0-time"]["epochs"] for m in ("rs2", "random", "redraw")] == [13, 5, 3]


def test_contrastive_networks_are_judged_by_fine_tuning(tmp_path: Path) -> None:
    """ACL trains no classifier, so slf and alf train one on the labelled pool."""
    pytest.importorskip("kornia")
    plan = few(settings=tiny("acl", epochs=2), methods=("rs2",), judged=("slf", "alf"), finetuning=Finetuning(1))
    records = run(tmp_path, plan)
    assert [r["error"] for r in records] == [None, None]
    assert all(list(r["accuracy"]) == ["slf", "alf"] for r in records)
    assert (tmp_path / "rs2-0.25-seed0" / "alf" / LOG).exists()


@pytest.mark.parametrize("methods", [("rs2", "rs2"), ("a:b", "a/b"), ("x" * 300,)])
def test_folders_that_two_methods_would_share_are_refused(methods: tuple[str, ...], tmp_path: Path) -> None:
    """They are refused before training, and so are names that are too long for a folder."""
    plan = few(methods=methods, make=lambda name, settings: Random(), own=lambda name, settings: settings)
    with pytest.raises(
        RequirementError, match=r"two methods would use the folder .*, or its name is longer than 200 characters"
    ):
        run(tmp_path / "none", plan)
    assert not (tmp_path / "none").exists()


def test_a_classifier_is_judged_as_it_is_and_fine_tuned_on_another_set(tmp_path: Path) -> None:
    """`alf@flipped` reads training and test images of the other set only."""
    train, test = load("digits", "train", 100), load("digits", "test", 30)
    read: dict[str, set[int]] = {"train": set(), "test": set()}

    class Other:
        def __init__(self, part: str, source: Any) -> None:
            self.part, self.source = part, source

        def __len__(self) -> int:
            return len(self.source)

        def __getitem__(self, i: int) -> Any:
            read[self.part].add(i)
            x, y = self.source[i]
            return 1 - x, y

    others = {"flipped": (Other("train", train), Other("test", test))}
    plan = few(methods=("rs2",), judged=("trained", "alf@flipped"), finetuning=Finetuning(2, rows=40, attack_steps=1))
    records = compare(plan, train, test, Runtime(tmp_path), others)

    assert [list(r["accuracy"]) for r in records] == [["trained", "alf@flipped"]] * 2
    assert [r["accuracy"]["alf@flipped"]["n"] for r in records] == [30, 30]
    log = [json.loads(line) for line in (tmp_path / "rs2-0.25-seed0" / "alf@flipped" / LOG).read_text().splitlines()]
    assert [r["examples"] for r in log] == [40, 40]
    assert read["test"] == set(range(30))
    with pytest.raises(RequirementError, match="train@flipped"):
        compare(plan, train, test, Runtime(tmp_path), {"flipped": (test, test)})


def test_the_processors_clock_does_not_time_a_gpu(tmp_path: Path) -> None:
    """It is refused before anything is read or written."""
    with pytest.raises(RequirementError, match="cannot measure a cuda device"):
        run(tmp_path / "out", few(clock="cpu"), device="cuda")
    assert not (tmp_path / "out").exists()


def test_rows_of_fine_tuning_are_of_all_classes() -> None:
    """From a set sorted by class, the same number of each class is taken, and never more than there are."""
    ordered = [(0.0, y) for y in np.repeat(np.arange(5), 20)]
    assert np.bincount([y for _, y in evenly_spaced(ordered, 10)]).tolist() == [2] * 5
    assert len(set(evenly_spaced(ordered, 99).indices)) == 99
    assert evenly_spaced(ordered, 100) is evenly_spaced(ordered, None) is ordered


def test_seconds_may_be_the_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause costs wall-clock seconds, but no processor seconds."""
    from coreselect_integrations.pretraining import run as pretraining
    from coreselect_integrations.training import totals

    work, wall = iter(np.arange(0.0, 1e6, 3.0)), iter(np.arange(0.0, 1e9, 1000.0))
    monkeypatch.setattr(pretraining, "process_time", lambda: float(next(work)))
    for module in (pretraining, totals):
        monkeypatch.setattr(module, "perf_counter", lambda: float(next(wall)))
    warm, rs2 = run(tmp_path, few(methods=("rs2",), clock="cpu"))
    assert (warm["train_seconds"], warm["select_seconds"], rs2["warm_seconds"]) == (3.0, 3.0, 3.0)
    assert (rs2["train_seconds"], rs2["select_seconds"]) == (9.0, 9.0)
    assert "; seconds are processor seconds." in sentence({**ABOUT, "clock": "cpu"})
    with pytest.raises(RequirementError, match="clock 'cpu', this one has 'wall'"):
        run(tmp_path, few(methods=("rs2",)))


def test_a_method_may_be_written_with_settings_of_its_own(tmp_path: Path) -> None:
    """One method uses rows of all parameters, the other rows of the head; the runs record this and share one warm model."""
    plan = few(settings=tiny(epochs=2), methods=("rcs", "rcs:capture=all:eta=0.001"))
    records = run(tmp_path, plan)

    assert [(r["method"], r["error"]) for r in records] == [("warm", None), *((m, None) for m in plan.methods)]
    names = ("rcs-0.25-seed0", "rcs_capture=all_eta=0.001-0.25-seed0")
    kept = [load_network(tmp_path / name / MODEL).about for name in names]
    assert [(k["capture"], k["selector_settings"]["eta"]) for k in kept] == [("head", 0.01), ("all", 0.001)]
    captured = [Selection.load(tmp_path / name / "coreset.npz").provenance.task["capture"] for name in names]
    assert captured[0] != captured[1]


def test_rd_is_measured_alike_whatever_a_method_reads(tmp_path: Path) -> None:
    """RD at the end uses one attack for all, so a method with other attack steps and the same picks has the same RD."""
    plan = few(
        methods=("rs2", "other"),
        own=lambda name, s: s if name == "rs2" else replace(s, rd_steps=4),
        make=lambda *_: RS2(),
    )
    _, one, two = run(tmp_path, plan)
    assert (one["error"], two["error"]) == (None, None)
    assert one["rd"] == two["rd"]


def test_a_set_that_is_not_there_is_refused_before_anything_trains(tmp_path: Path) -> None:
    """`alf@there` without the set is refused in one sentence, and no folder is made."""
    with pytest.raises(RequirementError, match="no set is called 'there', which the evaluation 'alf@there' needs"):
        run(tmp_path / "none", few(judged=("trained", "alf@there")))
    assert not (tmp_path / "none").exists()


def test_without_a_warm_up_all_begin_at_the_same_parameters(tmp_path: Path) -> None:
    """The warm model is then the untrained network, and its seconds are 0."""
    records = run(tmp_path, few(settings=tiny(warmup=0, epochs=2), methods=("random",)))
    assert [r["error"] for r in records] == [None, None]
    assert [(r["epochs"], r["warm_seconds"], r["seen"]) for r in records] == [(0, 0.0, 0.0), (2, 0.0, 0.25)]


def test_p_is_that_of_scipy() -> None:
    """The paired t-test, two-sided, over the seeds that both have."""
    g = np.random.default_rng(0)
    for n in (2, 3, 10):
        a, b = g.normal(size=n), g.normal(size=n)
        found = paired({**dict(enumerate(a)), 99: 5.0}, {**dict(enumerate(b)), 98: 5.0})
        expected: Any = ttest_rel(a, b)
        assert found is not None
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
        assert found.difference.n == n


def test_differences_by_hand() -> None:
    """d = 1, 2, 3: mean 2, deviation 1, t = 2√3; with two degrees of freedom p = 1 − t/√(t² + 2) = 1 − √(12/14)."""
    found = paired({0: 2.0, 1: 4.0, 2: 6.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert found is not None
    assert found.difference == MeanStd(2.0, 1.0, 3)
    assert found.p == pytest.approx(1 - math.sqrt(12 / 14))


def test_too_few_or_equal_differences_claim_nothing() -> None:
    """Without a common seed there is no comparison, with one no p; p is 1 for no differences, and there is none for equal ones."""
    assert paired({0: 1.0}, {1: 1.0}) is None
    one, none = paired({0: 1.0}, {0: 0.5}), paired({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0})
    alike = paired({0: 0.3, 1: 0.6}, {0: 0.1, 1: 0.4})  # equal but for rounding
    assert one is not None
    assert none is not None
    assert alike is not None
    assert (one.p, none.p, alike.p) == (None, 1.0, None)
    assert (one.visible, none.visible, alike.visible) == (None, None, None)
    assert (MeanStd.of([2.0]).text(), MeanStd.of([1.0, 3.0]).text(1, "+")) == ("2.0", "+2.0 ± 1.4")


def fake(method: str, robust: float, seconds: float, seed: int = 0, **more: Any) -> dict[str, Any]:
    accuracy = {"trained": {"standard": robust + 0.2, "robust": robust, "n": 100}}
    fraction = None if method in (FULL, WARM) else 0.1
    return {
        **asdict_of(Cell(method, fraction, seed)), **EMPTY_RECORD, "accuracy": accuracy, "epochs": 9, "seen": 0.5, "rd": 0.01,
        "train_seconds": 0.75 * seconds, "select_seconds": 0.25 * seconds, "classes": 9.5,
        "selection": {} if fraction is None else {"rows": 0.2 * seconds}, **more,
    }  # fmt: skip


RECORDS = [
    *(fake(WARM, 0.1, 4, s) for s in (0, 1)), *(fake(FULL, 0.5, 80, s) for s in (0, 1)),
    fake("rs2", 0.40, 8, 0), fake("rs2", 0.42, 8, 1), fake("rcs", 0.39, 20, 0), fake("rcs", 0.43, 20, 1),
    {**asdict_of(Cell("<b>", 0.1, 0)), **EMPTY_RECORD, "error": "ValueError: a < b & c, d"}, fake("<b>", 0.3, 16, 1),
]  # fmt: skip
NOT_ALWAYS = ("margin %", "AA %", "gap", "CA %", "fresh seeds")
ALWAYS = [name for name in WIDE if name not in NOT_ALWAYS]  # the columns of every comparison
ABOUT = {**few().terms(), "data": "digits", "pool_size": 80, "tested": 100}


def test_a_line_summarises_its_seeds() -> None:
    """Means, speed-up over the full run and failed seeds are those computed by hand."""
    found = {line.method: line for line in lines(RECORDS)}
    assert found["rs2"].robust.mean == pytest.approx(0.41)
    assert found["rs2"].robust.deviation == pytest.approx(0.02 / math.sqrt(2))
    assert found["rcs"].against is not None
    assert found["rcs"].against.difference.mean == pytest.approx(0.0, abs=1e-12)
    assert [found[m].speedup for m in ("rs2", "rcs", FULL)] == [10.0, 4.0, 1.0]
    assert (found[WARM].speedup, found["rs2"].against) == (None, None)
    assert (found["<b>"].seeds, found["<b>"].failed) == (1, 1)
    assert found["rcs"].selection == {"rows": 4.0}


def test_a_block_has_warm_and_full_in_it() -> None:
    """There is one block for each fraction and kind of equality, each with the line of the full run."""
    again = [{**r, "equal": "time"} for r in RECORDS if r["fraction"] is not None]
    titles = {title: [line.method for line in found] for title, found in blocks([*RECORDS, *again])}
    assert list(titles) == ["10 % of the pool, equal epochs", "10 % of the pool, equal time"]
    assert all(methods == [WARM, FULL, "rs2", "rcs", "<b>"] for methods in titles.values())
    assert [title for title, _ in blocks(RECORDS[:4])] == ["the whole pool, equal epochs"]


def test_columns_without_content_are_left_out() -> None:
    """Without a full run there is no column of speed-up; without rs2 there is no column of differences."""
    names, rows = nonempty_columns(NARROW, lines([fake("rcs", 0.3, 9, 0)]))
    assert names == ["method", "std %", "robust %", "train s", "select s"]
    assert rows == [["rcs", "50.0", "30.0", "6.8", "2.2"]]
    assert nonempty_columns(WIDE, lines(RECORDS))[0] == ALWAYS


def test_the_csv_has_a_row_a_cell_and_judgement() -> None:
    """Numbers are unchanged, errors are in words, and each part of selection has a column."""
    rows = list(csv.DictReader(io.StringIO(as_csv(RECORDS))))
    assert len(rows) == len(RECORDS)
    assert (rows[4]["method"], rows[4]["robust"], rows[4]["select_rows_seconds"]) == ("rs2", "0.4", "1.6")
    assert (rows[8]["error"], rows[8]["robust"], rows[8]["seen"]) == ("ValueError: a < b & c, d", "", "")
    two = {"slf": {"standard": 0.5, "robust": 0.2, "n": 9}, "alf": {"standard": 0.4, "robust": 0.3, "n": 9}}
    rows = list(csv.DictReader(io.StringIO(as_csv([{**RECORDS[4], "accuracy": two}]))))
    assert [(r["judged"], r["robust"]) for r in rows] == [("slf", "0.2"), ("alf", "0.3")]


class Outside(HTMLParser):
    """Collect tags, texts, and everything that a browser would download."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data", "action", "poster")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_needs_nothing_from_outside() -> None:
    """The page contains the picture and no script, style sheet, font or address; names are text, not markup."""
    page = as_html(ABOUT, RECORDS, b"\x89PNG")
    seen = Outside()
    seen.feed(page)
    assert seen.fetched == ["data:image/png;base64,iVBORw=="]
    assert not {"script", "link", "iframe", "b"} & set(seen.tags)
    assert not any(word in page for word in ("http:", "https:", "url(", "@import"))
    text = " ".join(seen.words)
    assert "<b> 0.1, seed 0: ValueError: a < b & c, d" in " ".join(text.split())
    assert all(name in seen.words for name in ALWAYS)
    assert "Wall-clock seconds of selection, by part" in seen.words
    assert '"radius": 0.1' in text


def test_all_files_are_written(tmp_path: Path) -> None:
    """JSON, CSV, page and picture are written; without a picture the rest is written."""
    pytest.importorskip("matplotlib")
    files = write(tmp_path, ABOUT, RECORDS, pareto(RECORDS))
    assert [f.name for f in files] == ["results.json", "results.csv", "report.html", "pareto.png"]
    assert json.loads((tmp_path / "results.json").read_text()) == {"study": ABOUT, "records": RECORDS}
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert len(write(tmp_path / "none", ABOUT, RECORDS, None)) == 3


def test_paths_that_are_no_utf_8_end_no_report(tmp_path: Path) -> None:
    """Their bytes are written as codes: on the page, and below the picture."""
    path = os.fsdecode(b"/\xff")
    made = {"command": f"coreselect compare --out {path}"}
    files = write(tmp_path, {**ABOUT, "data": path}, RECORDS, None, made=made)
    assert "compare --out /\\udcff" in files[2].read_text()
    assert "/\\xff;" in caption({**ABOUT, "data": path}, RECORDS)


@pytest.mark.parametrize(
    "records",
    [RECORDS[:2], RECORDS[8:9], []],
    ids=["warm alone", "failed alone", "nothing"],
)
def test_nothing_finished_is_no_picture(records: list[Any]) -> None:
    """Without finished cells there is no picture, also not on the page."""
    assert pareto(records) is None
    assert "<img" not in as_html(ABOUT, records, None)


@pytest.mark.parametrize("change", [lambda r: r, lambda r: {**r, "train_seconds": 1e-4, "select_seconds": 0.0}])
def test_the_picture_can_be_drawn_without_a_full_run(change: Callable[[Any], Any]) -> None:
    """A picture of one method can be drawn, however fast it is."""
    pytest.importorskip("matplotlib")
    assert pareto([change(RECORDS[4])]) is not None


def test_the_front_is_what_no_other_beats() -> None:
    """rs2 is faster than rcs and as robust, so rcs is not on the front; the slow full run is."""
    assert {line.method for line in on_front([o for o in lines(RECORDS) if o.method != WARM])} == {FULL, "rs2"}


def test_no_two_methods_look_alike() -> None:
    """Sixty methods have sixty different pairs of colour and mark."""
    looks = looks_of([f"m{i}" for i in range(60)])
    assert len(set(looks.values())) == 60


def test_cells_at_equal_epochs_come_first() -> None:
    """Equal time needs the times at equal epochs, so it runs those first."""
    order = [cell.equal for cell in cells(few(equal=("time",), seeds=(0, 1)))]
    assert order == ["epochs"] * 6 + ["time"] * 4


def test_any_selector_can_be_made_for_a_cell() -> None:
    """The default `make` knows all names of the registry, and gives RCS the objective of the settings."""
    made = selector_for("rcs", tiny(rd_steps=2))
    assert made.objective == tiny(rd_steps=2).rd  # type: ignore[attr-defined]
    assert selector_for("rs2", tiny()) == get_selector("rs2")
