"""A small transformer, trained from scratch: which word of a sentence comes first decides its class."""

# %% Data: 600 sentences of 8 words out of 50
import tempfile

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, TrainingArguments, set_seed

from coreselect import CoresetSampler, Task, holdout
from coreselect.selectors import CRAIG
from coreselect_integrations.frameworks.transformers import CoresetTrainer, logits_of


class Sentences(Dataset):
    """Items are dictionaries, as Transformers has them."""

    def __init__(self, n):
        self.words = torch.randint(0, 50, (n, 8), generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.words)

    def __getitem__(self, index):
        words = self.words[index]
        return {"input_ids": words, "attention_mask": torch.ones_like(words), "labels": int(words[0] % 2)}


pool, validation = holdout(Sentences(600), size=0.2, seed=0)

# %% A model from a configuration, and a sampler over its own pool
set_seed(0)
config = BertConfig(
    vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=2
)
model = BertForSequenceClassification(config)
task = Task.from_model(model, pool, loss="ce", call=logits_of)
sampler = CoresetSampler(task, CRAIG(), budget=0.3, warmup=2, every=1, seed=0)

# %% Train: the trainer's steps and schedule count each epoch's own length
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        num_train_epochs=4,
        per_device_train_batch_size=32,
        learning_rate=3e-3,
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
    )
    trainer = CoresetTrainer(
        model,
        arguments,
        train_dataset=pool,
        eval_dataset=validation,
        sampler=sampler,
        compute_metrics=lambda seen: {"accuracy": float((seen.predictions.argmax(1) == seen.label_ids).mean())},
    )
    trainer.train()
    print(f"{trainer.state.global_step} steps, accuracy {trainer.evaluate()['eval_accuracy']:.3f}")
