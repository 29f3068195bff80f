"""SemDeDup drops near-duplicates as its definition says."""

from typing import Any

import numpy as np
import pytest
from label_free_tasks import cosine, features, parts_of, task

from coreselect import select
from coreselect.selectors import SemDeDup
from coreselect.selectors.label_free.features import unit
from coreselect.selectors.label_free.semdedup import nearest_earlier


@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_semdedup_drops_what_is_similar_to_an_earlier_item(keep: Any) -> None:
    """Dropping by the definition with the reported ε leaves exactly the picks, for every budget with its own ε."""
    X = features(30, 3, seed=4)
    Z = unit(X)
    selector = SemDeDup(clusters=4, keep=keep)
    for k in range(4, 31):
        got = select(task(X), selector, k)
        epsilon = got.provenance.settings["epsilon"]
        kept = []
        for members in parts_of(selector, Z, 4):
            centroid = np.stack([Z[i] for i in members]).sum(0)
            order = sorted(members, key=lambda i: cosine(Z[i], centroid) * (1 if keep == "hard" else -1))
            for at, i in enumerate(order):
                if not any(cosine(Z[i], Z[j]) > 1 - epsilon + 1e-11 for j in order[:at]):
                    kept.append(i)
        assert sorted(got.indices.tolist()) == sorted(kept)
        assert len(kept) == k


def test_semdedup_keeps_one_of_each_before_any_copy() -> None:
    """For ten items with three copies each, a budget of ten keeps no item twice."""
    X = np.tile(features(10), (3, 1))
    got = select(task(X), SemDeDup(clusters=1), 10)
    assert sorted(got.indices % 10) == list(range(10))


def test_semdedup_decides_ties_by_index_and_says_so() -> None:
    """All copies have similarity 1: those of lowest index stay, and the notes count them."""
    got = select(task(np.tile(features(1), (8, 1))), SemDeDup(clusters=1), 3)
    assert got.indices.tolist() == [0, 1, 2]
    assert got.provenance.settings["epsilon"] == 0
    assert any("7 items tie" in note and "the 2 of lowest index" in note for note in got.provenance.notes)
    distinct = select(task(features(9)), SemDeDup(clusters=1), 4)
    assert not any("tie" in note for note in distinct.provenance.notes)


@pytest.mark.parametrize("many", [0, 32])
@pytest.mark.parametrize("entries", [1, 20, 10**6])
def test_similarities_do_not_depend_on_their_blocks(entries: int, many: int, monkeypatch: Any) -> None:
    """In blocks of one row, a few rows or all rows, the largest cosine to an earlier row is that of sklearn."""
    pairwise = pytest.importorskip("sklearn.metrics.pairwise")
    monkeypatch.setattr("coreselect.selectors.label_free.semdedup.ENTRIES", entries)
    monkeypatch.setattr("coreselect.selectors.label_free.semdedup.FEWEST", 1)
    monkeypatch.setattr("coreselect.selectors.label_free.semdedup.MANY", many)
    X, order = features(13), np.random.default_rng(0).permutation(13)
    similar = pairwise.cosine_similarity(X[order])
    want = [-1.0] + [similar[i, :i].max() for i in range(1, 13)]
    assert np.allclose(nearest_earlier(unit(X), order), want, atol=1e-11)


@pytest.mark.parametrize(
    "name", ["far from the origin", "copies", "copies up to scale", "opposite", "tiny", "zeros", "huge"]
)
def test_largest_cosines_are_those_of_float64(name: str) -> None:
    """Proposals in float32 lose nothing: every largest cosine is that of a double loop in float64."""
    x = features(40, 6)
    X = {
        "far from the origin": x + 1e6,
        "copies": np.tile(x[:8], (5, 1)),
        "copies up to scale": np.concatenate([x, 3 * x, 1e-3 * x]),
        "opposite": np.concatenate([x, -x]),
        "tiny": 1e-30 * x,
        "zeros": 0 * x,
        "huge": 1e100 * x,
    }[name]
    Z = unit(X)
    want = [-1.0] + [max(float(np.dot(Z[i], Z[j])) for j in range(i)) for i in range(1, len(Z))]
    assert np.allclose(nearest_earlier(Z, np.arange(len(Z))), np.clip(want, -1, 1), rtol=0, atol=2e-12)


def test_scipy_and_faiss_both_serve() -> None:
    """The engine is a setting, a note names it, and what is kept meets the budget with either."""
    for search, word in (("scipy", "scipy"), ("auto", "FAISS"), ("faiss", "FAISS")):
        if word == "FAISS":
            pytest.importorskip("faiss")
        got = select(task(features(60)), SemDeDup(clusters=5, search=search), 20)  # type: ignore[arg-type]
        assert any(note == f"clusters by k-means of {word}" for note in got.provenance.notes)
        assert len(set(got.indices.tolist())) == 20
