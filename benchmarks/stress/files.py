"""Damaged and hostile files, each given to its reader under limits of time and memory, in a child that may die."""

from __future__ import annotations

import os
import pickle
import random
import resource
import select
import shutil
import signal
import struct
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.stress.readers import READERS, Reader
from coreselect.errors import CoreselectError

SECONDS, MEMORY = 10.0, 2**30  # of one input: time, and memory above that of the process as it begins
WRONG = ("difference", "traceback", "hang", "code run", "died")


class Evil:
    """An object whose pickle runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def damaged(good: bytes, draw: random.Random, marker: Path) -> tuple[str, bytes]:
    """Return the kind of a damage, and the damaged content of a file."""
    kind = draw.choice(KINDS)
    at, size = draw.randrange(len(good)), max(1, int(len(good) * draw.random() ** 4))
    if kind == "bit":
        out = bytearray(good)
        for _ in range(draw.choice((1, 1, 1, 2, 8))):
            place = draw.choice((draw.randrange(len(good)), draw.randrange(min(len(good), 200))))
            out[place] ^= 1 << draw.randrange(8)
        return kind, bytes(out)
    if kind == "number":  # four or eight bytes become an extreme number
        number = struct.pack("<q", draw.choice((-1, 0, 2**31 - 1, 2**32 - 1, 2**62, 10**12)))[: draw.choice((4, 8))]
        return kind, good[:at] + number + good[at + len(number) :]
    if kind == "digits" and (places := [i for i, b in enumerate(good[:4000]) if 48 <= b < 58]):
        place = draw.choice(places)
        return kind, good[:place] + draw.choice((b"999999999999", b"-1", b"1e999", b"nan", b"5.0")) + good[place + 1 :]
    if kind == "hostile":
        return kind, pickle.dumps(Evil(f"touch {marker}"), draw.choice((0, 2, 4)))
    span = {"zeros": bytes(size), "noise": draw.randbytes(size), "repeat": good[at : at + size] * draw.choice((2, 50))}
    if kind in span:
        return kind, good[:at] + span[kind] + good[at + size :]
    return "cut", good[:at]


KINDS = ("bit", "bit", "bit", "number", "digits", "hostile", "zeros", "noise", "repeat", "cut")


def run(count: int, seed: int, place: Path) -> tuple[Counter[str], list[str]]:
    """Damage so many files over all readers; return counts by outcome, and what went wrong in words."""
    counts, wrong, names = Counter[str](), list[str](), list(READERS)
    shares = [count // len(names) + (i < count % len(names)) for i in range(len(names))]
    for name, share in zip(names, shares, strict=True):
        folder = place / "files" / name.replace(" ", "-")
        folder.mkdir(parents=True)
        for number, outcome, said in _all(READERS[name], share, f"{seed} {name}", folder):
            counts[outcome] += 1
            if outcome in WRONG:
                wrong.append(f"{name}, input {number}: {outcome}: {said}")
        shutil.rmtree(folder)
    return counts, wrong


def _all(reader: Reader, count: int, seed: str, folder: Path) -> list[tuple[int, str, str]]:
    """Give all inputs to a reader: in one child, and after one that hangs or kills it, in another."""
    found: list[tuple[int, str, str]] = []
    while len(found) < count:
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:
            os.close(ours)
            _child(reader, range(len(found), count), seed, folder, theirs)
        os.close(theirs)
        with open(ours, "rb", buffering=0) as lines:
            rest = b""
            while True:
                ready = select.select([lines], [], [], SECONDS)[0]
                chunk = lines.read(65536) if ready else None
                if not chunk:
                    break
                *whole, rest = (rest + chunk).split(b"\n")
                found += [_parsed(line) for line in whole]
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            if len(found) < count:
                found.append((len(found), "hang" if not ready else "died", "the child gave no answer"))
    return found


def _parsed(line: bytes) -> tuple[int, str, str]:
    number, outcome, said = line.decode().split("\t", 2)
    return int(number), outcome, said


def _child(reader: Reader, numbers: range, seed: str, folder: Path, out: int) -> None:
    """Read each damaged file, and write a line about each; then end."""
    try:
        warnings.simplefilter("ignore")
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        path = reader.make(folder)
        good, expected, marker = path.read_bytes(), reader.read(path), folder.parent / "ran"
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        for number in numbers:
            kind, content = damaged(good, random.Random(f"{seed} {number}"), marker)
            path.write_bytes(content)
            outcome, said = _outcome(reader, path, expected, unchanged=content == good)
            if marker.exists():
                outcome, said = "code run", kind
                marker.unlink()
            os.write(out, f"{number}\t{outcome}\t{kind}: {' '.join(said.split())[:300]}\n".encode())
    finally:
        os._exit(0)


def _outcome(reader: Reader, path: Path, expected: Any, *, unchanged: bool) -> tuple[str, str]:
    try:
        found = reader.read(path)
    except CoreselectError as why:
        said = str(why)
        return ("refused", said) if "\n" not in said and len(said) < 1000 else ("traceback", f"no sentence: {said}")
    except BaseException as why:
        return "traceback", f"{type(why).__name__}: {why}"
    if found == expected:
        return "same content", ""
    return ("difference", "read as another content") if reader.verified and not unchanged else ("other content", "")
