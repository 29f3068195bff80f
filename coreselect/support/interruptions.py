"""Ctrl-C between steps and not inside them: what is put aside for a while is put back whole, at whatever instant it comes.

Python raises KeyboardInterrupt between any two instructions, also in a `finally` that has not begun its work. Inside
`interruptible`, Ctrl-C that comes while a function marked with `whole` is running waits until it is done. For a generator of a
context manager this is its beginning and its end: while the block of the `with` runs, the generator does not.
"""

import _thread
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, TypeVar

AGAIN = 0.01  # seconds until Ctrl-C that had to wait is tried again
Function = TypeVar("Function", bound=Callable[..., Any])
_whole: set[CodeType] = set()
_ending: set[CodeType] = set()  # generators of which the end alone is whole: their beginning takes long
_MANAGER = contextlib._GeneratorContextManager  # the standard library has no public name for it
_ENTER, _EXIT = _MANAGER.__enter__.__code__, _MANAGER.__exit__.__code__
_STACK = contextlib.ExitStack
_STACK_ENTER, _STACK_EXIT = _STACK.enter_context.__code__, _STACK.__exit__.__code__


def whole(function: Function) -> Function:
    """Mark a function that Ctrl-C must not cut in two; for a context manager, below `contextmanager`."""
    _whole.add(function.__code__)
    return function


def whole_at_the_end(function: Function) -> Function:
    """Mark the generator of a context manager whose end Ctrl-C must not cut in two; its beginning may be interrupted."""
    _ending.add(function.__code__)
    return function


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C wait for functions that are `whole` while the block runs.

    A handler of the caller's own is left alone, and so are threads other than the main one, which no signal reaches.
    """
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not ours:
        yield
        return
    try:
        signal.signal(signal.SIGINT, _handle)
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _handle(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, or try again in a moment."""
    if not _must_wait(frame):
        raise KeyboardInterrupt
    again = threading.Timer(AGAIN, _send)
    again.daemon = True
    again.start()


def _send() -> None:
    """Send Ctrl-C to the main thread; a signal of the system also ends its waiting."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _must_wait(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if code in _whole or code is _STACK_EXIT:
            return True
        if code in (_ENTER, _EXIT, _STACK_ENTER):
            manager = frame.f_locals.get("cm" if code is _STACK_ENTER else "self")
            runs = getattr(getattr(manager, "gen", None), "gi_code", None)
            if runs in _whole or (code is _EXIT and runs in _ending):
                return True
        frame = frame.f_back
    return False
