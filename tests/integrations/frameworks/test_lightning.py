"""Claims about Lightning: a run under it ends where the plain loop does, and validates in every epoch."""

import logging
import warnings
from pathlib import Path
from typing import Any

import framework_runs as runs
import pytest
import torch
from framework_runs import EPOCHS, SIZE, K, Killed, N, Seen
from torch.utils.data import DataLoader

from coreselect import CoreselectWarning, InfoBatchSampler
from coreselect.errors import ScheduleError

pl = pytest.importorskip("lightning.pytorch", reason="needs the extra lightning")
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint  # noqa: E402

from coreselect_integrations.frameworks.lightning import CoresetCallback, CoresetDataModule  # noqa: E402
from coreselect_integrations.frameworks.same_model import warn_of_another_model  # noqa: E402
from coreselect_integrations.frameworks.selection_bar import describe  # noqa: E402

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
pytestmark = [
    pytest.mark.filterwarnings("ignore:(?!.*coreselect).*:UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Lit(pl.LightningModule):
    """A module as its users write it; it notes what it sees."""

    def __init__(self, kill_at: int | None = None, scores: list[float] | None = None, span: str | None = None) -> None:
        super().__init__()
        self.net = runs.network()
        self.kill_at, self.scores, self.span = kill_at, scores, span
        self.seen: Seen = []
        self.validated: list[int] = []
        self.told: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step == self.kill_at:
            raise Killed
        x, y, i = batch
        self.seen.append((self.current_epoch, i.tolist()))
        losses, logits = runs.losses(self.net, x, y)
        return self.trainer.datamodule.loss(i, losses, logits, y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0 and not self.trainer.sanity_checking:
            self.validated.append(self.current_epoch)
        self.log("val", self.scores[self.current_epoch] if self.scores else 1.0)

    def on_train_epoch_end(self) -> None:
        self.told.append(self.trainer.num_training_batches)

    def configure_optimizers(self) -> Any:
        own = runs.optimiser(self)
        if self.span is None:
            return own
        span = (
            self.trainer.estimated_stepping_batches if self.span == "guessed" else self.trainer.datamodule.total_steps()
        )
        return [own], [{"scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(own, span), "interval": "step"}]


def module(net: Any, name: str = "craig", **options: Any) -> CoresetDataModule:
    """The data of the plain loop."""
    pool = runs.data()
    return CoresetDataModule(runs.sampler(net, pool, name), pool, runs.data(16, 2), batch_size=SIZE, **options)


def trainer(*callbacks: Any, **options: Any) -> Any:
    """A trainer that is quiet and writes nothing of its own."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    own = {"max_epochs": EPOCHS, "enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in callbacks)}
    return pl.Trainer(callbacks=[CoresetCallback(logger=False), *callbacks], **{**quiet, **own, **options})


def test_a_run_sees_what_the_plain_loop_sees() -> None:
    """Batches and weights are those of the loop, bit by bit; every epoch validates; Lightning is told each epoch's length."""
    lit = Lit()
    run = trainer()
    run.fit(lit, datamodule=module(lit.net))
    seen, net = runs.plain()
    assert lit.seen == seen
    assert runs.same(lit.net, net)
    assert lit.validated == list(range(EPOCHS))
    assert lit.told == [N / SIZE, *[K / SIZE] * (EPOCHS - 1)]


@pytest.mark.parametrize(("kill_at", "saved", "workers"), [(18, 18, 2), (15, 14, 0), (17, 16, 0), (13, 12, 0)])
def test_a_killed_run_goes_on_where_it_stopped(kill_at: int, saved: int, workers: int, tmp_path: Path) -> None:
    """Killed in the middle of an epoch or just after one, a run resumes at the saved step with the same subset, and ends equal."""
    first, every = Lit(kill_at), ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=2)
    with pytest.raises(Killed):
        trainer(every).fit(first, datamodule=module(first.net, num_workers=workers))
    again = Lit()
    data = module(again.net, num_workers=workers)
    trainer().fit(again, datamodule=data, ckpt_path=tmp_path / f"step={saved}.ckpt")
    seen, net = runs.plain()
    assert first.seen[:saved] + again.seen == seen
    assert runs.same(again.net, net)
    assert again.validated == list(range(first.seen[-1][0] if saved % 4 else seen[saved][0], EPOCHS))


def test_the_best_checkpoint_is_found_by_validation_and_training_stops_early(tmp_path: Path) -> None:
    """Early stopping and best checkpoints see every epoch; a run that resumes from the best one ends as the loop does."""
    scores = [1.0, 0.5, 0.7, 0.9]
    lit, best = Lit(scores=scores), ModelCheckpoint(tmp_path, "{epoch}", monitor="val")
    run = trainer(best, EarlyStopping("val", patience=2), max_epochs=9)
    run.fit(lit, datamodule=module(lit.net))
    assert Path(best.best_model_path).name == "epoch=1.ckpt"
    assert lit.validated == [0, 1, 2, 3]
    again = Lit()
    trainer().fit(again, datamodule=module(again.net), ckpt_path=best.best_model_path)
    seen, net = runs.plain()
    assert again.seen == [(epoch, at) for epoch, at in seen if epoch >= 2]
    assert runs.same(again.net, net)


def test_one_line_records_the_history_and_checkpoints_keep_it(tmp_path: Path) -> None:
    """`importance`, which chooses by recorded losses, chooses as in the plain loop, also after a resumed epoch."""
    first, every = Lit(kill_at=18), ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=2)
    with pytest.raises(Killed):
        trainer(every).fit(first, datamodule=module(first.net, "importance"))
    again = Lit()
    trainer().fit(again, datamodule=module(again.net, "importance"), ckpt_path=tmp_path / "step=16.ckpt")
    seen, net = runs.plain("importance", step=lambda s, i, each, z, y: s.task.history.record(i, z, y))
    assert first.seen[:16] + again.seen == seen
    assert runs.same(again.net, net)


def test_a_schedule_over_guessed_steps_is_named() -> None:
    """Lightning's own number of steps is too large, and one sentence says so; that of the data module is right."""
    lit = Lit(span="guessed")
    with pytest.warns(CoreselectWarning, match=r"spans 48 steps.*this run has 24"):
        trainer().fit(lit, datamodule=module(lit.net))
    lit = Lit(span="counted")
    run = trainer(accumulate_grad_batches=3, limit_train_batches=7)
    run.fit(lit, datamodule=module(lit.net))
    assert run.global_step == 3 + 3 * 2
    assert run.lr_scheduler_configs[0].scheduler.T_max == run.global_step


@pytest.mark.parametrize("saved", [14, 16, 18])
def test_a_run_that_counts_steps_resumes_too(saved: int, tmp_path: Path) -> None:
    """With `max_steps` in place of epochs, a run ends at that step, and goes on from any step or end of an epoch."""
    seen, _ = runs.plain()
    first, every = Lit(), ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=2)
    trainer(every, max_epochs=-1, max_steps=20).fit(first, datamodule=module(first.net))
    assert first.seen == seen[:20]
    again = Lit()
    run = trainer(max_epochs=-1, max_steps=20)
    run.fit(again, datamodule=module(again.net), ckpt_path=tmp_path / f"step={saved}.ckpt")
    assert again.seen == seen[saved:20]
    assert runs.same(again.net, first.net)


def test_infobatch_is_served_too() -> None:
    """Losses reach `InfoBatchSampler.update` by the same line, and epochs that drop are validated."""
    lit, order = Lit(), InfoBatchSampler(N, EPOCHS, seed=1)
    run = trainer()
    run.fit(lit, datamodule=CoresetDataModule(order, runs.data(), runs.data(16, 2), batch_size=SIZE))
    assert lit.validated == list(range(EPOCHS))
    assert lit.told[0] == N / SIZE > lit.told[1]


class Bare(Lit):
    """The loop of the README, with nothing of ours."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return runs.losses(self.net, *batch)[0].mean()


def test_a_sampler_with_another_model_is_named() -> None:
    """Its selections would not follow the training: one warning, and none for the model in training or a part of it."""
    with pytest.warns(
        CoreselectWarning, match=r"selects with a Linear that shares no parameter with the Lit in training"
    ):
        trainer(max_epochs=1).fit(Lit(), datamodule=module(runs.network()))
    lit = Lit()
    for model in (lit, lit.net):
        with warnings.catch_warnings():
            warnings.simplefilter("error", CoreselectWarning)
            warn_of_another_model(runs.sampler(runs.network(), runs.data(), "random"), lit)
            warn_of_another_model(runs.sampler(model, runs.data()), lit)


@pytest.mark.parametrize("reload", [0, 1])
def test_a_bare_sampler_is_refused_before_the_first_step(reload: int) -> None:
    """A loader whose length Lightning reads before the epoch is told would not validate: one sentence names the data module."""
    for order in (runs.sampler(runs.network(), runs.data()), InfoBatchSampler(N, EPOCHS)):
        lit = Bare()
        run = pl.Trainer(max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                         enable_model_summary=False, reload_dataloaders_every_n_epochs=reload)  # fmt: skip
        with pytest.raises(ScheduleError, match="CoresetDataModule"):
            run.fit(lit, DataLoader(runs.data(), SIZE, sampler=order), DataLoader(runs.data(16, 2), SIZE))
        assert run.global_step == 0
    lit, constant = Bare(), runs.sampler(runs.network(), runs.data(), "rs2", warmup=0)
    run = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    run.fit(lit, DataLoader(runs.data(), SIZE, sampler=constant), DataLoader(runs.data(16, 2), SIZE))
    assert lit.validated == [0, 1]  # epochs of one length need nothing


class Unweighted(Lit):
    """A module that forgets the weights."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y, _ = batch
        return runs.losses(self.net, x, y)[0].mean()


def test_what_is_forgotten_is_said() -> None:
    """Weights that nobody asks for, an option that replaces the sampler, and a callback without its data module are named."""
    lit = Unweighted()
    with pytest.warns(CoreselectWarning, match="sampler.weights was never called"):
        trainer().fit(lit, datamodule=module(lit.net, num_workers=2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ScheduleError, match="limit_train_batches"):
            trainer(overfit_batches=2).fit(lit, datamodule=module(lit.net))
        with pytest.raises(ScheduleError, match="CoresetDataModule"):
            trainer().fit(Bare(), DataLoader(runs.data(), SIZE))
        dealt = CoresetDataModule(
            runs.sampler(lit.net, runs.data(), rank=0, world_size=2), runs.data(), batch_size=SIZE
        )
        with pytest.raises(ScheduleError, match="to 2 processes, and 1 train"):
            trainer().fit(lit, datamodule=dealt)
    with pytest.raises(ScheduleError, match="batch_size ≥ 1, got 0"):
        CoresetDataModule(lit.trainer.datamodule.sampler, runs.data(), batch_size=0)
    with pytest.raises(ScheduleError, match="total_steps needs a trainer"):
        module(lit.net).total_steps()


@pytest.mark.parametrize("bar", ["TQDMProgressBar", "RichProgressBar"])
def test_a_bar_shows_the_selection(bar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an epoch is selected, the bar of training says how far the selection is; then it counts the epoch."""
    from lightning.pytorch import callbacks

    said: list[str] = []

    def spy(run: Any) -> Any:
        show = describe(run)
        return None if show is None else lambda text: (said.append(text), show(text))

    monkeypatch.setattr("coreselect_integrations.frameworks.lightning.describe", spy)
    lit = Lit()
    trainer(getattr(callbacks, bar)(), enable_progress_bar=True, max_epochs=2).fit(lit, datamodule=module(lit.net))
    assert said[0].startswith("Selecting (")
    assert said[-1] == "Epoch 1"
