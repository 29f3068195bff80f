"""Ranks that share every batch make the updates of one process: parameters, losses, history, for every system."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from processes import in_processes
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset

from coreselect import Indexed
from coreselect.attacks import PGD
from coreselect.history import History
from coreselect.losses import ACL, CE, CL, SAT, TRADES
from coreselect_integrations.systems import acl, sat
from coreselect_integrations.systems.air import IR, with_original
from coreselect_integrations.systems.augment import crop_flip, resized_crop_flip
from coreselect_integrations.systems.dynacl import MomentumEncoder
from coreselect_integrations.systems.views import two_views
from coreselect_integrations.training.batches import NonSingletonBatches
from coreselect_integrations.training.data_parallel import DataParallel
from coreselect_integrations.training.shares import COMPANY, Share
from coreselect_integrations.training.workers import Worker

N, BATCH = 19, 8  # batches of 8, 8 and 3: of the last, three ranks get 3, 0 and 0
ATTACK = PGD(0.1, 0.05, 2)
SUPERVISED: dict[str, Any] = {
    "standard": (CE(), None, None),
    "sat": (SAT(), ATTACK, partial(crop_flip, pad=1)),
    "trades": (TRADES(6.0), ATTACK, resized_crop_flip),
}
CONTRASTIVE: dict[str, Any] = {
    "cl": (CL(), None, two_views),
    "acl": (ACL(omega=0.3), ATTACK, two_views),
    "acl-air": (IR(), ATTACK, with_original(two_views)),
    "pair of encoders": (ACL(), ATTACK, two_views),
}


class Plain(nn.Module):
    """A network without batch normalisation, in double precision, with a route argument."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.conv, self.head = nn.Conv2d(3, 6, 3, dtype=torch.float64), nn.Linear(6, 3, dtype=torch.float64)

    def forward(self, x: Tensor, route: str = "natural") -> Tensor:
        shift = 0.1 * (route == "adversarial")
        return self.head(nn.functional.softplus(self.conv(x) + shift).mean((2, 3)))


def _pool() -> TensorDataset:
    draw = torch.Generator().manual_seed(0)
    return TensorDataset(
        torch.rand(N, 3, 6, 6, generator=draw, dtype=torch.float64), torch.randint(3, (N,), generator=draw)
    )


def _trained(system: str, worker_of: Any) -> dict[str, Any]:
    """Train two epochs with weights and a history; return all that must not depend on the number of ranks."""
    network = Plain()
    model: nn.Module = MomentumEncoder(network, 0.9) if system == "pair of encoders" else network
    optimizer = torch.optim.SGD(network.parameters(), 0.5, momentum=0.9)
    if isinstance(model, MomentumEncoder):
        model.attach(optimizer)
    worker: Worker = worker_of(model)
    batches = NonSingletonBatches(SequentialSampler(_pool()), BATCH)  # type: ignore[arg-type]
    loader = DataLoader(Indexed(_pool()), batch_sampler=worker.dealt(batches))  # type: ignore[arg-type]
    history, logs = History(N), []
    for epoch in range(2):
        draws = worker.generator(0, epoch)
        loss, attack, change = (SUPERVISED | CONTRASTIVE)[system]
        common: dict[str, Any] = {
            "generator": draws, "loss": loss, "history": history, "worker": worker, "weights": lambda i: 0.5 + i / N,
            "call": lambda m, x, route: m(x, route),
        }  # fmt: skip
        batch_loader = worker.following(loader, draws)
        if system in SUPERVISED:
            log = sat.train_epoch(model, batch_loader, optimizer, attack, augment=change, **common)
        else:
            log = acl.train_epoch(model, batch_loader, optimizer, attack, views=change, **common)
        worker.settle()
        logs.append((log.loss, log.accuracy or 0.0, log.examples))
    arrays = {"weights": model.state_dict(), "history": history.state_dict()}
    plain = {part: {k: v.numpy() for k, v in a.items() if isinstance(v, Tensor)} for part, a in arrays.items()}
    return {**plain, "logs": logs}


def _rank(folder: str, rank: int) -> list[dict[str, Any]]:
    """Be one of three ranks, and then one of two, or alone."""
    torch.set_num_threads(1)
    three = {system: _trained(system, DataParallel) for system in SUPERVISED | CONTRASTIVE}
    dist.destroy_process_group()
    meet, world = ("two", 2) if rank < 2 else ("one", 1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/{meet}", rank=rank % 2, world_size=world)
    return [three, {system: _trained(system, DataParallel) for system in SUPERVISED | CONTRASTIVE}]


def test_ranks_make_the_updates_of_one_process(tmp_path: Path) -> None:
    """In double precision, without batch normalisation, weights and history are equal to 1e-9 with 1, 2 and 3 ranks; ranks of a
    group have the same bits."""
    pytest.importorskip("kornia")
    threes, twos = zip(*in_processes(3, partial(_rank, str(tmp_path)), tmp_path), strict=True)
    for found, system in (
        (found, system) for found in (threes, twos[:2], twos[2:]) for system in SUPERVISED | CONTRASTIVE
    ):
        want = _trained(system, lambda model: Worker())
        for got in (ranks[system] for ranks in found):
            assert [log[2] for log in got["logs"]] == [N, N]
            for one, two in zip(want["logs"], got["logs"], strict=True):
                assert one == pytest.approx(two, rel=1e-9)
            for part in ("weights", "history"):
                for name, value in want[part].items():
                    np.testing.assert_allclose(got[part][name], value, rtol=1e-9, atol=1e-9, err_msg=f"{system} {name}")
            np.testing.assert_equal(got["weights"], found[0][system]["weights"])


def test_a_batch_is_dealt_out_whole() -> None:
    """The shares of any batch are disjoint, cover it in order, and hold no single example; a rank without one gets company."""
    for world in (1, 2, 3, 5):
        for size in range(2, 24):
            shares = [Share.of(size, rank, world) for rank in range(world)]
            dealt = [i for s in shares if s.own for i in range(size)[s.positions()]]
            assert dealt == list(range(size))
            assert all(s.own != 1 and s.size == size for s in shares)
            assert all(len(range(size)[s.positions()]) == (s.own or COMPANY) for s in shares)
