"""What is in a folder that another process may remove while it is read."""

from fnmatch import fnmatchcase
from pathlib import Path


def found_in(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the paths in a folder with a name of this pattern, sorted; none where there is no folder, or none any more.

    `Path.glob` asks first whether the folder exists and then reads it: it fails when the folder is removed in between.

    Raises:
        OSError: the folder exists and cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if fnmatchcase(path.name, pattern))
    except (FileNotFoundError, NotADirectoryError):
        return []
