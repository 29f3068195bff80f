"""PGD on the margin: its value by definition, and what it sees where the softmax is saturated."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

from coreselect.attacks import PGD
from coreselect_integrations.evaluation import evaluate
from coreselect_integrations.evaluation.margin import margin
from coreselect_integrations.evaluation.named import accuracies


class Saturated(nn.Module):
    """A linear classifier of the mean whose logits are so far apart that the cross-entropy is 0 in float32, and so is its slope."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = 1e5 * (x.flatten(1).mean(1) - 0.5)
        return torch.stack([-score, score], 1)


def near() -> TensorDataset:
    """Images whose mean is 0.05 from the border of the two classes."""
    y = torch.arange(20) % 2
    x = 0.45 + 0.1 * y[:, None, None, None] + torch.zeros(20, 1, 4, 4)
    return TensorDataset(x, y)


def test_the_margin_is_its_definition() -> None:
    """The best wrong logit minus the right one, example by example; above 0 exactly where the classifier errs."""
    g = torch.Generator().manual_seed(0)
    z, y = torch.randn(30, 5, generator=g, dtype=torch.float64), torch.randint(0, 5, (30,), generator=g)
    want = [max(float(z[i, j]) for j in range(5) if j != y[i]) - float(z[i, y[i]]) for i in range(30)]
    assert margin(z, y).tolist() == want
    assert torch.equal(margin(z, y) > 0, z.argmax(1) != y)


def test_a_saturated_softmax_hides_nothing_from_the_margin() -> None:
    """Within a radius of 0.1 every image can be moved over the border: the cross-entropy has no slope there, the margin has."""
    attack = PGD(0.1, 0.025, 20, random_start=False)
    assert evaluate(Saturated(), near(), attack=attack).robust == 1.0
    assert evaluate(Saturated(), near(), attack=attack, raised=margin).robust == 0.0


def test_margin_is_measured_by_name() -> None:
    """`margin` is PGD-20 with a quarter of the radius a step, as `pgd20` is."""
    found = accuracies(Saturated(), near(), ["pgd20", "margin"], radius=0.1)
    assert (found["standard"], found["margin"]["robust"], found["pgd20"]["robust"]) == (1.0, 0.0, 1.0)
    assert found["margin"]["n"] == 20
