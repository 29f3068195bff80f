"""The record of a transfer: which tensors were loaded, which began anew, and which were left out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Transfer:
    """What was loaded and what was not.

    `loaded`: tensors of the new network that came from the weights. `fresh`: tensors that did not; they are those of the
    head. `left_out`: tensors of the weights that were not used: the old head, and the statistics of the other route if only
    one is kept.
    """

    loaded: tuple[str, ...]
    left_out: tuple[str, ...]
    fresh: tuple[str, ...]
