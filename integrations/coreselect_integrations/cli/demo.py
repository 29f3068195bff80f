"""`coreselect demo`: four ways of choosing 10 % of real scanned digits, trained adversarially, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from coreselect.cli.options import Json


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the index file and the picture.")] = Path("out/demo"),
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds with which each method is trained.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs on the subset, after the warm-up.")] = 60,
    warmup_epochs: Annotated[int, typer.Option(min=0, help="Epochs on the whole pool, which all methods share.")] = 3,
    every: Annotated[int, typer.Option(min=1, help="Epochs between two selections.")] = 15,
    json: Json = False,
) -> None:
    """Compare four ways of choosing 10 % of scikit-learn's scanned digits under adversarial training."""
    from coreselect_integrations.cli.demo_run import run

    run(out, seeds, epochs, warmup_epochs, every, json=json)
