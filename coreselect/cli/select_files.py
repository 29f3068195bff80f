"""The index files of `coreselect select`: one for each method."""

from collections.abc import Sequence
from pathlib import Path

PLACE = "{selector}"  # where the name of the method goes


def files_of(out: Path | None, names: Sequence[str], *, several: bool) -> list[Path | None]:
    """Return the file of each method, or None for all where none is written.

    Args:
        out: the file; for several methods a folder, whose files are called by the methods, or a name with `{selector}` in it.
        names: of the methods.
        several: whether several methods were asked for, even if the list has one name.
    Raises:
        ValueError: a name is missing or there twice, or the files of several methods would be one file.
    """
    if not all(names) or len(set(names)) < len(names):
        raise ValueError(f"--selectors takes each method once, rcs,craig,k_center, got {','.join(names)!r}.")
    if out is None:
        return [None] * len(names)
    if PLACE in str(out):
        return [Path(str(out).replace(PLACE, name)) for name in names]
    if not several:
        return [out]
    if out.suffix:
        raise ValueError(
            f"--selectors writes one file for each method: give a folder as --out, or {out.stem}-{PLACE}{out.suffix}, got {out}."
        )
    return [out / f"{name}.npz" for name in names]
