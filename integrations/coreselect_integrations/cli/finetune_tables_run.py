"""A whole evaluation: fine-tune networks in several modes, measure each result, and print the papers' table.

Each pair of a network and a mode has a folder, `mode` or `network/mode`, with its run and `evaluation.json`; `results.json` has
all of them. A pair that is done is not done again.
"""

import json as json_
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import typer
from rich.console import Console

from coreselect.cli.device import device_on
from coreselect.cli.whole_tables import print_whole
from coreselect.errors import DataError
from coreselect.io.atomic import atomic_file
from coreselect.io.fingerprint import fingerprint
from coreselect.network.placing import placed
from coreselect.support.progress import progress
from coreselect.support.records import digest_of
from coreselect_integrations.cli.checks_before_work import classes_in, folder_of_run
from coreselect_integrations.cli.finetune_options import EvaluationOptions
from coreselect_integrations.cli.finetune_request import Request, check_losses
from coreselect_integrations.cli.finetune_run import tuned
from coreselect_integrations.cli.finetune_table import table
from coreselect_integrations.cli.own_network import network_in_file
from coreselect_integrations.cli.run_progress import counted
from coreselect_integrations.comparison.record_checks import is_share
from coreselect_integrations.evaluation.named import accuracies, under_corruptions
from coreselect_integrations.networks import MODEL, Saved, load_network, network_file, open_network, restore, route_call
from coreselect_integrations.networks.class_names import check_class_names
from coreselect_integrations.pretraining.dataset_shape import check_images

CELL, RESULTS = "evaluation.json", "results.json"
BATCH_SIZE = 128  # of the evaluations


def run(requests: Sequence[Request], names: tuple[str, ...], options: EvaluationOptions, *, json: bool) -> None:
    """Fine-tune and measure, keep results.json, and print the table.

    Args:
        requests: one for each network and mode, network by network, all with one folder.
        names: what is measured: `pgd20`, `autoattack`, `corruptions`, or `none`.
        options: the folder of corruptions, and how many test images are used.
        json: print the content of results.json.
    Raises:
        DataError: a file holds no network, or the images do not fit it.
        typer.BadParameter: a file holds another network than that of --model.
    """
    with folder_of_run(requests[0].out):
        _run(requests, names, options, json=json)


def _run(requests: Sequence[Request], names: tuple[str, ...], options: EvaluationOptions, *, json: bool) -> None:
    """Do the work of `run` in a folder that is ours."""
    first = requests[0]
    data, out = first.images.data, first.out
    called = _names([r.from_ for r in requests if r.mode == first.mode])
    device_on(first.machine.device)
    check_losses(requests)
    test = first.images.read("test", options.test_rows)
    sources = {r.from_: r for r in requests}
    for source, request in sources.items():  # refuse here, not a night later
        if not request.begins_with_own:  # whose shape is that of the images
            saved = network_in_file(source, request.own, lambda path: open_network(network_file(path))[0])
            check_images(test, saved.spec, data)
    classes_in(test, data, "an accuracy")
    rows: dict[str, dict[str, Any]] = {name: {} for name in called.values()}
    talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    for i, request in enumerate(requests):
        name = called[request.from_]
        folder = out / request.mode if len(sources) == 1 else out / name / request.mode
        talk.print(f"{i + 1} of {len(requests)}: {name}, {request.mode}")
        rows[name][request.mode] = _cell(replace(request, out=folder), test, names, options)
        result = _result(rows, called, first, names, len(test))
        with atomic_file(out / RESULTS) as file:
            file.write((json_.dumps(result, indent=2) + "\n").encode())
    result = _result(rows, called, first, names, len(test))
    if json:
        typer.echo(json_.dumps(result, indent=2))
        return
    console, shown = Console(highlight=False, markup=False), table(result)
    print_whole(shown)
    console.print(f"{counted(len(test), 'test image')} of {data}; {out / RESULTS} holds all numbers", soft_wrap=True)


