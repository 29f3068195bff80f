"""`coreselect evaluate`: the accuracy of a trained network, attacked, corrupted, or by nearest neighbours."""

from pathlib import Path
from typing import Annotated

import typer

from coreselect.cli.option_records import Shown, Smallest, takes_records
from coreselect.cli.options import (
    ANY_DEVICE,
    FROM,
    BatchSize,
    DataOptions,
    Device,
    Json,
    NumThreads,
    OwnModelOptions,
    Precision,
    Radius,
    Seed,
)  # fmt: skip
from coreselect_integrations.cli.options import Corruptions

ATTACKS = ("none", "pgd20", "margin", "autoattack")


@takes_records
def evaluate(
    from_: Annotated[Path | None, FROM, Shown(from_="--model and --checkpoint")] = None,
    images: Annotated[DataOptions, Smallest(rows=1)] = DataOptions(),
    own: OwnModelOptions = OwnModelOptions(),
    attacks: Annotated[
        str | None,
        typer.Option(help="pgd20, margin, autoattack, separated by commas; or none.", show_default="pgd20"),
    ] = None,
    corruptions: Corruptions = None,
    severities: Annotated[
        str | None,
        typer.Option(
            help="Only these severities, such as 1,3; also for files that hold no others.", show_default="all five"
        ),
    ] = None,
    neighbours: Annotated[
        int | None, typer.Option(min=1, help="Also classify by the nearest N neighbours; 200 is usual.")
    ] = None,
    train_rows: Annotated[
        int | None, typer.Option(min=1, help="Use only the first N training images, for --neighbours.")
    ] = None,
    json: Json = False,
    radius: Annotated[Radius, Shown(radius="8/255")] = None,
    batch_size: BatchSize = 128,
    seed: Annotated[Seed, Shown(seed="0")] = None,
    precision: Annotated[Precision, Shown(precision="fp32")] = None,
    num_threads: NumThreads = None,
    device: Annotated[Device, Shown(device=ANY_DEVICE)] = None,
) -> None:
    """Measure a trained network on test images: standard accuracy, and robust accuracy under each attack.

    The test images of --data are used, and --rows counts test images.

    PGD-20 takes 20 steps of a quarter of the radius. A point counts as robust
    only if no step fools the network. margin is PGD-20 on the distance of the
    logits. AutoAttack is the standard version.

    A pre-trained extractor has no classifier, so it has k-NN accuracy only.
    Fine-tune it first for the rest.
    """
    names = tuple(dict.fromkeys(name.strip() for name in (attacks or "pgd20").split(",") if name.strip()))
    if not names or not set(names) <= {*ATTACKS} or ("none" in names and len(names) > 1):
        raise typer.BadParameter(
            f"--attacks is pgd20, margin, autoattack, several with commas, or none, got {attacks!r}."
        )
    if neighbours is None and train_rows is not None:
        raise typer.BadParameter("--train-rows would be without effect: it is for --neighbours.")
    if names == ("none",) and (radius is not None or (seed is not None and corruptions != "ours")):
        raise typer.BadParameter("--radius and --seed would be without effect: they are for attacks.")
    if radius == 0:
        raise typer.BadParameter("--radius 0 leaves attacks no room: --attacks none measures standard accuracy.")
    if severities is not None and corruptions is None:
        raise typer.BadParameter("--severities would be without effect: it is for --corruptions.")
    for_classifiers = any(option is not None for option in (attacks, corruptions, radius, seed))

    from coreselect_integrations.cli.evaluate_run import Request, run

    run(
        Request(
            from_, images, names, corruptions, _severities(severities), neighbours, train_rows,
            8 / 255 if radius is None else radius, batch_size or 128, seed or 0, num_threads, device, for_classifiers,
            precision or "fp32", own,
        ),
        json=json,
    )  # fmt: skip


def _severities(text: str | None) -> tuple[int, ...]:
    """Read `1,3`; None is all five.

    Raises:
        typer.BadParameter: it is no list of whole numbers from 1 to 5.
    """
    words = [word.strip() for word in ("1,2,3,4,5" if text is None else text).split(",")]
    if not {*words} <= {*"12345"}:
        raise typer.BadParameter(f"--severities are some of 1 to 5 with commas, such as 1,3, got {text!r}.")
    return tuple(dict.fromkeys(map(int, words)))
