"""Options in records: the command line is flat, the command gets records, and a clash is refused when it is built."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from coreselect.cli.option_records import Shown, Smallest, takes_records

Rows = Annotated[int | None, typer.Option(min=2, help="Rows to read.", rich_help_panel="Data")]


@dataclass(frozen=True)
class Reading:
    """What is read."""

    data: Annotated[str, typer.Option(help="What to read.", rich_help_panel="Data")] = "digits"
    rows: Rows = None
    quick: Annotated[bool, typer.Option("--quick", help="Read quickly.")] = False


@dataclass(frozen=True)
class More(Reading):
    """What is read, and one thing more."""

    share: Annotated[float | None, typer.Option(help="A share.", rich_help_panel="Data")] = None


def run(command: Any, *words: object) -> Any:
    """Run one command in this process."""
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "80"})


def seen_by(*words: object) -> dict[str, Any]:
    """What a command with a record and options of its own is called with."""
    seen: dict[str, Any] = {}

    @takes_records
    def command(
        out: Annotated[Path, typer.Option(help="Where to.")],
        reading: Annotated[More, Shown(rows="all"), Smallest(rows=1)] = More(data="letters", share=0.5),
        seed: Annotated[int, typer.Option(help="Seed."), Smallest(seed=0)] = 3,
    ) -> None:
        """Read."""
        seen.update(out=out, reading=reading, seed=seed)

    got = run(command, *words)
    seen["exit_code"], seen["output"] = got.exit_code, got.output
    return seen


def test_the_command_gets_its_records() -> None:
    """Given options come in their record; others have the defaults of the command, not those of the record."""
    seen = seen_by("--out", "there", "--rows", 1, "--quick")
    assert seen["exit_code"] == 0, seen["output"]
    assert seen["out"] == Path("there")
    assert seen["reading"] == More(data="letters", rows=1, quick=True, share=0.5)
    assert seen["seed"] == 3


def test_a_command_without_a_default_record_takes_those_of_the_fields() -> None:
    """A record need not be given as a default."""
    seen = []

    @takes_records
    def command(reading: Reading) -> None:
        seen.append(reading)

    assert run(command, "--rows", 7).exit_code == 0
    assert seen == [Reading(rows=7)]


def test_the_smallest_value_is_that_of_the_command() -> None:
    """`Smallest` lowers a bound for one command, sets one for a single option, and leaves the record alone."""
    assert seen_by("--out", "there", "--rows", 0)["exit_code"] == 2
    assert seen_by("--out", "there", "--seed", -1)["exit_code"] == 2

    @takes_records
    def other(reading: Reading) -> None:
        pass

    assert run(other, "--rows", 1).exit_code == 2


def test_the_help_shows_every_option_in_its_panel() -> None:
    """Names, help texts, and the default that `Shown` puts into words."""
    shown = seen_by("--help")["output"]
    options, data = shown.split("─ Data ─")
    assert all(word in options for word in ("--out", "--quick", "--seed", "Where to.", "Read quickly."))
    assert all(word in data for word in ("--data", "--rows", "--share", "Rows to read.", "(all)", "letters"))


@pytest.mark.parametrize(
    ("annotation", "said"),
    [(Annotated[int, typer.Option("--rows")], "both declare --rows"), (Reading, "both declare data")],
)
def test_a_clash_is_refused_when_the_command_is_built(annotation: Any, said: str) -> None:
    """Two options of one name, by word or by field, are an error of the programmer and not of the user."""

    def command(reading: Reading, other: Any) -> None:
        pass

    command.__annotations__["other"] = annotation
    with pytest.raises(TypeError, match=said):
        takes_records(command)


def test_what_is_no_option_is_refused_when_the_command_is_built() -> None:
    """A field without an option, and a change of an option that is not there."""

    @dataclass
    class Plain:
        rows: int = 1

    def plain(record: Any) -> None:
        pass

    plain.__annotations__["record"] = Plain
    with pytest.raises(TypeError, match=r"Plain\.rows is no option"):
        takes_records(plain)

    def changed(reading: Annotated[Reading, Shown(seed="0")]) -> None:
        pass

    with pytest.raises(TypeError, match="changes seed, which is not among data, rows, quick"):
        takes_records(changed)
