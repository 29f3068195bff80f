"""Pseudo-labels: the clusters of a network's features, and a dataset that uses them in place of its labels."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from coreselect.data.items import loaded_in_order
from coreselect.errors import RequirementError
from coreselect.network.placing import placed
from coreselect.protocols import Route
from coreselect.search.kmeans import kmeans
from coreselect.support.devices import usable_device
from coreselect.support.seeding import derive
from coreselect.types import Int64
from coreselect_integrations.networks import NetworkSpec, classifier_from
from coreselect_integrations.training.contexts import evaluation_mode, mixed_precision


def features_of(
    weights: Mapping[str, Tensor],
    spec: NetworkSpec,
    dataset: Dataset[Any],
    *,
    route: Route = "natural",
    batch_size: int = 512,
    num_workers: int = 0,
    timeout: float = 0,
    precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Compute f(x) of every item, in evaluation mode and in the order of the dataset, float32 [N, D] on the CPU.

    Args:
        weights, spec: of a pre-trained network; its head is not used.
        dataset: map-style, items x or (x, …); only x is read.
        route: whose statistics to use.
        batch_size, num_workers, timeout, precision, device: of the forward passes.
    Raises:
        DataError, RequirementError, UnknownNameError: see `classifier_from`.
    """
    network, _, _ = classifier_from(weights, spec, classes=2, route=route)
    device = None if device is None else usable_device(device)
    placed(network, device)
    loader = loaded_in_order(Images(dataset), batch_size, what="dataset", num_workers=num_workers, timeout=timeout)
    parts: list[Tensor] = []
    with evaluation_mode(network), torch.no_grad():
        for x in loader:
            x = x.to(device)  # [B, C, H, W]
            with mixed_precision(x, precision):
                parts.append(network.represent(x, route).float().cpu())  # [B, D]
    return torch.cat(parts)


def pseudo_labels(features: Tensor, clusters: int = 10, *, seed: int = 0) -> Int64:
    """Divide features [N, D] into clusters, int64 [N], by `coreselect.search.kmeans`; it uses FAISS if it is installed.

    Args:
        features: the result of `features_of`.
        clusters: in 2…N; published 10 for DynACL++, the number of classes for AIR++.
        seed: decides every draw.
    Raises:
        RequirementError: clusters is out of range.
        NonFiniteError: features hold NaN or infinity.
    """
    if not 2 <= clusters <= len(features):
        why = f"the number of clusters must be at least 2 and at most the number of examples, got {clusters} for {len(features)}."
        raise RequirementError(why)
    return kmeans(features.numpy(), clusters, seed=derive(seed, "pseudo-labels"))


def image_of(item: Any) -> Any:
    """Return x of an item x or (x, …)."""
    return item[0] if isinstance(item, tuple | list) else item


class Images(Dataset[Any]):
    """The images of a dataset without the other entries of its items."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return image_of(self.dataset[index])


class Relabelled(Dataset[Any]):
    """The images of a dataset with new labels: item i is (x_i, labels[i]).

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
