"""What a user sees of a run: one line for each epoch, each warning in full once, bars only on a terminal."""

from collections.abc import Mapping
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from coreselect_integrations.cli import comparison_progress
from coreselect_integrations.cli.run_progress import RunProgress, counted, duration, epoch_line
from coreselect_integrations.comparison import Cell


def record(epoch: int, **more: Any) -> Mapping[str, Any]:
    return {"epoch": epoch, "loss": 2.25, "accuracy": 0.5, "lr": 0.1, "seconds": 30.0, **more}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"), (9.94, "9.9 s"), (9.95, "10 s"), (59.1, "1 min 00 s"), (200, "3 min 20 s"), (3599.5, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)  # fmt: skip
def test_a_time_is_written_in_its_two_largest_units(seconds: float, words: str) -> None:
    """From ten seconds on it is rounded up to whole seconds, so that no minute has sixty of them."""
    assert duration(seconds) == words


def test_one_thing_is_not_many() -> None:
    """`1 epoch`, `1,442 images`."""
    assert (counted(1, "epoch"), counted(0, "epoch"), counted(1442, "image")) == ("1 epoch", "0 epochs", "1,442 images")


@pytest.mark.parametrize("more", [{}, {"accuracy": None}, {"select_seconds": 12.25}, {"loss": 6.6e20}])
def test_an_epochs_line_fits_80_columns(more: Mapping[str, Any]) -> None:
    """Also with a selection, without accuracy, and where the loss is huge."""
    words = epoch_line(record(999, **more), 1000)
    assert words.startswith("epoch 1000 of 1000: loss ")
    assert len(words) <= 80
    assert ("right" in words) == (more.get("accuracy", 0.5) is not None)
    assert ("12.2 s selecting" in words) == ("select_seconds" in more)


def test_an_epochs_line_leaves_out_a_selection_that_took_nothing() -> None:
    """Less than a twentieth of a second is not shown."""
    assert "selecting" not in epoch_line(record(0, select_seconds=0.01), 1)


def shown(live: RunProgress, *records: Mapping[str, Any]) -> list[str]:
    live.console = Console(file=StringIO(), width=80)
    with live:
        live("epoch 1", 5, 10)
        for each in records:
            live.ended(each)
    file = live.console.file
    assert isinstance(file, StringIO)
    return file.getvalue().splitlines()


def test_a_log_has_a_line_an_epoch_and_the_time_that_is_left() -> None:
    """After two of three epochs of 30 s, 30 s are left; after the last nothing is said. There are no bars and no codes."""
    lines = shown(RunProgress(3), *(record(e) for e in range(3)))
    assert [said.endswith(f"{left} left") for said, left in zip(lines, ("1 min 00 s", "30 s"), strict=False)] == [
        True
    ] * 2
    assert lines[2].endswith("30.0 s")
    assert len(lines) == 3
    assert not any("\x1b" in said or "━" in said for said in lines)


def test_the_time_left_follows_the_last_ten_epochs() -> None:
    """After ten long epochs on everything and ten short ones on a coreset, the next ten are expected to be short."""
    live = RunProgress(30)
    shown(live, *(record(e, seconds=100.0 if e < 10 else 1.0) for e in range(20)))
    assert live.left(20) == pytest.approx(10.0)
    assert live.count == 20


def test_trouble_is_told_in_full_once() -> None:
    """The same sentence with other numbers is only counted; a new one is shown."""
    first = record(0, trouble=["94% of the picks are misclassified (pool: 81%)"])
    second = record(1, trouble=["100% of the picks are misclassified (pool: 8.1e-02%)", "the picks cover 4.0 of 10"])
    lines = shown(RunProgress(3), first, second, record(2))
    assert lines[1] == "  94% of the picks are misclassified (pool: 81%)"
    assert lines[3:5] == ["  the picks cover 4.0 of 10", "  1 sign of trouble as before: numbers in log.jsonl"]
    assert len(lines) == 6


def test_long_trouble_is_broken_between_words() -> None:
    """Every line is indented by two columns and fits 80."""
    lines = shown(RunProgress(1), record(0, trouble=["a certain word " * 12]))[1:]
    assert len(lines) > 1
    assert all(said.startswith(("  a ", "  certain ", "  word")) for said in lines)
    assert max(map(len, lines)) <= 80


def test_a_long_first_epoch_gives_an_early_estimate_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds into the first epoch a log has its rate, and once the time of all epochs if they are like it."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    live = RunProgress(100)
    live.console = Console(file=StringIO(), width=80)
    with live:
        for second in range(20):
            now[0] = float(second)
            live("epoch 1", 10 * second + 10, 3600)
    file = live.console.file
    assert isinstance(file, StringIO)
    said = file.getvalue().splitlines()
    assert said == [
        "epoch 1 suggests about 10 h 00 min for the run, if every epoch is like it",
        "epoch 1: 60 of 3,600, 10/s, 354 s left",
    ]


def test_a_comparison_says_how_long_the_other_cells_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the mean of the cells that have run, for those to come, in two processes; the last cell says nothing of the kind."""
    clock = iter([0.0, 40.0, 40.0, 60.0, 60.0, 90.0])
    monkeypatch.setattr(comparison_progress, "perf_counter", lambda: next(clock))
    record = {"method": "rs2", "fraction": 0.1, "seed": 0, "equal": "epochs", "error": None}
    record["accuracy"] = {"trained": {"standard": 0.5, "robust": 0.25}}
    progress = comparison_progress.ComparisonProgress(processes=2)
    with progress:
        for done in range(3):
            progress.began(Cell("rs2", 0.1, done), done, 3)
            progress.ended({**record, "seed": done}, fresh=True)
    lines = [line for line in capsys.readouterr().err.splitlines() if "attacked" in line]
    assert [line.partition("; ")[2] for line in lines] == ["40 s, about 40 s left", "20 s, about 15 s left", "30 s"]


def test_a_return_is_said_in_full_each_time() -> None:
    """Two returns are two warnings; the records after them say nothing twice, and a guarded epoch shows what it measured."""
    out = StringIO()
    with RunProgress(4) as progress:
        progress.console = Console(file=out, width=200)
        progress.ended(
            record(2, back="catastrophic overfitting in epoch 3, back to epoch 2: 2 attack steps from there")
        )
        progress.ended(
            record(2, back="catastrophic overfitting in epoch 3, back to epoch 2: 3 attack steps from there")
        )
        said = "catastrophic overfitting in epoch 3, back to epoch 2: 3 attack steps from there"
        progress.ended(record(2, returned=[{"said": said}], trouble=[said], guard={"multi_step": 0.25}))
    assert out.getvalue().count("2 attack steps") == out.getvalue().count("3 attack steps") == 1
    assert "50.0% right (25% held out)" in out.getvalue()
