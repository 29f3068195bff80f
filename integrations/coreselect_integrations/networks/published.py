"""Recognise a published checkpoint by the names of its tensors, and make a network of ours from it, bit for bit.

ACL, DynACL(++), AIR(++) and RCS (ResNets with one or two sets of normalisations, wide ResNets of the ImageNet-32 programs),
the collection RobustSSL, torchvision's ResNet-50, and the files of RobustBench whose network is one of ours.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import torch
from torch import Tensor

from coreselect.errors import DataError, first_few
from coreselect_integrations.networks.network_spec import NetworkSpec
from coreselect_integrations.networks.published_names import (
    FIRST,
    HEAD,
    UNUSED,
    Structure,
    prefixes,
    renamed,
    structure,
)
from coreselect_integrations.networks.published_reading import Reading, buffers, normalisation_of
from coreselect_integrations.networks.routes import ROUTES
from coreselect_integrations.networks.weights import describe, empty_network, mismatch

RESNETS: Mapping[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
}
EXPORTED = "encoder_k."  # of an encoder with a momentum copy, the authors of DynACL evaluate the copy


@dataclass(frozen=True, slots=True)
class Recognised:
    """A network of ours from a published file: its `weights` and `spec`, and `lines` of what was recognised.

    `head` says whether the head of the file was taken; without it the head is a classifier of two classes that are zero.
    """

    weights: Mapping[str, Tensor]
    spec: NetworkSpec
    lines: tuple[str, ...]
    head: bool


def recognise(state: Mapping[str, Tensor], name: str, how: Reading = Reading()) -> Recognised:
    """Make the weights of one of our networks from a published state dict.

    Args:
        state: tensors by their published names.
        name: of the file, in messages.
        how: what the file does not say.
    Raises:
        DataError: the names are of no network here, or a tensor is missing, unknown or of another shape. The message has the
            nearest names. Two tensors are one of ours, the prefix or the order fits nothing, or a std is not above 0.
    """
    prefix, family = _network_in(state, name, how.prefix)
    inner = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    found = structure(list(inner), family)
    if how.order is not None and found.sets == 1:
        raise DataError(f"{name} has one set of normalisations, --routes would be without effect: leave it out.")
    order = how.order or (ROUTES if family == "resnet" else (ROUTES[1], ROUTES[0]))
    pixels = normalisation_of(state, prefix, how)
    names = {n: renamed(n, found, order) for n in inner if prefix + n not in pixels.held}
    unknown = [n for n, ours in names.items() if ours is None and not UNUSED.match(n) and not HEAD.match(n)]
    _refuse(unknown, names, prefix, name)
    _refuse_twins(names, prefix, name)
    weights = {ours: _plain(inner[n]) for n, ours in names.items() if ours is not None}
    spec, head = _spec(weights, found, name, how.size)
    double = {t.dtype for t in weights.values() if t.is_floating_point()} == {torch.float64}
    dtype = torch.float64 if double else torch.float32
    weights |= buffers(pixels, spec.channels, dtype, name)
    needed = empty_network(spec).state_dict()
    _refuse([n for n, o in names.items() if o and o not in needed and not o.startswith("head.")], names, prefix, name)
    if not head:
        weights = {n: t for n, t in weights.items() if not n.startswith("head.")}
        weights |= {n: torch.zeros(t.shape, dtype=dtype) for n, t in needed.items() if n.startswith("head.")}
    counters = [n for n in needed if n.endswith("num_batches_tracked") and n not in weights]
    weights |= {
        n: torch.zeros((), dtype=torch.int64) for n in counters
    }  # files of the first PyTorch releases lack them
    wrong = mismatch(weights, needed)
    if wrong is not None:
        raise DataError(
            f"{name} looks like {describe(spec)}, but it is not: {wrong}. The network may be built otherwise."
        )
    used = {
        prefix + n for n, ours in names.items() if ours is not None and (head or not ours.startswith("head."))
    } | pixels.used
    left = Counter(_part(n, prefix) for n in state if n not in used)
    lines = _lines(spec, found, order, len(used), left, prefix, pixels.said, head)
    return Recognised({n: weights[n] for n in needed}, spec, lines, head)


def _network_in(state: Mapping[str, Tensor], name: str, wanted: str | None) -> tuple[str, str]:
    """Return the prefix and the family of the network to read."""
    found = prefixes(state)
    if not found:
        said = f"its names begin with {first_few(list(state), 3)}" if state else "it is empty"
        raise DataError(
            f"{name} holds no network that is known here ({said}): the names {' or '.join(FIRST.values())} are looked for. "
            "Build the network in your own code, and give it with --model."
        )
    choices = _chosen(list(found), wanted)
    if len(choices) == 1:
        return choices[0], found[choices[0]]
    if choices:
        raise DataError(f"{name} holds the networks {_quoted(choices)}: choose one with `coreselect convert --prefix`.")
    if list(found) == [""]:
        raise DataError(f"{name} holds one network, whose names have no prefix: leave out --prefix {wanted}.")
    raise DataError(f"{name} holds no network {wanted!r}: give --prefix one of {_quoted(found)}.")


def _chosen(found: Sequence[str], wanted: str | None) -> list[str]:
    """Return the prefixes that may be meant: the wanted one, else those that end in it, so that `module.` may be left out."""
    if wanted is None:
        return [p for p in found if p.endswith(EXPORTED)] or [*found]
    whole = wanted.removesuffix(".")
    return [p for p in found if p.removesuffix(".") == whole] or [p for p in found if p.endswith(f".{whole}.")]


def _quoted(found: Iterable[str]) -> str:
    """Name networks by their prefixes."""
    return ", ".join(repr(p.removesuffix(".")) for p in found)


def _plain(tensor: Tensor) -> Tensor:
    """Return a tensor in float32 if it is of half precision, as it is otherwise."""
    half = tensor.dtype in (torch.float16, torch.bfloat16)
    return tensor.detach().float() if half else tensor.detach().clone()


def _spec(weights: Mapping[str, Tensor], found: Structure, name: str, size: int | None) -> tuple[NetworkSpec, bool]:
    """Describe the network, and say whether its head is one of ours."""
    stem = weights.get("stem.weight")
    if stem is None or stem.dim() != 4:
        raise DataError(f"{name} has no first convolution conv1.weight: it is another network.")
    kind = "imagenet" if stem.shape[-1] == 7 else "cifar"
    if found.family == "wide":
        width = len(weights["blocks.0.conv1.weight"]) // 16
        arch, called = {(4, 10): "wrn28_10"}.get((found.depths[0], width)), f"WRN-{6 * found.depths[0] + 4}-{width}"
    else:
        arch = RESNETS.get((found.depths, found.bottleneck))
        called = f"a ResNet with {found.depths} {'bottlenecks' if found.bottleneck else 'blocks'}"
    if arch is None:
        raise DataError(f"{name} holds {called}: there are resnet18, resnet34, resnet50 and wrn28_10 here.")
    size = size or (32 if kind == "cifar" else 224 if arch == "resnet50" else 96)
    base = NetworkSpec(arch, stem.shape[1], size, classes=2, dual_bn=found.sets == 2, stem=kind)
    layers = sum(n.startswith("head.linears.") and n.endswith(".weight") for n in weights)
    if layers in (2, 3):
        base = replace(base, classes=None, projection=layers)
    elif "head.weight" in weights and len(weights["head.weight"]) >= 2:
        base = replace(base, classes=len(weights["head.weight"]))
    needed = {n: t.shape for n, t in empty_network(base).state_dict().items() if n.startswith("head.")}
    held = {n: t.shape for n, t in weights.items() if n.startswith("head.")}
    fits = all(n in held or n.endswith("num_batches_tracked") for n in needed) and held.items() <= needed.items()
    return (base, True) if fits else (replace(base, classes=2, projection=None), False)


def _refuse(unknown: Sequence[str], names: Mapping[str, str | None], prefix: str, file: str) -> None:
    """Refuse names that are not known, each with the nearest name that is.

    Raises:
        DataError: there are such names.
    """
    if not unknown:
        return
    known = [n for n, ours in names.items() if ours is not None and n not in unknown]
    near = (get_close_matches(n, known, 1, 0.0) for n in unknown[:3])
    said = ", ".join(
        f"{prefix + n!r}" + (f" (nearest: {prefix + k[0]!r})" if k else "") for n, k in zip(unknown, near, strict=False)
    )
    more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
    why = f"{file} holds tensors that no network here has: {said}{more}. Build it in your own code, and give it with --model."
    raise DataError(why)


def _refuse_twins(names: Mapping[str, str | None], prefix: str, file: str) -> None:
    """Refuse two tensors that would be the same one of ours.

    Raises:
        DataError: there are two.
    """
    first: dict[str, str] = {}
    for name, ours in names.items():
        if ours is not None and first.setdefault(ours, name) != name:
            raise DataError(
                f"{file} holds both {prefix + first[ours]!r} and {prefix + name!r}, and a network here has one of them: take the "
                "one that is not used out of the file, or build the network in your own code, and give it with --model."
            )


def _part(name: str, prefix: str) -> str:
    """Return the part of the file that a tensor belongs to, for counting."""
    inside = name.removeprefix(prefix) if name.startswith(prefix) else name.removeprefix("module.")
    return inside.split(".")[0]


def _lines(
    spec: NetworkSpec, found: Structure, order: Sequence[str], used: int, left: Counter[str], prefix: str,
    normalisation: str | None, head: bool,
) -> tuple[str, ...]:  # fmt: skip
    """Say what was recognised."""
    there = f" below {prefix.removesuffix('.')}" if prefix else ""
    lines = [
        f"recognised {describe(spec) if head else describe(spec).rpartition(' and ')[0] + ', no head'}: {used} tensors{there}"
    ]
    if found.sets == 2:
        lines.append(f"the first set of normalisations is taken for {order[0]} images, the second for {order[1]} ones")
    if left:
        lines.append("left out: " + ", ".join(f"{part} ({n} tensors)" for part, n in sorted(left.items())))
    if normalisation is not None:
        lines.append(normalisation)
    return tuple(lines)
