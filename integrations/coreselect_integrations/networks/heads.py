"""The heads of networks: a linear classifier, or the projection of contrastive learning (Linear, BN, ReLU, …, Linear, BN).

Source: the head in the programs of Jiang et al., NeurIPS 2020, which follows Chen et al., "A Simple
Framework for Contrastive Learning of Visual Representations", ICML 2020.
"""

from torch import Tensor, nn

from coreselect.errors import RequirementError
from coreselect.protocols import Route
from coreselect_integrations.networks.routes import norm


class Projection(nn.Module):
    """Map features [B, D] to representations [B, D] by 2 or 3 linear layers, each followed by a normalisation.

    Only the first linear layer has a bias. There is a ReLU between layers, but not after the last.

    Raises:
        RequirementError: `layers` is neither 2 nor 3.
    """

    def __init__(self, width: int, *, layers: int = 3, dual_bn: bool = True) -> None:
        super().__init__()
        if layers not in (2, 3):
            why = f"a projection head has 2 or 3 layers, got {layers!r}."
            raise RequirementError(why)
        self.linears = nn.ModuleList(nn.Linear(width, width, bias=i == 0) for i in range(layers))
        self.norms = nn.ModuleList(norm(width, dual=dual_bn, spatial=False) for _ in range(layers))

    def forward(self, x: Tensor, route: Route) -> Tensor:
        """[B, D] → [B, D]."""
        for i, (linear, normalise) in enumerate(zip(self.linears, self.norms, strict=True)):
            x = normalise(linear(x.relu() if i else x), route)
        return x


def head_of(width: int, *, classes: int, projection: int | None, dual_bn: bool) -> nn.Linear | Projection:
    """Make a `Projection` with `projection` layers, or a classifier [B, width] → [B, classes] if `projection` is None."""
    return nn.Linear(width, classes) if projection is None else Projection(width, layers=projection, dual_bn=dual_bn)
