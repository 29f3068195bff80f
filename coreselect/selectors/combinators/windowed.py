"""Run any selector window by window, in bounded memory; RCS runs so at ImageNet size (Xu et al. 2023: 100 minibatches).

The selector starts again in each window (for RCS: θ′ and the query). The remainder of the budget is carried over: after each
window ⌊k·(examples so far)/N⌋ examples are chosen, and at the end exactly k.
"""

from dataclasses import dataclass

import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
from coreselect.planning.derived import of_parts
from coreselect.planning.needs import Need, Sizes
from coreselect.protocols import Selector, TaskLike
from coreselect.selectors.combinators.merge import Part, merge
from coreselect.support.seeding import generator as seeded
from coreselect.types import Selection


@dataclass(frozen=True)
class Windowed:
    """Choose with `selector` inside shuffled windows of the pool.

    Args:
        selector: any selector; it sees one window at a time as its pool.
        window: how many examples a window holds, ≥ 1 (published: 100 minibatches).
    """

    selector: Selector
    window: int = 51200
    name = "windowed"

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ShapeError(f"a window must hold at least 1 example, got {self.window}.")

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires

    @property
    def renew(self) -> str:
        return self.selector.renew

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what the selector needs in all windows."""
        edges = [min(at, sizes.n) for at in range(0, sizes.n + self.window, self.window)]
        picks = [sizes.k * edge // sizes.n for edge in edges]
        windows = [(b - a, q - p) for a, b, p, q in zip(edges, edges[1:], picks, picks[1:], strict=False)]
        return of_parts((self.selector, sizes.of(n, k)) for n, k in windows if k)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, n = resolve(budget, snapshot.n), snapshot.n
            order = torch.randperm(n, generator=seeded(snapshot.draw_seed, "windows", round)).numpy()
            parts: list[Part] = []
            chosen = 0
            for number, at in enumerate(range(0, n, self.window)):
                members = order[at : at + self.window]
                share = k * (at + len(members)) // n - chosen
                if share:
                    inner = self.selector.select(
                        snapshot.restrict(members, number), share, generator=generator, round=round
                    )
                    parts.append(Part(members, inner))
                    chosen += share
            return merge(snapshot, self, parts)
