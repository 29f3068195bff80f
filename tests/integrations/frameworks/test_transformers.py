"""Claims about Transformers: a trainer that follows a sampler ends where the plain loop does, and resumes."""

from pathlib import Path
from typing import Any

import pytest
import text_runs as runs
import torch
from framework_runs import Killed, same

pytest.importorskip("transformers", reason="needs the extra transformers")
pytest.importorskip("accelerate", reason="needs the extra accelerate")
from transformers import TrainingArguments

from coreselect import CoreselectWarning, CoresetSampler, Task, select
from coreselect.attacks import PGD
from coreselect.errors import RequirementError
from coreselect.selectors import RCS
from coreselect_integrations.frameworks.positions import POSITION
from coreselect_integrations.frameworks.transformers import CoresetTrainer, classification_losses, logits_of


class Noted(CoresetTrainer):
    """A trainer that notes the positions of its batches, and can be killed."""

    def __init__(self, *args: Any, kill_at: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[list[int]] = []
        self.kill_at = kill_at

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        if len(self.seen) == self.kill_at:
            raise Killed
        self.seen.append(inputs[POSITION].tolist())
        return super().training_step(model, inputs, num_items_in_batch)


def trainer(folder: Path, kill_at: int | None = None, **options: Any) -> Noted:
    """A quiet trainer of the plain loop's network, data and optimiser."""
    net = runs.model()
    own = runs.optimiser(net)
    quiet = {
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "max_grad_norm": 0.0,
        "logging_strategy": "epoch",
    }
    saves = {"eval_strategy": "epoch", "save_strategy": "steps", "save_steps": 1}
    run = {"num_train_epochs": runs.EPOCHS, "per_device_train_batch_size": runs.SIZE}
    return Noted(
        net,
        TrainingArguments(str(folder), **{**quiet, **saves, **run, **options}),
        train_dataset=runs.Sentences(),
        eval_dataset=runs.Sentences(8, 1),
        optimizers=(own, torch.optim.lr_scheduler.LambdaLR(own, lambda step: 1.0)),
        sampler=runs.sampler(net, runs.Sentences()),
        kill_at=kill_at,
    )


def evaluated(run: Noted) -> list[float]:
    """The epochs in which validation was logged."""
    return [entry["epoch"] for entry in run.state.log_history if "eval_loss" in entry]


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 6 + 2 + 2), (4, 2 + 1 + 1)])
def test_a_trainer_follows_the_plain_loop_and_takes_the_right_steps(
    accumulate: int, steps: int, tmp_path: Path
) -> None:
    """Batches and weights are those of the loop; steps are counted from each epoch's length; every epoch is evaluated."""
    run = trainer(tmp_path, gradient_accumulation_steps=accumulate, save_strategy="no")
    run.train()
    seen, net = runs.plain(accumulate)
    assert run.seen == seen
    assert same(net, run.model)
    assert run.state.max_steps == run.state.global_step == steps
    assert evaluated(run) == [1.0, 2.0, 3.0]
    logged = [(e["coreset_examples"], e["coreset_round"]) for e in run.state.log_history if "loss" in e]
    assert logged == [(48, -1), (16, 0), (16, 1)]


@pytest.mark.parametrize(("kill_at", "saved"), [(7, 7), (6, 6), (9, 8)])
def test_a_killed_trainer_goes_on_where_it_stopped(kill_at: int, saved: int, tmp_path: Path) -> None:
    """Killed in the middle of an epoch or after one, a run resumes at the saved step with the same subset, and ends equal."""
    first = trainer(tmp_path, kill_at)
    with pytest.raises(Killed):
        first.train()
    again = trainer(tmp_path)
    again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{saved}"))
    seen, net = runs.plain()
    assert first.seen[:saved] + again.seen == seen
    assert same(net, again.model)
    assert evaluated(again)[-1] == 3.0
    (tmp_path / f"checkpoint-{saved}" / "coreset.pt").unlink()
    with pytest.raises(RequirementError, match=r"no coreset\.pt"):
        trainer(tmp_path).train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{saved}"))


