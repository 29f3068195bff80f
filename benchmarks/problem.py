"""What the cases on images share: CIFAR-10 images, a ResNet-18 for 32 pixels, and a warm-up checkpoint made once."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.case_types import WarmUp
from coreselect.attacks import PGD
from coreselect.data import load
from coreselect.data.images import Images
from coreselect.errors import DataError
from coreselect.io.fingerprint import fingerprint
from coreselect_integrations.networks import build
from coreselect_integrations.systems import sat

CPU, NOISE = torch.device("cpu"), "noise"  # NOISE: images that are made up, where only time is measured
HOW = (
    "give --data DIR (or CORESELECT_DATA), a folder with images_train.npy uint8 [N, 32, 32, 3] and labels_train.npy, or "
    "CIFAR-10 as published; see benchmarks/README.md"
)


def images(data: str, rows: int) -> Any:
    """Return the first training images as a map-style dataset of (float32 [3, 32, 32], label); `noise` makes some up.

    Raises:
        DataError: there is no data; the message says how to get it.
    """
    if data == NOISE:
        rng = np.random.default_rng(0)
        return Images(rng.integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, rows), NOISE)
    try:
        return load(data, "train", rows=rows)
    except DataError as why:
        raise DataError(f"no CIFAR-10 images: {HOW} ({why})") from why


def network(seed: int = 0, arch: str = "resnet18", device: torch.device = CPU) -> nn.Module:
    """Return an untrained network for 3×32×32 and 10 classes, in evaluation mode; on a GPU its kernels are channels last."""
    made = build(arch, "sat", channels=3, size=32, classes=10, seed=seed).eval()
    if device.type != "cuda":
        return made.to(device)
    return made.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def warmed_up(warm: WarmUp, data: str, work: Path, arch: str = "resnet18", device: torch.device = CPU) -> nn.Module:
    """Return the network after the warm-up; it is trained once and then read from `work`."""
    dataset = images(data, warm.images)
    about = {"warm": asdict(warm), "data": fingerprint(dataset), "torch": torch.__version__}
    about |= {} if (arch, device.type) == ("resnet18", "cpu") else {"arch": arch, "device": device.type}
    key = json.dumps(about, sort_keys=True)
    kept = work / f"warm-{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}.pt"
    model = network(warm.seed, arch, device)
    if kept.is_file():
        model.load_state_dict(torch.load(kept, map_location=device, weights_only=True))
        return model.eval()
    attack = PGD(8 / 255, 10 / 255 if warm.steps == 1 else 2 / 255, warm.steps)
    sat.warm_up(
        model,
        dataset,
        epochs=warm.epochs,
        attack=attack,
        batch_size=warm.batch,
        lr=warm.lr,
        seed=warm.seed,
        device=device,
    )
    work.mkdir(parents=True, exist_ok=True)
    unfinished = kept.with_suffix(f".{os.getpid()}")
    torch.save(model.state_dict(), unfinished)
    unfinished.replace(kept)
    return model.eval()
