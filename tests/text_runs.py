"""A small text classifier for tests: made-up sequences of tokens, a transformer from a configuration, and its plain loop."""

from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from coreselect import CoresetSampler, Indexed, Task
from coreselect.selectors import get_selector

N, K, SIZE, EPOCHS, WORDS, LENGTH = 48, 16, 8, 3, 20, 6


class Sentences(Dataset[Any]):
    """Items are dictionaries, as Transformers has them."""

    def __init__(self, n: int = N, seed: int = 0) -> None:
        self.tokens = torch.randint(0, WORDS, (n, LENGTH), generator=torch.Generator().manual_seed(seed))

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> Any:
        words = self.tokens[index]
        return {"input_ids": words, "attention_mask": torch.ones_like(words), "labels": int(words[0] % 3)}


def model() -> Any:
    """A transformer of one layer, the same at each call, without dropout."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    configured: Any = BertConfig  # it takes any setting
    return BertForSequenceClassification(
        configured(
            vocab_size=WORDS, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
            max_position_embeddings=LENGTH, num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip


def sampler(net: Any, pool: Any, **options: Any) -> CoresetSampler:
    """One epoch on all, then a selection with weights under the model of each epoch."""
    from coreselect_integrations.frameworks.transformers import logits_of

    task = Task.from_model(net, pool, loss="ce", call=logits_of)
    return CoresetSampler(task, get_selector("craig"), K, **{"warmup": 1, "every": 1, "seed": 2, **options})


def optimiser(net: Any) -> torch.optim.Optimizer:
    """Without momentum."""
    return torch.optim.SGD(net.parameters(), 0.2)


def plain(accumulate: int = 1) -> tuple[list[list[int]], Any]:
    """Train by the loop of the README; return the positions of each batch, and the network."""
    pool, net = Sentences(), model()
    wrapped: Any = net
    if torch.distributed.is_initialized():
        wrapped = torch.nn.parallel.DistributedDataParallel(net)
    order, own = sampler(net, pool), optimiser(net)
    loader, seen = DataLoader(Indexed(pool), SIZE, sampler=order), []
    net.train()
    for epoch in range(EPOCHS):
        order.set_epoch(epoch)
        batches = list(loader)
        for number, (batch, i) in enumerate(batches):
            seen.append(i.tolist())
            logits = wrapped(**batch).logits
            each = F.cross_entropy(logits, batch["labels"], reduction="none")
            of_step = min(accumulate, len(batches) - number // accumulate * accumulate)
            ((each * order.weights(i)).mean() / of_step).backward()
            if (number + 1) % accumulate == 0 or number + 1 == len(batches):
                own.step()
                own.zero_grad()
    return seen, net
