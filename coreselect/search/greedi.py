"""GreeDi, a named approximation of greedy in two rounds, for where one question to all rows at each pick is too many.

    round 1   the groups are dealt at random into P parts, and each part picks the whole budget from its own
    round 2   greedy picks again, from the groups that any part has picked; the best of the P + 1 answers is taken

Mirzasoleiman, Karbasi, Sarkar, Krause, *Distributed submodular maximization*, NeurIPS 2013; parts at random: Barbosa, Ene, Nguyen,
Ward, ICML 2015; functions that are weakly submodular: Khanna and others, AISTATS 2017. This file says how many parts;
`coreselect.selectors.rcs_greedi` makes the rounds.
"""

from dataclasses import dataclass

from coreselect.errors import ShapeError
from coreselect.gradients.rows import Rows
from coreselect.search.few_passes import FewPasses, FullPass


@dataclass(frozen=True)
class GreeDi:
    """Pick in parts of the groups first, and then among what the parts have picked.

    One process works on one part after the other, and holds the rows of one part at a time. Ranks that share the selection share
    the parts, so that no rank waits for another before all parts are done. The picks depend on P and the seed alone.

    Args:
        partitions: P ≥ 1, how many parts; with as many groups at most.
    Raises:
        ShapeError: P is below 1.
    """

    partitions: int = 4

    def __post_init__(self) -> None:
        if type(self.partitions) is not int or self.partitions < 1:
            raise ShapeError(f"GreeDi needs a whole number of partitions of at least 1, got {self.partitions!r}.")

    def over(self, rows: Rows, full: FullPass) -> FewPasses:
        """Return the search of one part or of the union: in itself each run is exact."""
        return FewPasses(rows, full)
