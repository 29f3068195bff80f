"""The catalogue of selectors: where each one is, what it needs and when it renews its choice, without loading any.

`coreselect methods` prints it. A test holds it equal to the classes.
"""

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from coreselect.support.source import first_docstring_line

GROUP = "coreselect.selectors"  # the entry-point group of other packages


class Entry(NamedTuple):
    """One built-in selector.

    Attributes:
        name: what `get_selector` calls it.
        module, cls: the module below `coreselect.selectors` and the class in it.
        requires: what the task must have, with the default settings.
        renew: when another call gives another answer: "never", "round" or "epoch".
        combines: whether it is made from other selectors, whose needs it adds to its own and whose `renew` it takes.
    """

    name: str
    module: str
    cls: str
    requires: tuple[str, ...]
    renew: str = "round"
    combines: bool = False

    @property
    def about(self) -> str:
        """The first line of the docstring of the class."""
        return first_docstring_line(f"coreselect.selectors.{self.module}", self.cls)

    def load(self) -> type[Any]:
        """Import the class."""
        return getattr(import_module(f"coreselect.selectors.{self.module}"), self.cls)


CATALOGUE: tuple[Entry, ...] = (
    Entry("rcs", "rcs", "RCS", ("gradients", "validation")),
    Entry("rcs_sampled", "sampling.rcs_sampled", "RCSSampled", ("example_gradients", "gradients", "validation")),
    Entry("random", "sampling.uniform", "Random", (), renew="never"),
    Entry("redraw", "sampling.uniform", "Redraw", ()),
    Entry("rs2", "sampling.uniform", "RS2", (), renew="epoch"),
    Entry("importance", "sampling.importance", "Importance", ("losses",), renew="epoch"),
    Entry("per_class", "combinators.per_class", "PerClass", ("labels",), combines=True),
    Entry("windowed", "combinators.windowed", "Windowed", (), combines=True),
    Entry("filtered", "combinators.filtered", "Filtered", ("labels", "logits"), combines=True),
    Entry("mixture", "combinators.mixture", "Mixture", (), combines=True),
    Entry("prototypicality", "label_free.prototypicality", "Prototypicality", ("features",)),
    Entry("semdedup", "label_free.semdedup", "SemDeDup", ("features",)),
    Entry("sas", "label_free.sas", "SAS", ("features",)),
    Entry("zcore", "label_free.zcore", "ZCore", ("features",)),
    Entry("el2n", "score.uncertainty", "EL2N", ("labels", "logits")),
    Entry("el2n_adv", "score.uncertainty", "EL2NAdv", ("inputs", "labels", "logits")),
    Entry("entropy", "score.uncertainty", "Entropy", ("logits",)),
    Entry("least_confidence", "score.uncertainty", "LeastConfidence", ("logits",)),
    Entry("margin", "score.uncertainty", "Margin", ("logits",)),
    Entry("margin_adv", "score.uncertainty", "MarginAdv", ("inputs", "logits")),
    Entry("loss", "score.uncertainty", "Loss", ("labels", "logits")),
    Entry("aum", "score.aum", "AUM", ("history",)),
    Entry("forgetting", "score.forgetting", "Forgetting", ("history",)),
    Entry("forgetting_adv", "score.forgetting", "ForgettingAdv", ("history",)),
    Entry("ccs", "score.ccs", "CCS", ("history",)),
    Entry("moderate", "score.moderate", "Moderate", ("features", "labels")),
    Entry("d2", "score.d2", "D2", ("features", "labels", "logits")),
    Entry("cal", "score.cal", "CAL", ("features", "logits")),
    Entry("deepfool", "score.deepfool", "DeepFool", ("inputs", "logits")),
    Entry("aign", "score.aign", "AIGN", ("inputs", "labels")),
    Entry("craig", "gradient.craig", "CRAIG", ("gradients",)),
    Entry("gradmatch", "gradient.gradmatch", "GradMatch", ("gradients",)),
    Entry("glister", "gradient.glister", "GLISTER", ("gradients", "validation", "validation_labels")),
    Entry("grand", "gradient.grand", "GraNd", ("gradients",)),
    Entry("acs_craig", "gradient.craig", "ACSCraig", ("example_gradients", "gradients")),
    Entry("acs_gradmatch", "gradient.gradmatch", "ACSGradMatch", ("example_gradients", "gradients")),
    Entry("less", "gradient.less", "LESS", ("gradients", "validation")),
    Entry("k_center", "geometry.k_center", "KCenter", ("features",)),
    Entry("herding", "geometry.herding", "Herding", ("features",)),
    Entry("facility_location", "geometry.facility_location", "FacilityLocation", ("features",)),
    Entry("graph_cut", "geometry.graph_cut", "GraphCut", ("features",)),
    Entry("log_det", "geometry.log_det", "LogDet", ("features",)),
)


def list_selectors() -> list[str]:
    """Return the names that `get_selector` knows: built in first, then those of other packages."""
    names = [entry.name for entry in CATALOGUE]
    return [*names, *sorted({e.name for e in entry_points(group=GROUP)} - set(names))]
