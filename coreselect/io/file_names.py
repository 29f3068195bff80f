"""Names of files and folders that are made from the words of a method."""

import re

LONGEST = 200  # characters of such a name; file systems allow 255


def file_name(words: str) -> str:
    """Replace every character that some file system does not take by an underscore: `rcs:eta=0.05` is `rcs_eta=0.05`."""
    return re.sub(r"[^\w.+=@-]", "_", words)
