"""Run any selector window by window, in bounded memory: how RCS runs at ImageNet size (Xu et al. 2023: 100 minibatches).

Everything restarts at each window (θ′ and query for RCS); the remainder of the budget is carried, so that after w windows
⌊k·(examples so far)/N⌋ are held and the whole is exactly k.
"""

from dataclasses import dataclass

import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
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

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k, n = resolve(budget, shot.n), shot.n
            order = torch.randperm(n, generator=seeded(shot.draws, "windows", round)).numpy()
            parts: list[Part] = []
            held = 0
            for number, at in enumerate(range(0, n, self.window)):
                members = order[at : at + self.window]
                share = k * (at + len(members)) // n - held
                if share:
                    inner = self.selector.select(
                        shot.restrict(members, number), share, generator=generator, round=round
                    )
                    parts.append(Part(members, inner))
                    held += share
            return merge(shot, self, parts)
