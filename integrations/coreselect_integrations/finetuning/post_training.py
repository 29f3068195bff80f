"""The "++" after contrastive pre-training: train on the clusters of the extractor's own features as if they were classes.

    a = k-means of f(x), natural route, x ∈ the training set     pseudo-labels; no label is read
    min_W    CE(W f(x), a)                                       10 epochs, only the head
    min_W,f  CE(W f(x), a) + 6·KL(p ‖ p̃)                         25 epochs, the whole network; TRADES

In both trainings, natural and attacked images use the adversarial route. The result is again an extractor, with a head for
the clusters; any mode of `finetuning` takes it.

Source: Luo, Wang and Wang, "Rethinking the Effect of Data Augmentation in Adversarial Contrastive Learning", ICLR 2023
(DynACL++). The authors' attack starts 0.001·N(0, 1) away from x.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from time import perf_counter
from typing import Any, Unpack

import numpy as np
from torch import Tensor, nn
from torch.utils.data import Dataset

from coreselect.errors import RequirementError
from coreselect.losses import CE, TRADES
from coreselect.protocols import Attack, Route
from coreselect.types import Int64
from coreselect_integrations.finetuning.modes import ATTACK, Mode
from coreselect_integrations.finetuning.pseudo_labels import Relabelled, features_of, pseudo_labels
from coreselect_integrations.finetuning.run import train_all_epochs
from coreselect_integrations.finetuning.runtime import RuntimeOptions
from coreselect_integrations.finetuning.tuning import begin
from coreselect_integrations.networks import NetworkSpec, RoutedNetwork, Transfer
from coreselect_integrations.systems.augment import Augment, crop_flip
from coreselect_integrations.training.epoch_log import EpochLog


def adversarial_call(model: nn.Module, x: Tensor, route: Route) -> Tensor:
    """Call a network through its adversarial route for every input."""
    del route
    return model(x, "adversarial")


PROBE = Mode("probe", True, CE(), None, epochs=10, weight_decay=1e-4, milestones=(), call=adversarial_call)
FULL = Mode(
    "pseudo", False, TRADES(6.0), ATTACK, lr=0.1, weight_decay=1e-4, call=adversarial_call
)  # 25 epochs, × 0.1 at 10 and 20


@dataclass(frozen=True, slots=True, eq=False)
class PostTrained:
    """The result: `network`, an extractor with a head for the clusters in evaluation mode, and how it was made.

    `spec` describes the network; `transfer` says what was loaded; `labels` int64 [N] are the clusters, `sizes` their numbers
    of examples; `probe` and `full` are the logs of the two trainings; `seconds` is wall-clock time, including features and
    clusters.
    """

    network: RoutedNetwork
    spec: NetworkSpec
    transfer: Transfer
    labels: Int64
    sizes: tuple[int, ...]
    probe: tuple[EpochLog, ...]
    full: tuple[EpochLog, ...]
    seconds: float


def post_train(
    weights: Mapping[str, Tensor],
    spec: NetworkSpec,
    dataset: Dataset[Any],
    *,
    clusters: int = 10,
    dual_bn: bool = False,
    seed: int = 0,
    epochs: tuple[int, int] = (PROBE.epochs, FULL.epochs),
    batch_size: int | None = None,
    attack: Attack = ATTACK,
    augment: Augment | None = crop_flip,
    **runtime: Unpack[RuntimeOptions],
) -> PostTrained:
    """Train an extractor on the clusters of its own features.

    Args:
        weights, spec: of the pre-trained network, with any head or none; copied.
        dataset: the data of pre-training, items x or (x, …); labels are never read.
        clusters: see `pseudo_labels`.
        dual_bn: whether the result keeps statistics for two routes (published for AFF), or only for the adversarial route
            (published for SLF and ALF). The statistics of the natural route do not change, but the kernels before them do.
        seed: decides clusters, order, augmentation and random starts; global random states do not change.
        epochs: of the two trainings; milestones are scaled.
        batch_size: None means 512. The last batch of an epoch is left out if it is not full, unless it is the only batch.
        attack: of the second training.
        augment: see `finetuning.finetune`.
        runtime: see `RuntimeOptions`. `folder` gets the two trainings in `probe` and `full`; the clusters are computed again
            when a run is continued.
    Raises:
        DataError, NonFiniteError, RequirementError, UnknownNameError: see `features_of` and `pseudo_labels`.
    """
    start = perf_counter()
    n = len(dataset)  # type: ignore[arg-type]  # map-style datasets have a length
    if n < 1:
        why = "there is nothing to train on: the dataset holds no examples."
        raise RequirementError(why)
    features = features_of(
        weights, spec, dataset, num_workers=runtime.get("num_workers", 0), timeout=runtime.get("timeout", 0),
        precision=runtime.get("precision"), device=runtime.get("device"),
    )  # fmt: skip
    labels = pseudo_labels(features, clusters, seed=seed)
    relabelled = Relabelled(dataset, labels)
    folder, ended = runtime.get("folder"), runtime.get("ended")
    about = {**runtime.get("about", {}), "clusters": blake2b(labels.tobytes(), digest_size=8).hexdigest()}

    def below(name: str) -> Path | None:
        return None if folder is None else Path(folder) / name

    def ended_in_second(record: Mapping[str, Any]) -> None:
        """Number the epochs of the second training after those of the first."""
        if ended is not None:
            ended({**record, "epoch": epochs[0] + record["epoch"]})

    common: dict[str, Any] = {
        **runtime, "seed": seed, "batch_size": batch_size, "augment": augment, "drop_last": True, "about": about,
    }  # fmt: skip
    tuning = begin(replace(PROBE, dual_bn=dual_bn), weights, spec, classes=clusters)
    first: dict[str, Any] = {**common, "epochs": epochs[0], "folder": below("probe")}
    probe = train_all_epochs(tuning, relabelled, **first)
    tuning = tuning.with_mode(replace(FULL, attack=attack))
    second: dict[str, Any] = {**common, "epochs": epochs[1], "folder": below("full"), "ended": ended_in_second}
    full = train_all_epochs(tuning, relabelled, **second)
    network = tuning.network.eval().requires_grad_(True)
    sizes = tuple(np.bincount(labels, minlength=clusters).tolist())
    return PostTrained(network, tuning.spec, tuning.transfer, labels, sizes, probe, full, perf_counter() - start)
