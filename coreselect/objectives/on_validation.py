"""An objective on the validation inputs U: its value and its gradient at any θ′, with the attacked inputs held fixed.

With the inputs fixed at x̃(θ), the value is a lower bound on L(U; θ′). It is exact at θ, as far as PGD finds the maximum.
`recraft` attacks again at θ′. If only a head changes, the features are computed once and a query is one pass of the head.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import NonFiniteError, RequirementError, first_few
from coreselect.network.attack_at import Point
from coreselect.network.layout import Layout
from coreselect.network.network import Network
from coreselect.network.precision import at_least, without_autocast
from coreselect.objectives.following import following
from coreselect.objectives.objective import Objective
from coreselect.protocols import Params
from coreselect.support.clock import Clock
from coreselect.support.structure import joined, leaves, size, taken


class ValidationObjective:
    """L(U; θ′) and ∇L(U; θ′), means over U.

    Args:
        inputs: [|U|, …], the natural validation inputs; each counts once.
        labels: int64 [|U|], or None; an objective made of a loss of its own gets targets as the items carry them.
        seeds: (number of the attack, 0, 1, …; positions) → B seeds of the uniform starts.
        point: inputs → where an attack acts on them.
        batch: how many examples one forward pass takes (memory only).
        clock: measures the seconds of the parts "validation" and "query".
    Raises:
        RequirementError: labels are needed and there are none, or the attack would start where its gradient is zero.
        NonFiniteError: features of attacked inputs are not finite; `indices` are positions in validation.
    """

    def __init__(
        self,
        objective: Objective,
        net: Network,
        layout: Layout,
        inputs: Any,
        labels: Any,
        seeds: Callable[[int, Tensor], NDArray[np.uint64]],
        point: Callable[[Any], Point],
        *,
        batch: int,
        clock: Clock,
    ) -> None:
        if objective.needs_labels and labels is None:
            raise RequirementError(
                f"the objective {objective.name!r} needs validation labels, and validation has none: use 'rd'."
            )
        objective = following(objective, None)
        assert objective.attack is not None
        one = net.routes == 1 or objective.natural_route == "adversarial"
        if objective.flat_at_start and one and not objective.attack.random_start:
            raise RequirementError(
                "an attack on a divergence has zero gradient at x̃ = x when both inputs use one route: use random_start=True."
            )
        self.objective, self.labels, self._attack = objective, labels, objective.attack
        self._net, self._layout, self._inputs, self._seeds, self._clock = net, layout, inputs, seeds, clock
        self._point = point
        everything = torch.arange(size(inputs), device=leaves(inputs)[0].device)
        self._batches = everything.split(batch)
        self._sets = everything.split(objective.set_size or (len(everything) if net.caches else batch))
        with clock("validation"), torch.no_grad():
            self._natural = self._prepare(inputs, objective.natural_route)  # [|U|, …]
        self._attacks = 0
        self.adversarial = self._craft(net.captured)  # [|U|, …] inputs x̃, or inputs with what is added inside the model
        self._attacked = self._prepare_attacked()
        self._at_start = self.adversarial, self._attacked

    def query(self, theta: Tensor) -> Tensor:
        """Compute ∇L(U; θ′) [P] at θ′ [P], with the attacked inputs fixed."""
        with self._clock("query"), torch.enable_grad():
            here = theta.detach().requires_grad_()
            total = torch.zeros_like(theta)
            for part in self._sets:
                params = self._layout.unflatten(here)
                with self._net.holding(params):
                    total += torch.autograd.grad(self._mean(params, part), here)[0]
        return total

    def value(self, theta: Tensor) -> float:
        """Compute L(U; θ′) at θ′ [P], with the attacked inputs fixed."""
        with self._clock("query"), torch.no_grad():
            params = self._layout.unflatten(theta)
            return float(sum(self._mean(params, part) for part in self._sets))

    def recraft(self, theta: Tensor) -> None:
        """Attack again at θ′; later queries and values use the new inputs."""
        self.adversarial = self._craft(self._layout.unflatten(theta.detach()))
        self._attacked = self._prepare_attacked()

    def return_to_start(self) -> None:
        """Take the inputs attacked at θ again, as if none had been attacked after them."""
        self.adversarial, self._attacked = self._at_start
        self._attacks = 1

    def recrafted_value(self, theta: Tensor) -> float:
        """Compute L(U; θ′) with inputs that are attacked again at θ′, and keep the fixed inputs as they are."""
        held = self.adversarial, self._attacked
        self.recraft(theta)
        try:
            return self.value(theta)
        finally:
            self.adversarial, self._attacked = held

    def clean_value(self, theta: Tensor) -> float:
        """Compute L with x̃ = x, each on its route: with two routes the normalisation gap, with one route 0 for a divergence."""
        one = self._net.routes == 1 or self.objective.natural_route == "adversarial"
        held, self._attacked = self._attacked, self._natural if one else self._prepare(self._inputs, "adversarial")
        try:
            return self.value(theta)
        finally:
            self._attacked = held

    def outputs(self, params: Params, part: Tensor) -> tuple[Tensor, Tensor]:
        """Return the adversarial and the natural outputs, [B, C] each, of some validation positions."""
        return (
            self._net.apply(params, taken(self._attacked, part), "adversarial"),
            self._net.apply(params, taken(self._natural, part), self.objective.natural_route),
        )

    @property
    def parts(self) -> Sequence[Tensor]:
        """Return the parts of U, as positions, that one value is computed over."""
        return self._sets

    @property
    def size(self) -> int:
        """|U|, the number of validation inputs."""
        return size(self._inputs)

    def _mean(self, params: Params, part: Tensor) -> Tensor:
        """Compute what this part of U adds to the mean over U."""
        out = self.objective.value(*self.outputs(params, part), taken(self.labels, part))
        return out.sum() / self.size if out.dim() else out * (len(part) / self.size)

    def _craft(self, params: Params) -> Any:
        if getattr(self.objective.attack, "changes_nothing", False):
            return self._inputs
        out = []
        with self._clock("validation"):
            for part in self._batches if self.objective.set_size is None else self._sets:
                x, labels = taken(self._inputs, part), taken(self.labels, part)
                with torch.no_grad():
                    natural = self._net.apply(
                        params, taken(self._natural, part), self.objective.natural_route
                    )  # [B, C]
                with self._net.holding(params):
                    point = self._point(x)

                def ascend(
                    views: tuple[Tensor, ...], point: Point = point, natural: Tensor = natural, labels: Any = labels
                ) -> Tensor:
                    prepared = self._net.prepare(point.placed(views[0]), "adversarial")
                    attacked = self._net.apply(params, prepared, "adversarial")  # [B, C]
                    with without_autocast(attacked):
                        return self.objective.ascend(at_least(attacked, natural.dtype), natural, labels)

                noise = point.noise(self._seeds(self._attacks, part))
                out.append(point.placed(self._attack(ascend, (point.centre,), (noise,))[0]))
            self._attacks += 1
        return joined(out)

    def _prepare(self, x: Any, route: str) -> Any:
        with torch.no_grad():
            return joined([self._net.prepare(taken(x, part), route) for part in self._batches])

    def _prepare_attacked(self) -> Any:
        if getattr(self.objective.attack, "changes_nothing", False) and self._net.routes == 1:
            return self._natural
        with self._clock("validation"):
            out = self._prepare(self.adversarial, "adversarial")
        finite = [torch.isfinite(t).reshape(len(t), -1).all(dim=1) for t in leaves(out) if t.is_floating_point()]
        bad = [] if not finite else (~torch.stack(finite).all(dim=0)).nonzero().flatten().tolist()
        if bad:
            raise NonFiniteError(
                f"attacked validation inputs give features that are not finite (validation positions {first_few(bad)}): "
                "check whether the model has diverged.",
                bad,
            )
        return out
