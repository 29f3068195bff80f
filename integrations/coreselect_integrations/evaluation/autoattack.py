"""Robust accuracy under AutoAttack: the share of examples that no attack of the ensemble fools.

    robust = #{i : h(x_i) = y_i and h(a(x_i)) = y_i for every attack a}/n,  ‖a(x) − x‖ ≤ radius, a(x) in [0, 1]

The standard ensemble is APGD on the cross-entropy, APGD on the targeted difference of logits ratio (DLR), targeted FAB
and Square, run in this order, each only on what those before it left; the attacks themselves are those of the package
`pyautoattack`. Source: Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", ICML 2020.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from coreselect.errors import RequirementError, ShapeError, UnknownNameError, missing_extra
from coreselect.protocols import Call, Progress, Route
from coreselect.support.seeding import derive, rng_kept
from coreselect_integrations.evaluation.accuracy import Evaluation, Unpack, batches, count, logits_of, refuse_nothing
from coreselect_integrations.training.modes import evaluating

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}  # our name -> the package's
SLACK = 1e-4  # share of the radius that rounding may add to a perturbation

Norm = Literal["linf", "l2", "l1"]


@dataclass(frozen=True, slots=True)
class AutoAttackEvaluation(Evaluation):
    """An `Evaluation`, and the accuracy left `after` each attack, in [0, 1], in the order they ran.

    The last is `robust`. Where `square`, which needs no gradients, takes more than 0.002 from what the others left, the
    gradients mislead them and the true robust accuracy may be lower still.
    """

    after: Mapping[str, float]


class _Attack(Protocol):
    """What `pyautoattack` calls an attack."""

    def perturb(self, x: Tensor, y: Tensor) -> Tensor: ...


def autoattack(
    model: nn.Module,
    data: DataLoader[Any] | Dataset[Any],
    *,
    radius: float = 8 / 255,
    norm: Norm = "linf",
    attacks: Sequence[str] | None = None,
    batch_size: int = 128,
    seed: int = 0,
    call: Call | None = None,
    route: Route = "adversarial",
    unpack: Unpack | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    steps: int = 100,
    queries: int = 5000,
) -> AutoAttackEvaluation:
    """Measure standard and robust accuracy under AutoAttack, in its standard version unless told otherwise.

    Only examples that are right without attack are attacked, and each attack only sees what those before it left. An
    answer counts if it is inside the ball and in [0, 1]. Targeted attacks try the 9 likeliest wrong classes (APGD in l₁
    the 5 likeliest), or all of them where there are fewer. Random draws are a function of `seed`, the attack and the
    batch, so another `batch_size` may give another answer; no global random state moves. The model must answer the same
    input the same way every time.

    Args:
        model: [B, C, H, W] in [0, 1] → logits [B, classes]; its modes, flags and gradients are as before afterwards.
        data: a labelled dataset, or a loader of one.
        radius: of the ball, in units of pixels in [0, 1]; > 0.
        norm: `linf`, `l2` or `l1`.
        attacks: names of `STANDARD`, run in the order given; None means all of them.
        batch_size: of the batches made from a dataset.
        seed: of every draw.
        call: (model, x, route) → logits; None means model(x).
        route: given to `call` for natural and attacked inputs alike.
        unpack: batch → (x, y); None takes its first two entries.
        device: where batches are moved; None leaves them.
        progress: called with ("autoattack", examples done, examples in all) after each batch.
        steps: of APGD and FAB, ≥ 2; the standard version has 100.
        queries: of Square, ≥ 1; the standard version has 5,000.
    Raises:
        MissingExtraError: `pyautoattack` is not installed.
        UnknownNameError: another norm or attack.
        RequirementError: there are no examples, or too few classes for an attack (`apgd-t` needs four, its DLR divides
            by a difference between the best and the third and fourth logit), or numbers out of range.
        ShapeError: inputs outside [0, 1], or of a shape that Square cannot attack.

    Source: Croce & Hein 2020, section 6 (the standard version).
    """
    start = perf_counter()
    names, ensemble = _checked(attacks, norm), _Ensemble(_package(), radius, norm, steps, queries)
    forward = logits_of(model, call, route)
    total, n, standard, left = count(data), 0, 0, dict.fromkeys(names, 0)
    with evaluating(model), _traceless():
        for i, (x, y) in enumerate(batches(data, batch_size, unpack)):
            x, y = x.to(device), y.to(device).long()  # [B, C, H, W], [B]
            _refuse_inputs(x, names, norm)
            with torch.no_grad():
                out = forward(x)  # [B, classes]
            _refuse_classes(out, names)
            keep = out.argmax(1) == y  # [B]
            n, standard = n + len(x), standard + int(keep.sum())
            x, y = x[keep].contiguous(), y[keep]
            for name in names:
                if len(x):
                    own = derive(seed, "autoattack", name, i)
                    attack = ensemble.attack(name, _for_attacks(forward, x.dtype), out.shape[1], x.device, own)
                    adversarial = attack.perturb(x.float().clone(), y.clone()).to(x)  # [B', C, H, W]
                    alive = ~fooled(forward, x, y, adversarial, radius, norm)  # [B']
                    x, y = x[alive], y[alive]
                left[name] += len(x)
            if progress is not None:
                progress("autoattack", n, max(total, n))
    refuse_nothing(n)
    after = {name: alive / n for name, alive in left.items()}
    return AutoAttackEvaluation(standard / n, after[names[-1]], n, perf_counter() - start, after)


def fooled(
    forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, adversarial: Tensor, radius: float, norm: Norm
) -> Tensor:
    """Say which answers count: wrongly classified, inside the ball (rounding aside) and in [0, 1].

    Args:
        forward: [B, …] → logits [B, classes].
        x, adversarial: [B, …].
        y: [B].
        radius, norm: of the ball.
    Returns:
        bool [B]; an answer that is not finite does not count.
    """
    p = {"linf": math.inf, "l2": 2.0, "l1": 1.0}[norm]
    flat = adversarial.flatten(1)  # [B, D]
    length = torch.linalg.vector_norm((flat - x.flatten(1)).double(), p, dim=1)  # [B]
    inside = (length <= radius * (1 + SLACK) + 1e-6) & (flat >= -1e-6).all(1) & (flat <= 1 + 1e-6).all(1)
    with torch.no_grad():
        return inside & (forward(adversarial).argmax(1) != y)


def _package() -> Mapping[str, Callable[..., _Attack]]:
    try:
        from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
        from pyautoattack.fab_pt import FABAttack_PT
        from pyautoattack.square import SquareAttack
    except ImportError as why:
        raise missing_extra("pyautoattack", "train", "AutoAttack") from why
    return dict(zip(STANDARD, (APGDAttack, APGDAttack_targeted, FABAttack_PT, SquareAttack), strict=True))


@dataclass(frozen=True)
class _Ensemble:
    """The attacks as the standard version sets them; it counts restarts and targets otherwise in l₁."""

    kinds: Mapping[str, Callable[..., _Attack]]
    radius: float
    norm: Norm
    steps: int
    queries: int

    def __post_init__(self) -> None:
        if not (0 < self.radius < math.inf and self.steps >= 2 and self.queries >= 1):
            raise RequirementError(
                f"AutoAttack needs a finite radius > 0, steps ≥ 2 and queries ≥ 1, "
                f"got radius={self.radius}, steps={self.steps}, queries={self.queries}."
            )

    def attack(
        self, name: str, logits: Callable[[Tensor], Tensor], classes: int, device: torch.device, seed: int
    ) -> _Attack:
        """Make the attack `name` on float32 logits."""
        one, log = self.norm == "l1", logging.getLogger(__name__)
        apgd = {"n_iter": self.steps, "use_largereps": one, "logger": log}
        own: dict[str, Any] = {
            "apgd-ce": {"n_restarts": 5 if one else 1, "loss": "ce", **apgd},
            "apgd-t": {"n_restarts": 1, "n_target_classes": min(5 if one else 9, classes - 1), **apgd},
            "fab-t": {"n_restarts": 1, "targeted": True, "n_target_classes": min(9, classes - 1), "n_iter": self.steps},
            "square": {"n_restarts": 1, "n_queries": self.queries, "p_init": 0.8, "resc_schedule": False},
        }[name]
        return self.kinds[name](
            logits, norm=NORMS[self.norm], eps=self.radius, seed=seed, device=device, verbose=False, **own
        )


def _for_attacks(forward: Callable[[Tensor], Tensor], dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Take the attacks' float32, give float32 logits of their own: Square overwrites what it is given."""
    return lambda x: forward(x.to(dtype)).float().clone()


