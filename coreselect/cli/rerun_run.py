"""The work of `coreselect rerun`: the request of an index file, carried out again, and the differences."""

import json as json_
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from coreselect.choosing import select_each
from coreselect.cli.device import device_on
from coreselect.cli.select_files import written_alone
from coreselect.cli.select_record import WRITTEN, inputs_of, recorded
from coreselect.cli.select_request import Request
from coreselect.cli.select_run import pickers_of, work_of
from coreselect.errors import IndexFileError, RequirementError
from coreselect.support.printable import all_printable, printable
from coreselect.support.progress import progress
from coreselect.types import Selection

NOT_READ = "-"


@dataclass(frozen=True)
class Compared:
    """One thing of the file and of the new selection, in words."""

    what: str
    then: str
    now: str

    @property
    def same(self) -> bool:
        """Whether they agree."""
        return self.then == self.now


def run(file: Path, out: Path | None, device: str | None, *, json: bool) -> None:
    """Select again, compare, print, and end with exit code 1 if the picks differ.

    Raises:
        IndexFileError: the file cannot be read, or its record of the command is damaged.
        RequirementError: it was not made by a command that this version has.
    """
    old = Selection.load(file)
    with written_alone([] if out is None else [out], None):
        _run(file, old, out, device, json=json)


def _run(file: Path, old: Selection, out: Path | None, device: str | None, *, json: bool) -> None:
    """Select again and compare; no other process writes the new file."""
    command = old.provenance.command
    request = request_of(command, file)
    if device is not None:
        request = replace(request, machine=replace(request.machine, device=device))
    talk = Console(stderr=True, highlight=False)
    talk.print(printable(str(command.get("line") or "coreselect select …")), markup=False, soft_wrap=True)
    inputs = inputs_of(command["options"])
    early = [c for c in compared_inputs(command, inputs) if not c.same]
    for one in early:
        said = f"{one.what} changed: {one.then} then, {one.now} now"
        talk.print(printable(said), markup=False, soft_wrap=True)
    with progress() as report:
        work = work_of(request, device_on(request.machine.device), report, None)
        pickers = pickers_of(request, work.radius).values()
        (new,) = select_each(work.task.reporting(report), pickers, request.budget, request.seed)
    new = recorded(new, request, command["selector"], work, inputs)
    if out is not None:
        new.save(out)
        talk.print(f"wrote {out}", markup=False)
    found, picks = compared(old, new), same_picks(old, new)
    if json:
        rows = [{"what": c.what, "then": c.then, "now": c.now, "same": c.same} for c in found]
        typer.echo(json_.dumps({"same": picks is None, "picks": picks or "the same", "compared": rows}, indent=2))
    else:
        Console().print(_table(found))
        typer.echo(f"the picks are {'the same, in the same order' if picks is None else f'others: {picks}'}")
    if picks is not None:
        raise typer.Exit(1)


def request_of(command: Mapping[str, Any], file: Path) -> Request:
    """Return the request that an index file records, for the method of that file, without what was written beside it.

    Raises:
        RequirementError: the file records no command, or options that this version does not have.
        IndexFileError: the record is damaged.
    """
    if command.get("name") != "select":
        raise RequirementError(
            f"{file} does not say by which command it was made (an older version did, or a call from Python): run that again."
        )
    try:
        options = {**command["options"], **dict.fromkeys(WRITTEN), "dry_run": False}
        known, records = {"budget", "seed"}, {}
        for name, kind in get_type_hints(Request).items():
            if is_dataclass(kind):
                own = {f.name for f in fields(kind)}
                known |= own
                records[name] = _record(kind, {n: v for n, v in options.items() if n in own})
        lost = sorted(name for name, value in options.items() if name not in known and value not in (None, False))
        if lost:
            raise RequirementError(
                f"{file} was made with {', '.join(lost)}, which this version does not have: upgrade."
            )
        return Request(files={command["selector"]: None}, budget=options["budget"], seed=options["seed"], **records)
    except (KeyError, TypeError) as why:
        raise IndexFileError(f"{file} holds a damaged record of its command ({why}).") from why


def _record(kind: Any, options: Mapping[str, Any]) -> Any:
    """Make a record of options; texts become paths where the record has paths."""
    hints = get_type_hints(kind)
    paths = {name for name, hint in hints.items() if hint is Path or Path in get_args(hint)}
    return kind(**{n: Path(v) if n in paths and v is not None else v for n, v in options.items()})


def compared_inputs(command: Mapping[str, Any], now: Mapping[str, Any]) -> list[Compared]:
    """Compare the files that the command read then with those that it would read now, by their digests."""
    then = command.get("inputs", {})
    return [
        Compared(f"--{name.strip('_').replace('_', '-')} {then.get(name, now.get(name))['name']}",
                 then.get(name, {}).get("digest", NOT_READ), now.get(name, {}).get("digest", NOT_READ))
        for name in dict.fromkeys([*then, *now])
    ]  # fmt: skip


def compared(old: Selection, new: Selection) -> list[Compared]:
    """Compare what two selections were made from."""
    a, b = old.provenance, new.provenance
    pairs = {
        "pool": (a.fingerprint, b.fingerprint),
        "weights of the model": (a.task.get("weights"), b.task.get("weights")),
        "validation set": (_validation(a.command), _validation(b.command)),
        "held-out images": (_positions(a.validation_indices), _positions(b.validation_indices)),
    }
    versions = {
        name: (a.versions.get(name), b.versions.get(name)) for name in dict.fromkeys([*a.versions, *b.versions])
    }
    found = [Compared(what, str(x), str(y)) for what, (x, y) in pairs.items() if (x, y) != (None, None)]
    return [
        *compared_inputs(a.command, b.command["inputs"]),
        *found,
        *(Compared(name, str(x or NOT_READ), str(y or NOT_READ)) for name, (x, y) in versions.items()),
    ]


def same_picks(old: Selection, new: Selection) -> str | None:
    """Return None if two selections have the same picks in the same order, or else what differs."""
    a, b = old.source_indices, new.source_indices
    if np.array_equal(a, b):
        return None
    if len(a) != len(b):
        return f"{len(b):,} instead of {len(a):,}"
    shared = len(np.intersect1d(a, b))
    if shared == len(a):
        return f"the same set in another order, from pick {1 + int(np.argmax(a != b)):,} on"
    return f"{len(a) - shared:,} of {len(a):,} differ, the first at pick {1 + int(np.argmax(a != b)):,}"


def _validation(command: Mapping[str, Any]) -> Any:
    """Return the fingerprint of a validation set of the user's; None where images were held out."""
    return command.get("validation", {}).get("fingerprint")


def _positions(held: Any) -> str | None:
    """Describe positions so that others read differently."""
    return None if held is None else f"{len(held):,}, positions sum to {int(np.sum(held)):,}"


def _table(found: list[Compared]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "then", "now"):
        table.add_column(name, overflow="fold")
    for one in all_printable(found):
        table.add_row(one.what, one.then, "same" if one.same else one.now, style=None if one.same else "yellow")
    return table