def test_a_number_of_steps_and_a_part_of_an_epoch_are_met(tmp_path: Path) -> None:
    """`max_steps` ends in the epoch that it reaches; 1.5 epochs are the whole first and half of the second."""
    run = trainer(tmp_path, max_steps=9, save_strategy="no")
    run.train()
    assert run.seen == runs.plain()[0][:9]
    run = trainer(tmp_path, num_train_epochs=1.5, save_strategy="no")
    run.train()
    assert run.state.global_step == run.state.max_steps == 6 + 1


def test_losses_of_other_shapes_need_a_function() -> None:
    """Values are compared by squared error, and labels of tokens are refused in one sentence."""

    class Outputs:
        logits = torch.tensor([[1.0], [3.0]])

    assert torch.equal(classification_losses(Outputs, {"labels": torch.tensor([0.0, 1.0])}), torch.tensor([1.0, 4.0]))
    with pytest.raises(RequirementError, match="losses="):
        classification_losses(Outputs, {"labels": torch.zeros(2, 5, dtype=torch.int64)})
    with pytest.raises(RequirementError, match=r"no labels, only \['input_ids'\]"):
        classification_losses(Outputs, {"input_ids": torch.zeros(2)})


def test_label_smoothing_is_the_trainers_and_other_losses_are_refused(tmp_path: Path) -> None:
    """The loss of a batch with smoothing is that of Transformers, whose own losses cannot be weighted."""
    from transformers.trainer_pt_utils import LabelSmoother

    run = trainer(tmp_path, label_smoothing_factor=0.2)
    z, y = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 2])
    outputs: Any = type("Outputs", (), {"logits": z})
    wanted = LabelSmoother(0.2)({"logits": z}, y)
    assert torch.allclose(run.losses(outputs, {"labels": y}).mean(), wanted)
    own = {"train_dataset": runs.Sentences(), "eval_dataset": runs.Sentences(8, 1), "sampler": run.sampler}
    with pytest.raises(RequirementError, match="in place of compute_loss_func"):
        CoresetTrainer(runs.model(), run.args, losses=classification_losses, **own)


class Several(runs.Sentences):
    """Sentences with three labels at once, in floating point."""

    def __getitem__(self, index: int) -> Any:
        item = super().__getitem__(index)
        return {**item, "labels": (item["input_ids"][:3] > 9).float()}


@pytest.mark.parametrize("problem", [None, "multi_label_classification", "regression"])
def test_labels_in_floating_point_have_the_loss_of_transformers(problem: str | None, tmp_path: Path) -> None:
    """Several labels at once, as a model of several outputs takes them, or values: as its configuration says."""
    net = runs.model()
    net.config.problem_type = problem
    quiet: dict[str, Any] = {"report_to": "none", "use_cpu": True}
    run = CoresetTrainer(
        net,
        TrainingArguments(str(tmp_path), **quiet),
        train_dataset=Several(),
        sampler=runs.sampler(net, runs.Sentences()),
    )
    batch = next(iter(run.get_train_dataloader()))
    own = net(**{name: t for name, t in batch.items() if name != POSITION}).loss
    run.sampler.set_epoch(0)
    assert torch.allclose(run.compute_loss(net, dict(batch)), own)


