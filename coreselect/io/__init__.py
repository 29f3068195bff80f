"""What is kept on disk: index files, and the fingerprint that ties one to its data."""

from coreselect.io.fingerprint import fingerprint
from coreselect.io.index_file import ENDINGS, convert, ending, read, read_indices, write
from coreselect.io.whole import whole_file

__all__ = ["ENDINGS", "convert", "ending", "fingerprint", "read", "read_indices", "whole_file", "write"]
