"""Every selector keeps the contract, alone and inside the combinators."""

from collections.abc import Callable
from typing import Any, cast

import cases
import pytest
from contract import SelectorContract

from coreselect import Selector, select
from coreselect.errors import RequirementError
from coreselect.selectors import (
    AIGN,
    AUM,
    CAL,
    CCS,
    CRAIG,
    D2,
    EL2N,
    GLISTER,
    LESS,
    RCS,
    RS2,
    SAS,
    SELECTORS,
    ACSCraig,
    ACSGradMatch,
    DeepFool,
    EL2NAdv,
    Entropy,
    FacilityLocation,
    Filtered,
    Forgetting,
    ForgettingAdv,
    GradMatch,
    GraNd,
    GraphCut,
    Herding,
    Importance,
    KCenter,
    LeastConfidence,
    LogDet,
    Loss,
    Margin,
    MarginAdv,
    Mixture,
    Moderate,
    PerClass,
    Prototypicality,
    Random,
    RCSSampled,
    Redraw,
    SemDeDup,
    Windowed,
    ZCore,
)


class TestRCS(SelectorContract):
    """Groups of three, as published."""

    make = staticmethod(cases.rcs)


class TestRCSWithDefaults(SelectorContract):
    """Default group size."""

    make = staticmethod(lambda: cases.rcs(group_size=None))


class TestRCSOfExamples(SelectorContract):
    """Single examples."""

    order_free = True
    make = staticmethod(lambda: cases.rcs(groups="example", group_size=None))


class TestRCSRecrafting(SelectorContract):
    """The letter of Algorithm 1: attacked again at every pick."""

    tasks = ("sat",)
    make = staticmethod(lambda: cases.rcs(recraft="every"))

    test_copes_with_zero_gradients = None  # type: ignore[assignment]  # arrays cannot be attacked


class TestRCSContrastive(SelectorContract):
    """Plain groups without labels."""

    tasks = ("sat", "acl")
    make = staticmethod(lambda: cases.rcs(stratify=None, refresh=2, certify="sampled"))
    test_copes_with_zero_gradients = None  # type: ignore[assignment]  # a sampled certificate needs values


class TestRCSByClusters(SelectorContract):
    """Groups balanced over clusters of the features."""

    make = staticmethod(lambda: cases.rcs(stratify="clusters", clusters=3))


class TestRCSSampled(SelectorContract):
    """Drawn with probabilities that rise with the gain."""

    make = staticmethod(lambda: RCSSampled(objective=cases.RD_WEAK))


class TestRandom(SelectorContract):
    """Uniform, once."""

    reads_pool = False
    make = staticmethod(Random)


class TestRedraw(SelectorContract):
    """Uniform, again every round."""

    reads_pool = False
    make = staticmethod(Redraw)


class TestRS2(SelectorContract):
    """Uniform, again every epoch, without repetition."""

    reads_pool = False
    make = staticmethod(RS2)


class TestPerClassOfRCS(SelectorContract):
    """RCS inside each class."""

    make = staticmethod(lambda: PerClass(cases.rcs()))


class TestPerClassOfRedraw(SelectorContract):
    """Uniform inside each class."""

    reads_pool = False
    make = staticmethod(lambda: PerClass(Redraw()))


class TestBalancedRS2(SelectorContract):
    """Uniform with equal shares of the classes."""

    reads_pool = False
    make = staticmethod(lambda: PerClass(RS2(), shares="equal", weighted=True))


class TestWindowedRCS(SelectorContract):
    """RCS window by window."""

    make = staticmethod(lambda: Windowed(cases.rcs(), window=10))


class TestWindowedRedraw(SelectorContract):
    """Uniform window by window."""

    reads_pool = False
    make = staticmethod(lambda: Windowed(Redraw(), window=10))


class TestMixture(SelectorContract):
    """RCS, weighted draws and plain draws share one budget."""

    make = staticmethod(lambda: Mixture((cases.rcs(), RCSSampled(objective=cases.RD_WEAK), Redraw()), shares=(2, 1, 1)))


class ByFeatures:
    """Only natural features are read: no views, and a task with features only is enough."""

    test_says_what_it_needs = None  # in selectors/label_free
    test_leaves_no_trace_when_the_views_fail = None


class TestBalancedByClusters(ByFeatures, SelectorContract):
    """Uniform with equal shares of clusters, without labels."""

    make = staticmethod(lambda: PerClass(Redraw(), by="clusters", shares="equal", clusters=3))


class TestFiltered(ByFeatures, SelectorContract):
    """Uniform among the lowest losses of each class."""

    make = staticmethod(lambda: Filtered(Redraw(), 0.9))


class TestPrototypicality(ByFeatures, SelectorContract):
    """Farthest from the centre of its own cluster."""

    make = staticmethod(lambda: Prototypicality(clusters=3))


