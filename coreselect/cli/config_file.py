"""Configuration files: TOML whose keys are the options of a command without their dashes.

A file is flat, for one command, or has a table for each command:

    data = "digits"                 [select]
    fraction = 0.1                  data = "digits"
                                    fraction = 0.1

Keys above the tables are for every command that is called with the file. An option in the command line wins over the file.
"""

import json
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import typer

Kind = tuple[str, tuple[type, ...]]  # in words, and the types of TOML that it takes
TEXT: Kind = ("a text", (str,))
KINDS: Mapping[type, Kind] = {
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
}


def table_of(path: Path, command: str, commands: Collection[str]) -> dict[str, Any]:
    """Read the keys that a file has for one command.

    Args:
        path: of the file.
        command: its name.
        commands: the names of all commands, by which tables are known.
    Raises:
        typer.BadParameter: the file cannot be read, is no TOML, or has a table that no command is called.
    """
    try:
        whole = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as why:
        raise typer.BadParameter(f"{path} cannot be read ({why.strerror}): give a file that exists.") from why
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as why:
        raise typer.BadParameter(f"{path} is no TOML: {' '.join(str(why).split())}.") from why
    tables = {name: value for name, value in whole.items() if isinstance(value, dict)}
    for name in tables:
        if name not in commands:
            raise typer.BadParameter(f"{path}: no command is called {name!r}{_near(name, commands)}")
    return {**{name: value for name, value in whole.items() if name not in tables}, **tables.get(command, {})}


def values_for(
    params: Mapping[str, Any], annotations: Mapping[str, Any], table: Mapping[str, Any], path: Path, context: Any
) -> dict[str, Any]:
    """Return the value of each option that a table names, by the name of its parameter.

    Args:
        params: the parameters of the command by their keys, see `keys_of`.
        annotations: of the function of the command, by the names of parameters.
        table: of the file, see `table_of`.
        path: of the file, for messages.
        context: of the command that is called.
    Raises:
        typer.BadParameter: a key is unknown or there twice, or a value has another kind or is out of its range.
    """
    found: dict[str, Any] = {}
    for word, value in table.items():
        key = word.replace("_", "-")
        if key not in params:
            raise typer.BadParameter(f"{path}: {context.command.name} has no option {word!r}{_near(key, params)}")
        param = params[key]
        if param.name in found:
            raise typer.BadParameter(f"{path}: {word} is there twice: keep one of the two.")
        found[param.name] = _checked(param, _kind(annotations[param.name]), value, f"{path}: {word}", context)
    return found


def keys_of(params: Collection[Any], left_out: Collection[str]) -> dict[str, Any]:
    """Return the parameters of a command by their keys: the words of options without dashes, the names of arguments."""
    found: dict[str, Any] = {}
    for param in params:
        if param.name not in left_out and not getattr(param, "is_eager", False):
            found.update(dict.fromkeys(_words(param), param))
    return found


def key_of(param: Any) -> str:
    """Return the first key of a parameter, under which it is written."""
    return _words(param)[0]


def as_toml(command: str, values: Mapping[str, Any], said: str) -> str:
    """Write one table.

    Args:
        command: its name.
        values: texts, numbers, booleans, and lists of these, by key; None is left out.
        said: a first line, as a comment.
    """
    lines = [f"# {said}", f"[{command}]"]
    return "\n".join([*lines, *(f"{key} = {_value(value)}" for key, value in values.items() if value is not None)])


def _words(param: Any) -> list[str]:
    found = [word.lstrip("-") for word in param.opts if word.startswith("--")]
    return found or [param.name.replace("_", "-")]


def _near(word: str, known: Collection[str]) -> str:
    near = get_close_matches(word, known, 3, 0.6)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(known)}."


def _kind(annotation: Any) -> Kind:
    """Return the kind of an option from its annotation, such as `Annotated[list[Path] | None, typer.Option()]`."""
    inside = [a for a in get_args(annotation) if a is not type(None)]
    return _kind(inside[0]) if inside else KINDS.get(annotation, TEXT)


def _checked(param: Any, kind: Kind, value: Any, where: str, context: Any) -> Any:
    """Return a value of the file, if the command line would take it too."""
    several = param.nargs != 1 or getattr(param, "multiple", False)
    items = value if several and isinstance(value, list) else [value]
    words, types = kind
    for item in items:
        if not isinstance(item, types) or (isinstance(item, bool) and bool not in types):
            need = f"a list; each of its values is {words}" if several else words
            raise typer.BadParameter(f"{where} is {need}, got {json.dumps(item, default=str, ensure_ascii=False)}.")
    given = items if several else value
    try:
        param.process_value(context, given)
    except Exception as why:  # a usage error of Click, of the copy that this version of Typer uses
        if not hasattr(why, "format_message"):
            raise
        said = str(getattr(why, "message", why)).rstrip(".")
        raise typer.BadParameter(f"{where} = {json.dumps(value, default=str, ensure_ascii=False)}: {said}.") from why
    return given


def _value(value: Any) -> str:
    """Write a value as TOML."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
