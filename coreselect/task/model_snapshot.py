"""The snapshot of a task with a model: features, rows, attacked inputs and objectives, each computed when first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from coreselect.data.labels import why_unlabelled
from coreselect.errors import RequirementError
from coreselect.gradients import store
from coreselect.gradients.rows import Full, Groups, Rows
from coreselect.gradients.sketch import Sketch
from coreselect.losses import CE
from coreselect.losses.natural import is_natural
from coreselect.network.layout import Layout
from coreselect.network.network import Network
from coreselect.network.placing import memory_format
from coreselect.objectives.following import as_used
from coreselect.objectives.objective import Objective
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.protocols import Loss
from coreselect.support.ranks import Work
from coreselect.support.records import digest_of, settings_of
from coreselect.task.context import Context, missing
from coreselect.task.model_objective import loss_gradient, open_objective
from coreselect.task.model_rows import ModelRows
from coreselect.task.natural import natural_losses, natural_outputs
from coreselect.task.open_model import Measure, OpenModel, numbered
from coreselect.task.recipe import ModelRecipe
from coreselect.task.snapshot import Snapshot
from coreselect.task.targets import why_no_classes
from coreselect.types import Int64

NAMED = 20  # how many captured parameters a record names


class ModelSnapshot(Snapshot):
    """What one selection computes of a model, its pool and its validation inputs."""

    def __init__(self, task: ModelRecipe, model: nn.Module, context: Context, positions: Int64) -> None:
        super().__init__(context, positions)
        self.task, self.model, self.pool_history = task, model, task.history
        self.opened = OpenModel(task, model, context, positions)
        self.model_rows = ModelRows(self.opened)
        self.device, self.dtype = self.opened.device, self.opened.dtype
        self.batch_loss = not task.loss.per_example
        self.stratified_by_labels = task.loss.needs_labels and why_no_classes(task.pool_targets) is None
        self.attacks_training = task.loss.streams[-1][0] == "adversarial"

    @property
    def provides(self) -> frozenset[str]:
        return self.task.provides

    def _restricted_to(self, positions: Int64) -> ModelSnapshot:
        return ModelSnapshot(self.task, self.model, self.context, positions)

    @property
    def net(self) -> Network:
        """The model, split as the task's capture asks."""
        return self.opened.net

    @property
    def needs_sketch(self) -> bool:  # type: ignore[override]  # known once the model is probed
        return not self.net.caches

    def layout(self) -> Layout:
        return self.model_rows.layout

    def theta(self) -> Tensor:
        return self.layout().flatten(self.net.captured)

    def labels(self) -> Int64:
        labels = self.task.pool_labels()
        if labels is None:
            why = why_no_classes(self.task.pool_targets)
            if why:
                raise RequirementError(f"classes are needed, and {why}: give items that are (x, class number).")
            raise missing(
                f"labels{why_unlabelled(self.task.pool)}",
                "give a pool whose items are (x, y), or a selector that needs none",
            )
        return labels[self.positions]

    def features(self) -> Tensor:
        return self._natural[0]

    def logits(self) -> Tensor:
        return self._natural[1]

    @cached_property
    def _natural(self) -> tuple[Tensor, Tensor]:
        with self.clock("features"):
            return natural_outputs(self.opened)

    def rows(
        self, groups: Groups, sketch: Sketch | None = None, *, spread: bool | None = False
    ) -> tuple[Rows, Tensor | None]:
        return self.model_rows.of(groups, sketch, spread)

    def full_rows(self, groups: Groups) -> Full:
        return self.model_rows.full_rows(groups)

    def by_itself(self) -> tuple[Work | None, ModelSnapshot]:
        work = self.task.work
        if work is None:
            return None, self
        self.model_rows.ready()  # by all ranks together
        inner = ModelSnapshot(
            replace(self.task, work=None),
            self.model,
            replace(self.context, parts=self.context.own_parts),
            self.positions,
        )
        inner.draw_seed, inner.model_rows = self.draw_seed, self.model_rows.of_one_rank(inner.opened)
        return work, inner

    def sketch_for(self, groups: Groups) -> tuple[Sketch | None, str | None]:
        if self.needs_sketch or self.model_rows.kept_as_factors(groups):
            return super().sketch_for(groups)
        theta = self.theta()
        size = len(groups) * len(theta) * theta.element_size()
        if size <= store.FULL:
            return None, None
        sketch = Sketch()
        return sketch, (
            f"{len(groups)} rows of {len(theta)} numbers would take {size / 2**30:.3g} GiB in full, more than the limit of "
            f"{store.FULL / 2**30:.3g} GiB ({store.FULL} bytes), so they are sketched to {sketch.width} numbers each: choose "
            "another width by sketch=, or choose window by window, or in larger groups, for full rows"
        )

    def objective(self, spec: Objective) -> ValidationObjective:
        return self.context.cached(("objective", spec), lambda: open_objective(self.opened, spec))

    def record(self, *, of_rows: bool) -> dict[str, Any]:
        if not of_rows:
            return {}
        task = self.task
        described = {"loss": task.loss, "attack": task.attack, "head": task.head, "capture": task.capture}
        if task.attack_at is not None:
            described["attack_at"] = task.attack_at
        names = list(self.net.captured)
        shown = names if len(names) <= NAMED else [*names[:NAMED], f"and {len(names) - NAMED} more"]
        ran = {"memory_format": memory_format(self.model), **self.opened.form}
        return {**settings_of(described), "captured": shown, "weights": digest_of(self.model.state_dict()), **ran}

    def as_used(self, selector: Any) -> Any:
        return as_used(selector, self.task.attack, inside=self.task.attack_at is not None)

    def misclassified(self) -> Tensor | None:
        return self.model_rows.misclassified()

    def misclassified_clean(self) -> Tensor | None:
        cached: tuple[Tensor, Tensor] | None = vars(self).get(
            "_natural"
        )  # a score that shares this snapshot has read them
        return self.model_rows.misclassified_clean(None if cached is None else cached[1])

    def attacked_logits(self) -> Tensor:
        streams = [s for s in self.task.loss.streams if s[0] == "adversarial"]
        if not streams or self.batch_loss:
            return super().attacked_logits()
        return self.model_rows.attacked_outputs(streams[0])

    def natural_losses(self) -> Tensor | None:
        if type(self.task.loss) is CE or not is_natural(self.task.loss):
            return None
        with self.clock("features"):
            return natural_losses(self.opened)

    def inputs(self) -> Iterator[tuple[Int64, Tensor, Tensor | None]]:
        return numbered(self.opened.inputs())

    def measured(self, kind: str, settings: Mapping[str, Any], measure: Measure, *, part: str) -> dict[str, Tensor]:
        return self.opened.measured(kind, settings, measure, part=part)

    def outputs(self, x: Tensor) -> Tensor:
        return self.net.call(self.model, x, "natural")

    def with_loss(self, loss: Loss) -> ModelSnapshot:
        if loss.needs_labels and not self.task.loss.needs_labels:
            raise missing(
                "classifier", "its network is trained without labels; give a supervised loss, such as loss='sat'"
            )
        kept = {key: self.context.cache[key] for key in ("net", "factors hold", "probe") if key in self.context.cache}
        task = replace(self.task, loss=loss, attack=loss.default_attack)
        inner = ModelSnapshot(task, self.model, replace(self.context, cache=kept), self.positions)
        inner.draw_seed = self.draw_seed
        return inner

    def loss_gradient(self, held: ValidationObjective) -> Tensor | None:
        loss = self.task.loss
        if not (self.net.caches and loss.per_example and loss.views == 1):
            return None
        return loss_gradient(loss, self.opened, self.layout(), self.theta(), held)