class TestPrototypicalityEasy(ByFeatures, SelectorContract):
    """Nearest to the mean of all."""

    order_free = True
    make = staticmethod(lambda: Prototypicality("easy", "euclidean", clusters=1))


class TestSemDeDup(ByFeatures, SelectorContract):
    """Near-duplicates dropped until k remain."""

    make = staticmethod(SemDeDup)


class TestSAS(ByFeatures, SelectorContract):
    """Similar to many examples of the latent class."""

    make = staticmethod(lambda: SAS(clusters=3))


class TestSASOfLabels(ByFeatures, SelectorContract):
    """Similar to many examples of the class."""

    order_free = True
    make = staticmethod(lambda: SAS(latent="labels"))


class TestZCore(ByFeatures, SelectorContract):
    """Coverage minus redundancy in random planes."""

    make = staticmethod(lambda: ZCore(samples=40))


class Recorded:
    """A mixin: every task of the test has a history of its pool."""

    reads_pool = False
    order_free = True

    @pytest.fixture(autouse=True)
    def history(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give the tasks of `cases.sat_task` and `cases.array_task` a history of their size."""
        cases.record_tasks(monkeypatch)
        self.patch = monkeypatch

    def test_says_what_it_needs(self, selector: Selector) -> None:
        """A task without any record raises an error of one sentence."""
        self.patch.undo()
        with pytest.raises(RequirementError, match=r"needs (history|losses), and this task has none: give"):
            select(cases.array_task(24), selector, 5)


class TestAUM(Recorded, SelectorContract):
    """Lowest margin over training."""

    make = staticmethod(AUM)


class TestForgetting(Recorded, SelectorContract):
    """Most often forgotten."""

    order_free = False  # counts are often equal, and equals go by number
    make = staticmethod(Forgetting)


class TestForgettingAdv(Recorded, SelectorContract):
    """Most often forgotten, attacked."""

    order_free = False  # as above
    make = staticmethod(ForgettingAdv)


class TestCCS(Recorded, SelectorContract):
    """Evenly from strata of the margin over training."""

    order_free = False  # draws inside strata go by number
    make = staticmethod(lambda: CCS(beta=0.2, strata=5))


class TestImportance(Recorded, SelectorContract):
    """Drawn with probabilities that rise with the last score in training."""

    order_free = False  # a draw over positions
    make = staticmethod(Importance)


class TestEL2NRecorded(Recorded, SelectorContract):
    """Farthest from the label, on average over training."""

    make = staticmethod(lambda: EL2N(from_history=True))


class TestEL2N(SelectorContract):
    """Farthest from the label."""

    order_free = True
    make = staticmethod(EL2N)
    test_leaves_no_trace_when_the_views_fail = None  # type: ignore[assignment]  # natural inputs have no views


class TestEL2NAdv(SelectorContract):
    """Farthest from the label, attacked."""

    tasks = ("sat",)
    make = staticmethod(EL2NAdv)
    test_copes_with_zero_gradients = None  # type: ignore[assignment]  # arrays cannot be attacked


class TestEntropy(SelectorContract):
    """Highest entropy."""

    order_free = True
    make = staticmethod(Entropy)
    test_leaves_no_trace_when_the_views_fail = None  # type: ignore[assignment]  # natural inputs have no views
    test_says_what_it_needs = None  # type: ignore[assignment]  # logits, which that task has: see selectors/score


class TestLeastConfidence(SelectorContract):
    """Lowest largest probability."""

    order_free = True
    make = staticmethod(LeastConfidence)
    test_leaves_no_trace_when_the_views_fail = None  # type: ignore[assignment]  # natural inputs have no views
    test_says_what_it_needs = None  # type: ignore[assignment]  # logits, which that task has: see selectors/score


class TestMargin(SelectorContract):
    """Closest two probabilities."""

    order_free = True
    make = staticmethod(Margin)
    test_leaves_no_trace_when_the_views_fail = None  # type: ignore[assignment]  # natural inputs have no views
    test_says_what_it_needs = None  # type: ignore[assignment]  # logits, which that task has: see selectors/score


class TestMarginAdv(SelectorContract):
    """Closest two probabilities, attacked."""

    tasks = ("sat",)
    make = staticmethod(MarginAdv)
    test_copes_with_zero_gradients = None  # type: ignore[assignment]  # arrays cannot be attacked


class TestLoss(SelectorContract):
    """Highest cross-entropy."""

    order_free = True
    make = staticmethod(Loss)
    test_leaves_no_trace_when_the_views_fail = None  # type: ignore[assignment]  # natural inputs have no views


class TestModerate(SelectorContract):
    """At the median distance from the class mean."""

    order_free = True
    make = staticmethod(Moderate)
    test_leaves_no_trace_when_the_views_fail = None  # type: ignore[assignment]  # natural inputs have no views


class TestD2(SelectorContract):
    """Messages over the neighbour graph."""

    order_free = True
    make = staticmethod(lambda: D2(neighbours=4))
    test_leaves_no_trace_when_the_views_fail = None  # type: ignore[assignment]  # natural inputs have no views


class TestCAL(SelectorContract):
    """Unlike its neighbours."""

    order_free = True
    make = staticmethod(lambda: CAL(neighbours=4))
    test_leaves_no_trace_when_the_views_fail = None  # type: ignore[assignment]  # natural inputs have no views
    test_says_what_it_needs = None  # type: ignore[assignment]  # features and logits, which that task has


class TestDeepFool(SelectorContract):
    """Nearest to the decision boundary."""

    tasks = ("sat",)
    make = staticmethod(lambda: DeepFool(iterations=3))
    test_leaves_no_trace_when_the_views_fail = None  # type: ignore[assignment]  # natural inputs have no views
    test_copes_with_zero_gradients = None  # type: ignore[assignment]  # arrays have no inputs


class TestAIGN(SelectorContract):
    """Smallest input gradient."""

    tasks = ("sat",)
    make = staticmethod(AIGN)
    test_leaves_no_trace_when_the_views_fail = None  # type: ignore[assignment]  # natural inputs have no views
    test_copes_with_zero_gradients = None  # type: ignore[assignment]  # arrays have no inputs


class TestCRAIG(SelectorContract):
    """Nearest gradients, class by class."""

    make = staticmethod(CRAIG)


class TestCRAIGOfOneClass(SelectorContract):
    """Nearest gradients in the whole pool, with distances computed when they are needed."""

    make = staticmethod(lambda: CRAIG(per_class=False, dense_up_to=0))


class TestCRAIGTowardsValidation(SelectorContract):
    """Nearest gradients to those of validation."""

    tasks = ("sat",)
    make = staticmethod(lambda: CRAIG(target="validation"))
    test_copes_with_zero_gradients = None  # type: ignore[assignment]  # it needs a model


class TestACSCraig(SelectorContract):
    """CRAIG at attacked inputs."""

    make = staticmethod(ACSCraig)


class TestGradMatch(SelectorContract):
    """Matching the pool's mean gradient."""

    order_free = True
    make = staticmethod(GradMatch)


class TestGradMatchOfValidation(SelectorContract):
    """Matching validation's gradient, without ridge."""

    make = staticmethod(lambda: GradMatch(target="validation", ridge=0.0))


class TestACSGradMatch(SelectorContract):
    """GradMatch at attacked inputs."""

    make = staticmethod(ACSGradMatch)


class TestGLISTER(SelectorContract):
    """Steps that lower validation cross-entropy."""

    tasks = ("sat",)
    make = staticmethod(GLISTER)
    test_copes_with_zero_gradients = None  # type: ignore[assignment]  # it needs validation labels, arrays have none


class TestGraNd(SelectorContract):
    """Largest gradient norms."""

    order_free = True
    make = staticmethod(GraNd)


class TestLESS(SelectorContract):
    """Cosine with the validation gradient."""

    order_free = True
    make = staticmethod(LESS)


class TestKCenter(ByFeatures, SelectorContract):
    """Farthest from the picks so far."""

    order_free = True
    make = staticmethod(KCenter)


class TestHerding(ByFeatures, SelectorContract):
    """The mean of the picks follows the pool's."""

    order_free = True
    make = staticmethod(Herding)


class TestFacilityLocation(ByFeatures, SelectorContract):
    """Coverage by a matrix."""

    # numbering matters: two examples that are each other's only one to gain from gain the same
    make = staticmethod(FacilityLocation)


class TestFacilityLocationOnAGraph(ByFeatures, SelectorContract):
    """Coverage by a neighbour graph."""

    make = staticmethod(lambda: FacilityLocation("rbf", dense_up_to=0, neighbours=5))


class TestGraphCut(ByFeatures, SelectorContract):
    """Similar to the pool, dissimilar to each other."""

    order_free = True
    make = staticmethod(GraphCut)


class TestLogDet(ByFeatures, SelectorContract):
    """The largest volume."""

    # numbering matters: alone, every example spans the same volume
    make = staticmethod(LogDet)


def test_every_selector_is_under_contract() -> None:
    """Every registered selector has a class in this file."""
    held: set[str] = set()

    def name(selector: Selector) -> None:
        held.add(selector.name)

    for cls in SelectorContract.__subclasses__():
        name(cast(Any, cls).make())
    assert held == set(SELECTORS)


@pytest.mark.parametrize("make", [RCS, RCSSampled, Random, Redraw, RS2])
def test_published_defaults_make_a_selector(make: Callable[[], Selector]) -> None:
    """Every method can be made without arguments."""
    assert isinstance(make(), Selector)
