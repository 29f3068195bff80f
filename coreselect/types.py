"""The records that travel: what greedy did, what is known about it, where it came from, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Subset

from coreselect.errors import IndexFileError
from coreselect.io import index_file

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trace:
    """What greedy did: one entry a pick, in pick order.

    `gains[t]` = η·⟨row, query⟩ at the moment of pick t, of the row as stepped (the trimmed last group carries
    its weight kept/size); `kept[t]` is how many of the group's examples the pick took.
    """

    order: tuple[int, ...]
    gains: tuple[float, ...]
    kept: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A statement about a selection's value; a number never travels without what it assumes.

    `value` is the selection's decrease of the objective as `method` counts it, `upper_bound` the most any set of the
    same budget could reach by the same count, `ratio` = value / upper_bound, None unless both are positive.
    `details` holds what else was measured (excess of the model over the truth, number of samples, …).
    """

    method: str
    value: float
    upper_bound: float | None
    ratio: float | None
    assumptions: tuple[str, ...]
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """Diagnostics of trouble, from what a selection has cached anyway; None where one does not apply.

    Cosines lie in [−1, 1], shares in [0, 1]; `effective_classes` = exp(entropy of the picks' class histogram), of
    `classes`. `rd_before`, `rd_after_held` and `rd_after_recrafted` are the objective at θ, and after the final pick with the
    attacked inputs held and re-crafted; `rd_clean` is RD(x, x), the gap between two normalisation routes.
    """

    query_pool_cosine: float | None = None
    query_loss_cosine: float | None = None
    misclassified: float | None = None
    misclassified_pool: float | None = None
    effective_classes: float | None = None
    classes: int | None = None
    gain_loss_correlation: float | None = None
    predicted_true_correlation: float | None = None
    rd_before: float | None = None
    rd_after_held: float | None = None
    rd_after_recrafted: float | None = None
    rd_clean: float | None = None

    def trouble(self) -> tuple[str, ...]:
        """Say in words what looks bad; empty when nothing does."""
        out: list[str] = []
        if self.query_pool_cosine is not None and self.query_pool_cosine < 0:
            out.append(
                f"the objective's gradient opposes the pool's mean gradient (cosine {self.query_pool_cosine:+.2f}): "
                "lowering the objective raises the training loss"
            )
        if self.query_loss_cosine is not None and self.query_loss_cosine < 0:
            out.append(
                f"the objective's gradient opposes the adversarial loss on validation (cosine {self.query_loss_cosine:+.2f})"
            )
        if self.misclassified is not None and self.misclassified_pool is not None:
            worse = self.misclassified - self.misclassified_pool
            if self.misclassified > 0.9 or worse > 0.15:
                out.append(
                    f"{self.misclassified:.0%} of the picks are misclassified (pool: {self.misclassified_pool:.0%})"
                )
        if self.effective_classes is not None and self.classes and self.effective_classes < 0.7 * self.classes:
            out.append(f"the picks cover {self.effective_classes:.1f} effective classes of {self.classes}")
        if self.gain_loss_correlation is not None and self.gain_loss_correlation > 0.5:
            out.append(f"gain mostly ranks by loss (rank correlation {self.gain_loss_correlation:.2f})")
        if self.rd_before and self.rd_after_recrafted is not None and self.rd_after_recrafted > self.rd_before:
            out.append(
                f"with attacks re-crafted the objective rises ({self.rd_before:.4g} → {self.rd_after_recrafted:.4g}): "
                "a smaller eta, or recraft, is needed"
            )
        return tuple(out)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a selection came from: enough to make it again, or to see that it cannot be.

    `budget` is the k that was met, `pool_size` N; `seconds` by part; `fingerprint` identifies the pool
    (`coreselect.io.fingerprint`); `validation_indices` are positions in the dataset that `holdout` was given (in the
    validation set itself where there was no such dataset); `disjoint` says how pool and validation were told apart;
    `task` is the loss, attack, head, capture and a digest of the model's weights, where the method used a model.
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


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The answer: indices in pick order, with everything a later reader would have to recompute.

    Attributes:
        indices: int64 [k], positions in the pool, unique, pick order.
        source_indices: int64 [k], the same in the dataset that `holdout` was given (else equal to `indices`).
        groups: int64 [k], the group each pick came with.
        gains: float64 [k], the gain of its group / the group's size (0 where the method has no gains).
        weights: float64 [k] that multiply the per-example loss, or None.
        scores: float64 [N] of every candidate at θ, or None.
        nested: whether prefixes are coresets themselves.
        certificate, diagnostics, provenance: what is known about it.
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

    def __len__(self) -> int:
        return len(self.indices)

    def subset(self, dataset: Dataset[Any]) -> Subset[Any]:
        """Return `torch.utils.data.Subset(dataset, indices)`; `dataset` has the pool's length and order.

        Raises:
            IndexFileError: its length is not the pool's.
        """
        n = len(dataset)  # type: ignore[arg-type]  # map-style datasets have a length
        if n != self.provenance.pool_size:
            raise IndexFileError(
                f"this selection was made from a pool of {self.provenance.pool_size} examples, the dataset given has {n}: "
                "give the pool, or use source_indices with the dataset that was held out from."
            )
        return Subset(dataset, self.indices.tolist())

    def save(self, path: str | Path) -> None:
        """Write an index file; the ending chooses the format (`coreselect.io.index_file`)."""
        arrays = {
            "indices": self.indices,
            "source_indices": self.source_indices,
            "groups": self.groups,
            "gains": self.gains,
        }
        for name in ("weights", "scores"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        provenance = asdict(self.provenance)
        if provenance.pop("validation_indices") is not None:
            arrays["validation_indices"] = np.asarray(self.provenance.validation_indices)
        meta = {
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
            IndexFileError: the file is damaged, of another kind, or holds indices alone.
        """
        arrays, meta = index_file.read(path)
        try:
            provenance = {**meta["provenance"], "validation_indices": arrays.pop("validation_indices", None)}
            fields = {"weights": None, "scores": None, **arrays, **meta, "provenance": provenance}
            return cls.from_plain(fields)
        except (KeyError, TypeError) as why:
            raise IndexFileError(f"{path} is an index file of another version or a damaged one ({why}).") from why

    @classmethod
    def from_plain(cls, fields: Mapping[str, Any]) -> Selection:
        """Make a selection of what `dataclasses.asdict` made of one; lists may stand for tuples.

        Raises:
            KeyError, TypeError: a field is missing or unknown.
        """
        fields = dict(fields)
        if "signs" in fields:  # the name of the diagnostics in files of version 0.1
            fields["diagnostics"] = fields.pop("signs")
        certificate, diagnostics, provenance = fields["certificate"], fields["diagnostics"], fields["provenance"]
        return cls(
            **{
                **fields,
                "certificate": certificate
                and Certificate(**{**certificate, "assumptions": tuple(certificate["assumptions"])}),
                "diagnostics": diagnostics and Diagnostics(**diagnostics),
                "provenance": Provenance(**{**provenance, "notes": tuple(provenance["notes"])}),
            }
        )