def test_what_a_trainer_cannot_follow_is_said(tmp_path: Path) -> None:
    """One logit for classes, outputs without logits, an order of its own, and a sampler with another model."""
    z: Any = type("Outputs", (), {"logits": torch.zeros(4, 1)})
    with pytest.raises(RequirementError, match=r"logits \(4, 1\) and labels \(4,\)"):
        classification_losses(z, {"labels": torch.zeros(4, dtype=torch.int64)})
    with pytest.raises(RequirementError, match="returns a tuple without logits"):
        classification_losses((torch.zeros(4, 3),), {"labels": torch.zeros(4, dtype=torch.int64)})
    net, pool = runs.model(), runs.Sentences()
    arguments = TrainingArguments(
        str(tmp_path), report_to="none", use_cpu=True, train_sampling_strategy="group_by_length"
    )
    with pytest.warns(CoreselectWarning, match="train_sampling_strategy='group_by_length' has no effect"):
        run = CoresetTrainer(net, arguments, train_dataset=pool, sampler=runs.sampler(runs.model(), pool))
    with pytest.warns(
        CoreselectWarning, match="shares no parameter with the BertForSequenceClassification in training"
    ):
        run.get_train_dataloader()


def test_training_in_bfloat16_selects_in_full_precision(tmp_path: Path) -> None:
    """A run with `bf16=True` selects after its first epoch."""
    run = trainer(tmp_path, bf16=True, save_strategy="no", eval_strategy="no")
    run.train()
    assert run.state.global_step == 6 + 2 + 2


@pytest.mark.parametrize("loss", ["ce", "sat"])
def test_rcs_attacks_the_embeddings_of_a_transformer_in_training(loss: str, tmp_path: Path) -> None:
    """The trainer trains on what RCS chooses in embedding space under the model of each epoch, and certifies it."""
    net = runs.model()
    attack = PGD(0.3, 0.1, 2)
    pool = runs.Sentences()
    task = Task.from_model(
        net, pool, runs.Sentences(12, 5), loss=loss, attack=attack, attack_at="bert.embeddings", call=logits_of
    )
    sampler = CoresetSampler(task, RCS(group_size=4), runs.K, warmup=1, every=1, seed=2)
    arguments = TrainingArguments(
        str(tmp_path), num_train_epochs=2, per_device_train_batch_size=runs.SIZE, report_to="none", use_cpu=True,
        save_strategy="no", disable_tqdm=True, learning_rate=0.01,
    )  # fmt: skip
    run = Noted(net, arguments, train_dataset=pool, sampler=sampler)
    run.train()
    chosen = sampler.selection
    assert chosen is not None
    assert sorted(i for batch in run.seen[6:] for i in batch) == sorted(chosen.indices.tolist())
    assert chosen.certificate is not None
    assert chosen.diagnostics is not None
    assert chosen.diagnostics.rd_before is not None
    assert chosen.diagnostics.rd_before > 0
    assert chosen.provenance.task["attack_at"]["module"] == "bert.embeddings"


@pytest.mark.parametrize("kind", ["distilbert", "llama"])
def test_other_models_from_a_configuration(kind: str) -> None:
    """`AutoModelForSequenceClassification` from a configuration: an encoder by its head, a decoder by patterns of names."""
    from transformers import AutoModelForSequenceClassification, DistilBertConfig, LlamaConfig

    size: dict[str, Any] = {"vocab_size": runs.WORDS, "num_labels": 3}
    configured: Any = {
        "distilbert": lambda: DistilBertConfig(
            dim=8, hidden_dim=8, n_layers=1, n_heads=2, max_position_embeddings=8, **size
        ),
        "llama": lambda: LlamaConfig(
            hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, pad_token_id=0, **size
        ),
    }[kind]
    torch.manual_seed(0)
    net = AutoModelForSequenceClassification.from_config(configured())
    at, capture = {"distilbert": ("distilbert.embeddings", None), "llama": ("model.embed_tokens", "score.*")}[kind]
    task = Task.from_model(
        net, runs.Sentences(), runs.Sentences(8, 5), attack=PGD(0.02, 0.01, 2), attack_at=at, capture=capture
    )
    before = {n: p.clone() for n, p in net.state_dict().items()}
    chosen = select(task, RCS(group_size=4), 8)
    assert len(set(chosen.indices.tolist())) == 8
    assert all(torch.equal(p, before[n]) for n, p in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())
