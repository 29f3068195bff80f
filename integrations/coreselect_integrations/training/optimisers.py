"""The optimisers of the published runs: SGD with momentum, and LARS.

LARS: v ← m·v + λ(w)·(∇ + wd·w),  w ← w − lr·v,  λ(w) = c·‖w‖ / (‖∇‖ + wd·‖w‖) for matrices and kernels, 1 for vectors.
Source: You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", 2017, as implemented in
`pytorch_optimizer`.
"""

from collections.abc import Iterable

import torch
from torch import nn

from coreselect.errors import RequirementError, UnknownNameError, missing_extra

OPTIMISERS = ("sgd", "lars")


def optimiser(
    name: str,
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
    nesterov: bool = True,
) -> torch.optim.Optimizer:
    """Make an optimiser by name.

    Args:
        name: `sgd` or `lars` (trust coefficient c = 0.001). LARS uses neither λ nor weight decay for vectors:
            biases, and the scales and shifts of normalisations. The programs of the contrastive papers scale vectors
            too, unless they are zero.
        parameters: to train.
        lr: largest rate > 0; published 5.0 for LARS at batches of 512.
        weight_decay, momentum: wd ≥ 0 and m in [0, 1).
        nesterov: of SGD; without momentum it has no effect.
    Raises:
        UnknownNameError: no optimiser has this name.
        RequirementError: there is no parameter.
        MissingExtraError: LARS without `pytorch_optimizer`.
    """
    parameters = list(parameters)
    if not parameters:
        raise RequirementError(
            "the network has no parameter to train: let those that are to be trained have requires_grad=True."
        )
    if name == "sgd":
        return torch.optim.SGD(
            parameters, lr, momentum=momentum, nesterov=nesterov and momentum > 0, weight_decay=weight_decay
        )
    if name != "lars":
        why = f"no optimiser is called {name!r}; there are {' and '.join(OPTIMISERS)}."
        raise UnknownNameError(why)
    try:
        from pytorch_optimizer import LARS
    except ImportError as why:
        raise missing_extra("pytorch-optimizer", "train", "the LARS optimiser") from why
    return LARS(parameters, lr, weight_decay=weight_decay, momentum=momentum, trust_coefficient=1e-3)
