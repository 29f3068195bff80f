"""The names of tensors in published checkpoints, and what the same tensors are called here: one table of patterns.

The structures are ResNets with the names of torchvision, of Jiang et al. (two sets of normalisations) or of RobustBench, and
wide ResNets with the names of TRADES. What follows describes names only; `published.py` reads files.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from coreselect_integrations.networks.routes import ROUTES

# The first convolution of the first block: a name with it begins with the prefix of a network.
FIRST = {"resnet": "layer1.0.conv1.weight", "wide": "block1.layer.0.conv1.weight"}
# Mean and standard deviation by which a network normalises pixels, beside it or in it.
NORMALISATIONS = (
    ("normalize.mean", "normalize.std"), ("mu", "sigma"), ("normalizer.new_mean", "normalizer.new_std"),
    ("normalize.new_mean", "normalize.new_std"), ("mean", "std"), ("0.mean", "0.std"),
)  # fmt: skip
# Parts that published files hold beside an extractor, and that its forward pass does not use.
UNUSED = re.compile(r"(predictor|projector|queue|queue_ptr|sub_block1)(\.|$)")
HEAD = re.compile(r"(fc|linear|head)\.")
FORMS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

_RESNET_BLOCK, _WIDE_BLOCK = r"layer(\d+)\.(\d+)\.", r"block(\d+)\.layer\.(\d+)\."
_NORM = rf"(_adv)?(?:\.bn_list)?(?:\.([01]))?\.({'|'.join(FORMS)})"
_HEAD: tuple[tuple[str, str], ...] = (
    (r"(?:fc|linear)\.(weight|bias)", r"head.\1"),
    (r"(?:fc|linear)\.fc(\d)\.(weight|bias)", r"head.linears.{\1}.\2"),
    (rf"(?:fc|linear)\.bn(\d){_NORM}", r"head.norms.{\1}.<\2|\3>.\4"),
)
# (pattern of a whole published name, name here); {n} counts from 1 there and from 0 here, <a|i> is a set of normalisations
TABLE: Mapping[str, tuple[tuple[str, str], ...]] = {
    "resnet": (
        (r"conv1\.weight", "stem.weight"),
        (rf"bn1{_NORM}", r"norm.<\1|\2>.\3"),
        (rf"{_RESNET_BLOCK}conv(\d)\.weight", r"blocks.[\1,\2].conv\3.weight"),
        (rf"{_RESNET_BLOCK}bn(\d){_NORM}", r"blocks.[\1,\2].norm\3.<\4|\5>.\6"),
        (rf"{_RESNET_BLOCK}(?:downsample\.conv|downsample\.0|shortcut\.0)\.weight", r"blocks.[\1,\2].down.weight"),
        (rf"{_RESNET_BLOCK}(?:downsample\.bn|downsample\.1|shortcut\.1){_NORM}", r"blocks.[\1,\2].down_norm.<\3|\4>.\5"),
        *_HEAD,
    ),
    "wide": (
        (r"conv1\.weight", "stem.weight"),
        (rf"bn1{_NORM}", r"norm.<\1|\2>.\3"),
        (rf"{_WIDE_BLOCK}conv(\d)\.weight", r"blocks.[\1,\2].conv\3.weight"),
        (rf"{_WIDE_BLOCK}bn(\d){_NORM}", r"blocks.[\1,\2].norm\3.<\4|\5>.\6"),
        (rf"{_WIDE_BLOCK}convShortcut\.weight", r"blocks.[\1,\2].down.weight"),
        *_HEAD,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Structure:
    """What the names in a file say about its network.

    `family` is `resnet` or `wide`; `depths` are the blocks of each stage; `bottleneck` says whether a block has three
    convolutions; `sets` is the number of sets of normalisations, 1 or 2.
    """

    family: str
    depths: tuple[int, ...]
    bottleneck: bool
    sets: int


def prefixes(names: Iterable[str]) -> dict[str, str]:
    """Return the prefix of every network in a file with its family: {"module.encoder_k.": "resnet"}."""
    found: dict[str, str] = {}
    for name in names:
        for family, first in FIRST.items():
            before = name.removesuffix(first)
            if name.endswith(first) and (not before or before.endswith(".")):
                found[before] = family
    return found


def structure(names: Sequence[str], family: str) -> Structure:
    """Read the structure of a network from its names, without their prefix."""
    pattern = re.compile(_RESNET_BLOCK if family == "resnet" else _WIDE_BLOCK)
    blocks = {(int(m[1]), int(m[2])) for n in names if (m := pattern.match(n))}
    stages = sorted({stage for stage, _ in blocks})
    two = any(".bn_list.1." in n or "bn1_adv." in n for n in names)
    return Structure(
        family,
        tuple(sum(s == stage for s, _ in blocks) for stage in stages),
        any(n.startswith("layer1.0.conv3.") for n in names),
        2 if two else 1,
    )


def renamed(name: str, found: Structure, order: Sequence[str] = ROUTES) -> str | None:
    """Return what a tensor is called here; None if no pattern of the family fits.

    Args:
        name: published, without its prefix.
        found: the structure of its network.
        order: the routes of the first and of the second set of normalisations.
    """
    for pattern, ours in TABLE[found.family]:
        match = re.fullmatch(pattern, name)
        if match:
            return _filled(_with_groups(ours, match), found, order)
    return None


def _with_groups(text: str, match: re.Match[str]) -> str:
    r"""Put the groups of a match in the places \\1, \\2, …; a group that did not match is empty."""
    return re.sub(r"\\(\d)", lambda m: match[int(m[1])] or "", text)


def _filled(name: str, found: Structure, order: Sequence[str]) -> str:
    """Fill in what depends on the network: [stage,block], {number from 1} and <adv|set>."""

    def block(m: re.Match[str]) -> str:
        return str(sum(found.depths[: int(m[1]) - 1]) + int(m[2]))

    def route(m: re.Match[str]) -> str:
        return order[1 if m[1] or m[2] == "1" else 0] if found.sets == 2 else "shared"

    name = re.sub(r"\[(\d+),(\d+)\]", block, name)
    name = re.sub(r"\{(\d)\}", lambda m: str(int(m[1]) - 1), name)
    return re.sub(r"<(_adv)?\|([01])?>", route, name)
