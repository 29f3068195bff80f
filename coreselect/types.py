"""The records of a selection: what greedy did, what is known about it, where it came from, and the selection itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Subset

from coreselect.data.picked import files_at, labels_at
from coreselect.errors import IndexFileError
from coreselect.io import index_file
from coreselect.support.selection_checks import check_selection, record

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

OVER_ROUNDS = (
    "weights have mean 1 over the rounds"  # key of the settings of a selection whose own weights have another mean
)


@dataclass(frozen=True, slots=True)
class Trace:
    """What greedy did: one entry for each pick, in pick order.

    Attributes:
        order: the group of each pick.
        gains: η·⟨row, query⟩ at the time of each pick; the row of a trimmed last group has the weight kept/size.
        kept: how many examples of the group each pick took.
    """

    order: tuple[int, ...]
    gains: tuple[float, ...]
    kept: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A statement about the value of a selection, always with its assumptions.

    Attributes:
        method: how the numbers were computed.
        value: by how much the selection lowers the objective, computed by `method`.
        upper_bound: the largest value that any set of the same budget can reach, computed by `method`; None if unknown.
        ratio: value / upper_bound, or None unless both are positive.
        assumptions: what the numbers assume.
        details: what else was measured, such as the excess of the model over the truth or the number of samples.
    """

    method: str
    value: float
    upper_bound: float | None
    ratio: float | None
    assumptions: tuple[str, ...]
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """The diagnostics of a selection, computed from what it has cached; None where a number does not apply.

    Attributes:
        query_pool_cosine: cosine of the query with the mean gradient of the pool, in [−1, 1].
        query_loss_cosine: cosine of the query with the gradient of the adversarial loss on validation, in [−1, 1].
        misclassified, misclassified_pool: share of misclassified picks, and of the pool's examples, in [0, 1], on the inputs
            that the loss trains on.
        misclassified_attacked: whether those inputs are attacked; None if that was not recorded.
        misclassified_clean, misclassified_clean_pool: the same shares on natural inputs, if their logits were at hand.
        effective_classes: exp(entropy of the class histogram of the picks), in [1, `classes`].
        classes: the number of classes.
        gain_loss_correlation: rank correlation of gain with loss, in [−1, 1].
        predicted_true_correlation: rank correlation of the predicted with the true decrease, in [−1, 1].
        rd_before: the objective at θ.
        rd_after_held, rd_after_recrafted: the objective after the last pick, with the attacked inputs held fixed, and with
            the inputs attacked again.
        rd_clean: RD(x, x), the gap between two normalisation routes.
    """

    query_pool_cosine: float | None = None
    query_loss_cosine: float | None = None
    misclassified: float | None = None
    misclassified_pool: float | None = None
    misclassified_attacked: bool | None = None
    misclassified_clean: float | None = None
    misclassified_clean_pool: float | None = None
    effective_classes: float | None = None
    classes: int | None = None
    gain_loss_correlation: float | None = None
    predicted_true_correlation: float | None = None
    rd_before: float | None = None
    rd_after_held: float | None = None
    rd_after_recrafted: float | None = None
    rd_clean: float | None = None

    def trouble(self) -> tuple[str, ...]:
        """Describe each problem in one sentence; empty if there is none."""
        from coreselect.trouble import trouble  # it reads this record

        return trouble(self)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a selection came from: what is needed to compute it again, or to see that this is impossible.

    Attributes:
        selector, settings: the name of the method and its settings.
        budget, pool_size: k, the number of picks, and N.
        seed, round: they decide every random draw.
        versions, seconds: the versions of Python and of the packages, and the seconds of each part. What was not computed on
            the CPU names its device, driver and precision among the versions.
        fingerprint: identifies the pool, see `coreselect.io.fingerprint`.
        validation_indices: int64, positions in the dataset that `holdout` was given, or else in the validation set; of every
            task with a validation set, whether the method read it or not.
        disjoint: how it was checked that pool and validation share no example; None if the method did not read validation.
        notes: remarks about settings that the method chose.
        task: the loss, attack, head, capture and a digest of the model's weights, if the method used a model; or the arrays.
        command: the command that made it: its name, all options, digests of the files it read; empty for a call from Python.
    """

    selector: str
    settings: Mapping[str, Any]
    budget: int
    pool_size: int
    seed: int
    round: int
    versions: Mapping[str, str]
    seconds: Mapping[str, float]
    fingerprint: str
    validation_indices: Int64 | None
    disjoint: str | None
    notes: tuple[str, ...] = ()
    task: Mapping[str, Any] = field(default_factory=dict)
    command: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """A selection: the chosen indices in pick order, and what is known about them.

    Attributes:
        indices: int64 [k], positions in the pool, unique, in pick order.
        source_indices: int64 [k], positions in the dataset that `holdout` was given; without it, equal to `indices`.
        groups: int64 [k], the group of each pick.
        gains: float64 [k], the gain of the pick's group divided by the group's size; 0 if the method has no gains.
        weights: float64 [k], factors of the per-example loss, or None.
        scores: float64 [N], the score of every candidate at θ, or None.
        nested: whether each prefix of the picks is a coreset as well.
        certificate, diagnostics, provenance: records about the selection.
        labels: int64 [k], the class of each pick, or None. `described` reads labels and files from a dataset.
        files: the k paths of the picks, from the root of the dataset, or None.
    """

    indices: Int64
    source_indices: Int64
    groups: Int64
    gains: Float64
    weights: Float64 | None
    scores: Float64 | None
    nested: bool
    certificate: Certificate | None
    diagnostics: Diagnostics | None
    provenance: Provenance
    labels: Int64 | None = None
    files: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def subset(self, dataset: Any) -> Any:
        """Return the chosen items, in pick order: `torch.utils.data.Subset(dataset, indices)`.

        A dataset of Hugging Face's library `datasets` gives `dataset.select(indices)`, which is one too.

        Args:
            dataset: of the same length and order as the pool.
        Raises:
            IndexFileError: its length is not that of the pool.
        """
        n = len(dataset)
        if n != self.provenance.pool_size:
            raise IndexFileError(
                f"this selection was made from a pool of {self.provenance.pool_size} examples, the dataset given has {n}: "
                "give the pool, or use source_indices with the dataset that holdout was given."
            )
        if any(c.__module__.split(".")[0] == "datasets" for c in type(dataset).__mro__):
            return dataset.select(self.indices.tolist())
        return Subset(dataset, self.indices.tolist())

    def described(self, dataset: Any) -> Selection:
        """Return this selection with the labels and the files of its picks, where the dataset (of `source_indices`) lists them.

        Raises:
            DataError: a pick is outside the dataset.
        """
        at = self.source_indices
        return replace(self, labels=labels_at(dataset, at), files=files_at(dataset, at))

    def save(self, path: str | Path) -> None:
        """Write an index file in the format of the ending of `path` (see `coreselect.io.index_file`)."""
        arrays = {
            "indices": self.indices,
            "source_indices": self.source_indices,
            "groups": self.groups,
            "gains": self.gains,
        }
        for name in ("weights", "scores", "labels"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        provenance = asdict(self.provenance)
        if provenance.pop("validation_indices") is not None:
            arrays["validation_indices"] = np.asarray(self.provenance.validation_indices)
        meta = {
            **({} if self.files is None else {"files": list(self.files)}),
            "nested": self.nested,
            "certificate": asdict(self.certificate) if self.certificate else None,
            "diagnostics": asdict(self.diagnostics) if self.diagnostics else None,
            "provenance": provenance,
        }
        index_file.write(path, arrays, meta)

    @classmethod
    def load(cls, path: str | Path) -> Selection:
        """Read a complete index file (`.npz` or `.json`).

        Raises:
            IndexFileError: the file is damaged, has another format, or holds only indices.
        """
        arrays, meta = index_file.read(path)
        try:
            provenance = {**meta["provenance"], "validation_indices": arrays.pop("validation_indices", None)}
            fields = {"weights": None, "scores": None, **arrays, **meta, "provenance": provenance}
            return cls.from_plain(fields)
        except (KeyError, TypeError, ValueError) as why:
            raise IndexFileError(f"{path} is damaged or edited, or an index file of another version ({why}).") from why

    @classmethod
    def from_plain(cls, fields: Mapping[str, Any]) -> Selection:
        """Make a selection from the result of `dataclasses.asdict`; lists may replace tuples.

        Raises:
            KeyError, TypeError: a field is missing or unknown, or of another type.
            ValueError: the arrays are not those of k picks of a pool of N examples.
        """
        fields = dict(fields)
        if "signs" in fields:  # files of version 0.1 use this name for the diagnostics
            fields["diagnostics"] = fields.pop("signs")
        made = record(Provenance, fields["provenance"])
        check_selection(fields, made)
        certificate, diagnostics, files = fields["certificate"], fields["diagnostics"], fields.get("files")
        fields["certificate"] = None if certificate is None else record(Certificate, certificate)
        fields["diagnostics"] = None if diagnostics is None else record(Diagnostics, diagnostics)
        return cls(**{**fields, "files": None if files is None else tuple(files), "provenance": made})
