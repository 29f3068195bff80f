"""Claims about texts of files on a terminal: they cannot steer it, and nothing of them is lost."""

import os
import unicodedata
from dataclasses import dataclass, field

import numpy as np
import pytest

from coreselect.support.printable import all_printable, printable

TURNS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize("text", ["", "two words", "[red]漢字 é 🙂", "ไทย עברית", "a\u3000b\u00a0c"])
def test_words_in_any_script_stay(text: str) -> None:
    """Letters, marks, symbols and spaces are written as they are."""
    assert printable(text) == text


def test_what_steers_a_terminal_is_a_code() -> None:
    """Every control character and mark of direction, also beside others; the code names it."""
    controls = [*map(chr, (*range(0x20), *range(0x7F, 0xA0))), *TURNS, "\u2028", "\u2029"]
    for character in controls:
        assert printable(f"é{character}x") == f"é\\u{ord(character):04x}x"
    assert not any(unicodedata.category(c) == "Cc" for c in printable("".join(controls)))


def test_bytes_of_a_path_are_codes() -> None:
    """A name that is no UTF-8 can be written, encoded and read by a person."""
    assert printable(os.fsdecode(b"a\xfe.npz")) == "a\\xfe.npz"
    assert printable("\ud800").encode() == b"\\ud800"


def test_records_are_cleaned_whole() -> None:
    """Texts inside mappings, lists and records; numbers and arrays stay what they are."""

    @dataclass(frozen=True)
    class Inner:
        name: str = "\x1b[31m"
        rows: np.ndarray = field(default_factory=lambda: np.arange(2))

    found = all_printable({"\x07": [Inner(), 1, None], "b": ("\x00",)})
    assert found["\\u0007"][0].name == "\\u001b[31m"
    assert found["\\u0007"][0].rows.tolist() == [0, 1]
    assert found["\\u0007"][1:] == [1, None]
    assert found["b"] == ("\\u0000",)
