"""The pages' code: Python blocks run in order, shell lines are commands with options that exist."""

import contextlib
import importlib.util
import io
import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
import stage
import typer
from typer.testing import CliRunner

from coreselect.cli.app import build

pytestmark = pytest.mark.skipif(not pages.THERE, reason="the documents are not part of the wheel")
WITH_CODE = [p for p in pages.pages() if pages.python(p) and p != pages.README]
CONFIGURED = pages.DOCS / "how-to" / "configuration.md"  # whose lines read files of the page
WITH_COMMANDS = [p for p in pages.pages() if any(pages.commands(p)) and p != CONFIGURED]
NEEDS = {  # the library that a page is about
    "docs/how-to/lightning.md": "lightning",
    "docs/how-to/accelerate.md": "accelerate",
    "docs/how-to/transformers.md": "transformers",
    "docs/how-to/datasets.md": "datasets",
    "docs/how-to/scikit-learn.md": "sklearn",
}
TUTORIAL, TRAINING = pages.DOCS / "tutorial.md", pages.DOCS / "training.md"


def named(path: Path) -> str:
    """A page's path from the root."""
    return path.relative_to(pages.ROOT).as_posix()


@pytest.mark.parametrize("page", [p for p in WITH_CODE if p not in (TUTORIAL, TRAINING)], ids=named)
def test_the_code_of_every_page_runs_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All Python blocks of a page run, one after the other, with the names that its reader is said to have."""
    if named(page) in NEEDS:
        pytest.importorskip(NEEDS[named(page)], reason=f"the page is about {NEEDS[named(page)]}")
    names = stage.given(named(page))
    monkeypatch.chdir(tmp_path)
    stage.files(tmp_path, named(page))
    with contextlib.redirect_stdout(io.StringIO()):
        for block in pages.python(page):
            exec(compile("\n" * (block.line - 1) + block.text, page.name, "exec"), names)


def test_the_tutorial_runs_from_a_folder_of_images_to_a_trained_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every block in order, commands included, on a small folder of scanned digits; the output has the lines of the page."""
    pytest.importorskip("PIL")
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    stage.photos(tmp_path / "photos")
    names: dict[str, Any] = {"__name__": "tutorial"}
    printed = io.StringIO()
    for block in pages.blocks(TUTORIAL):
        if block.language == "python":
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * (block.line - 1) + block.text, "tutorial.md", "exec"), names)
        elif block.language == "sh":
            for line in block.text.splitlines():
                got = CliRunner().invoke(build(), shlex.split(line)[1:])
                assert got.exit_code == 0, got.output
    shown = printed.getvalue()
    assert re.findall(r"^(rcs|rs2): \d+\.\d% of the test images right, \d+\.\d% under attack", shown, re.MULTILINE) == [
        "rcs",
        "rs2",
    ]
    assert re.findall(r"^epoch (\d+): (\d+) images$", shown, re.MULTILINE)[:3] == [
        ("0", "152"),
        ("1", "152"),
        ("2", "30"),
    ]
    assert {"coreset.npz", "gallery.png", "by-command.txt"} <= {p.name for p in tmp_path.iterdir()}
    assert len(np.load("coreset.npz")["indices"]) == 30


def parsed(line: str) -> None:
    """Read a `coreselect` line as the command line does, without running it."""
    _, name, *words = shlex.split(line)
    group: Any = typer.main.get_command(build())
    context = group.make_context("coreselect", [], resilient_parsing=True)
    command = group.get_command(context, name)
    assert command is not None, line
    with command.make_context(name, words, parent=context):
        pass


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=named)
def test_the_commands_of_every_page_can_be_read(page: Path) -> None:
    """Every shell line calls something that exists, with options that it has: our command, a module, a target, an extra."""
    kinds: dict[str, Callable[[str], None]] = {
        "coreselect ": parsed,
        "torchrun ": lambda line: parsed(line.partition(" -m ")[2]),
        "python -m ": module,
        "make ": target,
        "pip install ": extras,
    }
    for line in pages.commands(page):
        kind = next((k for k in kinds if line.startswith(k)), None)
        assert kind is not None, line
        kinds[kind](line)


def test_the_configuration_page_is_read_by_its_own_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of the page is TOML that the lines after it read to the end of their options; `> FILE` keeps what is printed."""
    monkeypatch.chdir(tmp_path)
    for block in pages.blocks(CONFIGURED):
        if block.language == "toml":
            (tmp_path / "run.toml").write_text(block.text, encoding="utf-8")
        for line in block.text.splitlines() if block.language == "sh" else ():
            _, *words = shlex.split(line.partition(" > ")[0])
            got = CliRunner().invoke(build(), [*words, *(["--print-config"] if "--print-config" not in words else [])])
            assert got.exit_code == 0, (line, got.output)
            if " > " in line:
                (tmp_path / line.partition(" > ")[2]).write_text(got.stdout, encoding="utf-8")


def module(line: str) -> None:
    """The module of a `python -m` line exists."""
    assert importlib.util.find_spec(line.split()[2]) is not None, line


def target(line: str) -> None:
    """A target of the Makefile exists."""
    assert re.search(rf"^{line.split()[1]}:", (pages.ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), line


def extras(line: str) -> None:
    """The extras that a line installs exist."""
    known = (pages.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"\[([\w,]+)\]", line)[0].split(","):
        assert re.search(rf"^{extra} = \[", known, re.MULTILINE), line


def test_dynacl_by_hand_ends_where_its_schedule_does() -> None:
    """docs/training.md: the loop selects under each epoch's own loss and ends at the schedule's last rate."""
    pytest.importorskip("kornia")
    names = stage.dynacl()
    (block,) = pages.python(TRAINING)
    exec(compile(block.text, "training.md", "exec"), names)
    selection = names["sampler"].selection
    assert selection.provenance.round == 1
    assert selection.provenance.task["loss"]["omega"] == pytest.approx(4 / 9)
    assert names["schedule"].rate == pytest.approx(0.05 * 0.5 * (1 + math.cos(math.pi * 1.75 / 2)))
