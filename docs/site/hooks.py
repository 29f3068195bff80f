"""Add what is not written in `docs/`: pages and pictures from elsewhere in the repository, and the options of each command."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "comparisons"
ELSEWHERE = {
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "changelog.md": ROOT / "CHANGELOG.md",
    "benchmarks.md": ROOT / "benchmarks" / "README.md",
}
PICTURE = re.compile(
    r"\]\(((?:\.\./)*)\.\./benchmarks/results/comparisons/([\w-]+)/pareto\.png\)"
)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages, and each comparison's picture as `images/comparisons/NAME.png`."""
    for name, source in ELSEWHERE.items():
        text = re.sub(r"\]\((?:\.\./)?docs/", "](", source.read_text(encoding="utf-8"))
        files.append(File.generated(config, name, content=text))
    for picture in sorted(RESULTS.glob("*/pareto.png")):
        name = f"images/comparisons/{picture.parent.name}.png"
        files.append(File.generated(config, name, abs_src_path=str(picture)))
    files.append(
        File.generated(config, "reference/command-line.md", content="\n".join(command_line()))
    )
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Point the pictures of a page to where the site has them."""
    return PICTURE.sub(r"](\1images/comparisons/\2.png)", markdown)


def command_line() -> Iterator[str]:
    """Write the page of the command line from the commands themselves."""
    import typer

    from coreselect.cli.app import build

    group: Any = typer.main.get_command(build())
    context = group.make_context("coreselect", [], resilient_parsing=True)
    yield "# Command line\n"
    yield "Results go to standard output, messages to standard error. Exit code 0: done. 1: refused, in one line. 2: wrong usage.\n"
    yield "`coreselect COMMAND --help` prints what stands here.\n"
    for name in group.list_commands(context):
        command = group.get_command(context, name).load()
        yield f"## coreselect {name}\n"
        yield f"{_plain(command.help)}\n"
        yield "| option | meaning | default |"
        yield "|---|---|---|"
        for option in command.params:
            if not getattr(option, "hidden", False) and "--help" not in option.opts:
                yield f"| {_names(option)} | {_plain(getattr(option, 'help', ''))} | {_default(option)} |"
        yield ""


def _names(option: Any) -> str:
    names = option.opts if option.param_type_name == "option" else [option.name.upper()]
    return ", ".join(f"`{n}`" for n in names)


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default
    value = option.default() if callable(option.default) else option.default
    if value is None or value is False:
        return ""
    return f"`{value:.4g}`" if isinstance(value, float) else f"`{value}`"


def _plain(text: str | None) -> str:
    """One line that a table can hold."""
    return " ".join((text or "").split()).replace("|", r"\|").replace("[", r"\[")
