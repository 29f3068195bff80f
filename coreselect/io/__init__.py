"""Files on disk: index files that hold a selection, and the fingerprint that connects a selection with its data."""

from coreselect.io.atomic import atomic_file
from coreselect.io.fingerprint import fingerprint
from coreselect.io.index_file import ENDINGS, convert, ending, read, read_indices, write

__all__ = ["ENDINGS", "atomic_file", "convert", "ending", "fingerprint", "read", "read_indices", "write"]
