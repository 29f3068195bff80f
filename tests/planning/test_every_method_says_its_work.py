"""Claims about the catalogue: every method that works on features, logits or rows says so before it begins, and refuses by it."""

from typing import Any

import cases
import numpy as np
import pytest
from scipy.cluster import vq

from coreselect import Task, get_selector, limits, plan, select
from coreselect.errors import RequirementError
from coreselect.gradients.factored import FactoredRows
from coreselect.gradients.rows import DenseRows
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.planning.estimate import HARDLY_TIMED
from coreselect.planning.record import OWN
from coreselect.search.kmeans import kmeans, kmeans_needs
from coreselect.selectors import CAL, CCS, D2, EL2N, SAS, KCenter, PerClass, checks
from coreselect.selectors.catalogue import CATALOGUE
from coreselect.selectors.label_free import sas, zcore
from coreselect.selectors.score.ranking import Ranked

N, U, D, C, K = 400, 30, 16, 4, 24

NOTHING = {  # why a method says no work of its own
    **dict.fromkeys(("random", "redraw", "rs2"), "draws N numbers"),
    **dict.fromkeys(("importance", "aum", "forgetting", "forgetting_adv", "ccs"), "reads a number or two of a history"),
    **dict.fromkeys(("deepfool", "aign"), "passes of the model are all that it computes"),
}
PASSES = {"rcs", "rcs_sampled"}  # say how often they go over rows
MODEL = {"deepfool", "aign", "el2n_adv", "margin_adv", "glister"}  # read inputs, or compute validation's gradient again


def arrays() -> Any:
    """Make a task that has every array."""
    own = np.random.default_rng(0)
    x = own.normal(size=(N, D)).astype(np.float32)
    labels, logits = own.integers(C, size=N), own.normal(size=(N, C)).astype(np.float32)
    return Task.from_arrays(
        features=x, labels=labels, logits=logits, gradients=x, validation_gradient=x.mean(0), history=cases.history(N)
    )


def modelled(**settings: Any) -> Any:
    """Make a supervised task with a history."""
    return cases.sat_task(40, u=U, batch_size=16, history=cases.history(40), **settings)


def method(entry: Any) -> Any:
    """Return a method of the catalogue; one that combines others is made of `k_center`."""
    given = {"selectors": (KCenter(), KCenter())} if entry.name == "mixture" else {"selector": KCenter()}
    return entry.load()(**(given if entry.combines else {}))


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda e: e.name)
def test_the_plan_of_every_method_holds_its_own_work(entry: Any) -> None:
    """Products or bytes, and memory, are planned for every method but those that are listed with a reason."""
    for task in (modelled(), *(() if entry.name in MODEL else (arrays(),))):
        told = plan(task, method(entry), K, timed=False)
        if entry.name in PASSES:
            assert told.row_passes
        else:
            assert bool(told.products or told.read) == (entry.name not in NOTHING)
            assert bool(told.bytes.get(OWN)) == (entry.name not in NOTHING)


def test_only_a_method_that_does_not_say_its_work_has_a_note_about_it() -> None:
    """A timed plan of a model notes work that is not in it where the method is silent, and nowhere in the catalogue."""

    class Silent:
        name, renew, requires = "silent", "round", frozenset({"features"})

        def select(self, task: Any, budget: Any, *, generator: Any, round: int = 0) -> Any: ...

    task: Any = modelled()
    assert HARDLY_TIMED in plan(task, Silent(), K).notes
    assert not [e.name for e in CATALOGUE if HARDLY_TIMED in plan(task, method(e), K).notes]


SAID = [e for e in CATALOGUE if e.name not in {*NOTHING, *PASSES}]


