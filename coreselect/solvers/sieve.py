"""Sieve-streaming: one pass over a stream, a monotone submodular f, at least (1/2 − ε) of the best.

    m = max f({e}) so far;    sieves v ∈ {(1 + ε)^i : m ≤ (1 + ε)^i ≤ 2·k·m}
    sieve v takes e if f(S_v ∪ {e}) − f(S_v) ≥ (v/2 − f(S_v)) / (k − |S_v|) and |S_v| < k;    the answer is the best S_v

Here f(S) = Σ_{i∈V} max_{j∈S} s_ij for a fixed reference V. A sieve stores its picks and max_{j∈S} s_ij for each i, so the
memory is O(log(2k)/ε · (|V| + k)), whatever the length of the stream.

Badanidiyuru, Mirzasoleiman, Karbasi, Krause, "Streaming submodular maximization: massive data summarization on the fly",
KDD 2014, Algorithm 2.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from coreselect.types import Float64


@dataclass(eq=False)
class Sieve:
    """The picks of one threshold v.

    Attributes:
        v: the guess at the best f.
        reached: max_{j∈S} s_ij [V].
        picks: number → key of the examples, in stream order.
        value: f(S).
    """

    v: float
    reached: Float64
    picks: dict[int, Any] = field(default_factory=dict)
    value: float = 0.0


class SieveStreaming:
    """f of k examples of a stream that is seen once.

    Args:
        size: |V| ≥ 1.
        k: ≥ 1, the most that a sieve takes.
        epsilon: ε in (0, 1/2).
    """

    def __init__(self, size: int, k: int, epsilon: float) -> None:
        self._size, self._k, self._epsilon = size, k, epsilon
        self._largest = 0.0  # m
        self._sieves: dict[int, Sieve] = {}  # i → the sieve of (1 + ε)^i

    def see(self, number: int, key: Any, similarities: Float64) -> None:
        """Show the next example of the stream.

        Args:
            number: its number in the stream.
            key: what is kept of it if it is picked.
            similarities: s_ie ≥ 0 of the reference to it [V].
        """
        alone = float(similarities.sum())
        if alone > self._largest:
            self._largest = alone
            self._renew()
        for sieve in self._sieves.values():
            left, short = self._k - len(sieve.picks), sieve.v / 2 - sieve.value
            if left and alone * left >= short:  # no gain is above f({e})
                gain = float(np.maximum(similarities - sieve.reached, 0.0).sum())
                if gain > 0 and gain * left >= short:
                    np.maximum(sieve.reached, similarities, out=sieve.reached)
                    sieve.picks[number] = key
                    sieve.value += gain

    def best(self) -> Sieve:
        """Return the sieve of largest f, of equal ones that of the smallest v."""
        empty = Sieve(0.0, np.zeros(self._size))
        return max([empty, *(self._sieves[i] for i in sorted(self._sieves))], key=lambda sieve: sieve.value)

    @property
    def upper(self) -> float:
        """No k examples of the stream so far have f above this: k times the largest f of one."""
        return self._k * self._largest

    def _renew(self) -> None:
        """Keep the sieves between m and 2·k·m, and open those that are missing."""
        base = math.log1p(self._epsilon)
        first = math.ceil(math.log(self._largest) / base - 1e-9)
        last = math.floor(math.log(2 * self._k * self._largest) / base + 1e-9)
        self._sieves = {
            i: self._sieves.get(i) or Sieve(math.exp(base * i), np.zeros(self._size)) for i in range(first, last + 1)
        }
