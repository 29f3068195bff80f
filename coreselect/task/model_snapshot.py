"""The snapshot of a task with a model: features, rows, attacked inputs and the objective, each computed when first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coreselect.data.labels import why_unlabelled
from coreselect.data.reading import chunks, read
from coreselect.errors import RequirementError
from coreselect.gradients.batch import group_row
from coreselect.gradients.factor_check import factors_are_exact
from coreselect.gradients.factored import FactoredRows
from coreselect.gradients.factors import factors
from coreselect.gradients.inputs import out_of_range, refuse_inputs, refuse_labels, to_model
from coreselect.gradients.loss_value import loss_value
from coreselect.gradients.row_matrix import row_matrix
from coreselect.gradients.rows import DenseRows, Groups, Rows, are_single_examples
from coreselect.gradients.sketch import Sketch
from coreselect.gradients.store import allocate
from coreselect.gradients.sweep import Batches, PreparedBatch, Sweeper, pack
from coreselect.network.layout import Layout
from coreselect.network.network import ROUTES, HeadSplit, Network
from coreselect.network.split import split
from coreselect.objectives.objective import Objective
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.protocols import Loss, Stream
from coreselect.support import seeding
from coreselect.support.records import digest_of, settings_of
from coreselect.task.recipe import ModelRecipe
from coreselect.task.snapshot import Shared, Snapshot, mean_rows, none_such
from coreselect.task.validation import Validation, read_validation
from coreselect.types import Int64


@dataclass(frozen=True)
class Pool:
    """What a per-example loss leaves of the pool when only a head moves: prepared streams [n, …] and labels [n]."""

    prepared: dict[Stream, Tensor]
    labels: Tensor | None


class ModelSnapshot(Snapshot):
    """One selection's view of a model, its pool and its validation inputs."""

    def __init__(self, task: ModelRecipe, model: nn.Module, shared: Shared, positions: Int64) -> None:
        super().__init__(shared, positions)
        self.task, self.model, self.recorded = task, model, task.history
        first = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
        self.device = task.device or first.device
        self.dtype = first.dtype
        self.batch_loss = not task.loss.per_example
        self.stratified_by_labels = task.loss.needs_labels
        self._own: dict[str, Any] = {}  # of these positions alone

    @property
    def provides(self) -> frozenset[str]:
        return self.task.provides

    def _over(self, positions: Int64) -> ModelSnapshot:
        return ModelSnapshot(self.task, self.model, self.shared, positions)

    @property
    def net(self) -> Network:
        """The model split as the capture asks, probed once."""
        return self._shared(
            "net",
            lambda: split(self.model, self.task.call, self._probe(), head=self.task.head, capture=self.task.capture),
        )

    @property
    def needs_sketch(self) -> bool:  # type: ignore[override]  # known once the model is probed
        return not self.net.caches

    def layout(self) -> Layout:
        return Layout.of(self.net.captured)

    def theta(self) -> Tensor:
        return self.layout().flatten(self.net.captured)

    def labels(self) -> Int64:
        labels = self.task.pool_labels()
        if labels is None:
            raise none_such(
                f"labels{why_unlabelled(self.task.pool)}",
                "give a pool whose items are (x, y), or a selector that needs none",
            )
        return labels[self.positions]

    def features(self) -> Tensor:
        return self._natural()[0]

    def logits(self) -> Tensor:
        return self._natural()[1]

    def _natural(self) -> tuple[Tensor, Tensor]:
        """Natural features [n, D] and logits [n, C] of this snapshot's examples."""

        def compute() -> tuple[Tensor, Tensor]:
            net = (
                self.net
                if isinstance(self.net, HeadSplit)
                else split(self.model, self.task.call, self._probe(), head=self.task.head)
            )
            features, logits = [], []
            for positions, x, _ in self._read(chunks(self.positions, self.task.batch_size)):
                x = to_model(x, self.device, self.dtype)
                refuse_inputs(positions, x)
                with torch.no_grad():
                    z = net.prepare(x, "natural")
                    features.append(z.flatten(1))
                    logits.append(net.apply(net.captured, z, "natural"))
            return torch.cat(features), torch.cat(logits)

        if "natural" not in self._own:
            with self.clock("features"):
                self._own["natural"] = compute()
        return self._own["natural"]

    def rows(self, groups: Groups, sketch: Sketch | None = None) -> tuple[Rows, Tensor | None]:
        single = all(len(g) == 1 for g in groups)
        if single and self.batch_loss and self.n > 1:
            raise RequirementError(
                f"the loss {self.task.loss.name!r} is of a batch, so single examples have no rows: use rcs with groups='batch'."
            )
        factored = self._factored()
        if factored is not None:
            rows, losses = factored
            if sketch is None and are_single_examples(groups, self.n):
                return rows, losses
            with self.clock("rows"):
                matrix = allocate(len(groups), sketch.width if sketch else self.layout().size, like=losses)
                for m, group in enumerate(groups):
                    row = rows.mean_of(group)
                    matrix[m] = sketch(row) if sketch else row
                return self._dense(matrix, groups, sketch), mean_rows(losses, groups)
        return self._swept(groups, sketch, single)

    def _factored(self) -> tuple[FactoredRows, Tensor] | None:
        """Factored rows and losses of every example here, where the loss and the capture allow it."""
        net = self.net
        if (
            self.batch_loss
            or not isinstance(net, HeadSplit)
            or not self._shared("factors hold", lambda: self._holds(net))
        ):
            return None
        if "factored" not in self._own:
            pool = self._pool()
            with self.clock("rows"):
                parts, losses = factors(net, self.task.loss, pool.prepared, pool.labels)
                rows = FactoredRows(parts, self.layout())
                rows.refuse(self.positions)
                self._own["factored"] = rows, losses
        return self._own["factored"]

    def _holds(self, net: HeadSplit) -> bool:
        """Whether the head's rows are its Linears' factors, tried on a few inputs on every route."""
        with torch.no_grad():
            return factors_are_exact(net, {(route, 0): net.prepare(self._probe(), route) for route in ROUTES})

    def _pool(self) -> Pool:
        """Sweep this snapshot's examples once and keep what the head will need."""
        if "pool" not in self._own:
            parts = list(self._crafted([[c] for c in chunks(self.positions, self.task.batch_size)]))
            labels = [p.labels for p in parts if p.labels is not None]
            self._own["pool"] = Pool(
                {s: torch.cat([p.prepared[s] for p in parts]) for s in parts[0].prepared},
                torch.cat(labels) if labels else None,
            )
        return self._own["pool"]

    def _swept(self, groups: Groups, sketch: Sketch | None, single: bool) -> tuple[Rows, Tensor]:
        """Rows as the sweep goes, sketched as they are produced, nothing of the pool kept."""
        batches = pack([self.positions[g] for g in groups], self.task.batch_size)
        matrix, losses = row_matrix(
            self.net, self.layout(), self.task.loss, self._crafted(batches), len(groups), sketch, single, self.clock
        )
        return self._dense(matrix, groups, sketch), losses

    def _crafted(self, batches: Batches) -> Iterator[PreparedBatch]:
        """Sweep, reporting progress from 0."""
        done, total = 0, sum(len(group) for batch in batches for group in batch)
        self.shared.progress("sweep", done, total)
        for crafted in self._sweeper().sweep(batches):
            yield crafted
            done += len(crafted.positions)
            self.shared.progress("sweep", done, total)

    def _dense(self, matrix: Tensor, groups: Groups, sketch: Sketch | None) -> DenseRows:
        def full(m: int, kept: Int64 | None) -> Tensor:
            members = groups[m] if kept is None else kept
            factored = self._factored()
            if factored is not None:
                return factored[0].mean_of(members)
            one = replace(self._sweeper(), num_workers=0, timeout=0)  # processes would cost more than one group
            crafted = next(one.sweep([[self.positions[members]]]))
            return group_row(self.net, self.layout(), self.task.loss, crafted.prepared, crafted.labels)[0].detach()

        factored = self._own.get("factored")
        return DenseRows(
            matrix, groups, full=full, project=sketch, names=self.positions, examples=factored[0] if factored else None
        )

    def objective(self, spec: Objective) -> ValidationObjective:
        def open_() -> ValidationObjective:
            x, labels = self._validation().inputs, self._validation().labels
            if spec.needs_labels and labels is not None:
                refuse_labels(np.arange(len(x)), labels, self.net.outputs, "validation")
            return ValidationObjective(
                spec,
                self.net,
                self.layout(),
                x,
                labels,
                lambda crafted, part: seeding.noise(
                    x[part],
                    seeding.seeds(self.seed, "validation attack", self.round, crafted, indices=part.cpu().numpy()),
                ),
                batch=self.task.batch_size,
                clock=self.clock,
            )

        return self._shared(("objective", spec), open_)

    def record(self) -> dict[str, Any]:
        task = self.task
        described = {"loss": task.loss, "attack": task.attack, "head": task.head, "capture": task.capture}
        return {**settings_of(described), "weights": digest_of(self.model.state_dict())}

    def misclassified(self) -> Tensor | None:
        factored = self._factored()
        if factored is None:
            return None
        pool = self._pool()
        if pool.labels is None:
            return None
        stream = self.task.loss.streams[-1]
        with torch.no_grad():
            outputs = self.net.apply(self.net.captured, pool.prepared[stream], stream[0])  # [n, C]
        return outputs.argmax(1) != pool.labels

    def attacked_logits(self) -> Tensor:
        streams = [s for s in self.task.loss.streams if s[0] == "adversarial"]
        if not streams or self.batch_loss:
            return super().attacked_logits()
        if isinstance(self.net, HeadSplit):
            net, prepared = self.net, self._pool().prepared
        else:  # rows capture more than a head and nothing of the pool is kept: sweep it through features → head
            net = split(self.model, self.task.call, self._probe(), head=self.task.head)
            sweep = replace(self._sweeper(), net=net).sweep([[c] for c in chunks(self.positions, self.task.batch_size)])
            prepared = {streams[0]: torch.cat([part.prepared[streams[0]] for part in sweep])}
        with torch.no_grad():
            return net.apply(net.captured, prepared[streams[0]], "adversarial")  # [n, C]

    def inputs(self) -> Iterator[tuple[Int64, Tensor, Tensor | None]]:
        done = 0
        for positions, x, labels in self._read(chunks(self.positions, self.task.batch_size)):
            x = to_model(x, self.device, self.dtype)
            refuse_inputs(positions, x)
            yield np.arange(done, done + len(x)), x, None if labels is None else labels.to(self.device)
            done += len(x)

    def outputs(self, x: Tensor) -> Tensor:
        return self.task.call(self.model, x, "natural")

    def under(self, loss: Loss) -> ModelSnapshot:
        kept = {key: self.shared.cache[key] for key in ("net", "factors hold") if key in self.shared.cache}
        if loss.needs_labels and not self.task.loss.needs_labels:
            raise none_such(
                "classifier", "its network is trained without labels; give a supervised loss, such as loss='sat'"
            )
        other = replace(self.task, loss=loss, attack=loss.default_attack)
        inner = ModelSnapshot(other, self.model, replace(self.shared, cache=kept), self.positions)
        inner.draws = self.draws
        return inner

    def loss_gradient(self, held: ValidationObjective) -> Tensor | None:
        loss = self.task.loss
        if not (self.net.caches and loss.per_example and loss.views == 1) or (
            loss.needs_labels and held.labels is None
        ):
            return None
        known = held.labels
        if known is not None and bool(out_of_range(known, self.net.outputs).any()):
            return None  # validation's labels are of something else
        theta = self.theta().requires_grad_()
        with torch.enable_grad():
            adversarial, natural = held.outputs(
                self.layout().unflatten(theta), torch.arange(held.size, device=theta.device)
            )
            outputs: dict[Stream, Tensor] = {("adversarial", 0): adversarial, ("natural", 0): natural}
            value = loss_value(loss, outputs, held.labels).mean()
        return torch.autograd.grad(value, theta)[0]

    def _sweeper(self) -> Sweeper:
        task = self.task
        return self._shared(
            "sweeper",
            lambda: Sweeper(
                self.model, task.call, self.net, task.pool, task.loss, task.attack, task.views, task.unpack, self.seed,
                self.round, task.num_workers, self.device, self.dtype, self.clock, self._foreign(), task.timeout,
            ),
        )  # fmt: skip

    def _foreign(self) -> frozenset[bytes]:
        """Digests of validation inputs, where indices could not prove that none is in the pool."""
        return self._validation().digests if self.shared.disjoint == "hashed" else frozenset()

    def _validation(self) -> Validation:
        hashed = self.shared.disjoint == "hashed"
        with self.clock("read"):
            return self._shared(
                "validation", lambda: read_validation(self.task, self.seed, self.device, self.dtype, hashed=hashed)
            )

    def _probe(self) -> Tensor:
        """A few pool inputs [b, …] to probe the model with."""
        positions, x, _ = next(self._read([self.positions[:4]]))
        x = to_model(x, self.device, self.dtype)
        refuse_inputs(positions, x)
        return x

    def _read(self, batches: list[Int64]) -> Any:
        return read(
            self.task.pool,
            batches,
            seed=self.seed,
            path=("pool", self.round),
            unpack=self.task.unpack,
            num_workers=self.task.num_workers,
            timeout=self.task.timeout,
        )

    def _shared(self, key: Any, compute: Any) -> Any:
        if key not in self.shared.cache:
            self.shared.cache[key] = compute()
        return self.shared.cache[key]