@pytest.mark.parametrize("entry", SAID, ids=lambda e: e.name)
def test_every_method_refuses_by_the_numbers_of_its_plan(entry: Any) -> None:
    """With a limit just above the planned memory a method goes, with one just below it is refused in one sentence."""
    task, selector = modelled() if entry.name in MODEL else arrays(), method(entry)
    needed = plan(task, selector, K, timed=False).bytes[OWN] / 2**30
    with limits(gib=needed * 1.01):
        assert len(select(task, selector, K)) == K
    with limits(gib=needed * 0.99), pytest.raises(RequirementError, match="needs about"):
        select(task, selector, K)


@pytest.mark.parametrize("name", ["glister", "less", "grand", "gradmatch", "acs_gradmatch"])
@pytest.mark.parametrize("capture", [None, "all"])
def test_methods_on_rows_refuse_before_the_sweep(name: str, capture: str | None, monkeypatch: Any) -> None:
    """A method that reads rows of a model is refused before one of them is computed, by the width that rows will have."""
    task, selector = modelled(capture=capture), get_selector(name)
    needed = plan(task, selector, K, timed=False).bytes[OWN] / 2**30

    def rows(*_: Any, **__: Any) -> Any:
        raise AssertionError("rows were made before the refusal")

    with task.snapshot(0, 0) as snapshot:
        monkeypatch.setattr(type(snapshot), "rows", rows)
    with limits(gib=needed * 0.99), pytest.raises(RequirementError, match="needs about"):
        select(task, selector, K)
    with limits(gib=needed * 1.01), pytest.raises(AssertionError, match="before the refusal"):
        select(task, selector, K)


def _counted(monkeypatch: Any, where: Any, name: str, seen: list[float], size: Any) -> None:
    """Add size(arguments, answer) to `seen` at each call."""
    plain = getattr(where, name)

    def counting(*given: Any, **more: Any) -> Any:
        out = plain(*given, **more)
        seen.append(size(given, out))
        return out

    monkeypatch.setattr(where, name, counting)


@pytest.mark.parametrize("refresh", [1, 3])
def test_glister_makes_the_passes_and_queries_of_its_plan(refresh: int, monkeypatch: Any) -> None:
    """Products are one pass over rows for each query at most, and the queries; neither is far fewer."""
    task, selector = modelled(), get_selector("glister", refresh=refresh)
    told, seen = plan(task, selector, K, timed=False), list[float]()
    with task.snapshot(0, 0) as snapshot:
        width = snapshot.layout().size
    _counted(monkeypatch, FactoredRows, "scores", seen, lambda given, _: given[0].count * width)
    _counted(monkeypatch, ValidationObjective, "query", seen, lambda *_: 2 * U * width)
    select(task, selector, K)
    assert 0.5 * told.products <= sum(seen) <= told.products


@pytest.mark.parametrize(("name", "passes"), [("less", 1), ("grand", 0)])
def test_a_matrix_of_rows_is_read_as_often_as_planned(name: str, passes: int, monkeypatch: Any) -> None:
    """Norms, scores and float64 decisions read no more than the plan says."""
    task, seen = arrays(), list[float]()
    _counted(monkeypatch, DenseRows, "__init__", seen, lambda given, _: given[1].numel() * 4)  # norms
    _counted(monkeypatch, DenseRows, "scores", seen, lambda given, _: given[0].matrix.numel() * 4)
    _counted(monkeypatch, DenseRows, "exact", seen, lambda given, _: len(given[1]) * D * 20)
    told = plan(task, get_selector(name), K, timed=False).read
    select(task, get_selector(name), K)
    assert (1 + passes) * 4 * N * D <= sum(seen) <= told


@pytest.mark.parametrize("latent", ["labels", "clusters"])
def test_sas_reads_a_class_for_each_pick_as_planned(latent: Any, monkeypatch: Any) -> None:
    """The unit rows that products read are those planned, for classes whose sizes are known, and about so for clusters."""
    seen = list[float]()
    _counted(monkeypatch, sas, "dot_by_rows", seen, lambda given, _: given[0].nbytes)
    task, selector = arrays(), SAS(latent=latent, clusters=3)
    told = plan(task, selector, K, timed=False)
    select(task, selector, K)
    slack = 1.0 if latent == "labels" else 1.5  # clusters are not quite equal
    assert 0.5 * told.read / slack <= sum(seen) <= told.read * slack


