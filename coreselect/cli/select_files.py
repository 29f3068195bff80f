"""The index files of `coreselect select`: one for each method."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from coreselect.gradients.row_store import FolderStore
from coreselect.io import index_file
from coreselect.io.atomic import check_target
from coreselect.io.file_names import LONGEST, file_name
from coreselect.io.sole_use import sole_writing
from coreselect.support import ranks

PLACE = "{selector}"  # where the name of the method goes


@contextmanager
def written_alone(files: Sequence[Path], weights: Path | None) -> Iterator[None]:
    """Refuse files that cannot be written, and keep other processes from writing them while the block runs.

    Args:
        files: index files.
        weights: a file of weights that is written too, or None.
    Raises:
        IndexFileError: a name has no known ending.
        DataError: a file cannot be written, or another process is about to write it.
    """
    for path in files:
        index_file.ending(path)  # refuse an unknown format here, not an hour later
    with ExitStack() as uses:
        for path in (*files, *([] if weights is None else [weights])) if ranks.rank() == 0 else ():
            check_target(path)
            uses.enter_context(sole_writing(path))
        yield


def say_what_is_stored(folder: Path, talk: Console) -> None:
    """Say which sweeps a store holds, and how much of them."""
    for kind, done, batches in FolderStore(folder).contents():
        talk.print(f"{folder}: {done:,} of {batches:,} batches of the sweep {kind!r} are there", markup=False)


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
    plain = [file_name("".join(name.split())) for name in names]
    if several and (len({name.casefold() for name in plain}) < len(plain) or max(map(len, plain)) > LONGEST):
        raise ValueError(
            f"two of the methods would be one file, or its name is longer than {LONGEST} characters: write them in other words, "
            f"or one at a time, got {','.join(names)!r}."
        )
    if PLACE in str(out):
        return [Path(str(out).replace(PLACE, name)) for name in plain]
    if not several:
        return [out]
    if out.suffix:
        raise ValueError(
            f"--selectors writes one file for each method: give a folder as --out, or {out.stem}-{PLACE}{out.suffix}, got {out}."
        )
    return [out / f"{name}.npz" for name in plain]
