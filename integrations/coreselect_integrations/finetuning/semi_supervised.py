"""Semi-supervised adversarial training: a standard fine-tuning on few labels gives pseudo-labels for all other images.

    teacher   the extractor of the natural route, fine-tuned on the n labelled images without an attack → logits s of all images
    student   the extractor of the adversarial route, trained on all images by the loss in `partly_labelled.py`

The authors' teacher is fine-tuned as a whole (sff); a linear head (slf) is the cheaper choice. Their program takes the same
number of labelled images into each batch, and an epoch of the teacher chosen by validation images; here batches are drawn from
all images, and the last epoch is kept. Labels of other images are never read.

Source: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 3.3, and the authors'
program.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from time import perf_counter
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from coreselect.attacks import PGD
from coreselect.data.items import loaded_in_order
from coreselect.errors import RequirementError
from coreselect.support.devices import usable_device
from coreselect.types import Int64
from coreselect_integrations.finetuning.modes import SEMI, SFF, SLF
from coreselect_integrations.finetuning.partly_labelled import PartlyLabelled
from coreselect_integrations.finetuning.pseudo_labels import Images, Relabelled
from coreselect_integrations.finetuning.run import Finetuned, train_all_epochs
from coreselect_integrations.finetuning.runtime import RuntimeOptions
from coreselect_integrations.finetuning.tuning import Tuning, begin, finish
from coreselect_integrations.networks import NetworkSpec
from coreselect_integrations.systems.augment import Augment, crop_flip
from coreselect_integrations.training.contexts import evaluation_mode, mixed_precision
from coreselect_integrations.training.epoch_log import EpochLog

TEACHERS = {
    "sff": replace(SFF, name="teacher", epochs=100, milestones=(40, 60)),
    "slf": replace(SLF, name="teacher"),
}


@dataclass(frozen=True, slots=True, eq=False)
class SemiSupervised(Finetuned):
    """`Finetuned`, with the log of the teacher, and its classes of all images, int64 [N]."""

    teacher: tuple[EpochLog, ...]
    pseudo: Int64


def semi_supervised(
    weights: Mapping[str, Tensor],
    spec: NetworkSpec,
    dataset: Dataset[Any],
    *,
    labelled: Int64,
    labels: Int64,
    classes: int,
    teacher: str = "sff",
    seed: int = 0,
    epochs: tuple[int, int] | None = None,
    batch_size: int | None = None,
    attack: PGD = SEMI.attack,  # type: ignore[assignment]  # the mode has one
    augment: Augment | None = crop_flip,
    **runtime: Unpack[RuntimeOptions],
) -> SemiSupervised:
    """Fine-tune on a dataset of which a few images are labelled, and keep the last epoch.

    Args:
        weights, spec, classes: see `finetuning.begin`.
        dataset: map-style, items x or (x, …); only x is read.
        labelled: positions [n] of the labelled images, such as `draw_labelled` gives.
        labels: int64 [n], their labels.
        teacher: `sff`, the whole network (published), or `slf`, a linear head.
        seed: decides order, augmentation and random starts; global random states do not change.
        epochs: of teacher and student; None means those of the modes, published 100 and 15. Milestones are scaled.
        batch_size: of the student; None means 200.
        attack: of the student.
        augment: see `finetuning.finetune`.
        runtime: see `RuntimeOptions`. `folder` gets the two trainings in `teacher` and `student`.
    Raises:
        RequirementError: there is no such teacher, or no labelled image.
        DataError, UnknownNameError: see `finetuning.begin` and `train_all_epochs`.
    """
    start, folder, ended = perf_counter(), runtime.get("folder"), runtime.get("ended")
    if teacher not in TEACHERS or not len(labelled) or len(labelled) != len(labels):
        why = (
            f"semi-supervised training needs a teacher of {', '.join(TEACHERS)} and a label for each labelled image, got "
            f"{teacher!r}, {len(labelled)} images and {len(labels)} labels."
        )
        raise RequirementError(why)
    first, second = TEACHERS[teacher], replace(SEMI, attack=attack)
    lengths = (first.epochs, second.epochs) if epochs is None else epochs
    drawn = blake2b(np.asarray(labelled).tobytes() + np.asarray(labels).tobytes(), digest_size=8).hexdigest()
    about = {**runtime.get("about", {}), "labelled": drawn, "teacher": teacher}

    def part(name: str) -> Path | None:
        return None if folder is None else Path(folder) / name

    def ended_in_second(record: Mapping[str, Any]) -> None:
        """Number the epochs of the student after those of the teacher."""
        if ended is not None:
            ended({**record, "epoch": lengths[0] + record["epoch"]})

    common: dict[str, Any] = {**runtime, "seed": seed, "augment": augment, "about": about}
    few = Relabelled(Subset(dataset, np.asarray(labelled).tolist()), np.asarray(labels))
    taught = begin(first, weights, spec, classes=classes, route="natural")
    own: dict[str, Any] = {**common, "epochs": lengths[0], "folder": part("teacher")}
    log = train_all_epochs(taught, few, **own)
    logits = _logits(taught, dataset, runtime)
    tuning = begin(second, weights, spec, classes=classes)
    own = {
        **common, "epochs": lengths[1], "folder": part("student"), "batch_size": batch_size, "ended": ended_in_second,
    }  # fmt: skip
    learnt = train_all_epochs(tuning, PartlyLabelled(dataset, logits, labelled, labels), **own)
    network, new = finish(tuning)
    pseudo = logits.argmax(1).numpy()
    return SemiSupervised(network, new, tuning.transfer, learnt, perf_counter() - start, log, pseudo)


def _logits(tuning: Tuning, dataset: Dataset[Any], runtime: RuntimeOptions) -> Tensor:
    """Compute the logits of all images in evaluation mode and without augmentation, float32 [N, classes] on the CPU."""
    device = None if runtime.get("device") is None else usable_device(runtime["device"])  # type: ignore[arg-type]  # not None
    workers, timeout = runtime.get("num_workers", 0), runtime.get("timeout", 0)
    parts: list[Tensor] = []
    with evaluation_mode(tuning.network), torch.no_grad():
        for x in loaded_in_order(Images(dataset), 512, what="dataset", num_workers=workers, timeout=timeout):
            x = x.to(device)  # [B, C, H, W]
            with mixed_precision(x, runtime.get("precision")):
                parts.append(tuning.network(x, "natural").float().cpu())  # [B, classes]
    return torch.cat(parts)
