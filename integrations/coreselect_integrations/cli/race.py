"""`coreselect race`: which method, share of the pool and attack is the best use of given hours?"""

from pathlib import Path
from typing import Annotated

import typer

from coreselect.cli.option_records import Shown, Smallest, takes_records
from coreselect.cli.options import ANY_DEVICE, Json, MachineOptions, NumThreads, PoolOptions, Radius, Seed
from coreselect.cli.select_options import DryRun
from coreselect_integrations.cli.options import NetworkOptions, OwnOptions, Preset, Trainer
from coreselect_integrations.cli.race_options import RaceOptions, RaceTrainingOptions


@takes_records
def race(
    out: Annotated[Path, typer.Option(help="Folder of the race. A race that is already there goes on.")] = Path(
        "out/race"
    ),
    trainer: Trainer = None,
    pool: Annotated[PoolOptions, Shown(validation="0.05")] = PoolOptions(),
    options: RaceOptions = RaceOptions(),
    preset: Preset = None,
    json: Json = False,
    own: Annotated[OwnOptions, Shown(loss="that of the system", views="those of the system")] = OwnOptions(),
    network: Annotated[NetworkOptions, Shown(arch="small", curve="cosine")] = NetworkOptions(),
    training: Annotated[
        RaceTrainingOptions, Shown(batch_size="64", lr="0.05", precision="fp32"), Smallest(batch_size=2)
    ] = RaceTrainingOptions(),
    radius: Annotated[Radius, Shown(radius="8/255")] = None,
    seed: Annotated[Seed, Shown(seed="0")] = None,
    machine: Annotated[MachineOptions, Shown(device=ANY_DEVICE)] = MachineOptions(),
    num_threads: NumThreads = None,
    dry_run: DryRun = False,
) -> None:
    """Find the best use of given hours: race methods, shares of the pool and attacks.

    An arm is a method, a share of the pool and a training attack. A rung trains
    every arm from the start, in a short but complete run. The better half goes on
    to longer runs. The winner is trained for the rest of the hours.

    Networks are judged under PGD-20 on held-out training images, never on test
    images; those of contrastive systems by a linear probe.

    The same command continues a race that was interrupted. Several processes that
    are started with the same command share one race.

    The folder gets model.pt, race.json and race.png.
    """
    from coreselect_integrations.cli.race_run import Request, run

    run(
        Request(
            out, trainer, pool, options, preset, own, network, training, radius, seed, machine, num_threads, dry_run
        ),
        json=json,
    )
