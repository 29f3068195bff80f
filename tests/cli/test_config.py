"""Configuration files: every command prints its options and reads them back; flags win; what is wrong is named."""

import shlex
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
import typer
from typer.core import TyperCommand
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.cli.config_file import as_toml
from coreselect.cli.configured_command import command_of, invocation

COMMANDS = sorted(entry.name for entry in entry_points(group="coreselect.commands"))
NEEDED = {
    "inspect": "a.npz b.json",
    "convert": "a.npz b.csv",
    "evaluate": "--from model.pt",
    "finetune": "slf --from a.pt --from b.pt --out there --no-flip",
    "train": "sat --lr 1e-05 --out 'a \"name\" \\ ü'",
    "compare": "--no-full",
    "select": "--fraction 0.1",
    "rerun": "a.npz",
}


def run(*words: object) -> Any:
    """Run `coreselect` in this process."""
    return CliRunner().invoke(build(), [str(word) for word in words], env={"COLUMNS": "200"})


def said(result: Any) -> str:
    """What a run has printed, in one line, without the lines of the box around it."""
    text = result.output + (result.stderr if result.stderr_bytes is not None else "")
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_printed_configuration_reads_back_to_the_same_run(name: str, tmp_path: Path) -> None:
    """For every command, what `--print-config` prints, read by `--config`, prints the same; nothing else is done."""
    first = run(name, *shlex.split(NEEDED.get(name, "")), "--print-config")
    assert first.exit_code == 0, first.output
    file = tmp_path / "run.toml"
    file.write_text(first.stdout, encoding="utf-8")
    again = run(name, "--config", file, "--print-config")
    assert again.stdout == first.stdout
    assert list(tmp_path.iterdir()) == [file]


