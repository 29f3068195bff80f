"""A look through a pickle before it is loaded: every length and number in it is one that its own size allows.

A pickle of a few bytes can ask for a memo of 2³² entries, a frame of 2⁶³ bytes, or numbers that take quadratic time. The scan
reads the opcodes, skips their contents, and takes time in proportion to the file.
"""

import os
import pickletools
from typing import BinaryIO

_COUNTED = {  # of `pickletools`: where the length of an argument stands, and how it is written
    pickletools.TAKEN_FROM_ARGUMENT1: (1, False), pickletools.TAKEN_FROM_ARGUMENT4: (4, True),
    pickletools.TAKEN_FROM_ARGUMENT4U: (4, False), pickletools.TAKEN_FROM_ARGUMENT8U: (8, False),
}  # fmt: skip
_OPS = {ord(op.code): op for op in pickletools.opcodes}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_NUMBERS = {"INT", "LONG", "FLOAT", "PUT", "GET"}  # written as text
_LONGEST = 64  # characters of a number
_WIDEST, _WIDE, _FEW = 16, 8, 16  # bytes of a whole number; how many of a pickle may have more than 8: a magic number


def scan(file: BinaryIO) -> None:
    """Look through one pickle, up to its end, and go back to where it began.

    Args:
        file: at the first byte of a pickle; it can be sought in.
    Raises:
        ValueError, EOFError: a length or a number is impossible, an opcode is unknown, or the end is missing.
    """
    begin = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(begin)
    count = wide = 0
    while True:
        code = file.read(1)
        op = _OPS.get(code[0]) if code else None
        if op is None:
            raise EOFError("it ends too early") if not code else ValueError(f"an unknown opcode {code!r}")
        count += 1
        if op.name == "STOP":
            file.seek(begin)
            return
        if op.arg is None:
            continue
        if op.arg.n >= 0:
            number = int.from_bytes(file.read(op.arg.n), "little") if op.name in _PUTS or op.name == "FRAME" else None
            if number is None:
                file.seek(op.arg.n, os.SEEK_CUR)
        elif op.arg.n == pickletools.UP_TO_NEWLINE:
            line = file.readline()
            if op.name in ("GLOBAL", "INST"):
                file.readline()
            if op.name in _NUMBERS and len(line) > _LONGEST:
                raise ValueError(f"a number of {len(line):,} characters")
            number = int(line) if op.name == "PUT" else None
        else:
            width, signed = _COUNTED[op.arg.n]
            length, number = int.from_bytes(file.read(width), "little", signed=signed), None
            if not 0 <= length <= end - file.tell():
                raise ValueError(f"a part of {length:,} bytes, which are not there")
            wide += op.name.startswith("LONG") and length > _WIDE
            if op.name.startswith("LONG") and (length > _WIDEST or wide > _FEW):
                raise ValueError(f"a whole number of {length:,} bytes")
            file.seek(length, os.SEEK_CUR)
        if number is not None and op.name == "FRAME" and number > end - file.tell():
            raise ValueError(f"a frame of {number:,} bytes, which are not there")
        if number is not None and op.name in _PUTS and not 0 <= number <= count:
            raise ValueError(f"a memo of {number:,} entries after {count:,} steps")
