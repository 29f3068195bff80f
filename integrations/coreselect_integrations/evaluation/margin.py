"""The margin that a harder attack raises: PGD on the logits themselves, which no saturated softmax hides.

    m(z, y) = max_{j ≠ y} z_j − z_y        > 0 where the classifier errs

Source: Carlini and Wagner, *Towards evaluating the robustness of neural networks*, 2017, f₆ with κ = 0; with PGD as in Madry et
al., 2018, section 5.
"""

import torch
from torch import Tensor


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return how far the best wrong class is above the right one, [B, classes] and [B] → [B]."""
    right = logits.gather(1, y[:, None])[:, 0]  # [B]
    wrong = logits.masked_fill(torch.nn.functional.one_hot(y, logits.shape[1]).bool(), -torch.inf)
    return wrong.amax(1) - right
