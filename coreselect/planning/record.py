"""The record of a plan: passes of the model, memory, and seconds from a timed first batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

OWN = "the method's own work"  # its part of seconds and bytes


@dataclass(frozen=True)
class Pass:
    """Passes of the model over some examples.

    Attributes:
        part: what they are for: `features`, `sweep`, `validation`, or `own` for those that a method makes by itself.
        examples: how many examples are read.
        forward: forward passes in all, of one example each, without those of attacks.
        steps: attack steps in all, each one forward and one backward pass of one example.
        backward: backward passes in all, without those of attacks.
        at_most: whether these are upper bounds.
        seconds: an estimate, or None where nothing was timed.
    """

    part: str
    examples: int
    forward: int
    steps: int = 0
    backward: int = 0
    at_most: bool = False
    seconds: float | None = None


@dataclass(frozen=True)
class Plan:
    """What a selection will cost: known before it takes memory or time.

    Passes and bytes follow from sizes. Seconds are an estimate: the first batch is timed, and its time for each example multiplied.

    Attributes:
        selector: the name of the method.
        pool_size, budget: N and k.
        passes: passes of the model, in order; empty for arrays, and for methods that read no model.
        row_passes: how often the method goes over its rows or features afterwards; None where it does not say.
        products, read: multiply-adds of the method's own work on features or rows, and bytes that it reads in passes over them, at
            most; 0 where it does not say.
        bytes: memory by what is in it. It is what is known to be kept, not the peak of the process.
        seconds: by part, or None without timing. Parts that were not timed are left out.
        timed: how many examples were timed.
        device: of the timed batch, or None.
        notes: what the plan does not know.
    """

    selector: str
    pool_size: int
    budget: int
    passes: tuple[Pass, ...] = ()
    row_passes: int | None = None
    products: float = 0.0
    read: float = 0.0
    bytes: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] | None = None
    timed: int = 0
    device: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def forward_passes(self) -> int:
        """Forward passes of single examples in all, those of attack steps included."""
        return sum(p.forward + p.steps for p in self.passes)

    @property
    def attack_steps(self) -> int:
        """Attack steps of single examples in all."""
        return sum(p.steps for p in self.passes)

    @property
    def at_most(self) -> bool:
        """Whether the numbers of passes are upper bounds."""
        return any(p.at_most for p in self.passes)

    @property
    def total_bytes(self) -> int:
        """All bytes that are known."""
        return sum(self.bytes.values())

    @property
    def total_seconds(self) -> float | None:
        """All estimated seconds, or None without timing."""
        return None if self.seconds is None else sum(self.seconds.values())
