"""The "++" after contrastive pre-training: learn the clusters of the extractor's own features as if they were classes.

    a = k-means of f(x), natural route, x ∈ the training set     pseudo-labels, no label is read
    min_W    CE(W f(x), a)                                       10 epochs, the head alone
    min_W,f  CE(W f(x), a) + 6·KL(p ‖ p̃)                         25 epochs, all of it; TRADES

Both trainings see natural and attacked images through the adversarial route. What comes out is an extractor again, with
a head for the clusters, that any mode of `finetuning.py` takes.

Source: Luo, Wang and Wang, "Rethinking the Effect of Data Augmentation in Adversarial Contrastive Learning", ICLR 2023
(DynACL++); the authors' SGD has no Nesterov momentum, and their attack starts 0.001·N(0, 1) away from x.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from coreselect.errors import RequirementError
from coreselect.losses import CE, TRADES
from coreselect.protocols import Attack, Progress, Route
from coreselect.search.kmeans import kmeans
from coreselect.support.seeding import derive, generator
from coreselect.types import Int64
from coreselect_integrations.finetuning.tuning import ATTACK, Mode, begin, run
from coreselect_integrations.networks import RoutedNetwork, Spec, Transfer, classifier_from
from coreselect_integrations.systems.augment import crop_flip
from coreselect_integrations.training.epochs import Ended
from coreselect_integrations.training.loops import Augment, EpochLog
from coreselect_integrations.training.modes import evaluating, precise


def adversarial_call(model: nn.Module, x: Tensor, route: Route) -> Tensor:
    """Call a network through its adversarial route, whatever the input."""
    del route
    return model(x, "adversarial")


PROBE = Mode("probe", True, CE(), None, epochs=10, weight_decay=1e-4, milestones=(), call=adversarial_call)
FULL = Mode(
    "pseudo", False, TRADES(6.0), ATTACK, lr=0.1, weight_decay=1e-4, call=adversarial_call
)  # 25 epochs, × 0.1 at 10 and 20


@dataclass(frozen=True, slots=True, eq=False)
class PostTrained:
    """`network`, an extractor with a head for the clusters, in evaluation mode, and how it came about.

    `spec` is what it is; `transfer` what was loaded; `labels` int64 [N] are the clusters, `sizes` how many examples each
    has; `probe` and `full` the logs of the two trainings; `seconds` wall-clock time, of features and clusters too.
    """

    network: RoutedNetwork
    spec: Spec
    transfer: Transfer
    labels: Int64
    sizes: tuple[int, ...]
    probe: tuple[EpochLog, ...]
    full: tuple[EpochLog, ...]
    seconds: float


def features_of(
    weights: Mapping[str, Tensor],
    spec: Spec,
    dataset: Dataset[Any],
    *,
    route: Route = "natural",
    batch_size: int = 512,
    num_workers: int = 0,
    precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Compute f(x) of every item, in evaluation mode and in the dataset's order, float32 [N, D] on the CPU.

    Args:
        weights, spec: of a pre-trained network; its head is not used.
        dataset: map-style, items x or (x, …); nothing but x is read.
        route: whose statistics to normalise by.
        batch_size, num_workers, precision, device: of the forward passes.
    Raises:
        DataError, RequirementError, UnknownNameError: as `classifier_from` says.
    """
    network, _, _ = classifier_from(weights, spec, classes=2, route=route)
    network.to(device)
    loader: DataLoader[Any] = DataLoader(
        _Images(dataset), batch_size, num_workers=num_workers, generator=generator(0, "features")
    )
    parts: list[Tensor] = []
    with evaluating(network), torch.no_grad():
        for x in loader:
            x = x.to(device)  # [B, C, H, W]
            with precise(x, precision):
                parts.append(network.represent(x, route).float().cpu())  # [B, D]
    return torch.cat(parts)


def pseudo_labels(features: Tensor, clusters: int = 10, *, seed: int = 0) -> Int64:
    """Divide features [N, D] into clusters, int64 [N]: `coreselect.search.kmeans`, by FAISS where it is installed.

    Args:
        features: as `features_of` returns them.
        clusters: in 2…N; published 10 for DynACL++, the number of classes for AIR++.
        seed: decides every draw.
    Raises:
        RequirementError: clusters is out of range.
        NonFiniteError: features hold NaN or infinity.
    """
    if not 2 <= clusters <= len(features):
        why = f"pseudo-labels need from 2 to as many clusters as examples, got {clusters} for {len(features)} examples."
        raise RequirementError(why)
    return kmeans(features.numpy(), clusters, seed=derive(seed, "pseudo-labels"))


