"""The sweep over the pool: read, make views, attack, and hand on what the network prepared, batch by batch.

This is where nearly all of a selection's time goes: `steps` forward and input-backward passes and one forward more.
Every start of an attack and every view is drawn per example, so batches, workers and ranks do not show.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coreselect.data.reading import Unpack, read
from coreselect.errors import NonFiniteError, OverlapError, RequirementError, ShapeError, name_some
from coreselect.network.network import Network
from coreselect.network.precision import in_full, raised
from coreselect.protocols import Attack, Call, Loss, MakeViews, Stream, Views
from coreselect.support import seeding
from coreselect.support.clock import Clock


@dataclass(frozen=True)
class Crafted:
    """One batch of whole groups: pool positions [B], per stream what the network prepared [B, …], labels [B] or None."""

    positions: NDArray[np.int64]
    groups: Sequence[slice]
    prepared: dict[Stream, Tensor]
    labels: Tensor | None


@dataclass(frozen=True)
class Sweeper:
    """How one snapshot turns pool positions into prepared streams."""

    model: nn.Module
    call: Call
    net: Network
    dataset: object
    loss: Loss
    attack: Attack | None
    views: MakeViews | None
    unpack: Unpack
    seed: int
    round: int
    num_workers: int
    device: torch.device
    dtype: torch.dtype
    clock: Clock
    foreign: frozenset[bytes]  # digests of validation inputs, where disjointness has to be hashed

    def sweep(self, batches: Sequence[Sequence[NDArray[np.int64]]]) -> Iterator[Crafted]:
        """Yield each batch (a list of groups of pool positions) crafted; labels only where the loss needs them.

        Raises:
            NonFiniteError: an input or a feature is not finite; `indices` are pool positions.
            RequirementError: the loss needs labels or an attack that the task does not have.
            OverlapError: a pool input is byte for byte a validation input.
        """
        flat = [np.concatenate(list(b)) for b in batches]
        with self.clock("read"):
            source = read(
                self.dataset,
                flat,
                seed=self.seed,
                path=("pool", self.round),
                unpack=self.unpack,
                num_workers=self.num_workers,
            )
        for groups in batches:
            with self.clock("read"):
                positions, x, labels = next(source)
                self._refuse_overlap(positions, x)
                x = to_model(x, self.device, self.dtype)
                labels = None if labels is None else labels.to(self.device)
            refuse_inputs(positions, x)
            if self.loss.needs_labels and labels is None:
                raise RequirementError(
                    f"the loss {self.loss.name!r} needs labels and the pool's items carry none: give (x, y) items, or unpack=."
                )
            if self.loss.needs_labels and labels is not None:
                refuse_labels(positions, labels, self.net.outputs)
            edges = np.cumsum([0, *(len(g) for g in groups)])
            slices = [slice(int(a), int(b)) for a, b in pairwise(edges)]
            prepared = self._prepare(positions, x, labels, slices)
            for z in prepared.values():
                finite = torch.isfinite(z).flatten(1).all(dim=1)
                if not bool(finite.all()):
                    bad = sorted(positions[(~finite).cpu().numpy()].tolist())
                    raise NonFiniteError(
                        f"the model gives features that are not finite for {len(bad)} pool examples (positions {name_some(bad)}): "
                        "look whether it has diverged.",
                        bad,
                    )
            yield Crafted(positions, slices, prepared, labels if self.loss.needs_labels else None)

    def _prepare(
        self, positions: NDArray[np.int64], x: Tensor, labels: Tensor | None, slices: Sequence[slice]
    ) -> dict[Stream, Tensor]:
        with self.clock("views"):
            views = self._make_views(positions, x)
        out: dict[Stream, Tensor] = {}
        with self.clock("features"), torch.no_grad():
            for stream in self.loss.streams:
                if stream[0] == "natural":
                    out[stream] = self.net.prepare(views[stream[1]], "natural")
        attacked = [s for s in self.loss.streams if s[0] == "adversarial"]
        if attacked:
            adversarial = self._attack(positions, views, [view for _, view in attacked], out, labels, slices)
            with self.clock("features"), torch.no_grad():
                for stream, x in zip(attacked, adversarial, strict=True):
                    out[stream] = self.net.prepare(x, "adversarial")
        return out

    def _make_views(self, positions: NDArray[np.int64], x: Tensor) -> Views:
        if self.views is None:
            if self.loss.views != 1:
                raise RequirementError(
                    f"the loss {self.loss.name!r} reads {self.loss.views} views of an example: give views=lambda x, generator: …."
                )
            return (x,)
        own = seeding.seeds(self.seed, "views", self.round, indices=positions).tolist()
        generator = torch.Generator()
        made = []
        for one, s in zip(x, own, strict=True):
            seeding.seed_everything(s)  # for what draws from a global state all the same
            made.append(self.views(one[None], generator.manual_seed(s)))
        if any(not isinstance(m, tuple | list) or len(m) != self.loss.views for m in made):
            got = len(made[0]) if isinstance(made[0], tuple | list) else type(made[0]).__name__
            raise ShapeError(
                f"views= must return a tuple of {self.loss.views} tensors for the loss {self.loss.name!r}, got {got}."
            )
        return tuple(torch.cat(each) for each in zip(*made, strict=True))

    def _attack(
        self,
        positions: NDArray[np.int64],
        views: Views,
        numbers: Sequence[int],
        prepared: dict[Stream, Tensor],
        labels: Tensor | None,
        slices: Sequence[slice],
    ) -> Views:
        """Craft the views of those numbers jointly, in that order; a view that no adversarial stream reads costs nothing."""
        if self.attack is None:
            raise RequirementError(
                f"the loss {self.loss.name!r} reads attacked inputs and has no attack of its own: give attack=."
            )
        if getattr(self.loss, "flat_at_start", False) and self.net.routes == 1 and not self.attack.random_start:
            raise RequirementError(
                f"an attack on the divergence in {self.loss.name!r} has zero gradient at x̃ = x: use random_start=True."
            )
        with self.clock("attack"):
            with torch.no_grad():
                natural = tuple(
                    self.net.apply(self.net.captured, prepared[s], "natural")
                    for s in self.loss.streams
                    if s in prepared
                )
            noise = tuple(
                seeding.noise(views[i], seeding.seeds(self.seed, "attack", self.round, i, indices=positions))
                for i in numbers
            )
            pieces = [slice(0, len(positions))] if self.loss.per_example else slices

            def ascend(at: Views) -> Tensor:
                joint = self.call(self.model, torch.cat(at), "adversarial")  # [V·B, C]: one forward for all views
                with in_full(joint):
                    outputs = raised(joint, self.dtype).chunk(len(at))
                    terms = [
                        self.loss.ascend(
                            tuple(o[p] for o in outputs),
                            tuple(o[p] for o in natural),
                            None if labels is None else labels[p],
                        )
                        for p in pieces
                    ]
                    return torch.stack(terms).sum()

            return self.attack(ascend, tuple(views[i] for i in numbers), noise)

    def _refuse_overlap(self, positions: NDArray[np.int64], x: Tensor) -> None:
        if not self.foreign:
            return
        shared = [int(p) for p, one in zip(positions, x, strict=True) if digest(one) in self.foreign]
        if shared:
            raise OverlapError(
                f"{len(shared)} pool examples are also validation examples (pool positions {name_some(shared)}): "
                "split with coreselect.holdout."
            )


def digest(x: Tensor) -> bytes:
    """Digest one input's bytes, to see whether it is in two datasets."""
    plain = x.detach().cpu().contiguous().reshape(-1).view(torch.uint8)  # bfloat16 has no numpy twin
    return blake2b(plain.numpy().tobytes(), digest_size=16).digest()


