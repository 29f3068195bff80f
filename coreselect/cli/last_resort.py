"""One sentence for an error that nobody foresaw: what was read or written, or where the code failed."""

import errno
import sysconfig
import traceback
from pathlib import Path

WAYS = {  # what to do about an error of the operating system
    errno.ENOSPC: "free some space on that disk, or choose another place",
    errno.EDQUOT: "free some of your quota, or choose another place",
    errno.EFBIG: "raise the limit on file sizes, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "ask for permission, or choose another place",
    errno.EPERM: "ask for permission, or choose another place",
    errno.ENOENT: "give a path that exists",
    errno.ENOTDIR: "give a path below a folder",
    errno.EISDIR: "give the path of a file",
    errno.EEXIST: "give a path that is free",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.EMFILE: "raise the limit on open files, or use fewer workers",
    errno.EIO: "check the disk",
}
NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
OWN = Path(__file__).resolve().parents[1]


def explained(error: BaseException) -> str:
    """Return one sentence about an error: what happened, and what to do."""
    said = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(words in said.lower() for words in NO_MEMORY):
        return (
            "the memory is not enough"
            + (f" ({said[:160]})" if said else "")
            + ": give a smaller --batch-size, a smaller pool, or more memory."
        )
    if "PytorchStreamWriter" in said:
        return f"a file of weights could not be written whole ({said[:160]}): free some space, or choose another place."
    if isinstance(error, OSError) and error.errno is not None:
        files = [str(f) for f in (error.filename, error.filename2) if f is not None]
        what = " and ".join(files) or "a file"
        way = WAYS.get(error.errno, "check the path and the disk")
        return f"{what} cannot be read or written ({error.strerror}): {way}."
    name = type(error).__name__
    where = ", ".join([_place(error), *(note for note in getattr(error, "__notes__", ()) if note.startswith("while "))])
    return (
        f"{name}{f': {said[:300]}' if said else ''} ({where}): run `coreselect --debug …` for the traceback; report it, "
        "if the code that failed is not your own."
    )


def _place(error: BaseException) -> str:
    """Return the file and the line that failed: the last line of code that is no library, or else the last line of all."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "no traceback"
    libraries = [Path(p).resolve() for p in {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}]
    own = [f for f in frames if not any(_below(f.filename, p) for p in (*libraries, OWN))]
    last = (own or frames)[-1]
    return f"{last.filename}, line {last.lineno}"


def _below(file: str, folder: Path) -> bool:
    return folder in Path(file).resolve().parents or file.startswith("<")
