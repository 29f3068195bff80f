"""A network with a low-rank branch on its natural route: W + ΔW, ΔW = B·A / r, for each convolution's kernel W.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, as its authors' library treats
kernels; beside a robust extractor in AutoLoRa (`autolora.py`).
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from coreselect.errors import RequirementError
from coreselect.protocols import Route
from coreselect.support.seeding import generator as generator_of
from coreselect_integrations.networks import RoutedNetwork


class LowRank(nn.Module):
    """A network whose natural route passes a low-rank branch, its adversarial route the network alone.

    For a kernel W [out, in, k, l]: B [out·k, r·k] and A [r·k, in·l], their product read in the shape of W. A is drawn
    from N(0, 1), B is zero, so that the branch is nothing at first.

    Args:
        network: with two routes; the object itself, never edited.
        rank: r ≥ 1; published 8.
        seed: decides A; no global random state moves.
    Raises:
        RequirementError: the rank is below 1, or the network has one route.
    """

    def __init__(self, network: RoutedNetwork, rank: int = 8, seed: int = 0) -> None:
        super().__init__()
        if rank < 1 or not network.dual_bn:
            routes = "two routes" if network.dual_bn else "one route"
            why = f"a branch needs a rank of at least 1 beside a network of two routes, got rank {rank} and {routes}."
            raise RequirementError(why)
        self.network, self.rank = network, rank
        convs = [(n, m.weight) for n, m in network.named_modules() if isinstance(m, nn.Conv2d)]
        self.names = [f"{name}.weight" for name, _ in convs]
        draws = generator_of(seed, "branch")
        self.A, self.B = nn.ParameterList(), nn.ParameterList()
        for _, W in convs:
            out, into, k, l = W.shape
            self.A.append(nn.Parameter(torch.randn(rank * k, into * l, generator=draws).to(W)))  # [r·k, in·l]
            self.B.append(nn.Parameter(W.new_zeros(out * k, rank * k)))  # [out·k, r·k]

    def deltas(self) -> dict[str, Tensor]:
        """Compute ΔW of each convolution, by the name of its kernel and in its shape."""
        kernels = (self.network.get_parameter(name) for name in self.names)
        parts = zip(self.names, kernels, self.B, self.A, strict=True)
        return {name: (B @ A).view_as(W) / self.rank for name, W, B, A in parts}

    def forward(self, x: Tensor, route: Route) -> Tensor:
        """[B, C, H, W] in [0, 1] → logits [B, classes]; the natural route leaves θ without gradient."""
        if route != "natural":
            return self.network(x, route)
        still = {n: p.detach() for n, p in self.network.named_parameters() if not n.startswith("head.")}
        branched = {n: still[n] + delta for n, delta in self.deltas().items()}
        return functional_call(self.network, {**still, **branched}, (x, route))
