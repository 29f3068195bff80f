"""Which options of `coreselect train` have an effect with which system, curve and selector: one table."""

from __future__ import annotations

from collections.abc import Callable, Collection

from coreselect import Selector
from coreselect.selectors.words import OBJECTIVE_METHODS
from coreselect_integrations.comparison.methods import names_of
from coreselect_integrations.pretraining.settings import SYSTEMS, Settings

HasEffect = Callable[[Settings, Selector | None], bool]


def _reads_rd(s: Settings, selector: Selector | None) -> bool:
    """Whether the selector reads the RD of held-out images."""
    return selector is not None and bool({*names_of(selector)} & {*OBJECTIVE_METHODS})


RECORDED = {"history", "losses"}  # by training: a selection needs no pass of its own for these
RELEVANCE: tuple[tuple[tuple[str, ...], HasEffect, str], ...] = (
    (("step", "attack_steps", "train_radius", "start"), lambda s, m: s.attack is not None, "systems with an attack"),
    (("radius",), lambda s, m: s.attack is not None or _reads_rd(s, m), "systems with an attack, and for rcs"),
    (
        ("guard",),
        lambda s, m: s.attack is not None and s.supervised and s.own_epoch is None,
        "supervised systems with an attack",
    ),
    (("beta",), lambda s, m: s.system == "trades", "trades"),
    (("crop",), lambda s, m: SYSTEMS[s.system].supervised, "supervised systems"),
    (("projection",), lambda s, m: not SYSTEMS[s.system].supervised, "contrastive systems"),
    (("temperature",), lambda s, m: not SYSTEMS[s.system].supervised and s.system != "byol", "contrastive losses"),
    (("queue",), lambda s, m: s.system == "moco", "moco"),
    (("interval", "rate"), lambda s, m: SYSTEMS[s.system].dynamic, "dynacl and dynacl-air"),
    (("key_momentum",), lambda s, m: SYSTEMS[s.system].follower, "moco, byol, acl and dynacl"),
    (("sir", "air", "form"), lambda s, m: SYSTEMS[s.system].regularised, "acl-air and dynacl-air"),
    (("lr_warmup",), lambda s, m: s.curve == "cosine", "the curve cosine"),
    (("milestones",), lambda s, m: s.curve == "stairs", "the curve stairs"),
    (("capture",), lambda s, m: m is not None and "gradients" in m.requires, "methods that compare gradients"),
    (("eta", "group_size"), lambda s, m: m is not None and "rcs" in names_of(m), "rcs"),
    (("rd_steps",), _reads_rd, "rcs and rcs_sampled"),
    (
        ("select_batch_size",),
        lambda s, m: m is not None and bool(m.requires - RECORDED),
        "methods that pass over the pool",
    ),
)
SCHEDULE = ("fraction", "warmup", "every", "align", "select_attack_steps")  # of a coreset; they need a selector


def without_effect(given: Collection[str], settings: Settings, selector: Selector | None, *, named: bool) -> str | None:
    """Name the given options that have no effect, and what they are for; None if all have one.

    The options of the schedule need a --selector that is named. `full` counts as named: then one command line serves all
    runs of a comparison.
    """
    for names, has_effect, owners in RELEVANCE:
        lost = [name for name in names if name in given]
        if lost and not has_effect(settings, selector):
            return f"{options(lost)} would be without effect here: it is for {owners}."
    lost = [name for name in SCHEDULE if name in given and not named]
    if lost:
        return (
            f"{options(lost)} would be without effect: no --selector is named, and the whole pool would be trained on."
        )
    return None


def options(names: Collection[str]) -> str:
    """Write settings as options: `--batch-size, --lr`."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
