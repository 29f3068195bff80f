"""Film reviews and a small transformer, trained from scratch under attack: RCS attacks the embeddings, beside RS2.

The reviews are those of Hutto and Gilbert, *VADER*, ICWSM 2014: 10,605 sentences, each with the mean of ratings from −4 to 4.
They lie in the source package of vaderSentiment: get it with `pip download --no-deps --no-binary :all: vaderSentiment==3.3.2`,
and give the file to this script. Without a file it runs in seconds on a few made-up sentences.
"""

# %% Data: sentences as numbers of words, and whether the rating is above 0
import io
import random
import re
import sys
import tarfile
from collections import Counter

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

from coreselect import AttackAt, CoresetSampler, Indexed, Task, holdout
from coreselect.attacks import PGD
from coreselect.selectors import RCS, RS2

PARTS = (
    "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
    "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt",
)


def reviews(file):
    """Read the sentences of the source package and whether they are rated above 0; the few at 0 are left out."""
    try:
        with tarfile.open(file) as package:
            inner = io.BytesIO(package.extractfile(PARTS[0]).read())
        with tarfile.open(fileobj=inner) as folder:
            lines = folder.extractfile(PARTS[1]).read().decode("utf-8").splitlines()
    except (OSError, KeyError, tarfile.TarError) as why:
        raise SystemExit(
            f"{file} is not the source package of vaderSentiment 3.3.2 ({why}): get it with "
            "pip download --no-deps --no-binary :all: vaderSentiment==3.3.2"
        ) from why
    rows = [line.split("\t") for line in lines]
    found = [(text, int(float(rating) > 0)) for _, rating, text in rows if float(rating) != 0]
    random.Random(0).shuffle(found)
    return found


def made_up(n=400):
    """Make sentences whose class is that of most of their telling words."""
    draw, words = random.Random(0), [f"word{i}" for i in range(40)]
    out = []
    for _ in range(n):
        good = draw.random() < 0.5
        telling = draw.choices(["good", "fine", "warm"] if good else ["bad", "dull", "cold"], k=3)
        sentence = telling + draw.choices(words, k=draw.randint(2, 12))
        out.append((" ".join(draw.sample(sentence, len(sentence))), int(good)))
    return out


class Sentences(Dataset):
    """Items are dictionaries, as Transformers has them; 0 is padding and 1 a word that is not among the usual ones."""

    def __init__(self, rows, length=32, words=4000):
        split = [re.findall(r"[a-z']+", text.lower()) for text, _ in rows]
        usual = Counter(word for sentence in split for word in sentence).most_common(words - 2)
        self.number = {word: i for i, (word, _) in enumerate(usual, 2)}
        self.length, self.labels = length, [y for _, y in rows]
        self.ids = [self.numbers(sentence) for sentence in split]

    def numbers(self, sentence):
        """Return the numbers of the first words, and padding."""
        known = [self.number.get(word, 1) for word in sentence[: self.length]] or [1]
        return torch.tensor(known + [0] * (self.length - len(known)))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return {"input_ids": self.ids[i], "attention_mask": (self.ids[i] > 0).long(), "labels": self.labels[i]}


# %% A transformer of one layer
class Embeddings(nn.Module):
    """Words and positions, normalised: this is where attacks act."""

    def __init__(self, words, length, width):
        super().__init__()
        self.word, self.position, self.norm = (
            nn.Embedding(words, width),
            nn.Embedding(length, width),
            nn.LayerNorm(width),
        )

    def forward(self, ids):
        return self.norm(self.word(ids) + self.position.weight)


class Classifier(nn.Module):
    """Embeddings, one layer of attention, the mean over the words, and a Linear."""

    def __init__(self, words, length, width=64):
        super().__init__()
        self.embeddings = Embeddings(words, length, width)
        self.layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.3, batch_first=True)
        self.head = nn.Linear(width, 2)

    def forward(self, input_ids, attention_mask):
        z = self.layer(self.embeddings(input_ids), src_key_padding_mask=attention_mask == 0)
        m = attention_mask[..., None].to(z)
        return self.head((z * m).sum(1) / m.sum(1))


# %% Training under attack, on the whole pool for `warmup` epochs and then on what the selector chooses
real = len(sys.argv) > 1
data = Sentences(reviews(sys.argv[1]) if real else made_up())
RADIUS, EPOCHS, WARMUP, EVERY, BUDGET = (0.5, 20, 5, 5, 0.1) if real else (4.0, 4, 2, 1, 0.2)
rest, test = holdout(data, 0.2, seed=0)
pool, validation = holdout(rest, 0.05, seed=0)
AT = AttackAt("embeddings")
ATTACK = PGD(RADIUS, RADIUS / 2, 3, norm="l2", bounds=None)  # over all words of a sentence together
STRONG = PGD(RADIUS, RADIUS / 4, 10, norm="l2", bounds=None)


def summed(labels):
    """The loss that an attack raises."""
    return lambda outputs: F.cross_entropy(outputs, labels, reduction="sum")


def train(selector, seed=0):
    """Train by PGD on the embeddings, and return the network."""
    torch.manual_seed(seed)
    model = Classifier(4000, data.length)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
    task = Task.from_model(model, pool, validation, loss="sat", attack=ATTACK, attack_at=AT)
    sampler = CoresetSampler(task, selector, budget=BUDGET, warmup=WARMUP, every=EVERY, seed=seed)
    loader = DataLoader(Indexed(pool), 64, sampler=sampler, generator=torch.Generator().manual_seed(seed))
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for batch, index in loader:
            labels = batch.pop("labels")
            model.eval()
            attacked = AT.attacked(model, batch, ATTACK, summed(labels))
            model.train()
            losses = F.cross_entropy(AT.run(model, attacked), labels, reduction="none")
            optimizer.zero_grad()
            (losses * sampler.weights(index)).mean().backward()
            optimizer.step()
    return model.eval()


def accuracy(model):
    """Return the accuracy in percent on natural test sentences, and under ten steps of the attack."""
    right = [0, 0]
    for batch in DataLoader(test, 256):
        labels = batch.pop("labels")
        attacked = AT.attacked(model, batch, STRONG, summed(labels), seed=0)
        with torch.no_grad():
            for which, x in enumerate((batch, attacked)):
                right[which] += int((AT.run(model, x).argmax(1) == labels).sum())
    return [100 * r / len(test) for r in right]


# %% RCS beside RS2, and beside training on everything
for name, selector in (("rcs", RCS(eta=0.1)), ("rs2", RS2())):
    clean, attacked = accuracy(train(selector))
    print(f"{name}: {clean:.1f} % right, {attacked:.1f} % under attack")
