"""The check that a head's rows can be written as factors: it compares both ways of computing one gradient."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from coreselect.gradients.factored import FactoredRows
from coreselect.gradients.factors import as_factors, run_recorded
from coreselect.network.layout import Layout
from coreselect.network.network import HeadSplit
from coreselect.protocols import Stream
from coreselect.support.seeding import noise, seeds


def factors_are_exact(net: HeadSplit, prepared: Mapping[Stream, Tensor]) -> bool:
    """Return whether factors give the head's gradient: θ must act only through calls of Linears on inputs [B, D].

    Some heads break this rule: a Linear may be read without being called (a cosine head, attention), be normalised,
    share its weight, or see its input reshaped. So the check takes one random functional of the outputs and compares the
    gradient that the factors give with the one that autograd gives.

    Args:
        prepared: the features of a few probed inputs, for each stream, [b, …].
    """
    if net.linears() is None or any(z.dim() != 2 for z in prepared.values()):
        return False
    run = run_recorded(net, prepared)
    seen = [t for c in run.calls for t in (c.input, c.output)]
    if any(t.dim() != 2 or len(t) != len(z) for t in seen for z in prepared.values()):
        return False
    with torch.enable_grad():
        weighed = [o * noise(o, seeds(0, "factors", indices=np.arange(len(o)))) for o in run.outputs.values()]
        total = torch.cat(weighed).sum()
        wanted = [*run.theta.values(), *(c.output for c in run.calls)]
        slopes = torch.autograd.grad(total, wanted, materialize_grads=True)
    layout = Layout.of(run.theta)
    truth = layout.flatten(dict(zip(run.theta, slopes, strict=False)))  # [P]
    own = torch.zeros_like(truth)
    if run.calls:
        rows = FactoredRows(as_factors(net, run.calls, slopes[len(run.theta) :]), layout)
        own = rows.combine(truth.new_ones(rows.count))
    tolerance = 8 * torch.finfo(truth.dtype).eps ** 0.5
    return bool((own - truth).abs().max() <= tolerance * truth.abs().max())
