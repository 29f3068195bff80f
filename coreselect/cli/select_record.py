"""What an index file holds of the command that made it: enough for `coreselect rerun` to do the same, or to say what changed."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from coreselect.cli.configured_command import invocation
from coreselect.cli.options import AUTO
from coreselect.network.precision import precision_of
from coreselect.support.factories import is_spec, source_of
from coreselect.types import Selection

WRITTEN = ("store", "save_model")  # options that name what is written, not what is read
TRAINED = "model.pt"  # the file of a folder of training


def recorded(selection: Selection, request: Any, selector: str, work: Any, inputs: Mapping[str, Any]) -> Selection:
    """Return the selection with the command in its provenance, and with labels and files where the dataset lists them.

    Args:
        request: the record of the command line, a dataclass of records.
        selector: the name of the method, of those that were asked for.
        work: what the request became, see `coreselect.cli.select_request.Work`.
        inputs: see `inputs_of`.
    """
    options = options_of(request)
    if options["precision"] == AUTO:  # what was measured on one machine is repeated by its name
        options["precision"] = precision_of(work.task.attack)
    asked = invocation()
    command = {
        "name": "select",
        "line": None if asked is None else asked.line,
        "selector": selector,
        "options": options,
        "inputs": dict(inputs),
        "model": dict(work.model),
        "validation": dict(work.held),
    }
    named = selection if work.dataset is None else selection.described(work.dataset)
    notes, impure = named.provenance.notes, work.impure
    if impure is not None:
        command |= pool_of(named, work)
        named = replace(named, labels=impure.targets[named.indices])  # as the pool gives them, right or wrong
        notes = (*notes, f"the pool was impure on purpose (--pool {options['conditions']}): labels are as given in it")
    return replace(named, provenance=replace(named.provenance, command=command, notes=notes))


def pool_of(selection: Selection, work: Any) -> dict[str, Any]:
    """Return the conditions of an impure pool, and the shares of the picks and of the pool that they concern; else nothing."""
    impure = work.impure
    if impure is None:
        return {}
    both = {"picks": impure.truth.shares(selection.indices), "pool_picks": impure.truth.shares(range(len(impure)))}
    return {"conditions": dict(work.conditions), **both}


def options_of(request: Any) -> dict[str, Any]:
    """Return every option of a request by its name, as plain values; paths are texts."""
    found: dict[str, Any] = {"budget": request.budget, "seed": request.seed}
    for part in fields(request):
        record = getattr(request, part.name)
        if is_dataclass(record) and not isinstance(record, type):
            found.update(asdict(record))
    return {name: str(value) if isinstance(value, Path) else value for name, value in found.items()}


def inputs_of(options: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the files that options name, each with a digest of its bytes: weights, arrays, and the sources of factories.

    A factory is known by the file it is in; what that file imports is not looked at.
    """
    found = {}
    for name, value in options.items():
        path = None if name in WRITTEN or not isinstance(value, str) else _file(value)
        if path is not None:
            found[name] = {"name": str(options[name]), "digest": _digest(path)}
    return found


def _file(text: str) -> Path | None:
    """Return the file that a text names, or that it is in; None if there is none."""
    path = source_of(text) if is_spec(text) else Path(text)
    if path is not None and path.is_dir():
        path = path / TRAINED
    return path if path is not None and path.is_file() else None


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
