"""Training gradients of a model's examples: from factors of the head if that is exact, else from a sweep over the groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from coreselect.data.reading import class_numbers
from coreselect.errors import RequirementError
from coreselect.gradients.batch import group_row
from coreselect.gradients.example import ExampleRows
from coreselect.gradients.factor_check import factors_are_exact
from coreselect.gradients.factored import FactoredRows
from coreselect.gradients.factors import factors
from coreselect.gradients.loss_value import naming
from coreselect.gradients.parts import Batches, Record, stacked
from coreselect.gradients.row_matrix import row_matrix, row_records
from coreselect.gradients.rows import DenseRows, Full, Groups, Rows, are_single_examples
from coreselect.gradients.sketch import Sketch
from coreselect.gradients.spread import SpreadRows
from coreselect.gradients.store import allocate
from coreselect.gradients.sweep import PreparedBatch, name_of, pack
from coreselect.network.layout import Layout
from coreselect.network.network import ROUTES, HeadSplit
from coreselect.protocols import Stream
from coreselect.support.ranks import rank
from coreselect.support.records import settings_of
from coreselect.support.structure import leaves
from coreselect.task.open_model import OpenModel
from coreselect.task.prepared import PreparedPool, group_means
from coreselect.task.spreading import ends_of, lengths, runs, spread_rows, tensors, to_be_spread
from coreselect.types import Int64

LABELS = "labels "  # and a number: the tensors of the targets in a record


class ModelRows:
    """Rows of one snapshot's examples; each part is computed when it is first asked for."""

    def __init__(self, opened: OpenModel) -> None:
        self._opened, self._positions = opened, opened.positions
        self._loss, self._clock, self._part = opened.task.loss, opened.context.clock, opened.task.part

    @property
    def layout(self) -> Layout:
        """How the captured parameters are flattened."""
        return Layout.of(self._opened.net.captured)

    def of(self, groups: Groups, sketch: Sketch | None, spread: bool | None = False) -> tuple[Rows, Tensor]:
        """Return the rows of these groups and their training losses [M].

        Args:
            spread: whether rows stay with the ranks that make them, see `coreselect.task.snapshot.Snapshot.rows`.
        Raises:
            RequirementError: the groups are single examples, and the loss needs a batch.
        """
        single = all(len(g) == 1 for g in groups)
        if single and not self._loss.per_example and len(self._positions) > 1:
            raise RequirementError(
                f"the loss {self._loss.name!r} needs a batch, so single examples have no rows: use rcs with groups='batch'."
            )
        self._opened.check_loss()
        self._opened.check_devices()
        if self.factored is not None and sketch is None and are_single_examples(groups, len(self._positions)):
            return self.factored
        like = self.layout.flatten(self._opened.net.captured)[:1]
        width = sketch.width if sketch else self.layout.size
        size = len(groups) * width * like.element_size()
        stay = to_be_spread(self._opened.task.work, spread, size, like.device)
        if self.factored is None:
            records, batches = self._swept(groups, sketch, single, stay=stay)
            if not stay:
                matrix, losses = row_matrix(records, len(groups), width, like)
                return self._dense(matrix, groups, sketch), losses
            ends, made = ends_of(batches), list[Tensor]()
            rows = self._spread(tensors(records, made), ends, width, like, groups, sketch)
            own = torch.cat([like.new_empty(0), *made])
            return rows, rows.meeting.gathered(own, lengths(ends))
        losses = group_means(self.factored[1], groups)
        if stay:
            ends = runs(len(groups))
            mine = groups[ends[rank()] : ends[rank() + 1]]
            return self._spread(self._means(mine, sketch), ends, width, losses, groups, sketch), losses
        with self._clock("rows"):
            matrix = allocate(len(groups), width, like=losses)
            for m, row in enumerate(self._means(groups, sketch)):
                matrix[m] = row
            return self._dense(matrix, groups, sketch), losses

    def _means(self, groups: Groups, sketch: Sketch | None) -> Iterator[Tensor]:
        """Yield the rows of groups, each [1, W], from the factors of their members."""
        assert self.factored is not None
        for group in groups:
            row = self.factored[0].mean_of(group)[None]
            yield sketch(row) if sketch else row

    def _spread(
        self, rows: Iterator[Tensor], ends: list[int], width: int, like: Tensor, groups: Groups, sketch: Sketch | None
    ) -> SpreadRows:
        work = self._opened.task.work
        assert work is not None
        more = {"project": sketch, "full": self.full_rows(groups), "examples": self.factored and self.factored[0]}
        with self._clock("rows"):
            return spread_rows(work, rows, ends, width, like, groups, names=self._positions, **more)

    @cached_property
    def factored(self) -> tuple[FactoredRows, Tensor] | None:
        """Factored rows and losses of every example, or None if the loss or the capture does not allow it."""
        net = self._opened.net
        if not self.has_factors() or not isinstance(net, HeadSplit):
            return None
        pool = self.pool
        with self._clock("rows"):
            with naming(self._positions, self._part):
                parts, losses = factors(net, self._loss, pool.prepared, pool.labels)
            rows = FactoredRows(parts, self.layout)
            rows.refuse(self._positions, self._part)
            return rows, losses

    def use(self, pool: PreparedPool) -> None:
        """Take the pool as it was prepared elsewhere, in place of a sweep."""
        vars(self)["pool"] = pool

    def ready(self) -> None:
        """Sweep what rows of any groups can be made from, where there is such a thing."""
        _ = self.factored

    def of_one_rank(self, opened: OpenModel) -> ModelRows:
        """Return the rows of the same examples, as another opening of the model makes what has not been swept yet."""
        inner = ModelRows(opened)
        vars(inner).update({name: vars(self)[name] for name in ("factored", "pool") if name in vars(self)})
        return inner

    def kept_as_factors(self, groups: Groups) -> bool:
        """Say whether the rows of these groups take no matrix: they are all single examples, and factors give their rows."""
        return are_single_examples(groups, len(self._positions)) and self.has_factors()

    def has_factors(self) -> bool:
        """Say whether the rows of examples are products of factors: a per-example loss, and a head whose Linears are captured."""
        net = self._opened.net
        if not self._loss.per_example or not isinstance(net, HeadSplit):
            return False
        return self._opened.context.cached("factors hold", lambda: self._factors_hold(net))

    def _factors_hold(self, net: HeadSplit) -> bool:
        """Test on a few inputs and every route whether the head's gradients are products of its Linears' factors."""
        with torch.no_grad():
            return factors_are_exact(net, {(route, 0): net.prepare(self._opened.probe(), route) for route in ROUTES})

    @cached_property
    def pool(self) -> PreparedPool:
        """The examples, attacked and prepared in one sweep."""
        opened = self._opened

        def make(some: Batches) -> Iterator[Record]:
            for batch in opened.sweeper.sweep(some):
                streams = {name_of(s): z for s, z in batch.prepared.items()}
                yield streams | {f"{LABELS}{i}": t for i, t in enumerate(leaves(batch.labels))}

        found = stacked(list(opened.records("prepared", opened.all_batches(), make, opened.training())))
        return PreparedPool(
            {s: found[name_of(s)] for s in self._loss.streams},
            opened.targets([t for name, t in found.items() if name.startswith(LABELS)]),
        )

    def _swept(
        self, groups: Groups, sketch: Sketch | None, single: bool, *, stay: bool
    ) -> tuple[Iterator[Record], Batches]:
        """Compute rows during the sweep and sketch them at once, so that nothing of the pool stays in memory.

        Returns:
            The records, of all batches or of this rank's run of them, and all batches.
        """
        opened, layout = self._opened, self.layout
        examples = self._example_rows() if single else None

        def make(some: Batches) -> Iterator[Record]:
            batches = opened.sweeper.sweep(some)
            return row_records(opened.net, layout, self._loss, batches, sketch, examples, self._clock, self._part)

        batches = pack([self._positions[g] for g in groups], opened.task.batch_size)
        settings = {**opened.training(), "sketch": settings_of(sketch), "single": single}
        ends = runs(len(batches))
        mine = batches[ends[rank()] : ends[rank() + 1]] if stay else batches
        return opened.records("rows", mine, make, settings, alone=stay), batches

    def _example_rows(self) -> ExampleRows:
        opened = self._opened
        few = self._one_batch(self._positions[:4])
        return ExampleRows(opened.net, self.layout, self._loss, few.prepared, few.labels, opened.context.note)

    def _one_batch(self, positions: Int64) -> PreparedBatch:
        """Attack and prepare one group by itself."""
        sweeper = replace(self._opened.sweeper, num_workers=0, timeout=0)  # processes would cost more than one group
        return next(sweeper.sweep([[positions]]))

    def full_rows(self, groups: Groups) -> Full:
        """Return what computes one row in full: (m, kept members or None) → [P]."""

        def full(m: int, kept: Int64 | None) -> Tensor:
            members = groups[m] if kept is None else kept
            if self.factored is not None:
                return self.factored[0].mean_of(members)
            crafted = self._one_batch(self._positions[members])
            return group_row(self._opened.net, self.layout, self._loss, crafted.prepared, crafted.labels)[0].detach()

        return full

    def _dense(self, matrix: Tensor, groups: Groups, sketch: Sketch | None) -> DenseRows:
        examples = self.factored[0] if self.factored else None
        named: dict[str, Any] = {"names": self._positions, "where": self._part}
        return DenseRows(matrix, groups, full=self.full_rows(groups), project=sketch, examples=examples, **named)

    def misclassified(self) -> Tensor | None:
        """Return which examples are wrong on the loss's last stream, bool [n]; None without factored rows or labels."""
        if self.factored is None or self.pool.labels is None or not self._opened.task.pool_has_labels:
            return None
        labels = class_numbers(self.pool.labels, len(self._positions))
        return self._head_outputs(self.pool, self._loss.streams[-1]).argmax(1) != labels

    def misclassified_clean(self, logits: Tensor | None) -> Tensor | None:
        """Return which examples are wrong on natural inputs, bool [n]; None if nothing is cached that says so.

        Args:
            logits: the natural logits [n, C], if they are known; else those of the loss's own natural stream are used.
        """
        if self.factored is None or self.pool.labels is None:
            return None
        if logits is None:
            natural = next((s for s in self.pool.prepared if s[0] == "natural"), None)
            if natural is None:
                return None
            logits = self._head_outputs(self.pool, natural)
        return logits.argmax(1) != self.pool.labels

    def attacked_outputs(self, stream: Stream) -> Tensor:
        """Return the outputs [n, C] for an adversarial stream of the loss."""
        if isinstance(self._opened.net, HeadSplit):
            return self._head_outputs(self.pool, stream)
        # more than a head is captured and the pool was not kept: sweep it again, split into features → head
        opened = self._opened
        sweeper = replace(opened.sweeper, net=opened.head_split)

        def make(some: Batches) -> Iterator[Record]:
            return ({"attacked": batch.prepared[stream]} for batch in sweeper.sweep(some))

        settings = {**opened.training(), "stream": list(stream)}
        found = stacked(list(opened.records("attacked", opened.all_batches(), make, settings)))
        return self._head_outputs(PreparedPool({stream: found["attacked"]}, None), stream)

    def _head_outputs(self, pool: PreparedPool, stream: Stream) -> Tensor:
        net = self._opened.head_split
        with torch.no_grad():
            return net.apply(net.captured, pool.prepared[stream], stream[0])  # [n, C]
