"""Output on terminals and pipes that lack a character: it is written in plain letters, and nothing fails.

UTF-8 lacks only the bytes of paths that are no UTF-8: these are written as codes.
"""

import codecs
import sys
import unicodedata
from typing import TextIO

from coreselect.support.printable import code

HANDLER = "coreselect-plain"
PLAIN = {
    "…": "...", "–": "-", "—": "-", "−": "-", "‖": "|", "×": "x", "·": "*", "÷": "/", "±": "+/-", "≤": "<=", "≥": ">=", "≈": "~",
    "→": "->", "←": "<-", "⟨": "<", "⟩": ">", "⌊": "floor(", "⌋": ")", "η": "eta", "θ": "theta", "λ": "lambda", "σ": "sigma",
    "ε": "epsilon", "δ": "delta", "γ": "gamma", "κ": "kappa", "μ": "mu", "Σ": "sum", "∈": "in", "∞": "inf", "“": '"', "”": '"',
    "‘": "'", "’": "'", "′": "'", "█": "#", "▇": "#", "▂": "_", "•": "*", "✓": "yes", "✗": "no",
}  # fmt: skip


def plain_streams() -> None:
    """Let stdout and stderr write what their encoding lacks in plain letters."""
    codecs.register_error(HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        _prepare(stream)


def _prepare(stream: TextIO) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors=HANDLER)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Return what to write for the characters that could not be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_letters, error.object[error.start : error.end])), error.end


def _letters(character: str) -> str:
    if "\u2500" <= character <= "\u257f":  # lines of tables
        return "-" if "HORIZONTAL" in unicodedata.name(character) else "|"
    if unicodedata.category(character) == "Cs":
        return code(character)
    if character in PLAIN:
        return PLAIN[character]
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"
