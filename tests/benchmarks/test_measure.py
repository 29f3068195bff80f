"""Claims about the meter: a fake of known cost is measured as what it costs."""

import json
import os
import socket
from collections.abc import Generator, Iterator

import pytest
import torch

from benchmarks.environment import environment
from benchmarks.meter import MIB, Interleaved, Meter, held_bytes, take_turns


class World:
    """A clock and a memory that move only when work says so."""

    def __init__(self) -> None:
        self.now = self.cpu = 0.0
        self.held = 100 * MIB

    def work(self, seconds: float, *, cpu: float | None = None, mib: int = 0) -> None:
        """Take seconds, and hold some memory from now on."""
        self.now += seconds
        self.cpu += seconds if cpu is None else cpu
        self.held += mib * MIB

    def meter(self) -> Meter:
        return Meter(clock=lambda: self.now, cpu=lambda: self.cpu, memory=lambda: self.held, every=None)


@pytest.fixture
def world() -> World:
    return World()


def test_parts_add_up_and_pauses_do_not_count(world: World) -> None:
    """A part's seconds are the sum over its visits; what happens between visits belongs to nobody."""
    with world.meter() as meter:
        with meter("a"):
            world.work(2.0, cpu=1.5)
        world.work(50.0)
        with meter("a"):
            world.work(3.0, cpu=0.5)
        with meter("b"):
            world.work(7.0)
    assert meter.seconds == {"a": 5.0, "b": 7.0}
    assert meter.cpu_seconds == {"a": 2.0, "b": 7.0}


def test_an_inner_part_is_taken_out_of_the_outer(world: World) -> None:
    """What rides inside is counted as its own and not twice."""
    with world.meter() as meter, meter("outer"):
        world.work(1.0)
        with meter("inner"):
            world.work(10.0)
        world.work(2.0)
    assert meter.seconds == {"outer": 3.0, "inner": 10.0}


def test_a_part_that_fails_is_counted(world: World) -> None:
    """An exception closes the part."""
    with world.meter() as meter:
        with pytest.raises(TypeError), meter("fails"):
            world.work(4.0, mib="much")  # type: ignore[arg-type]  # it takes its seconds, then fails
        with meter("next"):
            world.work(1.0)
    assert meter.seconds == {"fails": 4.0, "next": 1.0}


def test_memory_is_the_peak_above_the_start(world: World) -> None:
    """What was held before the meter is not a part's; each part has its own peak."""
    with world.meter() as meter:
        with meter("large"):
            world.work(1.0, mib=300)
            with meter("inside"):
                world.work(1.0, mib=50)
            world.work(1.0, mib=-340)
        with meter("small"):
            world.work(1.0, mib=5)
    assert meter.record()["peak_mib"] == {"large": 350.0, "inside": 350.0, "small": 15.0}


@pytest.mark.skipif(not os.path.isfile("/proc/self/status"), reason="only Linux tells anonymous memory apart")
def test_an_allocation_of_known_size_is_seen() -> None:
    """A block of 64 MiB that is written to is seen by the meter's thread although it is gone at the part's end."""
    with Meter(every=0.001) as meter, meter("block"):
        block = torch.ones(64 * MIB // 4)
        for _ in range(40):  # long enough for the thread to look, whatever the machine is doing
            block.mul_(1.5)
        del block
    assert 60 * MIB <= meter.peak["block"] <= 200 * MIB
    assert held_bytes() > 0


def test_work_alongside_takes_its_turns_and_gives_its_result(world: World) -> None:
    """The rival works up to the share it is told, is timed apart, and returns what it returns."""
    turns: list[str] = []

    def rival() -> Generator[float, None, str]:
        for i in range(4):
            world.work(10.0)
            turns.append("rival")
            yield (i + 1) / 4
        return "result"

    with world.meter() as meter:
        along = Interleaved(rival(), meter, "rival")
        with meter("ours"):
            for i in range(4):
                world.work(1.0)
                turns.append("ours")
                along.until((i + 1) / 4)
        assert turns == ["ours", "rival"] * 4
        assert along.finish() == "result"
    assert meter.seconds == {"ours": 4.0, "rival": 40.0}


def test_a_rival_that_was_never_reached_is_run_to_its_end(world: World) -> None:
    """Finishing does the work that no turn did."""

    def rival() -> Generator[float, None, int]:
        world.work(3.0)
        yield 0.5
        world.work(3.0)
        return 7

    with world.meter() as meter:
        assert Interleaved(rival(), meter, "rival").finish() == 7
    assert meter.seconds == {"rival": 6.0}


def test_turns_are_timed_apart_and_run_to_the_end(world: World) -> None:
    """Iterators of unequal length are all used up, each under its own name."""
    seen: list[str] = []

    def side(name: str, steps: int, seconds: float) -> Iterator[None]:
        for _ in range(steps):
            world.work(seconds)
            seen.append(name)
            yield

    with world.meter() as meter:
        take_turns({"a": side("a", 2, 1.0), "b": side("b", 3, 5.0)}, meter)
    assert seen == ["a", "b", "a", "b", "b"]
    assert meter.seconds == {"a": 2.0, "b": 15.0}


def test_the_environment_is_json_and_names_no_host_or_folder() -> None:
    """What is recorded can be published: versions and processor, no host, user or path."""
    text = json.dumps(environment())
    assert torch.__version__ in text
    assert os.getcwd() not in text
    assert socket.gethostname() not in text
    assert os.path.expanduser("~") not in text
