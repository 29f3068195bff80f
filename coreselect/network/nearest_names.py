"""The names of submodules that are nearest to a name that a model does not have."""

from collections.abc import Sequence
from difflib import get_close_matches

from coreselect.errors import first_few


def nearest_names(wanted: str, names: Sequence[str], most: int = 4) -> str:
    """Write the nearest names: those that end in the wanted one, then those of similar spelling, then the first.

    Args:
        names: of a model's submodules.
    """
    known = [n for n in names if n]
    ending = [n for n in known if wanted and n.endswith(f".{wanted}")]
    leaf = wanted.rpartition(".")[2]
    similar = get_close_matches(wanted, known, most, 0.5)
    leaves = {n.rpartition(".")[2] for n in known}
    close = set(get_close_matches(leaf, sorted(leaves), 2, 0.6))
    similar += [n for n in known if n.rpartition(".")[2] in close]
    found = list(dict.fromkeys([*ending, *similar])) or known
    return first_few(found[:most]) if found else "none, it has no submodules"
