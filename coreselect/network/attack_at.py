"""The place inside a model where an attack acts: the output of a submodule, such as the embeddings of a text classifier.

    e = E(x)        ẽ = argmax f over the ball around e        δ = m ⊙ (ẽ − e)        h̃(x): the model with E(x) + δ for E(x)

E is the submodule and m is 1 where a position may be attacked, 0 at padding. The perturbation is added, so gradients of the
parameters of E are those of training with it. Sources: Miyato et al., *Adversarial training methods for semi-supervised text
classification*, 2017; Zhu et al., *FreeLB*, 2020; Jiang et al., *SMART*, 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coreselect.errors import HeadError
from coreselect.network.attack_mask import expanded, found_mask
from coreselect.network.frozen import unwrap
from coreselect.network.hooks import hooked
from coreselect.network.nearest_names import nearest_names
from coreselect.network.network import default_call
from coreselect.protocols import Attack, Call, Route
from coreselect.support import seeding
from coreselect.support.structure import described, size


class Perturbed(NamedTuple):
    """Inputs, and what is added to the output of a submodule while they pass through the model."""

    inputs: Any
    delta: Tensor


@dataclass(frozen=True)
class Point:
    """Where an attack acts on one batch.

    Attributes:
        inputs: the natural inputs.
        centre: [B, …], what the attack changes: the inputs, or the output of a submodule.
        mask: 1 where it may change that, 0 elsewhere, with the dimensions of the centre; None: everywhere.
        inside: whether the centre is the output of a submodule.
    """

    inputs: Any
    centre: Tensor
    mask: Tensor | None = None
    inside: bool = False

    def noise(self, per_example: NDArray[Any]) -> Tensor:
        """Draw the start of an attack, uniform in [−1, 1), from B seeds; 0 where nothing may move."""
        return self._masked(seeding.noise(self.centre, per_example))

    def takes(self, drawn: Tensor) -> bool:
        """Return whether numbers that were drawn with the items, for inputs as they are read, are those of `noise`."""
        return not self.inside and self.mask is None and drawn.shape == self.centre.shape

    def placed(self, at: Tensor) -> Any:
        """Return the inputs that stand for an attacked centre [B, …]."""
        return Perturbed(self.inputs, self._masked(at - self.centre)) if self.inside else at

    def _masked(self, values: Tensor) -> Tensor:
        return values if self.mask is None else values * self.mask


@dataclass(frozen=True)
class AttackAt:
    """The output of a submodule, in place of the inputs, as what attacks change: `Task.from_model(attack_at=...)`.

    `PGD` then has its radius and step in the units of that output. With `norm="l2"` its ball is over all positions of an example
    together, as in FreeLB; with `"linf"` over each number, as in SMART. There are no bounds.

    Args:
        module: the name of the submodule, as in `model.named_modules()`: `"embeddings"`, `"model.embed_tokens"`. Its output is
            one floating-point tensor [B, …], and it is called once in a forward pass.
        mask: inputs → [B, T], true or 1 where a position may be attacked. None: the `attention_mask` of a dictionary of inputs,
            else the positions of an `nn.Embedding` that are not its `padding_idx`, else every position.
    """

    module: str
    mask: Callable[[Any], Tensor] | None = None

    def find(self, model: nn.Module) -> nn.Module:
        """Return the submodule.

        Raises:
            HeadError: the model has none of that name, or it is TorchScript, which takes no hooks.
        """
        bare = unwrap(model)
        try:
            found = bare.get_submodule(self.module) if self.module else None
        except AttributeError:
            found = None
        if found is None:
            known = [name for name, _ in bare.named_modules()]
            raise HeadError(
                f"the model has no submodule {self.module!r} for attack_at; the nearest names are "
                f"{nearest_names(self.module, known)}."
            )
        if isinstance(found, torch.jit.ScriptModule):
            raise HeadError(
                f"the submodule {self.module!r} of attack_at is TorchScript, whose output cannot be changed: give the Python "
                "module that was scripted."
            )
        return found

    def point(self, model: nn.Module, x: Any, call: Call = default_call, route: Route = "adversarial") -> Point:
        """Run the model on inputs [B, …] and return where an attack acts on them.

        Raises:
            HeadError: see `find`; or the submodule is not called exactly once, or gives no floating-point tensor.
            ShapeError: the mask does not fit.
        """
        seen: list[tuple[tuple[Any, ...], Any]] = []
        module = self.find(model)
        see = partial(module.register_forward_hook, lambda _m, args, out: seen.append((args, out)))
        with hooked([see]), torch.no_grad():
            call(model, x, route)
        self._refuse_calls(len(seen))
        args, out = seen[0]
        if not isinstance(out, Tensor) or not out.is_floating_point() or not out.dim() or len(out) != size(x):
            got = described(out, None)
            raise HeadError(
                f"the output of the submodule {self.module!r} of attack_at is {got} for {size(x)} inputs, and an attack "
                "changes one floating-point tensor [B, …]: name a submodule with such an output."
            )
        mask = self.mask(x) if self.mask is not None else found_mask(module, args, x, out)
        return Point(x, out.detach(), None if mask is None else expanded(mask, out, self.module), inside=True)

    def run(self, model: nn.Module, x: Any, call: Call = default_call, route: Route = "adversarial") -> Tensor:
        """Return the outputs [B, C] of inputs, or of `Perturbed` inputs. The model keeps no trace of it.

        Raises:
            HeadError: see `find`; or the submodule is not called exactly once.
        """
        if not isinstance(x, Perturbed):
            return call(model, x, route)
        calls: list[int] = []

        def add(_module: nn.Module, _args: Any, out: Tensor) -> Tensor:
            calls.append(1)
            return out + x.delta.to(out.dtype)

        with hooked([partial(self.find(model).register_forward_hook, add)]):
            outputs = call(model, x.inputs, route)
        self._refuse_calls(len(calls))
        return outputs

    def attacked(
        self,
        model: nn.Module,
        x: Any,
        attack: Attack,
        ascend: Callable[[Tensor], Tensor],
        *,
        seed: int | None = None,
        call: Call = default_call,
    ) -> Perturbed:
        """Attack one batch, in a loop of your own: the same attack as in a selection, under the model's mode as it is.

        Args:
            x: inputs [B, …].
            attack: such as `PGD(radius, step, steps, bounds=None)`.
            ascend: outputs [B, C] → the scalar to raise, a sum over examples.
            seed: of the random starts; None: one is drawn from torch's global generator.
        Returns:
            Perturbed inputs, for `run`.
        """
        point = self.point(model, x, call)
        drawn = torch.randint(2**62, (size(x),)).numpy() if seed is None else seeding.seeds(seed, indices=_count(x))
        views = attack(
            lambda at: ascend(self.run(model, point.placed(at[0]), call)), (point.centre,), (point.noise(drawn),)
        )
        return point.placed(views[0])

    def _refuse_calls(self, count: int) -> None:
        if count != 1:
            raise HeadError(
                f"the submodule {self.module!r} of attack_at is called {count} times in a forward pass, and once is needed: name "
                "one that is called once, such as the embeddings."
            )


@dataclass(frozen=True)
class CallAt:
    """A call that also takes `Perturbed` inputs."""

    call: Call
    at: AttackAt

    def __call__(self, model: nn.Module, x: Any, route: Route) -> Tensor:
        """Return the output [B, C] on a route."""
        return self.at.run(model, x, self.call, route)


def _count(x: Any) -> Any:
    return torch.arange(size(x)).numpy()
