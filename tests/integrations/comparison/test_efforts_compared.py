"""Lines of a comparison with their own training attack: one judge, the first line of rs2 as the reference, and guards."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import images, tiny

from coreselect.errors import RequirementError
from coreselect_integrations.comparison import Runtime, Study, compare
from coreselect_integrations.comparison.cell_files import check_terms
from coreselect_integrations.comparison.page import as_html
from coreselect_integrations.comparison.statistics import lines, reference_of
from coreselect_integrations.networks import NetworkSpec, Saved, load_network, make
from coreselect_integrations.pretraining.run import MODEL
from coreselect_integrations.pretraining.settings import OLD_DEFAULTS
from coreselect_integrations.pretraining.watch import guard_seconds
from coreselect_integrations.training import runs

METHODS = ("rs2@1x1.5", "redraw@2", "rs2@3")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Three efforts from one warm model that was trained with three steps; the settings guard cheap attacks."""
    folder = tmp_path_factory.mktemp("efforts")
    settings = tiny("sat", guard=None, attack_steps=3, validation=10)
    plan = Study(settings, METHODS, (0.25,), (0,), full=False, also=("margin",))
    return folder, compare(plan, images(50), images(20, seed=8), Runtime(folder))


def test_every_line_trains_with_its_own_attack_and_one_judge(done: tuple[Path, list[dict[str, Any]]]) -> None:
    """The saved settings have the line's steps and radius, the judged radius of all, and a guard for one and two steps."""
    folder, records = done
    assert [r["error"] for r in records] == [None] * 4
    found = [load_network(folder / f"{name}-0.25-seed0" / MODEL).about for name in METHODS]
    assert [a["attack_steps"] for a in found] == [1, 2, 3]
    assert [a["train_radius"] for a in found] == [pytest.approx(1.5 * 8 / 255), None, None]
    assert {a["radius"] for a in found} == {8 / 255}
    assert [a["guard"] for a in found] == [True, True, False]
    assert all(0 <= r["accuracy"]["trained"]["margin"] <= 1 for r in records)


def test_the_first_line_of_rs2_is_the_reference(done: tuple[Path, list[dict[str, Any]]]) -> None:
    """Differences are to `rs2@1x1.5`; the page marks that line alone; without an rs2 the name is still rs2."""
    _, records = done
    assert reference_of(records) == "rs2@1x1.5"
    against = {line.method: line.against for line in lines(records)}
    assert against["rs2@1x1.5"] is None
    assert against["rs2@3"] is not None
    assert against["redraw@2"] is not None
    about = {"epochs": 3, "warmup": 1, "every": 1, "pool_size": 40, "tested": 20, "system": "sat", "arch": "small"}
    page = as_html({**about, "data": "grey"}, records, None)
    assert page.count('<tr class="reference">') == 1
    assert '<tr class="reference"><td>rs2@1x1.5' in page
    assert "<th>gap</th>" in page
    assert reference_of([r for r in records if not r["method"].startswith("rs2")]) == "rs2"


def test_the_seconds_of_the_guard_count(done: tuple[Path, list[dict[str, Any]]]) -> None:
    """The training seconds of a guarded cell are those of its epochs and of what the guard measured."""
    folder, records = done
    kept = torch.load(folder / "rs2@1x1.5-0.25-seed0" / runs.CHECKPOINT, weights_only=True)["records"]
    measured = sum(guard_seconds(r, "seconds") for r in kept)
    assert measured > 0
    (record,) = [r for r in records if r["method"] == "rs2@1x1.5"]
    assert record["train_seconds"] == pytest.approx(sum(r["seconds"] for r in kept) + measured)


def test_folders_of_older_comparisons_go_on(tmp_path: Path) -> None:
    """Their terms lack what later versions let choose; a uniform start within the judged radius is what they meant."""
    terms = Study(tiny("sat", guard=None), ("rs2",), (0.25,), (0,)).terms()
    check_terms(tmp_path, {k: v for k, v in terms.items() if k not in ("start", "train_radius", "guard")})
    check_terms(tmp_path, terms)
    lacking = {k: v for k, v in terms.items() if k not in OLD_DEFAULTS}
    check_terms(tmp_path / "older", lacking)
    check_terms(tmp_path / "older", terms)
    with pytest.raises(RequirementError, match="with queue 4096, this one has 512"):
        check_terms(tmp_path / "older", {**terms, "queue": 512})


def test_weights_and_the_start_of_the_attack_are_both_of_a_comparison() -> None:
    """The digest of weights that all begin with stands beside where attacks start."""
    spec = NetworkSpec("small", 3, 32, classes=2)
    begun = Study(tiny("sat"), ("rs2",), (0.25,), (0,), start=Saved(make(spec).state_dict(), spec, {})).terms()
    assert (begun["start"], len(begun["weights"])) == ("uniform", 16)
