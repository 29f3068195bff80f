"""A text classifier for tests, split by hand into embeddings and the rest, and tasks that attack its embeddings."""

from typing import Any

import cases
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from coreselect import Task
from coreselect.attacks import PGD
from coreselect.objectives import RD

C, WORDS, LENGTH, WIDTH = cases.CLASSES, 11, 6, 5
PAD = 0
LINF = PGD(0.3, 0.12, 3)  # its bounds are those of images, and do not count here
L2 = PGD(0.9, 0.4, 3, norm="l2")


class Texts(Dataset[Any]):
    """Token ids with padding at the end: items are dictionaries, or pairs of (ids, mask) and a label, or (ids, label)."""

    def __init__(self, n: int, *, seed: int = 0, form: str = "dictionary", more: int = 0) -> None:
        own = torch.Generator().manual_seed(seed)
        self.form, self.y = form, cases.classes(n, seed=seed)
        lengths = torch.randint(2, LENGTH + 1, (n,), generator=own)
        self.ids = torch.randint(1, WORDS, (n, LENGTH), generator=own)
        self.mask = torch.arange(LENGTH) < lengths[:, None]
        self.ids[~self.mask] = PAD
        self.ids = nn.functional.pad(self.ids, (0, more), value=PAD)
        self.mask = nn.functional.pad(self.mask, (0, more))

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> Any:
        y = int(self.y[i])
        if self.form == "dictionary":
            return {"input_ids": self.ids[i], "attention_mask": self.mask[i].long(), "labels": y}
        return ((self.ids[i], self.mask[i]), y) if self.form == "pair" else (self.ids[i], y)


class Reader(nn.Module):
    """Embeddings, one layer with attention over the tokens, their mean, a Linear; `rest` is all but the embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH, padding_idx=PAD)
        self.mix, self.body, self.fc = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 7), nn.Linear(7, C)

    def rest(self, e: Tensor, mask: Tensor) -> Tensor:
        """Embeddings [B, T, D] and mask [B, T] → outputs [B, C]."""
        m = mask[..., None].to(e)
        scores = (self.mix(e) @ e.transpose(1, 2)).masked_fill(~mask.bool()[:, None], -1e9)
        z = torch.tanh(self.body(e + scores.softmax(-1) @ e))
        return self.fc((z * m).sum(1) / m.sum(1))

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        mask = input_ids != PAD if attention_mask is None else attention_mask
        return self.rest(self.embed(input_ids), mask)


def reader(dtype: torch.dtype = torch.float64) -> Any:
    """The classifier, the same at each call."""
    return cases.built(Reader, dtype=dtype)


def text_task(n: int = 18, *, u: int = 7, form: str = "dictionary", more: int = 0, **settings: Any) -> Any:
    """Make a task whose adversarial loss attacks the embeddings."""
    held = Texts(u, seed=50, form=form, more=more)
    fixed = {"loss": "sat", "attack": LINF, "attack_at": "embed", "model": reader(), "batch_size": 4}
    given = {**fixed, **settings}
    return Task.from_model(given.pop("model"), Texts(n, form=form, more=more), held, **given)


def rd(attack: PGD) -> RD:
    """RD by this attack."""
    return RD("kl", attack=attack)
