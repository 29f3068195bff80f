"""The approximate searches pick what they say, and report what full passes show."""

from typing import Any

import cases
import numpy as np
import pytest
import torch
from torch import Tensor

from coreselect import certify, select
from coreselect.errors import RequirementError, ShapeError, UnknownNameError
from coreselect.gradients.rows import DenseRows
from coreselect.search import Blocks, Candidates, ExactSearch, GreeDi, search, search_kind
from coreselect.solvers.greedy import greedy


class Turning:
    """A query that turns by a fixed angle at every pick, whatever θ′ is."""

    def __init__(self, angle: float) -> None:
        self.angle, self.asked = angle, 0

    def query(self, theta: Tensor) -> Tensor:
        """θ′ [2] → [2]."""
        turned = torch.tensor(self.angle * self.asked, dtype=torch.float64)
        self.asked += 1
        return torch.stack([turned.cos(), turned.sin()]).float()

    def recraft(self, theta: Tensor) -> None: ...


def circle(m: int = 400) -> DenseRows:
    """Rows of length 1 in m directions of the plane."""
    angle = torch.arange(m) * 2 * torch.pi / m
    return DenseRows(torch.stack([angle.cos(), angle.sin()], 1), [np.array([i]) for i in range(m)])


def picks(which: Any, angle: float, budget: int = 40, refresh: int = 1) -> tuple[tuple[int, ...], Any]:
    """Return the order of a run over the circle, and its search."""
    rows = circle()
    made = ExactSearch(rows) if which is None else search(which, rows)
    settings: dict[str, Any] = {"theta": torch.zeros(2), "eta": 0.01, "budget": budget, "refresh": refresh}
    return greedy(rows, Turning(angle), made, **settings)[0].order, made


def test_enough_candidates_are_exact_and_too_few_lose_what_is_said() -> None:
    """100 of 400 candidates hold every best row of 10 small turns; 5 do not, and the passes between show it."""
    exact, _ = picks(None, 0.01)
    order, made = picks(Candidates(100, 10), 0.01)
    assert order == exact
    assert (made.passes, made.loss.compared, made.loss.missed, made.loss.largest) == (4, 3, 0, 0.0)
    order, made = picks(Candidates(15, 10), 0.2)
    assert order != exact
    assert made.passes == 4
    assert made.loss.missed == made.loss.compared == 3
    # just before the next pass the query has turned by 2 rad, away from 15 candidates that lie within 0.13 rad of it
    assert 0.9 < made.loss.largest < 1.6
    assert "15 candidates, a pass every 10 picks" in made.notes()[0]
    assert "at 3 of 3 of them another row was better" in made.notes()[0]


def test_a_pass_comes_early_when_all_candidates_are_picked() -> None:
    """With 5 candidates and a pass every 100 picks, 40 picks take 8 passes; nothing is compared with no candidate."""
    _, made = picks(Candidates(5, 100), 0.01)
    assert made.passes == 8
    assert made.loss.compared == 0
    assert "the loss is not known" in made.notes()[0]


def test_blocks_pick_as_a_query_that_is_renewed_once_a_block() -> None:
    """`Blocks(8)` picks the b best of one query, as `refresh=8` does for a query that depends on θ′ alone."""
    rows = circle()

    class Bowl:
        """θ − c."""

        def query(self, theta: Tensor) -> Tensor:
            return theta - torch.tensor([1.0, 2.0])

        def recraft(self, theta: Tensor) -> None: ...

    settings: dict[str, Any] = {"theta": torch.zeros(2), "eta": 0.02, "budget": 60}
    made = search(Blocks(8), rows)
    want, _ = greedy(rows, Bowl(), ExactSearch(rows), refresh=8, **settings)
    got, _ = greedy(rows, Bowl(), made, **settings)
    assert got.order == want.order
    assert made.passes <= 8
    assert sum(got.gains) != sum(want.gains)  # these are by the query at each pick
    _, made = picks(Blocks(8), 0.2)
    assert made.loss.compared == made.loss.missed == 4
    assert "blocks of 8 picks by one query" in made.notes()[0]


def test_the_selection_notes_what_an_approximation_lost_and_counts_passes() -> None:
    """An exact search says nothing; the settings of the record hold the passes and the approximation."""
    task = cases.acl_task(32)
    exact = select(task, cases.rcs(stratify=None, group_size=2), 20)
    assert not any("approximate" in note for note in exact.provenance.notes)
    assert 1 <= exact.provenance.settings["search_passes"] <= 10
    rough = select(task, cases.rcs(stratify=None, group_size=2, search="candidates=4x3"), 20)
    recorded = rough.provenance.settings["search"]
    assert {"count": 4, "every": 3}.items() <= recorded.items()
    assert any(
        "the search was approximate (4 candidates, a pass every 3 picks): 4 full passes" in n
        for n in rough.provenance.notes
    )
    again = certify(rough, task)
    assert again is not None
    assert rough.certificate is not None
    assert again.value == pytest.approx(rough.certificate.value)
    block = select(task, cases.rcs(stratify=None, group_size=2, search="blocks=5"), 20)
    assert any("blocks of 5 picks by one query" in n for n in block.provenance.notes)
    assert len(set(rough.indices.tolist())) == len(set(block.indices.tolist())) == 20


def test_words_name_a_search() -> None:
    """Numbers follow an equals sign; anything else is refused in a sentence."""
    assert search_kind("candidates=4096x64") == search_kind("candidates") == Candidates(4096, 64)
    assert search_kind("blocks=16") == Blocks(16)
    assert search_kind("faiss") == "faiss"
    assert search_kind("greedi=8") == GreeDi(8)
    assert search_kind(Blocks(3)) == Blocks(3)
    for wrong in ("annoy", "exact=3", "auto=", "", "Candidates"):
        with pytest.raises(UnknownNameError, match="auto, exact, faiss, sharded, candidates, blocks, greedi"):
            search_kind(wrong)
    for wrong in ("candidates=", "candidates=64", "candidates=axb", "blocks=4x4", "blocks=-1", "candidates=1x2x3"):
        with pytest.raises(ShapeError, match="candidates=4096x64"):
            search_kind(wrong)
    for wrong in ("candidates=0x4", "blocks=0"):
        with pytest.raises(ShapeError, match="at least 1, got 0"):
            search_kind(wrong)
    with pytest.raises(ShapeError, match="every as a whole number"):
        Candidates(4, 2.5)  # type: ignore[arg-type]


def test_method_strings_name_a_search() -> None:
    """`rcs:search=candidates=256x32` is read where methods are written in words."""
    from coreselect_integrations.comparison.methods import selector_for
    from coreselect_integrations.pretraining.presets import defaults

    made: Any = selector_for("rcs:search=candidates=256x32", defaults("sat"))
    assert made.search == Candidates(256, 32)
    with pytest.raises((RequirementError, ShapeError)):
        selector_for("rcs:search=3", defaults("sat"))
