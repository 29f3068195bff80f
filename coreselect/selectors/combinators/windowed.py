"""Run any selector window by window, in bounded memory; RCS runs so at ImageNet size (Xu et al. 2023: 100 minibatches).

The selector starts again in each window (for RCS: θ′ and the query). The remainder of the budget is carried over: after each
window ⌊k·(examples so far)/N⌋ examples are chosen, and at the end exactly k. The windows' certificates are joined
(`coreselect.selectors.combinators.joined`).
"""

import re
from dataclasses import dataclass, replace
from typing import Any

import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
from coreselect.planning.derived import of_parts
from coreselect.planning.needs import Need, Sizes
from coreselect.protocols import Selector, TaskLike
from coreselect.selectors.combinators.joined import joined
from coreselect.selectors.combinators.merge import Part, merge
from coreselect.support.seeding import generator as seeded
from coreselect.types import Selection

BATCHES = re.compile(r"([1-9]\d{0,11})x([1-9]\d{0,11})")


def windows(words: str) -> tuple[int, int | None]:
    """Read the windows of a command line.

    Args:
        words: `51200`, examples in a window, or `100x512`, batches in a window and examples in a batch.
    Returns:
        How many examples a window holds, and the group size that the batches ask for, or None.
    Raises:
        ShapeError: the words have another form, or a number is below 1.
    """
    if re.fullmatch(r"[1-9]\d{0,11}", words):
        return int(words), None
    found = BATCHES.fullmatch(words)
    if found is None:
        why = "a window is a number of examples, 51200, or batches x examples in a batch, 100x512, each at least 1"
        raise ShapeError(f"{why}, got {words!r}.")
    return int(found[1]) * int(found[2]), int(found[2])


def in_windows(selector: Selector, words: str) -> "Windowed":
    """Return the selector in the windows that `words` describe; RCS takes the batches as its groups.

    Raises:
        ShapeError: as `windows` says, or RCS has another group size.
    """
    window, batch = windows(words)
    size = getattr(selector, "group_size", None)
    if batch is not None and hasattr(selector, "group_size"):
        if size not in (None, batch):
            raise ShapeError(
                f"windows of batches of {batch} and a group size of {size} contradict each other: leave one out."
            )
        changed: Any = selector
        selector = replace(changed, group_size=batch)
    return Windowed(selector, window)


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
            return merge(snapshot, self, parts, joined([p.selection.certificate for p in parts], "windows"))
