"""Texts of files for a terminal or a picture: what would steer it, or turn the reading direction, is written as a code."""

import unicodedata
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")
STEERS = ("Cc", "Cs", "Zl", "Zp")  # categories of Unicode: controls, halves of characters, ends of lines and paragraphs
TURNS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """Return the text with a code in place of each control character, mark of direction, and byte that is no UTF-8."""
    return text if text.isprintable() else "".join(code(c) if _steers(c) else c for c in text)


def code(character: str) -> str:
    """Write a character as a code: `\\xfe` for a byte of a path that is no UTF-8, else `\\u001b`."""
    number = ord(character)
    return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"


def all_printable(value: T) -> T:
    """Return a record, or plain values, with every text in it as `printable` writes it."""
    return _all(value)


def _all(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {_all(k): _all(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_all, value)) if type(value) in (list, tuple) else value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _all(getattr(value, f.name)) for f in fields(value) if f.init})
    return value


def _steers(character: str) -> bool:
    return character in TURNS or unicodedata.category(character) in STEERS
