"""Which options of `coreselect train` mean anything to which system, curve and method of choosing: one table."""

from __future__ import annotations

from collections.abc import Callable, Collection

from coreselect import Selector
from coreselect_integrations.comparison.methods import OBJECTIVE_METHODS, names_of
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.systems import SYSTEMS

Reads = Callable[[Settings, Selector | None], bool]


def _judges(s: Settings, selector: Selector | None) -> bool:
    """Whether the method reads the RD of held-out images."""
    return selector is not None and bool({*names_of(selector)} & {*OBJECTIVE_METHODS})


SEEN = {"history", "losses"}  # by training: no pass of a selection's own reads them
TABLE: tuple[tuple[tuple[str, ...], Reads, str], ...] = (
    (("step", "attack_steps"), lambda s, m: s.attack is not None, "systems with an attack"),
    (("radius",), lambda s, m: s.attack is not None or _judges(s, m), "systems with an attack, and to rcs"),
    (("beta",), lambda s, m: s.system == "trades", "trades"),
    (("projection", "temperature"), lambda s, m: not SYSTEMS[s.system].supervised, "contrastive systems"),
    (("interval", "rate"), lambda s, m: SYSTEMS[s.system].dynamic, "dynacl and dynacl-air"),
    (("key_momentum",), lambda s, m: s.system in ("acl", "dynacl"), "acl and dynacl"),
    (("sir", "air", "form"), lambda s, m: SYSTEMS[s.system].regularised, "acl-air and dynacl-air"),
    (("lr_warmup",), lambda s, m: s.curve == "cosine", "the curve cosine"),
    (("milestones",), lambda s, m: s.curve == "stairs", "the curve stairs"),
    (("capture",), lambda s, m: m is not None and "gradients" in m.requires, "methods that compare gradients"),
    (("eta",), lambda s, m: m is not None and "rcs" in names_of(m), "rcs"),
    (("rd_steps",), _judges, "rcs and rcs_sampled"),
    (("select_batch_size",), lambda s, m: m is not None and bool(m.requires - SEEN), "methods that pass over the pool"),
)
PLAN = ("fraction", "warmup", "every", "select_attack_steps")


def idle(given: Collection[str], settings: Settings, selector: Selector | None, *, named: bool) -> str | None:
    """Say in a sentence which of the options given would be without effect, and where they belong; None if none would.

    The plan of a coreset needs a --selector that is named. One command line then serves all arms of a comparison, `full`
    among them, which follows no plan.
    """
    for names, reads, owners in TABLE:
        lost = [name for name in names if name in given]
        if lost and not reads(settings, selector):
            return f"{options(lost)} would be without effect here: it is for {owners}."
    lost = [name for name in PLAN if name in given and not named]
    if lost:
        return (
            f"{options(lost)} would be without effect, as no --selector is named: the whole pool would be trained on."
        )
    return None


def options(names: Collection[str]) -> str:
    """Write settings as options."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
