"""The sweep over the pool, batch by batch: read the examples, make views, attack them, run the network.

Nearly all the time of a selection is spent here: `steps` forward passes and backward passes to the inputs, then one
forward pass. Each example has its own draws for its views and for the start of its attack, so the result does not
depend on batches, workers or ranks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coreselect.data.reading import Unpack, read
from coreselect.data.reading import unpack as default_unpack
from coreselect.errors import OverlapError, RequirementError, first_few
from coreselect.gradients.batched_views import views_of
from coreselect.gradients.inputs import (
    digest,
    in_precision,
    refuse_features,
    refuse_inputs,
    refuse_labels,
    targets_for,
    to_device,
)
from coreselect.gradients.parts import Batches
from coreselect.gradients.starts import Starts
from coreselect.losses.targets import reads_classes
from coreselect.network.attack_at import Point
from coreselect.network.network import Network
from coreselect.network.precision import at_least, without_autocast
from coreselect.protocols import Attack, Call, Loss, MakeViews, Stream, Views
from coreselect.support import seeding
from coreselect.support.clock import Clock
from coreselect.support.late_checks import LateChecks
from coreselect.support.structure import joined, taken


@dataclass(frozen=True)
class PreparedBatch:
    """One batch of whole groups, ready for the loss.

    Attributes:
        positions: int64 [B], positions in the pool.
        groups: one slice of the batch for each group.
        prepared: for each stream, what the network prepared, [B, …].
        labels: the targets as the loss reads them, [B, …], or None where the loss needs none.
    """

    positions: NDArray[np.int64]
    groups: Sequence[slice]
    prepared: dict[Stream, Any]
    labels: Any


@dataclass(frozen=True)
class Sweeper:
    """The settings of one snapshot's sweep: how positions in the pool become prepared batches.

    `validation_digests` are digests of the validation inputs. They are empty where the disjointness of pool and validation
    is already proved by their indices. `point` says where an attack acts on a batch of one view. `part` names
    the dataset in messages.
    """

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
    validation_digests: frozenset[bytes]
    point: Callable[[Any], Point]
    timeout: float = 0
    part: str = "pool"

    def sweep(self, batches: Batches) -> Iterator[PreparedBatch]:
        """Yield the prepared form of each batch, in order.

        Args:
            batches: each a list of groups, each group an array of positions in the pool.
        Raises:
            NonFiniteError: an input or a feature is not finite; `indices` are positions in the pool.
            RequirementError: the loss needs labels or an attack that the task does not have.
            OverlapError: an input of the pool has the same bytes as a validation input.
        """
        flat = [np.concatenate(list(b)) for b in batches]
        with self.clock("read"):
            source = read(
                self.dataset,
                flat,
                seed=self.seed,
                path=(self.part, self.round),
                unpack=self.unpack,
                num_workers=self.num_workers,
                timeout=self.timeout,
                raw=True,
                pin=self.device.type == "cuda",
                drawn=self._starts(),
            )
        checks = LateChecks()
        for number, groups in enumerate(batches, 1):
            with self.clock("read"):
                positions, x, labels, *drawn = next(source)
                self._refuse_overlap(positions, x)
                x = in_precision(x, self.dtype)
                labels = targets_for(self.loss, labels, len(positions), self.dataset, self.part)
                with checks.collecting():  # on the host, before the copy: its checks wait for nothing
                    refuse_inputs(positions, x, self.part)
            if reads_classes(self.loss) and labels is not None:
                refuse_labels(positions, labels, self.net.outputs, self.part)
            with self.clock("read"):
                x, labels = to_device(x, self.device), to_device(labels, self.device)
            edges = np.cumsum([0, *(len(g) for g in groups)])
            slices = [slice(int(a), int(b)) for a, b in pairwise(edges)]
            with checks.collecting():
                prepared = self._prepare(positions, x, labels, slices, drawn[0] if drawn else None)
                for z in prepared.values():
                    refuse_features(positions, z, self.part)
            checks.batch_done(last=number == len(batches))
            yield PreparedBatch(positions, slices, prepared, labels if self.loss.needs_labels else None)

    def _starts(self) -> Starts | None:
        """What the processes that read items draw with them: the starts of attacks; nothing where nothing is won."""
        attacked = tuple(view for route, view in self.loss.streams if route == "adversarial")
        wins = self.num_workers and attacked and self.attack is not None and self.unpack is default_unpack
        return Starts(self.seed, self.round, attacked) if wins else None

    def _prepare(
        self, positions: NDArray[np.int64], x: Any, labels: Any, slices: Sequence[slice], drawn: Views | None
    ) -> dict[Stream, Any]:
        with self.clock("views"):
            seeds = seeding.seeds(self.seed, "views", self.round, indices=positions).tolist()
            views = views_of(x, self.views, self.loss, seeds)
        out: dict[Stream, Tensor] = {}
        with self.clock("features"), torch.no_grad():
            for stream in self.loss.streams:
                if stream[0] == "natural":
                    out[stream] = self.net.prepare(views[stream[1]], "natural")
        attacked = [s for s in self.loss.streams if s[0] == "adversarial"]
        if attacked:
            adversarial = self._attack(positions, views, [view for _, view in attacked], out, labels, slices, drawn)
            with self.clock("features"), torch.no_grad():
                for stream, x in zip(attacked, adversarial, strict=True):
                    out[stream] = self.net.prepare(x, "adversarial")
        return out

    def _attack(
        self,
        positions: NDArray[np.int64],
        views: Views,
        numbers: Sequence[int],
        prepared: dict[Stream, Any],
        labels: Any,
        slices: Sequence[slice],
        drawn: Views | None,
    ) -> Views:
        """Attack the views with the given numbers together, in that order; other views are not attacked and cost nothing."""
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
            points = [self.point(views[i]) for i in numbers]
            known = drawn is not None and all(p.takes(n) for p, n in zip(points, drawn, strict=True))
            noise = tuple(
                to_device(drawn[j].to(point.centre.dtype), self.device)
                if drawn is not None and known
                else point.noise(seeding.seeds(self.seed, "attack", self.round, i, indices=positions))
                for j, (i, point) in enumerate(zip(numbers, points, strict=True))
            )
            pieces = [slice(0, len(positions))] if self.loss.per_example else slices

            def ascend(at: Views) -> Tensor:
                placed = [point.placed(a) for point, a in zip(points, at, strict=True)]
                joint = self.call(self.model, joined(placed), "adversarial")  # [V·B, C]: one forward for all views
                with without_autocast(joint):
                    outputs = at_least(joint, self.dtype).chunk(len(at))
                    terms = [
                        self.loss.ascend(
                            tuple(o[p] for o in outputs),
                            tuple(o[p] for o in natural),
                            taken(labels, p),
                        )
                        for p in pieces
                    ]
                    return torch.stack(terms).sum()

            found = self.attack(ascend, tuple(point.centre for point in points), noise)
            return tuple(point.placed(a) for point, a in zip(points, found, strict=True))

    def _refuse_overlap(self, positions: NDArray[np.int64], x: Any) -> None:
        if not self.validation_digests:
            return
        shared = [int(p) for i, p in enumerate(positions) if digest(taken(x, i)) in self.validation_digests]
        if shared:
            raise OverlapError(
                f"{len(shared)} pool examples are also validation examples (pool positions {first_few(shared)}): "
                "split with coreselect.holdout."
            )


def pack(groups: Sequence[NDArray[np.int64]], batch_size: int) -> Batches:
    """Pack whole groups into batches of at most `batch_size` examples; a larger group is a batch of its own."""
    out: list[list[NDArray[np.int64]]] = []
    size = 0  # of the last batch
    for group in groups:
        if not out or size + len(group) > batch_size:
            out.append([])
            size = 0
        out[-1].append(group)
        size += len(group)
    return out


def name_of(stream: Stream) -> str:
    """Return the name of a stream in a record: ("adversarial", 0) → "adversarial 0"."""
    return f"{stream[0]} {stream[1]}"
