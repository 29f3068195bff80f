"""Claims about two processes: under every framework each rank sees its share of the plain loop, and all end equal."""

import os
import socket
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import framework_runs as runs
import pytest
from framework_runs import EPOCHS
from processes import in_two_processes

LIBRARIES = ("lightning", "accelerate", "transformers")


def _cluster(rank: int, port: int, folder: str) -> dict[str, Any]:
    """Run all loops in one process group, and return what each saw and whether its network is that of the plain loop."""
    told = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": 2,
        "LOCAL_WORLD_SIZE": 2,
        "GROUP_RANK": 0,
        "MASTER_PORT": port,
    }
    os.environ.update({name: str(value) for name, value in told.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", TORCHELASTIC_RUN_ID="1", ACCELERATE_USE_CPU="1")
    test_accelerate: Any = import_module("test_accelerate")
    test_fabric: Any = import_module("test_fabric")
    test_lightning: Any = import_module("test_lightning")
    test_transformers: Any = import_module("test_transformers")
    import text_runs
    from lightning.fabric import Fabric

    seen, net = runs.plain()
    own: dict[str, Any] = {"plain": seen}
    lit = test_lightning.Lit()
    options: dict[str, Any] = {"devices": 2, "strategy": "ddp"}
    test_lightning.trainer(**options).fit(lit, datamodule=test_lightning.module(lit.net))
    own["lightning"] = lit.seen, runs.same(lit.net, net), lit.validated, lit.told

    killed, every = (
        test_lightning.Lit(kill_at=7),
        test_lightning.ModelCheckpoint(folder, "{step}", every_n_train_steps=1),
    )
    with suppress(runs.Killed):
        test_lightning.trainer(every, **options).fit(killed, datamodule=test_lightning.module(killed.net))
    again = test_lightning.Lit()
    file = Path(folder) / "step=7.ckpt"
    test_lightning.trainer(**options).fit(again, datamodule=test_lightning.module(again.net), ckpt_path=file)
    own["resumed"] = killed.seen + again.seen, runs.same(again.net, net), again.validated

    recorded, by_history = test_lightning.Lit(), runs.plain("importance", step=_record)
    test_lightning.trainer(**options).fit(recorded, datamodule=test_lightning.module(recorded.net, "importance"))
    own["history"] = recorded.seen == by_history[0], runs.same(recorded.net, by_history[1])

    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    whole, model = test_fabric.train(fabric)
    own["fabric"] = whole, runs.same(model, net)
    whole, model = test_accelerate.train()
    own["accelerate"] = whole, runs.same(model, net)

    run = test_transformers.trainer(Path(folder) / "hf", save_strategy="no")
    run.train()
    theirs, text = text_runs.plain()
    own["transformers"] = (
        run.seen == theirs,
        runs.same(text, run.model),
        run.state.global_step,
        test_transformers.evaluated(run),
    )
    return own


def _record(order: Any, i: Any, losses: Any, logits: Any, labels: Any) -> None:
    """Record a batch of all ranks in each process."""
    from coreselect_integrations.frameworks.weighted import weighted_mean

    weighted_mean(order, i, losses, logits, labels)


class _Work:
    """The work of a process, in a form that can be sent to it."""

    def __init__(self, port: int, folder: str) -> None:
        self.port, self.folder = port, folder

    def __call__(self, rank: int) -> dict[str, Any]:
        """Run it."""
        import sys

        sys.path.insert(0, str(Path(__file__).parent))
        return _cluster(rank, self.port, self.folder)


def test_each_rank_sees_its_share_of_the_plain_loop(tmp_path: Path) -> None:
    """Lightning, Fabric, Accelerate and Transformers: shares, weights, validation, a kill and a resume, and the history."""
    for name in LIBRARIES:
        pytest.importorskip(name, reason=f"needs the extra {name}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = in_two_processes(_Work(port, str(tmp_path)), tmp_path)
    for own in ranks:
        seen = own["plain"]
        assert own["lightning"] == (seen, True, list(range(EPOCHS)), [6, 2, 2, 2])
        assert own["resumed"] == (seen, True, [1, 2, 3])
        assert own["history"] == (True, True)
        assert own["fabric"] == (seen, True)
        assert own["accelerate"] == (seen, True)
        assert own["transformers"] == (True, True, 3 + 1 + 1, [1.0, 2.0, 3.0])
    for epoch in range(EPOCHS):
        both = [i for own in ranks for e, at in own["plain"] if e == epoch for i in at]
        assert len(set(both)) == len(both) == (96 if epoch == 0 else 32)
