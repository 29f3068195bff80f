"""How to read a published file, and by which mean and std its network normalises pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from coreselect.errors import DataError
from coreselect_integrations.networks.published_names import NORMALISATIONS

Pixels = Sequence[float]  # one number for each channel, or one for all


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a published file, where the file itself does not say it.

    Args:
        part: the state dict in the file, such as `state_dict_dual`; None takes the usual ones in turn.
        prefix: of the network, if the file holds several; None takes `encoder_k.`, or the only one.
        order: the routes of `bn_list.0` and `bn_list.1`; None means natural first in a ResNet, adversarial first in a wide
            ResNet, as in the programs.
        size: H = W of the images; None means 32, with the stem for large images 96 (ResNet-18, 34) or 224 (ResNet-50).
        mean, std: by which the network's own code normalises pixels; None means those in the file, or not at all.
    """

    part: str | None = None
    prefix: str | None = None
    order: tuple[str, str] | None = None
    size: int | None = None
    mean: Pixels | None = None
    std: Pixels | None = None


@dataclass(frozen=True, slots=True)
class Normalisation:
    """How pixels are normalised: by `mean` and `std`; the names in the file that are `held`, and `used`; what is to be `said`."""

    mean: Pixels | Tensor
    std: Pixels | Tensor
    held: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()
    said: str | None = None


def normalisation_of(state: Mapping[str, Tensor], prefix: str, how: Reading) -> Normalisation:
    """Return how pixels are normalised: numbers that are given count more than those in the file."""
    parent = prefix.removesuffix(".").rpartition(".")[0]
    places = [(b + m, b + s) for b in (prefix, f"{parent}." if parent else "") for m, s in NORMALISATIONS]
    names = next((both for both in places if both[0] in state and both[1] in state), ())
    held: list[Pixels | Tensor] = [state[n].flatten() for n in names] or [(0.0,), (1.0,)]
    given = (how.mean, how.std)
    mean, std = (h if g is None else g for g, h in zip(given, held, strict=True))
    used = frozenset(n for n, g in zip(names, given, strict=False) if g is None)
    said = None if names else "pixels are not normalised, as the file has no mean and std"
    if given != (None, None):
        said = "pixels are normalised by the numbers given" + (", not by those in the file" if names else "")
    return Normalisation(mean, std, frozenset(names), used, said)


def buffers(pixels: Normalisation, channels: int, dtype: torch.dtype, name: str) -> dict[str, Tensor]:
    """Return mean and std as our buffers, [channels, 1, 1].

    Raises:
        DataError: they are not one number for each channel or for all, or not finite, or a std is not above 0.
    """
    found = {}
    for word, values in (("mean", pixels.mean), ("std", pixels.std)):
        numbers = torch.as_tensor(values, dtype=dtype).flatten()
        if len(numbers) not in (1, channels):
            raise DataError(
                f"{name} has {channels} channels, and its {word} {len(numbers)} numbers: one each is needed."
            )
        if not numbers.isfinite().all() or (word == "std" and not (numbers > 0).all()):
            kind = "finite numbers above 0" if word == "std" else "finite numbers"
            got = ", ".join(f"{x:g}" for x in numbers.tolist())
            raise DataError(f"{name} would be read with the {word} {got} of pixels: give {kind} as --mean and --std.")
        found[f"normalise.{word}"] = numbers.expand(channels).reshape(-1, 1, 1).clone()
    return found
