"""Every command takes `--config FILE` and `--print-config`; the work of a command can ask how it was called."""

import shlex
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from coreselect.cli.config_file import as_toml, key_of, keys_of, table_of, values_for
from coreselect.cli.option_records import with_parameters

OWN = ("config", "print_config")
PANEL = "Configuration"


@dataclass(frozen=True)
class Invocation:
    """How a command was called.

    Attributes:
        command: its name.
        options: every option that has a value, given or not, by the name of its parameter; paths are texts.
        line: a command line that does the same, whether its options came from a file or not.
    """

    command: str
    options: Mapping[str, Any] = field(default_factory=dict)
    line: str = ""


_running: ContextVar[Invocation | None] = ContextVar("coreselect_invocation", default=None)


def invocation() -> Invocation | None:
    """Return how the command that runs now was called; None outside of commands."""
    return _running.get()


def command_of(name: str, function: Callable[..., Any]) -> Any:
    """Make a command of a function, with `--config` and `--print-config`, if it has none of its own."""
    plain = _made(name, function, TyperCommand)
    if any({"--config", "--print-config"} & {*param.opts} or param.name in OWN for param in plain.params):
        return plain
    configured = _with_options(function)
    command = _made(name, configured, ConfiguredCommand)
    command.annotations = configured.__annotations__
    return command


class ConfiguredCommand(TyperCommand):
    """A command that prints its options where it is asked to, and lets the work know how it was called."""

    annotations: Mapping[str, Any] = MappingProxyType({})  # of its function

    def make_parser(self, ctx: Any) -> Any:
        """Return the parser of the command line; arguments that are not in it are left to the file.

        Typer 0.26.0 reports an argument of any number that is missing as an empty tuple, before which no default counts.
        """
        parser = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_args(args: list[str]) -> Any:
            given, left, order = parse(args=args)
            return {name: value for name, value in given.items() if value != ()}, left, order

        parser.parse_args = parse_args  # type: ignore[method-assign]  # of this call alone
        return parser

    def invoke(self, ctx: Any) -> Any:
        """Run the command, or print its options as a file that `--config` reads back to the same run."""
        ctx.params.pop("config")
        values = {p: ctx.params[p.name] for p in self.params if p.name in ctx.params and p.name not in OWN}
        if ctx.params.pop("print_config"):
            from importlib.metadata import version

            said = f"coreselect {version('coreselect')}; read it with --config"
            typer.echo(as_toml(str(self.name), {key_of(p): _plain(v) for p, v in values.items()}, said))
            return None
        options = {str(p.name): _plain(v) for p, v in values.items() if v is not None}
        token = _running.set(Invocation(str(self.name), options, _line(str(self.name), values, ctx)))
        try:
            return super().invoke(ctx)
        finally:
            _running.reset(token)


def _made(name: str, function: Callable[..., Any], cls: type[TyperCommand]) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(name, cls=cls)(function)
    return typer.main.get_command(app)


def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with two options more, which it is not called with."""
    hints = get_type_hints(function, include_extras=True)
    own = [p.replace(annotation=hints.get(p.name, p.annotation)) for p in signature(function).parameters.values()]
    config = Annotated[
        Path | None,
        typer.Option(
            "--config",
            callback=_read,
            is_eager=True,
            help="Options from a TOML file; an option that is given wins.",
            rich_help_panel=PANEL,
        ),
    ]
    shown = Annotated[
        bool,
        typer.Option(
            "--print-config",
            help="Print all options as such a file, and do nothing else.",
            rich_help_panel=PANEL,
        ),
    ]
    more = [
        Parameter("config", Parameter.KEYWORD_ONLY, default=None, annotation=config),
        Parameter("print_config", Parameter.KEYWORD_ONLY, default=False, annotation=shown),
    ]

    @wraps(function)
    def called(**given: Any) -> Any:
        for name in OWN:
            given.pop(name, None)
        return function(**given)

    return with_parameters(called, [*own, *more])


def _read(ctx: typer.Context, path: Path | None) -> Path | None:
    """Take the options of the file as defaults of the command."""
    if path is None or ctx.resilient_parsing:
        return path
    command: Any = ctx.command
    above: Any = None if ctx.parent is None else ctx.parent.command
    names = [*above.list_commands(ctx.parent)] if hasattr(above, "list_commands") else [str(command.name)]
    table = table_of(path, str(command.name), names)
    found = values_for(keys_of(command.params, OWN), command.annotations, table, path, ctx)
    ctx.default_map = {**(ctx.default_map or {}), **found}
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _line(name: str, values: Mapping[Any, Any], ctx: Any) -> str:
    """Return the command line that gives these options, without those that have their defaults."""
    words: list[str] = []
    for param, value in values.items():
        source = ctx.get_parameter_source(param.name)
        if value is None or source is None or source.name == "DEFAULT":
            continue
        items = value if isinstance(value, list | tuple) else [value]
        if not any(word.startswith("-") for word in param.opts):
            words += [str(item) for item in items]
        elif isinstance(value, bool):
            word = next(iter(param.opts if value else param.secondary_opts), None)
            words += [] if word is None else [word]
        else:
            words += [word for item in items for word in (param.opts[0], str(item))]
    return shlex.join(["coreselect", name, *words])