def _cell(request: Request, test: Any, names: tuple[str, ...], options: EvaluationOptions) -> dict[str, Any]:
    """Fine-tune in one mode, and measure the result, unless both were done before."""
    record, _ = tuned(request)
    path = request.out / CELL
    saved = load_network(request.out / MODEL)
    check_class_names(saved, test, request.images.data)
    settings = {
        "measured": list(names), "radius": request.pgd.radius, "seed": request.seed, "test": fingerprint(test),
        "network": digest_of(saved.weights, 8), "corruptions": str(options.corruptions) if options.corruptions else None,
    }  # fmt: skip
    known = _read(path)
    if known.get("settings") == settings and _believable(known["result"], names):
        return known["result"]
    result = {**_measured(saved, test, names, options, request), "finetune_seconds": record.seconds}
    with atomic_file(path) as file:
        file.write((json_.dumps({"settings": settings, "result": result}, indent=2) + "\n").encode())
    return result


def _measured(
    saved: Saved, test: Any, names: tuple[str, ...], options: EvaluationOptions, request: Request
) -> dict[str, Any]:
    """Measure a fine-tuned network on the test images."""
    device = device_on(request.machine.device)
    network = placed(restore(saved), device).eval()
    attacks = [name for name in names if name != "corruptions"] or ["none"]
    with progress() as report:
        common = {"batch_size": BATCH_SIZE, "device": device, "call": route_call, "progress": report}
        found = accuracies(network, test, attacks, radius=request.pgd.radius, seed=request.seed, **common)
        if "corruptions" in names and options.corruptions is not None:
            images = request.images
            corrupted = under_corruptions(
                network, test, options.corruptions, seed=request.seed, rows=options.test_rows, size=images.size,
                resize=images.resize, **common,
            )  # fmt: skip
            found["corruptions"] = asdict(corrupted)
    return found


def _read(path: Path) -> dict[str, Any]:
    """Read a record that an earlier call wrote; nothing if there is none, or it is damaged."""
    try:
        held = json_.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return held if isinstance(held, dict) and "result" in held else {}


def _believable(result: Any, names: Sequence[str]) -> bool:
    """Return whether a record that was read holds every accuracy, and each is a share."""
    try:
        return all(is_share(_value(result, measure)) for measure in ("standard", *(n for n in names if n != "none")))
    except (KeyError, TypeError):
        return False


def _value(found: Mapping[str, Any], measure: str) -> float:
    if measure == "standard":
        return found["standard"]
    return found[measure]["mean" if measure == "corruptions" else "robust"]


def _names(sources: Sequence[Path]) -> dict[Path, str]:
    """Name each network by its file, or by its folder if the file is a model.pt; names that repeat are numbered."""
    plain = [p.resolve().parent.name if p.name == MODEL else p.resolve().stem for p in sources]
    if len({*sources}) < len(sources):
        raise DataError("--from names one network twice: give each once.")
    return {
        p: n if plain.count(n) == 1 else f"{n}-{i + 1}" for i, (p, n) in enumerate(zip(sources, plain, strict=True))
    }


def _result(
    rows: Mapping[str, Mapping[str, Any]], called: Mapping[Path, str], first: Request, names: tuple[str, ...], n: int
) -> dict[str, Any]:
    """Put together what results.json holds: every accuracy, and the means over the modes of each network."""
    measures = ("standard", *(name for name in ("pgd20", "autoattack", "corruptions") if name in names))

    networks = []
    for path, name in called.items():
        cells = rows[name]
        if cells:
            means = {m: fmean(_value(found, m) for found in cells.values()) for m in measures}
            shown = {mode: {m: _value(found, m) for m in measures} for mode, found in cells.items()}
            networks.append({"name": name, "from": str(path), "accuracy": shown, "mean": means, "records": dict(cells)})
    about = {
        "data": first.images.data,
        "n": n,
        "measures": list(measures),
        "radius": first.pgd.radius,
        "seed": first.seed,
    }
    return {**about, "networks": networks}
