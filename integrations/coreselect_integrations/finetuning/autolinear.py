"""AutoLoRa in the linear modes: SLF and ALF whose learning rate sets itself, and which keep the best epoch on held-out images.

    SLF   min_W  CE(W f(x), y)        ALF   min_W  CE(W f(x̃), y)        50 epochs, lr from 0.1, halved by `autorate.py`

The extractor is frozen, so there is nothing for a low-rank branch to learn: of AutoLoRa, the automatic rate is left. The rate is
judged every 4 epochs by the robust accuracy on held-out training images, under PGD-20. The authors' program judges it on the
images that it trains on, and returns the epoch that is best on the test set; this one returns the best on held-out data.

Source: Xu, Zhang and Kankanhalli, "AutoLoRa: An Automated Robust Fine-Tuning Framework", ICLR 2024, and the authors' program.
"""

from collections.abc import Mapping
from time import perf_counter
from typing import Any, Unpack

from torch import Tensor
from torch.utils.data import Dataset

from coreselect.budget import Budget
from coreselect.data.subsets import holdout
from coreselect.errors import RequirementError
from coreselect.network.placing import placed
from coreselect.protocols import Attack
from coreselect.support.records import settings_of
from coreselect_integrations.evaluation import PGD20, evaluate
from coreselect_integrations.finetuning.autolora import AutoLoRaResult
from coreselect_integrations.finetuning.autorate import AutoRate
from coreselect_integrations.finetuning.modes import Mode
from coreselect_integrations.finetuning.runtime import RuntimeOptions, loop_options, open_run
from coreselect_integrations.finetuning.tuning import begin, finish, train_epoch
from coreselect_integrations.networks import NetworkSpec, route_call
from coreselect_integrations.systems.augment import Augment, crop_flip
from coreselect_integrations.training.batches import Batches
from coreselect_integrations.training.epoch_log import EpochLog
from coreselect_integrations.training.epochs import epoch_generator, run_epochs

EVERY = 4  # epochs between two checkpoints of the rate


def auto_linear(
    mode: Mode,
    weights: Mapping[str, Tensor],
    spec: NetworkSpec,
    dataset: Dataset[Any],
    *,
    classes: int,
    seed: int = 0,
    epochs: int = 50,
    held: Budget = 0.05,
    batch_size: int | None = None,
    lr: float = 0.1,
    judged_by: Attack = PGD20,
    augment: Augment | None = crop_flip,
    **runtime: Unpack[RuntimeOptions],
) -> AutoLoRaResult:
    """Fine-tune a linear head with an automatic learning rate, and keep the epoch that is best on held-out images.

    Args:
        mode: `SLF` or `ALF`, with its attack.
        epochs: published 50; the rate is judged after every 4 of them.
        held, judged_by: see `autolora`.
        batch_size: None means that of the mode.
        lr: the first learning rate; published 0.1.
        weights, spec, dataset, …: see `finetuning.finetune`.
    Raises:
        RequirementError: the mode trains more than the head; see `finetuning.finetune` for more.
        BudgetError: nothing is left to train on, or nothing is held out.
        DataError, UnknownNameError: see `finetuning.finetune`.
    """
    if not mode.linear:
        raise RequirementError(
            f"an automatic rate without a branch is for linear modes, got {mode.name}: use autolora."
        )
    start = perf_counter()
    device, precision = runtime.get("device"), runtime.get("precision")
    pool, rest = holdout(dataset, held, seed)
    tuning = begin(mode, weights, spec, classes=classes)
    placed(tuning.network, device)
    optimizer = tuning.optimizer(lr)
    auto = AutoRate(tuning.network, optimizer, tuple(range(EVERY, epochs + 1, EVERY)))
    name, batch_size = f"autolora-{mode.name}", mode.batch_size if batch_size is None else batch_size
    settings = {
        "mode": name, "epochs": epochs, "batch_size": batch_size, "lr": lr, "seed": seed, "held": len(rest),
        "weight_decay": mode.weight_decay, "attack": settings_of(mode.attack), "judged_by": settings_of(judged_by),
    }  # fmt: skip
    run = open_run(
        runtime, {"network": tuning.network, "optimizer": optimizer, "rate": auto}, settings, pool, tuning.network
    )
    rates = [] if run is None else [float(record["lr"]) for record in run.records]

    def epoch(e: int, batches: Batches) -> EpochLog:
        rates.append(auto.rate)
        log = train_epoch(
            tuning, batches, optimizer, generator=epoch_generator(seed, name, e), augment=augment, precision=precision,
            device=device,
        )  # fmt: skip
        auto.update(evaluate(tuning.network, rest, attack=judged_by, seed=seed, call=route_call, device=device).robust)
        return log

    log = run_epochs(
        epoch, pool, name, seed=seed, epochs=epochs, batch_size=batch_size, run=run,
        extra_record=lambda: {"lr": rates[-1], "held": auto.values[-1]}, **loop_options(runtime),
    )  # fmt: skip
    auto.restore()
    network, new = finish(tuning)
    return AutoLoRaResult(network, new, tuning.transfer, log, perf_counter() - start, tuple(auto.values), tuple(rates))
