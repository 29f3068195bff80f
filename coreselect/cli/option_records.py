"""Options in records: a command takes frozen dataclasses of options, the command line shows a flat list.

An option is declared once, as a field of a record, and commands share the record:

    @dataclass(frozen=True)
    class MachineOptions:
        device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1.", rich_help_panel="Run")] = None

    @takes_records
    def train(
        out: Annotated[Path, typer.Option(help="Folder of the run.")],
        machine: Annotated[MachineOptions, Shown(device="cuda if available")] = MachineOptions(),
    ) -> None: ...

A record given as the default of a parameter sets the defaults of its options. `Shown` and `Smallest` change two more
things for one command; everything else about an option, its help text above all, is the same in every command.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer import BadParameter
from typer.models import OptionInfo, ParameterInfo


class Shown:
    """What the help of one command shows as the default of options, where the value None says too little.

    Args:
        defaults: by name of the option, such as device="cuda if there is one".
    """

    def __init__(self, **defaults: str) -> None:
        self.attribute, self.values = "show_default", defaults


class Smallest:
    """The smallest value of options that one command accepts; None accepts all.

    Args:
        values: by name of the option, such as rows=1.
    """

    def __init__(self, **values: float | None) -> None:
        self.attribute, self.values = "min", values


def takes_records(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with every record among its parameters replaced by the options in it.

    Args:
        command: a function whose parameters are records (dataclasses) or single options and arguments.
    Raises:
        TypeError: two parameters have the same name or option, a field is no option, or a change names no option.
    """
    hints = get_type_hints(command, include_extras=True)
    records: dict[str, tuple[type[Any], tuple[str, ...]]] = {}
    options: dict[str, Parameter] = {}
    taken: dict[str, str] = {}
    for name, parameter in signature(command).parameters.items():
        kind, *marks = get_args(hints[name]) if get_origin(hints[name]) is Annotated else (hints[name],)
        changes = [mark for mark in marks if isinstance(mark, Shown | Smallest)]
        if is_dataclass(kind):
            found = _fields(kind, parameter.default)  # type: ignore[arg-type]  # an annotation holds a class
            records[name] = kind, tuple(found)  # type: ignore[assignment]
        else:
            infos = [mark for mark in marks if mark not in changes]
            found = {name: _keyword(name, kind, infos, parameter.default)}
        for option in _changed(found, changes).values():
            for word in (option.name, *_words(option)):
                if word in taken:
                    raise TypeError(f"{command.__name__}: {taken[word]} and {name} both declare {word}.")
                taken[word] = name
            options[option.name] = option

    @wraps(command)
    def called(**given: Any) -> None:
        made = {name: record(**{n: given.pop(n) for n in names}) for name, (record, names) in records.items()}
        command(**given, **made)

    return with_parameters(called, [*options.values()])


def with_parameters(called: Any, parameters: Sequence[Parameter]) -> Any:
    """Give a function that wraps another, by `functools.wraps`, the parameters that Typer reads."""
    del called.__wrapped__  # whose parameters are others
    called.__signature__ = Signature(parameters)  # `inspect.signature` reads it
    called.__annotations__ = {p.name: p.annotation for p in parameters}
    return called


def _fields(record: type[Any], default: Any) -> dict[str, Parameter]:
    """Return the fields of a record as keyword parameters, with the values of `default` if it is one."""
    out = {}
    for name, hint in get_type_hints(record, include_extras=True).items():
        kind, *infos = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        if len(infos) != 1 or not isinstance(infos[0], ParameterInfo):
            raise TypeError(f"{record.__name__}.{name} is no option: annotate it with one typer.Option.")
        own = getattr(record, name, Parameter.empty)
        out[name] = _keyword(name, kind, infos, own if default is Parameter.empty else getattr(default, name))
    return out


def _keyword(name: str, kind: Any, infos: Sequence[Any], default: Any) -> Parameter:
    """Return a keyword parameter with an annotation that Typer reads."""
    infos = [copy(info) for info in infos]
    for info in infos:
        if isinstance(info, ParameterInfo) and kind in (float, float | None) and info.callback is None:
            info.callback = _finite
    annotation = Annotated[kind, *infos] if infos else kind
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _finite(value: float | None) -> float | None:
    """Return the value of an option; NaN passes every range, and infinity most of them."""
    if value is not None and not math.isfinite(value):
        raise BadParameter(f"a finite number is needed, got {value}.")
    return value


def _changed(options: Mapping[str, Parameter], changes: Sequence[Shown | Smallest]) -> Mapping[str, Parameter]:
    """Make the changes of one command to its own copies of the options, and return them."""
    for change in changes:
        for name, value in change.values.items():
            if name not in options:
                raise TypeError(f"{type(change).__name__} changes {name}, which is not among {', '.join(options)}.")
            setattr(get_args(options[name].annotation)[1], change.attribute, value)
    return options


def _words(option: Parameter) -> tuple[str, ...]:
    """Return what is typed for an option, `--rows`; nothing for an argument."""
    info = next((mark for mark in get_args(option.annotation)[1:] if isinstance(mark, OptionInfo)), None)
    if info is None:
        return ()
    named = (*([info.default] if isinstance(info.default, str) else []), *(info.param_decls or ()))
    return named or ("--" + option.name.replace("_", "-"),)
