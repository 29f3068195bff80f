"""A network with a low-rank branch on its natural route: W + ΔW, ΔW = B·A / r, for each convolution's kernel W.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, with
kernels as in its authors' library; AutoLoRa (`autolora.py`) puts it beside a robust extractor.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from coreselect.errors import RequirementError
from coreselect.protocols import Route
from coreselect.support.seeding import generator as generator_of
from coreselect_integrations.networks import RoutedNetwork


class LowRank(nn.Module):
    """A network whose natural route includes a low-rank branch, while its adversarial route does not.

    For a kernel W [out, in, k, l]: B [out·k, r·k] and A [r·k, in·l], and their product is reshaped to the shape of W. A is
    drawn from N(0, 1) and B is zero, so at first the branch has no effect.

    Args:
        network: with two routes; the object itself is used, and its structure is not changed.
        rank: r ≥ 1; published 8.
        seed: decides A; global random states do not change.
    Raises:
        RequirementError: the rank is below 1, or the network has one route.
    """

    def __init__(self, network: RoutedNetwork, rank: int = 8, seed: int = 0) -> None:
        super().__init__()
        if rank < 1 or not network.dual_bn:
            routes = "two routes" if network.dual_bn else "one route"
            why = f"a branch needs a rank of at least 1 and a network with two routes, got rank {rank} and {routes}."
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
        """Compute ΔW of each convolution, in the shape of its kernel, by the kernel's name."""
        kernels = (self.network.get_parameter(name) for name in self.names)
        parts = zip(self.names, kernels, self.B, self.A, strict=True)
        return {name: (B @ A).view_as(W) / self.rank for name, W, B, A in parts}

    def forward(self, x: Tensor, route: Route) -> Tensor:
        """[B, C, H, W] in [0, 1] → logits [B, classes]; through the natural route, θ gets no gradient."""
        if route != "natural":
            return self.network(x, route)
        fixed = {n: p.detach() for n, p in self.network.named_parameters() if not n.startswith("head.")}
        branched = {n: fixed[n] + delta for n, delta in self.deltas().items()}
        return functional_call(self.network, {**fixed, **branched}, (x, route))
