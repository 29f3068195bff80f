"""`coreselect convert`: an index file in another format, or a published network in our own."""

from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from coreselect.cli.option_records import takes_records
from coreselect.cli.options import Json

NETWORK = "Networks"
COLUMNS = ("index", "path", "key", "label", "group", "weight")  # of `coreselect.io.columns`, which imports numpy
NETWORK_ENDINGS = (".pt", ".pth", ".tar", ".ckpt", ".bin", ".safetensors")


@dataclass(frozen=True)
class ReadingOptions:
    """How a published network is read, where its file does not say it."""

    part: Annotated[
        str | None,
        typer.Option(help="Name of the state dict in the file.", show_default="state_dict", rich_help_panel=NETWORK),
    ] = None
    prefix: Annotated[
        str | None,
        typer.Option(
            help="Which network of the file, such as encoder_q.",
            show_default="encoder_k, or the only one",
            rich_help_panel=NETWORK,
        ),
    ] = None
    routes: Annotated[
        str | None,
        typer.Option(
            help="Routes of the first and second set of normalisations: natural,adversarial or the reverse.",
            show_default="as in the programs",
            rich_help_panel=NETWORK,
        ),
    ] = None
    size: Annotated[
        int | None,
        typer.Option(
            min=4, help="Side of its images.", show_default="32; 96 or 224 with the large stem", rich_help_panel=NETWORK
        ),
    ] = None
    mean: Annotated[
        str | None,
        typer.Option(
            help="Means by which its code normalises pixels: 0.49,0.48,0.45, or one number.", rich_help_panel=NETWORK
        ),
    ] = None
    std: Annotated[str | None, typer.Option(help="Standard deviations, as --mean.", rich_help_panel=NETWORK)] = None
    preset: Annotated[
        str | None,
        typer.Option(
            help="How it was trained, such as cifar10-dynacl.",
            show_default="what fits the network",
            rich_help_panel=NETWORK,
        ),
    ] = None


@takes_records
def convert(
    source: Annotated[Path, typer.Argument(help="The file to read.", show_default=False)],
    target: Annotated[
        Path,
        typer.Argument(
            help="The file to write: .npz and .json hold everything, .csv the picks with their files and classes, .npy and .txt "
            "the indices; .pt a network.",
            show_default=False,
        ),
    ],
    column: Annotated[
        str | None,
        typer.Option(
            help=f"What a .txt file lists: {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}. Keys are those of WebDataset.",
            show_default="index",
        ),
    ] = None,
    reading: ReadingOptions = ReadingOptions(),
    json: Json = False,
) -> None:
    """Write an index file in another format, which the ending of the new name chooses.

    A network file (.pt, .pth, .tar, .ckpt, .bin, .safetensors) with published
    names becomes a model.pt that every command reads. What was recognised is printed.
    """
    given = {name: value for name, value in vars(reading).items() if value is not None}
    if column not in (None, *COLUMNS):
        raise typer.BadParameter(f"--column is {', '.join(COLUMNS)}, got {column!r}.")
    if column is not None and target.suffix.lower() != ".txt":
        raise typer.BadParameter(
            f"--column would be without effect: it is for a list, which ends in .txt, got {target}."
        )
    if source.suffix.lower() in NETWORK_ENDINGS:
        if target.suffix.lower() != ".pt":
            raise typer.BadParameter(f"a network is written to a file that ends in .pt, got {target}.")
        from coreselect.cli.model import registered

        done = registered("coreselect.networks")(source, target, **given)
        _told(
            f"wrote {target}: {done['tensors']} tensors", {"source": str(source), "target": str(target), **done}, json
        )
        return
    if given:
        options = ", ".join(f"--{name}" for name in given)
        raise typer.BadParameter(
            f"{options} would be without effect: it is for network files ({', '.join(NETWORK_ENDINGS)})."
        )
    from coreselect.io.index_file import convert as convert_file
    from coreselect.io.index_file import held_by

    indices = convert_file(source, target, column=column or "index")
    kept = held_by(target, column or "index")
    words = {"everything": "everything", "index": "only positions in the dataset that was selected from"}
    _told(
        f"wrote {target}: {len(indices):,} indices ({words.get(','.join(kept), 'columns ' + ', '.join(kept))})",
        {"source": str(source), "target": str(target), "indices": len(indices), "columns": kept},
        json,
    )


def _told(words: str, record: dict[str, Any], json: bool) -> None:
    """Print what was done: a line on stderr, or a record on stdout."""
    if json:
        typer.echo(dumps(record, indent=2))
    else:
        typer.echo(words, err=True)