def to_model(x: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Move inputs to the model, floating-point ones in its own precision."""
    return x.to(device=device, dtype=dtype) if x.is_floating_point() else x.to(device)


def refuse_inputs(positions: NDArray[np.int64], x: Tensor, where: str = "pool") -> None:
    """Refuse inputs that are not floating point (no gradient reaches them) or not finite, by position."""
    if not x.is_floating_point():
        raise ShapeError(
            f"{where} inputs are {x.dtype}, floating-point images in [0, 1] are needed: convert them in the dataset."
        )
    finite = torch.isfinite(x).flatten(1).all(dim=1)
    if not bool(finite.all()):
        bad = sorted(positions[(~finite).cpu().numpy()].tolist())
        raise NonFiniteError(
            f"{len(bad)} {where} inputs hold NaN or infinity (positions {name_some(bad)}): remove or mend them.", bad
        )


def outside(labels: Tensor, outputs: int) -> Tensor:
    """Which labels number no output: bool [B]."""
    return (labels < 0) | (labels >= outputs)


def refuse_labels(positions: NDArray[np.int64], labels: Tensor, outputs: int, where: str = "pool") -> None:
    """Refuse classes that a model with several outputs has no output for (−100, which torch would skip, among them)."""
    wrong = outside(labels, outputs).cpu().numpy()
    if outputs > 1 and wrong.any():
        bad = positions[wrong].tolist()
        raise ShapeError(
            f"{len(bad)} {where} labels lie outside 0…{outputs - 1}, the model's outputs (positions {name_some(sorted(bad))}): "
            "number the classes from 0, or widen the head."
        )


Batches = list[list[NDArray[np.int64]]]


def pack(groups: Sequence[NDArray[np.int64]], batch_size: int) -> Batches:
    """Pack whole groups into forward passes of about `batch_size` examples, at least one group each."""
    out: Batches = []
    held = 0
    for group in groups:
        if not out or held + len(group) > batch_size:
            out.append([])
            held = 0
        out[-1].append(group)
        held += len(group)
    return out
