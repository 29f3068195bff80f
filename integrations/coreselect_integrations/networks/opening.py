"""Open a network from a file: one that `save_network` wrote, or a published checkpoint that is recognised by its names."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from coreselect.errors import DataError
from coreselect.io.weights_file import choose_weights
from coreselect_integrations.networks.checkpoint import DUAL, read_checkpoint
from coreselect_integrations.networks.files import Saved, is_ours, network_in
from coreselect_integrations.networks.published import recognise
from coreselect_integrations.networks.published_reading import Reading

MODEL = "model.pt"  # in the folder of a run
PUBLISHED = "published"  # the key in `Saved.about` of networks that were recognised
HEADLESS = "headless"  # the same, where the head is none of the file


def open_network(path: str | Path, how: Reading = Reading(), *, dual: bool = False) -> tuple[Saved, tuple[str, ...]]:
    """Read a network, and say what was recognised; nothing is said about files of `save_network`.

    Args:
        path: of the file.
        how: what a published file does not say; it must be the default for a file of `save_network`.
        dual: prefer the part of a published file that has two sets of normalisations, if it has several.
    Raises:
        DataError: the file is missing, cut off, damaged or of another kind, or holds a network that is not known.
    """
    held = read_checkpoint(path)
    if is_ours(held):
        if how != Reading():
            raise DataError(
                f"{path} is a file of coreselect, which says what its network is: leave the other options out."
            )
        return network_in(held, path), ()
    if dual and how.part is None and isinstance(held, Mapping) and DUAL in held:
        how = replace(how, part=DUAL)
    chosen = choose_weights(held, path, how.part, "--part")
    found = recognise(chosen.weights, str(path), how)
    lines = list(found.lines)
    if chosen.other_keys:
        lines.append(f"read from {chosen.key or 'the file itself'}; the file holds {', '.join(chosen.other_keys)} too")
    about: dict[str, Any] = {PUBLISHED: Path(path).name, HEADLESS: not found.head}
    return Saved(found.weights, found.spec, about), tuple(lines)


def network_file(path: str | Path) -> Path:
    """Return the file of a network: the path itself, or model.pt in the folder of a run.

    Raises:
        DataError: there is no such file.
    """
    file = Path(path) / MODEL if Path(path).is_dir() else Path(path)
    if not file.is_file():
        why = (
            f"there is no file {file}: --from takes the model.pt that a run of `coreselect train` or `finetune` ends with, or a "
            "published checkpoint."
        )
        raise DataError(why)
    return file


def classes_of(saved: Saved) -> int | None:
    """Return the number of classes that a network tells apart; None for an extractor.

    The classes of lpaft are clusters, not labels.
    """
    extractor = saved.about.get("mode") == "lpaft" or saved.about.get(HEADLESS)
    return None if extractor else saved.spec.classes
