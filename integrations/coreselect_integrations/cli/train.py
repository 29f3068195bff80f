"""`coreselect train`: pre-train with one of the systems of the papers, with or without a selector."""

from pathlib import Path
from typing import Annotated, Any

import typer

from coreselect.cli.option_records import Shown, Smallest, takes_records
from coreselect.cli.options import (
    ANY_DEVICE,
    AttackOptions,
    ConditionOptions,
    Json,
    MachineOptions,
    PoolOptions,
    RcsOptions,
    Seed,
)
from coreselect.cli.select_options import WorkOptions
from coreselect_integrations.cli.effort_options import EffortOptions
from coreselect_integrations.cli.options import (
    SYSTEM_NAMES,
    KeepEvery,
    NetworkOptions,
    OwnOptions,
    Preset,
    RunFolder,
    ScheduleOptions,
    TrainingOptions,
)
from coreselect_integrations.cli.train_options import (
    ContrastiveOptions,
    CoresetOptions,
    ImageOptions,
    OptimiserOptions,
    StartOptions,
    TradesOptions,
)

NOT_SETTINGS = ("data", "rows", "size", "resize", "selector", "coreset")


@takes_records
def train(
    system: Annotated[
        str | None, typer.Argument(help=f"{', '.join(SYSTEM_NAMES)}.", show_default="of --preset")
    ] = None,
    pool: PoolOptions = PoolOptions(),
    out: RunFolder = Path("out/train"),
    preset: Preset = None,
    json: Json = False,
    conditions: ConditionOptions = ConditionOptions(),
    network: NetworkOptions = NetworkOptions(),
    own: Annotated[OwnOptions, Shown(loss="that of the system", views="those of the system")] = OwnOptions(),
    start: Annotated[StartOptions, Shown(from_="drawn at random")] = StartOptions(),
    images: Annotated[ImageOptions, Shown(crop="pad; contrastive systems have their own")] = ImageOptions(),
    training: Annotated[TrainingOptions, Smallest(batch_size=2)] = TrainingOptions(),
    coreset: Annotated[
        CoresetOptions, Shown(selector="full: the whole pool", capture="the head", group_size="min(64, budget / 8)")
    ] = CoresetOptions(),
    schedule: Annotated[
        ScheduleOptions, Shown(select_attack_steps="1; with --preset as published")
    ] = ScheduleOptions(),
    rcs: Annotated[RcsOptions, Shown(eta="0.01", rd_steps="3")] = RcsOptions(),
    attack: AttackOptions = AttackOptions(),
    effort: EffortOptions = EffortOptions(),
    trades: TradesOptions = TradesOptions(),
    optimiser: OptimiserOptions = OptimiserOptions(),
    contrastive: ContrastiveOptions = ContrastiveOptions(),
    seed: Seed = None,
    keep_every: KeepEvery = 1,
    machine: Annotated[MachineOptions, Shown(device=ANY_DEVICE)] = MachineOptions(),
    work: WorkOptions = WorkOptions(),
) -> None:
    """Train a network with one of the systems of the papers, on all images or on coresets, and keep it in a folder.

    A setting that is not given comes from --preset, or else from the published
    settings of the system.

    --selector also takes settings and mixtures, such as rcs:eta=0.05 or
    rcs+redraw.

    --coreset trains on a selection that was made before, with its weights in the
    loss, on any --arch.

    If training is interrupted, the same command continues after its last epoch.

    The folder holds log.jsonl, last.pt, coreset.npz and, at the end, model.pt,
    which `coreselect finetune` and `coreselect evaluate` read.
    """
    records = (pool, network, images, training, coreset, rcs, attack, effort, trades, optimiser, contrastive)
    given: dict[str, Any] = {"system": system, "seed": seed}
    for record in records:
        given.update(vars(record))
    given = {name: value for name, value in given.items() if value is not None and name not in NOT_SETTINGS}
    given |= schedule.given

    from coreselect_integrations.cli.train_run import Request, run

    run(
        Request(
            given,
            preset,
            pool,
            out,
            coreset.selector,
            coreset.coreset,
            own,
            start,
            machine,
            work,
            keep_every,
            conditions,
        ),
        json=json,
    )
