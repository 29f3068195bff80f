"""Claims about the figures of a selection in TensorBoard and Weights & Biases."""

from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest

from coreselect.errors import RequirementError
from coreselect.report.tracking import figures, log_selection
from coreselect.types import Diagnostics


class Writer:
    """What is used of a SummaryWriter, recorded."""

    def __init__(self) -> None:
        self.scalars: dict[tuple[str, int], float] = {}
        self.texts: dict[tuple[str, int], str] = {}

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.scalars[tag, global_step] = scalar_value

    def add_text(self, tag: str, text_string: str, global_step: int) -> None:
        self.texts[tag, global_step] = text_string


class Run:
    """What is used of a run of wandb, recorded."""

    def __init__(self) -> None:
        self.logged: list[tuple[dict[str, Any], int]] = []

    def log(self, data: dict[str, Any], step: int) -> None:
        self.logged.append((data, step))


def test_figures_are_those_of_the_selection() -> None:
    """Counts, gains, weights, diagnostics, certificate and seconds by hand; what a selection lacks has no figure."""
    weights = np.array([1.0, 1.0, 2.0, *[0.0] * 9])
    selection = fakes.selection(weights=weights)
    found = figures(selection)
    assert (found["picks"], found["share"], found["groups"], found["round"]) == (12, 12 / 50, 4, 1)
    assert found["gain"] == pytest.approx(selection.gains.sum())
    assert found["effective_picks"] == pytest.approx(16 / 6)
    assert found["diagnostics/query_pool_cosine"] == -0.5
    assert (found["certificate/value"], found["certificate/upper_bound"], found["certificate/ratio"]) == (
        0.012,
        0.015,
        0.8,
    )
    assert (found["seconds/rows"], found["seconds/in_all"]) == (1.5, 1.75)
    assert all(type(value) is float for value in found.values())
    bare = figures(fakes.selection(gains=np.zeros(12), diagnostics=None, certificate=None))
    assert not [name for name in bare if name.startswith(("diagnostics", "certificate", "gain", "effective"))]


def test_both_kinds_of_writer_get_the_same_figures() -> None:
    """A name and a step each for TensorBoard, one record for Weights & Biases; trouble is said in words, or not at all."""
    selection = fakes.selection()
    writer, run = Writer(), Run()
    log_selection(writer, selection, 7)
    log_selection(run, selection, 7)
    assert selection.diagnostics is not None
    expected = {f"coreset/{name}": value for name, value in figures(selection).items()}
    said = selection.diagnostics.trouble()
    assert said  # the query opposes the pool
    assert writer.scalars == {(name, 7): value for name, value in expected.items()}
    assert writer.texts == {("coreset/trouble", 7): "\n\n".join(said)}
    assert run.logged == [({**expected, "coreset/trouble": "\n".join(said)}, 7)]
    fine, quiet = Writer(), Run()
    for one in (fine, quiet):
        log_selection(one, fakes.selection(diagnostics=Diagnostics()), 0, prefix="rcs")
    assert fine.texts == {}
    assert "rcs/trouble" not in quiet.logged[0][0]
    with pytest.raises(RequirementError, match="a writer needs add_scalar or log, got object"):
        log_selection(object(), selection, 0)


def test_tensorboard_reads_the_figures_back(tmp_path: Path) -> None:
    """The real SummaryWriter writes a file whose scalars are the figures, in float32, at their step."""
    reader = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(reader, reason="the real writer needs tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    selection = fakes.selection()
    with SummaryWriter(str(tmp_path)) as writer:
        for step in (3, 5):
            log_selection(writer, selection, step)
    read = accumulator.EventAccumulator(str(tmp_path)).Reload()
    expected = {f"coreset/{name}": value for name, value in figures(selection).items()}
    assert set(read.Tags()["scalars"]) == set(expected)
    for name, value in expected.items():
        events = read.Scalars(name)
        assert [event.step for event in events] == [3, 5]
        assert events[0].value == pytest.approx(value, rel=1e-6)
