"""`coreselect compare`: does a method beat random, and is it worth the time?"""

from pathlib import Path
from typing import Annotated

import typer

from coreselect.cli.option_records import Shown, Smallest, takes_records
from coreselect.cli.options import (
    ANY_DEVICE,
    AttackOptions,
    ConditionOptions,
    Json,
    MachineOptions,
    NumThreads,
    PoolOptions,
)
from coreselect.cli.select_options import DryRun
from coreselect_integrations.cli.compare_options import EvaluationOptions, StudyOptions
from coreselect_integrations.cli.effort_options import EffortOptions
from coreselect_integrations.cli.options import (
    NetworkOptions,
    OwnOptions,
    ScheduleOptions,
    Trainer,
    TrainingOptions,
)


@takes_records
def compare(
    out: Annotated[Path, typer.Option(help="Folder of the results. Finished cells that it holds are kept.")] = Path(
        "out/compare"
    ),
    trainer: Trainer = None,
    pool: Annotated[PoolOptions, Shown(validation="0.05")] = PoolOptions(),
    conditions: ConditionOptions = ConditionOptions(),
    study: StudyOptions = StudyOptions(),
    json: Json = False,
    own: Annotated[OwnOptions, Shown(loss="that of the system", views="those of the system")] = OwnOptions(),
    network: Annotated[NetworkOptions, Shown(arch="small", curve="cosine")] = NetworkOptions(),
    training: Annotated[
        TrainingOptions,
        Shown(epochs="13", batch_size="64", lr="0.05", precision="fp32"),
        Smallest(epochs=2, batch_size=2),
    ] = TrainingOptions(),
    schedule: Annotated[ScheduleOptions, Shown(warmup="3", every="5", select_attack_steps="1")] = ScheduleOptions(),
    attack: Annotated[
        AttackOptions, Shown(radius="8/255", attack_steps="5"), Smallest(attack_steps=1)
    ] = AttackOptions(),
    effort: Annotated[
        EffortOptions, Shown(train_radius="1x", step="2.5 radii in all, at most 1.25 each", start="uniform")
    ] = EffortOptions(),
    evaluation: EvaluationOptions = EvaluationOptions(),
    machine: Annotated[MachineOptions, Shown(device=ANY_DEVICE)] = MachineOptions(),
    num_threads: NumThreads = None,
    dry_run: DryRun = False,
) -> None:
    """Train with every method from the same warm models, and report accuracies and time.

    A cell is one training: one method, one share of the pool, one seed. All
    differences are to rs2 (a random subset, new in every epoch), or to the first
    line of rs2 if there are several.

    A method may name its own training attack: rs2@1x1.5 takes one step within
    1.5 times --radius. All networks are judged within --radius.

    validation_only and rs2+validation train on the validation images. A method
    that is guided by these images has to beat both.

    At equal epochs, every method trains for the same number of epochs. At equal
    time, every method gets as many epochs as fit into the time of the slowest,
    selection included.

    With --preset, settings that are not given are the published ones, not the
    defaults below.

    The folder gets results.json, results.csv, pareto.png, .pdf and .svg, and
    report.html, which opens without a network connection.

    A failed cell is a result, and the exit code is then 1. The same command tries
    it again and keeps the others.
    """
    from coreselect_integrations.cli.compare_run import Request, run

    run(
        Request(
            out,
            trainer,
            pool,
            study,
            network,
            training,
            schedule,
            attack,
            effort,
            evaluation,
            machine,
            num_threads,
            own,
            dry_run,
            conditions,
        ),
        json=json,
    )
