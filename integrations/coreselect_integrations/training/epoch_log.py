"""The record of one training epoch: loss, accuracy, examples and seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class EpochLog:
    """What happened in one epoch, measured while the model was changing.

    `loss` is the mean over examples, in nats. `accuracy`, in [0, 1], is the share of correct answers on the inputs that
    the updates used: attacked inputs if there is an attack. It is None without labels. `seconds` is wall-clock time,
    including data loading.
    """

    loss: float
    accuracy: float | None
    examples: int
    seconds: float

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> EpochLog:
        """Read the log from a record that a run has kept; other entries of the record are ignored."""
        return cls(**{f.name: record[f.name] for f in fields(cls)})