def post_train(
    weights: Mapping[str, Tensor],
    spec: Spec,
    dataset: Dataset[Any],
    *,
    clusters: int = 10,
    dual_bn: bool = False,
    seed: int = 0,
    epochs: tuple[int, int] = (PROBE.epochs, FULL.epochs),
    batch_size: int | None = None,
    attack: Attack = ATTACK,
    augment: Augment | None = crop_flip,
    num_workers: int = 0,
    precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    folder: str | Path | None = None,
    about: Mapping[str, Any] = MappingProxyType({}),
    ended: Ended | None = None,
) -> PostTrained:
    """Post-train an extractor on the clusters of its own features.

    Args:
        weights, spec: of the pre-trained network, with any head or none; copied.
        dataset: what it was pre-trained on, items x or (x, …); labels are never read.
        clusters: as `pseudo_labels` says.
        dual_bn: whether the result keeps statistics for two routes, the natural ones as they were but for the kernels
            they follow (published for AFF), or the adversarial route's alone (published for SLF and ALF).
        seed: decides clusters, order, augmentation and random starts; no global random state moves.
        epochs: of the two trainings; milestones keep their share.
        batch_size: None for 512. An epoch's last batch is left out where it is not full and not the only one.
        folder: keeps the two trainings in `probe` and `full` below it; clusters are found anew when it is taken up.
        attack: of the second training.
        augment, num_workers, precision, device, progress, about, ended: as `finetuning.finetune` says.
    Raises:
        DataError, NonFiniteError, RequirementError, UnknownNameError: as `features_of` and `pseudo_labels` say.
    """
    start = perf_counter()
    n = len(dataset)  # type: ignore[arg-type]  # map-style datasets have a length
    if n < 1:
        why = "there is nothing to post-train on: the dataset holds no examples."
        raise RequirementError(why)
    features = features_of(weights, spec, dataset, num_workers=num_workers, precision=precision, device=device)
    labels = pseudo_labels(features, clusters, seed=seed)
    relabelled = Relabelled(dataset, labels)
    settings: dict[str, Any] = {
        "seed": seed, "batch_size": batch_size, "augment": augment, "drop_last": True, "num_workers": num_workers,
        "precision": precision, "device": device, "progress": progress,
        "about": {**about, "clusters": blake2b(labels.tobytes(), digest_size=8).hexdigest()},
    }  # fmt: skip
    folders = (None, None) if folder is None else (Path(folder) / "probe", Path(folder) / "full")
    tuning = begin(replace(PROBE, dual_bn=dual_bn), weights, spec, classes=clusters)
    probe = run(tuning, relabelled, epochs=epochs[0], folder=folders[0], ended=ended, **settings)

    def through(record: Mapping[str, Any]) -> None:
        """Count the epochs of the second training on from those of the first."""
        if ended is not None:
            ended({**record, "epoch": epochs[0] + record["epoch"]})

    how = tuning.under(replace(FULL, attack=attack))
    full = run(how, relabelled, epochs=epochs[1], folder=folders[1], ended=through, **settings)
    network = tuning.network.eval().requires_grad_(True)
    sizes = tuple(np.bincount(labels, minlength=clusters).tolist())
    return PostTrained(network, tuning.spec, tuning.transfer, labels, sizes, probe, full, perf_counter() - start)


def image_of(item: Any) -> Any:
    """Take x from an item x or (x, …)."""
    return item[0] if isinstance(item, tuple | list) else item


class _Images(Dataset[Any]):
    """The images of a dataset, without whatever else its items hold."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return image_of(self.dataset[index])


class Relabelled(Dataset[Any]):
    """The images of a dataset with labels of ours: item i is (x_i, labels[i]).

    Args:
        dataset: map-style, items x or (x, …).
        labels: int64 [N].
    """

    def __init__(self, dataset: Any, labels: Int64) -> None:
        self.dataset, self.labels = dataset, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return image_of(self.dataset[index]), int(self.labels[index])
