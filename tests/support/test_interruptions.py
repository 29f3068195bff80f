"""Ctrl-C at any instant of a selection leaves the model, the random states and the handler of signals as they were."""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import coreselect
from coreselect import Task, select
from coreselect.attacks import PGD
from coreselect.selectors import RCS
from coreselect.support.interruptions import interruptible, whole


@pytest.fixture(autouse=True)
def python_hears_ctrl_c() -> Iterator[None]:
    """A process in the background of a shell ignores Ctrl-C, and so would every test here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


OURS = os.path.dirname(coreselect.__file__)
WATCHED = (
    "network/frozen.py", "network/modes.py", "network/hooks.py", "network/substitution.py", "network/arithmetic.py",
    "network/network.py", "network/trace.py", "support/seeding.py", "task/opening.py", "gradients/factors.py", "contextlib.py",
)  # fmt: skip


class Noisy(nn.Module):
    """A network with everything that a selection puts aside: modes, contents that change, and layers with hooks of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes = self.passes + 1
        return self.head(torch.relu(self.norm(self.body(x))))


def task_of(model: nn.Module) -> Any:
    g = torch.Generator().manual_seed(0)
    items = [(torch.rand(3, generator=g), i % 2) for i in range(12)]
    return Task.from_model(model, items[:9], items[9:], loss="ce", attack=PGD(0.1, 0.1, 1), batch_size=9)


def state_of(model: nn.Module) -> list[Any]:
    """Everything that must be as before: flags, tables, contents, hooks, random states, and the handler of Ctrl-C."""
    out: list[Any] = [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), signal.getsignal(signal.SIGINT)]
    for name, m in model.named_modules():
        out += [name, m.training, len(m._forward_hooks), len(m._forward_pre_hooks)]
    for name, t in (*model.named_parameters(), *model.named_buffers()):
        out += [name, id(t), t.requires_grad, t.tolist(), t.grad]
    _, numpy_state, *_ = np.random.get_state(legacy=True)
    return [*out, random.getstate(), str(numpy_state), torch.get_rng_state().tolist()]


class Interrupter:
    """Count the lines that run in some files, and send Ctrl-C before one of them."""

    def __init__(self, at: int | None) -> None:
        self.at, self.count = at, 0

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any] | None:
        if not frame.f_code.co_filename.endswith(WATCHED):
            return None
        if event == "line":
            self.count += 1
            if self.count == self.at:
                signal.raise_signal(signal.SIGINT)
        return self

    def run(self, work: Callable[[], Any]) -> bool:
        """Do the work; return whether Ctrl-C ended it."""
        before = sys.gettrace()
        try:
            sys.settrace(self)
            work()
            sys.settrace(before)
            for _ in range(200):  # one that had to wait comes a moment later
                if self.at is None or threading.active_count() == 1:
                    break
                time.sleep(0.005)
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False


def test_an_interrupted_selection_leaves_no_trace() -> None:
    """At 40 lines, spread over all that a selection runs where something is put aside; and an uninterrupted one still works."""
    model = Noisy().train()
    model.body.weight.requires_grad_(False)
    task = task_of(model)
    before, whole_run = state_of(model), Interrupter(None)

    def work() -> Any:
        return select(task, RCS(group_size=3), 3, seed=0)

    work()  # the first selection of a process imports more, and so runs lines that no later one runs
    assert not whole_run.run(work)
    assert state_of(model) == before
    lines = whole_run.count
    assert lines > 1000
    ended = sum(_interrupted(at, work, model, before) for at in range(1, lines, max(1, lines // 40)))
    assert ended > 25


def _interrupted(at: int, work: Callable[[], Any], model: nn.Module, before: list[Any]) -> bool:
    ended = Interrupter(at).run(work)
    after = state_of(model)
    assert after == before, (at, [(a, b) for a, b in zip(after, before, strict=True) if a != b][:3])
    return ended


def test_ctrl_c_waits_for_what_is_whole() -> None:
    """In the middle of it nothing happens; right after it KeyboardInterrupt comes."""
    done = []

    @whole
    def step() -> None:
        signal.raise_signal(signal.SIGINT)
        done.append("all of it")

    def work() -> None:
        with interruptible():
            step()
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]


def test_the_beginning_and_the_end_of_a_context_are_whole_and_its_block_is_not() -> None:
    """While the block runs, the generator does not."""
    said = []

    @contextmanager
    @whole
    def aside() -> Any:
        said.append("in")
        try:
            yield
        finally:
            said.append("out")

    def work() -> None:
        with interruptible(), aside():
            signal.raise_signal(signal.SIGINT)
            said.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert said == ["in", "out"]


def test_a_handler_of_the_caller_is_left_alone() -> None:
    """It is called at once, and is still there afterwards."""
    heard = []
    usual = signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
    finally:
        mine = signal.signal(signal.SIGINT, usual)
    assert heard == [1]
    assert mine is not usual
