"""Let the reference see the sections of our docstrings, which follow each other without an empty line."""

import re
from typing import Any

import griffe

HEAD = re.compile(r"(?<!\n)\n([ \t]*)(Args|Attributes|Raises|Returns|Yields):\n")


class Sections(griffe.Extension):
    """Put an empty line before each section."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Change the docstring of one object, after it was loaded."""
        if obj.docstring is not None:
            obj.docstring.value = HEAD.sub(r"\n\n\1\2:\n", obj.docstring.value)
