"""Tests on a device that exists only in Python; see `pretend_device`."""

from collections.abc import Iterator

import pytest
from pretend_device import PretendDevice, pretending, register

register()  # now: torch counts devices in the first backward pass of a process


@pytest.fixture
def device() -> Iterator[PretendDevice]:
    """The pretend device, usable during the test."""
    with pretending() as made:
        yield made