@contextmanager
def _traceless() -> Iterator[None]:
    """Restore every global random state on leaving; the attacks seed torch's, on CPU and accelerators."""
    if torch.cuda.is_available():
        torch.cuda.init()  # else the attacks' seeds would wait for the first use of CUDA, after the states are restored
    with rng_kept():
        yield


def _checked(attacks: Sequence[str] | None, norm: str) -> tuple[str, ...]:
    """Return the names of the attacks to run, or refuse."""
    names = STANDARD if attacks is None else tuple(dict.fromkeys((attacks,) if isinstance(attacks, str) else attacks))
    unknown = [name for name in names if name not in STANDARD]
    if unknown or not names:
        raise UnknownNameError(
            f"AutoAttack has the attacks {', '.join(STANDARD)}, got {', '.join(map(repr, unknown)) or 'none'}."
        )
    if norm not in NORMS:
        raise UnknownNameError(f"AutoAttack knows the norms {', '.join(NORMS)}, got {norm!r}.")
    return names


def _refuse_inputs(x: Tensor, names: Sequence[str], norm: str) -> None:
    if len(x) and not bool(((x >= 0) & (x <= 1)).all()):
        raise ShapeError(
            f"AutoAttack needs inputs in [0, 1], these reach from {float(x.min()):g} to {float(x.max()):g}: "
            f"put the normalisation into the model."
        )
    least = 1 if norm == "linf" else 5
    if "square" in names and (x.dim() != 4 or min(x.shape[2:]) < least):
        raise ShapeError(
            f"square needs images [B, C, H, W] with H, W ≥ {least} in {norm}, got {list(x.shape)}: leave square out of attacks."
        )


def _refuse_classes(out: Tensor, names: Sequence[str]) -> None:
    classes = out.shape[1] if out.dim() == 2 else 0
    if classes < 2:
        raise ShapeError(f"AutoAttack needs logits [B, classes] of at least 2 classes, got {list(out.shape)}.")
    if classes < 4 and "apgd-t" in names:
        rest = tuple(name for name in STANDARD if name != "apgd-t")
        raise RequirementError(f"apgd-t needs at least 4 classes, the model has {classes}: give attacks={rest}.")