def test_zcore_reads_every_example_twice_a_draw(monkeypatch: Any) -> None:
    """Distances to the point and to its nearest example are of all examples, in every draw: 160 bytes for both."""
    seen, task = list[float](), arrays()
    _counted(monkeypatch, zcore, "distances", seen, lambda _, out: out.numel())
    select(task, get_selector("zcore", samples=50), K)
    told = plan(task, get_selector("zcore", samples=50), K, timed=False)
    assert sum(seen) == 2 * 50 * N
    assert told.read == 80 * sum(seen) + 24 * N * D


def test_zcore_sorts_coordinate_by_coordinate(monkeypatch: Any) -> None:
    """The picks do not depend on how many coordinates are sorted at once."""
    first = select(arrays(), get_selector("zcore", samples=50), K)
    monkeypatch.setattr(zcore, "SORTED", 1)
    assert select(arrays(), get_selector("zcore", samples=50), K).indices.tolist() == first.indices.tolist()


@pytest.mark.parametrize("clusters", [3, 20])
def test_kmeans_of_scipy_makes_the_products_of_its_needs(clusters: int, monkeypatch: Any) -> None:
    """Distances to first centres, each to all before it, and in every iteration are what is planned, nearly."""
    X, seen = np.random.default_rng(0).normal(size=(N, D)), list[float]()
    for name in ("cdist", "vq"):
        _counted(monkeypatch, vq, name, seen, lambda given, _: len(given[0]) * len(given[1]) * D)
    kmeans(X, clusters, seed=0, iterations=10, restarts=1, by="scipy")
    told = kmeans_needs(N, clusters, D, 10, "scipy").products
    assert 0.8 * told <= sum(seen) <= told


@pytest.mark.parametrize("name", [e.name for e in CATALOGUE if issubclass(e.load(), Ranked) and "logits" in e.requires])
def test_scores_of_predictions_do_not_depend_on_blocks(name: str, monkeypatch: Any) -> None:
    """Logits that are widened block by block give the bits that they give at once."""
    task = modelled() if name in MODEL else arrays()
    whole = select(task, get_selector(name), K)
    monkeypatch.setattr(checks, "LOGITS", 3 * C)
    blocks = select(task, get_selector(name), K)
    assert np.array_equal(whole.indices, blocks.indices)
    assert np.array_equal(np.asarray(whole.scores), np.asarray(blocks.scores))


@pytest.mark.parametrize("outer", [CCS, D2])
def test_a_method_on_a_score_says_the_work_of_the_score(outer: Any) -> None:
    """The neighbours that a score searches for are in the plan of the method that ranks by it."""
    task = arrays()
    alone, plain, both = (plan(task, s, K, timed=False) for s in (CAL(), outer(score=EL2N()), outer(score=CAL())))
    assert both.products == pytest.approx(alone.products + plain.products)
    assert both.read >= alone.read


def test_clusters_of_a_combination_are_in_its_plan() -> None:
    """Classes by clusters need k-means of all features, whatever is chosen inside them; so do groups of `rcs`."""
    task = arrays()
    inside = plan(task, PerClass(KCenter()), K, timed=False).products
    assert plan(task, PerClass(KCenter(), "clusters"), K, timed=False).products > inside
    clustered = plan(task, cases.rcs(stratify="clusters"), K, timed=False)
    assert clustered.products == kmeans_needs(N, 10, D, 10, "scipy").products
    with limits(gib=clustered.bytes[OWN] / 2**30 * 0.99), pytest.raises(RequirementError, match="'clusters' needs"):
        select(task, cases.rcs(stratify="clusters", group_size=4), K)
