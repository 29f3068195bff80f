"""`coreselect fidelity`: how far the approximations of RCS can be trusted at a checkpoint, and what each would save."""

from pathlib import Path
from typing import Annotated

import typer

from coreselect.cli.option_records import Shown, Smallest, takes_records
from coreselect.cli.options import (
    ANY_DEVICE,
    FROM,
    AttackOptions,
    BatchSize,
    Fraction,
    Json,
    MachineOptions,
    NumThreads,
    PoolOptions,
    RcsOptions,
    Seed,
    WarmupOptions,
)
from coreselect_integrations.cli.effort_options import TrainRadius
from coreselect_integrations.cli.fidelity_options import RcsMeasuredOptions, ReportOptions
from coreselect_integrations.cli.options import OwnModelAndViews

STEPS, LOSSES = ("head", "all"), ("sat", "acl")
AS_TRAINED = "as in training"


@takes_records
def fidelity(
    from_: Annotated[Path | None, FROM, Shown(from_="a network is warmed up")] = None,
    pool: Annotated[PoolOptions, Shown(validation="as in training, or 0.05")] = PoolOptions(),
    report: ReportOptions = ReportOptions(),
    fraction: Annotated[Fraction, Shown(fraction=AS_TRAINED)] = None,
    json: Json = False,
    own: OwnModelAndViews = OwnModelAndViews(),
    warmup: Annotated[WarmupOptions, Shown(loss="sat", arch="small", warmup_epochs="1")] = WarmupOptions(),
    rcs: Annotated[RcsOptions, Shown(eta=AS_TRAINED, rd_steps=AS_TRAINED), Smallest(eta=None)] = RcsOptions(),
    measured: Annotated[RcsMeasuredOptions, Shown(group_size="min(64, budget / 8)")] = RcsMeasuredOptions(),
    attack: Annotated[AttackOptions, Shown(radius="8/255", attack_steps=AS_TRAINED)] = AttackOptions(),
    train_radius: Annotated[TrainRadius, Shown(train_radius=AS_TRAINED)] = None,
    batch_size: Annotated[BatchSize, Shown(batch_size="256, or 64 on a CPU")] = None,
    seed: Annotated[Seed, Smallest(seed=0)] = 0,
    machine: Annotated[MachineOptions, Shown(device=ANY_DEVICE)] = MachineOptions(),
    num_threads: NumThreads = None,
) -> None:
    """Measure how far gains, head-only rows and cheaper settings can be trusted at a checkpoint.

    The report answers three questions:

    Do gains rank groups as the true decrease of RD does, for a step of the head
    and for a step of the whole model?

    By how many standard deviations do methods beat random sets of their size?

    What does each approximation save in seconds, and what does it lose in G?

    RD says how far an attack moves the outputs on held-out images. G is the
    negative RD after a step on the chosen set, with a new attack.

    --from takes the model.pt of `coreselect train`. Without it, --loss, --arch,
    --warmup-epochs and --radius describe the network that is warmed up.

    All steps of the training attack together are 1.25 training radii long. The
    attack of RD stays within --radius.
    """
    given = {**vars(warmup), "radius": attack.radius}
    code = ":" in (warmup.loss or "")
    if from_ is not None and code:
        given.pop("loss")
    if own.model is not None:
        given = {"arch": warmup.arch, "warmup_epochs": warmup.warmup_epochs}
    lost = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if (from_ is not None or own.model is not None) and lost:
        why = f"{', '.join(lost)} would be without effect here: it is for a network that is warmed up."
        raise typer.BadParameter(why)
    if warmup.loss is not None and warmup.loss not in LOSSES and not (code and (own.model or from_)):
        why = f"--loss is {' or '.join(LOSSES)} for a network that is warmed up, got {warmup.loss!r}."
        raise typer.BadParameter(why)
    if report.step not in STEPS:
        raise typer.BadParameter(f"--step is {' or '.join(STEPS)}, got {report.step!r}.")
    held = pool.validation or 0.0
    if held > 1 and held != int(held):
        raise typer.BadParameter("--validation is a share below 1, or a whole number of images.")

    from coreselect_integrations.cli.fidelity_run import Request, run

    run(
        Request(
            from_,
            pool,
            report,
            fraction,
            warmup,
            rcs,
            measured,
            attack,
            batch_size,
            seed or 0,
            machine,
            num_threads,
            own,
            train_radius,
        ),
        json=json,
    )
