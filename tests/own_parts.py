"""Code as a user writes it into a file: a network, one with routes, a loss, views, and the loop of an epoch."""

from pathlib import Path

CODE = """
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self, channels, outputs):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.fc = nn.Linear(24, outputs)

    def forward(self, x):
        return self.fc(self.body(x))


class Routed(nn.Module):
    def __init__(self, channels, outputs):
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, padding=1)
        self.bn = nn.ModuleDict({"normal": nn.BatchNorm2d(6), "pgd": nn.BatchNorm2d(6)})
        self.fc = nn.Linear(24, outputs)

    def forward(self, x, bn_name):
        return self.fc(F.adaptive_avg_pool2d(torch.relu(self.bn[bn_name](self.conv(x))), 2).flatten(1))


class Near(nn.Module):
    def __init__(self, channels, outputs):
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, padding=1)
        self.fc = nn.Linear(24, outputs)

    def forward(self, x):
        z = F.adaptive_avg_pool2d(torch.relu(self.conv(x)), 2)
        return self.fc(z.view(len(x), -1))  # fails where the channels of a pixel lie side by side


def make(classes, channels):
    return Net(channels, classes or 5)


def routed(classes, channels):
    return Routed(channels, classes or 5)


def near(classes, channels):
    return Near(channels, classes or 5)


def two():
    return Net(3, 2)


def plain(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="none")


def smooth(outputs, targets):
    return F.cross_entropy(outputs, targets, label_smoothing=0.1, reduction="none")


def views(x, generator):
    return x.flip(-1), x + 0.01 * torch.rand(x.shape, generator=generator)


def contrast(job):
    total = count = 0
    for x, y, index in job.batches:
        pair = [torch.cat(v) for v in zip(*(job.views(image[None], job.generator) for image in x))]
        loss = job.loss((), tuple(job.call(job.network, v, "natural") for v in pair), None)
        job.optimizer.zero_grad()
        loss.backward()
        job.optimizer.step()
        job.step()
        total, count = total + float(loss.detach()) * len(x), count + len(x)
    print(type(job.loss).__name__)
    return total / count


def train(job):
    total = count = 0
    for x, y, index in job.batches:
        x, y = x.to(job.device), y.to(job.device)
        losses = F.cross_entropy(job.call(job.network, x, "natural"), y, reduction="none")
        loss = (losses * job.weights(index)).mean()
        job.optimizer.zero_grad()
        loss.backward()
        job.optimizer.step()
        job.step()
        total, count = total + float(losses.detach().sum()), count + len(x)
    return total / count
"""


def own_file(folder: Path, name: str = "nets.py", more: str = "") -> Path:
    """Write the code to a file, with `more` lines at its end."""
    path = folder / name
    path.write_text(CODE + more, encoding="utf-8")
    return path