def test_arguments_of_a_file_count_where_typer_reports_missing_ones_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typer 0.26.0 gives an empty tuple for `FILES...` that are not in the command line; those of the file still count."""
    made = TyperCommand.make_parser

    def make_parser(self: Any, ctx: Any) -> Any:
        parser = made(self, ctx)
        parse = parser.parse_args

        def parse_args(args: list[str]) -> Any:
            given, left, order = parse(args=args)
            return {name: () if name == "files" and not value else value for name, value in given.items()}, left, order

        parser.parse_args = parse_args  # type: ignore[method-assign]
        return parser

    monkeypatch.setattr(TyperCommand, "make_parser", make_parser)
    file = tmp_path / "run.toml"
    file.write_text('[inspect]\nfiles = ["a.npz", "b.json"]\n', encoding="utf-8")
    got = run("inspect", "--config", file, "--print-config")
    assert 'files = ["a.npz", "b.json"]' in got.stdout, said(got)
    assert 'files = ["c.npz"]' in run("inspect", "c.npz", "--config", file, "--print-config").stdout


def seen_by(file: Path, *words: object, **keys: Any) -> dict[str, Any]:
    """What a command with options of every kind is called with, when its file holds these keys."""
    seen: dict[str, Any] = {}

    def command(
        name: Annotated[str | None, typer.Argument()] = None,
        rows: Annotated[int, typer.Option(min=2)] = 5,
        share: Annotated[float | None, typer.Option()] = None,
        loud: Annotated[bool, typer.Option("--loud")] = False,
        full: Annotated[bool, typer.Option()] = True,
        out_file: Annotated[Path, typer.Option("--out-file", "--to")] = Path("x"),
        from_: Annotated[list[Path] | None, typer.Option("--from")] = None,
    ) -> None:
        seen.update(locals(), asked=invocation())

    file.write_text(as_toml("command", keys, "written by a test"), encoding="utf-8")
    command_of("command", command).main(["--config", str(file), *map(str, words)], standalone_mode=False)
    seen.pop("seen")
    return seen


def test_the_command_gets_what_the_file_says_and_flags_win(tmp_path: Path) -> None:
    """Values of every kind arrive as from the command line; dashes and underscores are the same; a flag replaces a value."""
    file = tmp_path / "c.toml"
    keys = {"name": "it", "rows": 7, "share": 1, "loud": True, "full": False, "to": "a/b", "from": ["c", "d"]}
    seen = seen_by(file, **keys)
    plain = {k: v for k, v in seen.items() if k != "asked"}
    assert plain == {
        "name": "it", "rows": 7, "share": 1.0, "loud": True, "full": False, "out_file": Path("a/b"),
        "from_": [Path("c"), Path("d")],
    }  # fmt: skip
    won = seen_by(
        file, "other", "--rows", 9, "--full", "--from", "e", out_file="f", **{k: keys[k] for k in ("name", "rows")}
    )
    assert (won["name"], won["rows"], won["full"]) == ("other", 9, True)
    assert (won["from_"], won["out_file"]) == ([Path("e")], Path("f"))


def test_a_command_knows_how_it_was_called(tmp_path: Path) -> None:
    """The line has every option that was given, by the file or by a flag, and does the same without the file."""
    seen = seen_by(tmp_path / "c.toml", "--share", 0.5, rows=7, full=False, **{"from": ["a b"]}, name="it")
    asked = seen["asked"]
    assert asked.line == "coreselect command it --rows 7 --share 0.5 --no-full --from 'a b'"
    assert asked.options["rows"] == 7
    assert asked.options["from_"] == ["a b"]
    assert "share" in asked.options
    assert invocation() is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rwos = 3", "select has no option 'rwos'; did you mean rows"),
        ("[selct]", "no command is called 'selct'; did you mean select"),
        ("rows = 'many'", 'rows is a whole number, got "many"'),
        ("rows = true", "rows is a whole number, got true"),
        ("per-class = 1", "per-class is true or false, got 1"),
        ("data = 3", "data is a text, got 3"),
        ("eta = 'small'", 'eta is a number, got "small"'),
        ("data = ['a', 'b']", 'data is a text, got ["a", "b"]'),
        ("rows = 0", "rows = 0:"),
        ("eta = nan", "eta = NaN:"),
        ("seed = -1", "a whole number from 0 to 2⁶³ − 1 is needed, got -1"),
        ("batch-size = 1\nbatch_size = 2", "batch_size is there twice"),
        ("rows =", "is no TOML"),
        ("help = true", "select has no option 'help'"),
        ("config = 'other.toml'", "select has no option 'config'"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(text: str, words: str, tmp_path: Path) -> None:
    """A file that cannot be meant is refused before any work, with the file and the key."""
    file = tmp_path / "c.toml"
    file.write_text(text, encoding="utf-8")
    got = run("select", "--config", file, "--fraction", 0.1, "--print-config")
    assert got.exit_code == 2
    assert "c.toml" in said(got)
    assert words in said(got)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """With its name."""
    got = run("select", "--config", tmp_path / "no.toml")
    assert got.exit_code == 2
    assert "no.toml cannot be read" in said(got)


def test_tables_of_other_commands_are_left_alone_and_common_keys_are_shared(tmp_path: Path) -> None:
    """A file with a table for each command; what stands above the tables is for all, and a table wins over it."""
    file = tmp_path / "c.toml"
    file.write_text('data = "digits"\nseed = 1\n[select]\nseed = 2\nfraction = 0.1\n[train]\nsystem = "sat"\n')
    assert "seed = 2" in run("select", "--config", file, "--print-config").stdout
    train = run("train", "--config", file, "--print-config").stdout
    assert 'system = "sat"' in train
    assert "seed = 1" in train
    assert "fraction" not in train


def test_a_command_of_another_package_keeps_its_own_config() -> None:
    """Where a command has an option `--config` already, it means what that command says."""
    seen = SimpleNamespace(value=None)

    def command(settings: Annotated[str, typer.Option("--config")] = "") -> None:
        seen.value = settings

    command_of("ours", command).main(["--config", "mine"], standalone_mode=False)
    assert seen.value == "mine"
