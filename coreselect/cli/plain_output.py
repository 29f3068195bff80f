"""Output on terminals and pipes that are not UTF-8: a character that they lack is written in plain letters, and nothing fails."""

import codecs
import sys
import unicodedata
from typing import TextIO

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
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-")
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None and not encoding.startswith("utf"):
        reconfigure(errors=HANDLER)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Return what to write for the characters that could not be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_letters, error.object[error.start : error.end])), error.end


def _letters(character: str) -> str:
    if "\u2500" <= character <= "\u257f":  # lines of tables
        return "-" if "HORIZONTAL" in unicodedata.name(character) else "|"
    if character in PLAIN:
        return PLAIN[character]
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"
